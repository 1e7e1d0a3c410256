"""The error of a region that the grid does not reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.errors import RegionError

if TYPE_CHECKING:
    from ._placement import Placement


class OutsideError(RegionError):
    """A region that lies wholly outside the image, or outside the part that was encoded."""

    @classmethod
    def beyond(cls, transform: Placement) -> OutsideError:
        """Say where the image, or the window of it that the grid covers, ends."""
        (top, left), (bottom, right) = transform.to_image([[0, 0], transform.grid_shape])
        whole = transform.window is None
        name = "image" if whole else "part of the image that the model sees"
        return cls(
            f"The region lies outside the {name} (rows {top + 0.5:.0f} to {bottom - 0.5:.0f}, "
            f"columns {left + 0.5:.0f} to {right - 0.5:.0f}): draw it inside."
        )
