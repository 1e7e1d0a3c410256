"""Pictures unlike COCO's, for telling what is not there: ImageNet's, one a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_patchioner.decoders.grounded.vocabulary import Concept

FOLDER = "imagenet_samples"
TAKEN = (0, 2)
"""Of every five classes in their order these are fitted to; the others are for measuring."""

# Names nearer among sentences than this may mean the same thing.
_NEAR = 0.45
# What a picture of an animal does not show as well, and what one of any thing does not.
_NO_ANIMALS = frozenset(("vehicle", "food", "sport", "instrument", "appliance", "tool"))
_ALONE = frozenset(("vehicle", "food", "instrument"))
_PLACES = frozenset(("scene", "building", "street", "furniture"))
# How many pictures of animals show a person, about.
_BESIDE_ANIMALS = 0.1
_BIRD = "bird"
_BIRDS = frozenset(("stork", "heron", "flamingo", "duck", "goose", "swan", "pelican", "penguin"))
_BIRDS |= {"chicken", "rooster", "owl", "eagle", "parrot", "peacock", "ostrich", "vulture", "hawk"}


def imagenet_pictures(data: Path) -> list[tuple[Path, int]]:
    """Pictures of the classes that are fitted to, each with the number of its class.

    Parameters
    ----------
    data : Path
        The data folder, whose ``imagenet_samples`` hold one picture a class, called by its synset.

    Returns
    -------
    list of (Path, int)
        Empty where there are none.
    """
    files = sorted((data / FOLDER).glob("*.jpg"))
    return [(path, number) for number, path in enumerate(files) if number % 5 in TAKEN]


class Shown:
    """Says what a picture of one thing shows beside it.

    Parameters
    ----------
    concepts : sequence of Concept
    embeddings : ndarray of float, shape (concepts, d)
        Of unit length.
    """

    def __init__(self, concepts: Sequence[Concept], embeddings: npt.NDArray[np.floating]) -> None:
        self._concepts, self._embeddings = concepts, embeddings
        self.of_class = {
            number: index for index, concept in enumerate(concepts) for number in concept.imagenet
        }

    def __call__(self, label: int, concept: int) -> float:
        """1 for the thing itself, 0 for what is surely not there, else not a number.

        Places, furniture and what lies about may be in any picture, people seldom beside animals.
        """
        if label == concept:
            return 1.0
        thing, other = self._concepts[label], self._concepts[concept]
        if other.name == "person" and thing.kind == "animal":
            return _BESIDE_ANIMALS
        near = float(self._embeddings[label] @ self._embeddings[concept]) >= _NEAR
        if near or not set(thing.name.split()).isdisjoint(other.name.split()):
            return np.nan
        if other.name == _BIRD and thing.name in _BIRDS:
            return np.nan
        is_absent = (
            other.kind == "animal"
            or (thing.kind == "animal" and other.kind in _NO_ANIMALS)
            or (other.kind in _ALONE and thing.kind not in {other.kind, *_PLACES})
        )
        return 0.0 if is_absent else np.nan
