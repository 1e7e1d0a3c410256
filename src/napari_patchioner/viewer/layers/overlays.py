"""The patch grid and the patches of a region, drawn over the image.

They are napari overlays of the image layer, not layers: they lie where the image lies, cannot
be selected, are in no list, are never saved and go with the image. napari 0.9 has no public
method for adding one; `attach` and `detach` are the only places that know the private ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.components.overlays import SceneOverlay
from napari.layers.base._base_constants import Blending

from napari_patchioner.errors import PatchionerError
from napari_patchioner.viewer.workers.encode import patches_for

from .geometry import Sheet, record_plane, record_region

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import numpy.typing as npt
    from napari.layers import Image

    from napari_patchioner.annotations import Record
    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import Region
    from napari_patchioner.viewer.session.session import Session
    from napari_patchioner.viewer.workers.encode import Encoder

    FloatArray = npt.NDArray[np.float64]

NAME = "napari-patchioner"


class PatchOverlay(SceneOverlay):  # type: ignore[misc]
    """The overlay of one image: a `Sheet`, or nothing."""

    sheet: Any = None
    blending: Blending = Blending.TRANSLUCENT_NO_DEPTH


def attach(image: Image) -> PatchOverlay:
    """Return the overlay of an image, made on first use."""
    if NAME not in image._overlays:
        from .rendering import register

        register(PatchOverlay)
        image._overlays[NAME] = PatchOverlay()
    overlay: PatchOverlay = image._overlays[NAME]
    return overlay


def detach(image: Image) -> None:
    """Take the overlay off an image."""
    image._overlays.pop(NAME, None)


class Overlays:
    """Decides what is drawn over an image, and keeps it up to date.

    `lines` says whether the patch grid is wanted, `patches` whether the patches of what is selected
    are, or else of what lies under the cursor: `inspected`.
    """

    def __init__(
        self,
        image: Image,
        encoder: Encoder,
        session: Session,
        current: Callable[[], Record | None],
        options: Mapping[str, Any],
    ) -> None:
        self.lines = False
        self.patches = False
        self.inspected: Region | None = None
        self._image = image
        self._encoder = encoder
        self._session = session
        self._current = current
        self._options = options
        self._drawn: object = None

    def refresh(self) -> None:
        """Draw what there is to draw now, if that is not what is drawn."""
        wanted = self._wanted()
        if wanted == self._drawn:
            return
        self._drawn = wanted
        displayed = self._encoder.here()
        if wanted is None or displayed is None:
            detach(self._image)
            return
        plane, grid = displayed
        overlay = attach(self._image)
        region = self._region(plane.axes) if self.patches else None
        grid, heat = self._heat(region, grid)
        overlay.sheet = Sheet(grid.transform, self.lines, heat)
        if not overlay.visible:
            overlay.visible = True
            # Overlays that come late are half a pixel off until napari places its nodes again.
            self._image.events.translate()

    def close(self) -> None:
        """Draw nothing any more."""
        self.lines = self.patches = False
        self.inspected = self._drawn = None
        detach(self._image)

    def _wanted(self) -> object:
        """Return what decides the drawing, comparable; None for nothing."""
        displayed = self._encoder.here() if self.lines or self.patches else None
        if displayed is None:
            return None
        grid = displayed[1]
        if not self.patches:
            return id(grid), self.lines
        record = self._current()
        about = (record.uid, record.fingerprint) if record is not None else None
        options = tuple(self._options.get(name) for name in ("pooling", "union", "zoom"))
        return id(grid), self.lines, about, options, id(self.inspected)

    def _region(self, axes: tuple[int, int]) -> Region | None:
        """Return the region whose patches are shown: under the cursor before selected."""
        if self.inspected is not None:
            return self.inspected
        record = self._current()
        displayed = self._encoder.here()
        if record is None or displayed is None:
            return None
        try:
            if record_plane(record, self._session, axes) != displayed[0]:
                return None
            union = bool(self._options.get("union"))
            return record_region(record, self._session, axes, union=union)
        except PatchionerError:
            return None

    def _heat(
        self, region: Region | None, grid: FeatureGrid
    ) -> tuple[FeatureGrid, FloatArray | None]:
        """Return the patches that a region is captioned from, and what each contributes."""
        if region is None:
            return grid, None
        pooling = self._options.get("pooling")
        try:
            # What is under the cursor is captioned from the overview.
            near = self.inspected is None
            closer = patches_for(grid, region, self._options) if near else grid
            return closer, self._encoder.pooling.weights(region, closer, pooling)
        except PatchionerError:
            return grid, None
