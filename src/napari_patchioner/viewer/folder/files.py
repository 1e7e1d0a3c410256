"""The images in a folder, what is noted of them, and how far each is, read in the background."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import projects_folder, read_head, short_name, write_bytes
from napari_patchioner.annotations.project.file import ProjectCounts, read_counts, read_image
from napari_patchioner.annotations.project.places import ENDING
from napari_patchioner.errors import Cancelled, FormatError, ImageError, PatchionerError, counted
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.viewer.preferences import preference
from napari_patchioner.viewer.widgets import natural, throttled
from napari_patchioner.viewer.workers.encode import current_store
from napari_patchioner.viewer.workers.job import Job
from napari_patchioner.viewer.workers.prefetch import ImageFile, endings, stamp_of

# Folders that are one image each.
_IMAGE_FOLDER = ".zarr"
# What a person ticks lies beside the images, as the projects do, so that it goes along with them
# and several people may tick at a time. What this machine has seen of them lies in the user's data
# folder.
BESIDE = "folder.patchioner.jsonl"
# A file of so many lines is written anew when most of them are out of date.
_LONG = 1000
# Statuses handed out at a time, and images while a folder is searched.
_TOGETHER, TOGETHER = 100, 500
SETTLE_MS = 200


def by_name(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a key that sorts names as people count; of those that differ in case, in one order."""
    return natural(name), name


def list_images(
    folder: Path, endings: Collection[str], progress: Progress = no_progress
) -> Iterator[list[ImageFile]]:
    """Yield the images in a folder and the folders in it, those of one folder together.

    Hidden files and folders are left out, links to folders are followed but never in a circle.
    A folder whose name ends with ``.zarr`` is one image. `endings` are those of the names of
    images, in small letters, dots included.
    """
    taken, seen = tuple(endings), {os.path.realpath(folder)}

    def on_error(error: OSError) -> None:
        if error.filename == str(folder):
            why = error.strerror or str(error)
            raise ImageError(f"{folder} cannot be opened ({why}); choose another one") from error

    for place, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        here = Path(place)
        progress(0.0, here.name)
        single = {name for name in folders if name.lower().endswith(_IMAGE_FOLDER)}
        images = sorted((*names, *single), key=by_name)
        images = [name for name in images if name.lower().endswith(taken) and name[0] != "."]
        paths = [here / name for name in images]
        yield [ImageFile(path, path.relative_to(folder).as_posix()) for path in paths]
        deeper = sorted(set(folders).difference(images), key=by_name)
        real = {name: os.path.realpath(here / name) for name in deeper if name[0] != "."}
        folders[:] = [name for name, path in real.items() if path not in seen]
        seen.update(real.values())


class Marks:
    """Notes on images in one file by file name: one line a note, the last one counts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, dict[str, Any]]:
        """Return what is noted of each image; torn lines and unreadable files hold nothing."""
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:
            return {}
        notes: dict[str, dict[str, Any]] = {}
        for line in lines:
            with suppress(ValueError, RecursionError):
                note = json.loads(line)
                if isinstance(note, dict) and isinstance(note.get("image"), str):
                    notes.setdefault(note["image"], {}).update(note)
        if len(lines) > max(_LONG, 4 * len(notes)):
            text = "".join(json.dumps(note) + "\n" for note in notes.values())
            with suppress(FormatError):
                write_bytes(self.path, text.encode())
        return notes

    def note(self, image: str, **facts: Any) -> None:
        """Note something of an image; what was noted otherwise stays."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"image": image, **facts}).encode() + b"\n"
        with self.path.open("a+b") as file:
            torn = b""
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                torn = b"\n" if file.read(1) != b"\n" else b""
            # One write at the end of the file: those of several programs do not mix.
            file.write(torn + line)


def seen_marks(folder: Path) -> Marks:
    """Return what this machine has seen of the images in a folder."""
    name = blake2b(os.path.realpath(folder).encode(), digest_size=16).hexdigest()
    return Marks(projects_folder().parent / "folders" / f"{name}.jsonl")


def ticks(folder: Path) -> set[str]:
    """Return the file names of the images in a folder that are ticked as done."""
    notes = Marks(folder / BESIDE).read()
    # Of a folder that could not be written to.
    for image, note in seen_marks(folder).read().items():
        if note.get("done") is not None:
            notes[image] = note
    return {image for image, note in notes.items() if note.get("done") is True}


def tick(image: Path, done: bool) -> None:
    """Note that an image is done, or that it is not, beside it if that is possible."""
    seen = seen_marks(image.parent)
    try:
        Marks(image.parent / BESIDE).note(image.name, done=done)
        if seen.read().get(image.name, {}).get("done") is not None:
            seen.note(image.name, done=None)
    except OSError:
        try:
            seen.note(image.name, done=done)
        except OSError as error:
            why = error.strerror or str(error)
            raise FormatError(f"{seen.path}: cannot be written ({why}); make room there") from error


def _lexicon_path(folder: Path) -> Path:
    return seen_marks(folder).path.with_suffix(".lexicon.json")


def choose_lexicon(folder: Path, lexicon: Path | None) -> None:
    """Note which lexicon the images in a folder are named by; a FormatError where that fails."""
    path = _lexicon_path(folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"{path.parent}: cannot be made ({error.strerror or error})") from error
    write_bytes(path, json.dumps({"lexicon": str(lexicon or "")}).encode())


def chosen_lexicon(folder: Path) -> Path | None:
    """Return the lexicon that was chosen for a folder; None where none was."""
    try:
        chosen = json.loads(_lexicon_path(folder).read_bytes())["lexicon"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Path(chosen) if isinstance(chosen, str) and chosen else None


def _last_path() -> Path:
    return projects_folder().parent / "folders" / "last.json"


def remember(folder: Path, image: str) -> None:
    """Note where somebody is; a disk that cannot be written to is no error."""
    text = json.dumps({"folder": str(folder), "image": image})
    with suppress(FormatError, OSError):
        _last_path().parent.mkdir(parents=True, exist_ok=True)
        write_bytes(_last_path(), text.encode())


def last() -> tuple[Path, str] | None:
    """Return the folder and the name of the image in it; None where there is none any more."""
    try:
        value = json.loads(_last_path().read_bytes())
        folder, image = Path(value["folder"]), str(value["image"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (folder, image) if folder.is_dir() else None


@dataclass(frozen=True, slots=True)
class Status:
    """How far one image is; `problem` and `note` are sentences, on the image and its saved work."""

    # Whether it was ever opened here, and whether its grid is still kept.
    opened: bool = False
    read: bool = False
    # What is saved, see `ProjectCounts`, and whether a person has ticked it.
    regions: int = 0
    captions: int = 0
    to_review: int = 0
    done: bool = False
    problem: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """The same in a few words."""
        if self.problem:
            return "cannot be opened"
        regions, captions = counted(self.regions, "region"), counted(self.captions, "caption")
        parts = [regions] * bool(self.regions) + [captions] * bool(self.captions)
        parts += [f"{self.to_review} to review"] * bool(self.to_review)
        counts = ", ".join(parts)
        if self.note and not counts:
            return "saved work cannot be read"
        return counts or ("read" if self.read else "opened" if self.opened else "not opened")

    @property
    def brief(self) -> str:
        """The same for a narrow column: as many captions as regions are not counted twice."""
        same = self.captions == self.regions and not self.problem
        return replace(self, captions=0).text if same else self.text


# Which images each choice lists.
ONLY: dict[str, Callable[[Status], bool]] = {
    "All": lambda status: True,
    "Not done": lambda status: not status.done,
    "To review": lambda status: status.to_review > 0,
    "Not opened": lambda status: (
        not any((status.opened, status.problem, status.regions, status.captions))
    ),
    "With a problem": lambda status: bool(status.problem or status.note),
}
NEW = Status()
Result = list[ImageFile] | dict[str, Status] | None


class StatusReader:
    """Reads the status of images; what has not changed since is not read again.

    `holds` says whether a grid of a key is kept, so that the image need not be encoded again.
    """

    def __init__(self, holds: Callable[[str], bool]) -> None:
        self._holds = holds
        self._known: dict[Path, tuple[tuple[int, int], ProjectCounts | str]] = {}

    def read(
        self, files: Iterable[ImageFile], progress: Progress = no_progress
    ) -> Iterator[dict[str, Status]]:
        """Yield statuses by name, a few at a time."""
        progress(0.0, "looking")
        home = _projects_at_home()
        for folder, group in groupby(files, key=lambda file: file.path.parent):
            projects, done = _projects_beside(folder), ticks(folder)
            marks = seen_marks(folder).read()
            statuses: dict[str, Status] = {}
            for file in group:
                name = file.path.name
                own = [*projects.get(name, ()), *home.get(str(file.path.absolute()), ())]
                seen = marks.get(name, {})
                # What was seen of an image that has changed since says nothing.
                if tuple(seen.get("stamp", ())) != file.stamp:
                    seen = {}
                counts = self._counts(_newest(own, str(seen.get("content", ""))))
                status = Status(
                    opened="content" in seen,
                    read=self._holds(str(seen.get("grid", ""))),
                    done=name in done,
                    problem=str(seen.get("problem", "")),
                    note=counts if isinstance(counts, str) else counts.warning if counts else "",
                )
                if isinstance(counts, ProjectCounts):
                    numbers = {n: getattr(counts, n) for n in ("regions", "captions", "to_review")}
                    status = replace(status, opened=True, **numbers)
                statuses[file.name] = status
                if len(statuses) == _TOGETHER:
                    yield statuses
                    statuses = {}
            yield statuses

    def _counts(self, project: Path | None) -> ProjectCounts | str | None:
        """Return what is in a project, or what is wrong with it."""
        if project is None:
            return None
        stamp = stamp_of(project)
        if project not in self._known or self._known[project][0] != stamp:
            try:
                self._known[project] = stamp, read_counts(project)
            except FormatError as error:
                self._known[project] = stamp, str(error)
        return self._known[project][1]


def _projects_beside(folder: Path) -> dict[str, list[Path]]:
    """Return the projects in a folder by the file name of their image.

    ``a.tif.patchioner.json`` belongs to ``a.tif``, and so do ``a.tif.2.patchioner.json`` and
    ``a.tif.0123abcd.patchioner.json``, unless there are images of these names.
    """
    names: set[str] = set()
    with suppress(OSError):
        names.update(os.listdir(folder))
    projects: dict[str, list[Path]] = {}
    shortened = {stem: name for name in names if (stem := short_name(name)) != name}
    for name in names:
        if name.endswith(ENDING):
            image = name.removesuffix(ENDING)
            image = shortened.get(image, image)
            while image not in names and "." in image:
                image = image.rpartition(".")[0]
            projects.setdefault(image, []).append(folder / name)
    return projects


def _projects_at_home() -> dict[str, list[Path]]:
    """Return the projects in the user's own folder by the path of their image."""
    projects: dict[str, list[Path]] = {}
    for path in projects_folder().glob(f"*{ENDING}"):
        with suppress(FormatError):
            projects.setdefault(read_image(path).path, []).append(path)
    return projects


def _newest(projects: Sequence[Path], content: str) -> Path | None:
    """Return the project saved last; of those made on other pixels none, where that is known."""
    own = []
    for path in projects:
        written, made_on = "", ""
        # A damaged project says neither when it was saved nor of which image it is.
        with suppress(FormatError):
            head = read_head(path)
            if head is not None:
                written, made_on = head.written, head.content
        if not (content and made_on) or made_on == content:
            own.append((written, path))
    return max(own, key=lambda pair: pair[0])[1] if own else None


def search_folder(
    folder: Path, taken: Collection[str], reader: StatusReader, progress: Progress
) -> Iterator[Result]:
    """Yield the images of a folder, None when these were all, then how far they are."""
    files: list[ImageFile] = []
    shown = 0
    for images in list_images(folder, taken, progress):
        files += images
        # The first ones at once; folders of a few images each not one by one.
        if len(files) - shown >= (TOGETHER if shown else 1):
            yield files[shown:]
            shown = len(files)
    yield files[shown:]
    yield None
    yield from reader.read(files)


class Listing(QObject):  # type: ignore[misc]
    """A folder's images in order; those that the filter lets through are the rows of the list."""

    changed = Signal()
    # Names whose status is another one.
    advanced = Signal(set)
    listed = Signal()
    messaged = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.folder: Path | None = None
        self.files: list[ImageFile] = []
        self.rows: list[ImageFile] = []
        self.statuses: dict[str, Status] = {}
        self.kept: ImageFile | None = None
        self._filter: tuple[str, str] = ("", "All")
        # By name, how likely images show a phrase; None where none is looked for.
        self.matches: dict[str, float] | None = None
        self._places: dict[str, int] = {}
        # Where each is in `files`, by name.
        self._order: dict[str, int] = {}
        self._coming: list[ImageFile] | None = None
        self._jobs: list[Job] = []
        self._stale: dict[str, ImageFile] = {}
        self._reader = StatusReader(lambda key: bool(key) and self._store.holds(key))
        self._news = throttled(self._read_stale, SETTLE_MS, self)

    @property
    def active(self) -> bool:
        """Whether the folder is being searched or statuses are read."""
        return bool(self._jobs)

    def open(self, folder: Path) -> None:
        """Show the images of a folder, as they are found."""
        self.close()
        self.folder, self.files, self.statuses, self.matches = folder, [], {}, None
        self.kept, self._coming = None, None
        self._refilter()
        self._send(search_folder, folder, endings(), self._reader)

    def refresh(self) -> None:
        """Search the folder once more; the list stays until that is done."""
        if self.folder is not None:
            self.close()
            self._coming = []
            self._send(search_folder, self.folder, endings(), self._reader)

    def close(self) -> None:
        """Stop all jobs."""
        self._news.cancel()
        for job in self._jobs:
            job.drop()
        self._jobs.clear()

    def status(self, file: ImageFile) -> Status:
        """Return how far an image is, as far as that is known by now."""
        return self.statuses.get(file.name, NEW)

    def filter(self, text: str, only: str) -> None:
        """Show the images whose name holds a text, and that are so far."""
        self._filter = (text.casefold(), only)
        self._refilter()

    def rank(self, matches: Mapping[str, float] | None) -> None:
        """Show only images of these names, those of the highest score first; None for all."""
        self.matches = dict(matches) if matches is not None else None
        self._refilter()

    def keep(self, file: ImageFile | None) -> None:
        """Show an image whatever the filter says: it is the one in the window."""
        self.kept = file
        self._refilter()

    def find(self, name: str) -> ImageFile | None:
        """Return an image by its name within the folder."""
        return self.files[self._order[name]] if name in self._order else None

    def neighbour(self, file: ImageFile | None, by: int) -> ImageFile | None:
        """Return the next row (1) or the one before (-1) that can be opened."""
        # A file that the filter has hidden since still says from where; without one, all are ahead.
        start = self._places.get(file.name, -1) if file is not None else -1
        for row in self.rows[::by]:
            if (self._places[row.name] - start) * by > 0 and not self.status(row).problem:
                return row
        return None

    def tick(self, files: Iterable[ImageFile], done: bool) -> None:
        """Note that images are done, or that they are not."""
        for file in files:
            try:
                tick(file.path, done)
            except PatchionerError as error:
                self.messaged.emit(str(error))
                return
            self.reread(file)

    def note(self, file: ImageFile, **facts: Any) -> None:
        """Note what this machine has seen of an image; a full disk is no reason to stop."""
        try:
            seen_marks(file.path.parent).note(file.path.name, **facts)
        except OSError as error:
            self.messaged.emit(f"what was read cannot be noted ({error.strerror or error})")
        self.reread(file)

    def show_problem(self, file: ImageFile, why: str) -> None:
        """Show at once that an image cannot be opened, so that it is not tried again."""
        self._on_statuses({file.name: replace(self.status(file), problem=why)})

    def reread(self, file: ImageFile) -> None:
        """Read soon how far an image has come."""
        self._stale[file.name] = file
        self._news.throttle()

    def _read_stale(self) -> None:
        files = [file for name, file in self._stale.items() if self.find(name) is not None]
        self._stale.clear()
        if files:
            self._send(self._reader.read, files)

    def _send(self, function: Callable[..., Iterator[Result]], *arguments: Any) -> None:
        self._store = current_store(bool(preference("cache", "on_disk")))
        job = Job(function, *arguments, background=True, parent=self)
        job.delivered.connect(self._on_delivered)
        job.ended.connect(partial(self._on_ended, job))
        self._jobs.append(job)
        job.start()
        self.changed.emit()

    def _on_delivered(self, result: Result) -> None:
        if isinstance(result, dict):
            self._on_statuses(result)
        elif result is None:
            if self._coming is not None:
                self.files, self._coming = self._coming, None
            self._refilter()
            self.listed.emit()
        elif self._coming is not None:
            self._coming += result
        else:
            self.files += result
            self._refilter()

    def _on_statuses(self, statuses: dict[str, Status]) -> None:
        news = {name for name, status in statuses.items() if self.statuses.get(name) != status}
        if not news:
            return
        self.statuses.update(statuses)
        if self._filter[1] != "All":
            self._refilter()
        self.advanced.emit(news)

    def _on_ended(self, job: Job, error: Exception | None) -> None:
        self._jobs.remove(job)
        self._coming = None
        if error is not None and not isinstance(error, Cancelled):
            self.messaged.emit(str(error))
        self.changed.emit()

    def _refilter(self) -> None:
        self._order = {file.name: index for index, file in enumerate(self.files)}
        text, only = self._filter
        files, matches = self.files, self.matches
        if matches is not None:
            ranked = (file for file in files if file.name in matches)
            files = sorted(ranked, key=lambda file: -matches[file.name])
        self._places = {file.name: index for index, file in enumerate(files)}
        self.rows = [
            file
            for file in files
            if file is self.kept or (text in file.name.casefold() and ONLY[only](self.status(file)))
        ]
        self.changed.emit()
