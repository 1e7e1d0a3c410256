"""What can be named and what can be measured: the vocabulary shared by eye and tongue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

COLOURS = (
    *("black", "white", "gray", "red", "orange", "yellow"),
    *("green", "blue", "purple", "pink", "brown"),
)
"""Colour words, in the order of a vector's colour strengths."""

LIGHT = ("dark", "bright")
TEXTURES = ("smooth", "striped", "grainy", "textured", "spotted")
ADJECTIVES = (*COLOURS, *LIGHT, *TEXTURES)

ATTRIBUTES = (*ADJECTIVES, "plural")
"""Keys of `Evidence.attributes`, in the order in which they follow the text vector."""


@dataclass(frozen=True, slots=True)
class Concept:
    """A thing the embedded model can name.

    Attributes
    ----------
    name : str
        The noun as a caption has it, singular where it can be counted.
    plural : str
        Its plural; the name itself where there is none.
    mass : bool
        Whether it goes without an article ("grass", "skis").
    kind : str
        The group it belongs to: "person", "animal", "food"...
    synonyms : tuple of str
        Other words for it: read in text, never written.
    imagenet : tuple of int
        The ImageNet-1k classes it stands for.
    """

    name: str
    plural: str
    mass: bool
    kind: str
    synonyms: tuple[str, ...] = ()
    imagenet: tuple[int, ...] = ()


def load_concepts(path: Path) -> list[Concept]:
    """Read ``concepts.json``.

    Raises
    ------
    ModelError
        If the file is missing or not a list of concepts.
    """
    try:
        records = json.loads(path.read_text("utf8"))
        return [
            Concept(
                name=str(record["name"]),
                plural=str(record["plural"]),
                mass=bool(record["mass"]),
                kind=str(record["kind"]),
                synonyms=tuple(record.get("synonyms", ())),
                imagenet=tuple(record.get("imagenet", ())),
            )
            for record in records
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} does not hold the model's concepts ({error}); install the package again."
        ) from error


def load_embeddings(path: Path) -> npt.NDArray[np.float32]:
    """Read the concepts' text embeddings, shape (concepts, d).

    Raises
    ------
    ModelError
        If the file is missing or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(str(path))["concept_embeddings"].astype("float32")
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(
            f"{path} does not hold the concepts' embeddings ({error}); install the package again."
        ) from error
