"""A picture of what was drawn and what was said about it."""

from __future__ import annotations

import textwrap
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_patchioner.annotations import shape_from_region
from napari_patchioner.regions import Ellipse, Point, Region, RegionSet, Trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_patchioner.annotations import Annotation

# Okabe and Ito's colours, told apart by colour-blind people; the two darkest are left out.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00")
_PANEL, _MARGIN, _FONT_SIZE, _WRAP = 460, 16, 17, 44


def overlay_png(
    images: Mapping[str, npt.NDArray[np.uint8]], annotations: Sequence[Annotation]
) -> bytes:
    """Return a PNG that shows each image with its regions, numbered, beside their captions.

    Parameters
    ----------
    images : mapping of str to ndarray of uint8, shape (height, width, 3)
        Pictures by name.
    annotations : sequence of Annotation
        Their regions, told apart by ``image``.

    Returns
    -------
    bytes
        One picture above the other.
    """
    sheets = [
        _sheet(picture, [item for item in annotations if item.image == name])
        for name, picture in images.items()
    ]
    width = max(sheet.width for sheet in sheets)
    page = Image.new("RGB", (width, sum(sheet.height for sheet in sheets)), "white")
    top = 0
    for sheet in sheets:
        page.paste(sheet, (0, top))
        top += sheet.height
    file = BytesIO()
    page.save(file, "PNG")
    return file.getvalue()


def _sheet(picture: npt.NDArray[np.uint8], annotations: Sequence[Annotation]) -> Image.Image:
    """Return one picture with its regions, and the captions beside it."""
    font = ImageFont.load_default(_FONT_SIZE)
    texts = [textwrap.wrap(_sentence(item), _WRAP) or [""] for item in annotations]
    line = _FONT_SIZE + 5
    panel_height = sum(len(text) * line + 8 for text in texts) + _MARGIN
    height, width = picture.shape[:2]
    size = (width + _PANEL + 3 * _MARGIN, max(height, panel_height) + 2 * _MARGIN)
    sheet = Image.new("RGB", size, "white")
    drawn = Image.fromarray(picture)
    draw = ImageDraw.Draw(drawn)
    legend = ImageDraw.Draw(sheet)
    top = 2 * _MARGIN
    for number, (item, text) in enumerate(zip(annotations, texts, strict=True), start=1):
        colour = COLOURS[(number - 1) % len(COLOURS)]
        _draw_region(draw, item.region, colour, drawn.size)
        _draw_tag(draw, _tag_place(item.region), number, colour, drawn.size)
        _draw_tag(legend, (width + 2 * _MARGIN + 12, top + line / 2), number, colour, size)
        for row, words in enumerate(text):
            place = (width + 2 * _MARGIN + 34, top + row * line)
            legend.text(place, words, fill="black", font=font)
        top += len(text) * line + 8
    sheet.paste(drawn, (_MARGIN, _MARGIN))
    return sheet


def _sentence(annotation: Annotation) -> str:
    """Return a caption and its score in one line."""
    score = "" if annotation.score is None else f"  ({annotation.score:.2f})"
    return f"{annotation.caption}{score}"


def _draw_region(draw: Any, region: Region, colour: str, size: tuple[int, int]) -> None:
    """Draw the outline of a region, dark beneath and coloured above, so that it shows anywhere."""
    if isinstance(region, RegionSet):
        for member in region.members:
            _draw_region(draw, member, colour, size)
        return
    if isinstance(region, Point):
        y, x = region.row, region.column
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour, outline="black", width=2)
        return
    for width, paint in ((5, "black"), (3, colour)):
        draw.line(_outline(region, size), fill=paint, width=width, joint="curve")


def _outline(region: Region, size: tuple[int, int]) -> list[tuple[float, float]]:
    """Return the line to draw for a region, as ``(x, y)``; the frame for the whole image."""
    shape = shape_from_region(region)
    if isinstance(region, Ellipse):
        points = _ellipse_outline(region)
    elif shape is not None:
        points = shape[1]
    else:
        right, bottom = size[0] - 3.0, size[1] - 3.0
        points = np.array([[2, 2], [2, right], [bottom, right], [bottom, 2]])
    if not isinstance(region, Trace):
        points = np.concatenate([points, points[:1]])
    return [(x, y) for y, x in points.tolist()]


def _ellipse_outline(ellipse: Ellipse) -> npt.NDArray[np.float64]:
    """Return points around an ellipse, shape (n, 2)."""
    corners = np.asarray(ellipse.corners, float)
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)[:, np.newaxis]
    across, along = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    outline: npt.NDArray[np.float64] = (
        corners.mean(axis=0) + across * np.cos(angle) + along * np.sin(angle)
    )
    return outline


def _tag_place(region: Region) -> tuple[float, float]:
    """Return where the number of a region goes, as ``(x, y)``."""
    if isinstance(region, RegionSet):
        return _tag_place(region.members[0])
    if isinstance(region, Point):
        return region.column + 16, region.row
    if isinstance(region, Ellipse):
        y, x = _ellipse_outline(region)[np.argmin(_ellipse_outline(region)[:, 0])]
        return float(x), float(y)
    shape = shape_from_region(region)
    if shape is None:
        return 1e9, 0.0
    y, x = shape[1][0] if isinstance(region, Trace) else shape[1][np.argmin(shape[1].sum(axis=1))]
    return float(x), float(y)


def _draw_tag(
    draw: Any, place: tuple[float, float], number: int, colour: str, size: tuple[int, int]
) -> None:
    """Draw a numbered disc, kept inside the picture."""
    x = min(max(place[0], 13), size[0] - 14)
    y = min(max(place[1], 13), size[1] - 14)
    draw.ellipse((x - 11, y - 11, x + 11, y + 11), fill=colour, outline="black", width=1)
    font = ImageFont.load_default(14)
    draw.text((x, y), str(number), fill="black", font=font, anchor="mm")
