"""The displayed plane as a person sees it, as 8-bit pixels for the captioner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any, ClassVar

import napari
import numpy as np
import numpy.typing as npt
from napari.layers import Image
from napari.utils.colormaps import AVAILABLE_COLORMAPS

from napari_patchioner.annotations import Plane
from napari_patchioner.errors import ImageError
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.pyramid import BIG
from napari_patchioner.viewer.layers.geometry import full_shape, lies_on

# Levels of a pyramid smaller than this along a displayed axis lose what a model could see.
LEAST_PIXELS = 1024
WHOLE = (slice(None), slice(None))
_ADDED = "additive"


def _to_bytes(shares: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return values from 0 to 1 as bytes."""
    return np.asarray(np.round(255 * shares), np.uint8)


def _grey(pixels: npt.NDArray[Any], display: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """Apply the display's contrast limits and gamma."""
    low, high = display["contrast_limits"]
    width = max(high - low, float(np.finfo(np.float32).tiny))
    shown = np.clip((pixels.astype(np.float32) - low) / width, 0, 1)
    return _to_bytes(shown if display["gamma"] == 1 else shown ** display["gamma"])


def _colours(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Bring colours to 8 bits as napari does: full range for integers, 0 to 1 for floats."""
    if pixels.dtype == np.uint8:
        return pixels
    top = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind in "iu" else 1.0
    return _to_bytes(np.clip(pixels.astype(np.float32) / top, 0, 1))


@dataclass(frozen=True, eq=False, slots=True)
class Channel:
    """One image layer as it is displayed, without the layer."""

    # The level to read from, lazy or not, and the position along the axes not displayed on it
    data: Any
    index: tuple[int, ...]
    # See `display_of`
    display: Mapping[str, Any]
    # Colours from the least to the greatest value, shape (256, 3); None for shades of gray
    palette: npt.NDArray[np.float32] | None = None

    def read(self, axes: tuple[int, int], window: tuple[slice, slice]) -> npt.NDArray[np.uint8]:
        """Return the picture in a window, shape (H, W) or (H, W, 3 or 4), 8 bits per sample."""
        index: list[Any] = list(self.index)
        for axis, taken in sorted(zip(axes, window, strict=True)):
            index.insert(axis, taken)
        pixels = np.asarray(self.data[tuple(index)])
        if axes[0] > axes[1]:
            pixels = np.swapaxes(pixels, 0, 1)
        if pixels.size == 0:
            raise ImageError("the image has no pixels; choose another one")
        if pixels.dtype.kind == "f":
            # As napari shows them: where there is no number it is dark.
            pixels = np.nan_to_num(pixels, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        if self.display["rgb"]:
            return _colours(pixels)
        shown = _grey(pixels, self.display)
        return shown if self.palette is None else _to_bytes(self.palette)[shown]


@dataclass(frozen=True, eq=False, slots=True)
class PlaneSource:
    """All that is needed to read one plane in a worker, as an array that is read in parts."""

    dtype: ClassVar[np.dtype[np.uint8]] = np.dtype(np.uint8)
    # In full-resolution coordinates, and its (height, width) there
    plane: Plane
    full_size: tuple[int, int]
    # What is displayed there; the light of several is added up
    channels: tuple[Channel, ...]
    # The same in all sizes there are, the full one first, if it is too large for one pass
    sizes: tuple[PlaneSource, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what `read` returns: (H, W) or (H, W, 3 or 4)."""
        first, *others = self.channels
        size = tuple(int(first.data.shape[axis]) for axis in self.plane.axes)
        if not others and first.display["rgb"]:
            return (*size, int(first.data.shape[-1]))
        return size if not others and first.palette is None else (*size, 3)

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
        return np.asarray(np.round(np.clip(light, 0, 255)), np.uint8)

    __getitem__ = read

    def in_full_pixels(self, grid: FeatureGrid) -> FeatureGrid:
        """Return a grid of this picture with its coordinates in full-resolution pixels."""
        here = grid.transform
        if here.image_shape == self.full_size:
            return grid
        scale = np.divide(self.full_size, here.image_shape)
        top, left, height, width = (np.reshape(here.extent, (2, 2)) * scale).ravel().tolist()
        window = (top, left, height, width)
        return replace(grid, transform=replace(here, image_shape=self.full_size, window=window))


def plane_source(image: Image, plane: Plane, others: Sequence[Image] = ()) -> PlaneSource:
    """Return what a worker needs to read a plane of the image.

    Of a pyramid it takes the smallest level that is still large enough for any model. `others` are
    further channels of the same shape, whose light is added; see `channels`.
    """
    size, layers = _size(image, plane), (image, *others)
    sizes = all_sizes(image, plane, others) if max(size) > BIG else ()
    chosen = (_large_enough(own, plane) for own in map(_levels, layers))
    return PlaneSource(plane, size, tuple(map(partial(_channel, plane), layers, chosen)), sizes)


def all_sizes(image: Image, plane: Plane, others: Sequence[Image] = ()) -> tuple[PlaneSource, ...]:
    """Return a plane in all sizes there are of it, the full one first, as `plane_source` does."""
    size, layers = _size(image, plane), (image, *others)
    levels = [_levels(layer) for layer in layers]
    shapes = ([level.shape[: image.ndim] for level in own] for own in levels)
    # Those that all layers have, in the same sizes
    same = takewhile(lambda sizes: len(set(sizes)) == 1, zip(*shapes, strict=False))
    count = len(list(same))
    return tuple(
        PlaneSource(plane, size, tuple(map(partial(_channel, plane), layers, chosen)))
        for chosen in list(zip(*levels, strict=False))[:count]
    )


def _levels(image: Image) -> list[Any]:
    """Return the pixels of a layer in all its sizes."""
    return list(image.data) if image.multiscale else [image.data]


def _size(image: Image, plane: Plane) -> tuple[int, int]:
    """Return the ``(height, width)`` of a plane at full resolution."""
    full = full_shape(image)
    return full[plane.axes[0]], full[plane.axes[1]]


def _large_enough(levels: Iterable[Any], plane: Plane) -> Any:
    """Return the smallest level that is large enough for one pass."""
    full, *smaller = levels
    sides = ([level.shape[axis] for axis in plane.axes] for level in smaller)
    large = [level for level, side in zip(smaller, sides, strict=True) if min(side) >= LEAST_PIXELS]
    return [full, *large][-1]


def _channel(plane: Plane, image: Image, level: Any) -> Channel:
    """Return one layer as it is displayed, in one of its sizes."""
    full = full_shape(image)
    others = [axis for axis in range(image.ndim) if axis not in plane.axes]
    index = tuple(
        min(int(position * level.shape[axis] / full[axis]), int(level.shape[axis]) - 1)
        for axis, position in zip(others, plane.index, strict=True)
    )
    palette = None
    if not image.rgb and image.colormap.name != "gray":
        steps = np.linspace(0, 1, 256, dtype=np.float32)
        palette = np.asarray(image.colormap.map(steps), np.float32)[:, :3]
    return Channel(level, index, display_of(image), palette)


def channels(viewer: napari.components.ViewerModel, image: Image) -> list[Image]:
    """Return the other visible channels whose light is added on an image, from below to above.

    They lie exactly on it and are blended additively, as channels of one file are. None for an
    image in colours, which is no channel; below one that is opaque nothing is seen.
    """
    if image.rgb:
        return []
    layers = list(viewer.layers)
    seen = layers if image.blending == _ADDED else layers[layers.index(image) + 1 :]
    return [layer for layer in added(seen, image) if layer.visible and not layer.rgb]


def added(layers: Iterable[Any], image: Image) -> list[Image]:
    """Return the other images among layers that lie exactly on one and add their light."""
    return [
        layer
        for layer in layers
        if type(layer) is Image
        and layer is not image
        and layer.blending == _ADDED
        and full_shape(layer) == full_shape(image)
        and lies_on(layer, image)
    ]


def display_of(image: Image) -> dict[str, Any]:
    """Return how a layer is displayed, as plain values."""
    facts: dict[str, Any] = {"layer": image.name, "rgb": bool(image.rgb)}
    if not image.rgb:
        colormap = image.colormap
        facts |= {
            "contrast_limits": [float(limit) for limit in image.contrast_limits],
            "gamma": float(image.gamma),
            "colormap": colormap.name,
            "opacity": float(image.opacity),
        }
        known = AVAILABLE_COLORMAPS.get(colormap.name)
        # Else napari finds the same colours again by their name alone.
        if known is None or not np.array_equal(known.colors, colormap.colors):
            facts["colors"] = colormap.colors.tolist()
            facts["controls"] = colormap.controls.tolist()
            facts["interpolation"] = str(colormap.interpolation)
    return facts


def same_display(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two planes were displayed alike; a name changes nothing, nor one's own opacity."""
    return _essence(first) == _essence(second)


def _essence(shown: Mapping[str, Any]) -> list[dict[str, Any]]:
    ignored = {"layer"} if len(shown["layers"]) > 1 else {"layer", "opacity"}
    return [
        {name: value for name, value in facts.items() if name not in ignored}
        for facts in shown["layers"]
    ]
