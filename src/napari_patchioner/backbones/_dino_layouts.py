"""Names of a DINO's weights: Meta's and Hugging Face's, old and new, told as one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from napari_patchioner.checkpoints import rename

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from napari_patchioner.checkpoints import State

# Meta's "blocks.0", Hugging Face's "encoder.layer.0", "layer.0", "model.layer.0" or "layers.0".
_BLOCK = r"(?:blocks|(?:encoder\.|model\.)?layers?)\.(\d+)\."
_PARTS = {
    "norm1": r"(?:norm1|layernorm_before)",
    "norm2": r"(?:norm2|layernorm_after)",
    "qkv": r"attn\.qkv",
    "q": r"attention\.(?:attention\.query|q_proj)",
    "k": r"attention\.(?:attention\.key|k_proj)",
    "v": r"attention\.(?:attention\.value|v_proj)",
    "o": r"(?:attn\.proj|attention\.output\.dense|attention\.o_proj)",
    "gate_up": r"mlp\.(?:w12|weights_in)",
    "gate": r"mlp\.(?:w1|gate_proj)",
    "up": r"(?:mlp\.(?:fc1|w2|up_proj)|intermediate\.dense)",
    "down": r"(?:mlp\.(?:fc2|w3|down_proj|weights_out)|output\.dense)",
}
_RULES: list[tuple[str, str | None]] = [
    (r"(?:embeddings\.)?cls_token", "cls_token"),
    (r"register_tokens|storage_tokens|embeddings\.register_tokens", "registers"),
    (r"pos_embed|embeddings\.position_embeddings", "positions"),
    (
        r"(?:patch_embed\.proj|embeddings\.patch_embeddings(?:\.projection)?)\.(weight|bias)",
        r"patch.\1",
    ),
    (r"(?:norm|layernorm)\.(weight|bias)", r"norm.\1"),
    *(
        (f"{_BLOCK}{pattern}" + r"\.(weight|bias)", rf"blocks.\1.{part}.\2")
        for part, pattern in _PARTS.items()
    ),
    (_BLOCK + r"(?:ls|layer_scale)([12])\.(?:gamma|lambda1)", r"blocks.\1.scale\2"),
    (_BLOCK + r"attn\.qkv\.bias_mask", r"blocks.\1.qkv.mask"),
    # Only training masks patches or pools the class token; rotations follow from the sizes.
    (r"(?:embeddings\.)?mask_token|pooler\..*|rope_embed.*", None),
]
_FUSED = {"qkv": ("q", "k", "v"), "gate_up": ("gate", "up")}


def plain(state: Mapping[str, Tensor]) -> State:
    """Tell a DINO's weights in this package's names.

    Parameters
    ----------
    state : mapping of str to Tensor
        Of DINO, DINOv2 or DINOv3, by Meta's names (``blocks.0.attn.qkv.weight``) or Hugging
        Face's.

    Returns
    -------
    dict of str to Tensor
        ``cls_token``, ``registers``, ``positions``, ``patch.*``, ``norm.*`` and ``blocks.N.*``
        with ``norm1``, ``q``, ``k``, ``v``, ``o``, ``scale1``, ``norm2``, ``gate`` (gated ones),
        ``up``, ``down`` and ``scale2``. Names no rule knows stay as they are. Key biases that
        DINOv3 masks out are gone.

    Raises
    ------
    ModelError
        The weights mix two layouts.
    """
    renamed = rename(state, _RULES)
    parted: State = {}
    for name, value in renamed.items():
        block, _, rest = name.rpartition(".")
        pieces = _FUSED.get(block.rpartition(".")[2], ())
        if pieces and rest == "mask":
            continue
        if not pieces or value.ndim == 0 or len(value) % len(pieces):
            parted[name] = value
            continue
        if rest == "bias" and f"{block}.mask" in renamed:
            value = value * renamed[f"{block}.mask"]
        prefix = block.rpartition(".")[0]
        for piece, part in zip(pieces, value.chunk(len(pieces)), strict=True):
            if (piece, rest) == ("k", "bias") and f"{block}.mask" in renamed and not part.any():
                continue
            parted[f"{prefix}.{piece}.{rest}"] = part
    return parted


def named_like(state: Mapping[str, Tensor], names: Iterable[str]) -> State:
    """Give plain weights the names a network has for them.

    Parameters
    ----------
    state : mapping of str to Tensor
        As :func:`plain` tells them.
    names : iterable of str
        Of the network's own weights, in any version of transformers.
    """
    own = own_names(names)
    state = _fused_like(state, own)
    return rename(state, [(re.escape(name), own[name]) for name in state if name in own])


def own_names(names: Iterable[str]) -> dict[str, str]:
    """Return a network's own name for every plain one."""
    empty = torch.empty(0)
    own: dict[str, str] = {}
    for name in names:
        for known in rename({name: empty}, _RULES):
            own[known] = name
    return own


def depth(state: Mapping[str, Tensor]) -> int:
    """Count the blocks of plain weights."""
    numbers = (name.split(".")[1] for name in state if name.startswith("blocks."))
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)


def _fused_like(state: Mapping[str, Tensor], own: Iterable[str]) -> State:
    """Join again what a network keeps in one matrix, as older versions of transformers do."""
    joined = dict(state)
    for name in own:
        block, _, rest = name.rpartition(".")
        prefix, _, part = block.rpartition(".")
        pieces = [f"{prefix}.{piece}.{rest}" for piece in _FUSED.get(part, ())]
        if pieces and all(piece in joined for piece in pieces):
            joined[name] = torch.cat([joined.pop(piece) for piece in pieces])
    return joined
