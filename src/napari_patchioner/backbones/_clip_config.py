"""What a CLIP folder says about its towers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import torch

from napari_patchioner.checkpoints import read_settings
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

Tower = Literal["text", "vision"]
_HEAD_WIDTH = 64


def tower_config(folder: Path, tower: Tower) -> Any:
    """Read the configuration of one tower from a folder's ``config.json``.

    Parameters
    ----------
    folder : Path
        Holds the ``config.json`` of a ``CLIPModel`` or of that tower alone.
    tower : {"text", "vision"}
        Which one.

    Returns
    -------
    CLIPTextConfig or CLIPVisionConfig
        Its ``projection_dim`` is the whole model's.

    Raises
    ------
    ModelError
        The file is missing, cannot be read, or belongs to another kind of model.
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


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()[:120] if str(error) else repr(error)


def empty(model_class: Callable[[Any], Any], config: Any, source: object) -> Any:
    """Make a network without weights.

    Raises
    ------
    ModelError
        The configuration asks for what there is not, such as an unknown activation.
    """
    try:
        with torch.device("meta"):
            return model_class(config)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"The configuration of {source} makes no network ({_reason(error)}); get it again."
        ) from error


def text_config(state: Mapping[str, Tensor], source: object) -> Any:
    """Read the sizes of a text tower off its weights, by Hugging Face's names.

    Heads are 64 wide and the activation is QuickGELU, as in every CLIP that OpenAI published.

    Raises
    ------
    ModelError
        There is no text tower among the weights.
    """
    from transformers import CLIPTextConfig

    shapes = _Shapes(state, source, "text")
    vocabulary, width = shapes["text_model.embeddings.token_embedding.weight"]
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=shapes["text_projection.weight"][0],
        num_hidden_layers=shapes.layers,
        num_attention_heads=max(1, width // _HEAD_WIDTH),
        max_position_embeddings=shapes["text_model.embeddings.position_embedding.weight"][0],
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
    )


def vision_config(state: Mapping[str, Tensor], source: object) -> Any:
    """Read the sizes of a vision tower off its weights, by Hugging Face's names.

    Heads are 64 wide and the activation is QuickGELU, as in every CLIP that OpenAI published.

    Raises
    ------
    ModelError
        There is no vision transformer among the weights.
    """
    from transformers import CLIPVisionConfig

    shapes = _Shapes(state, source, "vision")
    width, channels, patch, _ = shapes["vision_model.embeddings.patch_embedding.weight"]
    positions = shapes["vision_model.embeddings.position_embedding.weight"][0]
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=shapes["visual_projection.weight"][0],
        num_hidden_layers=shapes.layers,
        num_attention_heads=max(1, width // _HEAD_WIDTH),
        num_channels=channels,
        image_size=patch * math.isqrt(positions - 1),
        patch_size=patch,
    )


class _Shapes:
    """Shapes of weights by name, or a report of the one that is not there."""

    def __init__(self, state: Mapping[str, Tensor], source: object, tower: Tower) -> None:
        self._state, self._source, self._tower = state, source, tower

    def __getitem__(self, name: str) -> tuple[int, ...]:
        if name not in self._state:
            raise ModelError(
                f"{self._source} holds no {name}, which CLIP's {self._tower} tower needs; "
                f"choose another file."
            )
        return tuple(self._state[name].shape)

    @property
    def layers(self) -> int:
        start = f"{self._tower}_model.encoder.layers."
        names = (name.removeprefix(start) for name in self._state if name.startswith(start))
        return 1 + max((int(name.split(".")[0]) for name in names), default=-1)
