"""The models that come inside the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import ModelError

from .preset import ModelCard

if TYPE_CHECKING:
    import numpy.typing as npt

FOLDER = Path(__file__).parent / "embedded"
SHARED = (
    "backbone.safetensors",
    "gate.safetensors",
    "imagenet.safetensors",
    "concepts.json",
    "text.safetensors",
    "decoder.safetensors",
    "decoder.json",
)
HEADS = {"mini": "head_mini.safetensors", "mini-zeroshot": "head_zeroshot.safetensors"}
_LICENCE = "Apache-2.0 and BSD-3-Clause; COCO annotations CC BY 4.0"
_TEXTS = {
    "mini": (
        "mini (built in, region-supervised)",
        "Fast and offline; its head has seen labelled regions of COCO photographs.",
    ),
    "mini-zeroshot": (
        "mini, zero-shot (built in)",
        "Fast and offline; its head has seen captions and tags of whole photographs only.",
    ),
}

# Names too near in meaning to be offered side by side as two guesses.
NEAR = (
    ("table", "dining table", "desk"),
    ("cup", "mug", "glass"),
    ("car", "sports car", "taxi", "van"),
    ("truck", "pickup truck"),
    ("bus", "school bus"),
    ("sidewalk", "road", "street", "path"),
    ("ocean", "water", "river", "lake", "waves"),
    ("wall", "brick wall", "tile wall", "stone wall"),
    ("floor", "wooden floor"),
    ("sand", "beach"),
    ("building", "house"),
    ("window", "window blind"),
    ("motorcycle", "scooter"),
    ("computer", "laptop"),
    ("television", "computer monitor"),
    ("stove", "oven"),
    ("boat", "ship", "sailboat", "speedboat", "canoe"),
    ("ball", "tennis ball", "soccer ball", "basketball", "volleyball", "baseball"),
)


def embedded_cards() -> list[ModelCard]:
    """Cards of the embedded models, the default first."""
    shared = sum(_size(name) for name in SHARED)
    return [
        ModelCard(name, title, _LICENCE, shared + _size(HEADS[name]), note)
        for name, (title, note) in _TEXTS.items()
    ]


def load_embedded(name: str, folder: Path = FOLDER) -> Captioner:
    """Put an embedded model together."""
    from napari_patchioner.backbones.mini import MiniBackbone
    from napari_patchioner.bridges.appearance import AXES
    from napari_patchioner.bridges.concepts import ConceptBridge, load_head, load_imagenet
    from napari_patchioner.decoders.grounded import GroundedDecoder
    from napari_patchioner.decoders.grounded.vocabulary import ATTRIBUTES, load_concepts

    concepts = load_concepts(folder / "concepts.json")
    embeddings = _text_embeddings(folder / "text.safetensors", len(concepts))
    head = load_head(folder / HEADS[name], name)
    imagenet = load_imagenet(folder / "imagenet.safetensors")
    backbone = MiniBackbone(folder / "backbone.safetensors", folder / "gate.safetensors")
    if head.dim != backbone.dim - len(AXES):
        raise _strangers(HEADS[name], "backbone.safetensors")
    if max(head.labels.max(), imagenet.groups.max()) >= len(concepts):
        raise _strangers(HEADS[name], "concepts.json")
    names = [concept.name for concept in concepts]
    bridge = ConceptBridge(head, imagenet, names, embeddings, ATTRIBUTES, NEAR)
    decoder = GroundedDecoder.open(folder)
    return Captioner(backbone, bridge, decoder, name=name, weighting="area")


def _text_embeddings(path: Path, concepts: int) -> npt.NDArray[np.float16]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        embeddings: npt.NDArray[np.float16] = load_file(path)["concept_embeddings"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(
            f"{path} is missing or damaged; reinstall napari-patchioner to restore it."
        ) from error
    if not np.isfinite(embeddings).all():
        raise ModelError(f"{path} is damaged; reinstall napari-patchioner to restore it.")
    if len(embeddings) != concepts:
        raise ModelError(
            f"{path} embeds {len(embeddings)} concepts but concepts.json lists {concepts}; "
            f"reinstall napari-patchioner to restore them."
        )
    return embeddings


def _strangers(text: str, other: str) -> ModelError:
    return ModelError(
        f"{text} and {other} do not belong together; reinstall napari-patchioner to restore them."
    )


def _size(name: str) -> int:
    path = FOLDER / name
    return path.stat().st_size if path.exists() else 0
