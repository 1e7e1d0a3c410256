"""The words of the embedded model: read the list of concepts, write ``concepts.json``.

``concepts.txt`` is the one place where a concept is named; everything else is derived from it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import napari_patchioner
from napari_patchioner.decoders.grounded.vocabulary import Concept

LIST = Path(__file__).with_name("concepts.txt")
EMBEDDED = Path(napari_patchioner.__file__).with_name("models") / "embedded"
_IMAGENET_CLASSES = re.compile(r"(\d+)(?:-(\d+))?")


def read_concepts(path: Path = LIST) -> list[Concept]:
    """Read the list of concepts, in its order.

    Parameters
    ----------
    path : Path
        A text file like ``concepts.txt``, whose first lines say how it is written.

    Returns
    -------
    list of Concept

    Raises
    ------
    ValueError
        If a name appears twice.
    """
    concepts: list[Concept] = []
    kind = ""
    for line in path.read_text("utf8").splitlines():
        if line.startswith("["):
            kind = line.strip("[] ")
        elif line.strip() and not line.startswith("#"):
            concepts.append(_concept(line, kind))
    names = [concept.name for concept in concepts]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{path} names {', '.join(twice)} more than once; keep one line each.")
    return concepts


def pluralize(noun: str) -> str:
    """Plural of a regular English noun; of a phrase, its last word takes the ending.

    Examples
    --------
    >>> pluralize("bus"), pluralize("hot dog"), pluralize("butterfly"), pluralize("toy")
    ('buses', 'hot dogs', 'butterflies', 'toys')
    """
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return noun + "es"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + "s"


def write_concepts(concepts: list[Concept], folder: Path = EMBEDDED) -> Path:
    """Write ``concepts.json``, one concept a line, and return its path."""
    path = folder / "concepts.json"
    lines = ",\n".join(json.dumps(asdict(concept)) for concept in concepts)
    path.write_text(f"[\n{lines}\n]\n", "utf8")
    return path


def _concept(line: str, kind: str) -> Concept:
    """Read one line: ``name / plural : synonyms @ classes``."""
    words, _, classes = line.partition("@")
    head, _, synonyms = words.partition(":")
    name, _, plural = (part.strip() for part in head.partition("/"))
    mass = plural == "~"
    return Concept(
        name=name,
        plural=name if mass else plural or pluralize(name),
        mass=mass,
        kind=kind,
        synonyms=tuple(word.strip() for word in synonyms.split(",") if word.strip()),
        imagenet=tuple(
            index
            for first, last in _IMAGENET_CLASSES.findall(classes)
            for index in range(int(first), int(last or first) + 1)
        ),
    )


if __name__ == "__main__":
    write_concepts(read_concepts())
