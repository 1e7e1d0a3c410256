"""The images in a folder, in the order in which people count. Knows no Qt."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_patchioner.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

_NUMBER = re.compile(r"(\d+)")
# Folders that are one image each.
_IMAGE_FOLDER = ".zarr"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image in the folder.

    Attributes
    ----------
    path : Path
        Where it lies.
    name : str
        Its path within the folder, with slashes: unique there, unlike a file's name.
    """

    path: Path
    name: str

    @property
    def stamp(self) -> tuple[int, int]:
        """Size and time of its last change; (0, 0) where it is gone."""
        try:
            state = self.path.stat()
        except OSError:
            return (0, 0)
        return (state.st_size, state.st_mtime_ns)


def natural(name: str) -> tuple[tuple[str | int, ...], str]:
    """Return a key that sorts names as people count.

    >>> sorted(["cell10.tif", "Cell9.tif", "cell1.tif"], key=natural)
    ['cell1.tif', 'Cell9.tif', 'cell10.tif']
    """
    parts = _NUMBER.split(name.casefold())
    # Every second part is a number: texts are only ever compared with texts.
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), name


def list_images(
    folder: Path, endings: Collection[str], tell: Callable[[str], None] = lambda _: None
) -> Iterator[list[ImageFile]]:
    """Yield the images in a folder and the folders in it, those of one folder together.

    Hidden files and folders are left out, links to folders are followed but never in a circle.
    A folder whose name ends with ``.zarr`` is one image.

    Parameters
    ----------
    folder : Path
        Where to look.
    endings : collection of str
        Of the names of images, in small letters, dots included.
    tell : callable
        Told the name of each folder before it is looked into; may raise ``Cancelled``.

    Raises
    ------
    ImageError
        If the folder itself cannot be looked into.
    """
    taken = tuple(endings)
    waiting, seen = [folder], {os.path.realpath(folder)}
    while waiting:
        here = waiting.pop()
        tell(here.name)
        names, folders = _look_into(here, taken, needed=here == folder)
        found = (here / name for name in sorted(names, key=natural))
        yield [ImageFile(path, path.relative_to(folder).as_posix()) for path in found]
        deeper = [here / name for name in sorted(folders, key=natural)]
        new = [one for one in deeper if os.path.realpath(one) not in seen]
        seen.update(map(os.path.realpath, new))
        waiting += reversed(new)


def _look_into(
    folder: Path, endings: tuple[str, ...], *, needed: bool
) -> tuple[list[str], list[str]]:
    """Return the names of the images and of the folders in a folder."""
    names: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                image = name.lower().endswith(endings)
                if name.startswith("."):
                    continue
                if not _is_folder(entry):
                    names += [name] if image else []
                elif image and name.lower().endswith(_IMAGE_FOLDER):
                    names.append(name)
                else:
                    folders.append(name)
    except OSError as error:
        if needed:
            why = error.strerror or str(error)
            raise ImageError(f"{folder} cannot be opened ({why}); choose another one") from error
    return names, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
