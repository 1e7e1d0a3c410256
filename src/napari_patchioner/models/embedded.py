"""The models that come inside the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import ModelError

from .preset import ModelCard

if TYPE_CHECKING:
    from napari_patchioner.backbones.mini import MiniBackbone
    from napari_patchioner.backbones.mini_text import MiniText
    from napari_patchioner.bridges.familiarity import Familiarity
    from napari_patchioner.decoders.grounded.vocabulary import Concept

FOLDER = Path(__file__).parent / "embedded"
KNOWN = "familiar.safetensors"
SHARED = (
    "backbone.safetensors",
    "gate.safetensors",
    "imagenet.safetensors",
    "concepts.json",
    "text.safetensors",
    "text_tower.safetensors",
    "decoder.safetensors",
    "decoder.json",
    KNOWN,
)
HEADS = {"mini": "head_mini.safetensors", "mini-zeroshot": "head_zeroshot.safetensors"}
# What of a whole picture is mentioned; made for the probabilities of one head.
THINGS = {"mini": "things_mini.safetensors", "mini-zeroshot": "things_zeroshot.safetensors"}
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

# A point asks the patches around it, too: so many away, a patch counts 0.6 of the nearest.
SPREAD = 2.0

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


KINDS = ("person", "animal", "vehicle", "food", "furniture", "clothing", "instrument", "building")
"""Kinds of concepts that are words of their own: a phrase of one means all of that kind."""


def embedded_cards() -> list[ModelCard]:
    """Cards of the embedded models, the default first."""
    sizes = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    shared = sum(sizes.get(name, 0) for name in SHARED)
    return [
        ModelCard(
            name,
            title,
            _LICENCE,
            shared + sum(sizes.get(files.get(name, ""), 0) for files in (HEADS, THINGS)),
            note,
        )
        for name, (title, note) in _TEXTS.items()
    ]


def load_text_tower(folder: Path = FOLDER) -> MiniText:
    """Open the text tower of the embedded models alone; it needs no torch."""
    from napari_patchioner.backbones.mini_text import MiniText

    return MiniText(folder / "text_tower.safetensors")


class EmbeddedBackbone:
    """The backbone of the embedded models as a part of other presets.

    Its regions are taken among sentences by the bridge of ``mini`` or ``mini-zeroshot``.
    """

    @staticmethod
    def open(_files: Mapping[str, Path]) -> MiniBackbone:
        """Open it, with its text tower."""
        from napari_patchioner.backbones.mini import MiniBackbone

        gate = FOLDER / "gate.safetensors"
        return MiniBackbone(FOLDER / "backbone.safetensors", gate, load_text_tower())


def _meanings(concepts: Sequence[Concept]) -> dict[str, list[str]]:
    """Return the concepts that words other than their names stand for: plurals, kinds, synonyms."""
    meanings: dict[str, list[str]] = {}
    for concept in concepts:
        for word in {concept.plural, *concept.synonyms} - {concept.name, *KINDS}:
            meanings.setdefault(word, []).append(concept.name)
        if concept.kind in KINDS:
            meanings.setdefault(concept.kind, []).append(concept.name)
    return meanings


def load_embedded(name: str, folder: Path = FOLDER) -> Captioner:
    """Put an embedded model together."""
    from napari_patchioner.backbones.mini import MiniBackbone
    from napari_patchioner.bridges.appearance import AXES
    from napari_patchioner.bridges.concepts import ConceptBridge, load_head, load_imagenet
    from napari_patchioner.bridges.things import load_thing_head
    from napari_patchioner.decoders.grounded import GroundedDecoder, vocabulary

    concepts = vocabulary.load_concepts(folder / "concepts.json")
    embeddings = vocabulary.load_embeddings(folder / "text.safetensors")
    head = load_head(folder / HEADS[name], name)
    imagenet = load_imagenet(folder / "imagenet.safetensors")
    text = load_text_tower(folder)
    backbone = MiniBackbone(folder / "backbone.safetensors", folder / "gate.safetensors", text)
    known = len(concepts)
    for other, fits in (
        ("backbone.safetensors", head.dim == backbone.dim - len(AXES)),
        (
            "concepts.json",
            max(head.labels.max(), imagenet.groups.max()) < known == len(head.score_offsets),
        ),
        ("text.safetensors", len(embeddings) == known),
        ("text_tower.safetensors", text.dim == embeddings.shape[1]),
    ):
        if not fits:
            raise ModelError(
                f"{HEADS[name]} and {other} do not belong together; reinstall napari-patchioner to "
                "restore them."
            )
    names = [concept.name for concept in concepts]
    things = load_thing_head(folder / THINGS[name], known) if name in THINGS else None
    words, tower = vocabulary.ATTRIBUTES, text.embed_text
    meanings = _meanings(concepts)
    bridge = ConceptBridge(head, imagenet, names, embeddings, words, NEAR, tower, things, meanings)
    decoder = GroundedDecoder.open(folder)
    captioner = Captioner(backbone, bridge, decoder, name=name, weighting="area", spread=SPREAD)
    captioner.known = load_known(folder)
    return captioner


def load_known(folder: Path = FOLDER) -> Familiarity:
    """Open what the embedded models know, see `models.familiar`."""
    from napari_patchioner.bridges.familiarity import Familiarity
    from napari_patchioner.checkpoints import own_file_damaged

    try:
        return Familiarity.read(folder / KNOWN)
    except ModelError as error:
        raise own_file_damaged(folder / KNOWN) from error
