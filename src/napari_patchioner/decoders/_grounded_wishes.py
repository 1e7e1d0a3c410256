"""Wishes for the decoder that may only say what was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from ._concepts import ADJECTIVES
from ._grounding import Grounds
from ._wish_spelling import Spelling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._caption import Evidence
    from ._wishes import Wishes
    from ._words import Words

STILL_SURE = 0.5
"""With this share of what is left a name is said outright after a better one was ruled out."""


class GroundedLexicon:
    """Which words a vocabulary has for those that people wish for.

    Parameters
    ----------
    words : Words
        The vocabulary.
    """

    def __init__(self, words: Words) -> None:
        self.words = words
        # Padding and the end are spelt as nothing.
        self.spelling = Spelling([b"", b"", *(f" {one}".encode() for one in words.tokens[2:])])
        self._functions = {words.tokens[i]: i for i in range(2, words.function_words)}
        self._names: dict[str, int] = {}
        for token in range(words.function_words, len(words)):
            self._names.setdefault(words.tokens[token], token)
        self._synonyms = {s: one.name for one in words.concepts for s in one.synonyms}
        self._longest = max((len(name.split()) for name in self._names), default=1)

    def encode(self, phrase: str) -> list[int]:
        """Spell a phrase in tokens.

        Raises
        ------
        ModelError
            If the model has no word for a part of it.
        """
        rest = ["a" if word == "an" else word for word in phrase.split()]
        tokens: list[int] = []
        while rest:
            for length in range(min(self._longest, len(rest)), 0, -1):
                token = self._token(" ".join(rest[:length]), last=length == len(rest))
                if token is not None:
                    break
            else:
                raise self._unknown(" ".join(rest) if not tokens else rest[0])
            tokens.append(token)
            rest = rest[length:]
        return tokens

    def _token(self, word: str, *, last: bool) -> int | None:
        """Find a word; "orange" is a fruit at the end of a phrase, a colour elsewhere."""
        first, second = self._functions, self._names
        if last:
            first, second = second, first
        return first.get(word, second.get(word))

    def _unknown(self, word: str) -> ModelError:
        if word in self._synonyms:
            said = self._synonyms[word]
            return ModelError(f"This model says '{said}' for '{word}'; wish for that word instead.")
        return ModelError(
            f"This model does not know the word '{word}'; wish for one of the "
            f"{len(self.words.concepts)} things it can name or choose another model."
        )


def allowed(evidence: Evidence, wishes: Wishes) -> Evidence:
    """Return evidence without what may not be named, as probable as the rest now is."""
    left = tuple(one for one in evidence.concepts if not wishes.refuses(one[0]))
    attributes = {
        word: strength
        for word, strength in evidence.attributes.items()
        if word not in ADJECTIVES or not wishes.refuses(word)
    }
    evidence = replace(evidence, attributes=attributes)
    if len(left) == len(evidence.concepts):
        return evidence
    gone = sum(weight for name, weight in evidence.concepts if wishes.refuses(name))
    rest = max(1.0 - gone, 1e-6)
    shares = tuple((name, min(weight / rest, 1.0)) for name, weight in left)
    best = shares[0][1] if shares else 0.0
    if evidence.concepts[0] in left or evidence.verdict == "appearance":
        return replace(evidence, concepts=shares)
    return replace(
        evidence,
        concepts=shares,
        score=best,
        verdict="sure" if best >= STILL_SURE else "unsure",
    )


def wished_grounds(
    grounds: Grounds | None, evidence: Evidence, tokens: list[list[int]], words: Words
) -> Iterator[Grounds]:
    """Yield grounds that allow what must be said: beside what was seen, then by itself.

    Parameters
    ----------
    grounds : Grounds, optional
        What was seen, if anything may be named.
    evidence : Evidence
        For the strengths that were measured.
    tokens : list of list of int
        The wished phrases; what they name and describe is taken on a person's word.
    words : Words
        The vocabulary.
    """
    spoken = [token for phrase in tokens for token in phrase]
    things = tuple(
        dict.fromkeys(int(words.concept_of[t]) for t in spoken if words.concept_of[t] >= 0)
    )
    attributes = dict(evidence.attributes)
    attributes |= {
        words.tokens[t]: 1.0
        for t in spoken
        if words.tokens[t] in ADJECTIVES and t < words.function_words
    }
    plurals = {
        plural for name, plural in zip(words.names, words.plurals, strict=True) if name != plural
    }
    counted = {words.id(quantity) for quantity in ("several", "a group of")}
    if plurals.intersection(spoken) or counted.intersection(spoken):
        attributes["plural"] = 1.0
    if grounds is not None:
        both = tuple(dict.fromkeys([*grounds.things, *things]))
        yield Grounds(both, tuple(dict.fromkeys([*grounds.heads, *things])), attributes)
    if things:
        yield Grounds(things, things, attributes)


def wished_label(evidence: Evidence, tokens: list[list[int]], words: Words) -> str:
    """Name a region: what must be named, or else what was seen."""
    phrases = [" ".join(words.tokens[t] for t in phrase) for phrase in tokens]
    naming = [any(words.concept_of[t] >= 0 for t in phrase) for phrase in tokens]
    names = [phrase for phrase, is_name in zip(phrases, naming, strict=True) if is_name]
    describing = [phrase for phrase, is_name in zip(phrases, naming, strict=True) if not is_name]
    if not names and evidence.concepts:
        names = [evidence.concepts[0][0]]
    return " ".join([*describing, " and ".join(names)]).strip()
