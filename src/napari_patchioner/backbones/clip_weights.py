"""CLIP's weights under one naming, Hugging Face's, and the sizes of its towers."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from napari_patchioner.checkpoints import State, read_settings, rename
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Tower = Literal["text", "vision"]

# Globs of the weights of either tower, and of what whole checkpoints hold that no tower uses.
TEXT = ("text_model.*", "text_projection.*")
VISION = ("vision_model.*", "visual_projection.*")
EXTRAS = ("logit_scale", "logit_bias", "*.position_ids")

_HEAD_WIDTH = 64
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
    # AlphaCLIP's second convolution, which transformers has no name for.
    (r"visual\.conv1_alpha\.weight", "vision_model.embeddings.alpha_embedding.weight"),
    (r"visual\.ln_pre\.(.*)", r"vision_model.pre_layrnorm.\1"),
    (r"visual\.ln_post\.(.*)", r"vision_model.post_layernorm.\1"),
    (r"visual\.proj", "visual_projection.weight"),
    (r"token_embedding\.(.*)", r"text_model.embeddings.token_embedding.\1"),
    (r"positional_embedding", "text_model.embeddings.position_embedding.weight"),
    (r"ln_final\.(.*)", r"text_model.final_layer_norm.\1"),
    (r"text_projection", "text_projection.weight"),
    # Sizes and a mask that OpenAI's own files hold as tensors.
    (r"input_resolution|context_length|vocab_size|attn_mask", None),
]
_IN_PROJ = re.compile(r"(.*\.attn)\.in_proj[._](weight|bias)")
_TRANSPOSED = ("visual.proj", "text_projection")


def hugging_face(state: Mapping[str, Tensor]) -> State:
    """Return CLIP weights under the names of transformers' ``CLIPModel``.

    They may be a whole CLIP's or one tower's, by Hugging Face's names or OpenAI's, who keep
    queries, keys and values in one matrix (``in_proj_weight``, or ``in_proj.weight`` in AlphaCLIP)
    and the two projections transposed. Names no rule knows stay as they are, so that a report can
    name them; a mixture of both namings raises ``ModelError``.
    """
    if not any(name.startswith(_OPENAI) for name in state):
        return dict(state)
    parted: State = {}
    for name, value in state.items():
        if match := _IN_PROJ.fullmatch(name):
            for letter, piece in zip("qkv", value.chunk(3), strict=True):
                parted[f"{match[1]}.{letter}_proj.{match[2]}"] = piece
        else:
            parted[name] = value.T.contiguous() if name in _TRANSPOSED else value
    return rename(parted, _RULES)


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the weights whose names start with a prefix, without it."""
    return rename(state, [(re.escape(prefix) + r"(.*)", r"\1"), (r".*", None)])


def tower_config(folder: Path, tower: Tower) -> Any:
    """Read one tower's configuration from the ``config.json`` of a CLIP or of that tower alone.

    Returns a ``CLIPTextConfig`` or ``CLIPVisionConfig`` whose ``projection_dim`` is the whole
    model's; raises ``ModelError`` where the file is missing, damaged or another model's.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

    path = folder / "config.json"
    content = read_settings(path)
    kind = content.get("model_type")
    alone = CLIPTextConfig if tower == "text" else CLIPVisionConfig
    try:
        if kind == alone.model_type:
            return alone(**content)
        if kind == "clip":
            whole = CLIPConfig(**content)
            part = whole.text_config if tower == "text" else whole.vision_config
            part.projection_dim = whole.projection_dim
            return part
    except (TypeError, ValueError, KeyError, StrictDataclassError) as error:
        raise ModelError(f"{path} is no CLIP configuration ({_reason(error)}).") from error
    raise ModelError(
        f"{path} describes a model of the kind {kind!r}, which has no {tower} tower of CLIP; "
        f"choose the folder of a CLIP."
    )


def infer_config(state: Mapping[str, Tensor], tower: Tower, source: object) -> Any:
    """Read one tower's configuration off its weights, by Hugging Face's names.

    Heads are 64 wide and the activation is QuickGELU, as in every CLIP that OpenAI published.
    """
    from transformers import CLIPTextConfig, CLIPVisionConfig

    def shape(name: str, axes: int = 2) -> tuple[int, ...]:
        if name not in state or state[name].ndim != axes:
            raise ModelError(
                f"{source} holds no {name}, which CLIP's {tower} tower needs; choose another file."
            )
        return tuple(state[name].shape)

    embeddings = f"{tower}_model.embeddings"
    start = f"{tower}_model.encoder.layers."
    numbers = (name.removeprefix(start).split(".")[0] for name in state if name.startswith(start))
    layers = 1 + max((int(number) for number in numbers), default=-1)
    positions = f"{embeddings}.position_embedding.weight"
    if tower == "text":
        vocabulary, width = shape(f"{embeddings}.token_embedding.weight")
        return CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=4 * width,
            projection_dim=shape("text_projection.weight")[0],
            num_hidden_layers=layers,
            num_attention_heads=max(1, width // _HEAD_WIDTH),
            max_position_embeddings=shape(positions)[0],
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
        )
    width, channels, patch, _ = shape(f"{embeddings}.patch_embedding.weight", axes=4)
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=shape("visual_projection.weight")[0],
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // _HEAD_WIDTH),
        num_channels=channels,
        image_size=patch * math.isqrt(shape(positions)[0] - 1),
        patch_size=patch,
    )


def empty_network(model_class: Callable[[Any], Any], config: Any, source: object) -> Any:
    """Make a network without weights; raises ``ModelError`` for, say, an unknown activation."""
    try:
        with torch.device("meta"):
            return model_class(config)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"The configuration of {source} makes no network ({_reason(error)}); get it again."
        ) from error


def _reason(error: Exception) -> str:
    """Return the last line of an error of transformers."""
    return str(error).strip().splitlines()[-1].strip()[:120] if str(error) else repr(error)
