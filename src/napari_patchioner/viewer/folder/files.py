"""The images in a folder, what is noted of them, and how far each is. Knows no Qt widgets."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_patchioner.annotations import projects_folder, read_head, write_bytes
from napari_patchioner.annotations.project.file import read_counts, read_image_path
from napari_patchioner.annotations.project.places import ENDING, project_stem
from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.progress import no_progress
from napari_patchioner.viewer.session.session import counted
from napari_patchioner.viewer.workers.prefetch import ImageFile, stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from napari_patchioner.annotations.project.file import ProjectCounts
    from napari_patchioner.progress import Progress

_NUMBER = re.compile(r"(\d+)")
# Folders that are one image each.
_IMAGE_FOLDER = ".zarr"
# What a person ticks lies beside the images, as the projects do, so that it goes along with them
# and several people may tick at a time. What this machine has seen of them lies in the user's data
# folder.
BESIDE = "folder.patchioner.jsonl"
# A file of so many lines is written anew when most of them are out of date.
_LONG = 1000
# Statuses handed out at a time.
_TOGETHER = 100
Only = Literal["all", "not done", "to review", "not opened", "with a problem"]


def natural(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a key that sorts names as people count.

    >>> sorted(["cell10.tif", "Cell9.tif", "cell1.tif"], key=natural)
    ['cell1.tif', 'Cell9.tif', 'cell10.tif']
    """
    parts = _NUMBER.split(name.casefold())
    # Every second part is a number: texts are only ever compared with texts.
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), name


def list_images(
    folder: Path, endings: Collection[str], progress: Progress = no_progress
) -> Iterator[list[ImageFile]]:
    """Yield the images in a folder and the folders in it, those of one folder together.

    Hidden files and folders are left out, links to folders are followed but never in a circle.
    A folder whose name ends with ``.zarr`` is one image. `endings` are those of the names of
    images, in small letters, dots included.
    """
    taken = tuple(endings)
    ahead, seen = [folder], {os.path.realpath(folder)}
    while ahead:
        here = ahead.pop()
        progress(0.0, here.name)
        names, folders = _names_in(here, taken, needed=here == folder)
        paths = (here / name for name in sorted(names, key=natural))
        yield [ImageFile(path, path.relative_to(folder).as_posix()) for path in paths]
        deeper = [here / name for name in sorted(folders, key=natural)]
        new = [path for path in deeper if os.path.realpath(path) not in seen]
        seen.update(map(os.path.realpath, new))
        ahead += reversed(new)


def _names_in(
    folder: Path, endings: tuple[str, ...], *, needed: bool
) -> tuple[list[str], list[str]]:
    """Return the names of the images and of the folders in a folder."""
    names: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                is_image = name.lower().endswith(endings)
                if name.startswith("."):
                    continue
                try:
                    is_folder = entry.is_dir()
                except OSError:
                    is_folder = False
                if not is_folder:
                    names += [name] if is_image else []
                elif is_image and name.lower().endswith(_IMAGE_FOLDER):
                    names.append(name)
                else:
                    folders.append(name)
    except OSError as error:
        if needed:
            why = error.strerror or str(error)
            raise ImageError(f"{folder} cannot be opened ({why}); choose another one") from error
    return names, folders


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
        # One write at the end of the file: those of several programs do not mix. The line before
        # it may have been torn.
        with self.path.open("ab") as file:
            file.write(line if _ends_well(self.path) else b"\n" + line)


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


def _ends_well(path: Path) -> bool:
    """Whether the last line of a file is whole."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


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
    """How far one image is.

    Attributes
    ----------
    opened, read : bool
        Whether it was ever opened here, and whether its grid is still kept.
    regions, captions, to_review : int
        What is saved, see `ProjectCounts`.
    done : bool
        Whether a person has ticked it.
    problem : str
        Why it cannot be opened, in one sentence.
    note : str
        What is wrong with its saved work, in one sentence.
    """

    opened: bool = False
    read: bool = False
    regions: int = 0
    captions: int = 0
    to_review: int = 0
    done: bool = False
    problem: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """The same in a few words.

        >>> Status(opened=True, regions=3, captions=2, to_review=1).text
        '3 regions, 2 captions, 1 to review'
        """
        if self.problem:
            return "cannot be opened"
        parts = [
            counted(self.regions, "region") if self.regions else "",
            counted(self.captions, "caption") if self.captions else "",
            f"{self.to_review} to review" if self.to_review else "",
        ]
        counts = ", ".join(filter(None, parts))
        if self.note and not counts:
            return "saved work cannot be read"
        return counts or ("read" if self.read else "opened" if self.opened else "not opened")

    @property
    def brief(self) -> str:
        """The same for a narrow column: as many captions as regions are not counted twice.

        >>> Status(opened=True, regions=3, captions=3, to_review=1).brief
        '3 regions, 1 to review'
        """
        same = self.captions == self.regions and not self.problem
        return replace(self, captions=0).text if same else self.text

    def is_among(self, only: Only) -> bool:
        """Whether it belongs to a part of the list."""
        return {
            "all": True,
            "not done": not self.done,
            "to review": self.to_review > 0,
            "not opened": not (self.opened or self.problem or self.regions or self.captions),
            "with a problem": bool(self.problem or self.note),
        }[only]


NEW = Status()


class StatusReader:
    """Reads the status of images; what has not changed since is not read again.

    `holds` says whether a grid of a key is kept, so that the image need not be encoded again.
    """

    def __init__(self, holds: Callable[[str], bool]) -> None:
        self._holds = holds
        self._known: dict[Path, tuple[tuple[int, int], ProjectCounts | str]] = {}

    def read(self, files: Iterable[ImageFile]) -> Iterator[dict[str, Status]]:
        """Yield statuses by name, a few at a time."""
        home = _projects_at_home()
        for folder, group in groupby(files, key=lambda file: file.path.parent):
            projects, done = _projects_beside(folder), ticks(folder)
            seen = seen_marks(folder).read()
            statuses: dict[str, Status] = {}
            for file in group:
                name = file.path.name
                own = [*projects.get(name, ()), *home.get(str(file.path.absolute()), ())]
                note = seen.get(name, {})
                # What was seen of an image that has changed since says nothing.
                known = note if tuple(note.get("stamp", ())) == file.stamp else {}
                statuses[file.name] = self._status(own, known, done=name in done)
                if len(statuses) == _TOGETHER:
                    yield statuses
                    statuses = {}
            yield statuses

    def _status(self, projects: Sequence[Path], seen: Mapping[str, Any], *, done: bool) -> Status:
        counts, note = self._counts(_newest(projects, str(seen.get("content", ""))))
        status = Status(
            opened="content" in seen or counts is not None,
            read=self._holds(str(seen.get("grid", ""))),
            done=done,
            problem=str(seen.get("problem", "")),
            note=note,
        )
        if counts is None:
            return status
        return replace(
            status,
            regions=counts.regions,
            captions=counts.captions,
            to_review=counts.to_review,
        )

    def _counts(self, project: Path | None) -> tuple[ProjectCounts | None, str]:
        """Return what is in a project, and what is wrong with it."""
        if project is None:
            return None, ""
        stamp = stamp_of(project)
        known = self._known.get(project)
        if known is None or known[0] != stamp:
            try:
                known = stamp, read_counts(project)
            except FormatError as error:
                known = stamp, str(error)
            self._known[project] = known
        value = known[1]
        return (None, value) if isinstance(value, str) else (value, value.warning)


def _projects_beside(folder: Path) -> dict[str, list[Path]]:
    """Return the projects in a folder by the file name of their image.

    ``a.tif.patchioner.json`` belongs to ``a.tif``, and so do ``a.tif.2.patchioner.json`` and
    ``a.tif.0123abcd.patchioner.json``, unless there are images of these names.
    """
    try:
        names = set(os.listdir(folder))
    except OSError:
        return {}
    projects: dict[str, list[Path]] = {}
    shortened = {stem: name for name in names if (stem := project_stem(name)) != name}
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
            projects.setdefault(read_image_path(path), []).append(path)
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
