"""Arrays of any kind as 8-bit RGB: contrast, transparency, and channels laid over one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ImageError

AnyArray: TypeAlias = npt.NDArray[Any]

_ABSURD = 1e30
# Camera depths: 12-bit colours in a 16-bit file would otherwise be almost black.
_FULL_SCALES = (255, 1023, 4095, 16383, 65535)
# More are a stack of planes, of which somebody has to choose one.
_MOST_CHANNELS = 12
# Red, green and blue of the channels' light, as napari has them by default.
_TWO = ((1, 0, 1), (0, 1, 0))
CHANNEL_COLOURS = ((0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))
# The range of values is taken of all of an image up to this side; else of samples, in rows and
# columns of so many.
_SMALL = 2048
_SAMPLES = 8
_SAMPLE_SIDE = 128


def as_rgb(
    image: npt.ArrayLike, contrast_limits: Sequence[float] | Sequence[Sequence[float]] | None = None
) -> npt.NDArray[np.uint8]:
    """Return a picture as 8-bit RGB.

    Parameters
    ----------
    image : array_like, shape (height, width) or (height, width, channels)
        Gray, RGB or RGBA, or 2 or 5 to 12 channels that are laid over one another as light, in
        napari's colours; booleans, integers or floats of any size and byte order.
    contrast_limits : (low, high) or one pair for each channel, optional
        Values to show as black and as white. By default 8-bit values stay as they are; floats
        from 0 to 1 span black to white; 16-bit colours span their camera's depth; any other
        gray spans its own lowest to highest value, and so does each of several channels.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        Transparent parts are laid over white; values that are no numbers (NaN) are black, and
        infinite ones as bright or dark as the greatest or least of the others. The array may
        share memory with the image.

    Raises
    ------
    ImageError
        If the array is no picture: wrong shape, empty, a single pixel wide or high, values that
        are not real or none of which is finite, or limits out of order.

    >>> as_rgb(np.array([[0.0, 1.0], [0.5, 0.25]]))[..., 0]
    array([[  0, 255],
           [128,  64]], dtype=uint8)
    """
    array = np.asarray(image)
    colours = array[..., np.newaxis] if array.ndim == 2 else array
    if colours.ndim != 3 or not 1 <= colours.shape[2] <= _MOST_CHANNELS:
        raise ImageError(
            f"an image must have the shape (height, width) or (height, width, 1 to "
            f"{_MOST_CHANNELS} channels), but this one has {array.shape}"
        )
    height, width, count = colours.shape
    if min(height, width) < 2:
        raise ImageError(
            f"an image must be at least 2 by 2 pixels, but this one is {height} by {width}"
        )
    if array.dtype.kind not in "buif":
        raise ImageError(f"an image must hold real numbers, but this one holds {array.dtype}")
    colours, absent = _numbers(colours, known=contrast_limits is not None)
    if is_composite(count):
        lit = _TWO if count == 2 else islice(cycle(CHANNEL_COLOURS), count)
        pairs = (
            [None] * count
            if contrast_limits is None
            else np.broadcast_to(contrast_limits, (count, 2))
        )
        light = np.zeros((height, width, 3), np.uint16)
        for number, (colour, pair) in enumerate(zip(lit, pairs, strict=True)):
            gray = _stretch(colours[..., number, np.newaxis], pair)
            if absent is not None:
                gray = np.where(absent[..., number, np.newaxis], np.uint8(0), gray)
            light += gray * np.array(colour, np.uint16)
        return np.minimum(light, 255).astype(np.uint8)
    pixels = _stretch(colours[..., :3], contrast_limits)
    if absent is not None:
        pixels = np.where(absent[..., :3], np.uint8(0), pixels)
    if count == 4:
        pixels = _over_white(pixels, colours[..., 3:])
    return np.ascontiguousarray(np.broadcast_to(pixels, (height, width, 3)))


def is_composite(channels: int) -> bool:
    """Whether so many channels are several pictures of one place, not gray, RGB or RGBA."""
    return channels == 2 or 5 <= channels <= _MOST_CHANNELS


def _numbers(array: AnyArray, *, known: bool) -> tuple[AnyArray, npt.NDArray[np.bool_] | None]:
    """Replace what is not finite, and mark what is no number at all; None for nowhere."""
    if array.dtype.kind != "f":
        return array, None
    absent = None
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        finite = array[np.isfinite(array)]
        if not (finite.size or known):
            raise ImageError("the image holds no finite value; choose another one")
        absent = np.isnan(array)
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        array = np.nan_to_num(array, nan=low, posinf=high, neginf=low)
    if max(-low, high) > _ABSURD:
        raise ImageError(f"the image holds values beyond {_ABSURD:g}, which are no brightness")
    return array, absent


def _stretch(colours: AnyArray, limits: Any) -> npt.NDArray[np.uint8]:
    """Return values as bytes, black to white."""
    if colours.dtype == np.bool_:
        colours = colours.astype(np.uint8) * np.uint8(255)
    if limits is None and colours.dtype == np.uint8:
        return colours
    if limits is None:
        gray = colours.shape[2] == 1
        low, high = _own_limits(float(colours.min()), float(colours.max()), colours.dtype, gray)
    else:
        low, high = (float(value) for value in limits)
        if not (np.isfinite([low, high]).all() and low < high):
            raise ImageError(f"contrast limits must be two rising numbers, not {low} and {high}")
    # Half the memory where single precision holds all values.
    single = colours.dtype.itemsize <= 2 or (
        colours.dtype == np.float32 and 1e-30 < high - low < 1e30
    )
    exact = np.float32 if single else np.float64
    scaled = (np.clip(colours.astype(exact), low, high) - exact(low)) / exact(high - low)
    pixels: npt.NDArray[np.uint8] = np.rint(scaled * 255).astype(np.uint8)
    return pixels


def _own_limits(low: float, high: float, dtype: np.dtype[Any], gray: bool) -> tuple[float, float]:
    """Return what to show as black and as white of values between two when nobody says."""
    if dtype.kind == "f":
        if low >= 0.0 and high <= 1.0:
            return 0.0, 1.0
        if not gray and low >= 0.0 and high <= 255.0:
            return 0.0, 255.0
    elif not gray and low >= 0 and high <= _FULL_SCALES[-1]:
        return 0.0, float(next(full for full in _FULL_SCALES if high <= full))
    if high > low:
        return low, high
    margin = max(1.0, abs(low) / 256)
    return low - margin, high + margin


def _over_white(pixels: npt.NDArray[np.uint8], alpha: AnyArray) -> npt.NDArray[np.uint8]:
    """Lay partly transparent pixels over white."""
    if alpha.dtype.kind == "f":
        full = 1.0 if alpha.max() <= 1 else 255.0
    else:
        full = 1.0 if alpha.dtype == np.bool_ else float(np.iinfo(alpha.dtype).max)
    if alpha.min() >= full:
        return pixels
    share = np.clip(alpha, 0, full).astype(np.float32) / np.float32(full)
    mixed: AnyArray = 255 - (255 - pixels.astype(np.float32)) * share
    return np.rint(mixed).astype(np.uint8)


def brightness_range(data: Any, *, apart: bool = False) -> Any:
    """Return the values to show as black and as white, the same for every part of an image.

    Of a large image, shape (height, width) or (height, width, channels), only squares, evenly
    spread, are read. Returns one pair, a list with one for each of several channels, whatever their
    number if ``apart``, or None where values are shown as they are: bytes and booleans.
    """
    dtype = np.dtype(data.dtype)
    if dtype == np.uint8 or dtype.kind not in "uif":
        return None
    if max(data.shape[:2]) <= _SMALL:
        windows = [(slice(None), slice(None))]
    else:
        down, across = (
            np.unique(np.linspace(0, max(0, side - _SAMPLE_SIDE), _SAMPLES).astype(int)).tolist()
            for side in map(int, data.shape[:2])
        )
        side = _SAMPLE_SIDE
        windows = [
            (slice(row, row + side), slice(column, column + side))
            for row in down
            for column in across
        ]
    samples = [np.atleast_3d(np.asarray(data[window])) for window in windows]
    count = samples[0].shape[2]
    if apart or is_composite(count):
        return [_limits([part[..., number] for part in samples], True) for number in range(count)]
    # Transparency says nothing of brightness.
    return _limits([part[..., : 3 if count == 4 else count] for part in samples], count == 1)


def _limits(samples: list[AnyArray], gray: bool) -> tuple[float, float]:
    """Return the limits of values that were found in several places."""
    finite = [part[np.isfinite(part)] for part in samples]
    finite = [part for part in finite if part.size]
    if not finite:
        return 0.0, 1.0
    low, high = min(part.min() for part in finite), max(part.max() for part in finite)
    return _own_limits(float(low), float(high), samples[0].dtype, gray)


@dataclass(frozen=True, slots=True)
class ChannelView:
    """How a channel is shown, if at all."""

    colour: tuple[float, float, float]  # red, green and blue of its brightest, 0 to 1
    limits: tuple[float, float] | None = None  # shown as black and as brightest; by default its own
    shown: bool = True


class Composite:
    """A picture in colours, made where it is read from channels laid over one another as light.

    ``data`` has the shape (height, width, channels); ``views`` has an entry for each channel.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, data: Any, views: Sequence[ChannelView]) -> None:
        self._data, self._views = data, views
        self.shape = (*data.shape[:2], 3)

    def __getitem__(self, window: tuple[slice, slice]) -> npt.NDArray[np.uint8]:
        channels = np.asarray(self._data[window])
        height, width = channels.shape[:2]
        if min(height, width) < 2:
            # A single row or column is no picture, but may be a part of one.
            channels = np.repeat(np.repeat(channels, 2, axis=0), 2, axis=1)
        light = np.zeros((*channels.shape[:2], 3), np.float32)
        for number, view in enumerate(self._views):
            if view.shown:
                gray = as_rgb(channels[..., number], view.limits)[..., :1]
                light += gray * np.array(view.colour, np.float32)
        pixels = np.asarray(np.rint(np.minimum(light, 255)), np.uint8)
        return pixels if min(height, width) > 1 else pixels[::2, ::2]


def channel_views(
    data: Any, stated: Sequence[ChannelView] | None, channels: int
) -> tuple[ChannelView, ...] | None:
    """Return how channels are shown; None where they are as any picture with so many is.

    ``data`` is the image, shape (height, width, channels), best a small one, from which the range
    of each channel is found where the file has ``stated`` none. An ImageError if there are too
    many channels to be shown together.
    """
    if channels > _MOST_CHANNELS:
        raise ImageError(
            f"the image has {channels} channels, more than the {_MOST_CHANNELS} that can be shown "
            "on top of one another; give regions the number of a channel in 'plane'"
        )
    if stated is not None and len(stated) == channels:
        views = tuple(stated)
    elif channels == 3 or is_composite(channels):
        return None
    else:
        views = tuple(map(ChannelView, islice(cycle(CHANNEL_COLOURS), channels)))
    own = None if all(view.limits for view in views) else brightness_range(data, apart=True)
    pairs = own or [None] * channels
    return tuple(
        replace(view, limits=view.limits or pair) for view, pair in zip(views, pairs, strict=True)
    )
