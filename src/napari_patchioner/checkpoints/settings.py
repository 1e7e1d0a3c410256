"""The settings beside weights, checked before a network is made of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

_MOST_BYTES = 2**22
# The largest that networks of the field have, and some room.
_MOST = {
    **dict.fromkeys(("hidden_size", "projection_dim", "n_embd", "d_model", "d_kv"), 2**16),
    **dict.fromkeys(("intermediate_size", "n_inner", "d_ff"), 2**18),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers"), 512),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads"), 1024),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), 2**20),
    "num_channels": 64,
    "patch_size": 4096,
    "image_size": 2**15,
    "vocab_size": 2**22,
}
_WIDTHS = ("hidden_size", "n_embd", "d_model")
_INNER = ("intermediate_size", "n_inner", "d_ff")
_DEPTHS = ("num_hidden_layers", "n_layer", "num_layers")
_WORDS = ("vocab_size",)
MOST_WEIGHTS = 2 * 10**10
"""Numbers in the largest network that is made."""


def read_settings(path: str | Path, most_weights: int = MOST_WEIGHTS) -> dict[str, Any]:
    """Read the ``config.json`` of a network of at most so many numbers.

    These are roughly counted from its width, depth and vocabulary. A ModelError where the file is
    missing, damaged or no plain file, holds no settings, or sizes of which no network can be made.
    """
    path = Path(path)
    if not os.path.exists(path):
        raise ModelError(f"{path} is missing or damaged; get the model again.")
    if check_plain_file(path, ModelError) > _MOST_BYTES:
        raise ModelError(f"{path} is too large to be settings; get the model again.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is missing or damaged; get the model again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no settings; get the model again.")
    check_settings(content, path, most_weights)
    return content


def check_settings(
    settings: dict[str, Any], source: object, most_weights: int = MOST_WEIGHTS
) -> None:
    """Raise a ModelError for sizes of which no network can be made, here or in its parts."""
    parts: list[dict[str, Any]] = [settings]
    while parts:
        part = parts.pop()
        for name, value in part.items():
            if isinstance(value, dict):
                parts.append(value)
                continue
            sizes = value if isinstance(value, list) else [value]
            for size in sizes if name in _MOST and value is not None else ():
                number = isinstance(size, int | float) and not isinstance(size, bool)
                if not (number and size == size // 1 and 1 <= size <= _MOST[name]):
                    huge = isinstance(size, int) and size >= 10**40
                    raise ModelError(
                        f"{source}: {name} is {'too large' if huge else str(size)[:40]}, which is "
                        f"no size of a network (1 to {_MOST[name]:,}); get the model again."
                    )
        width = _first(part, _WIDTHS, 0)
        depth, words = _first(part, _DEPTHS, 12), _first(part, _WORDS, 0)
        inner = _first(part, _INNER, 4 * width)
        if depth * width * (4 * width + 2 * inner) + words * width > most_weights:
            raise ModelError(
                f"{source} asks for a network of more than {most_weights:,} weights; choose a "
                "smaller model."
            )


def _first(part: dict[str, Any], names: tuple[str, ...], otherwise: int) -> int:
    """Return the first of these sizes that a part has."""
    sizes = (part[name] for name in names if isinstance(part.get(name), int | float))
    return int(next(sizes, otherwise))
