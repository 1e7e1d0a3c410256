"""A vocabulary of whole words, in which the name of a thing is one word however it is spelt.

"tennis racket" is one token, so that a caption can never slip from an allowed name into another
thing ("hot dog" into "dog"), and a constraint on names is a constraint on single tokens.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.errors import ModelError

from ._concepts import ADJECTIVES, Concept
from ._grammar import correct_articles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

PADDING = "<pad>"
END = "<end>"
DETERMINERS = ("a", "the")
QUANTITIES = ("several", "a group of")
JOINS = ("and", "with")
PLACES = ("on", "in", "at", "near", "under", "over", "in front of", "of")
RELATIONS = (*JOINS, *PLACES)


class Words:
    """Tokens of captions and what each of them stands for.

    The order is fixed: padding, end, determiners, quantities, relations, adjectives, then a name
    and, where it differs, a plural for each concept.

    Parameters
    ----------
    concepts : sequence of Concept
        What can be named.
    """

    def __init__(self, concepts: Sequence[Concept]) -> None:
        self.concepts = tuple(concepts)
        function = (PADDING, END, *DETERMINERS, *QUANTITIES, *RELATIONS, *ADJECTIVES)
        self.tokens: list[str] = list(function)
        self.names: list[int] = []
        self.plurals: list[int] = []
        for concept in self.concepts:
            self.names.append(self._add(concept.name))
            same = concept.plural == concept.name
            self.plurals.append(self.names[-1] if same else self._add(concept.plural))
        self.function_words = len(function)

    def _add(self, name: str) -> int:
        # A name may look like a function word ("orange"): nouns are never looked up by spelling.
        self.tokens.append(name)
        return len(self.tokens) - 1

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.tokens[: self.function_words])}

    @cached_property
    def concept_of(self) -> npt.NDArray[np.int64]:
        """The concept each token names, -1 for the others; shape (len(self),)."""
        owners = np.full(len(self), -1, np.int64)
        for concept, (name, plural) in enumerate(zip(self.names, self.plurals, strict=True)):
            owners[[name, plural]] = concept
        return owners

    def id(self, word: str) -> int:
        """Token of a function word or adjective.

        Raises
        ------
        ModelError
            If it is neither.
        """
        try:
            return self._ids[word]
        except KeyError as error:
            raise ModelError(f"{word!r} is no word of this vocabulary; choose another.") from error

    def text(self, tokens: Sequence[int]) -> str:
        """Spell tokens; the end token and what follows is left out, articles are made to agree.

        Examples
        --------
        >>> words = Words([Concept("orange", "oranges", False, "food")])
        >>> words.text([words.id("a"), words.names[0], words.id("<end>")])
        'an orange'
        """
        spelt: list[str] = []
        for token in tokens:
            if self.tokens[token] == END:
                break
            if self.tokens[token] != PADDING:
                spelt.append(self.tokens[token])
        return " ".join(correct_articles(spelt))
