"""Images of a data set in a folder, found by whatever name its file calls them."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from napari_patchioner.errors import ImageError
from napari_patchioner.images import image_size

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})
# "COCO_val2014_000000391895" and "000000391895" are both image 391895.
_NUMBER = re.compile(r"(?:^|_)0*(\d+)$")


class ImageFolder:
    """Images under a folder, those of its sub-folders included.

    The folder is listed once, at the first query. ``skip_missing`` says whether samples of images
    that are not there are left out instead of being an error; ``missing`` names these images.
    """

    def __init__(self, folder: Path, *, skip_missing: bool = False) -> None:
        if not folder.is_dir():
            raise ImageError(f"{folder}: there is no such folder of images; name one that exists")
        self.folder = folder
        self.skip_missing = skip_missing
        self.missing: dict[str, None] = {}

    def find(self, image: str) -> Path:
        """Path of an image by path under the folder, file name, stem, or number.

        Such as ``"val2014/COCO_val2014_000000391895.jpg"``, ``"391895"`` or ``"000000391895"``; an
        ImageError if there is none, or the name could mean several.
        """
        name = image.rsplit("/", 1)[-1]
        stem, dot, suffix = name.rpartition(".")
        stem = stem if dot and f".{suffix.lower()}" in _SUFFIXES else name
        # No folder that the image names may contradict those of a file.
        folders = set(image.split("/")[:-1]) - {"", "."}
        here = any((self.folder / folder).is_dir() for folder in folders)
        for spelling in (image, name, stem, _number(stem)):
            known = self._known.get(spelling, [])
            if here:
                parts = {path: path.relative_to(self.folder).parts[:-1] for path in known}
                known = [path for path in known if not parts[path] or folders & {*parts[path]}]
            # Data sets keep masks beside their photographs under the same stem.
            photographs = [path for path in known if path.suffix.lower() in (".jpg", ".jpeg")]
            paths = photographs or known
            if len(paths) > 1 and not _are_copies(paths):
                raise ImageError(
                    f"{image}: both {paths[0]} and {paths[1]} could be this image; "
                    "name the folder of one of them"
                )
            if paths:
                return paths[0]
        raise ImageError(f"{image}: there is no such image under {self.folder}")

    def wanted(self, image: str) -> bool:
        """Whether samples of an image can be drawn; a missing one is noted or raised."""
        try:
            self.find(image)
        except ImageError:
            if not self.skip_missing:
                raise
            self.missing[image] = None
            return False
        return True

    def size(self, image: str) -> tuple[int, int]:
        """``(height, width)`` in pixels as the picture is seen, read from the file's header."""
        return image_size(self.find(image))

    @cached_property
    def _known(self) -> dict[str, list[Path]]:
        """Every way to call an image, with the files that could be meant."""
        known: dict[str, list[Path]] = {}
        for path in sorted(self.folder.rglob("*")):
            # A Mac keeps notes about a.jpg in ._a.jpg on disks that are not its own.
            hidden = path.name.startswith(".")
            if hidden or path.suffix.lower() not in _SUFFIXES or not path.is_file():
                continue
            inside = path.relative_to(self.folder)
            stem = path.stem
            names = {inside.as_posix(), inside.with_suffix("").as_posix(), path.name, stem}
            for name in names | {_number(stem)} - {""}:
                known.setdefault(name, []).append(path)
        return known


def _are_copies(paths: list[Path]) -> bool:
    """Whether files are the same to the byte."""
    sizes = {path.stat().st_size for path in paths}
    return len(sizes) == 1 and len({path.read_bytes() for path in paths}) == 1


def _number(stem: str) -> str:
    """Return the number a stem ends with, without leading zeros; empty where there is none."""
    match = _NUMBER.search(stem)
    return match[1] if match else ""
