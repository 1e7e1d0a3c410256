"""Grounded captions written as they are wished for."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ._caption import Caption
from ._generate import generate
from ._grounded_texts import reworded, without
from ._grounded_wishes import GroundedLexicon, allowed, wished_grounds, wished_label
from ._wish_search import MustGoals, Steering
from ._wish_writing import Pen, write_wished
from ._words import END

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from ._caption import Evidence
    from ._grounding import Grounds
    from ._language_model import Hypothesis
    from ._wishes import Wishes
    from .grounded import GroundedDecoder

    Floats = npt.NDArray[np.float32]

# More than there ever are: they are counted once the unwanted ones are gone.
_ALL = 99


class GroundedPen:
    """Writes for a `GroundedDecoder` where something is wished.

    What must be there is taken on a person's word and named beside what was seen, or alone; what
    may not be there is ruled out before anything is chosen, and the rest is as probable as it is
    without it.

    Parameters
    ----------
    decoder : GroundedDecoder
        Its model and grammar.
    """

    def __init__(self, decoder: GroundedDecoder) -> None:
        self.decoder = decoder
        self.lexicon = GroundedLexicon(decoder.words)

    def decode(
        self,
        vectors: Floats,
        evidence: Sequence[Evidence] | None,
        wishes: Wishes,
        *,
        max_tokens: int,
        beams: int,
        alternatives: int,
    ) -> list[Caption]:
        """Write one caption per row; see `GroundedDecoder.decode`."""
        if evidence is None:
            return self._plain(
                vectors, wishes, max_tokens=max_tokens, beams=beams, alternatives=alternatives
            )
        tokens = [self.lexicon.encode(phrase) for phrase in wishes.must]
        seen = [allowed(one, wishes) for one in evidence]
        options = [self._options(one, wishes, tokens) for one in seen]
        written: list[list[Hypothesis]] = [[] for _ in seen]
        for turn in range(max(map(len, options), default=0)):
            rows = [i for i, have in enumerate(options) if len(have) > turn and not written[i]]
            grounds = [options[row][turn] for row in rows]
            found = self._search(vectors[rows], grounds, wishes, max_tokens, beams)
            for row, hypotheses in zip(rows, found, strict=True):
                written[row] = hypotheses
        captions = [
            self._caption(*one, wishes, tokens, alternatives)
            for one in zip(evidence, seen, vectors, written, strict=True)
        ]
        failed = [row for row, caption in enumerate(captions) if caption is None]
        if failed and wishes.must:
            spare = self.decode(
                vectors[failed],
                [evidence[row] for row in failed],
                wishes.freed(),
                max_tokens=max_tokens,
                beams=beams,
                alternatives=alternatives,
            )
            for row, caption in zip(failed, spare, strict=True):
                captions[row] = replace(caption, problem=caption.problem or wishes.regret())
        return [
            _nothing(one) if caption is None else caption
            for one, caption in zip(evidence, captions, strict=True)
        ]

    def _plain(
        self, vectors: Floats, wishes: Wishes, *, max_tokens: int, beams: int, alternatives: int
    ) -> list[Caption]:
        """Write one caption per row without evidence."""
        words = self.decoder.words
        pen = Pen(self.lexicon.spelling, (words.id(END),), self.lexicon.encode, words.text)
        return write_wished(
            self.decoder.model,
            torch.from_numpy(vectors),
            pen,
            wishes,
            max_tokens=max_tokens,
            beams=beams,
            alternatives=alternatives,
        )

    def _options(self, seen: Evidence, wishes: Wishes, tokens: list[list[int]]) -> list[Grounds]:
        """Find what may be said, to be tried in turn; a label is not searched for."""
        if wishes.length == "label":
            return []
        grounds = self.decoder.grounds_of(seen)
        if not wishes.must:
            return [] if grounds is None else [grounds]
        return list(wished_grounds(grounds, seen, tokens, self.decoder.words))

    def _search(
        self,
        vectors: Floats,
        grounds: Sequence[Grounds],
        wishes: Wishes,
        max_tokens: int,
        beams: int,
    ) -> list[list[Hypothesis]]:
        """Whole phrases that grant the wishes, for rows that have grounds."""
        if not grounds:
            return []
        decoder, ends = self.decoder, (self.decoder.words.id(END),)
        goals, spelt = None, _before_agreeing(wishes)
        if wishes.must:
            goals = MustGoals.of(spelt, self.lexicon.spelling, self.lexicon.encode)
            beams = max(2 * beams, goals.banks)
        steering = Steering(
            spelt,
            self.lexicon.spelling,
            ends,
            max_tokens,
            goals,
            inner=lambda places, said: decoder.grammar.mask(grounds, places, said),
            length=False,
        )
        found = generate(
            decoder.model,
            torch.from_numpy(vectors),
            end=ends,
            max_tokens=max_tokens,
            beams=beams,
            keep=beams,
            bias=decoder.leaning,
            constrain=steering,
            goals=goals,
            strict=True,
        )
        text_of = decoder.words.text
        return [
            [one for one in row if one.ended and wishes.grants(text_of(one.tokens))]
            for row in found
        ]

    def _caption(
        self,
        evidence: Evidence,
        seen: Evidence,
        vector: Floats,
        hypotheses: Sequence[Hypothesis],
        wishes: Wishes,
        tokens: list[list[int]],
        alternatives: int,
    ) -> Caption | None:
        """Choose among what was written and what can be said anyway; None where nothing will do."""
        words = self.decoder.words
        concepts = [int(words.concept_of[t]) for phrase in tokens for t in phrase]
        told = seen
        if hypotheses or (wishes.length == "label" and max(concepts, default=-1) >= 0):
            wanted = {words.concepts[one].name: 0.0 for one in concepts if one >= 0}
            known = seen.concepts or tuple(wanted.items())
            told = replace(seen, concepts=known, verdict="sure", text=None)
        caption = self.decoder.compose(told, vector, hypotheses, _ALL)
        texts = [caption.text, *caption.alternatives]
        measured = told.verdict == "appearance" and told.text is not None
        if measured and wishes.refuses(caption.text):
            spellings = [one for phrase in wishes.never for one in wishes.spellings(phrase)]
            texts = [without(caption.text, spellings) or "", *texts]
        elif wishes.length == "label" and told.verdict == "sure":
            texts = [wished_label(told, tokens, words), *texts]
        texts = _granted(texts, wishes, measured)
        if not texts:
            return None
        return replace(
            caption,
            text=texts[0],
            alternatives=tuple(texts[1 : 1 + alternatives]),
            concepts=evidence.concepts[:3],
            verdict=seen.verdict,
        )


def _granted(texts: Sequence[str], wishes: Wishes, measured: bool) -> list[str]:
    """Texts at the wished length that grant the wishes, each once."""
    good: dict[str, None] = {}
    for text in texts:
        # The few words that make a sentence of it may be unwanted themselves.
        for form in (reworded(text, wishes.length, measured=measured), text):
            if form and wishes.grants(form):
                good.setdefault(form)
                break
    return list(good)


def _before_agreeing(wishes: Wishes) -> Wishes:
    """Spell "an orange" as the model does, before articles are made to agree."""
    return replace(
        wishes,
        must=[re.sub(r"\ban (?=\w)", "a ", phrase) for phrase in wishes.must],
        never=[re.sub(r"\ban (?=\w)", "a ", phrase) for phrase in wishes.never],
    )


def _nothing(evidence: Evidence) -> Caption:
    """Say nothing rather than an unwanted word."""
    problem = "Nothing can be said of this region without these words; take one back."
    return Caption(
        "", evidence.score, concepts=evidence.concepts[:3], verdict="unsure", problem=problem
    )
