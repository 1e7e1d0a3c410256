"""Pictures that ship inside scikit-image, and regions drawn on them by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

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
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture of `skimage.data` and what to caption in it.

    Attributes
    ----------
    name : str
        Name of the function in `skimage.data`.
    regions : tuple of Region
        In ``(row, column)`` image pixels.
    """

    name: str
    regions: tuple[Region, ...]

    def picture(self) -> npt.NDArray[np.uint8]:
        """Return the picture, shape (height, width, 3); it is read from the installed package."""
        from skimage import data

        picture: npt.NDArray[Any] = getattr(data, self.name)()
        return np.asarray(picture, np.uint8)


def _ellipse(top: float, left: float, bottom: float, right: float) -> Ellipse:
    """Return an upright ellipse by its edges."""
    return Ellipse(np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float))


def _polygon(*corners: tuple[float, float]) -> Polygon:
    """Return a polygon by its corners."""
    return Polygon(np.array(corners, float))


def _lasso(row: float, column: float, height: float, width: float) -> Polygon:
    """Return an unsteady loop, as a hand draws it, around a place."""
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
        "astronaut",
        (
            Box(12, 22, 510, 362),
            Box(2, 352, 290, 462),
            _polygon((0, 0), (0, 58), (95, 64), (205, 98), (230, 82), (320, 22), (470, 0)),
            _ellipse(342, 278, 560, 504),
            _lasso(102, 228, 178, 150),
            _trace((300, 60), (260, 110), (330, 120), (290, 175), (430, 90), (460, 190)),
            Point(125, 222),
            RegionSet(
                (
                    _ellipse(346, 132, 424, 210),
                    _polygon((338, 278), (344, 330), (378, 326), (370, 280)),
                )
            ),
            WholeImage(),
        ),
    ),
    Sample(
        "chelsea",
        (
            Box(0, 28, 298, 360),
            RegionSet((_ellipse(82, 134, 150, 208), _ellipse(106, 296, 166, 346))),
            _lasso(245, 265, 50, 66),
            _trace((60, 250), (120, 250), (170, 240), (215, 255)),
            WholeImage(),
        ),
    ),
    Sample(
        "coffee",
        (
            Box(14, 172, 262, 412),
            _ellipse(112, 200, 204, 372),
            _polygon((66, 404), (70, 424), (240, 400), (322, 372), (318, 330), (236, 340)),
            _trace((20, 330), (60, 470), (150, 560), (330, 580)),
            WholeImage(),
        ),
    ),
    Sample(
        "immunohistochemistry",
        (
            Box(0, 0, 200, 250),
            _ellipse(300, 252, 506, 382),
            _lasso(270, 230, 90, 150),
            Point(400, 160),
            WholeImage(),
        ),
    ),
)
