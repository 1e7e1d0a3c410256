"""Where networks run and in which precision: chosen here, for all parts of a model alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from .errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import nn

    Placed = TypeVar("Placed", torch.Tensor, nn.Module)

DEVICES = ("auto", "cpu", "cuda", "mps")
"""What can be asked for: the fastest there is, the processor, an Nvidia GPU, an Apple GPU."""

DTYPES = ("float32", "bfloat16", "float16")
"""Precisions of networks; half precision changes embeddings in the third digit."""

_GPUS = {"cuda": "Nvidia GPU", "mps": "Apple GPU"}


@dataclass(frozen=True, slots=True)
class Placement:
    """A device of this computer and a precision, see `choose`."""

    device: str = "cpu"
    dtype: str = "float32"

    def put(self, value: Placed) -> Placed:
        """Return a network or tensor on this device; whole numbers keep their type."""
        if self == CPU:
            return value
        import torch

        if isinstance(value, torch.Tensor) and not value.is_floating_point():
            return value.to(self.device)
        return value.to(self.device, getattr(torch, self.dtype))


@runtime_checkable
class Placeable(Protocol):
    """A part of a model with networks, which move to another device."""

    def place(self, placement: Placement) -> None:
        """Run there from now on."""


CPU = Placement()
"""Where every network runs unless something else is asked for."""


def choose(device: str = "cpu", dtype: str = "float32") -> Placement:
    """Choose a device, ``"auto"`` for the GPU where there is one, and a precision.

    A ``ModelError`` where there is no such device in this computer, or it cannot compute in that
    precision.

    >>> choose()
    Placement(device='cpu', dtype='float32')
    """
    if device not in DEVICES:
        raise ModelError(f"The device must be {', '.join(DEVICES)}, not {device!r}.")
    if dtype not in DTYPES:
        raise ModelError(f"The dtype must be {', '.join(DTYPES)}, not {dtype!r}.")
    if device != "cpu":
        import torch

        here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next((name for name in _GPUS if here[name]), "cpu")
    elif device in _GPUS and not here[device]:
        raise ModelError(
            f"PyTorch finds no {_GPUS[device]} in this computer, so it cannot run on {device}; "
            f"choose the device cpu."
        )
    if (device, dtype) == ("cpu", "float16"):
        raise ModelError("The cpu does not compute in float16; choose the dtype float32.")
    return Placement(device, dtype)


_SPARED: ContextVar[int] = ContextVar("spared", default=0)


@contextmanager
def spared_cores(count: int) -> Iterator[None]:
    """Have networks leave so many cores to others, such as to a window, inside the ``with``.

    It holds for what the same thread runs.
    """
    token = _SPARED.set(count)
    try:
        yield
    finally:
        _SPARED.reset(token)


@contextmanager
def torch_cores() -> Iterator[None]:
    """Run a network on all cores this process may use but the spared ones, on one at least.

    A limit that is lower already, such as ``OMP_NUM_THREADS=1``, stays.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, available_cores() - _SPARED.get())))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def available_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def to_numpy(value: Any) -> npt.NDArray[np.float32]:
    """Return a tensor of any device and precision, or an array, as an array of float32."""
    import numpy as np

    if isinstance(value, np.ndarray):
        return value
    array: npt.NDArray[np.float32] = value.float().cpu().numpy()
    return array
