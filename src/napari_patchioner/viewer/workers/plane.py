"""The displayed plane as a person sees it, as 8-bit pixels for the captioner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import ImageError
from napari_patchioner.pyramid import BIG
from napari_patchioner.viewer.layers.geometry import full_shape, lies_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import napari
    import numpy.typing as npt
    from napari.utils.events import Event

    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.viewer.session.record import Plane


def grey(
    pixels: npt.NDArray[Any], contrast: Sequence[float], gamma: float
) -> npt.NDArray[np.uint8]:
    """Apply the display's contrast limits and gamma."""
    low, high = contrast
    width = max(high - low, float(np.finfo(np.float32).tiny))
    shown = np.clip((pixels.astype(np.float32) - low) / width, 0, 1)
    return _to_bytes(255 * (shown if gamma == 1 else shown**gamma))


def colours(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Bring colours to 8 bits as napari does: full range for integers, 0 to 1 for floats."""
    if pixels.dtype == np.uint8:
        return pixels
    top = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "iu" else 1.0
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * 255
    return _to_bytes(255 * np.clip(pixels.astype(np.float32) / top, 0, 1))


def _to_bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Round values from 0 to 255."""
    rounded: npt.NDArray[np.uint8] = np.round(values).astype(np.uint8)
    return rounded


# Levels of a pyramid smaller than this along a displayed axis lose what a model could see.
LEAST_PIXELS = 1024
WHOLE = (slice(None), slice(None))
_ADDED = "additive"


@dataclass(frozen=True, eq=False, slots=True)
class Channel:
    """One image layer as it is displayed, without the layer.

    Attributes
    ----------
    data : array_like
        The level to read from, lazy or not.
    index : tuple of int
        Position along the axes that are not displayed, on this level.
    colours : bool
        Whether the last axis holds colours.
    display : mapping
        Layer name, contrast limits, gamma, colormap and opacity, as plain values.
    palette : ndarray of float32, shape (256, 3), optional
        Colours from the least to the greatest value; None for shades of gray.
    """

    data: Any
    index: tuple[int, ...]
    colours: bool
    display: Mapping[str, Any]
    palette: npt.NDArray[np.float32] | None = None

    def read(
        self, axes: tuple[int, int], window: tuple[slice, slice] = WHOLE
    ) -> npt.NDArray[np.uint8]:
        """Return the picture in a window, shape (H, W) or (H, W, 3 or 4), 8 bits per sample."""
        others = iter(self.index)
        taken = dict(zip(axes, window, strict=True))
        spatial = range(len(self.index) + 2)
        slices = tuple(taken[axis] if axis in axes else next(others) for axis in spatial)
        pixels = np.asarray(self.data[slices])
        if axes[0] > axes[1]:
            pixels = np.swapaxes(pixels, 0, 1)
        if pixels.size == 0:
            raise ImageError("the image has no pixels; choose another one")
        if pixels.dtype.kind == "f":
            # As napari shows them: where there is no number it is dark.
            pixels = np.nan_to_num(pixels, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        if self.colours:
            return colours(pixels)
        shown = grey(pixels, self.display["contrast_limits"], self.display["gamma"])
        if self.palette is None:
            return shown
        return np.round(255 * self.palette).astype(np.uint8)[shown]


@dataclass(frozen=True, eq=False, slots=True)
class PlaneSource:
    """All that is needed to read one plane in a worker, without the layers.

    Attributes
    ----------
    plane : Plane
        Which plane, in full-resolution coordinates.
    shape : tuple of int
        ``(height, width)`` of the plane at full resolution.
    channels : tuple of Channel
        What is displayed there; the light of several is added up.
    sizes : tuple of PlaneSource
        The same in all sizes there are, the full one first, if it is too large for one pass.
    """

    plane: Plane
    shape: tuple[int, int]
    channels: tuple[Channel, ...]
    sizes: tuple[PlaneSource, ...] = ()

    @property
    def own_shape(self) -> tuple[int, ...]:
        """Shape of what `read` returns."""
        shape, axes = self.channels[0].data.shape, self.plane.axes
        return (shape[axes[0]], shape[axes[1]], *self._colours())

    def _colours(self) -> tuple[int, ...]:
        """Length of the axis of colours, if there is one."""
        first = self.channels[0]
        if len(self.channels) == 1 and first.colours:
            return (int(first.data.shape[-1]),)
        return () if len(self.channels) == 1 and first.palette is None else (3,)

    @property
    def display(self) -> dict[str, Any]:
        """What is needed to make the same picture again, as plain values."""
        return {
            "axes": list(self.plane.axes),
            "index": list(self.plane.index),
            "layers": [dict(channel.display) for channel in self.channels],
        }

    def read(self, window: tuple[slice, slice] = WHOLE) -> npt.NDArray[np.uint8]:
        """Return the picture in a window, shape (H, W) or (H, W, 3 or 4), 8 bits per sample."""
        if len(self.channels) == 1:
            return self.channels[0].read(self.plane.axes, window)
        light: Any = 0
        for channel in self.channels:
            picture = channel.read(self.plane.axes, window)
            picture = picture if picture.ndim == 3 else picture[..., None].repeat(3, axis=-1)
            if np.shape(light) not in ((), picture.shape):
                raise ImageError("the channels differ in size; choose one of them alone")
            light = light + picture * np.float32(channel.display["opacity"])
        return _to_bytes(np.clip(light, 0, 255))

    def in_full_pixels(self, grid: FeatureGrid) -> FeatureGrid:
        """Return a grid of this picture with its coordinates in full-resolution pixels."""
        here = grid.transform
        if here.image_shape == self.shape:
            return grid
        down, across = (
            full / small for full, small in zip(self.shape, here.image_shape, strict=True)
        )
        top, left, height, width = here.extent
        window = (top * down, left * across, height * down, width * across)
        return replace(grid, transform=replace(here, image_shape=self.shape, window=window))


def plane_source(
    image: napari.layers.Image, plane: Plane, others: Sequence[napari.layers.Image] = ()
) -> PlaneSource:
    """Return what a worker needs to read a plane of the image.

    Of a pyramid it takes the smallest level that is still large enough for any model.

    Parameters
    ----------
    others : sequence of napari.layers.Image
        Further channels of the same shape, whose light is added; see `channels`.
    """
    full = full_shape(image)
    shape = (full[plane.axes[0]], full[plane.axes[1]])
    layers = (image, *others)
    sizes = (
        PlaneSource(plane, shape, tuple(_channel(layer, plane, level) for layer in layers))
        for level in (_common_levels(layers) if max(shape) > BIG else ())
    )
    return PlaneSource(
        plane, shape, tuple(_channel(layer, plane) for layer in layers), tuple(sizes)
    )


def channels(
    viewer: napari.components.ViewerModel, image: napari.layers.Image
) -> list[napari.layers.Image]:
    """Return the other visible channels whose light is added on an image, from below to above.

    They lie exactly on it and are blended additively, as channels of one file are. None for an
    image in colours, which is no channel; below one that is opaque nothing is seen.
    """
    from napari.layers import Image

    if image.rgb:
        return []
    layers = list(viewer.layers)
    seen = layers if image.blending == _ADDED else layers[layers.index(image) + 1 :]
    return [
        layer
        for layer in seen
        if type(layer) is Image
        and layer is not image
        and layer.visible
        and layer.blending == _ADDED
        and not layer.rgb
        and full_shape(layer) == full_shape(image)
        and lies_on(layer, image)
    ]


def display_of(image: napari.layers.Image) -> dict[str, Any]:
    """Return how a layer is displayed, as plain values."""
    facts: dict[str, Any] = {"layer": image.name, "rgb": bool(image.rgb)}
    if not image.rgb:
        low, high = image.contrast_limits
        facts |= {
            "contrast_limits": [float(low), float(high)],
            "gamma": float(image.gamma),
            "colormap": image.colormap.name,
            "opacity": float(image.opacity),
        }
        if not _is_named(image.colormap):
            facts["colors"] = image.colormap.colors.tolist()
            facts["controls"] = image.colormap.controls.tolist()
            facts["interpolation"] = str(image.colormap.interpolation)
    return facts


def _is_named(colormap: Any) -> bool:
    """Whether napari finds the same colours again by their name alone."""
    from napari.utils.colormaps import AVAILABLE_COLORMAPS

    known = AVAILABLE_COLORMAPS.get(colormap.name)
    return known is not None and np.array_equal(known.colors, colormap.colors)


def same_display(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two planes were displayed alike; a name changes nothing, nor one's own opacity."""
    return _essence(first) == _essence(second)


def _essence(shown: Mapping[str, Any]) -> list[dict[str, Any]]:
    ignored = {"layer"} if len(shown["layers"]) > 1 else {"layer", "opacity"}
    return [
        {name: value for name, value in facts.items() if name not in ignored}
        for facts in shown["layers"]
    ]


def _channel(image: napari.layers.Image, plane: Plane, number: int | None = None) -> Channel:
    """Return one layer as it is displayed, in a size of its own choice or the one asked for."""
    level = _level(image, plane) if number is None else _levels(image)[number]
    shape = _spatial(image, level)
    full = full_shape(image)
    others = [axis for axis in range(image.ndim) if axis not in plane.axes]
    index = tuple(
        min(int(position * shape[axis] / full[axis]), shape[axis] - 1)
        for axis, position in zip(others, plane.index, strict=True)
    )
    return Channel(level, index, bool(image.rgb), display_of(image), _palette(image))


def _palette(image: napari.layers.Image) -> npt.NDArray[np.float32] | None:
    """Return the colours of a single channel, None for plain gray."""
    if image.rgb or image.colormap.name == "gray":
        return None
    steps = np.linspace(0, 1, 256, dtype=np.float32)
    return np.asarray(image.colormap.map(steps), np.float32)[:, :3]


def _levels(image: napari.layers.Image) -> list[Any]:
    """Return an image in all its sizes, the full one first."""
    return list(image.data) if image.multiscale else [image.data]


def _common_levels(layers: Sequence[napari.layers.Image]) -> range:
    """Return the numbers of the levels that all layers have, in the same sizes."""
    shapes = [[_spatial(layer, level) for level in _levels(layer)] for layer in layers]
    same = takewhile(lambda level: len(set(level)) == 1, zip(*shapes, strict=False))
    return range(len(list(same)))


def _spatial(image: napari.layers.Image, level: Any) -> tuple[int, ...]:
    """Return the lengths of the axes of a level, colours left out."""
    return tuple(int(length) for length in level.shape[: image.ndim])


def _level(image: napari.layers.Image, plane: Plane) -> Any:
    """Return the smallest level that is large enough for one pass."""
    chosen, *smaller = _levels(image)
    for level in smaller:
        if min(level.shape[axis] for axis in plane.axes) >= LEAST_PIXELS:
            chosen = level
    return chosen


EVENTS = ("contrast_limits", "gamma", "colormap", "opacity", "visible")


class DisplayWatch:
    """Calls `changed` after any change of the display settings of a viewer's image layers.

    Contrast limits change with every step of a slider.
    """

    def __init__(self, viewer: napari.components.ViewerModel, changed: Callable[[], None]) -> None:
        self._layers = viewer.layers
        self._changed = changed
        self._closed = False
        self._layers.events.inserted.connect(self._on_inserted)
        self._layers.events.removed.connect(self._on_removed)
        for layer in self._layers:
            self._follow(layer, True)

    def close(self) -> None:
        """Follow nothing any more."""
        self._closed = True
        self._layers.events.inserted.disconnect(self._on_inserted)
        self._layers.events.removed.disconnect(self._on_removed)
        for layer in self._layers:
            self._follow(layer, False)

    def _follow(self, layer: napari.layers.Layer, on: bool) -> None:
        from napari.layers import Image

        for name in EVENTS if type(layer) is Image else ():
            emitter = getattr(layer.events, name)
            (emitter.connect if on else emitter.disconnect)(self._on_change)

    def _on_change(self, *_: object) -> None:
        # An emission that is under way still reaches slots that were disconnected meanwhile.
        if not self._closed:
            self._changed()

    def _on_inserted(self, event: Event) -> None:
        if not self._closed:
            self._follow(event.value, True)
            self._changed()

    def _on_removed(self, event: Event) -> None:
        self._follow(event.value, False)
        self._on_change()
