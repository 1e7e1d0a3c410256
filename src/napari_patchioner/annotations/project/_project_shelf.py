"""The project of one image: looked for once, then written as often as there is something new."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

from napari_patchioner.annotations._content_hash import content_hash
from napari_patchioner.errors import FormatError

from ._project import ProjectImage
from ._project_file import NewerVersion, ProjectTaken, read_head, read_project, write_project
from ._project_lines import ProjectLines
from ._project_merge import merge_projects
from ._project_places import (
    find_projects,
    project_path,
    projects_folder,
    remember_project,
    spare_path,
    strange_project,
    sweep_projects,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from napari_patchioner.annotations._content_hash import ArrayLike

    from ._project import Project
    from ._project_merge import Merged

# The name of a project's field: checksums of files that all of was taken over.
ABSORBED = "absorbed"


class ProjectShelf:
    """Where the work on one image is kept. Safe to use from several threads.

    A file that this shelf has neither read nor written is never replaced: then the work goes
    into another file, and `note` says so.

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
    """

    def __init__(
        self, pixels: ArrayLike, image_path: str | os.PathLike[str] | None, name: str
    ) -> None:
        self.path: Path | None = None
        self.note = ""
        self.others: tuple[Path, ...] = ()
        self._absorbed: set[str] = set()
        self._pixels = pixels
        self._image_path = image_path
        self._name = name
        self._image: ProjectImage | None = None
        self._checksum = ""
        self._lines = ProjectLines()
        self._lock = RLock()

    @property
    def image(self) -> ProjectImage:
        """Which image it is; its pixels are read when this is first asked for."""
        with self._lock:
            if self._image is None:
                self._image = ProjectImage(
                    self._name,
                    tuple(int(length) for length in self._pixels.shape),
                    str(self._pixels.dtype),
                    content_hash(self._pixels),
                    str(self._image_path or ""),
                )
            return self._image

    def find(self) -> Project | None:
        """Return the work saved for this image, under whatever name; None if there is none.

        Raises
        ------
        FormatError
            If there is some that cannot be read; it is left alone.
        """
        with self._lock:
            content = self.image.content
            sweep_projects(self._image_path, content)
            found = find_projects(self._image_path, content)
            strange = None if found else strange_project(self._image_path, content)
            if strange is not None:
                self.note = f"{strange.name} was made on other pixels; it is left as it is"
            if not found:
                return None
            project = self.take(found[0], go_on=len(found) > 1)
            self._compare(project, found[1:])
            return project

    def take(self, path: str | os.PathLike[str], *, go_on: bool = False) -> Project:
        """Read a project, and go on in its file if that is where this image's work belongs.

        Parameters
        ----------
        path : path-like
            The file.
        go_on : bool
            Go on in it wherever it lies.

        Raises
        ------
        FormatError
            If it cannot be read.
        """
        with self._lock:
            path = Path(path)
            project = read_project(path)
            self.note = project.warning
            self._absorbed = _absorbed(project)
            if go_on or path == project_path(self._image_path, self.image.content):
                self.move(path)
            else:
                self._absorb(path)
            return project

    def merge(self, mine: Project, path: str | os.PathLike[str]) -> Merged:
        """Add to the work at hand what another project has; that file stays as it is.

        Raises
        ------
        FormatError
            If it cannot be read.
        """
        with self._lock:
            path = Path(path)
            other = read_project(path)
            merged = merge_projects(mine, other)
            self._absorbed |= _absorbed(other)
            self._absorb(path)
            self.others = tuple(one for one in self.others if one != path)
            return merged

    def leave(self) -> None:
        """Let the file be as it is: what is written from now on goes into another one."""
        with self._lock:
            self.path, self._checksum = None, ""

    def move(self, path: str | os.PathLike[str]) -> None:
        """Write into another file from now on, replacing what is there."""
        with self._lock:
            self.path, self._checksum = Path(path), ""
            # A damaged file has no head worth knowing, and is replaced all the same.
            with suppress(FormatError):
                head = read_head(path)
                self._checksum = head.checksum if head is not None else ""

    def write(self, project: Project) -> Path:
        """Write the work and return where it is now.

        Raises
        ------
        FormatError
            If it can be written neither beside the image nor in the user's data folder.
        """
        with self._lock:
            content = self.image.content
            extra = {**project.extra, ABSORBED: sorted(self._absorbed)} if self._absorbed else {}
            project = replace(project, image=self.image, extra=extra or project.extra)
            self.note = ""
            path = self.path or project_path(self._image_path, content)
            try:
                self._write(path, project)
            except (ProjectTaken, NewerVersion):
                path = spare_path(path)
                self._checksum = ""
                self._write(path, project)
                self.note = f"another program writes the project, too; this goes to {path.name}"
            except FormatError as error:
                home = project_path(None, content)
                if path == home:
                    raise
                path = self._write_at_home(home, project)
                self.note = f"{error}; saved to {path} instead"
            self.path = path
            return path

    def _compare(self, project: Project, paths: Sequence[Path]) -> None:
        """See what older projects of the image have that the one found lacks, and tell of it."""
        news = {}
        for path in paths:
            # One that nobody can read has nothing to offer; it is left alone.
            with suppress(FormatError):
                head = read_head(path)
                if head is not None and head.checksum not in self._absorbed:
                    news[path] = merge_projects(project, read_project(path)).news
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
            head = read_head(path)
            if head is not None:
                self._absorbed.add(head.checksum)

    def _write(self, path: Path, project: Project) -> None:
        if path.parent == projects_folder():
            with suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
        # Before the file: one that nobody finds again would be lost all the same.
        with suppress(FormatError):
            remember_project(path, self.image.content)
        self._checksum = write_project(path, project, replaces=self._checksum, lines=self._lines)

    def _write_at_home(self, home: Path, project: Project) -> Path:
        self._checksum = ""
        try:
            self._write(home, project)
        except (ProjectTaken, NewerVersion):
            home = spare_path(home)
            self._write(home, project)
        return home


def _absorbed(project: Project) -> set[str]:
    """Return the checksums of the files that all of is in a project."""
    found = project.extra.get(ABSORBED, ())
    return {one for one in found if isinstance(one, str)} if isinstance(found, list) else set()
