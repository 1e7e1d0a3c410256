"""What was found to be like some examples, drawn over an image: thin boxes, and a heat map.

Both are layers of napari that are set aside: nothing on them is taken for the person's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer, Shapes
from napari.utils.colormaps import Colormap, ensure_colormap
from napari.utils.events import Event
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from napari_patchioner.annotations import Plane
from napari_patchioner.regions import Box
from napari_patchioner.viewer.session.proposals import Proposed

from .captions import CROWD
from .geometry import FloatArray, Follower, full_shape, on_plane, placement, world_matrix
from .image_layers import edge_width, is_bright, set_aside
from .overlays import add_halo
from .shapes import flat

# Of plasma, whose lightness alone tells its colours apart: what scores most and least, on bright
# images and on dark ones. Both ends stand out from the image.
_ON_BRIGHT, _ON_DARK = (0.0, 0.62), (1.0, 0.45)
# Share of what is thought most of that stays invisible in the heat map, and how dense it gets.
_COLD, _DENSE = 0.2, 0.7
# Width of lines, in those of regions, and of the box around the selected one, in thin ones
_THIN, _THICK = 0.75, 2.5


class ProposalLayers:
    """The two layers of one image; they come with what is first drawn, and go with `close`.

    `edited` is called where somebody else has changed the boxes.
    """

    def __init__(
        self, viewer: Viewer, image: Image, plane: Plane, edited: Callable[[], object]
    ) -> None:
        self.boxes: Shapes | None = None
        self.heat: Image | None = None
        self._viewer, self._image, self._plane = viewer, image, plane
        self._edited = edited
        self._followers: dict[Layer, Follower] = {}
        self._drawing = False
        self._before = viewer.layers.selection.active

    def owns(self, layer: object) -> bool:
        """Whether a layer is one of the two."""
        return layer is not None and (layer is self.boxes or layer is self.heat)

    def draw(self, items: Sequence[Proposed], selected: int = 0) -> None:
        """Draw these boxes and no others, with a second one around the selected one."""
        layer = self._boxes()
        width = _THIN * edge_width(self._image)
        chosen = [item for item in items if item.number == selected]
        drawn = [*items, *chosen]
        self._drawing = True
        try:
            layer.selected_data = set()
            if layer.nshapes:
                layer.remove(list(range(layer.nshapes)))
            if drawn:
                vertices = [self.vertices(item) for item in items]
                vertices += [self.vertices(item, wider=_THICK * width) for item in chosen]
                kinds = ["rectangle" if item.outline is None else "polygon" for item in drawn]
                widths = [width] * len(items) + [_THICK * width] * len(chosen)
                colours = self._colours([item.score for item in drawn])
                with flat(layer):
                    layer.add(vertices, shape_type=kinds, edge_width=widths, edge_color=colours)
            numbers = [str(item.number) for item in items] + [item.text for item in chosen]
            layer.text.visible = len(items) <= CROWD
            # Outlines of many sizes begin in the same corner of the image.
            outlined = any(item.outline is not None for item in items)
            layer.text.anchor = "center" if outlined else "upper_left"
            layer.features = {"number": numbers, "score": [item.score for item in drawn]}
        finally:
            self._drawing = False

    def draw_heat(self, heat: FloatArray | npt.NDArray[np.float32] | None) -> None:
        """Draw a heat map, shape (rows, columns), that covers the plane; None for none."""
        if heat is None:
            # First forgotten: whoever hears of the removal takes it for a person's.
            layer, self.heat = self.heat, None
            if layer is not None:
                self._followers.pop(layer).close()
                self._viewer.layers.remove(layer)
            return
        if self.heat is None:
            self._add_heat(heat)
        elif self.heat.data.size:
            self.heat.data = self._in_place(heat)
            # One of things of another size has other cells.
            self.heat.affine = self._spread(heat)
            self._followers[self.heat].update()

    def show(self, on: bool) -> None:
        """Show both, or hide them."""
        for layer in self._followers:
            if layer.visible != on:
                layer.visible = on

    def close(self, *, later: bool = False) -> None:
        """Take both away; `later` where layers are just being removed, once that is done."""
        layers = [layer for layer in (self.boxes, self.heat) if layer is not None]
        active = self._viewer.layers.selection.active
        back = self._before if self._before in self._viewer.layers else None
        for follower in self._followers.values():
            follower.close()
        self._followers.clear()
        if self.boxes is not None:
            self.boxes.events.data.disconnect(self._on_data)
        self.boxes = self.heat = None
        if later:
            for layer in layers:
                layer.visible = False
            QTimer.singleShot(0, partial(_take_away, self._viewer, layers))
        else:
            _take_away(self._viewer, layers)
        if active in layers and back is not None:
            self._viewer.layers.selection.active = back

    def forget(self, layer: Layer) -> None:
        """Take note that a person has deleted one of the two."""
        self._followers.pop(layer).close()
        if layer is self.heat:
            self.heat = None
        else:
            self.boxes = None

    def vertices(self, item: Proposed, *, wider: float = 0.0) -> FloatArray:
        """Return those of a proposal, along all axes of the image; a box may be made wider."""
        if item.outline is not None:
            return on_plane(item.outline, self._plane, self._image.ndim)
        return self.corners(_grown(item.box, wider) if wider else item.box)

    def corners(self, box: Box) -> FloatArray:
        """Return the corners of a box of the plane, along all axes of the image, shape (4, n)."""
        rows, columns = (box.top, box.top, box.bottom, box.bottom), (box.left, box.right) * 2
        order = [0, 1, 3, 2]
        vertices = self._origin()[None].repeat(4, axis=0)
        vertices[:, self._plane.axes[0]] = np.array(rows)[order]
        vertices[:, self._plane.axes[1]] = np.array(columns)[order]
        return vertices

    # details

    def _origin(self) -> FloatArray:
        """Return the first pixel of the plane, along all axes of the image."""
        origin = np.zeros(self._image.ndim)
        others = [axis for axis in range(self._image.ndim) if axis not in self._plane.axes]
        origin[others] = self._plane.index
        return origin

    def _boxes(self) -> Shapes:
        if self.boxes is None:
            image = self._image
            bright = is_bright(image)
            layer = self.boxes = Shapes(
                ndim=image.ndim,
                name=f"proposals [{image.name}]",
                features={"number": np.array([], object), "score": np.array([], float)},
                text={
                    "string": "{number}",
                    "size": 8,
                    "color": "black" if bright else "white",
                    "anchor": "upper_left",
                },
                face_color="transparent",
                opacity=1,
                **placement(image),
            )
            self._add(layer)
            # Numbers may lie beside the image, where the canvas has another brightness.
            add_halo(self._viewer, layer)
            # Nothing can be drawn there, or moved.
            layer.editable = False
            layer.events.data.connect(self._on_data)
        return self.boxes

    def _add_heat(self, heat: Any) -> None:
        image = self._image
        active = self._viewer.layers.selection.active
        layer = self.heat = Image(
            self._in_place(heat),
            name=f"heat [{image.name}]",
            colormap=_colours_of_heat(),
            contrast_limits=(0, 1),
            blending="translucent",
            interpolation2d="linear",
            affine=self._spread(heat),
            units=image.units,
            axis_labels=image.axis_labels,
        )
        self._add(layer)
        if self.boxes is not None:
            layers = self._viewer.layers
            layers.move(layers.index(layer), layers.index(self.boxes))
            self._viewer.layers.selection.active = active

    def _spread(self, heat: Any) -> FloatArray:
        """Return the matrix that spreads a heat map over the plane, in the world."""
        size, to_image = full_shape(self._image), np.eye(self._image.ndim + 1)
        to_image[:-1, -1] = self._origin()
        for axis, count in zip(self._plane.axes, heat.shape, strict=True):
            step = size[axis] / count
            to_image[axis, axis], to_image[axis, -1] = step, (step - 1) / 2
        return np.asarray(world_matrix(self._image) @ to_image)

    def _in_place(self, heat: Any) -> Any:
        """Return the heat with all axes of the image."""
        turned = heat.T if self._plane.axes[0] > self._plane.axes[1] else heat
        shape = [1] * self._image.ndim
        for axis, count in zip(sorted(self._plane.axes), turned.shape, strict=True):
            shape[axis] = count
        return np.reshape(turned, shape)

    def _add(self, layer: Layer) -> None:
        # Before it is there: whoever hears of it has to know.
        set_aside(layer)
        self._viewer.add_layer(layer)
        self._followers[layer] = Follower(layer, self._image)

    def _colours(self, scores: Sequence[float]) -> npt.NDArray[np.float32]:
        most, least = _ON_BRIGHT if is_bright(self._image) else _ON_DARK
        places = least + (most - least) * np.asarray(scores, float)
        return np.asarray(ensure_colormap("plasma").map(places), np.float32)

    def _on_data(self, event: Event) -> None:
        action = str(getattr(event.action, "value", event.action))
        if not self._drawing and not action.endswith("ing"):
            self._edited()


def _grown(box: Box, by: float) -> Box:
    return Box(box.top - by, box.left - by, box.bottom + by, box.right + by)


def _take_away(viewer: Viewer, layers: Sequence[Layer]) -> None:
    """Remove layers from a viewer, if it is still there."""
    window = getattr(viewer, "window", None)
    shown = getattr(window, "_qt_window", None)
    if window is not None and (shown is None or not isalive(shown)):
        return
    for layer in layers:
        if layer in viewer.layers:
            viewer.layers.remove(layer)


@cache
def _colours_of_heat() -> Colormap:
    """Return viridis, from invisible to dense."""
    places = np.linspace(0, 1, 256)
    colours = np.array(ensure_colormap("viridis").map(places))
    colours[:, 3] = _DENSE * np.clip((places - _COLD) / (1 - _COLD), 0, 1)
    return Colormap(colours, name="patchioner heat")
