"""Published DeCap checkpoints, told in this package's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_patchioner.errors import ModelError

from ._gpt import PrefixGPT, PrefixGPTConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_BLOCK = {
    "ln_1": "norm_mix",
    "attn.c_attn": "mix",
    "attn.c_proj": "mix_out",
    "ln_2": "norm_think",
    "mlp.c_fc": "think",
    "mlp.c_proj": "think_out",
}
_OUTER = {
    "clip_project.model.0": "prefix",
    "decoder.transformer.wte": "tokens",
    "decoder.transformer.wpe": "positions",
    "decoder.transformer.ln_f": "norm",
}
_TRUNK = "decoder.transformer.h."
# Buffers that old versions of transformers stored; they hold no weights.
_BUFFERS = (".attn.bias", ".attn.masked_bias")


def prefix_gpt_from_decap(state: Mapping[str, Tensor], *, heads: int = 4) -> PrefixGPT:
    """Build a decoder from the state dictionary of a published DeCap checkpoint.

    Parameters
    ----------
    state : mapping of str to Tensor
        Keys ``decoder.transformer.*`` and ``clip_project.model.0.*``; the tied
        ``decoder.lm_head.weight`` may be present.
    heads : int
        Attention heads, which the weights do not tell; the published decoders have 4.

    Returns
    -------
    PrefixGPT
        In evaluation mode, single precision.

    Raises
    ------
    ModelError
        If weights are missing, unknown, or have another shape than DeCap's.

    Notes
    -----
    ``decoder.lm_head.weight`` is not read: the architecture ties it to the token embedding.
    """
    named = {_rename(key): _turn(key, value) for key, value in state.items() if _is_weight(key)}
    missing = sorted({"tokens.weight", "positions.weight", "prefix.weight"} - set(named))
    if missing:
        raise ModelError(
            f"This is not a DeCap checkpoint: it has no {missing[0]}; "
            "choose the decoder's own file."
        )
    model = PrefixGPT(_sizes(named, heads))
    try:
        model.load_state_dict(named)
    except RuntimeError as error:
        raise ModelError(
            f"The DeCap checkpoint does not fit a GPT-2 decoder with {heads} heads: {error}"
        ) from error
    return model.eval()


def _is_weight(key: str) -> bool:
    return key != "decoder.lm_head.weight" and not key.endswith(_BUFFERS)


def _rename(key: str) -> str:
    stem, _, kind = key.rpartition(".")
    if stem in _OUTER:
        return f"{_OUTER[stem]}.{kind}"
    layer, _, part = stem.removeprefix(_TRUNK).partition(".")
    if not stem.startswith(_TRUNK) or part not in _BLOCK:
        raise ModelError(
            f"The DeCap checkpoint holds a weight named {key}, which a one-layer-prefix GPT-2 "
            "does not have; use a decoder with a single linear prefix layer."
        )
    return f"blocks.{layer}.{_BLOCK[part]}.{kind}"


def _turn(key: str, value: Tensor) -> Tensor:
    # GPT-2's linear layers are stored as (in, out).
    turned = key.startswith(_TRUNK) and ".c_" in key and key.endswith(".weight")
    return (value.T if turned else value).to(torch.float32).contiguous()


def _sizes(named: Mapping[str, Tensor], heads: int) -> PrefixGPTConfig:
    vocab_size, width = named["tokens.weight"].shape
    layers = {name.split(".")[1] for name in named if name.startswith("blocks.")}
    return PrefixGPTConfig(
        vocab_size=vocab_size,
        width=width,
        layers=len(layers),
        heads=heads,
        positions=named["positions.weight"].shape[0],
        prefix_dim=named["prefix.weight"].shape[1],
        dropout=0.1,
    )
