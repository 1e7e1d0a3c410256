"""Where networks run and in which precision: chosen here, for all parts of a model alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
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

ENGINES = ("auto", "torch")
"""What runs networks on the processor: the quickest that is installed, or PyTorch in any case."""

IN_8_BITS = "/int8"
"""What the name of a backbone ends with that an engine computes in 8 bits."""

ENGINE = "NAPARI_PATCHIONER_ENGINE"
"""Environment variable that stands for the choice of an engine where none is made."""

_ENGINE_NEEDS = ("onnxruntime", "onnx")
_GPUS = {"cuda": "Nvidia GPU", "mps": "Apple GPU"}


@dataclass(frozen=True, slots=True)
class Placement:
    """A device of this computer, a precision and what computes there, see `choose`."""

    device: str = "cpu"
    dtype: str = "float32"
    engine: str = "torch"

    def put(self, value: Placed) -> Placed:
        """Return a network or tensor on this device; whole numbers keep their type."""
        if (self.device, self.dtype) == (CPU.device, CPU.dtype):
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


def choose(device: str = "cpu", dtype: str = "float32", engine: str | None = "torch") -> Placement:
    """Choose a device, ``"auto"`` for the GPU where there is one, a precision and an engine.

    The engine ``"auto"`` is ONNX Runtime where it is installed, but only on the processor in single
    precision, and ``None`` is what $NAPARI_PATCHIONER_ENGINE says, else ``"auto"``. Raises
    ``ModelError`` where this computer has no such device, or it cannot compute in that precision.

    >>> choose()
    Placement(device='cpu', dtype='float32', engine='torch')
    """
    engine = engine or os.environ.get(ENGINE) or "auto"
    if engine not in ENGINES:
        raise ModelError(f"The engine must be {', '.join(ENGINES)}, not {engine!r}.")
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
    if engine == "auto":
        possible = (device, dtype) == (CPU.device, CPU.dtype) and all(map(find_spec, _ENGINE_NEEDS))
        engine = "onnxruntime" if possible else "torch"
    return Placement(device, dtype, engine)


_SPARED: ContextVar[Callable[[], int]] = ContextVar("spared", default=lambda: 0)
_LIMIT: ContextVar[int | None] = ContextVar("limit", default=None)


@contextmanager
def spared_cores(count: int | Callable[[], int]) -> Iterator[None]:
    """Have networks leave so many cores to others, such as to a window, inside the ``with``.

    It holds for what the same thread runs. What tells the number is asked again by
    `follow_spared_cores`.
    """
    token = _SPARED.set(count if callable(count) else lambda: count)
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
    token = _LIMIT.set(before)
    follow_spared_cores()
    try:
        yield
    finally:
        _LIMIT.reset(token)
        torch.set_num_threads(before)


@contextmanager
def one_core() -> Iterator[None]:
    """Run what PyTorch is asked for on the core that asks.

    Short work gains little by a second core and loses all of it where that is busy: every product
    waits until the core is free, and on a busy computer takes a hundred times as long.
    """
    import torch

    before = torch.get_num_threads()
    token = _LIMIT.set(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _LIMIT.reset(token)
        torch.set_num_threads(before)


def product(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> npt.NDArray[Any]:
    """Matrix product of arrays of one precision on one core; NumPy's own takes all there are."""
    import torch

    with one_core():
        return torch.matmul(_tensor(first), _tensor(second)).numpy()


def _tensor(array: npt.NDArray[np.floating]) -> torch.Tensor:
    """Return a tensor of an array's numbers."""
    import torch

    # What nothing may be written to, such as a file that is mapped, is copied.
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def follow_spared_cores() -> None:
    """Use as many cores as are not spared by now; between two layers of a network."""
    limit = _LIMIT.get()
    if limit is not None:
        import torch

        torch.set_num_threads(max(1, min(limit, available_cores() - _SPARED.get()())))


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
