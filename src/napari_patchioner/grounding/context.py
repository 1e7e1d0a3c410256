"""Wordings of a model in the order that suits a context which a person gives."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.backbones import TextTower
from napari_patchioner.bridges import BridgeOutput, unit_rows
from napari_patchioner.decoders import Caption, CaptionOptions, GroundedDecoder, TextRater
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.progress import Progress, no_progress

from .arguments import check_as_many, check_captioner, check_grid, check_regions, check_text
from .phrase import read_phrase, split_negative

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.regions import Region

Scores: TypeAlias = npt.NDArray[np.float64]

LONGEST = 500
"""Letters of a context that are read."""

# How much a cosine of one with the context weighs against the likelihood of a word.
_CLOSENESS = 8.0
# What a wording loses for each that the model prefers.
_RANK = 0.3
# So much nearer to the context than the model's own wording another one has to be, to come first.
_NEARER = 0.05
# What the model finds so many times less likely than its own wording never takes its place.
_MOST_TIMES = 4.0
# So likely is what settles a guess.
_SURE = 0.5
_PARTS = re.compile(r"[,;\n]+")
_LEAST = 1e-6


def context_parts(context: str) -> tuple[str, ...]:
    """Return the tags or sentences of a context, each once; underscores of names count as spaces.

    What is said not to be there is no context, nor is what has no letters.

    >>> context_parts("blood smear, malaria_stage-2 ,, blood smear")
    ('blood smear', 'malaria stage-2')
    >>> context_parts("!!!, 3, not a cup")
    ()
    """
    given = (part.replace("_", " ") for part in _PARTS.split(context[:LONGEST]))
    parts = (split_negative(part)[0] for part in given)
    return tuple(dict.fromkeys(part for part in parts if any(map(str.isalpha, part))))


def captions_in_context(
    captioner: Captioner,
    grid: FeatureGrid,
    regions: Sequence[Region],
    captions: Sequence[Caption],
    context: str,
    *,
    progress: Progress | None = None,
) -> list[Caption]:
    """Put the wordings of captions in the order that suits a context.

    Nothing is added to what the model has said: its caption and alternatives are ordered by how
    likely its decoder finds them and how near they lie to the context among sentences.

    Parameters
    ----------
    captioner : Captioner
        A model with a text tower, a ModelError otherwise. Where its decoder rates no texts, the
        order of the model stands for likelihood.
    grid : FeatureGrid
        The image, from ``captioner.encode``.
    regions : sequence of Region
        What the captions are about.
    captions : sequence of Caption
        One for each region, with alternatives; a ModelError where there are more or fewer.
    context : str
        Names, tags or a sentence, with commas between them, such as ``"kitchen, breakfast"``.
        Captions stay as they are where it is empty.
    progress : callable, optional
        Called with the fraction done, 0 to 1, and a message; may raise ``Cancelled``.

    Returns
    -------
    list of Caption
        With the same texts in another order. A score is that of the text that comes first.
    """
    check_captioner(captioner)
    check_grid(grid)
    check_regions(regions)
    check_as_many(captions, regions, "caption")
    check_text(context, "context")
    parts, progress = context_parts(context), progress or no_progress
    if not isinstance(captioner.backbone, TextTower):
        raise ModelError(
            f"{captioner.name} cannot compare its wordings with a context, since it has no text "
            "tower; leave the context empty, or choose a model that has one, such as mini."
        )
    if not parts or not any(caption.alternatives for caption in captions):
        return list(captions)
    progress(0.0, "ranking wordings")
    own = [list(dict.fromkeys([caption.text, *caption.alternatives])) for caption in captions]
    texts = list(dict.fromkeys(text for wordings in own for text in wordings))
    index = {text: place for place, text in enumerate(texts)}
    rows = unit_rows(captioner.backbone.embed_text([*texts, *parts]))
    closeness = np.asarray(rows[: len(texts)] @ rows[len(texts) :].T, float).max(axis=1)
    progress(0.3, "ranking wordings")
    output = captioner.project(grid, regions, CaptionOptions(no_close_up=True))
    likely = _likelihoods(captioner, output, texts)
    ranked = []
    for row, (caption, wordings) in enumerate(zip(captions, own, strict=True)):
        places = [index[text] for text in wordings]
        if isinstance(captioner.decoder, GroundedDecoder):
            # What it may say of a region was recognised, each name by itself.
            rates = np.array([_recognised(text, caption) for text in wordings])
        else:
            rates = likely[row, places]
        best = np.nanmax(rates) if np.isfinite(rates).any() else 0.0
        rates = np.where(np.isnan(rates), best, rates)
        near = closeness[places]
        merits = rates - _RANK * np.arange(len(rates)) + _CLOSENESS * near
        # A context that speaks of none of them decides nothing, nor does it settle a doubt.
        guesses = [
            nearness
            for nearness, text in zip(near[1:], wordings[1:], strict=True)
            if caption.text.endswith("?") and read_phrase(text).thing in caption.text
        ]
        same = np.zeros(len(wordings), bool)
        if isinstance(captioner.decoder, GroundedDecoder):
            # Any few words lie nearer to a context than many: "a cat" says less than "a cat on a
            # sofa", and nothing else.
            things = [read_phrase(text).thing for text in wordings]
            same = np.array([own == things[0] for own in things])
        usual = float(np.mean(guesses)) if guesses else float(max([near[0], *near[same]]))
        behind = merits[0] - _RANK * np.arange(len(merits))
        is_far = near < usual + _NEARER
        is_rare = rates < rates[0] - math.log(_MOST_TIMES)
        merits = np.where(is_far | is_rare | same, np.minimum(merits, behind), merits)
        order = np.argsort(-merits, kind="stable")
        if caption.text.endswith("?") and not _is_settled(wordings[order[0]], caption, parts):
            # What is likely enough beside it stays a guess, whatever the image is about.
            order = np.concatenate([[0], order[order != 0]])
        text, *others = (wordings[place] for place in order)
        # Another wording is never trusted more than the one that came first.
        score = caption.score
        if text != caption.text and not math.isnan(score):
            score = max(min(math.exp(min(rates[order[0]], 0.0)), score), _LEAST)
        ranked.append(replace(caption, text=text, score=score, alternatives=tuple(others)))
    progress(1.0, "done")
    return ranked


def _likelihoods(captioner: Captioner, output: BridgeOutput, texts: Sequence[str]) -> Scores:
    """Mean log-probability of a word of each text, (n, texts); NaN where nobody rates it."""
    decoder = captioner.decoder
    if not isinstance(decoder, TextRater):
        return np.full((len(output.vectors), len(texts)), np.nan)
    lengths = np.array([1 + len(text.split()) for text in texts])
    sums = decoder.log_likelihoods(output.vectors, texts, evidence=output.evidence)
    return np.asarray(sums / lengths, float)


def _is_settled(text: str, caption: Caption, parts: Sequence[str]) -> bool:
    """Whether a text may take the place of a guess: it is likely, or the context names it."""
    if text.endswith("?"):
        return True
    thing = read_phrase(text).thing
    named = {word for part in parts for word in re.findall(r"\w+", part.casefold())}
    return thing.casefold() in named or dict(caption.concepts).get(thing, 0.0) >= _SURE


def _recognised(text: str, caption: Caption) -> float:
    """How likely the name that a text begins with is, as a logarithm; NaN where nobody knows."""
    chance = dict(caption.concepts).get(read_phrase(text).thing, math.nan)
    return math.log(max(chance, _LEAST)) if not math.isnan(chance) else math.nan
