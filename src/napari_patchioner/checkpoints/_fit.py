"""Weights into a network, or a report of what does not fit."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

Module = TypeVar("Module", bound=nn.Module)
_NAMED = 4


def fit(
    module: Module,
    state: Mapping[str, Tensor],
    *,
    source: object,
    ignore: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Module:
    """Load weights into a network, all of them or none.

    Parameters
    ----------
    module : Module
        Receives the weights in single precision; may live on the ``meta`` device.
    state : mapping of str to Tensor
        Weights under the module's own names.
    source : path
        Where they came from, for the message.
    ignore : sequence of str
        Globs of names that may come along unused, such as buffers of old library versions.
    optional : sequence of str
        Globs of names that may be missing.

    Returns
    -------
    Module
        The same, in evaluation mode, without gradients.

    Raises
    ------
    ModelError
        Weights are missing, left over, of another shape or type, or not finite; they are named,
        and the module is as it was.
    """
    wanted = module.state_dict()
    used = {name: state[name] for name in wanted if name in state}
    missing = [name for name in wanted if name not in state and not _any(name, optional)]
    unexpected = [name for name in state if name not in wanted and not _any(name, ignore)]
    misshaped = [
        f"{name} {tuple(value.shape)} instead of {tuple(wanted[name].shape)}"
        for name, value in used.items()
        if value.shape != wanted[name].shape
    ]
    strange = [
        f"{name} {_kind(value)} instead of {_kind(wanted[name])}"
        for name, value in used.items()
        if not _alike(value, wanted[name])
    ]
    report = [
        _list("missing", missing),
        _list("unexpected", unexpected),
        _list("of another shape", misshaped),
        _list("of another type", strange),
    ]
    if found := [part for part in report if part]:
        raise ModelError(f"{source} does not fit: {'; '.join(found)}. Choose the matching file.")
    _check_finite(used, source)
    single = {name: _single(value) for name, value in used.items()}
    module.load_state_dict(single, strict=False, assign=True)
    return module.eval().requires_grad_(False)


def _alike(value: Tensor, wanted: Tensor) -> bool:
    """Tell whether weights can stand in for others: any precision, but no packed or sparse form."""
    same = value.is_floating_point() == wanted.is_floating_point()
    return same and not value.is_complex() and value.layout == torch.strided


def _kind(value: Tensor) -> str:
    dense = "" if value.layout == torch.strided else " sparse"
    return str(value.dtype).removeprefix("torch.") + dense


def _single(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _check_finite(state: Mapping[str, Tensor], source: object) -> None:
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(f"{source} holds numbers that are not finite in {name}; get it again.")


def _any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _list(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{what}: {', '.join(names[:_NAMED])}{more}"
