"""What a person can do with the image at hand, by button or by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from qtpy.QtWidgets import QFileDialog

from napari_patchioner.annotations import Notes
from napari_patchioner.viewer.io import export as files
from napari_patchioner.viewer.io.plugin_io import left_out_words
from napari_patchioner.viewer.layers import image_layers
from napari_patchioner.viewer.layers.view import go_to
from napari_patchioner.viewer.preferences import NAME
from napari_patchioner.viewer.session.review import Review

if TYPE_CHECKING:
    import napari

    from napari_patchioner.viewer.controller import Controller
    from napari_patchioner.viewer.images import Images
    from napari_patchioner.viewer.panels.main import MainPanel, Tool
    from napari_patchioner.viewer.panels.models import ModelPanel
    from napari_patchioner.viewer.panels.regions import RegionList

    Action = TypeVar("Action", bound=Callable[..., None])

# The plugin and the names of its docks, which napari opens.
CAPTIONS = (NAME, "Patch-ioner: caption regions")
FOLDER = (NAME, "Patch-ioner: folder of images")


class Dock(Protocol):
    """What actions need of the dock."""

    viewer: napari.Viewer
    panel: MainPanel
    images: Images
    models: ModelPanel
    region_list: RegionList

    def refresh(self) -> None:
        """Show the state of the image at hand."""


def on_image(action: Action) -> Action:
    """Return an action that does nothing where there is no image."""

    @wraps(action)
    def guarded(actions: Actions, *arguments: Any) -> None:
        if actions.current is not None:
            action(actions, *arguments)

    return guarded  # type: ignore[return-value]  # it takes what the action takes


class Actions:
    """Every method is one thing to do with the image at hand, or with what is selected there."""

    def __init__(self, dock: Dock) -> None:
        self._dock = dock
        # The walk through doubtful captions, while there is one.
        self.review: Review | None = None

    @property
    def current(self) -> Controller | None:
        """The controller of the image at hand."""
        return self._dock.images.current

    @property
    def controller(self) -> Controller:
        """The same, where there is an image for certain."""
        assert self.current is not None
        return self.current

    def chosen(self) -> list[str]:
        """Return the uids of the records meant, in the list of regions or on the canvas."""
        if self.current is None:
            return []
        if listed := self._dock.region_list.selected():
            return listed
        record = self.current.current()
        return [record.uid] if record else self.current.selected()

    @on_image
    def start(self) -> None:
        """Encode the image, with a model that is got first if it is not there."""
        self._dock.images.bind(image_layers.KEYS)
        self._dock.models.start()

    def cancel(self) -> None:
        """Stop encoding the image, or getting the model."""
        if self.current is not None and self.current.progress is not None:
            self.current.cancel()
        else:
            self._dock.models.cancel()

    @on_image
    def use_tool(self, tool: Tool) -> None:
        """Make the tool's layer active and put it in the tool's mode, in a view to draw in."""
        controller, viewer = self.controller, self._dock.viewer
        if viewer.dims.ndisplay != 2:
            viewer.dims.ndisplay = 2
            controller.show_message("Regions are drawn in the 2-D view, which is on display again.")
        if controller.plane() is not None:
            self._dock.images.uncover()
            self._dock.images.bind(image_layers.KEYS)
            layer = controller.layer(tool.key)
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
        self._dock.refresh()

    @on_image
    def undo(self) -> None:
        """Take back the newest step: shapes and captions."""
        self.controller.undo()

    @on_image
    def redo(self) -> None:
        """Do again what was taken back last."""
        self.controller.redo()

    @on_image
    def caption_again(self) -> None:
        """Have the selected shapes captioned anew, or the group they make up."""
        if uids := self._needed():
            self.controller.again(uids)

    @on_image
    def caption_together(self) -> None:
        """Caption the selected shapes as one region."""
        self.controller.group_selected()

    @on_image
    def caption_whole(self) -> None:
        """Caption the displayed plane."""
        self.controller.whole_image()

    @on_image
    def apply_options(self) -> None:
        """Let new options show at the selected shapes, except where a person has the say."""
        if self.controller.encoder.ready:
            records = self.controller.session.records
            uids = [u for u in self.chosen() if u in records and not records[u].protected]
            if uids:
                self.controller.again(uids)

    def write_caption(self) -> None:
        """Put the cursor into the caption of the selected shape."""
        editor = self._dock.panel.caption.editor
        if editor.isEnabled():
            editor.setFocus()
            editor.selectAll()

    @on_image
    def edit(self, uid: str, text: str) -> None:
        """Take a person's text."""
        self.controller.edit(uid, text)

    @on_image
    def finish_edit(self) -> None:
        """Let the next words typed be a step of their own."""
        self.controller.session.history.seal()

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
            self.controller.show_message(
                "There is no caption to accept here: write one, or skip it."
            )
        elif self.review is not None and uids[0] in self.review.uids:
            self.review.turn_to(uids[0])
            self._turn(self.review.forward())
        self.controller.show()

    @on_image
    def reject(self) -> None:
        """Throw away what a model wrote."""
        if uids := self._needed():
            if self.controller.session.reject(uids):
                self.controller.show_message(
                    "What you wrote or locked is kept; delete the text yourself."
                )
            self.controller.show()

    @on_image
    def lock(self) -> None:
        """Keep all models from records, or let them in again where all are locked."""
        if uids := self._needed():
            records = self.controller.session.records
            on = not all(records[uid].locked for uid in uids)
            self.controller.session.lock(uids, on)
            self.controller.show_message("Locked: no model will touch it." if on else "Unlocked.")
            self.controller.show()

    @on_image
    def choose(self, index: int) -> None:
        """Take one of the model's other captions, counted from 0."""
        uids = self._needed()
        if uids:
            if len(uids) > 1 or not self.controller.session.choose(uids[0], index):
                self.controller.show_message(f"There is no wording {index + 1} to choose here.")
            self.controller.show()

    @on_image
    def take(self, uid: str, index: int) -> None:
        """Take one of the other captions of a record, which need not be selected."""
        self.controller.session.choose(uid, index)
        self.controller.show()

    @on_image
    def delete(self) -> None:
        """Delete the selected shapes through their layers, and groups and planes from the list."""
        if uids := self._needed():
            self.controller.delete(uids)

    @on_image
    def go_to(self, uid: str) -> None:
        """Select a record's shapes, and bring them into view."""
        controller = self.controller
        record = controller.session.records.get(uid)
        if record is not None:
            controller.select(record.members or [uid])
            go_to(self._dock.viewer, controller.image, record, controller.session)

    @on_image
    def select(self, uids: Iterable[str]) -> None:
        """Select the shapes of records on the canvas."""
        self.controller.select(self._dock.region_list.shapes(uids))

    @on_image
    def go_on(self, by: int = 1) -> None:
        """Go to the next region of the list, or of the review."""
        if self.review is not None:
            self._turn(self.review.forward() if by > 0 else self.review.back())
        else:
            self.go_to(self._dock.region_list.step(by))

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
        self._dock.refresh()

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
            self._dock.refresh()
        else:
            self.stop_review()

    def _needed(self) -> list[str]:
        """Return what is chosen, or say that something should be."""
        uids = self.chosen()
        if not uids:
            self.controller.show_message("Select a shape first: press S, then click it.")
        return uids

    def toggle_list(self) -> None:
        """Show or hide the list of regions."""
        self._dock.region_list.toggle()

    def toggle_captions(self) -> None:
        """Show or hide the captions on the image."""
        shown = self._dock.panel.canvas["visible"]
        shown.value = not shown.value

    def open_folder(self) -> None:
        """Show the list of a folder's images."""
        self._dock.viewer.window.add_plugin_dock_widget(*FOLDER)

    @on_image
    def ask_where_to_export(self) -> None:
        """Ask for a file and its format, and write it."""
        suggestion = str(files.suggested_path(self.controller.image))
        offered = files.export_filters()
        path, chosen = QFileDialog.getSaveFileName(
            self._dock.panel, "Export", suggestion, ";;".join(offered)
        )
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
            self.controller.show_message(f"Nothing was exported: {error}")
            return
        noted = "".join(f" {line}." for line in notes.lines(1))
        names = " and ".join(file.name for file in written)
        self.controller.show_message(f"Saved {names}.{lost}{noted}")
