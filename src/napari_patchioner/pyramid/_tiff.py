"""TIFF files of which only the tiles or strips that are looked at are read."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import ImageError, pip_install
from napari_patchioner.images import (
    MOST_PIXELS,
    check_packed,
    open_tiff_file,
    quietly,
    tiff_orientation,
)
from napari_patchioner.limits import BudgetError

from ._stored import CHANNEL, COLUMN, LARGE_PIECE, ROW, SAMPLE, StoredImage, brief, piece_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from tifffile import TiffFile, TiffPageSeries

_BLACK_IS_ZERO, _RGB, _YCBCR = 1, 2, 6
# Of these tifffile makes RGB while it unpacks them.
_JPEGS = (6, 7, 33003, 33004, 33005, 34712)
_ZSTDS = (34926, 50000)
# Letters for axes that nobody has named.
_NAMELESS = "qi"
_MOST_LOOKED_THROUGH = 64


def open_tiff(path: Path) -> StoredImage | None:
    """Open a TIFF; None if its pixels have to be read whole to be understood.

    That is the case of palettes, CMYK, images that lie on their side and the like.

    Raises
    ------
    ImageError
        What would read parts of it is not installed.
    """
    with quietly(), ExitStack() as held:
        try:
            tiff = held.enter_context(open_tiff_file(path))
        except BudgetError:
            raise
        except ImageError:  # damaged; whoever reads it whole will say how
            return None
        axes = _understood(path, tiff)
        if axes is None:
            return None
        image = StoredImage(path, _arrays(path, tiff), axes, closing=tiff.close)
        held.pop_all()
        return image


def _understood(path: Path, tiff: TiffFile) -> str | None:
    """Return the letters of the axes; None where the pixels have to be read whole."""
    try:
        series = tiff.series[0]
        axes = _axes(series)
        if not axes or not _is_plain(tiff) or not _can_be_unpacked(path, series):
            return None
        for level in series.levels:
            # Of a long stack, no more than may be looked through at opening.
            check_packed(path, level.pages[:_MOST_LOOKED_THROUGH])
        return axes
    except ImageError:
        raise
    except Exception:  # damaged, or made in a way only Pillow knows
        return None


def _arrays(path: Path, tiff: TiffFile) -> list[Any]:
    """Return an image in all its sizes, each an array that is read in parts."""
    series = tiff.series[0]
    try:
        return [_array(path, level) for level in series.levels if level.axes == series.axes]
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{path}: cannot be read as a TIFF ({brief(error)})") from error


def _is_plain(tiff: TiffFile) -> bool:
    """Whether pixels are gray or RGB, black is zero and the first row is the upper one."""
    page = tiff.pages.first
    shown = page.photometric in (_BLACK_IS_ZERO, _RGB) or (
        page.photometric == _YCBCR and page.compression in _JPEGS
    )
    return shown and tiff_orientation(tiff) == 1


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
    if page.imagelength * page.imagewidth > MOST_PIXELS:
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
