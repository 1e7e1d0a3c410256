"""Which relations captions agree on: counted votes, kept where the majority is clear."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from napari_patchioner.decoders.grounded.relations import ANYTHING, Relations
from napari_patchioner.decoders.grounded.vocabulary import PLACES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from napari_patchioner.decoders.grounded.vocabulary import Concept

    from .corpus import Mention

_Votes: TypeAlias = dict[tuple[str, str], "Counter[str]"]

# What holds for some things of a kind here does not hold for all.
_PARTICULAR = ("sky", "wall", "window", "mirror", "tower", "ceiling", "pole", "city", "airport")
_STAGES = ("stuff", "scene", "furniture", "building")
# Where anything that is there at all is "in" or "on".
_GROUNDS_TEXT = "grass snow dirt sand road street sidewalk floor field table bed"
_GROUNDS = frozenset(_GROUNDS_TEXT.split())


def count_relations(
    sentences: Iterable[Sequence[Mention]], concepts: Sequence[Concept]
) -> Relations:
    """Learn which relation joins which things, from sentences that were read.

    A pair needs three votes and a majority; what holds for a kind of thing, or for anything in a
    place everything can be in, needs more.
    """
    pairs: _Votes = {}
    kinds: _Votes = {}
    determiners: dict[str, Counter[str]] = {}
    together: Counter[tuple[str, str]] = Counter()
    stages = {concept.name for concept in concepts if concept.kind in _STAGES}
    for before, after in _neighbours(sentences):
        one, other = concepts[before.concept], concepts[after.concept]
        if one.name == other.name:
            continue
        together[_sorted_pair(one.name, other.name)] += 1
        if not _makes_sense(after.link, one, other):
            continue
        pairs.setdefault((one.name, other.name), Counter())[after.link] += 1
        if not other.name.endswith(_PARTICULAR):
            kinds.setdefault((one.kind, other.name), Counter())[after.link] += 1
        if other.kind == "scene" or other.name in _GROUNDS:
            kinds.setdefault((ANYTHING, other.name), Counter())[after.link] += 1
        if after.link in PLACES and not after.plural:
            determiners.setdefault(other.name, Counter())[after.determiner] += 1
    return Relations(
        pairs=_majority(pairs, votes=3, share=0.5, stages=stages),
        kinds=_majority(kinds, votes=5, share=0.6, stages=stages),
        determiners={
            name: votes.most_common(1)[0][0]
            for name, votes in determiners.items()
            if votes.total() >= 5
        },
        together=frozenset(pair for pair, times in together.items() if times >= 2),
    )


def _neighbours(
    sentences: Iterable[Sequence[Mention]],
) -> Iterable[tuple[Mention, Mention]]:
    for mentions in sentences:
        yield from pairwise(mentions)


def _makes_sense(relation: str, one: Concept, other: Concept) -> bool:
    """Leave out sentences read wrongly: only containers are "of", no person is in the sky."""
    if relation == "of":
        return one.kind == "container" and other.kind in ("food", "plant") and other.mass
    if relation in PLACES and other.kind == "person":
        return False
    if relation in PLACES and other.name in ("sky", "clouds", "sun"):
        return one.kind in ("vehicle", "animal", "sport") or one.name in ("clouds", "moon")
    if relation in ("on", "in", "at") and other.name.endswith("wall"):
        return one.kind in ("furniture", "appliance", "paper")
    return bool(relation)


def _majority(
    table: _Votes, *, votes: int, share: float, stages: Set[str]
) -> dict[tuple[str, str], str]:
    """Keep the pairs whose commonest relation is common enough.

    Before a place to be in, "in", "on" and "at" vote together.
    """
    kept: dict[tuple[str, str], str] = {}
    for pair, counts in table.items():
        inside = Counter({word: counts[word] for word in ("in", "on", "at") if word in counts})
        together = pair[1] in stages and inside.total() >= share * counts.total()
        relation, times = (inside if together else counts).most_common(1)[0]
        agreeing = inside.total() if together else times
        if agreeing >= votes and agreeing >= share * counts.total():
            kept[pair] = relation
    return kept


def _sorted_pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)
