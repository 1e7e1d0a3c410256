"""The picture inside a report: small enough to send, the right way up, in colours of eight bits."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from napari_patchioner.images import read_preview

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_SIDE = 1600
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
    image = None if path is None else read_preview(path, LONGEST_SIDE)
    if image is None:
        return None
    buffer = io.BytesIO()
    clear = image.mode == "RGBA"
    image.save(buffer, "PNG" if clear else "JPEG", quality=_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{'png' if clear else 'jpeg'};base64,{data}"
