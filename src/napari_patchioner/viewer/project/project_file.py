"""The project file of one image: its work is saved as it is done, and there again next time."""

from __future__ import annotations

from dataclasses import asdict, replace
from importlib.metadata import version
from operator import is_
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.events import Event
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Project, ProjectImage, ProjectStore, projects_folder
from napari_patchioner.annotations.project.records import Merged, Record, is_foreign
from napari_patchioner.annotations.project.store import CopyProject
from napari_patchioner.errors import Cancelled, FormatError, PatchionerError, counted
from napari_patchioner.models.memories import MemoryChoice
from napari_patchioner.progress import Progress
from napari_patchioner.viewer.layers.image_layers import image_title
from napari_patchioner.viewer.layers.sources import OPENED, layer_key
from napari_patchioner.viewer.widgets import throttled
from napari_patchioner.viewer.workers.job import Job, error_message

from .autosave import FAILURE, Autosave
from .restore import Fill, ForeignCaptions, Snapshots, add, at_home, resume

if TYPE_CHECKING:
    from napari_patchioner.viewer.controller import Controller

# The name of a project's field: which lexicon is in use, and what is an example.
TEACHING = "teaching"


def find_project(store: ProjectStore, progress: Progress) -> tuple[Project | None, str]:
    """Recognise an image by its pixels; return the work saved for it, and a note."""
    progress(0.0, "looking for saved work")
    return store.find(), store.note


class ProjectFile(QObject):  # type: ignore[misc]
    """Restores what was saved for a controller's image, and saves what changes from then on."""

    messaged = Signal(str)
    changed = Signal()

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        # Whether the search for saved work has ended
        self.searched = False
        # Work on images with the same pixels, until a person has said what to do with it
        self.copies: tuple[CopyProject, ...] = ()
        self._controller = controller
        image = controller.image
        pixels = image.data[0] if image.multiscale else image.data
        self._store = ProjectStore(pixels, image.source.path, image_title(image))
        self._snapshots = Snapshots(controller.session)
        self._base = Project(ProjectImage(image_title(image)))
        self._saved: tuple[Record, ...] = ()
        self._pending: tuple[Record, ...] = ()
        self._saved_memory = self._pending_memory = controller.queue.memory
        self._saved_teaching: dict[str, object] = {}
        self._pending_teaching: dict[str, object] = {}
        self._aside: list[Project] = []
        self._layers: set[str] = set()
        self.autosave = Autosave(self._project, self._write, self)
        self.autosave.saved.connect(self._on_saved)
        self.autosave.failed.connect(self.messaged)
        delivered, ended = self._on_found, self._on_searched
        self._job: Job | None = Job.run(
            find_project, self._store, delivered=delivered, ended=ended, parent=self
        )
        controller.session.changed.append(self._on_changed)
        self._foreign = ForeignCaptions(controller, self._snapshots, self.messaged.emit)
        self._deleted: list[str] = []
        # A layer that goes together with its image is over with before this.
        self._after = throttled(self._give_up_deleted, 0, self)
        controller.deleted.connect(self._on_deleted)
        controller.replaying.connect(self._take)
        # The last chance to read shapes whose layer is taken away together with its image.
        controller.viewer.layers.events.removing.connect(self._on_removing)

    @property
    def state(self) -> str:
        """Whether all work is saved and where, in a few words; empty where there is none."""
        if self.autosave.problem:
            return "Not saved"
        if self.autosave.unsaved:
            return "Saving…"
        if self.path is None:
            return ""
        home = self.path.parent == projects_folder()
        return f"Saved in {'your data folder: ' * home}{self.path.name}"

    @property
    def path(self) -> Path | None:
        """The file the work is in."""
        return self._store.path

    @property
    def content(self) -> str:
        """What the image is known by; quick once the search for saved work has ended."""
        return self._store.image.content

    @property
    def folder(self) -> Path:
        """Where other projects of the image are most likely."""
        if self.path is not None:
            return self.path.parent
        source = self._controller.image.source.path
        return Path(source).parent if source else projects_folder()

    @property
    def others(self) -> tuple[Path, ...]:
        """Further projects of the image that hold what this work lacks."""
        return self._store.others

    def open(self, path: str | Path) -> None:
        """Load a project, even of other pixels, on an image that has no shapes yet."""
        try:
            project = self._store.take(path)
            with self.autosave.held():
                self._restore(project)
        except PatchionerError as error:
            self.messaged.emit(f"Nothing was loaded: {error}")

    def take_over(self) -> None:
        """Take over the newest work on a copy of the image; its own file stays as it is."""
        chosen = self.copies[0]
        self._forget_copies()
        if self._is_begun:
            self.merge(chosen.path)
        else:
            self.open(chosen.path)
        self.autosave.touch()
        self.changed.emit()

    def start_fresh(self) -> None:
        """Take over nothing; what is known of copies can still be merged."""
        self._forget_copies()
        self.changed.emit()

    def merge(self, path: str | Path) -> None:
        """Take over what another project of the image has, in one step; that file stays."""
        session = self._controller.session
        try:
            merged = self._store.merge(self._of(self._take()), path)
            news = {*merged.added, *merged.changed}
            saved = [record for record in merged.project.records if record.uid in news]
            step = session.step(f"merging of {counted(saved, 'record')}")
            with self.autosave.held(), step:
                left = add(saved, self._controller.image, session, self._refill)
        except PatchionerError as error:
            self.messaged.emit(f"Nothing was merged: {error}")
            return
        for record in left:
            self._snapshots.keep(record)
        self._controller.show()
        self._foreign.follow()
        self.autosave.touch()
        self.changed.emit()
        self.messaged.emit(_merge_message(merged, Path(path).name))

    def close(self) -> bool:
        """Save what is not saved, and stop; return False if that failed."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
        self._controller.finish_drawing()
        self._after.cancel()
        changed = self._controller.session.changed
        if self._on_changed in changed:
            changed.remove(self._on_changed)
            self._controller.viewer.layers.events.removing.disconnect(self._on_removing)
            self._foreign.close()
        return self.save()

    def save(self) -> bool:
        """Save what is not saved, and wait for it; return False if that failed."""
        self.autosave.touch()
        return self.autosave.flush()

    def give_up(self) -> None:
        """Forget what could not be saved; what is changed from now on is work again."""
        self.autosave.drop()
        self._saved = self._take()

    def save_as(self, path: str | Path) -> None:
        """Save the work in a file of a person's choice, where it goes on from then on."""
        self._store.move(path)
        self.autosave.touch()
        self.autosave.flush()
        if self.autosave.problem:
            raise FormatError(self.autosave.problem)

    @property
    def _is_begun(self) -> bool:
        """Whether something was done here already; other people's layers are no work of it."""
        return any(
            not is_foreign(record.layer) and (record.seen is not None or bool(record.caption))
            for record in self._controller.session.records.values()
        )

    def _forget_copies(self) -> None:
        """Ask no more about copies; the menu offers them still."""
        self._store.others += tuple(copy.path for copy in self.copies)
        self.copies = ()

    def _take(self) -> tuple[Record, ...]:
        """Return all records there are, those that cannot be shown as well."""
        self._layers = self._foreign.layers
        return self._snapshots.take(self._layers)

    def _on_changed(self) -> None:
        """Save soon; take the records at once where a layer has gone, which may be made anew."""
        if self._foreign.layers != self._layers:
            self._take()
        self.autosave.touch()

    def _project(self) -> Project | None:
        """Return the work as it is; None where all of it is saved."""
        records, memory = self._take(), self._controller.queue.memory
        teaching = dict(self._controller.session.teaching)
        same = len(records) == len(self._saved) and all(map(is_, records, self._saved))
        # Which memory and which lexicon are in use is no work that an image needs a file for.
        is_used = memory == self._saved_memory and teaching == self._saved_teaching
        if same and (is_used or not records):
            return None
        self._pending, self._pending_memory, self._pending_teaching = records, memory, teaching
        if dropped := self._snapshots.dropped():
            self._aside.append(self._of(dropped))
            # Not in the dock alone, whose line says something else a moment later.
            show_info(
                f"{counted(dropped, 'region')} of the deleted layer "
                f"{'is' if len(dropped) == 1 else 'are'} kept in a file beside the project: Undo "
                "brings them back, or Merge… in the More menu."
            )
        return self._of(records)

    def _write(self, project: Project) -> Path:
        """Write the work, and first, into files of its own, what a person has thrown away whole."""
        while self._aside:
            self._store.set_aside(self._aside[0])
            del self._aside[0]
        return self._store.write(project)

    def _of(self, records: tuple[Record, ...]) -> Project:
        """Return a project of records, with all that goes along with them."""
        options = {**self._base.options, **self._controller.queue.options}
        memory = self._controller.queue.memory
        options["memory"] = asdict(memory) if memory is not None else None
        models = sorted({record.model for record in records if record.model})
        provenance = {**self._base.provenance, "package": version("napari-patchioner")}
        made = {**provenance, "models": models}
        extra = dict(self._base.extra)
        if teaching := self._controller.session.teaching:
            extra[TEACHING] = dict(teaching)
        return Project(self._base.image, records, options, made, extra=extra)

    def _restore(self, project: Project) -> None:
        """Put saved work on the image, unless there is some already."""
        session, image = self._controller.session, self._controller.image
        present = {layer_key(layer) for layer in self._controller.sources.offers()}
        project = replace(project, records=at_home(project.records, image, present))
        left = resume(project, session)
        if left is not None:
            self._go_on(project, left)
            self._foreign.follow()
            return
        if self._is_begun:
            self._store.leave()
            self.messaged.emit(
                f"There is saved work on this image ({len(project.records)} captions). What you "
                "draw now is saved in another file; to load it, remove the shapes first, "
                "then choose Open project…"
            )
            return
        selection = self._controller.viewer.layers.selection
        active = selection.active
        left = add(project.records, image, session, self._refill)
        selection.active = active
        self._go_on(project, left)
        if self.path is not None:
            self._saved, self._saved_teaching = self._take(), dict(session.teaching)
        shown = set(project.records).difference(left)
        regions = sum(record.seen is not None for record in shown)
        captions = sum(bool(record.caption) for record in shown)
        day, _, time = project.written.partition("T")
        self.messaged.emit(
            f"Restored {regions} regions and {captions} captions saved on {day} at {time[:5]} UTC."
        )
        self._foreign.follow()

    def _go_on(self, project: Project, left: tuple[Record, ...]) -> None:
        """Take over what a project says besides its records; that is no step of a person's."""
        self._controller.session.start_history()
        self._base = project
        self._saved_memory = memory_of(project)
        self._controller.session.open_vocabulary(self._saved_memory)
        teaching = project.extra.get(TEACHING)
        self._controller.session.teaching = dict(teaching) if isinstance(teaching, dict) else {}
        self._snapshots.carry(left)
        self._controller.show()

    def _refill(self, key: str, fill: Fill) -> None:
        """Fill a layer while nobody follows it, and follow it from then on."""
        controller = self._controller
        binding = controller.binding_of(controller.layer(key))
        assert binding is not None
        binding.refill(fill)

    def _on_removing(self, event: Event) -> None:
        if self._controller.owns(self._controller.viewer.layers[event.index]):
            self._controller.finish_drawing()
        self._take()

    def _on_deleted(self, key: str) -> None:
        """Note that a layer was deleted; captions of points and labels are kept for theirs."""
        if key.partition(":")[0] in (OPENED, "shapes"):
            self._deleted.append(key)
            self._after.throttle()

    def _give_up_deleted(self) -> None:
        """Let what was deleted stay deleted, though its image is opened again."""
        self._take()
        for key in self._deleted:
            if self._controller.session.is_away(key):
                self._snapshots.delete(key)
        self._deleted.clear()
        self.autosave.touch()

    def _on_found(self, answer: tuple[Project | None, str]) -> None:
        project, note = answer
        with self.autosave.held():
            try:
                if project is not None:
                    self._restore(project)
            except PatchionerError as error:
                self._store.leave()
                self.messaged.emit(f"Saved work was not loaded: {error}")
        if project is None:
            self.copies = self._store.copies
        if note:
            self.messaged.emit(note)

    def _on_searched(self, error: Exception | None) -> None:
        self._job = None
        self.searched = True
        if error is not None and not isinstance(error, Cancelled):
            reason = error_message(error, FAILURE)
            self.messaged.emit(f"Saved work was not looked at: {reason}")
        self.changed.emit()

    def _on_saved(self, path: Path | None) -> None:
        if path is not None:
            self._saved, self._saved_memory = self._pending, self._pending_memory
            self._saved_teaching = self._pending_teaching
            if self._store.note:
                self.messaged.emit(self._store.note)
        self.changed.emit()


def memory_of(project: Project) -> MemoryChoice | None:
    """Return the vocabulary that was chosen when a project was saved; None where none can be."""
    try:
        return MemoryChoice(**project.options["memory"])
    except (KeyError, TypeError, ValueError):
        return None


def _merge_message(merged: Merged, name: str) -> str:
    """Return what came of a merge, in one sentence or two."""
    if not merged.news:
        message = f"{name} holds nothing that is not here already."
    else:
        new, better = len(merged.added), len(merged.changed)
        message = f"Merged {name}: {new} new, {better} with a person's text in place of a model's."
    if merged.differing:
        message += f" {len(merged.differing)} say something else there; what you wrote is kept."
    return message
