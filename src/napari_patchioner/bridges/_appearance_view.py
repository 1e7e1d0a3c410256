"""One region's measured axes, under names that read like sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._appearance_axes import INDEX, LAB, POLARITIES, UNIT
from ._colour_names import COLOURS
from ._colour_names import name as colour_name

if TYPE_CHECKING:
    import numpy.typing as npt

_LEAST_GROUND = 0.04


@dataclass(frozen=True, slots=True)
class Marks:
    """Spots or lines of one polarity: share of the region, how they differ from the ground.

    Attributes
    ----------
    polarity : str
        ``"dark"`` or ``"bright"``.
    area : float
        Share of the region, 0 to 1.
    colour : ndarray, shape (3,)
        Mean Oklab times 100.
    difference : float
        Distance of that colour from the ground's.
    """

    polarity: str
    area: float
    colour: npt.NDArray[np.float64]
    difference: float

    @property
    def weight(self) -> float:
        """How much of the look of the region they make up."""
        return self.area * self.difference


class View:
    """Means of one region.

    Parameters
    ----------
    axes : ndarray, shape (len(AXES),)
        Averaged over the region.
    """

    def __init__(self, axes: npt.NDArray[np.float32]) -> None:
        self._axes = np.asarray(axes, float)

    def __getitem__(self, axis: str) -> float:
        return float(self._axes[INDEX[axis]])

    def lab(self, prefix: str = "") -> npt.NDArray[np.float64]:
        """Three colour sums whose names start with ``prefix``."""
        return np.array([self[f"{prefix}{channel}"] for channel in LAB])

    @property
    def variation(self) -> float:
        """Standard deviation of lightness over the region's pixels."""
        return float(np.sqrt(max(self["lightness_squared"] - self["lightness"] ** 2, 0.0)))

    @property
    def ground(self) -> npt.NDArray[np.float64]:
        """Colour between the spots and lines, or of everything where nothing lies between."""
        area = self["ground_area"]
        return self.lab("ground_") / area if area > _LEAST_GROUND else self.lab()

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels under each colour term, largest first."""
        shares = {colour: self[f"share_{colour}"] for colour in COLOURS}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def spots(self) -> Marks:
        """Find the spots that mark the region most."""
        return max((self._spots(polarity) for polarity in POLARITIES), key=lambda m: m.weight)

    def lines(self) -> Marks:
        """Find the lines that mark the region most."""
        return max((self._lines(polarity) for polarity in POLARITIES), key=lambda m: m.weight)

    def spot_diameter(self, polarity: str) -> float:
        """Diameter of the mean spot, pixels of an image whose long side is 640."""
        mean = self[f"{polarity}_spot_area"] / max(self[f"{polarity}_spot_count"], 1e-9)
        return float(2 * UNIT * np.sqrt(mean / np.pi))

    def spot_roundness(self, polarity: str) -> float:
        """1 for discs, 0 for lines."""
        count = max(self[f"{polarity}_spot_count"], 1e-9)
        return self[f"{polarity}_spot_roundness"] / count

    def clumping(self, polarity: str, scale: float) -> float:
        """Variance over mean of the number of spots per patch of ``scale`` pixels."""
        squares = (scale / UNIT) ** 2
        mean = max(squares * self[f"{polarity}_spot_count"], 1e-9)
        return (squares**2 * self[f"{polarity}_spot_count_squared"] - mean**2) / mean

    def line_width(self, polarity: str) -> float:
        """Mean width of the lines, pixels of an image whose long side is 640."""
        return self[f"{polarity}_line_width"] / max(self[f"{polarity}_line_area"], 1e-9)

    def parallel(self) -> float:
        """How far dark and bright lines share one direction, 0 to 1."""
        along, across = (
            sum(self[f"{polarity}_line_{part}"] for polarity in POLARITIES)
            for part in ("along", "across")
        )
        return float(np.hypot(along, across) / max(self.line_area(), 1e-9))

    def line_area(self) -> float:
        """Share of the region on dark and bright lines together."""
        return sum(self[f"{polarity}_line_area"] for polarity in POLARITIES)

    def _spots(self, polarity: str) -> Marks:
        count = max(self[f"{polarity}_spot_count"], 1e-9)
        area = min(self[f"{polarity}_spot_area"], 1.0)
        return self._marks(polarity, area, self.lab(f"{polarity}_spot_") / count)

    def _lines(self, polarity: str) -> Marks:
        area = self[f"{polarity}_line_area"]
        return self._marks(polarity, area, self.lab(f"{polarity}_line_") / max(area, 1e-9))

    def _marks(self, polarity: str, area: float, colour: npt.NDArray[np.float64]) -> Marks:
        # On a packed region hardly any ground is left: compare with the mean of everything.
        difference = float(np.linalg.norm(colour - self.ground)) if area > 0 else 0.0
        return Marks(polarity, area, colour, difference)


def ground_and_marks(view: View, marks: Marks) -> tuple[str, str]:
    """Name the ground and the marks on it; where the names agree, say only darker or brighter."""
    ground, ink = colour_name(view.ground), colour_name(marks.colour)
    if ink == ground:
        return ground, "darker" if marks.polarity == "dark" else "brighter"
    return ground, ink
