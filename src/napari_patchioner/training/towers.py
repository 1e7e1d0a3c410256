"""Text towers by name: what texts are embedded with before anything is learned from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.checkpoints import read_settings, read_state, tensors_sha256
from napari_patchioner.errors import ModelError
from napari_patchioner.models.embedded import HEADS, embedded_cards, load_text_tower
from napari_patchioner.models.preset import Part, Preset

FloatArray: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tower:
    """A text tower, and the model it belongs to where it belongs to one.

    Attributes
    ----------
    name : str
        What a person calls it: the id of a model, or a folder.
    embed : callable
        Texts to rows of shape (n, dim), not normalised.
    provenance : mapping of str to str
        What is stamped into all that is made with it: the hash of tower or projection.
    licence : str
        Of its weights; empty where nobody says.
    preset : Preset, optional
        The model whose regions lie in the same space; None for a folder.
    """

    name: str
    embed: Callable[[Sequence[str]], FloatArray]
    provenance: Mapping[str, str]
    licence: str = ""
    preset: Preset | None = None


def open_tower(name: str) -> Tower:
    """Open the text tower of a model by its id, or a sentence encoder or CLIP in a folder.

    Parameters
    ----------
    name : str
        The id of an installed model with a text tower, such as ``mini``; or the folder of a
        BERT that embeds sentences (all-MiniLM-L6-v2) or of a CLIP, in the form of the Hugging Face
        hub.

    Raises
    ------
    ModelError
        There is no such model or folder, it is not installed, damaged, or has no text tower.
    """
    if name in HEADS:
        return _embedded_tower(name)
    if Path(name).is_dir():
        return _folder_tower(Path(name))
    from napari_patchioner.backbones import TextTower
    from napari_patchioner.models.install import find_preset, installed_files
    from napari_patchioner.models.parts import open_part

    preset = find_preset(name)
    backbone = open_part("backbone", preset.backbone, installed_files(preset))
    if not isinstance(backbone, TextTower):
        raise ModelError(f"The model {name!r} has no text tower to embed texts with.")
    provenance: Any = getattr(backbone, "provenance", {})
    return Tower(name, backbone.embed_text, dict(provenance), preset.licence, preset)


def _embedded_tower(name: str) -> Tower:
    """Open the text tower of the models inside the package."""
    tower = load_text_tower()
    [card] = [card for card in embedded_cards() if card.id == name]
    preset = Preset(
        name,
        title=card.title,
        note=card.note,
        licence=card.licence,
        backbone=Part(name),
        bridge=Part("normalize"),
        decoder=Part("quote"),
        options={"weighting": "area"},
    )
    return Tower(name, tower.embed_text, dict(tower.provenance), card.licence, preset)


def _folder_tower(folder: Path) -> Tower:
    """Open a sentence encoder or the text tower of a CLIP."""
    kind = read_settings(folder / "config.json").get("model_type")
    if kind == "bert":
        from napari_patchioner.bridges.language_models import BertSentences

        stamp = f"bert-{tensors_sha256(read_state(folder))[:16]}"
        return Tower(str(folder), BertSentences.open(folder).encode, {"text": stamp})
    if kind == "clip":
        from napari_patchioner.backbones.clip_towers import ClipText, lazy_text

        text = lazy_text(read_state(folder), lambda: ClipText.open(folder))
        if text is not None:
            return Tower(str(folder), text.embed, {"text": text.name})
    raise ModelError(
        f"{folder} holds neither a sentence encoder (BERT) nor a CLIP; name the id of a model, or "
        "the folder of all-MiniLM-L6-v2."
    )
