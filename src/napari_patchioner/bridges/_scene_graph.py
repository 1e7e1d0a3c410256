"""What a caption says, as things, their attributes and how they relate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Fact: TypeAlias = tuple[str, ...]

_IS = "is"
_NUMBERS = {
    "2": "two",
    "3": "three",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
}


@dataclass(frozen=True, slots=True)
class SceneGraph:
    """The graph of one caption; everything once, in the order of mention.

    Attributes
    ----------
    nodes : tuple of str
        The things that are named.
    attributes : tuple of (str, str)
        A node and what it is: ``("dog", "black")``.
    relations : tuple of (str, str, str)
        Two nodes and what links them: ``("dog", "catch", "ball")``.
    """

    nodes: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    relations: tuple[tuple[str, str, str], ...] = ()


class SceneGraphParser(Protocol):
    """Reads captions."""

    def parse(self, captions: Sequence[str]) -> list[SceneGraph]:
        """Return one graph per caption."""


def read_scene_graph(text: str) -> SceneGraph:
    """Read a graph in the notation of the FACTUAL parsers.

    Parameters
    ----------
    text : str
        ``( subject , predicate , object ) , ( ... )``. The predicate ``is`` gives an attribute,
        and so do pairs; a digit from 2 to 9 as the third part becomes a word. Where a fact has
        more than three parts the inner ones are the predicate. A single name is a graph of one
        node if it stands alone, and nothing otherwise.

    Returns
    -------
    SceneGraph
        Empty parts are left out, as are the facts they leave without a subject.

    Examples
    --------
    >>> graph = read_scene_graph("( pigs, is, 2), (pigs, fly on, sky )")
    >>> graph.nodes, graph.attributes, graph.relations
    (('pigs', 'sky'), (('pigs', 'two'),), (('pigs', 'fly on', 'sky'),))
    """
    facts = list(_facts(text))
    nodes: dict[str, None] = {}
    attributes: dict[tuple[str, str], None] = {}
    relations: dict[tuple[str, str, str], None] = {}
    for subject, *middle, last in (_spelled(fact) for fact in facts if len(facts) == 1 or fact[1:]):
        is_attribute = not middle or middle == [_IS]
        nodes |= dict.fromkeys(filter(None, [subject] if is_attribute else [subject, last]))
        if not (subject and last):
            continue
        if is_attribute:
            attributes[subject, last] = None
        else:
            relations[subject, " ".join(middle), last] = None
    return SceneGraph(tuple(nodes), tuple(attributes), tuple(relations))


def _spelled(fact: Fact) -> Fact:
    """Give a name on its own no attribute, and write the number of a triple as a word."""
    if len(fact) == 1:
        return (*fact, "")
    return (*fact[:2], _NUMBERS.get(fact[2], fact[2])) if len(fact) == 3 else fact


def _facts(text: str) -> Iterator[Fact]:
    """Split into facts and each fact into its parts."""
    for sign in "(),":
        text = text.replace(sign, f" {sign} ")
    for segment in " ".join(text.split()).split(") , ("):
        bare = segment.replace("(", "").replace(")", "")
        yield tuple(" ".join(part.split()) for part in bare.split(","))
