"""An image within a page, so that the page needs nothing else."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image

from napari_patchioner.backbones import as_rgb, read_image
from napari_patchioner.errors import PatchionerError

if TYPE_CHECKING:
    from pathlib import Path

_SIDE = 420


def embedded(path: Path) -> tuple[str, int, int] | None:
    """Read an image as a data URI of a small JPEG.

    Parameters
    ----------
    path : Path

    Returns
    -------
    uri : str
    width, height : int
        Of the image in full; None instead of all three where it cannot be read.
    """
    try:
        pixels = as_rgb(read_image(path))
    except PatchionerError:
        return None
    picture = Image.fromarray(pixels)
    width, height = picture.size
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    code = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/jpeg;base64,{code}", width, height
