"""The patch grid, patches of a region, taught names and rims around captions, over the image.

Grid and patches are napari overlays of the image layer, for which napari 0.9 has no public method.
The only module that knows vispy and napari's canvas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from napari._vispy.overlays.base import LayerOverlayMixin, VispySceneOverlay
from napari._vispy.utils.visual import overlay_to_visual
from napari.components.overlays import SceneOverlay
from napari.layers import Image, Layer
from napari.layers.base._base_constants import Blending
from napari.viewer import Viewer
from vispy.color import Color, get_colormap
from vispy.scene.visuals import Compound, Line, Mesh

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.errors import PatchionerError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.regions import Region
from napari_patchioner.viewer.session.session import Session
from napari_patchioner.viewer.workers.encode import Encoder, Overview

from .captions import colour_of
from .geometry import FloatArray, record_plane, record_region, shown_plane

NAME = "napari-patchioner"
# Viridis from a fifth up: the lowest of its blues is lost on dark images.
LOWEST, OPACITY = 0.2, 0.5
# Of outlines in the colours of names, in pixels of the screen; and half of what surrounds a point.
_WIDE, _AROUND = 5, 4.0
# Patches that show a word so likely are as bright as can be; those of a share of the best are not
# drawn.
_PLAIN, _FAINT = 0.5, 0.15
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


@dataclass(frozen=True, eq=False, slots=True)
class Sheet:
    """What is drawn over one plane: borders of patches, how much each counts, and outlines."""

    transform: GridTransform | None = None
    lines: bool = False
    # Shape (rows, columns); nothing is drawn where it is zero
    heat: FloatArray | None = None
    # What counts whole, where it is more than all there is
    most: float = 0.0
    # Both ends of the lines around regions, shape (n, 2, 2), and their colours, shape (n, 4)
    outlines: FloatArray | None = None
    colours: FloatArray | None = None

    def borders(self) -> FloatArray:
        """Return both ends of every line, shape (n, 2, 2), in ``(row, column)`` image pixels."""
        if self.transform is None:
            return np.zeros((0, 2, 2))
        rows, columns = self.transform.grid_shape
        across = [[(row, 0), (row, columns)] for row in range(rows + 1)]
        down = [[(0, column), (rows, column)] for column in range(columns + 1)]
        return self.transform.to_image(np.array(across + down, float))

    def with_lines(self, lines: FloatArray, colours: FloatArray) -> Sheet:
        """Return it with further lines."""
        if self.outlines is not None and self.colours is not None:
            lines = np.concatenate([self.outlines, lines])
            colours = np.concatenate([self.colours, colours])
        return replace(self, outlines=lines, colours=colours)

    def squares(self) -> tuple[FloatArray, FloatArray]:
        """Return the patches that count: corners (k, 4, 2) in image pixels, weights (k,) to 1."""
        if self.heat is None or self.transform is None:
            return np.zeros((0, 4, 2)), np.zeros(0)
        heat = self.heat
        cells = np.argwhere(heat > 0)
        around = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
        corners = self.transform.to_image(cells[:, None] + around)
        weights = heat[heat > 0]
        return corners, weights / weights.max(initial=max(self.most, np.finfo(float).tiny))


class PatchOverlay(SceneOverlay):  # type: ignore[misc]
    """The overlay of one image: a `Sheet`, or nothing."""

    sheet: Any = None
    blending: Blending = Blending.TRANSLUCENT_NO_DEPTH


class Overlays:
    """Decides what is drawn over an image, and keeps it up to date."""

    def __init__(
        self,
        image: Image,
        encoder: Encoder,
        session: Session,
        current: Callable[[], Record | None],
        options: Mapping[str, Any],
    ) -> None:
        # Whether the grid is wanted, and the patches of what is selected or under the cursor
        self.lines = self.patches = False
        self.inspected: Region | None = None
        # Returns the patches of a word and where they lie, in the place of all others
        self.word: Callable[[], tuple[GridTransform, npt.NDArray[np.float32]] | None] | None = None
        # Names whose regions are outlined in their colours
        self.names: frozenset[str] = frozenset()
        # Lines of what is being grown, shape (n, 2, 2), and their colours
        self.growth: tuple[FloatArray, FloatArray] | None = None
        # Uids of regions that are outlined because something speaks of them
        self.pointed: frozenset[str] = frozenset()
        self._image, self._encoder, self._session = image, encoder, session
        self._current, self._options = current, options
        self._drawn: tuple[Any, ...] = ()

    def refresh(self) -> None:
        """Draw what there is to draw now, if that is not what is drawn."""
        here = self._encoder.here() if self.lines or self.patches else None
        # What decides the drawing, comparable
        wanted: tuple[Any, ...] = ()
        if here is not None:
            wanted = id(here[1]), self.lines
        if here is not None and self.patches:
            record = self._current()
            about = (record.uid, record.fingerprint) if record is not None else None
            options = [self._options.get(name) for name in ("pooling", "union", "zoom")]
            wanted += about, options, id(self.inspected)
        outlined = self.names or self.pointed
        plane = shown_plane(self._encoder.viewer, self._image) if outlined else None
        named = self._named(plane) if plane is not None else []
        if plane is not None and named:
            wanted += plane, [(r.uid, r.fingerprint, name) for r, name in named]
        word = self.word() if self.word is not None else None
        if word is not None:
            wanted += ("word", id(word[1]))
        if self.growth is not None:
            wanted += (id(self.growth[0]),)
        if wanted == self._drawn:
            return
        self._drawn = wanted
        overlays = self._image._overlays
        if not wanted:
            overlays.pop(NAME, None)
            return
        overlay = overlays.setdefault(NAME, PatchOverlay())
        sheet = Sheet()
        if here is not None:
            grid, heat = self._heat(*here)
            sheet = Sheet(grid.transform, self.lines, heat)
        if word is not None:
            transform, chances = word
            # Faint ones only hide the image.
            is_plain = chances >= _FAINT * chances.max(initial=0.0)
            shown = np.where(is_plain, chances, 0).astype(float)
            sheet = Sheet(transform, self.lines, shown, _PLAIN)
        if plane is not None and named:
            outlines, colours = self._outlines(plane, named)
            sheet = replace(sheet, outlines=outlines, colours=colours)
        if self.growth is not None:
            sheet = sheet.with_lines(*self.growth)
        overlay.sheet = sheet
        if not overlay.visible:
            overlay.visible = True
            # Overlays that come late are half a pixel off until napari places its nodes again.
            self._image.events.translate()

    def clear(self) -> None:
        """Draw nothing any more of what was asked for; the image may be turned to again."""
        self.lines = self.patches = False
        self.inspected, self.names, self.pointed = None, frozenset(), frozenset()
        self.growth = None
        self.refresh()

    def _named(self, plane: Plane) -> list[tuple[Record, str]]:
        """Return the records on a plane that are outlined, with the names that colour them."""
        named = []
        for record in self._session.records.values():
            taught = record.taught_name
            name = taught.name if taught is not None else record.caption
            is_meant = name in self.names or record.uid in self.pointed
            here = record.plane is None and is_meant
            if here and record_plane(record, self._session, plane.axes) == plane:
                # All that something speaks of are of one colour.
                named.append((record, name if name in self.names else NAME))
        return named

    def _outlines(
        self, plane: Plane, named: Sequence[tuple[Record, str]]
    ) -> tuple[FloatArray, FloatArray]:
        """Return the lines around regions, and their colours."""
        lines, colours = [], []
        for record, name in named:
            try:
                region = record_region(record, self._session, plane.axes)
            except PatchionerError:
                continue
            colour = Color(colour_of(name)).rgba
            for part in region.parts():
                for ring in part.rings() or [_around(part)]:
                    lines.append(np.stack([ring, np.roll(ring, -1, axis=0)], axis=1))
                    colours.append(np.tile(colour, (len(ring), 1)))
        if not lines:
            return np.zeros((0, 2, 2)), np.zeros((0, 4))
        return np.concatenate(lines), np.concatenate(colours)

    def _heat(self, plane: Plane, grid: FeatureGrid) -> tuple[FeatureGrid, FloatArray | None]:
        """Return the patches that are shown, and what each contributes."""
        if not self.patches:
            return grid, None
        weights, how = self._encoder.pooling.weights, self._options.get("pooling")
        record, axes = self._current(), plane.axes
        try:
            # What is under the cursor is captioned from the overview.
            if self.inspected is not None:
                return grid, weights(self.inspected, grid, how)
            if record is None or record_plane(record, self._session, axes) != plane:
                return grid, None
            union = bool(self._options.get("union"))
            region = record_region(record, self._session, axes, union=union)
            zoom = bool(self._options.get("zoom"))
            closer = grid.closer(region, zoom=zoom) if isinstance(grid, Overview) else grid
            return closer, weights(region, closer, how)
        except PatchionerError:
            return grid, None


def _around(region: Region) -> FloatArray:
    """Return a box around a point or a line, which have no outline, shape (4, 2)."""
    bounds = region.bounds()
    top, left = bounds.top - _AROUND, bounds.left - _AROUND
    bottom, right = bounds.bottom + _AROUND, bounds.right + _AROUND
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left)], float)


class VispyPatches(LayerOverlayMixin, VispySceneOverlay):  # type: ignore[misc]
    """Draws the sheet of a `PatchOverlay`: coloured squares below two sets of lines."""

    def __init__(self, **options: Any) -> None:
        self._mesh = Mesh()
        styles = ((_DARK, 3), (_LIGHT, 1))
        self._lines = [Line(color=c, connect="segments", width=width) for c, width in styles]
        self._outlines = Line(connect="segments", width=_WIDE, antialias=True)
        nodes = [self._mesh, *self._lines, self._outlines]
        super().__init__(node=Compound(nodes), **options)
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
        for line in self._lines:
            line.visible = sheet.lines
            if sheet.lines:
                line.set_data(pos=self._on_canvas(sheet.borders()))
        outlined = sheet.outlines is not None and len(sheet.outlines) > 0
        self._outlines.visible = outlined
        if sheet.outlines is not None and sheet.colours is not None and outlined:
            colours = np.repeat(sheet.colours, 2, axis=0).astype(np.float32)
            self._outlines.set_data(pos=self._on_canvas(sheet.outlines), color=colours)
        corners, weights = sheet.squares()
        self._mesh.visible = len(corners) > 0
        if len(corners):
            colours = get_colormap("viridis").map(LOWEST + (1 - LOWEST) * weights)
            colours[:, 3] = OPACITY
            first = 4 * np.arange(len(corners))[:, None]
            self._mesh.set_data(
                vertices=self._on_canvas(corners),
                faces=(first + np.array([0, 1, 2, 0, 2, 3])).reshape(-1, 3).astype(np.uint32),
                face_colors=np.repeat(colours, 2, axis=0).astype(np.float32),
            )
        self.node.update()

    def _on_canvas(self, points: FloatArray) -> npt.NDArray[np.float32]:
        """Return points of the image, (row, column), as (x, y) on the shown level."""
        flipped: FloatArray = ((points + 0.5) / np.array(self._scale) - 0.5)[..., ::-1]
        return flipped.reshape(-1, 2).astype(np.float32)


overlay_to_visual[PatchOverlay] = VispyPatches


def add_halo(viewer: Viewer, layer: Layer) -> bool:
    """Draw a rim around captions, dark around bright ones; return whether they have one now.

    napari has no setting for it; where its own shader has changed nothing is done.
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
    draw, is_warm = text.draw, False

    def draw_rims_first() -> None:
        """Draw all rims before all letters: they would cover the letters beside them."""
        nonlocal is_warm
        # Without letters, only that the first ones find everything compiled
        if is_warm and not any(text.text):
            return
        is_warm = True
        for rim in (1.0, 0.0):
            text.shared_program["u_rim"] = rim
            draw()

    text.shared_program["u_rim"] = 0.0
    text.draw = draw_rims_first
    text.update()
    return True


def delete_in_own_context(viewer: Viewer) -> None:
    """Have the canvas of a viewer made current before layers go; once is enough, more do no harm.

    On the removal of layers napari (0.9.2, `VispyCanvas._clean_and_update_scenegraph`) deletes what
    they were drawn with in whichever OpenGL context is current, which may be that of the window.
    Mesa then unbinds the shader of the next drawing along with those deleted, and the process ends
    in glDrawArrays; other drivers lose buffers instead.
    """
    if (window := getattr(viewer, "window", None)) is not None:
        make_current = window._qt_viewer.canvas._scene_canvas.set_current
        for before in (viewer.layers.events.removing, viewer.layers.events.begin_batch):
            before.connect(make_current)
