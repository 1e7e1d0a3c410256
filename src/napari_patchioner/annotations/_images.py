"""The images annotations are about, for formats that name their sizes or need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.images import image_size as size_of_file

if TYPE_CHECKING:
    from pathlib import Path

# Digits of the numbers by which COCO calls its images.
_PADDED = 12
_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a file of annotations may say about an image.

    Attributes
    ----------
    name : str
        What the image is called in the file.
    height, width : int
        Its size in pixels.
    path : Path or None
        Where it lies, for formats that hold the picture itself.
    """

    name: str
    height: int
    width: int
    path: Path | None = None


Images: TypeAlias = Mapping[str, ImageInfo]
"""The images by the name annotations give them in ``Annotation.image``."""


def image_size(images: Images, image: str) -> tuple[int, int]:
    """Return ``(height, width)`` of an image, or say that its size is missing.

    Raises
    ------
    FormatError
        If nobody told the size, or it is no size.

    >>> image_size({"cat.png": ImageInfo("cat.png", 480, 640)}, "cat.png")
    (480, 640)
    """
    info = images.get(image)
    if info is None or info.height < 1 or info.width < 1:
        raise FormatError(
            f"the size of image {image!r} is missing, which this format needs; "
            "give the image along with its regions"
        )
    return info.height, info.width


def image_name(images: Images, image: str) -> str:
    """Return what an image is called in a file: as told, else as the annotations call it."""
    return images[image].name if image in images else image


def is_image(name: str, other: str) -> bool:
    r"""Return whether two names may mean one image, whatever folders and endings they have.

    >>> is_image("train/cat.jpg", "C:\\pictures\\cat"), is_image("cat.png", "dog.png")
    (True, False)
    """
    return name == other or (name != "" and _stem(name) == _stem(other))


def _stem(name: str) -> str:
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return last.rpartition(".")[0] or last


def is_numbered(name: str, other: str) -> bool:
    """Return whether a name is the number by which COCO calls a file, padded with zeros or not.

    >>> is_numbered("139", "000000000139.jpg"), is_numbered("139", "COCO_val2014_000000000139.jpg")
    (True, True)
    >>> is_numbered("139", "cat_139.jpg")
    False
    """
    stem, number = _stem(other), _stem(name)
    if not (number.isascii() and number.isdecimal()) or len(number) > _PADDED:
        return False
    padded = number.zfill(_PADDED)
    if stem.isascii() and stem.isdecimal():
        return stem.zfill(_PADDED) == padded
    return stem.startswith("COCO_") and stem.endswith(f"_{padded}")


def find_info(images: Images, name: str) -> ImageInfo | None:
    """Return the image of a name, which may lack its ending or the zeros of its number."""
    if name in images:
        return images[name]
    found = [one for one in images if is_image(name, one)]
    found = found or [one for one in images if is_numbered(name, one)]
    sizes = {(images[one].height, images[one].width) for one in found}
    return images[found[0]] if len(sizes) == 1 else None


def find_image(folder: Path, name: str) -> ImageInfo | None:
    """Return the image of a name near a file of annotations, for formats that tell no size.

    Parameters
    ----------
    folder : Path
        Where the file lies.
    name : str
        A file name, with or without its ending.

    Returns
    -------
    ImageInfo or None
        The image in the folder or its ``images``; None where there is none, or no picture.
    """
    stems = [name, name.zfill(_PADDED)] if name.isascii() and name.isdecimal() else [name]
    names = [name, *(f"{stem}{ending}" for stem in stems for ending in _ENDINGS)]
    paths = [place / one for place in (folder, folder / "images") for one in names if name]
    for path in paths:
        if path.is_file():
            try:
                return ImageInfo(name, *size_of_file(path), path)
            except ImageError:
                return None
    return None
