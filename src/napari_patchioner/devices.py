"""Where networks run and in which precision: chosen here, for all parts of a model alike."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary

from .errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import nn

    Placed = TypeVar("Placed", torch.Tensor, nn.Module)

Result = TypeVar("Result")
Notice: TypeAlias = Callable[[str], object]

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

    @property
    def is_gpu(self) -> bool:
        """Whether the memory there is another one, which may run out."""
        return self.device != CPU.device

    def put(self, value: Placed) -> Placed:
        """Return a network or tensor on this device; whole numbers keep their type.

        A network moves in place, and back to the processor with exactly the weights it had.
        """
        import torch

        if not isinstance(value, torch.Tensor):
            _move(value, self)
            return value
        if value.is_floating_point():
            value = value.to(dtype=getattr(torch, self.dtype))
        return self.send(value)

    def send(self, value: torch.Tensor) -> torch.Tensor:
        """Return a tensor on this device in its own precision."""
        return value.to(self.device)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Return room for a tensor on this device."""
        import torch

        return torch.empty(shape, dtype=dtype, device=self.device)

    def free_bytes(self) -> int:
        """Return how much memory of a GPU can still be had, what PyTorch keeps for later included.

        Nothing on the processor.
        """
        import torch

        if self.device == "cuda":
            kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
            return torch.cuda.mem_get_info()[0] + kept
        if self.device == "mps":
            return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
        return 0

    def empty_cache(self) -> None:
        """Give back the memory that PyTorch keeps for later."""
        import torch

        if self.device == "cuda":
            torch.cuda.empty_cache()
        elif self.device == "mps":
            torch.mps.empty_cache()


@runtime_checkable
class Placeable(Protocol):
    """A part of a model with networks, which move to another device."""

    def place(self, placement: Placement) -> None:
        """Run there from now on."""


class Movable(Protocol):
    """A part of a model as `in_parts` needs it: ``move`` takes its networks along, and no name."""

    placement: Placement

    def move(self, placement: Placement) -> None:
        """Run there from now on."""


CPU = Placement()
"""Where every network runs unless something else is asked for."""


class DeviceWarning(UserWarning):
    """Something is computed elsewhere than it was asked for."""


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


def settle(part: Movable, placement: Placement, what: str) -> None:
    """Move a part to a device; where that has too little memory for it, to the processor.

    ``what`` says what the part does: "encode images".
    """
    with _turn(part, placement):
        before = part.placement
        if placement == before:
            return
        if not succeeds(lambda: part.move(placement)):
            part.move(CPU)
            placement.empty_cache()
            notify(too_little_memory(placement, what))
        if before.is_gpu:
            before.empty_cache()


def in_parts(
    part: Movable, count: int, size: int, work: Callable[[slice], Result], what: str
) -> list[Result]:
    """Compute ``count`` items where a part runs, ``size`` at once; return what each call returned.

    Where a GPU has too little memory, fewer are computed at once, and in the end the processor
    computes what is left, which `notify` says; the next call tries the GPU again. ``work`` is given
    the items and may be called again for some; it must not hold tensors of its own. ``what``
    completes "too little memory to".
    """
    results: list[Result] = []

    def fits(rows: slice) -> bool:
        return succeeds(lambda: results.append(work(rows)))

    most, start = size, 0
    while start < count:
        with _turn(part, part.placement):
            placement, rows = part.placement, slice(start, min(start + size, count))
            if not placement.is_gpu:
                results.append(work(rows))
            elif not fits(rows):
                placement.empty_cache()
                if rows.stop - start > 1:
                    size = (rows.stop - start) // 2
                    continue
                # What other programs or threads held may be free by now.
                if not fits(rows):
                    notify(too_little_memory(placement, what))
                    with _on_processor(part):
                        rest = range(start, count, most)
                        results += [work(slice(row, min(row + most, count))) for row in rest]
                    return results
            start = rows.stop
    return results


@contextmanager
def _on_processor(part: Movable) -> Iterator[None]:
    """Have a part run on the processor inside the ``with``, and longer if it finds no way back."""
    before = part.placement
    part.move(CPU)
    before.empty_cache()
    try:
        yield
    finally:
        if not succeeds(lambda: part.move(before)):
            part.move(CPU)
            before.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU had too little memory for something."""
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return True
    # MPS, pinned memory and the libraries of CUDA have no class of their own for it.
    message = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in message or _UNMADE in message)


_UNMADE = "_status_alloc_failed"


def succeeds(work: Callable[[], object]) -> bool:
    """Do something; return False where a GPU had too little memory for it."""
    try:
        work()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    # By now the traceback is gone, and with it the tensors that its frames held.
    return False


def too_little_memory(placement: Placement, what: str) -> str:
    """Return the sentence that says why the processor does something."""
    gpu = _GPUS.get(placement.device, "GPU")
    return (
        f"The {gpu} has too little memory to {what}, so the processor does it, which takes longer; "
        f"close what else uses the GPU, or choose the device cpu."
    )


# Threads take turns with a part that is or was on a GPU: it may move in the middle.
_turns: WeakKeyDictionary[Any, RLock] = WeakKeyDictionary()
_turns_lock = Lock()


@contextmanager
def _turn(part: Movable, placement: Placement) -> Iterator[None]:
    """Wait until no other thread computes with a part that is moved to and from a GPU."""
    with _turns_lock:
        if placement.is_gpu:
            _turns.setdefault(part, RLock())
        turn = _turns.get(part)
    with turn or nullcontext():
        yield


# Weights of networks that were rounded to half precision, as they were.
_exact: WeakKeyDictionary[nn.Module, dict[str, torch.Tensor]] = WeakKeyDictionary()


def _move(network: nn.Module, placement: Placement) -> None:
    """Move a network in place.

    What half precision rounds away is kept, as long as it lasts: in the memory of the processor,
    where the network has been before.
    """
    import torch

    def weights() -> Iterator[tuple[str, torch.Tensor]]:
        yield from network.named_parameters()
        yield from network.named_buffers()

    # A tensor made in inference mode could not be trained with any more.
    with torch.inference_mode(False), torch.no_grad():
        exact = _exact.pop(network, {})
        if exact or not placement.is_gpu:
            network.to(CPU.device)
            for name, weight in weights():
                if name in exact:
                    weight.data = exact[name]
        dtype = getattr(torch, placement.dtype)
        if (placement.device, placement.dtype) == (CPU.device, CPU.dtype):
            return
        rounded = {
            name: weight.data
            for name, weight in weights()
            if weight.is_floating_point() and weight.dtype != dtype
        }
        if rounded:
            _exact[network] = rounded
        network.to(placement.device, dtype)


_NOTICE: ContextVar[Notice | None] = ContextVar("notice", default=None)


@contextmanager
def noticed(notice: Notice) -> Iterator[None]:
    """Have what `notify` says go to a function inside the ``with``, from this thread."""
    token = _NOTICE.set(notice)
    try:
        yield
    finally:
        _NOTICE.reset(token)


def once(notice: Notice) -> Notice:
    """Return a function that passes each message on the first time only."""
    said: set[str] = set()

    def first(message: str) -> None:
        if message not in said:
            said.add(message)
            notice(message)

    return first


def notify(message: str) -> None:
    """Say to the person what they should know of; by default with a `DeviceWarning`."""
    notice = _NOTICE.get()
    if notice is None:
        warnings.warn(message, DeviceWarning, stacklevel=2)
    else:
        notice(message)


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
