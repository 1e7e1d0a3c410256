"""What can be named and measured, the tokens for it, and the little English grammar it needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ModelError

# Colour words, in the order of a vector's colour strengths.
COLOURS = (
    *("black", "white", "gray", "red", "orange", "yellow"),
    *("green", "blue", "purple", "pink", "brown"),
)

LIGHT = ("dark", "bright")
TEXTURES = ("smooth", "striped", "grainy", "textured", "spotted")
ADJECTIVES = (*COLOURS, *LIGHT, *TEXTURES)

# Keys of `Evidence.attributes`, in the order in which they follow the text vector.
ATTRIBUTES = (*ADJECTIVES, "plural")
# From this strength on an attribute is mentioned.
STRONG = 0.5
# What exists but once: "the sky" wherever it stands.
UNIQUE = ("sky", "sun", "moon", "ocean")
# Kinds that things are in, on or in front of, rather than beside or with.
SURROUNDINGS = ("stuff", "scene", "building")
PADDING, END = "<pad>", "<end>"
DETERMINERS = ("a", "the")
QUANTITIES = ("several", "a group of")
JOINS = ("and", "with")
PLACES = ("on", "in", "at", "near", "under", "over", "in front of", "of")
RELATIONS = (*JOINS, *PLACES)

# Words whose first letter misleads.
_VOWEL_SOUNDS = ("hour",)
_CONSONANT_SOUNDS = ("uni", "use", "usu", "uri", "ute", "euro", "one")


@dataclass(frozen=True, slots=True)
class Concept:
    """A thing the embedded model can name.

    ``name`` is the noun as a caption has it, singular where it can be counted, ``plural`` the name
    itself where there is none; ``mass`` says whether it goes without an article ("grass", "skis");
    ``kind`` is its group ("person", "animal"...); ``synonyms`` are known in text, never generated;
    ``imagenet`` are the ImageNet-1k classes it stands for.
    """

    name: str
    plural: str
    mass: bool
    kind: str
    synonyms: tuple[str, ...] = ()
    imagenet: tuple[int, ...] = ()


def load_concepts(path: Path) -> list[Concept]:
    """Read ``concepts.json``."""
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


def load_embeddings(path: Path) -> npt.NDArray[np.float16]:
    """Read the concepts' text embeddings, shape (concepts, d)."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        embeddings: npt.NDArray[np.float16] = load_file(path)["concept_embeddings"]
        if not np.isfinite(embeddings).all():
            raise ValueError("numbers that are not finite")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(
            f"{path} does not hold the concepts' embeddings ({error}); install the package again."
        ) from error
    return embeddings


class Words:
    """Tokens of captions and what each of them stands for.

    The name of a thing is one token however it is spelt ("tennis racket"), so that a caption can
    never slip from an allowed name into another thing ("hot dog" into "dog"), and a constraint on
    names is a constraint on single tokens. The order is fixed: padding, end, determiners,
    quantities, relations, adjectives, then a name and, where it differs, a plural for each
    concept.
    """

    def __init__(self, concepts: Sequence[Concept]) -> None:
        self.concepts = tuple(concepts)
        self.tokens = [PADDING, END, *DETERMINERS, *QUANTITIES, *RELATIONS, *ADJECTIVES]
        self.function_words = len(self.tokens)
        # A name may be spelt like a function word ("orange"): nouns have no part in this table.
        self._ids = {word: index for index, word in enumerate(self.tokens)}
        self.names: list[int] = []
        self.plurals: list[int] = []
        for concept in self.concepts:
            self.names.append(len(self.tokens))
            self.tokens.append(concept.name)
            if concept.plural != concept.name:
                self.tokens.append(concept.plural)
            self.plurals.append(len(self.tokens) - 1)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def concept_of(self) -> npt.NDArray[np.int64]:
        """The concept each token names, -1 for the others; shape (len(self),)."""
        owners = np.full(len(self), -1, np.int64)
        for concept, (name, plural) in enumerate(zip(self.names, self.plurals, strict=True)):
            owners[[name, plural]] = concept
        return owners

    def id(self, word: str) -> int:
        """Token of a function word or adjective; ModelError if it is neither."""
        try:
            return self._ids[word]
        except KeyError as error:
            raise ModelError(f"{word!r} is no word of this vocabulary; choose another.") from error

    def text(self, tokens: Sequence[int]) -> str:
        """Spell tokens; the end token and what follows is left out, articles are made to agree.

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

    def pieces(self) -> list[bytes]:
        """Return what each token adds to a text; padding and the end add nothing."""
        return [b"", b"", *(f" {word}".encode() for word in self.tokens[2:])]

    def encode(self, phrase: str) -> list[int]:
        """Spell a phrase in tokens; ModelError if there is no word for a part of it."""
        rest = ["a" if word == "an" else word for word in phrase.split()]
        longest = max((len(name.split()) for name in self._name_ids), default=1)
        tokens: list[int] = []
        while rest:
            for length in range(min(longest, len(rest)), 0, -1):
                word = " ".join(rest[:length])
                # "orange" is a fruit at the end of a phrase, a colour elsewhere.
                tables = (self._ids, self._name_ids)
                first, second = tables[::-1] if length == len(rest) else tables
                token = first.get(word, second.get(word))
                if token is not None:
                    break
            else:
                raise self._unknown(" ".join(rest) if not tokens else rest[0])
            tokens.append(token)
            rest = rest[length:]
        return tokens

    @cached_property
    def _name_ids(self) -> dict[str, int]:
        """Token of every name and plural; the first where several are spelt alike."""
        ids: dict[str, int] = {}
        for token in range(self.function_words, len(self)):
            ids.setdefault(self.tokens[token], token)
        return ids

    def _unknown(self, word: str) -> ModelError:
        for concept in reversed(self.concepts):
            if word in concept.synonyms:
                return ModelError(
                    f"This model says '{concept.name}' for '{word}'; ask for that word instead."
                )
        return ModelError(
            f"This model does not know the word '{word}'; ask for one of the "
            f"{len(self.concepts)} things it can name or choose another model."
        )


def fits(adjective: str, concept: Concept) -> bool:
    """Whether an adjective suits a thing: no coloured people, no striped roads.

    >>> fits("red", Concept("bus", "buses", False, "vehicle"))
    True
    >>> fits("red", Concept("person", "people", False, "person"))
    False
    """
    if adjective in concept.name.split():
        return False
    if adjective in COLOURS:
        return concept.kind not in ("person", "scene")
    if adjective in LIGHT:
        return concept.kind in ("scene", "stuff", "building")
    if adjective in ("striped", "spotted"):
        return concept.kind in ("animal", "clothing", "furniture") and concept.name != "zebra"
    return concept.kind in ("building", "stuff")


def fitting_adjectives(attributes: Mapping[str, float], concept: Concept) -> tuple[str, ...]:
    """Adjectives strong enough for a thing: at most two colours, else a single word."""
    strong = [
        word for word in ADJECTIVES if attributes.get(word, 0.0) >= STRONG and fits(word, concept)
    ]
    by_strength = sorted(strong, key=lambda word: -attributes[word])
    colours = by_strength[:2]
    if all(word in COLOURS for word in colours):
        return tuple(sorted(colours, key=ADJECTIVES.index))
    return tuple(by_strength[:1])


def is_plural(attributes: Mapping[str, float], concept: Concept) -> bool:
    """Whether the region holds more than one of something that can be counted."""
    countable = not concept.mass and concept.kind not in ("scene", "stuff")
    return countable and attributes.get("plural", 0.0) >= STRONG


def article(words: str) -> str:
    """Return ``"a"`` or ``"an"``, whichever the first of these words takes.

    >>> article("umbrella"), article("uniform"), article("hourglass"), article("red apple")
    ('an', 'a', 'an', 'a')
    """
    word = words.lower()
    if word.startswith(_VOWEL_SOUNDS):
        return "an"
    if word.startswith(_CONSONANT_SOUNDS):
        return "a"
    return "an" if word[:1] in set("aeiou") else "a"


def with_article(noun: str, *, mass: bool = False) -> str:
    """Put the indefinite article before a noun that takes it.

    >>> with_article("orange"), with_article("grass", mass=True)
    ('an orange', 'grass')
    """
    return noun if mass else f"{article(noun)} {noun}"


def correct_articles(words: list[str]) -> list[str]:
    """Make every "a" and "an" agree with the word after it.

    >>> " ".join(correct_articles("a orange on an plate".split()))
    'an orange on a plate'
    """
    followers = [*words[1:], ""]
    return [
        article(after) if word in ("a", "an") and after else word
        for word, after in zip(words, followers, strict=False)
    ]
