"""The picture inside a report: small enough to send, the right way up, in colours of eight bits."""

from __future__ import annotations

import base64
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from PIL.Image import Image

LONGEST_SIDE = 1600
_MOST_SAMPLES = 2**28
_QUALITY = 88


def picture(path: Path | None) -> str | None:
    """Return an image file as a ``data:`` address, scaled down to 1,600 pixels.

    Parameters
    ----------
    path : Path or None
        An image Pillow or tifffile reads; of a pyramid the smallest level that is large enough.

    Returns
    -------
    str or None
        JPEG, or PNG where the image is transparent. None where there is no image to show.
    """
    if path is None or not path.is_file():
        return None
    image = _opened(path)
    if image is None:
        return None
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    clear = image.mode == "RGBA"
    image.save(buffer, "PNG" if clear else "JPEG", quality=_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{'png' if clear else 'jpeg'};base64,{data}"


def _opened(path: Path) -> Image | None:
    """Return the picture in a file, or None if nothing can be shown for it."""
    from PIL import Image, ImageOps

    tiff = path.name.lower().endswith((".tif", ".tiff", ".svs"))
    array = _tiff(path) if tiff else None
    if array is not None:
        return Image.fromarray(_eight_bits(array))
    try:
        with warnings.catch_warnings(), Image.open(path) as found:
            warnings.simplefilter("ignore")
            turned = ImageOps.exif_transpose(found)
            if turned.mode.startswith(("I", "F")):
                return Image.fromarray(_eight_bits(np.asarray(turned)))
            clear = "A" in turned.getbands() or "transparency" in turned.info
            return turned.convert("RGBA" if clear else "RGB")
    except Exception:  # decoders raise anything on damaged files; the report is whole without it
        return None


def _tiff(path: Path) -> npt.NDArray[Any] | None:
    """Return gray or RGB samples of a TIFF, shape (height, width) or (height, width, 3)."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            if tiff.pages.first.photometric not in (0, 1, 2):
                return None
            large = [one for one in tiff.series[0].levels if max(one.shape) >= LONGEST_SIDE]
            level = (large or tiff.series[0].levels[:1])[-1]
            if np.prod(level.shape, dtype=np.int64) > _MOST_SAMPLES:
                return None
            array = np.squeeze(level.asarray())
            inverted = tiff.pages.first.photometric == 0
    except Exception:  # as above: Pillow may know it
        return None
    if array.ndim == 3 and array.shape[0] in (3, 4) and array.shape[2] not in (3, 4):
        array = np.moveaxis(array, 0, 2)
    while array.ndim > 3 or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        array = array[0]
    if array.ndim < 2:
        return None
    plain = array[..., :3] if array.ndim == 3 else array
    return np.asarray(plain.max() - plain if inverted else plain)


def _eight_bits(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return samples from 0 to 255; of more than eight bits, all but the extremes are spread."""
    if array.dtype == np.uint8:
        return np.asarray(array, np.uint8)
    samples = np.asarray(array, np.float32)
    samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(samples, (0.5, 99.5))
    spread = (samples - low) / (high - low if high > low else 1)
    return np.asarray(np.clip(spread, 0, 1) * 255, np.uint8)
