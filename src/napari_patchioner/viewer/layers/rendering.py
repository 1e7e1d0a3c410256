"""What vispy draws beside napari's layers: the patch overlay, and rims around captions.

The only module that knows vispy and napari's canvas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari._vispy.overlays.base import LayerOverlayMixin, VispySceneOverlay
from napari._vispy.utils.visual import overlay_to_visual
from vispy.color import get_colormap
from vispy.scene.visuals import Compound, Line, Mesh

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.layers import Layer
    from napari.viewer import Viewer

    from .geometry import Sheet

    FloatArray = npt.NDArray[np.float64]

# Viridis from a fifth up: the lowest of its blues is lost on dark images.
LOWEST, OPACITY = 0.2, 0.5
# Light on dark, so that one of them shows on any image.
_DARK, _LIGHT = (0.0, 0.0, 0.0, 0.35), (1.0, 1.0, 1.0, 0.55)
_END = "if (alpha <= 0) discard;"
# Letters are drawn from a field of distances: 0.5 at their edge, less outside.
_RIM = """
        if (u_rim > 0.5) {
            float light = dot(v_color.rgb, vec3(0.299, 0.587, 0.114));
            float rim = smoothstep(0.02, 0.28, distance) * 0.9;
            if (rim <= 0.0 || v_color.a <= 0.0) discard;
            gl_FragColor = vec4(vec3(light > 0.45 ? 0.0 : 1.0), v_color.a * rim);
            return;
        }
"""


def register(overlay: type) -> None:
    """Set how napari draws the overlay."""
    overlay_to_visual[overlay] = VispyPatches


class Patches(Compound):  # type: ignore[misc]
    """Coloured squares below two sets of lines."""

    def __init__(self) -> None:
        lines = [Line(color=c, connect="segments", width=w) for c, w in ((_DARK, 3), (_LIGHT, 1))]
        super().__init__([Mesh(), *lines])

    def draw_lines(self, ends: FloatArray | None) -> None:
        """Draw lines between pairs of (x, y) points, or none."""
        for line in self._subvisuals[1:]:
            line.visible = ends is not None
            if ends is not None:
                line.set_data(pos=ends.astype(np.float32))

    def draw_squares(self, corners: FloatArray, weights: FloatArray) -> None:
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


class VispyPatches(LayerOverlayMixin, VispySceneOverlay):  # type: ignore[misc]
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

    def _flip(self, points: FloatArray) -> FloatArray:
        """Return (x, y) on the shown level for (row, column) at full resolution."""
        flipped: FloatArray = ((points + 0.5) / np.array(self._scale) - 0.5)[..., ::-1]
        return flipped


def add_halo(viewer: Viewer, layer: Layer) -> bool:
    """Draw a dark rim around bright captions of a layer and a bright one around dark captions.

    napari has no setting for it; where its own shader has changed nothing is done. Returns whether
    the captions have a rim now.
    """
    try:
        text = viewer.window._qt_viewer.canvas.layer_to_visual[layer].node.text
        code = text._shaders["fragment"]
    except (AttributeError, KeyError):
        return False
    if "draw" in vars(text):
        return True
    if _END not in code or "float distance" not in code:
        return False
    text.shared_program.frag = code.replace("void main", "uniform float u_rim;\nvoid main").replace(
        _END, _RIM + _END
    )
    draw = text.draw

    def draw_rims_first() -> None:
        """Draw all rims before all letters: they would cover the letters beside them."""
        for rim in (1.0, 0.0):
            text.shared_program["u_rim"] = rim
            draw()

    text.shared_program["u_rim"] = 0.0
    text.draw = draw_rims_first
    text.update()
    return True


def delete_in_own_context(viewer: Viewer) -> None:
    """Have the canvas of a viewer made current before layers go; once is enough, more do no harm.

    What a removed layer was drawn with must be deleted where it was made. On the removal of layers
    napari (0.9.2, `VispyCanvas._clean_and_update_scenegraph`) runs what vispy has queued, deletions
    first of all, in whichever OpenGL context happens to be current. Outside of a paint event that
    is the one Qt puts the window together in, which shares all objects with the canvas. Mesa then
    keeps the deleted shaders until the canvas draws again, and unbinds the shader of that drawing
    along with them: the process ends in glDrawArrays. Other drivers lose buffers instead.

    A viewer without a window draws nothing and is left alone.
    """
    window = getattr(viewer, "window", None)
    if window is None:
        return
    make_current = window._qt_viewer.canvas._scene_canvas.set_current
    for before in (viewer.layers.events.removing, viewer.layers.events.begin_batch):
        before.connect(make_current)
