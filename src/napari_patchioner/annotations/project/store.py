"""The project of one image: looked for once, then written as often as there is something new."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Any
from weakref import WeakValueDictionary

from napari_patchioner.annotations.images import content_hash
from napari_patchioner.errors import FormatError

from . import file, places
from .records import Merged, Project, ProjectImage, merge_projects

# The name of a project's field: checksums of files that all of was taken over.
ABSORBED = "absorbed"
# Who of this process has read or written a file last.
_WRITERS: WeakValueDictionary[Path, ProjectStore] = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class CopyProject:
    """Work on another image with the very same pixels, which a person may take over.

    ``image_path`` is empty where that was no file; where it no longer exists, it may be this one,
    moved.
    """

    path: Path
    image_name: str
    image_path: str
    captions: int
    image_exists: bool


class ProjectStore:
    """Where the work on one image is kept. Safe to use from several threads.

    A file that this store has neither read nor written is never replaced: then the work goes
    into another file, and `note` says so. The project of another image is never written into,
    even where its pixels are the same: it is only offered.

    Parameters
    ----------
    pixels : array_like
        The image at full resolution, lazy or not; read once.
    image_path : path-like, optional
        Where it lies; None where it is no file.
    name : str
        What it is called.

    Attributes
    ----------
    path : Path, optional
        The file the work is in; None as long as there is none.
    note : str
        What a person should know of the last `find` or `write`, in one sentence; mostly empty.
    others : tuple of Path
        Further projects of the image, the newest first, that hold what the one found lacks.
    copies : tuple of CopyProject
        Where nothing is saved for the image itself: work on images with the same pixels, the
        newest first. Nothing of it is taken over unless a person says so.
    """

    def __init__(self, pixels: Any, image_path: str | os.PathLike[str] | None, name: str) -> None:
        self.path: Path | None = None
        self.note = ""
        self.others: tuple[Path, ...] = ()
        self.copies: tuple[CopyProject, ...] = ()
        self._absorbed: set[str] = set()
        self._pixels = pixels
        self._image_path = image_path
        self._name = name
        self._image: ProjectImage | None = None
        self._checksum = ""
        # Whether a note said that the work lies elsewhere than beside its image.
        self._elsewhere_noted = False
        self._lines = file.ProjectLines()
        self._lock = RLock()

    @property
    def image(self) -> ProjectImage:
        """Which image it is; its pixels are read when this is first asked for."""
        with self._lock:
            if self._image is None:
                path = str(self._image_path or "")
                if path and "://" not in path:  # the same in every folder one works in
                    path = str(Path(path).expanduser().absolute())
                self._image = ProjectImage(
                    self._name,
                    tuple(int(length) for length in self._pixels.shape),
                    str(self._pixels.dtype),
                    content_hash(self._pixels),
                    path,
                )
            return self._image

    def find(self) -> Project | None:
        """Return the work saved for this image; None if there is none.

        Work on copies of the image, of which one may be the image before it was moved, is noted in
        `copies`. What cannot be read is a FormatError, and left alone.
        """
        with self._lock:
            content = self.image.content
            places.sweep_projects(self._image_path, content)
            paths = places.find_projects(self._image_path, content, self._name)
            if paths:
                project = self.take(paths[0], go_on=len(paths) > 1)
                self._compare(project, paths[1:])
                return project
            other = places.project_of_other_pixels(self._image_path, content)
            if other is not None:
                self.note = f"{other.name} was made on other pixels; it is left as it is"
            others = places.projects_of_copies(self._image_path, content, self._name)
            copies = map(_copy, others)
            self.copies = tuple(copy for copy in copies if copy is not None)
            return None

    def take(self, path: str | os.PathLike[str], *, go_on: bool = False) -> Project:
        """Read a project, and go on in its file if that is where this image's work belongs.

        With ``go_on``, go on in it wherever it lies, if it is a project of this very image.
        """
        with self._lock:
            path = Path(path)
            project = file.read_project(path)
            self.note = project.warning
            self._absorbed = _absorbed(project)
            ours = path == self._best_path()
            if places.is_own(path, self._image_path, self._name) and (go_on or ours):
                self.move(path)
            else:
                self._absorb(path)
            return project

    def merge(self, mine: Project, path: str | os.PathLike[str]) -> Merged:
        """Add to the work at hand what another project has; that file stays as it is."""
        with self._lock:
            path = Path(path)
            other = file.read_project(path)
            merged = merge_projects(mine, other)
            self._absorbed |= _absorbed(other)
            self._absorb(path)
            self.others = tuple(other for other in self.others if other != path)
            return merged

    def leave(self) -> None:
        """Let the file be as it is: what is written from now on goes into another one."""
        with self._lock:
            self.path, self._checksum = None, ""

    def move(self, path: str | os.PathLike[str]) -> None:
        """Write into another file from now on, replacing what is there."""
        with self._lock:
            self.path, self._checksum = Path(path), ""
            _WRITERS[self.path] = self
            # A damaged file has no head worth knowing, and is replaced all the same.
            with suppress(FormatError):
                self._checksum = file.checksum_of(path)

    def write(self, project: Project) -> Path:
        """Write the work and return where: beside the image, else in the user's folder."""
        with self._lock:
            extra = {**project.extra, ABSORBED: sorted(self._absorbed)} if self._absorbed else {}
            project = replace(project, image=self.image, extra=extra or project.extra)
            self.note = ""
            path = self.path or self._best_path()
            try:
                path = self._write_or_spare(path, project)
            except FormatError as error:
                home = self._home_path()
                if path == home:
                    raise
                self._checksum = ""
                path = self._write_or_spare(home, project)
                self.note = f"{error}; saved to {path} instead"
            elsewhere = bool(self._image_path) and path.parent == file.projects_folder()
            if elsewhere and not self._elsewhere_noted and not self.note:
                self.note = f"nothing can be written beside the image; it is saved to {path}"
            self._elsewhere_noted = elsewhere
            self.path = path
            _WRITERS[path] = self
            return path

    def set_aside(self, project: Project) -> Path:
        """Write what the work at hand has no longer into a file of its own, to be merged again."""
        with self._lock:
            project = replace(project, image=self.image)
            kept, self._checksum = (self._checksum, self.note), ""
            path = places.spare_path(self.path or self._best_path())
            try:
                path = self._write_or_spare(path, project)
            except FormatError:
                home = self._home_path()
                path = self._write_or_spare(places.spare_path(home), project)
            finally:
                self._checksum, self.note = kept
            self.others += (path,)
            return path

    def _best_path(self) -> Path:
        return places.project_path(self._image_path, self.image.content, self._name)

    def _home_path(self) -> Path:
        return places.home_path(self._image_path, self.image.content, self._name)

    def _compare(self, project: Project, paths: Sequence[Path]) -> None:
        """Note what older projects of the image have that this one lacks."""
        news = {}
        for path in paths:
            # One that nobody can read has nothing to offer; it is left alone.
            with suppress(FormatError):
                if file.checksum_of(path) not in {"", *self._absorbed}:
                    news[path] = merge_projects(project, file.read_project(path)).news
        self.others = tuple(path for path in news if news[path])
        if self.others and not self.note:
            first = self.others[0]
            more = f" (and {len(self.others) - 1} more)" if len(self.others) > 1 else ""
            self.note = (
                f"older work on this image, with {news[first]} captions or regions that are not "
                f"in this one, lies in {first}{more}; choose Merge… to take it over"
            )

    def _absorb(self, path: Path) -> None:
        """Note that all of a file, as it is now, is in the work at hand."""
        with suppress(FormatError):
            self._absorbed |= {file.checksum_of(path)} - {""}

    def _write_or_spare(self, path: Path, project: Project) -> Path:
        """Write, into another file where this one is somebody else's; return which it was."""
        wanted = path
        if path.parent == file.projects_folder():
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            # Before the file: one that nobody finds again would be lost all the same.
            with suppress(FormatError):
                places.remember_project(path, self.image.content)
            try:
                self._checksum = file.write_project(
                    path, project, replaces=self._checksum, lines=self._lines
                )
            except (file.ProjectTaken, file.NewerVersion):
                # Another program may take the free name in the meantime, too.
                path, self._checksum = places.spare_path(wanted), ""
            else:
                break
        if path != wanted:
            again = _WRITERS.get(wanted) not in (None, self)
            here = "the image is open twice"
            elsewhere = "another program writes the project, too"
            self.note = f"{here if again else elsewhere}; this goes to {path.name}"
        return path


def _absorbed(project: Project) -> set[str]:
    """Return the checksums of the files that all of is in a project."""
    digests = project.extra.get(ABSORBED, ())
    return {d for d in digests if isinstance(d, str)} if isinstance(digests, list) else set()


def _copy(path: Path) -> CopyProject | None:
    """Return what is to be said of a copy's project; None where nobody can read it."""
    try:
        counts = file.read_counts(path)
    except FormatError:
        return None
    image = places.image_of_project(path)
    try:
        exists = bool(image.path) and ("://" in image.path or Path(image.path).exists())
    except OSError:  # a drive that does not answer may have it still
        exists = True
    return CopyProject(path, image.name, image.path, counts.captions, exists)
