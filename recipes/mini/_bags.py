"""Training pairs for the embedded decoder: a vector such as a region might give, and a phrase."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_patchioner.decoders.grounded.vocabulary import (
    ADJECTIVES,
    ATTRIBUTES,
    fits,
    fitting_adjectives,
    is_plural,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from .corpus import Mention
    from .phrases import Writer

    Floats = npt.NDArray[np.float32]

NAMED = 0.4
"""A thing this heavy, the heaviest weighing 1, is named."""

UNNAMED = 0.28
"""One this light is not; between the two the decoder may do as it likes."""


class Bag(NamedTuple):
    """What a region could hold.

    ``things`` and their ``weights``, heaviest first, are named; ``noise`` is not.
    """

    things: list[int]
    weights: list[float]
    noise: dict[int, float]
    attributes: dict[str, float]


class BagSampler:
    """Draws bags: from captions, from single things, and from pairs that go together.

    Parameters
    ----------
    writer : Writer
        Turns bags into phrases.
    embeddings : ndarray of float32, shape (concepts, d)
        Of unit length, in the order of the writer's concepts.
    sentences : sequence of sequences of Mention
        Captions that were read.
    seed : int
        Two samplers with the same seed draw the same bags.
    """

    def __init__(
        self,
        writer: Writer,
        embeddings: Floats,
        sentences: Sequence[Sequence[Mention]],
        *,
        seed: int = 0,
    ) -> None:
        self.writer = writer
        self.embeddings = embeddings
        self.sentences = [sentence for sentence in sentences if sentence]
        self.random = np.random.default_rng(seed)
        self._concepts = writer.words.concepts
        self._partners = _partners(writer)
        self._rivals = _rivals(writer, embeddings)

    def draw(self) -> Bag:
        """Draw one bag."""
        source = self.random.random()
        said: dict[str, float] = {}
        if source < 0.45:
            things, said = self._from_caption()
        elif source < 0.7:
            things = [int(self.random.integers(len(self._concepts)))]
        else:
            things = self._from_partners()
        if len(things) > 1 and self.random.random() < 0.4:
            self.random.shuffle(things)
        weights = [1.0, *sorted(self.random.uniform(NAMED, 1.0, len(things) - 1), reverse=True)]
        return Bag(things, weights, self._noise(things), self._attributes(things[0], said))

    def vector(self, bag: Bag) -> Floats:
        """Turn a bag into the decoder's input: noisy unit mixture, then attribute strengths."""
        indices = [*bag.things, *bag.noise]
        weights = np.array([*bag.weights, *bag.noise.values()], np.float32)
        mixture = weights @ self.embeddings[indices]
        mixture /= np.linalg.norm(mixture)
        spread = self.random.uniform(0.0, 0.012)
        mixture = mixture + self.random.normal(0.0, spread, mixture.shape)
        strengths = [bag.attributes.get(name, 0.0) for name in ATTRIBUTES]
        return np.concatenate([mixture / np.linalg.norm(mixture), strengths]).astype(np.float32)

    def phrase(self, bag: Bag) -> list[int]:
        """Return the tokens to be learnt for a bag."""
        head = self._concepts[bag.things[0]]
        return self.writer.write(
            bag.things,
            adjectives=fitting_adjectives(bag.attributes, head),
            plural=is_plural(bag.attributes, head),
        )

    def _from_caption(self) -> tuple[list[int], dict[str, float]]:
        """Up to three neighbours of one caption, with what it says of the first."""
        sentence = self.sentences[int(self.random.integers(len(self.sentences)))]
        first = int(self.random.integers(len(sentence)))
        size = int(self.random.choice([1, 2, 3], p=[0.25, 0.4, 0.35]))
        part = sentence[first : first + size]
        said = {colour: self._strong() for colour in part[0].colours}
        if part[0].plural:
            said["plural"] = self._strong()
        return list(dict.fromkeys(mention.concept for mention in part)), said

    def _from_partners(self) -> list[int]:
        """Return two or three things, mostly ones that have a relation."""
        thing = int(self.random.integers(len(self._concepts)))
        partners = self._partners[thing]
        things = [thing]
        for _ in range(int(self.random.integers(1, 3))):
            known = len(partners) and self.random.random() < 0.75
            other = self.random.choice(partners) if known else self._any()
            if int(other) not in things:
                things.append(int(other))
        return things

    def _noise(self, things: Sequence[int]) -> dict[int, float]:
        """Draw what the eye also thinks of, lightly; and rivals of the first, more heavily."""
        noise = {
            self._any(): float(self.random.uniform(0.0, UNNAMED))
            for _ in range(int(self.random.integers(0, 5)))
        }
        rivals = self._rivals[things[0]]
        if len(rivals) and self.random.random() < 0.3:
            noise[int(self.random.choice(rivals))] = float(self.random.uniform(0.1, 0.8))
        return {thing: weight for thing, weight in noise.items() if thing not in things}

    def _attributes(self, head: int, said: dict[str, float]) -> dict[str, float]:
        """Strong where it is to be said, weak or absent where not."""
        attributes = dict(said)
        fitting = [word for word in ADJECTIVES if fits(word, self._concepts[head])]
        count = int(self.random.choice([0, 1, 2], p=[0.6, 0.3, 0.1])) if not said else 0
        for word in self.random.permutation(fitting)[:count]:
            attributes[str(word)] = self._strong()
        if not said and self.random.random() < 0.15:
            attributes["plural"] = self._strong()
        for name in ATTRIBUTES:
            if name not in attributes and self.random.random() < 0.15:
                attributes[name] = float(self.random.uniform(0.0, 0.4))
        return attributes

    def _any(self) -> int:
        return int(self.random.integers(len(self._concepts)))

    def _strong(self) -> float:
        return float(self.random.uniform(0.5, 1.0))


def _partners(writer: Writer) -> list[list[int]]:
    """Things each thing has a relation to, or from."""
    concepts = writer.words.concepts
    partners: list[list[int]] = [[] for _ in concepts]
    for one in range(len(concepts)):
        for other in range(len(concepts)):
            if one != other and writer.relation(one, other):
                partners[one].append(other)
                if writer.relations.mentioned_together(concepts[one], concepts[other]):
                    partners[other].append(one)
    return partners


def _rivals(writer: Writer, embeddings: Floats) -> list[list[int]]:
    """Things a thing may be mistaken for: of its kind, alike in name, not seen beside it."""
    concepts, relations = writer.words.concepts, writer.relations
    alike = embeddings @ embeddings.T
    return [
        [
            int(other)
            for other in np.argsort(-alike[one])[1:9]
            if concepts[other].kind == concepts[one].kind
            and not relations.mentioned_together(concepts[one], concepts[other])
        ]
        for one in range(len(concepts))
    ]
