"""The pictures of the demonstration, regions drawn on them, and a picture of what came of it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from napari_patchioner.regions import (
    Box,
    Ellipse,
    Point,
    Polygon,
    Region,
    RegionSet,
    Trace,
    WholeImage,
)

if TYPE_CHECKING:
    from napari_patchioner.annotations import Annotation

# Okabe and Ito's colours, distinct to colour-blind people; the two darkest are left out.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#CC79A7", "#D55E00")
_PANEL, _MARGIN, _FONT_SIZE, _WRAP = 460, 16, 17, 44


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture, by the name of its function in `skimage.data`, and what to caption in it.

    ``regions`` are for the model; from those ``taught``, with the names a person gave them, it
    learns what to call those ``alike``.
    """

    name: str
    regions: tuple[Region, ...]
    taught: tuple[tuple[str, Region], ...] = ()
    alike: tuple[Region, ...] = ()

    def drawn(self) -> list[Annotation]:
        """Return all regions in this order, those that were taught with their names."""
        from napari_patchioner.annotations import Annotation

        named: list[tuple[Region, str]] = [(region, "") for region in self.regions]
        named += [(region, name) for name, region in self.taught]
        named += [(region, "") for region in self.alike]
        return [
            Annotation(
                f"{self.name}-{number}",
                self.name,
                region,
                name,
                source="human" if name else "",
            )
            for number, (region, name) in enumerate(named, start=1)
        ]

    def picture(self) -> npt.NDArray[np.uint8]:
        """Return the picture, shape (height, width, 3); it is read from the installed package."""
        from skimage import data

        picture = np.asarray(getattr(data, self.name)(), np.uint8)
        return picture if picture.ndim == 3 else np.stack([picture] * 3, axis=-1)


def _ellipse(top: float, left: float, bottom: float, right: float) -> Ellipse:
    """Return an upright ellipse by its edges."""
    return Ellipse(np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float))


def _polygon(*corners: tuple[float, float]) -> Polygon:
    """Return a polygon by its corners."""
    return Polygon(np.array(corners, float))


def _lasso(row: float, column: float, height: float, width: float) -> Polygon:
    """Return an unsteady loop, as drawn by hand, around a place."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radius = 0.5 + 0.03 * np.sin(5 * angle) + 0.02 * np.cos(11 * angle)
    loop = [row + height * radius * np.sin(angle), column + width * radius * np.cos(angle)]
    return Polygon(np.stack(loop, axis=1))


def _trace(*points: tuple[float, float]) -> Trace:
    """Return a pen stroke through these points, recorded every few pixels."""
    stops = np.array(points, float)
    place = np.linspace(0, len(stops) - 1, 12 * (len(stops) - 1) + 1)
    known = np.arange(len(stops))
    stroke = [np.interp(place, known, stops[:, axis]) for axis in (0, 1)]
    return Trace(np.stack(stroke, axis=1))


SAMPLES = (
    Sample(
        "coffee",
        (
            Box(2, 78, 397, 490),
            WholeImage(),
            _lasso(310, 360, 140, 110),
            _trace((20, 30), (120, 60), (250, 50)),
            RegionSet((Box(20, 175, 255, 410), _lasso(310, 360, 140, 110))),
        ),
    ),
    Sample("chelsea", (_lasso(175, 140, 150, 230),)),
    Sample(
        "camera",
        (
            Box(35, 0, 505, 345),
            _trace((400, 330), (440, 400), (480, 480)),
            Point(100, 400),
            WholeImage(),
        ),
    ),
    Sample("rocket", (_ellipse(20, 120, 180, 300),)),
    Sample(
        "immunohistochemistry",
        (Box(0, 0, 200, 250), WholeImage()),
        taught=(
            ("gland", Box(60, 30, 120, 100)),
            ("gland", Box(340, 80, 390, 140)),
            ("stroma", Box(250, 230, 300, 300)),
            ("stroma", Box(380, 160, 440, 220)),
            ("lumen", Box(330, 4, 380, 38)),
        ),
        alike=(
            Box(380, 270, 440, 350),
            _lasso(50, 375, 60, 90),
            _ellipse(300, 400, 360, 450),
            Box(150, 460, 220, 506),
        ),
    ),
)


def overlay_png(
    images: Mapping[str, npt.NDArray[np.uint8]], annotations: Sequence[Annotation]
) -> bytes:
    """Return a PNG: one picture above the other, each with its regions, numbered, and captions.

    ``images`` are arrays of shape (height, width, 3) by name, which ``annotations`` give.
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
    scores = ["" if a.score is None else f"  ({a.score:.2f})" for a in annotations]
    texts = [
        textwrap.wrap(f"{annotation.caption}{score}", _WRAP) or [""]
        for annotation, score in zip(annotations, scores, strict=True)
    ]
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


def _draw_region(draw: Any, region: Region, colour: str, size: tuple[int, int]) -> None:
    """Draw the outline of a region, dark beneath and coloured above, so that it shows anywhere."""
    for part in region.parts():
        if isinstance(part, Point):
            y, x = part.row, part.column
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour, outline="black", width=2)
            continue
        line = [(x, y) for y, x in _line(part, size).tolist()]
        for width, paint in ((5, "black"), (3, colour)):
            draw.line(line, fill=paint, width=width, joint="curve")


def _line(region: Region, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the line to draw for a region, shape (n, 2); the frame for the whole image."""
    if isinstance(region, Trace):
        return region.coords()
    outline = region.outline(90) if isinstance(region, Ellipse) else region.outline()
    if outline is None:
        right, bottom = size[0] - 3.0, size[1] - 3.0
        outline = np.array([[2, 2], [2, right], [bottom, right], [bottom, 2]])
    return np.concatenate([outline, outline[:1]])


def _tag_place(region: Region) -> tuple[float, float]:
    """Return where the number of a region goes, as ``(x, y)``."""
    region = region.parts()[0]
    if isinstance(region, Point):
        return region.column + 16, region.row
    if isinstance(region, Trace):
        y, x = region.coords()[0]
    elif isinstance(region, Ellipse):
        outline = region.outline(90)
        y, x = outline[np.argmin(outline[:, 0])]
    elif (corners := region.outline()) is not None:
        y, x = corners[np.argmin(corners.sum(axis=1))]
    else:
        return 1e9, 0.0
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
