"""The embedded model's decoder: a small language model that may only say what was seen."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_patchioner.errors import ModelError

from ._caption import Caption, Evidence
from ._concepts import ADJECTIVES, ATTRIBUTES, Concept, load_concepts, load_embeddings
from ._generate import generate
from ._gpt import PrefixGPT
from ._grounded_writing import GroundedPen
from ._grounding import GroundedGrammar, Grounds
from ._hedge import hedge, named
from ._relations import Relations
from ._selection import Selection
from ._tell import tell
from ._words import END, PLACES, QUANTITIES, Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from ._language_model import Hypothesis
    from ._wishes import Wishes

    Floats = npt.NDArray[np.float32]

CLOSENESS = 5.0
"""What similarity to the region counts against one unit of mean log-probability."""

DETAIL = 0.3
"""What each measured adjective or number counts, and each place people agree on."""

COMPANY = 1.0
"""What each thing counts that has grounds and is named."""

WISH = 2.0
"""Log-odds added to measured adjectives and numbers, so that beams do not lose them."""


WORTH_SAYING = 0.05
"""A candidate below this share of the first one's probability is no alternative caption."""


class GroundedDecoder:
    """Writes captions in which every name and adjective has evidence.

    Parameters
    ----------
    model : PrefixGPT
        Reads ``[text vector | attribute strengths]``, writes tokens of the vocabulary.
    concepts : sequence of Concept
        What can be named.
    embeddings : ndarray of float32, shape (concepts, d)
        Their text embeddings, of unit length.
    relations : Relations
        Which plain relations hold between which things.

    Raises
    ------
    ModelError
        If the parts do not belong together.
    """

    def __init__(
        self,
        model: PrefixGPT,
        concepts: Sequence[Concept],
        embeddings: Floats,
        relations: Relations,
    ) -> None:
        self.model = model
        self.words = Words(concepts)
        self.embeddings = np.asarray(embeddings, np.float32)
        self.selection = Selection(self.words, relations, self.embeddings)
        self.grammar = GroundedGrammar(self.words, relations)
        self._concepts = {concept.name: concept for concept in concepts}
        measured = [self.words.id(word) for word in (*ADJECTIVES, *QUANTITIES)]
        self._details = {*measured, *(self.words.id(word) for word in PLACES)}
        self.leaning = torch.zeros(len(self.words))
        self.leaning[measured] = WISH
        dim = self.embeddings.shape[1] + len(ATTRIBUTES)
        if len(self.words) != model.vocab_size or dim != model.config.prefix_dim:
            raise ModelError(
                f"The decoder knows {model.vocab_size} tokens and reads vectors of length "
                f"{model.config.prefix_dim}, but these concepts make {len(self.words)} and {dim}; "
                "use files that were made together."
            )

    @classmethod
    def open(cls, folder: str | Path) -> GroundedDecoder:
        """Read ``concepts.json``, ``text.safetensors``, ``decoder.json``, ``decoder.safetensors``.

        Raises
        ------
        ModelError
            If a file is missing, damaged, or made with other concepts than the rest.
        """
        folder = Path(folder)
        concepts = load_concepts(folder / "concepts.json")
        embeddings = load_embeddings(folder / "text.safetensors")
        try:
            record = json.loads((folder / "decoder.json").read_text("utf8"))
            trained_with, relations = record["concepts"], Relations.from_json(record["relations"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{folder / 'decoder.json'} cannot be read ({error}); install the package again."
            ) from error
        if trained_with != [concept.name for concept in concepts]:
            raise ModelError(
                f"The decoder in {folder} was trained with other concepts; train it again."
            )
        return cls(PrefixGPT.open(folder / "decoder.safetensors"), concepts, embeddings, relations)

    def decode(
        self,
        vectors: Floats,
        *,
        max_tokens: int = 30,
        beams: int = 4,
        alternatives: int = 0,
        evidence: Sequence[Evidence] | None = None,
        wishes: Wishes | None = None,
    ) -> list[Caption]:
        """Write one caption per row, all rows together.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, d + attributes)
            Unit mixture of concept embeddings, then attribute strengths in the order of
            ``ATTRIBUTES``.
        max_tokens : int
            Longest caption in words, the end token included; a name is one word.
        beams : int
            Captions followed side by side.
        alternatives : int
            How many other captions to give.
        evidence : sequence of Evidence, optional
            What was seen; without it the language model may say anything it knows.
        wishes : Wishes, optional
            Unwanted names are ruled out before anything is chosen. What must be there is taken
            on a person's word. A label is a name alone; a sentence says no more than a phrase.

        Returns
        -------
        list of Caption
            For a region that is "sure", a phrase that names its first concept and nothing
            without evidence; a hedge where it is "unsure"; else the evidence's own text.

        Raises
        ------
        ModelError
            If there is not one evidence per row, or a word is wished for that the model does not
            know.
        """
        vectors = np.asarray(vectors, np.float32)
        if evidence is not None and len(evidence) != len(vectors):
            raise ModelError(
                f"There are {len(vectors)} vectors but {len(evidence)} evidences; give one each."
            )
        max_tokens = min(max_tokens, self.model.longest)
        if wishes is not None and wishes.steer:
            return self._pen.decode(
                vectors,
                evidence,
                wishes,
                max_tokens=max_tokens,
                beams=max(beams, 1),
                alternatives=alternatives,
            )
        if evidence is None:
            return self._plain(vectors, max_tokens, beams, alternatives)
        grounds = [self.grounds_of(one) for one in evidence]
        written = self._grounded(vectors, grounds, max_tokens, max(beams, 1))
        return [
            self.compose(one, vector, hypotheses, alternatives)
            for one, vector, hypotheses in zip(evidence, vectors, written, strict=True)
        ]

    @cached_property
    def _pen(self) -> GroundedPen:
        return GroundedPen(self)

    def grounds_of(self, evidence: Evidence) -> Grounds | None:
        """Return what may be said of a region for which a phrase has to be written."""
        return self.selection.grounds(evidence) if _free(evidence) else None

    def _plain(
        self, vectors: Floats, max_tokens: int, beams: int, alternatives: int
    ) -> list[Caption]:
        if not len(vectors):
            return []
        found = generate(
            self.model,
            torch.from_numpy(vectors),
            end=self.words.id(END),
            max_tokens=max_tokens,
            beams=beams,
            keep=beams,
        )
        return [tell(row, self.words.text, alternatives=alternatives) for row in found]

    def _grounded(
        self, vectors: Floats, grounds: Sequence[Grounds | None], max_tokens: int, beams: int
    ) -> list[list[Hypothesis]]:
        """Phrases for the rows that have grounds, nothing for the others."""
        rows = [row for row, ground in enumerate(grounds) if ground is not None]
        kept = [ground for ground in grounds if ground is not None]
        written: list[list[Hypothesis]] = [[] for _ in grounds]
        if not rows:
            return written
        found = generate(
            self.model,
            torch.from_numpy(vectors[rows]),
            end=self.words.id(END),
            max_tokens=max_tokens,
            beams=beams,
            keep=beams,
            bias=self.leaning,
            constrain=lambda places, tokens: self.grammar.mask(kept, places, tokens),
        )
        for row, hypotheses in zip(rows, found, strict=True):
            written[row] = [one for one in hypotheses if one.ended]
        return written

    def compose(
        self,
        evidence: Evidence,
        vector: Floats,
        hypotheses: Sequence[Hypothesis],
        alternatives: int,
    ) -> Caption:
        """Choose the caption and the others among phrases written and what was seen."""
        concepts = evidence.concepts[:3]
        others = [
            named(name, self._concepts)
            for name, weight in concepts
            if weight >= WORTH_SAYING * concepts[0][1]
        ]
        if evidence.verdict == "appearance" and evidence.text is not None:
            caption = Caption(text=evidence.text, score=evidence.score)
        elif evidence.verdict == "unsure" or not concepts:
            caption = Caption(text=hedge(concepts, self._concepts), score=evidence.score)
        elif not hypotheses:
            caption = Caption(text=others[0], score=evidence.score)
        else:
            weights = {self.selection.index.get(name, -1): p for name, p in evidence.concepts}
            ranked = sorted(hypotheses, key=lambda one: -self._merit(one, vector, weights))
            distinct = {frozenset(self._named(one)): one for one in reversed(ranked)}
            ranked = [one for one in ranked if one in distinct.values()]
            caption = tell(ranked, self.words.text, alternatives=len(ranked))
        texts = dict.fromkeys([*caption.alternatives, *others])
        texts.pop(caption.text, None)
        return replace(
            caption,
            score=evidence.score,
            alternatives=tuple(texts)[:alternatives],
            concepts=concepts,
            verdict=evidence.verdict,
        )

    def _merit(self, hypothesis: Hypothesis, vector: Floats, weights: dict[int, float]) -> float:
        """Likelihood of a phrase, and how near what it names is to the region's vector."""
        names = self._named(hypothesis)
        bag = np.array([weights.get(name, 0.0) for name in names]) @ self.embeddings[names]
        seen = vector[: len(bag)]
        size = float(np.linalg.norm(bag) * np.linalg.norm(seen))
        mean = sum(hypothesis.log_probabilities) / len(hypothesis.tokens)
        details = sum(token in self._details for token in hypothesis.tokens)
        close = float(bag @ seen) / size if size else 0.0
        return mean + DETAIL * details + COMPANY * len(names) + CLOSENESS * close

    def _named(self, hypothesis: Hypothesis) -> list[int]:
        """Concepts a phrase names, in its order."""
        concepts = [int(self.words.concept_of[token]) for token in hypothesis.tokens]
        return [concept for concept in concepts if concept >= 0]


def _free(evidence: Evidence) -> bool:
    """Whether a phrase has to be written: the region is sure, or has no text of its own."""
    if evidence.verdict == "appearance":
        return evidence.text is None
    return evidence.verdict == "sure"
