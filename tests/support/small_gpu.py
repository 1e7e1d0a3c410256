"""A GPU that there is not: the processor computes, and its memory runs out when it is told to."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch

from napari_patchioner import Captioner, load_model
from napari_patchioner.devices import Placement


class OnGpu(torch.Tensor):
    """A tensor that passes for one on a GPU, and so does whatever is computed of it."""

    gpu: SmallGpu

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        if func in (torch.Tensor.numpy, torch.Tensor.__array__):
            raise TypeError("can't convert a tensor on a GPU to numpy; use Tensor.cpu() first")
        result = super().__torch_function__(func, types, args, kwargs)
        for made in result if isinstance(result, tuple) else (result,):
            if isinstance(made, OnGpu):
                cls.gpu.check(made)
        return result


@dataclass(frozen=True, eq=False)
class SmallGpu(Placement):
    """Counts what comes, and refuses results and moves for which it has no room.

    A result may have ``room`` bytes, networks and bank rows are taken to fit into ``free``; the
    moves with the numbers in ``failing``, from 1, fail with ``error``.
    """

    room: float = math.inf
    free: int = 2**40
    failing: set[int] = field(default_factory=set)
    error: type[RuntimeError] = torch.OutOfMemoryError
    counts: Counter[str] = field(default_factory=Counter)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def is_gpu(self) -> bool:
        return True

    def put(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            self._count("network")
        return super().put(value)

    def send(self, value: torch.Tensor) -> torch.Tensor:
        self._count("tensor")
        return self._placed(value)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        self._count("empty")
        return self._placed(torch.empty(shape, dtype=dtype))

    def free_bytes(self) -> int:
        return self.free

    def empty_cache(self) -> None:
        self.counts["emptied"] += 1

    def check(self, made: torch.Tensor) -> None:
        """Refuse what is too large."""
        if made.numel() * made.itemsize > self.room:
            self.counts["refused"] += 1
            raise self.error("MPS backend out of memory: tried to allocate")

    def _count(self, kind: str) -> None:
        self.counts[kind] += 1
        self.counts["moves"] += 1
        if self.counts["moves"] in self.failing:
            raise self.error("CUDA out of memory. Tried to allocate")

    def _placed(self, value: torch.Tensor) -> torch.Tensor:
        OnGpu.gpu = self
        placed = value.as_subclass(OnGpu)
        self.check(placed)
        return placed


def load_mini(_model: str) -> Captioner:
    """Load `mini` to a GPU that has room for nothing; it pickles."""
    captioner = load_model("mini", engine="torch")
    captioner.place(SmallGpu(room=2000))
    return captioner
