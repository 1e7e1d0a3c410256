"""What a region has to know about the grid that lies over the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Placement(Protocol):
    """Image pixels to patch units and back: ``grids.GridTransform`` is one."""

    @property
    def grid_shape(self) -> tuple[int, int]:
        """``(rows, columns)`` of the patch grid."""
        ...

    @property
    def image_shape(self) -> tuple[int, int]:
        """``(height, width)`` of the image in pixels."""
        ...

    @property
    def window(self) -> tuple[float, float, float, float] | None:
        """The part of the image that the grid covers; None for all of it."""
        ...

    def to_grid(self, points: npt.ArrayLike, /) -> npt.NDArray[np.float64]:
        """Map ``(row, column)`` pixel-centre coordinates, shape (..., 2), to patch units."""
        ...

    def to_image(self, points: npt.ArrayLike, /) -> npt.NDArray[np.float64]:
        """Map patch units, shape (..., 2), to ``(row, column)`` pixel-centre coordinates."""
        ...
