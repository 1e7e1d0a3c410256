"""How likely parts of an image show what a phrase says, from its grid."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace
from functools import reduce
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.backbones import RegionEncoder, TextTower
from napari_patchioner.bridges import PhraseReader, TextSpace, unit_rows
from napari_patchioner.bridges.base import Knowledge, Query
from napari_patchioner.decoders import CaptionOptions
from napari_patchioner.decoders.grounded.vocabulary import COLOURS
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import PHOTOGRAPH, FeatureGrid
from napari_patchioner.progress import no_progress
from napari_patchioner.regions import Box, Region
from napari_patchioner.teaching.find import Proposal, areas_of, common_areas, overlap, peaks

from . import windows
from .alternatives import alternatives
from .arguments import check_captioner, check_grid, check_regions, check_text
from .phrase import NounPhrase, read_phrase, split_negative

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner

FloatArray: TypeAlias = npt.NDArray[np.float32]
Scores: TypeAlias = npt.NDArray[np.float64]

# What a picture shows beside what is looked for, and how sentences that name things begin.
_NEUTRAL = ("something else", "the background", "a photo", "a texture", "the ground", "the sky")
_TEMPLATES = ("{}", "a photo of {}")
# Cosines differ by some hundredths; softmax at this temperature.
_TEMPERATURE = 0.04
# Cosines of descriptions with a phrase that are surely not, and surely, what is meant.
_UNLIKE, _LIKE = 0.4, 0.85
# What is left of a thing that has none of the adjectives, or nothing of what it should be beside.
_OTHERWISE, _ALONE = 0.02, 0.7
# The same of a description, which names the colour of marks that are few as well.
_PALE = 0.4
# A box is at least so many patches high and wide.
_LEAST_SIDE = 2.0
# How much of the score is that a box ends where the thing does.
_TIGHT = 0.8
# Boxes are looked for where the heat map comes to this share of its peak.
_HILL, _LEAST_HILL = 0.25, 0.02
_OVERLAP, _PART, _MOST = 0.3, 0.6, 60
# Boxes of two things that were asked for are of one from this share of their union on.
_ONE_BOX = 0.8
# Of many windows the likeliest seems likelier than it is. Log odds that an image shows a thing,
# from those of its likeliest window: fitted to COCO's development images, halves told the same.
_SOMEWHERE, _OFFSET = 0.74, -1.9
# No chance is nearer to 0 or 1.
_RARE = 1e-3
# Windows up to this size point at where in a region a thing is.
_SMALL = 0.25
# How a sentence ends that says what is not known.
_INSTEAD = ": use a plainer word, find more like an example, or choose another model."
_MOST_KNOWN: tuple[Knowledge, ...] = ("regions", "pictures")


class PhraseScorer:
    """Says where images show a phrase; asked about any number of images of one model.

    Models whose patches are among sentences compare these, pooled, with the phrase and with what it
    is not: a softmax over the phrase, the negative ones and a few neutral ones. The embedded models
    read the phrase: how likely a part of a photograph shows the thing, how much it has of the
    colours; of other pictures they compare descriptions of what is measured.

    Parameters
    ----------
    captioner : Captioner
        A model with a text tower; a ModelError otherwise.
    phrase : str
        Such as ``"a red bus"``; what follows "not", or a dash before a word, is a negative phrase.
        Of several things ("a bus or a car", "bus, car", "dogs and cats") any is looked for.
    negative : str
        More of what is not wanted, parted by commas.
    whole : bool
        Whether the phrase is one text, such as a description, whatever commas it has.

    Attributes
    ----------
    phrase : str
        What is wanted.
    alternatives : tuple of str
        The things that are wanted, see `grounding.alternatives`; mostly one, which is the phrase.
    together : bool
        Whether these are joined by "and": then an `image` has to show them all.
    negatives : tuple of str
        What is not wanted.
    left_out : tuple of str
        Words of the phrase that count for nothing, since an embedded model knows the thing by name
        and these say more of it than it can see ("sleeping" of a cat), or since it knows nothing
        like them while it knows other things that are asked for.

    Examples
    --------
    >>> from napari_patchioner import load_model  # doctest: +SKIP
    >>> captioner = load_model("mini")  # doctest: +SKIP
    >>> scorer = PhraseScorer(captioner, "a red bus, not a car")  # doctest: +SKIP
    >>> scorer.proposals(captioner.encode(image))  # doctest: +SKIP
    """

    def __init__(
        self, captioner: Captioner, phrase: str, negative: str = "", *, whole: bool = False
    ) -> None:
        check_captioner(captioner)
        check_text(phrase, "phrase")
        check_text(negative, "negative phrase")
        if not isinstance(captioner.backbone, TextTower):
            raise ModelError(
                f"{captioner.name} cannot read a phrase, since it has no text tower; choose a "
                "model that has one, such as mini."
            )
        wanted, unwanted = split_negative(phrase)
        unwanted += split_negative(f"not {negative}")[1] if negative.strip() else ()
        if not wanted:
            raise ModelError(nothing_wanted(unwanted))
        self._captioner = captioner
        self.phrase = wanted
        listed = alternatives(wanted)
        texts = (wanted,) if whole else listed.texts
        self.negatives = tuple(name for text in unwanted for name in alternatives(text).texts)
        known = [(text, *self._known(read_phrase(text))) for text in texts]
        # What it knows nothing like is told with the words that count for nothing.
        kept = [row for row in known if not self._is_unknown(row[1])] or known
        self._wanted = [phrase for _, phrase, _ in kept]
        self.alternatives = tuple(text for text, _, _ in kept)
        self.together = listed.together and len(kept) > 1
        self._unwanted = [self._known(read_phrase(text))[0] for text in self.negatives]
        left_out = (row[2] if row in kept else (row[0],) for row in known)
        self.left_out = tuple(dict.fromkeys(word for words in left_out for word in words))
        self._texts: FloatArray | None = None
        self._last: tuple[weakref.ref[FloatArray], Scores] | None = None

    @property
    def meaning(self) -> tuple[str, ...]:
        """What an embedded model takes the thing for, the nearest first; empty for other models."""
        meant = (name for phrase in self._wanted for name in self._meaning_of(phrase))
        return tuple(dict.fromkeys(meant))

    def problem(self, grid: FeatureGrid | None = None) -> str:
        """Return in a sentence why the phrase cannot be found in an image; empty where it can.

        Without a grid: why it can be found in no image at all.
        """
        bridge, name = self._captioner.bridge, self._captioner.name
        if not isinstance(bridge, PhraseReader):
            return ""
        measured = any(phrase.is_measurable for phrase in self._wanted)
        if grid is not None and not _is_photograph(grid):
            if measured:
                return ""
            return (
                f"{name} names nothing in what is no photograph: ask for what can be measured, "
                'such as "dark purple round spots", or find more like an example.'
            )
        if grid is None and measured:
            return ""
        unknown = [phrase for phrase in self._wanted if self._is_unknown(phrase, measured=False)]
        if len(unknown) == len(self._wanted):
            what = " or ".join(repr(phrase.thing or phrase.text) for phrase in unknown)
            return f"{name} knows nothing like {what}{_INSTEAD}"
        for phrase in self._unwanted:
            if self._is_unknown(phrase, measured=False):
                what = repr(phrase.thing or phrase.text)
                return f"{name} knows nothing like {what}, which is not wanted{_INSTEAD}"
        return ""

    def regions(self, grid: FeatureGrid, regions: Sequence[Region]) -> Scores:
        """Return how likely each region shows the phrase, shape (n,), 0 to 1.

        Of several things that are wanted the likeliest counts. A ModelError where the phrase cannot
        be found in this image, see `problem`.
        """
        self._check(grid)
        check_regions(regions)
        if not regions:
            return np.zeros(0)
        return np.asarray(self._regions(grid, regions).max(axis=1))

    @property
    def knowledge(self) -> Knowledge:
        """What an embedded model has learned to see of it; of other models nobody knows."""
        bridge = self._captioner.bridge
        if not isinstance(bridge, PhraseReader):
            return "pictures"
        known = {bridge.phrase_knowledge(phrase.thing) for phrase in self._wanted}
        return next((most for most in _MOST_KNOWN if most in known), "")

    def windows(self, grid: FeatureGrid) -> tuple[Scores, Scores]:
        """Return windows of many sizes over the image, and how likely each shows the phrase.

        ``(top, left, bottom, right)`` in shares of what the grid covers, shape (n, 4), and (n,).
        """
        return windows.places(self._scales(grid)), self._windows(grid).max(axis=1)

    def patches(self, grid: FeatureGrid) -> FloatArray:
        """Return how likely the place of each patch shows the phrase, (rows, columns), 0 to 1.

        By small windows alone, so that it points at the thing rather than at where it is.
        """
        scales, chances = self._scales(grid), self._windows(grid).max(axis=1)
        small = [scale for scale in scales if scale[0] <= _SMALL] or scales[-1:]
        first = sum(steps**2 for side, steps in scales if (side, steps) not in small)
        heat = windows.heat_of(chances[first:], small, grid.shape)
        cells = heat.reshape(grid.shape[0], 2, grid.shape[1], 2)
        return np.asarray(cells.mean(axis=(1, 3)), np.float32)

    def heat(self, grid: FeatureGrid) -> FloatArray:
        """Return how likely each place of the image shows the phrase, 0 to 1.

        Cells of about half a patch that cover the image, shape (rows, columns); what the model was
        not shown, as where it cuts out the middle, is 0. Of several things that are wanted the
        likeliest counts.
        """
        scales = self._scales(grid)
        heats = (windows.heat_of(own, scales, grid.shape) for own in self._windows(grid).T)
        heat = reduce(np.maximum, heats)
        size, (top, left, height, width) = grid.transform.image_shape, grid.transform.extent
        if (top, left, height, width) == (0, 0, *size):
            return heat
        shown = []
        for start, side, full, count in zip(
            (top, left), (height, width), size, heat.shape, strict=True
        ):
            cells = max(1, round(full * count / side))
            places = ((np.arange(cells) + 0.5) * full / cells - start) * count / side
            shown.append(np.where((places >= 0) & (places < count), places, count).astype(int))
        return np.pad(heat, ((0, 1), (0, 1)))[np.ix_(*shown)]

    def image(self, grid: FeatureGrid) -> float:
        """Return how likely an image shows the phrase somewhere, by its likeliest window.

        Of things that are joined by "and" it has to show them all, so the least likely counts.
        """
        best = self._windows(grid).max(axis=0)
        each = [self._somewhere(grid, row, float(chance)) for row, chance in enumerate(best)]
        return min(each) if self.together else max(each)

    def image_score(self, proposals: Iterable[Proposal]) -> float:
        """Return how likely an image shows the phrase by what was found in it, 0 to 1.

        As `image` has it of several things; proposals say by their text which they are of.
        """
        best = dict.fromkeys(self.alternatives, 0.0)
        for proposal in proposals:
            text = proposal.text or self.alternatives[0]
            best[text] = max(best.get(text, 0.0), proposal.score)
        return min(best.values()) if self.together else max(best.values())

    def proposals(
        self, grid: FeatureGrid, *, least: float = 0.01, most: int = _MOST
    ) -> list[Proposal]:
        """Return boxes that may show the phrase, the likeliest first.

        They end where the heat map falls; no two share more than a part of the smaller one. Where
        the phrase is a list, each says by its text which thing it is of, and boxes of two things
        may overlap as long as they are not much the same.
        """
        is_list = self.alternatives != (self.phrase,)
        each = [
            replace(proposal, text=text if is_list else "")
            for row, text in enumerate(self.alternatives)
            for proposal in self._proposals(grid, row, least, most)
        ]
        return unlike(each)[:most]

    def _proposals(self, grid: FeatureGrid, wanted: int, least: float, most: int) -> list[Proposal]:
        """Return boxes of one of the things that are wanted."""
        chances, scales = self._windows(grid)[:, wanted], self._scales(grid)
        heat = windows.heat_of(chances, scales, grid.shape)
        boxes = windows.places(scales)
        if not isinstance(self._captioner.backbone, RegionEncoder):
            hills = windows.boxes_around(heat, max(_HILL * float(heat.max()), _LEAST_HILL))
            sides = (hills[:, 2:] - hills[:, :2]) * grid.shape
            hills = hills[(sides >= _LEAST_SIDE).all(axis=1)]
            if len(hills):
                if self._is_described(grid):
                    # To describe each once more would take longer than all windows have.
                    own = windows.BoxSums(heat[..., None]).means(hills)[:, 0]
                else:
                    own = self._regions(grid, [_as_box(box, grid) for box in hills])[:, wanted]
                boxes, chances = np.concatenate([boxes, hills]), np.concatenate([chances, own])
        tight = windows.contrast(heat, boxes)
        ranks = chances * (1 - _TIGHT + _TIGHT * tight)
        top = peaks(boxes, ranks, most=3 * most, overlapping=_OVERLAP)
        kept: list[int] = []
        for row in top.tolist():
            common = common_areas(boxes[row], boxes[kept])
            smaller = np.minimum(areas_of(boxes[row][None]), areas_of(boxes[kept]))
            if (common <= _PART * smaller).all():
                kept.append(row)
        # What is shown is how likely the best of it is there, not how well the box fits.
        best = max((float(ranks[row]) for row in kept), default=1.0)
        peak = max((float(chances[row]) for row in kept), default=0.0)
        peak = self._somewhere(grid, wanted, peak)
        proposals = [
            Proposal(_as_box(boxes[row], grid), float(ranks[row] * peak / max(best, 1e-9)))
            for row in kept[:most]
        ]
        return [proposal for proposal in proposals if proposal.score >= least]

    # details

    def _somewhere(self, grid: FeatureGrid, row: int, chance: float) -> float:
        """Return how likely an image shows one of the things that are wanted, by its best window.

        Only of what is known by name that is known; all else keeps the score of the window.
        """
        is_named = isinstance(self._captioner.bridge, PhraseReader) and _is_photograph(grid)
        if not (is_named and self._wanted[row].thing):
            return chance
        return chance_of(_SOMEWHERE * log_odds(chance) + _OFFSET)

    def _meaning_of(self, phrase: NounPhrase) -> tuple[str, ...]:
        bridge, thing = self._captioner.bridge, phrase.thing
        return bridge.phrase_meaning(thing) if thing and isinstance(bridge, PhraseReader) else ()

    def _known(self, phrase: NounPhrase) -> tuple[NounPhrase, tuple[str, ...]]:
        """Return a phrase with the name of a thing that it ends with, and the words before that."""
        bridge, words = self._captioner.bridge, phrase.thing.split()
        if isinstance(bridge, PhraseReader):
            for start in range(len(words)):
                if bridge.is_name(name := " ".join(words[start:])):
                    return replace(phrase, thing=name), tuple(words[:start])
        return phrase, ()

    def _is_unknown(self, phrase: NounPhrase, *, measured: bool = True) -> bool:
        """Whether an embedded model knows nothing like a thing, and cannot measure it either."""
        if not isinstance(self._captioner.bridge, PhraseReader):
            return False
        if (measured and phrase.is_measurable) or (phrase.adjectives and not phrase.thing):
            return False
        return not self._meaning_of(phrase)

    def _check(self, grid: FeatureGrid) -> None:
        check_grid(grid)
        if problem := self.problem(grid):
            raise ModelError(problem)

    def _regions(self, grid: FeatureGrid, regions: Sequence[Region]) -> Scores:
        """Return how likely each region shows each thing that is wanted, shape (n, things)."""
        captioner = self._captioner
        if isinstance(captioner.bridge, PhraseReader) and _is_photograph(grid):
            return self._read(captioner.embed(grid, regions))
        measured = None
        if isinstance(captioner.bridge, PhraseReader):
            measured = captioner.embed(grid, regions)
        return self._compared(captioner.text_vectors(grid, regions), measured)

    def _is_described(self, grid: FeatureGrid) -> bool:
        """Whether descriptions of what is measured are compared with the phrase."""
        return isinstance(self._captioner.bridge, PhraseReader) and not _is_photograph(grid)

    def _scales(self, grid: FeatureGrid) -> Sequence[tuple[float, int]]:
        """Return the windows to ask about, fewer where each takes long."""
        check_grid(grid)
        if isinstance(self._captioner.backbone, RegionEncoder):
            return windows.FEW_SCALES
        if self._is_described(grid):
            return windows.SOME_SCALES
        # Smaller windows than a patch or two are all alike.
        return [scale for scale in windows.SCALES if scale[0] * min(grid.shape) >= 1.5] or [
            (1.0, 1)
        ]

    def _windows(self, grid: FeatureGrid) -> Scores:
        """Return the chances of all windows, (n, things); those of the last grid are kept."""
        if self._last is not None and self._last[0]() is grid.embeddings:
            return self._last[1]
        self._check(grid)
        captioner, scales = self._captioner, self._scales(grid)
        if isinstance(captioner.backbone, RegionEncoder):
            boxes = [_as_box(box, grid) for box in windows.places(scales)]
            chances = self._compared(captioner.text_vectors(grid, boxes))
        else:
            vectors = windows.pooled(grid.embeddings, scales)
            bridge = captioner.bridge
            if isinstance(bridge, PhraseReader) and _is_photograph(grid):
                chances = self._read(vectors)
            elif isinstance(bridge, TextSpace):
                measured = vectors if isinstance(bridge, PhraseReader) else None
                chances = self._compared(_text_vectors(bridge, grid, vectors, scales), measured)
            else:
                chances = self._compared(vectors)
        self._last = weakref.ref(grid.embeddings), chances
        return chances

    def _read(self, vectors: FloatArray) -> Scores:
        """Return how likely pooled embeddings show each thing, and nothing that is not wanted."""
        chances = np.stack([self._read_one(vectors, phrase) for phrase in self._wanted], axis=1)
        for other in self._unwanted:
            chances = chances * (1 - self._read_one(vectors, other))[:, None]
        return chances

    def _read_one(self, vectors: FloatArray, phrase: NounPhrase) -> Scores:
        bridge = self._captioner.bridge
        assert isinstance(bridge, PhraseReader)
        chances = np.ones(len(vectors))
        if phrase.thing:
            # What is not known is nowhere.
            known = bridge.phrase_probabilities(vectors, [phrase.thing])[:, 0]
            chances = np.nan_to_num(known.astype(np.float64))
        if phrase.adjectives:
            strengths = bridge.adjective_strengths(vectors, phrase.adjectives).prod(axis=1)
            left = _OTHERWISE if phrase.thing else 0.0
            chances = chances * (left + (1 - left) * strengths)
        if phrase.beside:
            texts = alternatives(phrase.beside).texts
            each = [self._read_one(vectors, read_phrase(text)) for text in texts]
            beside = np.max(each, axis=0)
            chances = chances * (_ALONE + (1 - _ALONE) * beside)
        return chances

    def _compared(self, vectors: FloatArray, measured: FloatArray | None = None) -> Scores:
        """Return how likely vectors among sentences show each thing rather than anything else.

        Shape (n, things). Those of descriptions are compared with what is asked for alone;
        ``measured`` are the pooled embeddings of what was described.
        """
        cosines = unit_rows(vectors) @ self._text_rows().T
        count = len(self._wanted)
        if measured is None:
            logits = cosines / _TEMPERATURE
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            # What else is wanted is nothing that a thing competes with.
            others = odds[:, count:].sum(axis=1, keepdims=True)
            return np.asarray(odds[:, :count] / (odds[:, :count] + others), float)
        alike = np.clip((cosines - _UNLIKE) / (_LIKE - _UNLIKE), 0, 1)
        bridge = self._captioner.bridge
        assert isinstance(bridge, PhraseReader)
        columns = []
        for column, phrase in enumerate([*self._wanted, *self._unwanted]):
            own = np.asarray(alike[:, column], float)
            # What is dark or light there is so beside its surroundings, as descriptions have it.
            if colours := [word for word in phrase.adjectives if word in COLOURS]:
                strengths = bridge.adjective_strengths(measured, colours).max(axis=1)
                own = own * (_PALE + (1 - _PALE) * strengths)
            columns.append(own)
        chances = np.stack(columns[:count], axis=1)
        for own in columns[count:]:
            chances = chances * (1 - own)[:, None]
        return chances

    def _text_rows(self) -> FloatArray:
        """Return vectors of what is wanted, what is not and neutral ones, of length one."""
        if self._texts is None:
            backbone = self._captioner.backbone
            assert isinstance(backbone, TextTower)
            texts = [*self.alternatives, *self.negatives, *_NEUTRAL]
            filled = [template.format(text) for text in texts for template in _TEMPLATES]
            rows = unit_rows(backbone.embed_text(filled))
            self._texts = unit_rows(rows.reshape(len(texts), len(_TEMPLATES), -1).mean(axis=1))
        return self._texts


def unlike(proposals: Iterable[Proposal]) -> list[Proposal]:
    """Return proposals of several things, the likeliest of those in much the same box."""
    kept: list[Proposal] = []
    for proposal in sorted(proposals, key=lambda proposal: -proposal.score):
        others = [other for other in kept if other.text != proposal.text]
        boxes = np.array([astuple(other.box) for other in others], float).reshape(-1, 4)
        if not (overlap(np.array(astuple(proposal.box), float), boxes) > _ONE_BOX).any():
            kept.append(proposal)
    return kept


def log_odds(chance: float) -> float:
    """Return the log odds of a chance, which are finite also of what is certain."""
    return math.log((chance + _RARE) / (1 - chance + _RARE))


def chance_of(odds: float) -> float:
    """Return the chance with these log odds."""
    return 1 / (1 + math.exp(-odds))


def nothing_wanted(negatives: Sequence[str]) -> str:
    """Return in a sentence that a phrase says nothing to look for, if only what is not wanted."""
    if not negatives:
        return 'Type what to look for, such as "a red bus".'
    example = f'"a street, not {negatives[0]}"'
    return f"Say what to look for before what is not wanted, such as {example}."


_last: tuple[weakref.ref[FloatArray], weakref.ref[TextSpace], FloatArray] | None = None


def _text_vectors(
    bridge: TextSpace,
    grid: FeatureGrid,
    vectors: FloatArray,
    scales: Sequence[tuple[float, int]],
) -> FloatArray:
    """Return windows among sentences, (n, d); those of the last grid are kept for more phrases."""
    global _last
    last = _last
    if last is None or last[0]() is not vectors or last[1]() is not bridge:
        patches = areas_of(windows.places(scales)) * np.prod(grid.shape)
        query = Query(vectors, grid, CaptionOptions(), patches, no_progress)
        last = _last = weakref.ref(vectors), weakref.ref(bridge), bridge.text_vectors(query)
    return last[2]


def _is_photograph(grid: FeatureGrid) -> bool:
    return grid.measures.get("photograph", 1.0) >= PHOTOGRAPH


def _as_box(box: Scores, grid: FeatureGrid) -> Box:
    """Return a box given from 0 to 1 on the grid, in pixels of the image, without its outside."""
    corners = grid.transform.to_image(box.reshape(2, 2) * grid.shape)
    height, width = grid.transform.image_shape
    edges = np.clip(corners, -0.5, (height - 0.5, width - 0.5))
    return Box(*(float(edge) for edge in edges.ravel()))
