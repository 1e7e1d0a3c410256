"""Image files from what a person names: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from napari_patchioner.errors import ImageError
from napari_patchioner.images import IMAGE_SUFFIXES, image_size, is_zarr

# Ending by which a folder is taken for an image, as it is if it holds what zarr keeps in one.
_ZARR = ".zarr"


def find_images(given: Iterable[str | os.PathLike[str]], *, recursive: bool = False) -> list[Path]:
    """Return the image files that are meant, each once.

    Parameters
    ----------
    given : iterable of path-like
        Files, of whatever ending; zarr folders, each one image; other folders, of which the files
        with an ending of `IMAGE_SUFFIXES` and the zarr folders are taken, hidden ones left out;
        patterns such as ``scans/**/*.png``.
    recursive : bool
        Whether folders within folders are searched as well.

    Returns
    -------
    list of Path
        In the order given; those of a folder or a pattern sorted by name.

    Raises
    ------
    ImageError
        Nothing is found at all, or nothing where a folder or a pattern is named.
    """
    by_path: dict[str, Path] = {}
    for name in given:
        for path in _meant(os.fspath(name), recursive):
            by_path.setdefault(str(absolute(path)), path)
    paths = list(by_path.values())
    if not any(map(os.path.exists, paths)):
        raise ImageError(f"{paths[0]}: there is no such image" if paths else "no image was named")
    return paths


def image_names(paths: Sequence[Path]) -> list[str]:
    """Return what images are called: their file names, or their paths where some share one."""
    shared = Counter(path.name for path in paths)
    names = [path.name if shared[path.name] == 1 else str(path) for path in paths]
    # Any file can hold Unicode; bytes that are none are spelled out.
    return [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]


def absolute(path: Path) -> Path:
    """Return the one path of a file, links to folders followed but not a link to the file."""
    return _resolved(Path(os.getcwd(), path.parent)) / path.name


@lru_cache(maxsize=4096)
def _resolved(folder: Path) -> Path:
    return folder.resolve()


def _meant(name: str, recursive: bool) -> list[Path]:
    """Return the files that one name stands for."""
    if not name:
        raise ImageError("an image without a name was named; is a variable of your script empty?")
    path = Path(name)
    if os.path.isdir(path) and not _is_zarr(path):
        paths = sorted(_images_in(path, recursive))
        deeper = "" if recursive else "; add --recursive to search the folders in it as well"
        if not paths:
            raise ImageError(f"{path}: holds no image{deeper}")
        return paths
    if os.path.exists(path) or not glob.has_magic(name):
        return [path]
    any_ending = bool(path.suffix) and not glob.has_magic(path.suffix)
    paths = []
    for path in map(Path, sorted({os.path.normpath(path) for path in _expanded(name)})):
        is_piece = any(parent.suffix.lower() == _ZARR for parent in path.parents)
        is_image = _is_zarr(path) if not path.is_file() else any_ending or _is_image(path.name)
        if is_image and not is_piece:
            paths.append(path)
    if not paths:
        raise ImageError(f"{name}: no image matches")
    return paths


def _expanded(pattern: str) -> Iterator[str]:
    """Yield what a pattern stands for; links to folders are followed, but never in a circle."""
    pattern = pattern.replace("/", os.sep)
    head, stars, tail = f"{os.sep}{pattern}".partition(f"{os.sep}**{os.sep}")
    if not stars:
        head, _, last = f"{os.sep}{pattern}".rpartition(os.sep)
        if last != "**":
            yield from glob.glob(pattern)
            return
        tail = "*"
    for base in glob.glob(head[1:] + os.sep) if head else [os.curdir]:
        for folder in _folders(base, set()):
            yield from _expanded(os.path.join(glob.escape(folder), tail))


def _folders(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield a folder and the folders in it that are not hidden, each once."""
    try:
        state = os.stat(folder)
        inside = sorted(
            entry.path for entry in os.scandir(folder) if entry.name[:1] != "." and entry.is_dir()
        )
    except OSError:
        return
    if (state.st_dev, state.st_ino) in seen:
        return
    seen.add((state.st_dev, state.st_ino))
    yield folder
    for path in inside:
        yield from _folders(path, seen)


def _images_in(folder: Path, recursive: bool) -> Iterator[Path]:
    """Yield the images in a folder, in no order."""
    for place, folders, names in os.walk(folder):
        inside = [Path(place, name) for name in folders if not name.startswith(".")]
        images = {path.name for path in inside if _is_zarr(path)}
        yield from (Path(place, name) for name in images)
        folders[:] = [path.name for path in inside if recursive and path.name not in images]
        yield from (Path(place, name) for name in names if _is_image(name))


def _is_zarr(folder: Path) -> bool:
    return folder.suffix.lower() == _ZARR or is_zarr(folder)


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def size_of(path: Path) -> tuple[int, int]:
    """Return ``(height, width)`` of an image as it is captioned; zeros if unknown."""
    try:
        return image_size(path)
    except ImageError:
        return 0, 0
