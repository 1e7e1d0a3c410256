"""Captions written as they are wished for, by decoders that may write anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from ._caption import Caption
from ._generate import generate
from ._tell import tell
from ._wish_search import MustGoals, Steering

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from ._language_model import Cache, Hypothesis, LanguageModel
    from ._wish_spelling import Spelling
    from ._wishes import Wishes

FEWEST_BEAMS = 4
"""A short caption is found among several, however few sentences are asked to be followed."""


SHARE_OF_LENGTH = 0.7
"""Length penalty where words are asked for: they cost every sentence, and a mean would favour long
ones, in which that shows less."""


@dataclass(frozen=True)
class Pen:
    """How one decoder writes.

    Attributes
    ----------
    spelling : Spelling
        Of its vocabulary.
    ends : sequence of int
        Tokens that end a sentence.
    encode : callable
        A phrase within a sentence, to tokens.
    text_of : callable
        Tokens to clean text.
    length_penalty, endings, bias
        As for `generate`.
    """

    spelling: Spelling
    ends: Sequence[int]
    encode: Callable[[str], list[int]]
    text_of: Callable[[Sequence[int]], str]
    length_penalty: float = 1.0
    endings: Literal["aside", "compete"] = "aside"
    bias: Tensor | None = None


def write_wished(
    model: LanguageModel[Cache],
    prefix: Tensor,
    pen: Pen,
    wishes: Wishes,
    *,
    max_tokens: int,
    beams: int,
    alternatives: int,
) -> list[Caption]:
    """Write a caption for every row of ``prefix`` that grants the wishes.

    Where no caption holds the words it must within ``max_tokens``, the best one without them is
    given and its ``problem`` says so; what may not be written is not written then either.

    Parameters
    ----------
    model, prefix, max_tokens, beams
        As for `generate`.
    pen : Pen
        How the decoder writes.
    wishes : Wishes
        What is wished.
    alternatives : int
        How many other captions to give; they grant the same wishes.

    Returns
    -------
    list of Caption
    """
    left = list(range(len(prefix)))
    captions = [Caption("", 0.0, problem="Nothing can be written without these words.")] * len(left)
    freed = replace(wishes.freed(), length=None, repetition=None)
    tries: dict[Wishes, str | None] = {wishes: None}
    tries |= {wishes.freed(): wishes.regret()} if wishes.must else {}
    tries.setdefault(freed, "No caption grants these wishes; this is the best one without.")
    for granted, problem in tries.items():
        if not left:
            break
        keep = 1 + alternatives
        rows = prefix[torch.tensor(left, device=prefix.device)]
        found = _search(model, rows, pen, granted, max_tokens=max_tokens, beams=beams, keep=keep)
        usable = [_distinct(one, pen, granted) for one in found]
        text_of = _dressed(pen, granted)
        for row, good in zip(left, usable, strict=True):
            if good:
                told = tell(good, text_of, alternatives=alternatives)
                captions[row] = replace(told, problem=problem)
        left = [row for row, good in zip(left, usable, strict=True) if not good]
    return captions


def _search(
    model: LanguageModel[Cache],
    prefix: Tensor,
    pen: Pen,
    wishes: Wishes,
    *,
    max_tokens: int,
    beams: int,
    keep: int,
) -> list[list[Hypothesis]]:
    """Run the loop with the wishes as its bias and goals."""
    goals = None
    if wishes.must:
        goals = MustGoals.of(wishes, pen.spelling, pen.encode)
        beams = max(2 * beams, goals.banks)
    if wishes.length in ("label", "phrase"):
        beams = max(beams, FEWEST_BEAMS)
    steering = Steering(wishes, pen.spelling, pen.ends, max_tokens, goals)
    return generate(
        model,
        prefix,
        end=pen.ends,
        max_tokens=steering.max_tokens,
        beams=beams,
        keep=min(beams, keep),
        length_penalty=min(pen.length_penalty, SHARE_OF_LENGTH if goals else 1.0),
        endings="aside" if goals else pen.endings,
        bias=pen.bias,
        constrain=steering,
        goals=goals,
        strict=True,
        gain=steering.gain,
    )


def _distinct(found: Sequence[Hypothesis], pen: Pen, wishes: Wishes) -> list[Hypothesis]:
    """Sentences that grant the wishes, no two of which read the same."""
    texts: dict[str, Hypothesis] = {}
    # Who wishes for a sentence, or for a word in it, is not served by one that was cut.
    whole = bool(wishes.length or wishes.must)
    for one in sorted(found, key=lambda one: whole and not one.ended):
        text = pen.text_of(one.tokens)
        if text and wishes.grants(text):
            texts.setdefault(text.casefold().strip(" ."), one)
    if texts or wishes.must or wishes.length:
        return list(texts.values())
    return [one for one in found if not pen.text_of(one.tokens)][:1]


def _dressed(pen: Pen, wishes: Wishes) -> Callable[[Sequence[int]], str]:
    return lambda tokens: wishes.dress(pen.text_of(tokens))
