"""What a server gets to see of a region: a crop with its surroundings, and its outline on it."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from napari_patchioner.errors import RegionError
from napari_patchioner.images import as_rgb
from napari_patchioner.regions import Region, WholeImage

BACKBONE = "picture"
"""The backbone of grids that hold a picture in place of embeddings."""
MARGIN = 0.3
"""Surroundings on each side, as a share of the longer side of the region."""
LONGEST = 768
"""Pixels of the long side of a crop as it is sent."""
# Pixels of the long side up to which a crop is enlarged, so that its outline hides little.
_LEAST = 384
# Pixels of the image around what has no size, such as a point.
_AROUND = 48
# A PNG of more bytes is sent as a JPEG.
_MOST_BYTES = 700_000
_YELLOW, _BLACK = (255, 225, 0), (0, 0, 0)


@dataclass(frozen=True, slots=True)
class RegionPicture:
    """An encoded crop: ``data`` are the bytes of a ``kind`` such as ``"image/png"``."""

    data: bytes
    kind: str
    width: int
    height: int

    @property
    def url(self) -> str:
        """The picture as an address that holds it."""
        return f"data:{self.kind};base64,{base64.b64encode(self.data).decode('ascii')}"


def crop_window(
    region: Region, shape: tuple[int, int], margin: float = MARGIN
) -> tuple[int, int, int, int]:
    """Return what a crop shows: first row, first column, height and width, in whole pixels.

    A RegionError where the region lies outside an image of this ``(height, width)``.

    >>> from napari_patchioner.regions import Box
    >>> crop_window(Box(10, 10, 30, 50), (200, 300), margin=0.5)
    (0, 0, 51, 71)
    """
    if any(isinstance(part, WholeImage) for part in region.parts()):
        return 0, 0, *shape
    box = region.bounds()
    outside = box.bottom < -0.5 or box.right < -0.5
    if outside or box.top > shape[0] - 0.5 or box.left > shape[1] - 0.5:
        raise RegionError("a region lies outside the image; move it onto it, or delete it")
    sides = box.bottom - box.top, box.right - box.left
    around = max(margin * max(sides), (_AROUND - max(sides)) / 2, 2.0)
    rows = _span(box.top - around, box.bottom + around, shape[0])
    columns = _span(box.left - around, box.right + around, shape[1])
    return rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0]


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    """Return the first pixel between two places and the one behind the last, at least one."""
    first = min(max(math.floor(low + 0.5), 0), length - 1)
    return first, max(first + 1, min(math.ceil(high + 0.5), length))


def region_picture(
    image: npt.ArrayLike,
    region: Region,
    *,
    margin: float = MARGIN,
    longest: int = LONGEST,
    outlined: bool = True,
    aspect: float = 1.0,
) -> RegionPicture:
    """Crop a region with its surroundings out of an image and draw its outline.

    Parameters
    ----------
    image : array_like, shape (height, width) or (height, width, channels)
        Gray, RGB or RGBA.
    region : Region
        In pixels of the image, ``(row, column)``.
    margin : float
        Surroundings on each side, as a share of the longer side of the region.
    longest : int
        Pixels that the long side of the crop is reduced to.
    outlined : bool
        Whether the outline is drawn: yellow on black, a ring around a point; nothing is drawn
        around the whole image.
    aspect : float
        Height of a pixel, for a width of one: the crop is sent with square pixels.

    Returns
    -------
    RegionPicture
        A PNG, or a JPEG where that would be large.

    Raises
    ------
    RegionError
        If the region lies outside the image.
    """
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        # With the contrast of all of the image, not of each crop.
        pixels = as_rgb(pixels)
    window = crop_window(region, (int(pixels.shape[0]), int(pixels.shape[1])), margin)
    top, left, height, width = window
    crop = as_rgb(pixels[top : top + height, left : left + width])
    return draw_region(crop, region, window, longest=longest, outlined=outlined, aspect=aspect)


def draw_region(
    crop: npt.NDArray[np.uint8],
    region: Region,
    window: tuple[float, float, float, float],
    *,
    longest: int = LONGEST,
    outlined: bool = True,
    aspect: float = 1.0,
) -> RegionPicture:
    """Draw a region on a crop, shape (height, width, 3), as `region_picture` does.

    ``window`` says where the crop lies on the image: first row, first column, height and width in
    pixels of the image, of which the crop may have more or fewer.
    """
    top, left, height, width = window
    # The shorter side of a pixel is made as long as the other, so that nothing is lost.
    full = crop.shape[0] * max(aspect, 1.0), crop.shape[1] * max(1 / aspect, 1.0)
    side = max(full)
    wanted = min(longest, max(math.ceil(side), _LEAST))
    rows, columns = (max(1, round(length * wanted / side)) for length in full)
    picture = Image.fromarray(np.ascontiguousarray(crop))
    if (rows, columns) != crop.shape[:2]:
        picture = picture.resize((columns, rows), Image.Resampling.BICUBIC)
    if outlined:
        scale = np.array([rows / height, columns / width])
        _draw(ImageDraw.Draw(picture), region, np.array([top, left]), scale, wanted)
    return _encoded(picture)


def _draw(
    draw: ImageDraw.ImageDraw,
    region: Region,
    corner: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
    side: int,
) -> None:
    """Draw the outline of a region, and the black on both sides of it first."""
    thin = max(2, side // 160)

    def placed(points: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
        # Centres of pixels are at integers in an image, and halves on a drawing.
        rows, columns = ((points + 0.5 - corner) * scale - 0.5).T
        return list(zip(columns.tolist(), rows.tolist(), strict=True))

    for colour, width in ((_BLACK, thin + 2), (_YELLOW, thin)):
        for part in region.parts():
            if part.kind == "point":
                [(x, y)] = placed(part.coords())
                radius = max(6.0, side / 40)
                around = (x - radius, y - radius, x + radius, y + radius)
                draw.ellipse(around, outline=colour, width=width)
            elif part.kind == "trace":
                draw.line(placed(part.coords()), fill=colour, width=width, joint="curve")
            for ring in part.rings():
                points = placed(ring)
                draw.line([*points, *points[:2]], fill=colour, width=width, joint="curve")


def _encoded(picture: Image.Image) -> RegionPicture:
    """Return a picture as a PNG, or as a JPEG where that would be large."""
    buffer, kind = io.BytesIO(), "image/png"
    picture.save(buffer, "PNG")
    if buffer.tell() > _MOST_BYTES:
        buffer, kind = io.BytesIO(), "image/jpeg"
        picture.save(buffer, "JPEG", quality=90)
    return RegionPicture(buffer.getvalue(), kind, picture.width, picture.height)
