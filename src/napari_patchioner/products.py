"""Products of matrices on the processor, by whichever of torch's two libraries is quicker there.

PyTorch multiplies matrices of single precision by MKL, which on processors of other makers than
Intel can take more than twice as long as oneDNN, PyTorch's other library. Both compute in single
precision, in another order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

_PAYS = 0.8
_TRIED, _TIMES = (64, 768), 5
_AGREEING = 1e-4
_AS_TORCH_DOES: ContextVar[bool] = ContextVar("as_torch_does", default=False)


def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``inputs @ weight.T + bias``, as `torch.nn.functional.linear` does.

    Parameters
    ----------
    inputs : Tensor, shape (..., n)
    weight : Tensor, shape (m, n)
    bias : Tensor, shape (m,), optional

    Returns
    -------
    Tensor, shape (..., m)
    """
    if onednn_takes(inputs, weight) and onednn_is_quicker():
        return _onednn(inputs, weight, bias)
    return functional.linear(inputs, weight, bias)


def quicken(network: nn.Module) -> None:
    """Have all linear layers of a network multiply by :func:`linear`, where they are its own kind.

    What the network holds, and what it is trained and exported with, stays.
    """
    for part in network.modules():
        if type(part) is nn.Linear:
            # It is the same layer, with the same weights: only its product is another.
            part.__class__ = _Linear


@contextmanager
def as_torch_does() -> Iterator[None]:
    """Multiply as PyTorch does by itself inside the ``with``, to compare; it holds for a thread."""
    token = _AS_TORCH_DOES.set(True)
    try:
        yield
    finally:
        _AS_TORCH_DOES.reset(token)


@cache
def onednn_is_quicker() -> bool:
    """Return whether oneDNN multiplies quicker than what PyTorch chooses; found out once."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()):  # type: ignore[no-untyped-call]
        return False
    rows, width = _TRIED
    inputs = torch.linspace(-1, 1, rows * width).reshape(rows, width)
    weight = torch.linspace(1, -1, width * width).reshape(width, width)
    try:
        plain, other = functional.linear(inputs, weight), _onednn(inputs, weight, None)
    except RuntimeError:
        return False
    if not torch.allclose(plain, other, rtol=_AGREEING, atol=_AGREEING * float(plain.abs().max())):
        return False
    taken = [[0.0] * _TIMES, [0.0] * _TIMES]
    for number in range(_TIMES):
        started = time.perf_counter()
        functional.linear(inputs, weight)
        taken[0][number] = time.perf_counter() - started
        started = time.perf_counter()
        _onednn(inputs, weight, None)
        taken[1][number] = time.perf_counter() - started
    return min(taken[1]) < _PAYS * min(taken[0])


def onednn_takes(inputs: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN can multiply these, which no gradient and no exporter has to follow."""
    # First: whatever else is asked of tensors would be recorded.
    if torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined,no-untyped-call]
        return False
    return (
        inputs.dtype == weight.dtype == torch.float32
        and inputs.device.type == weight.device.type == "cpu"
        and inputs.numel() > 0
        and not (torch.is_grad_enabled() and (inputs.requires_grad or weight.requires_grad))
        and not _AS_TORCH_DOES.get()
    )


class _Linear(nn.Linear):
    """A linear layer that multiplies by :func:`linear`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name in torch
        return linear(input, self.weight, self.bias)


def _onednn(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply by oneDNN; PyTorch's own functions take it for half precision alone."""
    # With gaps between rows it would take minutes.
    dense = weight if weight.is_contiguous() or weight.T.is_contiguous() else weight.contiguous()
    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        inputs.contiguous(), dense, bias, "none", [], ""
    )
    return product
