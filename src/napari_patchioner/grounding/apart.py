"""Captions that tell regions of an image apart: each fits its own and not the others."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.backbones import TextTower
from napari_patchioner.bridges import BridgeOutput, PhraseReader, unit_rows
from napari_patchioner.bridges.appearance import AXES, clothed, without_skin
from napari_patchioner.decoders import (
    Caption,
    CaptionOptions,
    Evidence,
    GroundedDecoder,
    QuoteDecoder,
    TextRater,
)
from napari_patchioner.decoders.grounded import Description
from napari_patchioner.decoders.grounded.texts import with_length
from napari_patchioner.decoders.grounded.vocabulary import COLOURS, LIGHT
from napari_patchioner.errors import counted
from napari_patchioner.grids import PHOTOGRAPH, FeatureGrid
from napari_patchioner.progress import Progress, no_progress, part

from .arguments import check_as_many, check_captioner, check_grid, check_regions
from .phrase import NounPhrase, read_phrase
from .places import is_end, place_words, placed
from .sentence import kind_of, may_be

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.regions import Region

Scores: TypeAlias = npt.NDArray[np.float64]
Way: TypeAlias = Literal["", "as it was", "looks", "place", "partly"]

# A caption tells its region apart that fits it so many times better than any other.
CLEARLY = 1.5
# Beside how surely it leads back, how well it fits counts so much; and that it stays as it was.
_FIT, _KEPT, _DETAIL = 0.25, 0.1, 0.05
# What is left of the fit without what a caption says of colour, and of what is there too.
_OTHERWISE, _ABSENT, _UNNAMED = 0.05, 0.03, 0.02
# How much any colour of a region counts beside the one measured in its middle.
_ANY_COLOUR = 0.8
# Cosines differ by some hundredths.
_TEMPERATURE = 0.04
# Wordings asked of a decoder that has them.
_BEAMS, _WORDINGS = 8, 9
# What a model took so far for a thing may be one, whatever it said.
_LIKELY = 0.2
_WORDS = re.compile(r"[\w'-]+")
_MEASURED = (*COLOURS, *LIGHT, "striped", "spotted")


@dataclass(frozen=True, slots=True)
class DistinctCaption:
    """A caption of one region among others.

    Attributes
    ----------
    text : str
        What it says.
    score : float or None
        How far to trust that it is right and leads back to its region, 0 to 1; None where nobody
        knows.
    way : {"", "as it was", "looks", "place", "partly"}
        By what it is told apart: the caption did so before, by what the region shows, or by where
        it is and how large; from some of the others only, by what it shows; nothing where it is
        not told apart.
    others : int
        From how many other regions.
    """

    text: str
    score: float | None
    way: Way
    others: int

    @property
    def by(self) -> str:
        """How it came about, for provenance; empty where the text is as it was.

        >>> DistinctCaption("the left cup", 0.8, "place", 3).by
        'told apart from 3 others by place'
        """
        others = counted(self.others, "other")
        if self.way == "partly":
            return f"told apart from some of {others}"
        if self.way not in ("looks", "place"):
            return ""
        return f"told apart from {others}{' by place' if self.way == 'place' else ''}"


def alike(texts: Sequence[str]) -> list[list[int]]:
    """Return which captions say the same, or name the same thing, in groups of two and more.

    >>> alike(["a red cup", "a dog", "the cup on a table", "dog?"])
    [[0, 2], [1, 3]]
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for row, text in enumerate(texts):
        plain = " ".join(_WORDS.findall(text.casefold()))
        if plain:
            groups[read_phrase(plain).thing or plain].append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def perhaps_alike(text: str, persons: Sequence[str]) -> list[int]:
    """Return which captions of a person may name the thing of another caption.

    Their nouns are unknown, or not known to be a different thing; a guess names nothing.

    >>> perhaps_alike("a cow", ["my old heifer", "Bella", "a sofa", "heifer?"])
    [0, 1]
    """
    thing = read_phrase(text).thing
    if not kind_of(thing):
        return []
    return [
        row for row, said in enumerate(persons) if not said.endswith("?") and may_be(said, thing)
    ]


def distinct_captions(
    captioner: Captioner,
    grid: FeatureGrid,
    regions: Sequence[Region],
    captions: Sequence[Caption] | None = None,
    options: CaptionOptions | None = None,
    *,
    place: bool = True,
    vouched: Sequence[bool] | None = None,
    progress: Progress | None = None,
) -> list[DistinctCaption]:
    """Find for every region a caption that fits it and not the others.

    What the model can say of a region, in several wordings, is compared with what all regions show,
    and the wording is taken that leads back to its own most surely (self-retrieval). The embedded
    models say colours, numbers and what is beside, as far as they are sure of them; other models
    what their decoders say, rated by text tower and likelihood. Regions that look alike are told
    apart by where they are.

    Parameters
    ----------
    captioner : Captioner
        Any model; without a text tower or a decoder that rates texts, only places are said.
    grid : FeatureGrid
        The image, from ``captioner.encode``.
    regions : sequence of Region
        To be told apart from one another, such as a group of `alike` ones.
    captions : sequence of Caption, optional
        What they say now, one for each, or a ModelError; those of the model by default.
    options : CaptionOptions, optional
        What is asked of captions.
    place : bool
        Whether places are said where looks do not tell.
    vouched : sequence of bool, optional
        Which captions a person wrote or accepted, one for each: "my old heifer" may be a cow.
    progress : callable, optional
        Called with the fraction done, 0 to 1, and a message; may raise ``Cancelled``.

    Returns
    -------
    list of DistinctCaption
        One per region, in the same order.

    Examples
    --------
    >>> from napari_patchioner import load_model  # doctest: +SKIP
    >>> captioner = load_model("mini")  # doctest: +SKIP
    >>> grid = captioner.encode(image)  # doctest: +SKIP
    >>> [item.text for item in distinct_captions(captioner, grid, cups)]  # doctest: +SKIP
    ['a red cup', 'the left white cup', 'the right white cup']
    """
    check_captioner(captioner)
    check_grid(grid)
    check_regions(regions)
    if captions is not None:
        check_as_many(captions, regions, "caption")
    if vouched is not None:
        check_as_many(vouched, regions, "mark of a person's caption")
    options, progress = options or CaptionOptions(), progress or no_progress
    if captions is None:
        captions = captioner.caption(grid, regions, options, progress=part(progress, 0.0, 0.6))
    if len(regions) < 2:
        return [DistinctCaption(c.text, _known(c.score), "as it was", 0) for c in captions]
    progress(0.6, "telling regions apart")
    members = _Members(captions, vouched or [False] * len(regions))
    # What is small was looked at when it was captioned.
    quick = replace(options, no_close_up=True, union=False)
    is_server = isinstance(captioner.decoder, QuoteDecoder)
    if is_server and not isinstance(captioner.backbone, TextTower):
        # What only quotes has nothing to compare regions by.
        pools = [[_Wording(caption.text, np.zeros(len(regions)))] for caption in captions]
    elif _is_grounded(captioner, grid, output := captioner.project(grid, regions, quick)):
        pools = _described(captioner, grid, regions, captions, output, options, members)
    else:
        pools = _compared(captioner, grid, regions, captions, output, quick)
    progress(0.9, "telling regions apart")
    shown = [region.for_image(*grid.transform.image_shape) for region in regions]
    said = Counter(caption.text for caption in captions)
    pools = [[members.levelled(wording, row) for wording in pool] for row, pool in enumerate(pools)]
    distinct = [
        DistinctCaption(caption.text, _known(caption.score), "as it was", len(regions) - 1)
        # What was measured, and of no other region so, is true of it alone.
        if caption.verdict == "appearance" and said[caption.text] == 1
        else _chosen(row, caption, pool, shown, options, members if place else None)
        for row, (caption, pool) in enumerate(zip(captions, pools, strict=True))
    ]
    # What was seen in several of them tells none of these from the others.
    texts = Counter(item.text for item in distinct)
    distinct = [
        replace(item, way="partly") if item.way == "looks" and texts[item.text] > 1 else item
        for item in distinct
    ]
    progress(1.0, "done")
    return distinct


@dataclass(frozen=True, slots=True)
class _Wording:
    """A text, how well it fits each region (as logarithms), and how many details it has."""

    text: str
    fits: Scores
    details: int = 0
    good: float = 0.0


class _Members:
    """Which regions are called the same, or may be the same, by what is said of them already."""

    def __init__(self, captions: Sequence[Caption], vouched: Sequence[bool]) -> None:
        self._captions, self._vouched = captions, vouched
        self._phrases = [read_phrase(caption.text) for caption in captions]
        # "Rock or elephant?" is no elephant for certain; a person's words are no guess of a model.
        self._is_sure = [
            (caption.verdict != "unsure" or known) and not caption.text.endswith("?")
            for caption, known in zip(captions, vouched, strict=True)
        ]

    def levelled(self, wording: _Wording, row: int) -> _Wording:
        """Return a wording that fits those as well that are said to be no less already."""
        said = read_phrase(wording.text)
        fits = wording.fits.copy()
        for other, phrase in enumerate(self._phrases):
            if other != row and self.may_be(other, said.thing) and _holds(phrase, said):
                fits[other] = max(fits[other], fits[row])
        return replace(wording, fits=fits)

    def is_called(self, row: int, thing: str) -> bool:
        """Whether a region is called so, and not as a guess."""
        return self._is_sure[row] and self._phrases[row].thing == thing

    def may_be(self, row: int, thing: str) -> bool:
        """Whether a region is called so, or may be one by what is known of it; guesses are not."""
        if not self._is_sure[row] or self.is_called(row, thing):
            return self._is_sure[row]
        if self._vouched[row]:
            return may_be(self._captions[row].text, thing)
        return any(
            name == thing and weight >= _LIKELY for name, weight in self._captions[row].concepts
        )

    def named_as(self, row: int) -> tuple[list[int], list[bool]]:
        """Return the rows of those that may be called the same, and which of these are in doubt.

        It itself is among them; all are of a guess.
        """
        thing = self._phrases[row].thing
        if not thing or not self._is_sure[row]:
            return list(range(len(self._phrases))), [False] * len(self._phrases)
        rows = [
            other
            for other in range(len(self._phrases))
            if other == row or self.may_be(other, thing)
        ]
        return rows, [not self.is_called(other, thing) for other in rows]


def _holds(phrase: NounPhrase, other: NounPhrase) -> bool:
    """Whether a phrase of the same thing says all that another one says."""
    return set(other.adjectives) <= set(phrase.adjectives) and (
        not other.beside or phrase.beside == other.beside
    )


def _chosen(
    row: int,
    caption: Caption,
    pool: Sequence[_Wording],
    regions: Sequence[Region],
    options: CaptionOptions,
    members: _Members | None,
) -> DistinctCaption:
    """Take the wording that leads back to its region, and say where that is if none does."""
    others, score = len(regions) - 1, _known(caption.score)
    pool = [w for w in pool if w.text == caption.text or options.satisfied_by(w.text)]

    def merit(wording: _Wording) -> float:
        kept = _KEPT * (wording.text == caption.text)
        lead = float(_lead(wording.fits)[row])
        return lead + _FIT * wording.good + kept - _DETAIL * wording.details

    best = max(pool, key=merit)
    clear = _lead_over(best.fits, row) >= math.log(CLEARLY)
    if (
        not clear
        and members is not None
        and (said := _with_place(row, caption, pool, best, regions, members, options))
    ):
        return DistinctCaption(said, score, "place", others)
    if best.text == caption.text:
        return DistinctCaption(best.text, score, "as it was" if clear else "", others)
    usual = next((wording for wording in pool if wording.text == caption.text), best)
    if clear or _lead(best.fits)[row] > _lead(usual.fits)[row]:
        sure = score and score * math.exp(_lead(best.fits)[row])
        return DistinctCaption(best.text, sure, "looks" if clear else "partly", others)
    return DistinctCaption(caption.text, score, "", others)


def _with_place(
    row: int,
    caption: Caption,
    pool: Sequence[_Wording],
    best: _Wording,
    regions: Sequence[Region],
    members: _Members,
    options: CaptionOptions,
) -> str:
    """Say where a region is: among all, or among those that its best wording fits; or nothing."""

    def word_among(rows: Sequence[int], doubtful: Sequence[bool] | None = None) -> str:
        return place_words([regions[other] for other in rows], doubtful)[rows.index(row)]

    everywhere, called = word_among(range(len(regions))), word_among(*members.named_as(row))
    near = best.fits >= best.fits[row] - math.log(CLEARLY)
    said = read_phrase(best.text)
    if not said.adjectives and not said.beside:
        near |= [members.may_be(other, said.thing) for other in range(len(regions))]
    among = word_among([other for other in range(len(regions)) if near[other] or other == row])
    # "Second from the left" is counted among all that are called so, and says nothing else.
    plainest = min(pool, key=lambda wording: (wording.details, wording.text != caption.text))
    for word, text in (
        (everywhere if is_end(everywhere) else "", caption.text),
        (among if is_end(among) else "", best.text),
        (called, plainest.text),
    ):
        where = placed(text, word) if word else ""
        if where and options.satisfied_by(where):
            return where
    return ""


def _lead_over(fits: Scores, row: int) -> float:
    """How much better a wording fits a region than any other, as a logarithm."""
    return float(fits[row] - np.delete(fits, row).max())


def _lead(fits: Scores) -> Scores:
    """Log-share of each region among all that a wording fits."""
    top = fits.max()
    return np.asarray(fits - top - math.log(float(np.exp(fits - top).sum())), float)


def _known(score: float) -> float | None:
    return None if math.isnan(score) else float(score)


# the embedded models


def _is_grounded(captioner: Captioner, grid: FeatureGrid, output: BridgeOutput) -> bool:
    photograph = grid.measures.get("photograph", 1.0) >= PHOTOGRAPH
    named = output.evidence is not None and isinstance(captioner.decoder, GroundedDecoder)
    return photograph and named and isinstance(captioner.bridge, PhraseReader)


def _described(
    captioner: Captioner,
    grid: FeatureGrid,
    regions: Sequence[Region],
    captions: Sequence[Caption],
    output: BridgeOutput,
    options: CaptionOptions,
    members: _Members,
) -> list[list[_Wording]]:
    """Everything that can be said of each region, by what it claims of all of them."""
    bridge, decoder, evidence = captioner.bridge, captioner.decoder, output.evidence
    assert isinstance(bridge, PhraseReader)
    assert isinstance(decoder, GroundedDecoder)
    assert evidence is not None
    vectors = captioner.embed(grid, regions)
    measured = _ANY_COLOUR * bridge.adjective_strengths(vectors, _MEASURED)
    strengths = [
        {
            word: max(float(item.attributes.get(word, 0.0)), float(share))
            for word, share in zip(_MEASURED, shares, strict=True)
        }
        for item, shares in zip(evidence, measured, strict=True)
    ]
    names = [read_phrase(caption.text).thing for caption in captions]
    is_person = [kind_of(name) == "person" for name in names]
    worn = strengths
    if any(is_person):
        colours = _colours_worn(captioner, grid, regions, vectors)
        worn = [
            {word: min(share, own[word]) if word in own else share for word, share in looks.items()}
            for looks, own in zip(strengths, colours, strict=True)
        ]
    known = sorted({name for name in names if name})
    chances = bridge.phrase_probabilities(vectors, known) if known else np.zeros((0, 0))
    pools = []
    for row, caption in enumerate(captions):
        looks = worn if is_person[row] else strengths
        claims = decoder.descriptions(evidence[row], looks[row], names[row])
        if caption.verdict != "sure" or not names[row]:
            claims = []
        said = [with_length(claim.text, options.length) for claim in claims]
        if caption.text not in said:
            said, claims = [caption.text, *said], [_claims_of(caption.text), *claims]
        if names[row]:
            column = np.nan_to_num(chances[:, known.index(names[row])])
            own = [
                name == names[row] or members.may_be(other, names[row])
                for other, name in enumerate(names)
            ]
            named = np.where(own, 1.0, np.clip(column, _UNNAMED, 1.0))
        else:
            named = np.ones(len(regions))
        pool = []
        for text, claim in zip(said, claims, strict=True):
            fits = [
                math.log(_borne_out(claim, item, shown))
                for item, shown in zip(evidence, looks, strict=True)
            ]
            details = len(claim.adjectives) + len(claim.things)
            together = np.array(fits) + np.log(named)
            pool.append(_Wording(text, together, details, fits[row]))
        pools.append(pool)
    return pools


def _colours_worn(
    captioner: Captioner,
    grid: FeatureGrid,
    regions: Sequence[Region],
    vectors: npt.NDArray[np.float32],
) -> list[dict[str, float]]:
    """Return how far each colour may be that of what a person wears, by region: skin is not."""
    assert isinstance(captioner.bridge, PhraseReader)
    embeddings = grid.embeddings.copy()
    embeddings[..., -len(AXES) :] = without_skin(embeddings[..., -len(AXES) :])
    skinless = captioner.embed(replace(grid, embeddings=embeddings), regions)
    shares = captioner.bridge.adjective_strengths(skinless, COLOURS)
    # Most of what looks gray is white in the shade, or a wall.
    shares[:, COLOURS.index("gray")] = 0
    whole = clothed(vectors[:, -len(AXES) :], skinless[:, -len(AXES) :])
    return [
        {colour: float(share) for colour, share in zip(COLOURS, own, strict=True)}
        for own in shares * whole[:, None]
    ]


def _claims_of(text: str) -> Description:
    """Read what a caption says of its region beside the name."""
    phrase = read_phrase(text)
    beside = read_phrase(phrase.beside).thing if phrase.beside else ""
    return Description(text, phrase.adjectives, (("beside", beside),) if beside else ())


def _borne_out(claim: Description, evidence: Evidence, strengths: dict[str, float]) -> float:
    """How far a region shows what is said, 0 to 1."""
    fit = 1.0
    for word in claim.adjectives:
        strength = strengths.get(word, float(evidence.attributes.get(word, 0.0)))
        fit *= _OTHERWISE + (1 - _OTHERWISE) * strength
    for relation, name in claim.things:
        seen = [thing.probability for thing in evidence.beside or () if thing.name == name]
        seen += [
            thing.probability
            for thing in evidence.around
            if thing.name == name and relation in ("beside", thing.relation)
        ]
        fit *= max([*seen, _ABSENT])
    return fit


# other models


def _compared(
    captioner: Captioner,
    grid: FeatureGrid,
    regions: Sequence[Region],
    captions: Sequence[Caption],
    output: BridgeOutput,
    options: CaptionOptions,
) -> list[list[_Wording]]:
    """Wordings of a decoder, by text tower and likelihood over all regions."""
    more: Sequence[Caption] = captions
    if not isinstance(captioner.decoder, GroundedDecoder):
        asked = replace(
            options,
            beams=max(options.beams, _BEAMS),
            alternatives=_WORDINGS,
            max_tokens=options.max_tokens or captioner.max_tokens,
        )
        more = captioner.decoder.decode(output.vectors, asked, evidence=output.evidence)
    own = [
        [text for text in dict.fromkeys([c.text, *c.alternatives, m.text, *m.alternatives]) if text]
        or [""]
        for c, m in zip(captions, more, strict=True)
    ]
    texts = list(dict.fromkeys(text for wordings in own for text in wordings))
    parts: list[Scores] = []
    if isinstance(captioner.backbone, TextTower):
        rows = unit_rows(captioner.text_vectors(grid, regions))
        cosines = unit_rows(captioner.backbone.embed_text(texts)) @ rows.T
        parts.append(np.asarray(cosines, float) / _TEMPERATURE)
    if isinstance(captioner.decoder, TextRater):
        rated = captioner.decoder.log_likelihoods(output.vectors, texts, evidence=output.evidence).T
        if not np.isnan(rated).any():
            parts.append(rated)
    fits = np.mean(parts, axis=0) if parts else np.zeros((len(texts), len(regions)))
    index = {text: place for place, text in enumerate(texts)}
    pools = []
    for row, wordings in enumerate(own):
        usual = fits[index[wordings[0]], row]
        pools.append(
            [
                _Wording(text, fits[index[text]], 0, float(fits[index[text], row] - usual))
                for text in wordings
            ]
        )
    return pools
