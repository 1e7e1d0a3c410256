"""The images annotations are about: what files call them, their sizes, and their pixels' hash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.images import image_size as size_of_file

# Digits of the numbers by which COCO calls its images.
_PADDED = 12
_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")
# Arrays above this many bytes are hashed by a sample of their pixels.
WHOLE_BYTES = 64 * 2**20
WINDOWS, WINDOW = 48, 256
# Rows of a whole array hashed at a time, in bytes: a lazy array is never held as a whole.
_PIECE = 16 * 2**20
_COLOURS = 4


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a file of annotations may say about an image: its name there and its size in pixels.

    ``path`` is where it lies, for formats that hold the picture itself.
    """

    name: str
    height: int
    width: int
    path: Path | None = None


Images: TypeAlias = Mapping[str, ImageInfo]
"""The images by the name annotations give them in ``Annotation.image``."""


Size: TypeAlias = tuple[int, int]
"""``(height, width)`` of an image in pixels."""


def known_size(images: Images, image: str) -> Size | None:
    """Return the size of an image, where it is known."""
    info = images.get(image)
    return (info.height, info.width) if info is not None else None


def image_size(images: Images, image: str) -> tuple[int, int]:
    """Return ``(height, width)`` of an image; a FormatError says where its size is missing.

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
    """Return what an image is called in a file: as given, else as the annotations call it."""
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


def find_info(images: Images, name: str, folder: Path | None = None) -> ImageInfo | None:
    """Return the image of a name without ending or zeros, else the picture in or near a folder."""
    if name in images:
        return images[name]
    matches = [other for other in images if is_image(name, other)]
    matches = matches or [other for other in images if is_numbered(name, other)]
    sizes = {(images[other].height, images[other].width) for other in matches}
    if len(sizes) == 1 or folder is None:
        return images[matches[0]] if len(sizes) == 1 else None
    stems = [name, name.zfill(_PADDED)] if name.isascii() and name.isdecimal() else [name]
    names = [name, *(f"{stem}{ending}" for stem in stems for ending in _ENDINGS)] if name else []
    for path in (parent / file for parent in (folder, folder / "images") for file in names):
        if path.is_file():
            try:
                return ImageInfo(name, *size_of_file(path), path)
            except ImageError:
                return None
    return None


def content_hash(pixels: Any) -> str:
    """Hash the shape, the type and the pixels of an image, so that it is known under any name.

    Up to 64 MiB every pixel counts. Larger images are hashed by a fixed sample: 48 windows of
    up to 256 x 256 pixels over the two longest axes, with all colours, spread evenly by an
    additive recurrence; which pixels these are depends on the shape alone, so an image has one
    name whether it is opened lazily or not. Byte order does not count.

    Parameters
    ----------
    pixels : array_like, shape (...)
        The image at full resolution, of numpy, dask, zarr or others; read part by part where it is
        lazy.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> content_hash(np.zeros((2, 3))) == content_hash(np.zeros((2, 3), ">f8"))
    True
    >>> content_hash(np.zeros((2, 3))) == content_hash(np.zeros((3, 2)))
    False
    """
    kind = np.dtype(pixels.dtype).newbyteorder("<")
    shape = tuple(int(length) for length in pixels.shape)
    digest = blake2b(repr((shape, kind.str)).encode(), digest_size=16)
    size = prod(shape) * kind.itemsize
    windows: Iterable[tuple[slice, ...]] = [()]
    if size > WHOLE_BYTES:
        windows = _sample(shape)
    elif shape and size:  # some rows at a time, in the order of memory
        rows = max(1, shape[0] * _PIECE // size)
        windows = ((slice(start, start + rows),) for start in range(0, shape[0], rows))
    for window in windows:
        part = np.ascontiguousarray(np.asarray(pixels[window]), kind)
        digest.update(part.tobytes() if part.ndim == 0 else part.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _sample(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Yield the windows that stand for a large array."""
    spatial = len(shape) - (len(shape) > 2 and shape[-1] <= _COLOURS)
    longest = sorted(range(spatial), key=lambda axis: (-shape[axis], axis))[:2]
    sizes = [
        min(length, WINDOW) if axis in longest else length if axis >= spatial else 1
        for axis, length in enumerate(shape)
    ]
    spare = [length - size for length, size in zip(shape, sizes, strict=True)]
    corners = product(*((0, rest) if axis in longest else (0,) for axis, rest in enumerate(spare)))
    # An additive recurrence, whose steps spread points evenly in a box.
    ratio = 2.0
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (len(shape) + 1))
    steps = [ratio ** -(axis + 1) for axis in range(len(shape))]
    spread = (
        [int(rest * ((0.5 + step * number) % 1)) for rest, step in zip(spare, steps, strict=True)]
        for number in range(WINDOWS - 2 ** len(longest))
    )
    for starts in (*corners, *spread):
        yield tuple(slice(a, a + size) for a, size in zip(starts, sizes, strict=True))
