"""What the buttons and keys do with the image at hand, or with what is selected there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar

from napari.viewer import Viewer
from qtpy.QtWidgets import QFileDialog

from napari_patchioner.annotations import Notes
from napari_patchioner.errors import FormatError, ModelError, counted
from napari_patchioner.models.install import known_presets
from napari_patchioner.models.servers import read_settings

from .controller import Controller
from .images import Images
from .io import export as files
from .io.plugin_io import left_out_words
from .layers import image_layers
from .layers.view import go_to
from .panels.compare import ComparePanel
from .panels.find import FindPanel, PhraseBar
from .panels.main import GROW, TOOLS, MainPanel, Tool
from .panels.models import ModelPanel
from .panels.regions import RegionList
from .panels.server import AskPanel, ServerDialog, may_ask
from .panels.teach import TeachPanel
from .panels.vocabulary import VocabularyPanel
from .preferences import FOLDER_DOCK
from .session.review import Review
from .teaching.teacher import Teacher
from .workers.server import NO_QUESTION, SET_UP_FIRST

Action = TypeVar("Action", bound=Callable[..., None])


def on_image(action: Action) -> Action:
    """Return an action that does nothing where there is no image, and ends what is being typed."""

    @wraps(action)
    def guarded(actions: Actions, *arguments: Any) -> None:
        if actions.current is not None:
            actions.finish_edit()
            action(actions, *arguments)

    return guarded  # type: ignore[return-value]  # it takes what the action takes


def of_controller(method: Callable[..., None]) -> Callable[..., None]:
    """Return an action that calls a method of the controller of the image at hand."""

    def act(actions: Actions, *arguments: Any) -> None:
        method(actions.controller, *arguments)

    return on_image(act)


class Parts(Protocol):
    """What is acted upon: the viewer, the images open in it, and the panels of the dock."""

    viewer: Viewer
    images: Images
    panel: MainPanel
    models: ModelPanel
    vocabulary: VocabularyPanel
    region_list: RegionList
    find: FindPanel
    phrase: PhraseBar
    compare: ComparePanel
    ask: AskPanel
    teach: TeachPanel
    teacher: Teacher

    def refresh(self) -> None:
        """Show the state of the image at hand."""


class Actions:
    """Every method is one thing to do with the image at hand, or with what is selected there."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # The walk through doubtful captions, while there is one.
        self.review: Review | None = None

    @property
    def current(self) -> Controller | None:
        """The controller of the image at hand."""
        return self._parts.images.current

    @property
    def controller(self) -> Controller:
        """The same, where there is an image for certain."""
        assert self.current is not None
        return self.current

    def _say(self, message: str) -> None:
        self.controller.show_message(message)

    def chosen(self) -> list[str]:
        """Return the uids of the records meant, in the list of regions or on the canvas."""
        if self.current is None:
            return []
        if listed := self._parts.region_list.selected():
            return listed
        record = self.current.current()
        return [record.uid] if record else self.current.selected()

    @on_image
    def start(self) -> None:
        """Encode the image, with a model that is got first if it is not there.

        One on a server of another host than this machine is asked about first.
        """
        if not self._may_send():
            return
        self._parts.images.bind(image_layers.KEYS)
        self._parts.models.start()

    def cancel(self) -> None:
        """Stop encoding the image, or getting the model."""
        if self.current is not None and self.current.progress is not None:
            self.current.cancel()
        elif self._parts.models.progress is not None:
            self._parts.models.cancel()
        else:
            self._parts.vocabulary.cancel()

    @on_image
    def use_tool(self, tool: Tool) -> None:
        """Make the tool's layer active and put it in the tool's mode, in a view to draw in."""
        controller, viewer = self.controller, self._parts.viewer
        grows = tool.mode == GROW
        controller.grow(False)
        if viewer.dims.ndisplay != 2:
            viewer.dims.ndisplay = 2
            self._say("Regions are drawn in the 2-D view, which is on display again.")
        if controller.plane() is not None:
            self._parts.images.uncover()
            self._parts.images.bind(image_layers.KEYS)
            layer = controller.layer(tool.key)
            if grows:
                controller.grow(True)
                self._parts.refresh()
                return
            if tool.mode == "select":
                # Selecting works on all of them, on the active one first.
                active = viewer.layers.selection.active
                for binding in controller.bindings.values():
                    binding.layer.mode = tool.mode
                    layer = active if binding.layer is active else layer
            # First, as napari takes no tool for a layer that is hidden.
            image_layers.uncover(viewer, layer, controller.image)
            layer.mode = tool.mode
            viewer.layers.selection.active = layer
        self._parts.refresh()

    @on_image
    def grow(self) -> None:
        """Take up the tool that grows regions from clicks; again to lay it down."""
        if self.controller.growing:
            self.controller.grow(False)
            self._parts.refresh()
        else:
            self.use_tool(next(tool for tool in TOOLS if tool.mode == GROW))

    undo = of_controller(Controller.undo)
    redo = of_controller(Controller.redo)
    caption_together = of_controller(Controller.group_selected)
    caption_whole = of_controller(Controller.whole_image)
    describe_whole = of_controller(Controller.describe)
    point_at = of_controller(Controller.point_at)

    @on_image
    def compare(self) -> None:
        """Compare the selected shapes, or a single one over the slices of its stack."""
        uids = self._parts.region_list.selected() or self.controller.selected()
        if self.controller.comparer.start(uids):
            self._parts.compare.open()

    @on_image
    def caption_again(self) -> None:
        """Have the selected shapes captioned anew, or the group they make up."""
        if uids := self._needed():
            self.controller.again(uids)

    @on_image
    def apply_options(self) -> None:
        """Let new options show at the selected shapes, except where a person has the say.

        What somebody had put in other words, such as told apart, or asked of a server stays: it is
        not of these options.
        """
        if self.controller.encoder.ready:
            records = self.controller.session.records
            uids = [u for u in self.chosen() if u in records and not records[u].protected]
            kept = [uid for uid in uids if records[uid].is_asked_for]
            if kept:
                others = "; the others are made anew" if len(kept) < len(uids) else ""
                are, them = ("is", "it") if len(kept) == 1 else ("are", "them")
                self._say(
                    f"{counted(kept, 'caption')} told apart, reworded or by a server {are} kept"
                    f"{others}. Caption again (Q) makes {them} anew with these options."
                )
            if uids := [uid for uid in uids if uid not in kept]:
                self.controller.again(uids, by_options=True)

    @on_image
    def toggle_why(self) -> None:
        """Show the words of the caption, each with its patches on the image, or stop."""
        self.controller.why.switch(not self.controller.why.on)
        self._parts.refresh()
        self._parts.panel.caption.why.take_keys()

    @on_image
    def choose_word(self, index: int) -> None:
        """Show the patches of a word of the caption, -1 for those of none."""
        why = self.controller.why
        why.choose(index)
        self._parts.panel.caption.why.show_word(why)

    @on_image
    def check_sentence(self) -> None:
        """Check the captions of the selected regions against the image, and suggest better ones."""
        if uids := self._needed():
            self.controller.why.check(uids)

    def write_caption(self) -> None:
        """Put the cursor into the caption of the selected shape."""
        editor = self._parts.panel.caption.editor
        if editor.isEnabled():
            editor.setFocus()
            editor.selectAll()

    def edit(self, uid: str, text: str) -> None:
        """Take the text of a caption, at every letter that is typed."""
        if self.current is not None:
            self.current.edit(uid, text)

    @on_image
    def rewrite(self, uid: str, text: str) -> None:
        """Take the text of a caption that was typed to its end elsewhere."""
        self.edit(uid, text)
        self.finish_edit()

    def finish_edit(self) -> None:
        """Let the next words typed be a step of their own."""
        if self.current is not None:
            self.current.session.finish_edit()

    @on_image
    def accept(self) -> None:
        """Keep captions as they are; in a review, go on to the next."""
        review = self.review_here()
        if review and not self.chosen() and review.uid not in review.session.records:
            # What was to be reviewed has been deleted.
            self.go_on()
            return
        uids = self._needed()
        if not uids:
            return
        if self.controller.session.accept(uids):
            self._say("There is no caption to accept here: write one, or skip it.")
        elif self.review is not None and uids[0] in self.review.uids:
            self.review.turn_to(uids[0])
            self._turn(self.review.forward())
        self.controller.show()

    @on_image
    def reject(self) -> None:
        """Throw away what a model wrote."""
        if uids := self._needed():
            if self.controller.session.reject(uids):
                self._say("What you wrote or locked is kept; delete the text yourself.")
            self.controller.show()

    @on_image
    def lock(self) -> None:
        """Keep all models from records, or let them in again where all are locked."""
        if uids := self._needed():
            records = self.controller.session.records
            on = not all(records[uid].locked for uid in uids)
            self.controller.session.lock(uids, on)
            self._say("Locked: no model will touch it." if on else "Unlocked.")
            self.controller.show()

    @on_image
    def choose(self, index: int) -> None:
        """Take one of the model's other captions, counted from 0; of several, what was offered."""
        uids = self._needed()
        if uids:
            session = self.controller.session
            if len(uids) > 1:
                # Whoever takes what tells regions apart means no others.
                known = [session.records[uid] for uid in uids if uid in session.records]
                uids = [r.uid for r in known if set(r.alternatives[index:][:1]) & set(r.offered)]
            with session.step("choice of another wording"):
                chosen = [session.choose(uid, index) for uid in uids]
            if not any(chosen):
                self._say(f"There is no wording {index + 1} to choose here.")
            self.controller.show()

    @on_image
    def take(self, uid: str, index: int) -> None:
        """Take one of the other captions of a record, which need not be selected."""
        self.controller.session.choose(uid, index)
        self.controller.show()

    @on_image
    def write_name(self) -> None:
        """Put the cursor into the name that is taught to what is selected."""
        if self._needed():
            self._parts.teach.write_name()

    @on_image
    def teach(self) -> None:
        """Teach the selected regions, each of them, the name that is typed, or their captions."""
        field, teacher, controller = self._parts.teach.name, self._parts.teacher, self.controller
        uids = self._parts.region_list.selected() or controller.selected()
        if not uids:
            self._say("Select what to teach first: press S, then click it.")
            return
        try:
            if field.text().strip():
                teacher.teach(controller, uids, field.text())
            else:
                teacher.teach_captions(controller, uids)
        except FormatError as error:
            self._say(str(error))
            return
        field.done()

    @on_image
    def label_next(self) -> None:
        """Go to the region that is most useful to label, and on to the next one."""
        uid = self._parts.teacher.next_doubtful(self.controller)
        if uid:
            self.go_to(uid)
            self._parts.refresh()
        else:
            self._say("There is nothing left to label: draw more regions, or accept what is there.")

    @on_image
    def delete(self) -> None:
        """Delete the selected shapes through their layers, and groups and planes from the list."""
        if uids := self._needed():
            self.controller.delete(uids)

    @on_image
    def find_like(self) -> None:
        """Find more of what the selected shapes show; with what was found in hand, again."""
        if self.controller.search.owns(self._parts.viewer.layers.selection.active):
            self.find_again()
        elif uids := self._needed():
            self.controller.search.start(uids)

    def _each(self) -> list[str]:
        """Return the uids of what is selected, each by itself where they have a common caption."""
        return self._parts.region_list.selected() or self.controller.selected()

    @on_image
    def set_apart(self) -> None:
        """Tell the selected regions apart; one from all alike, all where none is selected."""
        self.controller.rewriter.set_apart(self._each())

    @on_image
    def rank_wordings(self) -> None:
        """Rank the wordings of what is selected, else of all regions, by the context."""
        self.controller.rewriter.rank(self._each())

    @on_image
    def find_phrase(self) -> None:
        """Find what the phrase says that was typed."""
        self.controller.search.ask(self._parts.phrase.text.text())

    @on_image
    def propose_regions(self) -> None:
        """Propose regions of the plane on display, and turn to the first of them."""
        self._parts.find.take_focus()
        self.controller.propose_regions()

    @on_image
    def sharpen(self) -> None:
        """Give the selected regions the outlines of their pixels."""
        if uids := self._needed():
            self.controller.sharpener.start(uids)

    @on_image
    def grow_sharply(self, on: bool) -> None:
        """Have clicks outlined by the model for outlines from now on, or by patches again."""
        problem = self.controller.grower.choose(on)
        if problem:
            self._say(problem)
        self._parts.refresh()

    @on_image
    def describe_by_server(self) -> None:
        """Have the server describe the selected regions; without one, ask which it is."""
        if uids := self._needed():
            self._ask_server(uids)

    @on_image
    def ask_server(self) -> None:
        """Ask the server the question that is typed about the selected regions."""
        question = self._parts.ask.text.text().strip()
        if not question:
            self._say(NO_QUESTION)
        elif uids := self._needed():
            self._ask_server(uids, question)

    @on_image
    def stop_server(self) -> None:
        """Close the connection to the server at once."""
        self.controller.describing.stop()

    @on_image
    def use_answer(self) -> None:
        """Make the answer of the server the caption of what it is about."""
        self.controller.describing.use()
        self.controller.show()

    def set_up_server(self) -> None:
        """Ask where the server is and what it is asked."""
        dialog = ServerDialog(self._parts.panel)
        dialog.saved.connect(self.stop_everywhere)
        dialog.saved.connect(self._on_set_up)
        dialog.show()

    def _on_set_up(self) -> None:
        """Say what comes next, where a server was asked for before there was one."""
        current = self.current
        if current is not None and current.message == SET_UP_FIRST and read_settings().is_set_up:
            self._say("The server is set up: ask it now.")

    def stop_everywhere(self) -> None:
        """Stop what asks a server by settings that are no longer so."""
        for controller in self._parts.images.controllers.values():
            controller.describing.stop()
            controller.encoder.registry.forget_servers()

    def _may_send(self) -> bool:
        """Whether the chosen model may be sent crops, should it be one on a server."""
        preset = known_presets().get(self._parts.models.choice.value)
        server = preset.server if preset is not None else {}
        if not server:
            return True
        try:
            settings = read_settings()
            if not (server.get("address") or settings.is_set_up):
                self._say(SET_UP_FIRST)
                self.set_up_server()
                return False
            endpoint = settings.endpoint(server.get("address", ""))
            if not endpoint.is_allowed:
                self.stop_everywhere()
            if not may_ask(self._parts.panel, endpoint):
                self._say(f"{endpoint.host} was not asked: choose another model, or press Start.")
                return False
        except ModelError as error:
            self._say(str(error))
            return False
        return True

    def _ask_server(self, uids: list[str], question: str = "") -> None:
        """Ask, once a server is set up and its host allowed."""
        try:
            settings = read_settings()
            if not settings.is_set_up:
                self._say(SET_UP_FIRST)
                self.set_up_server()
                return
            if not may_ask(self._parts.panel, settings.endpoint()):
                self._say(f"{settings.endpoint().host} was not asked.")
                return
            # With the host that was allowed just now
            server = read_settings().server()
        except ModelError as error:
            self._say(str(error))
            return
        self.controller.describing.ask(server, uids, question)

    @on_image
    def find_again(self) -> None:
        """Find more, with what was accepted as further examples."""
        self.controller.search.again()

    @on_image
    def accept_found(self) -> None:
        """Make regions of the proposals that are selected in the list."""
        if numbers := self._parts.find.list.numbers():
            self.controller.accept_found(numbers)
        else:
            self._say("Select proposals in the list first, or click one on the image.")

    @on_image
    def accept_all_found(self) -> None:
        """Make regions of all proposals that are shown."""
        search = self.controller.search
        if search.proposals is not None and search.here:
            self.controller.accept_found(item.number for item in search.proposals.shown())

    @on_image
    def reject_found(self) -> None:
        """Take the proposals away that are selected in the list."""
        self.controller.reject_found(self._parts.find.list.numbers())

    @on_image
    def restore_found(self) -> None:
        """Let what was rejected be proposed again."""
        self.controller.search.restore()

    def stop_search(self) -> bool:
        """Stop a search that runs; what was found before stays. Return whether one did."""
        search = self.current.search if self.current is not None else None
        if search is None or search.progress is None:
            return False
        search.cancel()
        return True

    @on_image
    def escape_find(self) -> None:
        """Stop a search that runs; where none does, take all proposals away."""
        if not self.stop_search():
            self.end_find()

    @on_image
    def end_find(self) -> None:
        """Take all proposals away."""
        self.controller.search.clear()
        self._say("What was accepted stays; the other proposals are gone.")

    @on_image
    def go_to(self, uid: str) -> None:
        """Select a record's shapes, and bring them into view."""
        controller = self.controller
        record = controller.session.records.get(uid)
        if record is not None:
            controller.select(record.members or [uid])
            go_to(self._parts.viewer, controller.image, record, controller.session)

    @on_image
    def go_to_all(self, uids: Sequence[str]) -> None:
        """Bring the first of some records into view, and select all of them that are left."""
        records = self.controller.session.records
        known = [uid for uid in uids if uid in records]
        if not known:
            self._say(
                "What this speaks of was deleted: press From its regions for a new paragraph."
            )
            return
        self.go_to(known[0])
        if len(known) > 1:
            self.controller.select(self._parts.region_list.shapes(known))

    @on_image
    def add_places(self) -> None:
        """Say place and size behind the captions of what is selected, else of all regions."""
        self.controller.describer.add_places(self.chosen())

    @on_image
    def select(self, uids: Iterable[str]) -> None:
        """Select the shapes of records on the canvas."""
        self.controller.select(self._parts.region_list.shapes(uids))

    @on_image
    def go_on(self, by: int = 1) -> None:
        """Go to the next region of the list, or of the review."""
        if self.review is not None:
            self._turn(self.review.forward() if by > 0 else self.review.back())
        else:
            self.go_to(self._parts.region_list.step(by))

    def go_back(self) -> None:
        """Go to the previous one."""
        self.go_on(-1)

    @on_image
    def start_review(self) -> None:
        """Go through the doubtful captions, the most doubtful first."""
        self.review = Review(self.controller.session)
        self._turn(self.review.uid)

    def stop_review(self) -> None:
        """End the review, and say what has come of it."""
        review, self.review = self.review, None
        if review is not None and self.current is not None:
            self.current.show_message(review.summary())
        self._parts.refresh()

    def review_here(self) -> Review | None:
        """Return the review of the image at hand; one of another image is over."""
        session = self.current.session if self.current is not None else None
        if self.review is not None and self.review.session is not session:
            self.review = None
        return self.review

    def _turn(self, uid: str) -> None:
        """Show what is to be reviewed next; at the end, say so."""
        if uid:
            self.go_to(uid)
            self._parts.refresh()
        else:
            self.stop_review()

    def _needed(self) -> list[str]:
        """Return what is chosen, or say that something should be."""
        uids = self.chosen()
        if not uids:
            self._say("Select a shape first: press S, then click it.")
        return uids

    def toggle_list(self) -> None:
        """Show or hide the list of regions."""
        self._parts.region_list.toggle()

    def toggle_captions(self) -> None:
        """Show or hide the captions on the image."""
        shown = self._parts.panel.canvas["visible"]
        shown.value = not shown.value

    def open_folder(self) -> None:
        """Show the list of a folder's images."""
        self._parts.viewer.window.add_plugin_dock_widget(*FOLDER_DOCK)

    @on_image
    def ask_where_to_export(self) -> None:
        """Ask for a file and its format, and write it."""
        suggestion = str(files.suggested_path(self.controller.image))
        offered = files.export_filters()
        panel, filters = self._parts.panel, ";;".join(offered)
        path, chosen = QFileDialog.getSaveFileName(panel, "Export", suggestion, filters)
        if path:
            self.export(path, offered.get(chosen, files.CSV))

    @on_image
    def export(self, path: str | Path, name: str = files.CSV) -> None:
        """Write a file of a format, or the two tables, and say what it has no place for."""
        session, image, notes = self.controller.session, self.controller.image, Notes()
        lost = ""
        try:
            if name == files.CSV:
                written = files.export_csv(Path(path), session, image, notes=notes)
            else:
                file, left_out = files.export_file(Path(path), session, image, name, notes=notes)
                written = (file,)
                lost = f" It has no place for {left_out_words(left_out)}." if left_out else ""
        except (OSError, ValueError) as error:
            self._say(f"Nothing was exported: {error}")
            return
        noted = "".join(f" {line}." for line in notes.lines(1))
        names = " and ".join(file.name for file in written)
        self._say(f"Saved {names}.{lost}{noted}")
