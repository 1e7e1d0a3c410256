"""What a caption says, as things, their attributes and how they relate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
_NUMBERS = {str(number): word for number, word in enumerate(_WORDS, 2)}


@dataclass(frozen=True, slots=True)
class SceneGraph:
    """The graph of one caption; everything once, in the order of mention.

    ``attributes`` pair a node with what it is, ``("dog", "black")``; ``relations`` link two nodes,
    ``("dog", "catch", "ball")``.
    """

    nodes: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    relations: tuple[tuple[str, str, str], ...] = ()


class SceneGraphParser(Protocol):
    """Parses captions."""

    def parse(self, captions: Sequence[str]) -> list[SceneGraph]:
        """Return one graph per caption."""


def read_scene_graph(text: str) -> SceneGraph:
    """Read a graph in the notation of the FACTUAL parsers.

    ``( subject , predicate , object ) , ( ... )``. The predicate ``is`` gives an attribute, and so
    do pairs; a digit from 2 to 9 as the third part becomes a word. Where a fact has more than three
    parts the inner ones are the predicate. A single name is a graph of one node if it stands alone,
    and nothing otherwise. Empty parts are left out, as are the facts they leave without a subject.

    Examples
    --------
    >>> graph = read_scene_graph("( pigs, is, 2), (pigs, fly on, sky )")
    >>> graph.nodes, graph.attributes, graph.relations
    (('pigs', 'sky'), (('pigs', 'two'),), (('pigs', 'fly on', 'sky'),))
    """
    for sign in "(),":
        text = text.replace(sign, f" {sign} ")
    facts = [
        tuple(
            " ".join(item.split()) for item in segment.replace("(", "").replace(")", "").split(",")
        )
        for segment in " ".join(text.split()).split(") , (")
    ]
    nodes: dict[str, None] = {}
    attributes: dict[tuple[str, str], None] = {}
    relations: dict[tuple[str, str, str], None] = {}
    for fact in facts:
        if len(fact) == 1 and len(facts) > 1:
            continue
        subject, *middle, last = fact if len(fact) > 1 else (*fact, "")
        if len(fact) == 3:
            last = _NUMBERS.get(last, last)
        is_attribute = not middle or middle == ["is"]
        nodes |= dict.fromkeys(filter(None, [subject] if is_attribute else [subject, last]))
        if not (subject and last):
            continue
        if is_attribute:
            attributes[subject, last] = None
        else:
            relations[subject, " ".join(middle), last] = None
    return SceneGraph(tuple(nodes), tuple(attributes), tuple(relations))
