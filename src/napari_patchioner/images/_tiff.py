"""What tifffile opens, after what its header claims has been looked at."""

from __future__ import annotations

import lzma
import math
import os
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import ImageError
from napari_patchioner.limits import check_plain_file

from ._clock import Reopened, timed
from ._picture import MOST_BYTES, MOST_HELD, brief, check_image_file, quietly
from ._upright import ORIENTATION, as_orientation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from tifffile import TiffFile


# By the numbers of their packing (deflate has two, then LZMA): what unpacks it, and how many bytes
# may come out of one at most.
_UNPACKERS: dict[int, tuple[Any, int]] = {
    8: (zlib.decompressobj, 1032),
    32946: (zlib.decompressobj, 1032),
    34925: (lzma.LZMADecompressor, 7000),
}
# So many pieces of a page take long to go through, unless they are of some size.
_MANY_PIECES, _TINY_PIECE = 2**16, 2**12
# Of an image that is described in OME-XML.
_MOST_PLANES = 10**7
# Pieces that can only unpack to so many bytes are let through without a look.
_HARMLESS = 2**29


def is_tiff(start: bytes) -> bool:
    """Whether a file begins as a TIFF does."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def starts_as_tiff(path: str | os.PathLike[str]) -> bool:
    """Whether a plain file is a TIFF, whatever its name; an ImageError if it is no plain file."""
    check_image_file(path)
    try:
        with open(path, "rb") as file:
            return is_tiff(file.read(4))
    except OSError as error:
        raise ImageError(
            f"{os.fsdecode(path)}: cannot be read ({error.strerror or error})"
        ) from error


def open_tiff_file(path: str | os.PathLike[str]) -> TiffFile:
    """Open a TIFF of which only the header is read; to be closed, as by ``with``.

    Raises
    ------
    ImageError
        It is no plain file, or no TIFF.
    """
    import tifffile

    check_image_file(path)
    with quietly(), timed(path) as clock:
        try:
            tiff = tifffile.TiffFile(Reopened(path))  # type: ignore[arg-type]
        except Exception as error:  # headers may be damaged in any way
            clock.check()
            raise ImageError(
                f"{os.fsdecode(path)}: cannot be read as a TIFF ({brief(error)})"
            ) from error
        try:
            _check_ome(path, tiff)
            # Found once and kept: here all pages are gone through, however many there are.
            _ = tiff.series
            clock.check()
        except ImageError:
            tiff.close()
            raise
        except Exception:  # whoever asks for them again is told
            if clock.is_up:
                tiff.close()
                raise
    return tiff


def _check_ome(path: str | os.PathLike[str], tiff: TiffFile) -> None:
    """Raise an ImageError if OME-XML names files that lie elsewhere, or absurdly many planes."""
    from xml.etree import ElementTree

    text = tiff.ome_metadata
    if not text:
        return
    try:
        elements = list(ElementTree.fromstring(text).iter())  # noqa: S314 - expat bounds entities
    except ElementTree.ParseError:  # tifffile then does without
        return
    for element in elements:
        tag = element.tag.rpartition("}")[2]
        if tag == "UUID":
            _check_companion(path, element.get("FileName", ""))
        elif max(_ome_counts(tag, element)) > _MOST_PLANES:
            raise ImageError(
                f"{os.fsdecode(path)}: claims more than {_MOST_PLANES:,} planes; it is damaged"
            )


def _check_companion(path: str | os.PathLike[str], name: str) -> None:
    """Raise an ImageError if a file that holds planes of an image does not lie beside it."""
    folder = os.path.dirname(os.path.realpath(os.fsdecode(path)))
    companion = os.path.join(folder, name)
    if not name or not os.path.lexists(companion):
        return
    if os.path.realpath(companion) != os.path.join(folder, os.path.basename(name)):
        raise ImageError(
            f"{os.fsdecode(path)}: takes planes from {name!r}, which is no file beside it; "
            "put all its files into one folder"
        )
    check_plain_file(companion, ImageError)


def _ome_counts(tag: str, element: Element) -> list[float]:
    """Return how many planes an element of OME-XML claims."""

    def number(name: str, otherwise: float) -> float:
        try:
            return abs(float(element.get(name, otherwise)))
        except ValueError:
            return otherwise

    if tag == "Pixels":
        return [math.prod(number(f"Size{axis}", 1) for axis in "CZT")]
    if tag == "TiffData":
        return [number(name, 0) for name in ("IFD", "PlaneCount", "NumPlanes")]
    if tag.startswith("ModuloAlong"):
        length = number("Start", 0) + number("End", 0) + 1
        return [length / max(number("Step", 1), 1e-9)]
    return [0]


def tiff_orientation(tiff: TiffFile) -> int:
    """Return how the pixels of a TIFF are turned, 1 to 8 as in EXIF."""
    tag = tiff.pages.first.tags.get(ORIENTATION)
    return 1 if tag is None else as_orientation(tag.value)


def check_packed(path: object, pages: Iterable[Any]) -> None:
    """Raise an ImageError if pages of a TIFF lie in too many pieces, or in too dense ones.

    tifffile asks its unpackers for no limit where imagecodecs is not installed.
    """
    for page in pages:
        if page is None:
            continue
        count = len(page.dataoffsets)
        if count > _MANY_PIECES and not page.is_contiguous:
            size = math.prod(page.chunks)
            if size < _TINY_PIECE:
                raise ImageError(
                    f"{path}: lies in {count:,} pieces of {size} values each; "
                    "save it in larger tiles or strips"
                )
        if page.compression not in _UNPACKERS:
            continue
        unpacker, densest = _UNPACKERS[page.compression]
        tile = (page.tilelength, page.tilewidth) if page.is_tiled else ()
        rows, columns = tile or (page.rowsperstrip or page.imagelength, page.imagewidth)
        most = min(rows, max(page.imagelength, rows if tile else 0)) * columns
        most *= page.samplesperpixel * max(1, page.bitspersample) // 8 + 1
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if count * densest <= _HARMLESS:
                continue
            handle = page.parent.filehandle
            handle.seek(offset)
            if len(unpacker().decompress(handle.read(min(count, MOST_BYTES)), most + 1)) > most:
                raise ImageError(f"{path}: unpacks to more than its size; it is damaged")


def check_whole(path: object, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise an ImageError if an array is too large to be read whole."""
    count = math.prod(map(int, shape))
    if count * np.dtype(dtype).itemsize > MOST_HELD:
        sides = " x ".join(map(str, shape))
        raise ImageError(
            f"{path}: is too large to be read whole ({sides} values); "
            "save it as a TIFF in tiles or as OME-Zarr"
        )
    if count < 1:
        raise ImageError(f"{path}: has no pixels")
