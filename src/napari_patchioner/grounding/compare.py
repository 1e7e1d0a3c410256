"""What is said of several regions, of all and of one only; one region over slices of a stack."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.annotations.place import without_place
from napari_patchioner.backbones import TextTower
from napari_patchioner.bridges import PhraseReader, unit_rows
from napari_patchioner.decoders import CaptionOptions
from napari_patchioner.decoders.grounded.vocabulary import COLOURS
from napari_patchioner.errors import ModelError, counted
from napari_patchioner.grids import PHOTOGRAPH, FeatureGrid
from napari_patchioner.progress import no_progress, part
from napari_patchioner.regions import Region

from .sentence import read_words
from .words import WordGrounder

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.decoders import Caption
    from napari_patchioner.progress import Progress

Vectors: TypeAlias = npt.NDArray[np.float32]
Costs: TypeAlias = npt.NDArray[np.float64]
Place: TypeAlias = tuple[FeatureGrid, Region]

SHOWN = 0.5
"""A region shows what it shows with at least this probability."""

MOST_SLICES = 2000
"""Slices of one region that are compared at most."""

# Of what the model considered for a region, so much is asked about in all of them.
_CONSIDERED = 5
# A difference below that is none.
_LEAST_SPREAD = 0.05
# A cut between two stretches of slices explains at least so many times what noise would.
_PENALTY = 3.0
_LEAST_NOISE = 1e-6
# What differs more is another thing, even where most slices differ from the next, as of a few.
_MOST_NOISE = 0.1
# A guess is wrong where the region shows it with less.
_WRONG = 0.1
# From this place on words are not in the caption.
_UNSAID = 10_000
# What one region has so much more of than any other, who may have as little of it, is its own.
_ALONE = 0.3
# Of what slices without a majority say, so much is named.
_NAMED = 3
# Said of anything.
_FUNCTION = frozenset(
    re.findall(
        r"\w+",
        "a an the some any this that these those it its his her their my your our is are was were "
        "be being of and or with without in on at under over near by behind above below beside "
        "between inside outside from to for next into onto about around up down off out as very "
        "there here no not never one two three several many few each other others front back side "
        "part group pair couple lot number kind left right top bottom middle larger smaller "
        "largest smallest first second third fourth fifth sixth seventh eighth",
    )
)


@dataclass(frozen=True, slots=True)
class ConceptRow:
    """Something that a region may show, and how likely each of those compared does, 0 to 1."""

    name: str
    values: tuple[float, ...]

    @property
    def spread(self) -> float:
        """How far the regions differ in it."""
        return max(self.values) - min(self.values)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What several regions have in common, and what only one of them has.

    Attributes
    ----------
    captions : tuple of Caption
        What the model says of each.
    shared : tuple of str
        Words said of all of them, and things that all of them show.
    own : tuple of tuple of str
        For each region what is said of it and of no other.
    concepts : tuple of ConceptRow
        How likely each region shows a thing or has a colour, those that differ most first; what
        none of them shows is left out. Empty where the model gives no such numbers.
    likeness : float
        Least cosine between the pooled vectors of any two of them.
    """

    captions: tuple[Caption, ...]
    shared: tuple[str, ...]
    own: tuple[tuple[str, ...], ...]
    concepts: tuple[ConceptRow, ...]
    likeness: float

    def sentence(self, names: Sequence[str] = ()) -> str:
        """Return it in one line, as "left: brown dog; right: cat; both: couch".

        Parameters
        ----------
        names : sequence of str
            What each region is called; ``left`` and ``right``, or numbers, by default.
        """
        names = names or called(len(self.captions))
        pairs = zip(names, self.own, strict=True)
        parts = [f"{name}: {', '.join(words)}" for name, words in pairs if words]
        if self.shared:
            parts.append(f"{_all(len(self.captions))}: {', '.join(self.shared)}")
        if any(self.own):
            return "; ".join(parts)
        texts = dict.fromkeys(without_place(caption.text) for caption in self.captions)
        return f"no difference in words: {' / '.join(texts)}"

    def table(self, names: Sequence[str] = ()) -> list[list[str]]:
        """Return it as a table of text with a header: captions, what is said of one, concepts."""
        names = list(names or called(len(self.captions)))
        return [
            ["what", *names],
            ["caption", *(caption.text for caption in self.captions)],
            ["only", *(", ".join(words) for words in self.own)],
            *([row.name, *(f"{value:.2f}" for value in row.values)] for row in self.concepts),
        ]


def called(count: int) -> tuple[str, ...]:
    """Return what to call so many regions.

    >>> called(2), called(3)
    (('left', 'right'), ('1', '2', '3'))
    """
    if count == 2:
        return "left", "right"
    return tuple(str(number) for number in range(1, count + 1))


def places_called(regions: Sequence[Region]) -> tuple[str, ...]:
    """Return what to call regions of one image: two of them by how they lie to each other.

    >>> from napari_patchioner.regions import Box
    >>> places_called([Box(0, 50, 10, 60), Box(0, 0, 10, 10)])
    ('right', 'left')
    >>> places_called([Box(0, 0, 10, 10), Box(40, 5, 50, 15)])
    ('upper', 'lower')
    """
    if len(regions) != 2 or any(region.kind == "image" for region in regions):
        return tuple(str(number) for number in range(1, len(regions) + 1))
    first, second = (region.bounds().coords()[::2].mean(axis=0) for region in regions)
    down, right = second - first
    if abs(right) >= abs(down):
        return ("left", "right") if right >= 0 else ("right", "left")
    return ("upper", "lower") if down >= 0 else ("lower", "upper")


def _all(count: int) -> str:
    return "both" if count == 2 else "all"


def compare_regions(
    captioner: Captioner,
    places: Sequence[Place],
    options: CaptionOptions | None = None,
    *,
    captions: Sequence[Caption] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare regions, which may lie on several images.

    Parameters
    ----------
    captioner : Captioner
    places : sequence of (FeatureGrid, Region)
        Two or more; a ModelError otherwise.
    options : CaptionOptions, optional
        How they are captioned.
    captions : sequence of Caption, optional
        What is said of them already, if it is. The place and size that `with_place` puts behind
        a caption are not compared.
    progress : callable, optional
        Called with the fraction done and a message; may raise ``Cancelled``.

    Returns
    -------
    Comparison
        Things and colours with their probabilities where the model has a text tower; else the
        concepts that its captions come with, if any.

    Examples
    --------
    >>> from napari_patchioner import load_model  # doctest: +SKIP
    >>> captioner = load_model("mini")  # doctest: +SKIP
    >>> grid = captioner.encode(image)  # doctest: +SKIP
    >>> compare_regions(captioner, [(grid, first), (grid, second)]).sentence()  # doctest: +SKIP
    'left: brown dog; right: cat; both: couch'
    """
    if len(places) < 2:
        raise ModelError("Choose two regions or more to compare.")
    report = progress or no_progress
    if captions is None:
        captions = []
        for number, (grid, region) in enumerate(places):
            watched = part(report, 0.5 * number / len(places), 0.5 * (number + 1) / len(places))
            captions += captioner.caption(grid, [region], options, progress=watched)
    report(0.5, "comparing what is said")
    vectors = region_vectors(captioner, places)
    said = [_said(caption.text) for caption in captions]
    concepts = _concepts(captioner, places, captions, vectors, part(report, 0.5, 1.0))
    for row in concepts:
        # What a caption leaves out may be shown all the same.
        for caption, words, value in zip(captions, said, row.values, strict=True):
            if value >= SHOWN:
                words.setdefault(row.name, len(words) + _UNSAID)
            elif value < _WRONG and without_place(caption.text).endswith("?"):
                # One of several guesses, which the region does not bear out.
                words.pop(row.name, None)
    shared = tuple(word for word in said[0] if all(word in words for words in said))
    values = {row.name: row.values for row in concepts}
    own = []
    for number, words in enumerate(said):
        others = {word for other, more in enumerate(said) if other != number for word in more}
        alone = {word: at for word, at in words.items() if word not in others}
        own.append(
            _phrases(
                {
                    word: at
                    for word, at in alone.items()
                    if word not in values or _is_own(values[word], number, word, at)
                }
            )
        )
    units = unit_rows(learned_part(captioner, vectors))
    report(1.0, "done")
    likeness = float((units @ units.T).min())
    # Where none of them shows anything, that is said in numbers as well.
    shown = tuple(row for row in concepts if max(row.values) >= _LEAST_SPREAD) or concepts
    return Comparison(tuple(captions), shared, tuple(own), shown, likeness)


def region_vectors(captioner: Captioner, places: Sequence[Place]) -> Vectors:
    """Return the pooled vector of each region, shape (n, dim)."""
    return np.concatenate([captioner.embed(grid, [region]) for grid, region in places])


def learned_part(captioner: Captioner, vectors: Vectors) -> Vectors:
    """Return of pooled vectors what a network has made, which can be compared by its direction."""
    backbone = captioner.backbone
    return vectors[:, : backbone.dim - backbone.measured]


def _said(text: str) -> dict[str, int]:
    """Return the words of a caption that say something, and where they stand.

    Where the region lies and how large it is was measured, and shows in the image.
    """
    words = [word for word in read_words(without_place(text)) if not word.absent]
    names = [(word.name or word.text.casefold(), place) for place, word in enumerate(words)]
    said: dict[str, int] = {}
    for name, place in names:
        # A single letter is a slip of the keys.
        if name not in _FUNCTION and len(name) > 1:
            said.setdefault(name, place)
    return said


def _phrases(words: dict[str, int]) -> tuple[str, ...]:
    """Join words that follow one another.

    >>> _phrases({"brown": 1, "dog": 2, "couch": 5})
    ('brown dog', 'couch')
    """
    phrases: list[str] = []
    last = -2
    for word, place in words.items():
        if place == last + 1 and place < _UNSAID:
            phrases[-1] += f" {word}"
        else:
            phrases.append(word)
        last = place
    return tuple(phrases)


def _is_own(values: Sequence[float], number: int, word: str, place: int) -> bool:
    """Whether others have none of it, or less; of colours and what nobody said much less."""
    others = max(value for other, value in enumerate(values) if other != number)
    measured = word in COLOURS or place >= _UNSAID
    return others < _ALONE or values[number] - others >= (_ALONE if measured else 0.0)


def _concepts(
    captioner: Captioner,
    places: Sequence[Place],
    captions: Sequence[Caption],
    vectors: Vectors,
    progress: Progress,
) -> tuple[ConceptRow, ...]:
    """Return how likely each region shows what any of them may, what differs most first."""
    known = [
        _considered(captioner, grid, region, caption)
        for (grid, region), caption in zip(places, captions, strict=True)
    ]
    considered = [name for pairs in known for name, _ in pairs[:_CONSIDERED]]
    if not isinstance(captioner.backbone, TextTower):
        weights = [dict(pairs) for pairs in known]
        rows = [
            ConceptRow(name, tuple(float(own.get(name, 0.0)) for own in weights))
            for name in dict.fromkeys(considered)
        ]
        return _sorted(rows)
    texts = [without_place(caption.text) for caption in captions]
    read = [word for text in texts for word in read_words(text)]
    named = [word.name for word in read if word.kind == "thing" and not word.absent]
    names = list(dict.fromkeys([*named, *considered]))
    if isinstance(captioner.bridge, PhraseReader):
        values = np.zeros((len(places), 0))
        if names:
            values = captioner.bridge.phrase_probabilities(vectors, names).astype(float)
        # Of what is no photograph nothing is named.
        likely = [grid.measures.get("photograph", 1.0) for grid, _ in places]
        values[np.array(likely) < PHOTOGRAPH] = np.nan
        colours = list(COLOURS)
        strengths = captioner.bridge.adjective_strengths(vectors, colours).astype(float)
        names, values = [*names, *colours], np.concatenate([values, strengths], axis=1)
    else:
        grounder, lines = WordGrounder(captioner), []
        for number, (grid, region) in enumerate(places):
            progress(number / len(places), "asking what each region shows")
            supports = grounder.supports(grid, region, names)
            lines.append([supports[name] for name in names])
        values = np.array(lines, float).reshape(len(places), len(names))
    return _sorted(
        [
            ConceptRow(name, tuple(column.tolist()))
            for name, column in zip(names, values.T, strict=True)
            if not np.isnan(column).any()
        ]
    )


def _considered(
    captioner: Captioner, grid: FeatureGrid, region: Region, caption: Caption
) -> Sequence[tuple[str, float]]:
    """Return what the model considers for a region, where a person has captioned it as well."""
    if caption.concepts:
        return caption.concepts
    evidence = captioner.project(grid, [region]).evidence
    return evidence[0].concepts if evidence else ()


def _sorted(rows: Sequence[ConceptRow]) -> tuple[ConceptRow, ...]:
    """Sort by how far regions differ; where they do not, by what they show most."""

    def order(row: ConceptRow) -> tuple[float, float, str]:
        spread = row.spread if row.spread >= _LEAST_SPREAD else 0.0
        return -spread, -max(row.values), row.name

    return tuple(sorted(rows, key=order))


# over slices


@dataclass(frozen=True, slots=True)
class Stretch:
    """Slices in a row of which the same is said: from ``first`` to ``last``, counted from 0."""

    first: int
    last: int
    text: str


@dataclass(frozen=True, slots=True)
class SliceComparison:
    """What is said of one region over the slices of a stack.

    Attributes
    ----------
    captions : tuple of Caption
        One for each slice.
    stretches : tuple of Stretch
        Where it stays the same, in order; a single odd caption is no stretch.
    votes : tuple of str
        What each slice speaks for: what is said of its stretch, where its own caption has a word
        of that; else its own caption.
    likeness : tuple of float
        Cosine of each slice's vector with their mean.
    """

    captions: tuple[Caption, ...]
    stretches: tuple[Stretch, ...]
    votes: tuple[str, ...]
    likeness: tuple[float, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many slices speak for what, most first."""
        return dict(Counter(self.votes).most_common())

    @property
    def consensus(self) -> str:
        """What more than half of the slices speak for; empty where there is no such majority."""
        text, count = next(iter(self.counts.items()))
        return text if 2 * count > len(self.votes) else ""

    @property
    def agreeing(self) -> int:
        """How many slices speak for the consensus; 0 where there is none."""
        return self.counts.get(self.consensus, 0)

    @property
    def division(self) -> str:
        """How many slices speak for what, as "3 of 8 'a cat', 3 of 8 'sky'"."""
        total, counts = len(self.votes), self.counts
        most = list(counts.items())[:_NAMED]
        parts = [f"{count} of {total} {text!r}" for text, count in most]
        if rest := total - sum(count for _, count in most):
            parts.append(f"{rest} of {total} something else")
        return ", ".join(parts)

    @property
    def changes(self) -> tuple[int, ...]:
        """Slices at which something else begins."""
        return tuple(stretch.first for stretch in self.stretches[1:])

    @property
    def score(self) -> float:
        """Mean score of the slices that speak for the consensus."""
        pairs = zip(self.captions, self.votes, strict=True)
        scores = [caption.score for caption, vote in pairs if vote == self.consensus]
        return float(np.mean(scores)) if scores else math.nan

    def text_at(self, place: int) -> str:
        """Return what is said of the stretch that a slice belongs to."""
        return next(item.text for item in self.stretches if item.first <= place <= item.last)

    def sentence(self, slices: Sequence[int] = ()) -> str:
        """Return it in one line; ``slices`` are the numbers of the slices, from 0 by default."""
        numbers = list(slices) or list(range(len(self.captions)))
        total = counted(numbers, "slice")
        if self.agreeing == len(numbers):
            return f"{total}: {self.consensus}"
        said = f"no majority: {self.division}"
        if self.consensus:
            said = f"mostly {self.consensus!r} ({self.agreeing} of {len(numbers)})"
        spans = [
            f"{_span(numbers[item.first], numbers[item.last])}: {item.text}"
            for item in (self.stretches if self.changes else ())
        ]
        return "; ".join([f"{total}, {said}", *spans])

    def table(self, slices: Sequence[int] = ()) -> list[list[str]]:
        """Return it as a table of text with a header, a row for each slice."""
        numbers = list(slices) or list(range(len(self.captions)))
        return [
            ["slice", "caption", "score", "stretch", "like the others"],
            *(
                [
                    str(number),
                    caption.text,
                    "" if math.isnan(caption.score) else f"{caption.score:.2f}",
                    self.text_at(place),
                    f"{self.likeness[place]:.3f}",
                ]
                for place, (number, caption) in enumerate(zip(numbers, self.captions, strict=True))
            ),
        ]


def _span(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first} to {last}"


def compare_slices(captions: Sequence[Caption], vectors: Vectors) -> SliceComparison:
    """Say what slices agree on, and where that changes.

    Slices are cut into stretches that differ more than neighbours do (optimal partitioning of the
    vectors with a penalty for each cut; Jackson et al. 2005). Each stretch says what most of its
    captions bear out, so that a single odd caption changes nothing; stretches that say the same
    are one. There is a consensus where more than half of the slices speak for the same.

    Parameters
    ----------
    captions : sequence of Caption
        One for each slice, in order; a ModelError if there are none, or more than `MOST_SLICES`.
    vectors : ndarray of float32, shape (slices, d)
        The region's pooled vector on each.
    """
    if not 0 < len(captions) <= MOST_SLICES:
        raise ModelError(f"Choose from 1 to {MOST_SLICES:,} slices to compare.")
    units = unit_rows(vectors)
    words = [frozenset(_said(caption.text)) for caption in captions]
    stretches: list[Stretch] = []
    for first, end in pairwise(_cuts(units)):
        text = captions[_most_borne_out(captions, words, range(first, end))].text
        if stretches and stretches[-1].text == text:
            stretches[-1] = Stretch(stretches[-1].first, end - 1, text)
        else:
            stretches.append(Stretch(first, end - 1, text))
    votes = []
    for item in stretches:
        own = frozenset(_said(item.text))
        for place in range(item.first, item.last + 1):
            text = captions[place].text
            votes.append(item.text if words[place] & own else text)
    mean = unit_rows(units.mean(axis=0))
    likeness = tuple(float(value) for value in units @ mean)
    return SliceComparison(tuple(captions), tuple(stretches), tuple(votes), likeness)


def _cuts(units: Vectors) -> list[int]:
    """Return where stretches begin, and the end, of unit vectors in a row."""
    count = len(units)
    steps = np.sum(np.diff(units, axis=0) ** 2, axis=1)
    noise = float(np.median(steps)) / 2 if len(steps) else 0.0
    noise = min(max(noise, _LEAST_NOISE), _MOST_NOISE)
    penalty = _PENALTY * noise * math.log(count + 1)
    sums = np.concatenate([np.zeros((1, units.shape[1])), np.cumsum(units, axis=0, dtype=float)])
    best: Costs = np.zeros(count + 1)
    before = np.zeros(count + 1, int)
    for end in range(1, count + 1):
        lengths = end - np.arange(end)
        # Of unit vectors the squared distances to their mean are what is missing to their number.
        within = lengths - np.sum((sums[end] - sums[:end]) ** 2, axis=1) / lengths
        costs = best[:end] + within + penalty
        before[end] = int(np.argmin(costs))
        best[end] = float(costs[before[end]])
    cuts = [count]
    while cuts[-1]:
        cuts.append(int(before[cuts[-1]]))
    return cuts[::-1]


def _most_borne_out(
    captions: Sequence[Caption], words: Sequence[frozenset[str]], places: Sequence[int]
) -> int:
    """Return the slice whose caption shares most words with the others, the surest of equals."""

    def support(place: int) -> tuple[float, float]:
        alike = sum(
            len(words[place] & words[other]) / max(len(words[place] | words[other]), 1)
            for other in places
        )
        score = captions[place].score
        return round(alike, 6), 0.0 if math.isnan(score) else score

    return max(places, key=support)
