"""One naming of weights told in another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor


def rename(
    state: Mapping[str, Tensor], rules: Iterable[tuple[str, str | None]]
) -> dict[str, Tensor]:
    r"""Rename weights.

    Parameters
    ----------
    state : mapping of str to Tensor
        The weights under the names of their file.
    rules : iterable of (pattern, replacement)
        Regular expressions that match a whole name; the first that does decides. A replacement
        of None drops the weight. Names no rule matches stay as they are.

    Raises
    ------
    ModelError
        Two weights would get one name.

    Examples
    --------
    >>> rename({"linear_layer2.bias": None}, [(r"linear_layer2\.(.*)", r"hidden_layers.0.\1")])
    {'hidden_layers.0.bias': None}
    """
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        new: str | None = name
        for pattern, replacement in compiled:
            if match := pattern.fullmatch(name):
                new = None if replacement is None else match.expand(replacement)
                break
        if new is None:
            continue
        if new in renamed:
            raise ModelError(f"Two weights of the file are both {new}; it mixes two layouts.")
        renamed[new] = value
    return renamed
