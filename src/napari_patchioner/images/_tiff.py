"""What tifffile opens, after what its header claims has been checked; parts of it, read lazily."""

from __future__ import annotations

import lzma
import math
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

import numpy as np

from napari_patchioner.errors import ImageError, pip_install
from napari_patchioner.limits import BudgetError, check_plain_file

from . import _picture
from ._orientation import ORIENTATION, as_orientation
from ._stored import CHANNEL, COLUMN, ROW, SAMPLE, StoredImage, piece_bytes

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

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
# Pieces that can only unpack to so many bytes are let through without a check.
_HARMLESS = 2**29


WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
"""How a TIFF says what its samples mean."""

_YCBCR = 6
# Of these tifffile makes RGB while it unpacks them.
_JPEGS = (6, 7, 33003, 33004, 33005, 34712)
_ZSTDS = (34926, 50000)
# Letters for axes that nobody has named.
_NAMELESS = "qi"
_MOST_CHECKED = 64
# Pieces larger than this, in bytes, are held whole instead of unpacked anew for every part.
LARGE_PIECE = 2**28
_UNREADABLE = "cannot be read as a TIFF"


def is_tiff(start: bytes) -> bool:
    """Whether a file begins as a TIFF does."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@contextmanager
def reading_tiff(path: str | os.PathLike[str]) -> Iterator[TiffFile]:
    """Open a TIFF for a ``with``, in which any error is raised as an ImageError."""
    with (
        _picture.decoding(path, _UNREADABLE, TiffError),
        _picture.quietly(),
        open_tiff_file(path) as tiff,
    ):
        yield tiff


class TiffError(ImageError):
    """A TIFF that is damaged, or packed in a way that only Pillow may know."""


def open_tiff_file(path: str | os.PathLike[str]) -> TiffFile:
    """Open a TIFF of which only the header is read; to be closed, as by ``with``."""
    import tifffile

    _picture.check_image_file(path)
    with _picture.quietly(), _picture.timed(path) as clock:
        with _picture.decoding(path, _UNREADABLE):
            try:
                tiff = tifffile.TiffFile(_picture.Reopened(path))  # type: ignore[arg-type]
            except Exception:  # headers may be damaged in any way
                clock.check()
                raise
        try:
            _check_ome(path, tiff)
            # Found once and kept: here all pages are gone through, however many there are.
            _ = tiff.series
            clock.check()
        except ImageError:
            tiff.close()
            raise
        except Exception:  # raised again to whoever asks for them
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
    folder = os.path.dirname(os.path.realpath(os.fsdecode(path)))
    for element in elements:
        tag = element.tag.rpartition("}")[2]
        name = element.get("FileName", "") if tag == "UUID" else ""
        companion = os.path.join(folder, name)
        if name and os.path.lexists(companion):
            if os.path.realpath(companion) != os.path.join(folder, os.path.basename(name)):
                raise ImageError(
                    f"{os.fsdecode(path)}: takes planes from {name!r}, which is no file beside it; "
                    "put all its files into one folder"
                )
            check_plain_file(companion, ImageError)
        if _planes_claimed(tag, element) > _MOST_PLANES:
            raise ImageError(
                f"{os.fsdecode(path)}: claims more than {_MOST_PLANES:,} planes; it is damaged"
            )


def _planes_claimed(tag: str, element: Element) -> float:
    """Return how many planes an element of OME-XML claims."""

    def number(name: str, otherwise: float) -> float:
        with suppress(ValueError):
            return abs(float(element.get(name, otherwise)))
        return otherwise

    if tag == "Pixels":
        return math.prod(number(f"Size{axis}", 1) for axis in "CZT")
    if tag == "TiffData":
        return max(number(name, 0) for name in ("IFD", "PlaneCount", "NumPlanes"))
    if tag.startswith("ModuloAlong"):
        return (number("Start", 0) + number("End", 0) + 1) / max(number("Step", 1), 1e-9)
    return 0


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
            packed = handle.read(min(count, _picture.MOST_BYTES))
            if len(unpacker().decompress(packed, most + 1)) > most:
                raise ImageError(f"{path}: unpacks to more than its size; it is damaged")


def check_whole(path: object, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise an ImageError if an array is too large to be read whole."""
    count = math.prod(map(int, shape))
    if count * np.dtype(dtype).itemsize > _picture.MOST_HELD:
        sides = " x ".join(map(str, shape))
        raise ImageError(
            f"{path}: is too large to be read whole ({sides} values); "
            "save it as a TIFF in tiles or as OME-Zarr"
        )
    if count < 1:
        raise ImageError(f"{path}: has no pixels")


def is_slide(tiff: TiffFile) -> bool:
    """Whether a scanner of slides wrote it, with pictures of the glass and its label beside."""
    kinds = ("svs", "ndpi", "bif", "scn", "qpi", "philips", "avs")
    return any(getattr(tiff, f"is_{kind}", False) for kind in kinds)


def open_tiff(path: Path) -> StoredImage | None:
    """Open a TIFF; None if its pixels have to be read whole to be understood.

    That is the case of palettes, CMYK, images that lie on their side and the like. An ImageError
    names what would read parts of it and is not installed.
    """
    with _picture.quietly(), ExitStack() as stack:
        try:
            tiff = stack.enter_context(open_tiff_file(path))
        except BudgetError:
            raise
        except ImageError:  # damaged; whoever reads it whole will say how
            return None
        try:
            page, series = tiff.pages.first, tiff.series[0]
            is_colour = page.photometric in (BLACK_IS_ZERO, RGB) or (
                page.photometric == _YCBCR and page.compression in _JPEGS
            )
            axes = _axes(series)
            if not axes or not is_colour or tiff_orientation(tiff) != 1:
                return None
            if not _can_be_unpacked(path, series):
                return None
            for level in series.levels:
                # Of a long stack, no more than can be checked at opening.
                check_packed(path, level.pages[:_MOST_CHECKED])
        except ImageError:
            raise
        except Exception:  # damaged, or made in a way only Pillow knows
            return None
        with _picture.decoding(path, _UNREADABLE):
            arrays = [_array(path, level) for level in series.levels if level.axes == series.axes]
        image = StoredImage(path, arrays, axes, closing=tiff.close)
        stack.pop_all()
        return image


def _can_be_unpacked(path: Path, series: TiffPageSeries) -> bool:
    """Whether what unpacks the pixels is installed; Pillow may have it, for small images."""
    from tifffile import COMPRESSION, TIFF

    page = series.keyframe
    if page.compression in TIFF.DECOMPRESSORS and page.predictor in TIFF.UNPREDICTORS:
        try:
            if page.compression in _ZSTDS:
                TIFF.DECOMPRESSORS[page.compression](b"")
        except ImportError:  # only later versions of Python have it as well
            pass
        except Exception:  # nothing to unpack
            return True
        else:
            return True
    if page.imagelength * page.imagewidth > _picture.MOST_PIXELS:
        packing = COMPRESSION(page.compression).name
        raise ImageError(
            f"{path}: to unpack it ({packing}) imagecodecs is needed; run: "
            f"{pip_install('imagecodecs')}"
        )
    return False


def _axes(series: TiffPageSeries) -> str | None:
    """Return the letters of the axes; None where there are no rows and columns."""
    axes, shape = series.axes.lower(), series.shape
    if len(set(axes)) != len(axes) or not {ROW, COLUMN} <= set(axes):
        return None
    # Three or four nameless planes, or three named channels, are the colours of one picture.
    count = shape[0] if SAMPLE not in axes and len(axes) == 3 and shape[2] not in (3, 4) else 0
    if (axes[0] in _NAMELESS and count in (3, 4)) or (axes[0] == CHANNEL and count == 3):
        return SAMPLE + axes[1:]
    return axes


def _array(path: Path, level: TiffPageSeries) -> Any:
    """Return a level as an array that is read in parts."""
    if level.dataoffset is not None:
        kind = np.dtype(level.keyframe.parent.byteorder + level.dtype.char)
        return np.memmap(path, kind, "r", level.dataoffset, level.shape)
    try:
        import zarr
    except ImportError:
        raise ImageError(
            f"{path}: to read parts of such a TIFF zarr is needed; run: {pip_install('zarr')}"
        ) from None
    array = zarr.open_array(level.aszarr(level=0), mode="r")
    return Held(array) if piece_bytes(array) > LARGE_PIECE else array


class Held:
    """An array that lies on disk in pieces so large that it is read once and kept."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self._pixels: Any = None
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, window: Any) -> Any:
        if self._pixels is None:
            self._pixels = self._array[...]
        return self._pixels[window]
