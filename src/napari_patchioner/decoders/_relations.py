"""Which plain relation holds between two things, as far as many people's sentences agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._describe import GROUNDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._concepts import Concept


ANYTHING = "anything"
"""Stands for the kind of whatever has no relation of its own."""


@dataclass(frozen=True)
class Relations:
    """A table learned from text: "a boat" is "on" "the water".

    Attributes
    ----------
    pairs : mapping
        ``(name, name) -> relation``.
    kinds : mapping
        ``(kind, name) -> relation``, where the pair itself is too rare; the kind may be
        `ANYTHING`.
    determiners : mapping
        ``name -> "a", "the" or ""``: what stands before the name after a relation of place.
    together : frozenset of (str, str)
        Names that people mention side by side, in alphabetical order.
    """

    pairs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    kinds: Mapping[tuple[str, str], str] = field(default_factory=dict)
    determiners: Mapping[str, str] = field(default_factory=dict)
    together: frozenset[tuple[str, str]] = frozenset()

    def between(self, one: Concept, other: Concept) -> str | None:
        """Relation of ``one`` to ``other``, or None where the text does not say."""
        if one.name == other.name:
            return None
        found = self.pairs.get((one.name, other.name))
        found = found or self.kinds.get((one.kind, other.name))
        if found or one.kind in GROUNDS:
            return found
        return self.kinds.get((ANYTHING, other.name))

    def seen_together(self, one: Concept, other: Concept) -> bool:
        """Whether people mention both in one breath."""
        return tuple(sorted((one.name, other.name))) in self.together

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dictionaries, for a file."""
        return {
            "pairs": [[*pair, relation] for pair, relation in sorted(self.pairs.items())],
            "kinds": [[*pair, relation] for pair, relation in sorted(self.kinds.items())],
            "determiners": dict(sorted(self.determiners.items())),
            "together": [list(pair) for pair in sorted(self.together)],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Relations:
        """Read what `to_json` gave."""
        return cls(
            pairs=_table(record["pairs"]),
            kinds=_table(record["kinds"]),
            determiners=dict(record["determiners"]),
            together=frozenset((one, other) for one, other in record["together"]),
        )


def _table(rows: Sequence[Sequence[str]]) -> dict[tuple[str, str], str]:
    return {(one, other): relation for one, other, relation in rows}
