"""Which concept of the embedded model a COCO category is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.decoders.grounded.vocabulary import Concept

NAMES = {
    "sports ball": "ball",
    "tv": "television",
    "mouse": "computer mouse",
    "remote": "remote control",
    "hair drier": "hair dryer",
    "banner": "sign",
    "cardboard": "box",
    "flower": "flowers",
    "platform": "train station",
    "playing field": "field",
    "railroad": "train tracks",
    "sea": "ocean",
    "wooden wall": "wall",
    "tree": "trees",
    "pavement": "sidewalk",
    "rock": "rocks",
}
"""Categories that the concept list calls otherwise, plain COCO name to concept name."""


def concept_index(category: str, concepts: Sequence[Concept]) -> int:
    """Position in the concept list of a COCO category (plain name).

    Raises
    ------
    KeyError
        If the list has no such concept.
    """
    name = NAMES.get(category, category)
    for index, concept in enumerate(concepts):
        if concept.name == name:
            return index
    raise KeyError(f"no concept for the category {category!r}")
