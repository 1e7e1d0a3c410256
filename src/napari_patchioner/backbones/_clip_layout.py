"""CLIP's weights under one naming: Hugging Face's, whichever the file came with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_patchioner.checkpoints import rename

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_patchioner.checkpoints import State

TEXT = ("text_model.*", "text_projection.*")
"""Globs of the text tower's weights."""

VISION = ("vision_model.*", "visual_projection.*")
"""Globs of the vision tower's weights."""

EXTRAS = ("logit_scale", "logit_bias", "*.position_ids")
"""Globs of what comes along in whole checkpoints and no tower uses."""

_OPENAI = ("visual.", "transformer.resblocks.", "token_embedding.")
_TOWERS = {
    "visual.transformer.resblocks": "vision_model.encoder.layers",
    "transformer.resblocks": "text_model.encoder.layers",
}
_PARTS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn": "self_attn",
}
_RULES: list[tuple[str, str | None]] = [
    (rf"{re.escape(tower)}\.(\d+)\.{re.escape(part)}\.(.*)", rf"{layers}.\1.{name}.\2")
    for tower, layers in _TOWERS.items()
    for part, name in _PARTS.items()
] + [
    (r"visual\.class_embedding", "vision_model.embeddings.class_embedding"),
    (r"visual\.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    (r"visual\.conv1\.weight", "vision_model.embeddings.patch_embedding.weight"),
    (r"visual\.ln_pre\.(.*)", r"vision_model.pre_layrnorm.\1"),
    (r"visual\.ln_post\.(.*)", r"vision_model.post_layernorm.\1"),
    (r"visual\.proj", "visual_projection.weight"),
    (r"token_embedding\.(.*)", r"text_model.embeddings.token_embedding.\1"),
    (r"positional_embedding", "text_model.embeddings.position_embedding.weight"),
    (r"ln_final\.(.*)", r"text_model.final_layer_norm.\1"),
    (r"text_projection", "text_projection.weight"),
    # Sizes and a mask that OpenAI's own files carry as tensors.
    (r"input_resolution|context_length|vocab_size|attn_mask", None),
]
_IN_PROJ = re.compile(r"(.*\.attn)\.in_proj[._](weight|bias)")
_TRANSPOSED = ("visual.proj", "text_projection")


def is_openai(state: Mapping[str, Tensor]) -> bool:
    """Whether weights go by OpenAI's names, such as ``transformer.resblocks.0.ln_1.bias``."""
    return any(name.startswith(_OPENAI) for name in state)


def hugging_face(state: Mapping[str, Tensor]) -> State:
    """Return CLIP weights under the names of transformers' ``CLIPModel``.

    Parameters
    ----------
    state : mapping of str to Tensor
        Of a whole CLIP or one of its towers, by OpenAI's names or Hugging Face's. OpenAI keeps
        queries, keys and values in one matrix (as ``in_proj_weight``, or ``in_proj.weight`` in
        AlphaCLIP) and the two projections transposed.

    Returns
    -------
    dict of str to Tensor
        Names no rule knows stay as they are, so that a report can name them.

    Raises
    ------
    ModelError
        The weights mix two layouts.
    """
    if not is_openai(state):
        return dict(state)
    parted: State = {}
    for name, value in state.items():
        if match := _IN_PROJ.fullmatch(name):
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                parted[f"{match[1]}.{part}_proj.{match[2]}"] = piece
        else:
            parted[name] = value.T.contiguous() if name in _TRANSPOSED else value
    return rename(parted, _RULES)
