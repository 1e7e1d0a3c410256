"""Channels laid over one another as light, where they are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ImageError
from napari_patchioner.images import CHANNEL_COLOURS, as_rgb, is_composite

from ._range import brightness_range

if TYPE_CHECKING:
    from collections.abc import Sequence

Colour: TypeAlias = tuple[float, float, float]

_MOST = 12


@dataclass(frozen=True, slots=True)
class Light:
    """How a channel is shown.

    Attributes
    ----------
    colour : tuple of float
        Red, green and blue of its brightest, 0 to 1.
    limits : (low, high), optional
        Values shown as black and as brightest; its own least and greatest by default.
    shown : bool
        Whether it is shown at all.
    """

    colour: Colour
    limits: tuple[float, float] | None = None
    shown: bool = True


class Lights:
    """A picture in colours, made where it is read from channels that are laid over one another.

    Parameters
    ----------
    data : array_like, shape (height, width, channels)
        The channels.
    lights : sequence of Light
        One for each.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, data: Any, lights: Sequence[Light]) -> None:
        self._data, self._lights = data, lights
        self.shape = (*data.shape[:2], 3)

    def __getitem__(self, window: tuple[slice, slice]) -> npt.NDArray[np.uint8]:
        channels = np.asarray(self._data[window])
        light = np.zeros((*channels.shape[:2], 3), np.float32)
        for number, how in enumerate(self._lights):
            if how.shown:
                light += _gray(channels[..., number], how.limits) * np.array(how.colour, np.float32)
        made: npt.NDArray[np.uint8] = np.rint(np.minimum(light, 255)).astype(np.uint8)
        return made


def lights_for(data: Any, told: Sequence[Light] | None, channels: int) -> tuple[Light, ...] | None:
    """Return how channels are shown; None where they are as any picture with so many is.

    Parameters
    ----------
    data : array_like, shape (height, width, channels)
        The image, best a small one, to find the range of each channel.
    told : sequence of Light, optional
        What the file says.
    channels : int
        How many there are.

    Raises
    ------
    ImageError
        There are too many to be shown together.
    """
    if channels > _MOST:
        raise ImageError(
            f"the image has {channels} channels, more than the {_MOST} that can be shown on top of "
            "one another; give regions the number of a channel in 'plane'"
        )
    if told is not None and len(told) == channels:
        lights = tuple(told)
    elif channels == 3 or is_composite(channels):
        return None
    else:
        lights = tuple(Light(CHANNEL_COLOURS[n % len(CHANNEL_COLOURS)]) for n in range(channels))
    return tuple(
        Light(one.colour, one.limits or _own_limits(data, number), one.shown)
        for number, one in enumerate(lights)
    )


def _gray(values: npt.NDArray[Any], limits: tuple[float, float] | None) -> npt.NDArray[Any]:
    if min(values.shape) >= 2:
        return as_rgb(values, limits)[..., :1]
    # A single row or column is no picture, but may be a part of one.
    doubled = np.repeat(np.repeat(values, 2, axis=0), 2, axis=1)
    return as_rgb(doubled, limits)[::2, ::2, :1]


def _own_limits(data: Any, number: int) -> tuple[float, float] | None:
    """Return the range of a channel; None for bytes, which are shown as they are."""
    found: tuple[float, float] | None = brightness_range(_One(data, number))
    return found


class _One:
    """One of several channels."""

    def __init__(self, data: Any, number: int) -> None:
        self._data, self._number = data, number
        self.shape, self.dtype = data.shape[:2], data.dtype

    def __getitem__(self, window: tuple[slice, slice]) -> npt.NDArray[Any]:
        channel: npt.NDArray[Any] = np.asarray(self._data[window])[..., self._number]
        return channel
