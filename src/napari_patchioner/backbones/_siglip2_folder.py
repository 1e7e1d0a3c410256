"""A SigLIP 2 from a folder in the form of the Hugging Face hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_patchioner.checkpoints import fit, read_settings, read_state, rename, tensors_sha256
from napari_patchioner.errors import ModelError

from ._siglip2_text import SigLip2Text, SigLip2Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor


def open_folder(folder: Path) -> tuple[Any, Callable[[], SigLip2Text], str]:
    """Open the vision tower now and the text tower when it is needed.

    Parameters
    ----------
    folder : Path
        ``config.json``, ``model.safetensors`` and, for text, ``tokenizer.json``.

    Returns
    -------
    tower : SiglipVisionTransformer
        With its weights.
    load_text : callable
        Opens the text tower.
    text_name : str
        Of the text tower; the same for the same weights.

    Raises
    ------
    ModelError
        A file is missing, damaged, or does not belong to the others.
    """
    config = _config(folder)
    state = read_state(folder)
    vision, text = _empty(config)
    _fill(vision, state, "vision_model", folder)
    head = state.get("text_model.head.weight")
    if head is None:
        raise ModelError(f"{folder} holds no text_model.head.weight; get the whole SigLIP 2.")
    name = f"siglip2-text-{len(head)}-{tensors_sha256({'head.weight': head})[:8]}"

    def load_text() -> SigLip2Text:
        length = config.text_config.max_position_embeddings
        tokenizer = SigLip2Tokenizer(folder / "tokenizer.json", length)
        return SigLip2Text(_fill(text, state, "text_model", folder), tokenizer)

    return vision, load_text, name


def _config(folder: Path) -> Any:
    """Read ``config.json`` of a model with a fixed size."""
    from transformers import SiglipConfig

    path = folder / "config.json"
    content = read_settings(path)
    if content.get("model_type") != "siglip":
        raise ModelError(
            f"{path} describes a {content.get('model_type')!r}, not a siglip of a fixed size; "
            f"choose a model such as siglip2-base-patch16-512."
        )
    try:
        return SiglipConfig(**content)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path} is no configuration of a SigLIP 2; get it again.") from error


def _empty(config: Any) -> tuple[Any, Any]:
    """Build both towers without weights."""
    from transformers import SiglipModel

    with torch.device("meta"):
        model = SiglipModel(config)
    return model.vision_model, model.text_model


def _fill(tower: Any, state: Mapping[str, Tensor], name: str, source: Path) -> Any:
    own = rename(state, [(rf"{name}\.(.*)", r"\1"), (r".*", None)])
    return fit(tower, own, source=source, ignore=("*position_ids",))
