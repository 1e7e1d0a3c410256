"""How vispy draws the patch overlay; the only module that knows vispy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari._vispy.overlays.base import LayerOverlayMixin, VispySceneOverlay
from napari._vispy.utils.visual import overlay_to_visual
from vispy.color import get_colormap
from vispy.scene.visuals import Compound, Line, Mesh

from .overlays import LOWEST, OPACITY

if TYPE_CHECKING:
    from .overlays import Sheet

# Light on dark, so that one of them shows on any image.
_DARK, _LIGHT = (0.0, 0.0, 0.0, 0.35), (1.0, 1.0, 1.0, 0.55)


def register(overlay: type) -> None:
    """Tell napari how the overlay is drawn."""
    overlay_to_visual[overlay] = VispyPatches


class Patches(Compound):
    """Coloured squares below two sets of lines."""

    def __init__(self) -> None:
        lines = [Line(color=c, connect="segments", width=w) for c, w in ((_DARK, 3), (_LIGHT, 1))]
        super().__init__([Mesh(), *lines])

    def draw_lines(self, ends: np.ndarray | None) -> None:
        """Draw lines between pairs of (x, y) points, or none."""
        for line in self._subvisuals[1:]:
            line.visible = ends is not None
            if ends is not None:
                line.set_data(pos=ends.astype(np.float32))

    def draw_squares(self, corners: np.ndarray, weights: np.ndarray) -> None:
        """Fill squares, (k, 4, 2) corners as (x, y), by weights from 0 to 1."""
        mesh = self._subvisuals[0]
        mesh.visible = len(corners) > 0
        if not len(corners):
            return
        colours = get_colormap("viridis").map(LOWEST + (1 - LOWEST) * weights)
        colours[:, 3] = OPACITY
        first = 4 * np.arange(len(corners))[:, None]
        faces = (first + np.array([0, 1, 2, 0, 2, 3])).reshape(-1, 3)
        mesh.set_data(
            vertices=corners.reshape(-1, 2).astype(np.float32),
            faces=faces.astype(np.uint32),
            face_colors=np.repeat(colours, 2, axis=0).astype(np.float32),
        )


class VispyPatches(LayerOverlayMixin, VispySceneOverlay):
    """Draws the sheet of a `PatchOverlay` in the coordinates of its image."""

    def __init__(self, **options: Any) -> None:
        super().__init__(node=Patches(), **options)
        self.overlay.events.sheet.connect(self._on_sheet)
        self.layer.events.set_data.connect(self._on_level)
        self._scale: tuple[float, ...] = ()
        self.reset()
        self._on_sheet()

    def close(self) -> None:
        """Let go of the overlay."""
        self.overlay.events.sheet.disconnect(self._on_sheet)
        super().close()

    def _on_level(self) -> None:
        """Draw again where another level of a pyramid is shown."""
        if self.layer.multiscale and self._level_scale() != self._scale:
            self._on_sheet()

    def _level_scale(self) -> tuple[float, ...]:
        """Return how many full pixels one pixel of the shown level is high and wide."""
        if not self.layer.multiscale:
            return (1.0, 1.0)
        displayed = list(self.layer._slice_input.displayed)
        return tuple(float(step) for step in self.layer._transforms[0].scale[displayed])

    def _on_sheet(self) -> None:
        sheet: Sheet | None = self.overlay.sheet
        if sheet is None:
            return
        self._scale = self._level_scale()
        self.node.draw_lines(self._flip(sheet.borders()).reshape(-1, 2) if sheet.lines else None)
        corners, weights = sheet.squares()
        self.node.draw_squares(self._flip(corners), weights)
        self.node.update()

    def _flip(self, places: np.ndarray) -> np.ndarray:
        """Return (x, y) on the shown level for (row, column) at full resolution."""
        return ((places + 0.5) / np.array(self._scale) - 0.5)[..., ::-1]
