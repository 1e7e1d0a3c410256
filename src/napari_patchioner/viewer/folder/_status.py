"""How far each image of a folder is, as its saved work tells. Knows no Qt."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from napari_patchioner.annotations import projects_folder, read_head
from napari_patchioner.annotations.project.file import read_counts, read_image_path
from napari_patchioner.annotations.project.places import ENDING, project_stem
from napari_patchioner.errors import FormatError

from ._marks import seen_marks, ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_patchioner.annotations.project.file import ProjectCounts

    from ._files import ImageFile

# Statuses handed out at a time.
_TOGETHER = 100
Only = Literal["all", "not done", "to review", "not opened", "with a problem"]


@dataclass(frozen=True, slots=True)
class Status:
    """How far one image is.

    Attributes
    ----------
    opened, read : bool
        Whether it was ever opened here, and whether what a model saw of it is still kept.
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
            _count(self.regions, "region") if self.regions else "",
            _count(self.captions, "caption") if self.captions else "",
            f"{self.to_review} to review" if self.to_review else "",
        ]
        counted = ", ".join(part for part in parts if part)
        if self.note and not counted:
            return "saved work cannot be read"
        return counted or ("read" if self.read else "opened" if self.opened else "not opened")

    @property
    def brief(self) -> str:
        """The same for a narrow column: as many captions as regions are not told twice.

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


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class StatusReader:
    """Reads the status of images; what has not changed since is not read again.

    Parameters
    ----------
    holds : callable
        Whether a grid of this key is kept, so that the image need not be read again.
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
            found: dict[str, Status] = {}
            for file in group:
                found[file.name] = self._status_of(file, projects, home, done, seen)
                if len(found) == _TOGETHER:
                    yield found
                    found = {}
            yield found

    def _status_of(
        self,
        file: ImageFile,
        projects: Mapping[str, list[Path]],
        home: Mapping[str, list[Path]],
        done: Collection[str],
        seen: Mapping[str, Mapping[str, Any]],
    ) -> Status:
        name = file.path.name
        own = [*projects.get(name, ()), *home.get(str(file.path.absolute()), ())]
        note = seen.get(name, {})
        # What was seen of an image that has changed since says nothing.
        known = note if tuple(note.get("stamp", ())) == file.stamp else {}
        return self._status(own, known, done=name in done)

    def _status(self, projects: Sequence[Path], seen: Mapping[str, Any], *, done: bool) -> Status:
        counts, note = self._counts(_newest(projects, str(seen.get("content", ""))))
        facts: dict[str, Any] = {
            "done": done,
            "note": note,
            "problem": str(seen.get("problem", "")),
        }
        facts["opened"] = "content" in seen or counts is not None
        facts["read"] = self._holds(str(seen.get("grid", "")))
        if counts is not None:
            facts |= {name: getattr(counts, name) for name in ("regions", "captions", "to_review")}
        return Status(**facts)

    def _counts(self, project: Path | None) -> tuple[ProjectCounts | None, str]:
        """Return what is in a project, and what is wrong with it."""
        if project is None:
            return None, ""
        stamp = _stamp(project)
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
        names = os.listdir(folder)
    except OSError:
        return {}
    there, found = set(names), {}
    shortened = {stem: name for name in names if (stem := project_stem(name)) != name}
    for name in names:
        if name.endswith(ENDING):
            image = name.removesuffix(ENDING)
            image = shortened.get(image, image)
            while image not in there and "." in image:
                image = image.rpartition(".")[0]
            found.setdefault(image, []).append(folder / name)
    return found


def _projects_at_home() -> dict[str, list[Path]]:
    """Return the projects in the user's own folder by the path of their image."""
    found: dict[str, list[Path]] = {}
    for path in projects_folder().glob(f"*{ENDING}"):
        try:
            found.setdefault(read_image_path(path), []).append(path)
        except FormatError:
            continue
    return found


def _newest(projects: Sequence[Path], content: str) -> Path | None:
    """Return the project saved last; of those made on other pixels none, where that is known."""
    heads = [(path, _head(path)) for path in projects]
    own = [one for one in heads if not (content and one[1][1]) or one[1][1] == content]
    return max(own, key=lambda one: one[1][0])[0] if own else None


def _head(path: Path) -> tuple[str, str]:
    """Return when a project was saved and whose it is; nothing where it is damaged."""
    try:
        head = read_head(path)
    except FormatError:
        return "", ""
    return (head.written, head.content) if head is not None else ("", "")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:
        return (0, 0)
    return (state.st_size, state.st_mtime_ns)
