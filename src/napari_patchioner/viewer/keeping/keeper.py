"""Nothing is lost: the work on one image is saved as it is done, and there again next time."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, QTimer, Signal

from napari_patchioner.annotations import Project, ProjectImage, ProjectStore, projects_folder
from napari_patchioner.errors import Cancelled, FormatError, PatchionerError
from napari_patchioner.viewer.export.export import image_title
from napari_patchioner.viewer.layers.binding import LayerBinding
from napari_patchioner.viewer.layers.image_layers import POINTS
from napari_patchioner.viewer.layers.sources import OPENED, layer_key
from napari_patchioner.viewer.reading.worker import Job, reporting
from napari_patchioner.viewer.session.record import is_foreign
from napari_patchioner.viewer.session.session import counted

from .autosave import Autosave, sentence
from .restore import add, at_home, restore, resume
from .returning import Returning
from .snapshot import Snapshots

if TYPE_CHECKING:
    from collections.abc import Generator, Sized

    from napari.utils.events import Event

    from napari_patchioner.annotations import CopyProject, ProjectRecord
    from napari_patchioner.annotations.project.records import Merged
    from napari_patchioner.viewer.desk.annotator import Annotator
    from napari_patchioner.viewer.reading.worker import Progress

    from .restore import Fill


@reporting
def look_up(shelf: ProjectStore, progress: Progress) -> Generator[tuple[Any, str], None, None]:
    """Recognise an image by its pixels; yield the work saved for it, and a note."""
    progress(0.0, "looking for saved work")
    project = shelf.find()
    yield project, shelf.note


class Keeper(QObject):
    """Restores what was saved for an annotator's image, and saves what changes from then on.

    Parameters
    ----------
    annotator : Annotator
        Whose work; also its parent.

    Attributes
    ----------
    found : bool
        Whether the search for saved work has ended.
    copies : tuple of CopyProject
        Work on images with the same pixels, to be taken over or not, as long as a person has not
        said which.
    """

    told = Signal(str)
    changed = Signal()

    def __init__(self, annotator: Annotator) -> None:
        super().__init__(annotator)
        self.found = False
        self.copies: tuple[CopyProject, ...] = ()
        self._annotator = annotator
        image = annotator.image
        pixels = image.data[0] if image.multiscale else image.data
        self._shelf = ProjectStore(pixels, image.source.path, image_title(image))
        self._snapshots = Snapshots(annotator.session)
        self._base = Project(ProjectImage(image_title(image)))
        self._saved: tuple[ProjectRecord, ...] = ()
        self._pending: tuple[ProjectRecord, ...] = ()
        self._aside: list[Project] = []
        self._layers: set[str] = set()
        self.autosave = Autosave(self._project, self._write, self)
        self.autosave.saved.connect(self._on_saved)
        self.autosave.failed.connect(self.told)
        self._job: Job | None = Job(look_up, self._shelf, parent=self)
        self._job.delivered.connect(self._on_found)
        self._job.ended.connect(self._on_looked)
        self._job.start()
        annotator.session.changed.append(self._on_changed)
        self._returning = Returning(annotator, self._snapshots, self)
        self._returning.told.connect(self.told)
        self._deleted: list[str] = []
        # A layer that goes together with its image is over with before this.
        self._after = QTimer(self)
        self._after.setSingleShot(True)
        self._after.timeout.connect(self._give_up_deleted)
        annotator.deleted.connect(self._on_deleted)
        annotator.replaying.connect(self._take)
        # The last look at shapes whose layer is taken away together with its image.
        annotator.viewer.layers.events.removing.connect(self._look)

    @property
    def state(self) -> str:
        """Whether all work is saved and where, in a few words; empty where there is none."""
        if self.autosave.problem:
            return "Not saved"
        if self.autosave.unsaved:
            return "Saving…"
        if self._shelf.path is None:
            return ""
        home = self._shelf.path.parent == projects_folder()
        return f"Saved in {'your data folder: ' * home}{self._shelf.path.name}"

    @property
    def path(self) -> Path | None:
        """The file the work is in."""
        return self._shelf.path

    @property
    def content(self) -> str:
        """What the image is known by; quick once the search for saved work has ended."""
        return self._shelf.image.content

    @property
    def folder(self) -> Path:
        """Where other projects of the image are most likely."""
        if self.path is not None:
            return self.path.parent
        source = self._annotator.image.source.path
        return Path(source).parent if source else projects_folder()

    def open(self, path: str | Path) -> None:
        """Load a project on an image that has no shapes yet.

        A project of other pixels is loaded, too: a person asked for it. It stays as it is; the
        work goes on in this image's own file.
        """
        try:
            project = self._shelf.take(path)
            with self.autosave.held():
                self._restore(project)
        except PatchionerError as error:
            self.told.emit(f"Nothing was loaded: {error}")

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

    @property
    def others(self) -> tuple[Path, ...]:
        """Further projects of the image that hold what this work lacks."""
        return self._shelf.others

    def merge(self, path: str | Path) -> None:
        """Take over what another project of the image has, in one step; that file stays."""
        session, saved = self._annotator.session, ()
        try:
            merged = self._shelf.merge(self._of(self._take()), path)
            news = {*merged.added, *merged.changed}
            saved = [record for record in merged.project.records if record.uid in news]
            step = session.step(f"merging of {counted(saved, 'record')}")
            with self.autosave.held(), step:
                done = add(saved, self._annotator.image, session, self._refill)
        except PatchionerError as error:
            self.told.emit(f"Nothing was merged: {error}")
            return
        for record in done.left:
            self._snapshots.keep(record)
        self._annotator.show()
        self._returning.look()
        self.autosave.touch()
        self.changed.emit()
        self.told.emit(_merged(merged, Path(path).name))

    def close(self) -> bool:
        """Save what is not saved, and stop; return False if that failed."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
        self._annotator.finish_drawing()
        self._let_go()
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
        """Save the work in a file of a person's choice, where it goes on from then on.

        Raises
        ------
        FormatError
            If it cannot be written there.
        """
        self._shelf.move(path)
        self.autosave.touch()
        self.autosave.flush()
        if self.autosave.problem:
            raise FormatError(self.autosave.problem)

    # details

    @property
    def _is_begun(self) -> bool:
        """Whether something was done here already; other people's layers are no work of it."""
        return any(
            not is_foreign(record.layer) and (record.seen is not None or bool(record.caption))
            for record in self._annotator.session.records.values()
        )

    def _forget_copies(self) -> None:
        """Ask no more about copies; the menu offers them still."""
        self._shelf.others += tuple(one.path for one in self.copies)
        self.copies = ()

    def _take(self) -> tuple[ProjectRecord, ...]:
        """Return all records there are, those that cannot be shown as well."""
        self._layers = self._returning.layers
        return self._snapshots.take(self._layers)

    def _on_changed(self) -> None:
        """Save soon; look at once where a layer has gone, which may be made anew before that."""
        if self._returning.layers != self._layers:
            self._take()
        self.autosave.touch()

    def _project(self) -> Project | None:
        """Return the work as it is; None where all of it is saved."""
        records = self._take()
        same = len(records) == len(self._saved)
        if same and all(one is other for one, other in zip(records, self._saved, strict=True)):
            return None
        self._pending = records
        if dropped := self._snapshots.dropped():
            self._aside.append(self._of(dropped))
            # Not in the dock alone, whose line says something else a moment later.
            show_info(
                f"{counted(dropped, 'region')} of the deleted layer {_are(dropped)} kept in a file "
                "beside the project: Undo brings them back, or Merge… in the More menu."
            )
        return self._of(records)

    def _write(self, project: Project) -> Path:
        """Write the work, and first, into files of its own, what a person has thrown away whole."""
        while self._aside:
            self._shelf.set_aside(self._aside[0])
            del self._aside[0]
        return self._shelf.write(project)

    def _of(self, records: tuple[ProjectRecord, ...]) -> Project:
        """Return a project of records, with all that goes along with them."""
        options = {**self._base.options, **self._annotator.scribe.options}
        models = sorted({record.model for record in records if record.model})
        provenance = {**self._base.provenance, "package": version("napari-patchioner")}
        return Project(
            self._base.image,
            records,
            options,
            {**provenance, "models": models},
            extra=self._base.extra,
        )

    def _restore(self, project: Project) -> None:
        """Put saved work on the image, unless there is some already."""
        session, image = self._annotator.session, self._annotator.image
        there = {layer_key(layer) for layer in self._annotator.sources.offers()}
        project = replace(project, records=at_home(project.records, image, there))
        left = resume(project, session)
        if left is not None:
            self._go_on(project, left)
            self._returning.look()
            return
        if self._is_begun:
            self._shelf.leave()
            self.told.emit(
                f"There is saved work on this image ({len(project.records)} captions). What you "
                "draw now is saved in another file; to load it, remove the shapes first, "
                "then choose Open project…"
            )
            return
        active = self._annotator.viewer.layers.selection.active
        done = restore(project, self._annotator.image, session, self._refill)
        self._annotator.viewer.layers.selection.active = active
        self._go_on(project, done.left)
        if self._shelf.path is not None:
            self._saved = self._take()
        self.told.emit(_summary(done.regions, done.captions, project.written))
        self._returning.look()

    def _go_on(self, project: Project, left: tuple[ProjectRecord, ...]) -> None:
        """Take over what a project says besides its records; that is no step of a person's."""
        self._annotator.session.start_history()
        self._base = project
        self._snapshots.carry(project.records, left)
        self._annotator.show()

    def _refill(self, key: str, fill: Fill) -> None:
        """Fill a layer while nobody follows it, and follow it from then on."""
        annotator = self._annotator
        if key == POINTS:
            layer, sources = annotator.points(), annotator.sources
            sources.refill(layer, fill)
            return
        layer = annotator.layer(key)
        annotator.bindings[key].finish()
        annotator.bindings[key].close()
        fill(layer)
        annotator.bindings[key] = LayerBinding(
            layer, annotator.image, key, annotator.session, annotator.settle
        )

    def _look(self, event: Event) -> None:
        layer = self._annotator.viewer.layers[event.index]
        if self._annotator.owns(layer):
            self._annotator.finish_drawing()
        self._take()

    def _on_deleted(self, key: str) -> None:
        """Note that a layer was deleted; captions of points and labels wait for theirs."""
        if key.partition(":")[0] in (OPENED, "shapes"):
            self._deleted.append(key)
            self._after.start(0)

    def _give_up_deleted(self) -> None:
        """Let what was deleted stay deleted, though its image is opened again."""
        self._take()
        for key in self._deleted:
            if self._annotator.session.is_away(key):
                self._snapshots.delete(key)
        self._deleted.clear()
        self.autosave.touch()

    def _let_go(self) -> None:
        """Hear no more of the session and the viewer."""
        self._after.stop()
        if self._on_changed in self._annotator.session.changed:
            self._annotator.session.changed.remove(self._on_changed)
            self._annotator.viewer.layers.events.removing.disconnect(self._look)
            self._returning.close()

    def _on_found(self, answer: tuple[Project | None, str]) -> None:
        project, note = answer
        with self.autosave.held():
            try:
                if project is not None:
                    self._restore(project)
            except PatchionerError as error:
                self._shelf.leave()
                self.told.emit(f"Saved work was not loaded: {error}")
        if project is None:
            self.copies = self._shelf.copies
        if note:
            self.told.emit(note)

    def _on_looked(self, error: Exception | None) -> None:
        self._job = None
        self.found = True
        if error is not None and not isinstance(error, Cancelled):
            self.told.emit(f"Saved work was not looked at: {sentence(error)}")
        self.changed.emit()

    def _on_saved(self, path: Path | None) -> None:
        if path is not None:
            self._saved = self._pending
            if self._shelf.note:
                self.told.emit(self._shelf.note)
        self.changed.emit()


def _are(several: Sized) -> str:
    return "is" if len(several) == 1 else "are"


def _summary(regions: int, captions: int, written: str) -> str:
    """Return what was restored, in one sentence."""
    day, _, time = written.partition("T")
    return f"Restored {regions} regions and {captions} captions saved on {day} at {time[:5]} UTC."


def _merged(merged: Merged, name: str) -> str:
    """Return what came of a merge, in one sentence or two."""
    if not merged.news:
        told = f"{name} holds nothing that is not here already."
    else:
        new, better = len(merged.added), len(merged.changed)
        told = f"Merged {name}: {new} new, {better} with a person's text in place of a model's."
    if merged.differing:
        told += f" {len(merged.differing)} say something else there; what you wrote is kept."
    return told
