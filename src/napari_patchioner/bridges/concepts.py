"""The bridge of the embedded models: from pooled features to named concepts and measured words."""

from __future__ import annotations

import math
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.checkpoints import own_file_damaged, read_notes, read_own_arrays
from napari_patchioner.decoders import Evidence, Thing
from napari_patchioner.decoders.grounded.vocabulary import COLOURS
from napari_patchioner.decoders.options import as_length
from napari_patchioner.devices import product
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import PHOTOGRAPH, FeatureGrid, pool
from napari_patchioner.regions import PatchWeights

from .appearance import AXES, LONG_SIDE, attributes, describe, ramp, suiting
from .around import pool_around
from .base import Bridge, BridgeOutput, Knowledge, Query, unit_rows
from .things import (
    FEWEST,
    MIDDLE,
    ThingHead,
    known_features,
    pool_inside,
    pool_windows,
    things_of_members,
)

FloatArray: TypeAlias = npt.NDArray[np.float32]

# Concepts that a region's evidence lists at most; those it lists always, for people to see what
# else was considered; beyond those, the least share of the first one's probability.
CANDIDATES, SHOWN, MIN_SHARE = 6, 3, 0.05
# From this share of the picture's patches on a region is the whole picture: its parts name the
# thing that a box of this size is drawn around as often as the box does, and say more.
WHOLE = 0.9
# Beside a sure member of a set the others are named from this score on.
BESIDE_SURE = 0.4
_MIXTURE = 3
_SHARPNESS = 1.5
_MIN_PROBABILITY = 1e-3
_MIN_OPEN = 0.02
# Deviation of the weight of patches around the middle of a region, in sides of it.
_MIDDLE = 0.18
# What is around a region reaches so far, in longer sides of it.
_MARGIN = 0.3
# What one of two looks rules out may still be so.
_LEAST = 1e-4
# Probabilities are no nearer to 0 and 1 than this where their odds are taken.
_FARTHEST = 1e-4

# Cosine similarity from which a word means the same as the name of a concept.
_SAME_MEANING = 0.75
# From the first share of a region on it has a colour, at the second for sure; what is gray, white
# or black, or brown, is more often something else.
_COLOUR_SHARES, _GRAY_SHARES = (0.04, 0.4), (0.15, 0.6)
_GRAYS = ("black", "white", "gray", "brown")
_BALANCED = [AXES.index(f"balanced_{colour}") for colour in COLOURS]
# What a phrase may mean: names so near to it among sentences, beside the nearest that is nearer
# than the least, count in part.
_LEAST_MEANING, _BELOW_BEST, _MEANINGS = 0.5, 0.2, 12
# So many vectors are the windows of an image.
_MANY = 64
_ARTICLE = re.compile(r"^(?:an?|the|my) ")

# ImageNet's probability that speaks neither for nor against a concept.
_EVEN = 0.01

# Pictures with fewer pixels along the long side tell less; what an octave takes from the log-odds
# of a name, and twice as many four times. Chosen on photographs brought down to 64 and 128 pixels.
_ENOUGH, _OCTAVE = 256, 0.35


class ConceptBridge(Bridge):
    """Recognises concepts and appearance, and maps a region to the space of sentences.

    ``head`` makes concept probabilities of pooled features, with the ``imagenet`` classifier that
    these were made for. ``names`` are the concepts, in the order of the head's outputs,
    ``embeddings``, (len(names), d), their sentence embeddings; ``words`` the names of the attribute
    strengths that follow the text vector. ``groups`` hold concepts too near in meaning to be
    offered side by side ("mug" and "cup"): the most probable of a group stands for all of it.
    ``embed_text``, texts to rows of length d, is the text tower of the embeddings, where there is
    one; ``things`` says what of a whole picture is mentioned, where regions are named alone
    without it. ``meanings`` are other words and the names of concepts they may mean.
    """

    def __init__(
        self,
        head: ConceptHead,
        imagenet: ImageNetClassifier,
        names: Sequence[str],
        embeddings: npt.NDArray[np.floating],
        words: Sequence[str],
        groups: Sequence[Sequence[str]] = (),
        embed_text: Callable[[Sequence[str]], FloatArray] | None = None,
        things: ThingHead | None = None,
        meanings: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._embed_text = embed_text
        self._things = things
        # The last picture's embeddings, which stand for its grid, what its windows show to the
        # head, and what ImageNet's classifier finds in any of them
        self._last: tuple[weakref.ref[FloatArray], FloatArray, FloatArray] | None = None
        self._head, self._imagenet = head, imagenet
        self._names, self._words = tuple(names), tuple(words)
        self._embeddings = unit_rows(embeddings)
        index = {name: position for position, name in enumerate(self._names)}
        members = [[index[name] for name in group if name in index] for group in groups]
        self._groups = [group for group in members if len(group) > 1]
        self._index, self._meant = index, dict[str, int | None]()
        self._meanings = meanings or {}
        # Of the phrases asked about so far, how much each concept is what they mean
        self._shares: dict[str, FloatArray] = {}
        # The vectors that phrases were asked of last, and the probabilities of all concepts there
        self._asked: tuple[weakref.ref[FloatArray], FloatArray] | None = None

    @property
    def text_dim(self) -> int:
        """Length of the vectors among sentences."""
        return int(self._embeddings.shape[1])

    def answer(self, query: Query) -> BridgeOutput:
        """Name what is in each region and measure its appearance.

        The vectors (n, dim) are pooled ``[features | appearance axes]``; ``measures["photograph"]``
        of the grid decides whether anything is named at all; with ``patches`` (n,) spots can be
        counted. Of a photograph, what was looked at once more counts half in names; of another
        picture, it is what the region shows. The output's vectors are
        ``[text vector | attribute strengths]``.
        """
        vectors, grid, covers, patches = query.vectors, query.grid, query.covers, query.patches
        features, axes = vectors[:, : -len(AXES)], vectors[:, -len(AXES) :]
        measured = attributes(_middles(axes, grid, covers), _lightness_around(grid, covers))
        probabilities = self.named(features)
        photograph = grid.measures.get("photograph", 1.0)
        rows = [row for row, vector in query.close_ups.items() if vector.ndim == 1]
        if rows and photograph >= PHOTOGRAPH:
            second = self.named(np.stack([query.close_ups[row] for row in rows]))
            probabilities[rows] = _agreed(probabilities[rows], second)
        if photograph < PHOTOGRAPH:
            texts = describe(
                axes,
                patches=1.0 if patches is None else patches,
                scale=640 / max(grid.shape),
                things=query.close_ups,
                unit=_unit(query.options.pixel_size, grid),
            )
            evidence = [
                Evidence(attributes=words, score=1 - photograph, verdict="appearance", text=text)
                for words, text in zip(measured, texts, strict=True)
            ]
        else:
            scores = self._head.calibrated(probabilities, _doubt(grid))
            evidence = [
                self._evidence(row, words, float(score))
                for row, words, score in zip(probabilities, measured, scores, strict=True)
            ]
            cells = grid.shape[0] * grid.shape[1]
            for row, region in enumerate(covers):
                if len(region.members) > 1:
                    evidence[row] = self._of_set(evidence[row], row, query)
                elif len(region.indices) >= WHOLE * cells:
                    evidence[row] = self._of_picture(evidence[row], grid)
            if self._things is not None and self._things.knows_regions:
                evidence = self._with_things_beside(evidence, probabilities, query)
        strengths = np.array(
            [[seen.attributes.get(word, 0.0) for word in self._words] for seen in evidence],
            np.float32,
        ).reshape(len(vectors), len(self._words))
        text = self._mixed(probabilities)
        return BridgeOutput(np.concatenate([text, strengths], axis=1), evidence=tuple(evidence))

    def _with_things_beside(
        self, evidence: list[Evidence], probabilities: FloatArray, query: Query
    ) -> list[Evidence]:
        """Add to evidence of regions what parts inside and around them show beside the first."""
        head = self._things
        assert head is not None
        grid, covers = query.grid, query.covers
        rows = [row for row, region in enumerate(covers) if not evidence[row].parts]
        sure = [row for row in rows if evidence[row].verdict == "sure"]
        large = [row for row in sure if len(covers[row].indices) >= FEWEST]
        inside = [pool_inside(grid.embeddings, covers[row]) for row in large]
        single = [row for row in sure if not covers[row].members]
        around = [pool_around(grid.embeddings, covers[row]) for row in single]
        pooled = [*inside, *(means for means, _ in around)]
        beside: dict[int, tuple[Thing, ...]] = dict.fromkeys(rows, ())
        related: dict[int, tuple[Thing, ...]] = {}
        if pooled:
            features = np.concatenate(pooled)[:, : -len(AXES)]
            ends = np.cumsum([len(windows) for windows in pooled])[:-1]
            named = np.split(self.probabilities(features), ends)
            for row, windows in zip(large, named, strict=False):
                beside[row] = head.beside(windows, self._names, self._groups)
            for row, (_, shown), parts in zip(single, around, named[len(large) :], strict=True):
                parts = np.concatenate([probabilities[row, None], parts])
                related[row] = head.around(
                    parts, shown, self._windows(grid), self._names, self._groups
                )
        return [
            replace(item, beside=beside[row], around=related.get(row, ()))
            if row in beside
            else item
            for row, item in enumerate(evidence)
        ]

    def things(self, grid: FeatureGrid) -> tuple[Thing, ...]:
        """Things that the windows of a photograph show, what people mention most readily first.

        Nothing where this bridge has no `ThingHead`.
        """
        if self._things is None:
            return ()
        windows = self._windows(grid)
        assert self._last is not None
        return self._things.things(windows, self._names, self._groups, self._last[2])

    def _of_picture(self, pooled: Evidence, grid: FeatureGrid) -> Evidence:
        """Evidence of a whole picture: what its parts show; guesses at its middle where none is."""
        parts = self.things(grid)
        if not parts:
            return pooled
        best = sorted(parts, key=lambda thing: -thing.probability)[:CANDIDATES]
        score = best[0].probability
        if score >= self._head.sure:
            candidates = tuple((thing.name, thing.probability) for thing in best)
            return replace(pooled, concepts=candidates, score=score, verdict="sure", parts=parts)
        if pooled.verdict == "sure":
            # No part is plain to see, but all of it together is.
            return pooled
        # Parts are named by what people mention; the middle is what the picture was taken of.
        middle = self._merged(self._windows(grid)[MIDDLE, None])
        chance = float(self._head.calibrated(middle, _doubt(grid))[0])
        guesses = self._evidence(middle[0], dict(pooled.attributes), min(chance, score))
        return replace(guesses, parts=parts)

    def _of_set(self, pooled: Evidence, row: int, query: Query) -> Evidence:
        """Evidence of a set: what its sure members show; first guesses where none is sure."""
        members, looks = query.covers[row].members, query.close_ups.get(row)
        features = pool(query.grid, members)[:, : -len(AXES)]
        probabilities = self.named(features)
        if looks is not None and looks.ndim > 1:
            seen = np.isfinite(looks).all(axis=1)
            probabilities[seen] = _agreed(probabilities[seen], self.named(looks[seen]))
        scores = self._head.calibrated(probabilities, _doubt(query.grid))
        any_sure = bool((scores >= self._head.sure).any())
        chosen = np.flatnonzero(scores >= BESIDE_SURE) if any_sure else np.arange(len(scores))
        things = things_of_members(
            self._names,
            probabilities[chosen].argmax(1).tolist(),
            scores[chosen].tolist(),
            [members[place] for place in chosen],
        )
        # What else the members may be is behind their first names.
        others = probabilities.max(0)
        others[[self._index[thing.name] for thing in things]] = 0
        second = np.argsort(-others, kind="stable")[:SHOWN]
        concepts = [(thing.name, thing.probability) for thing in things[:CANDIDATES]]
        concepts += [(self._names[index], float(others[index])) for index in second]
        return replace(
            pooled,
            concepts=tuple(concepts[:CANDIDATES]),
            score=things[0].probability,
            verdict="sure" if any_sure else "unsure",
            parts=things,
        )

    def _windows(self, grid: FeatureGrid) -> FloatArray:
        """Probabilities in the windows of a picture, kept until another grid is asked about."""
        if self._last is None or self._last[0]() is not grid.embeddings:
            features = pool_windows(grid.embeddings)[:, : -len(AXES)]
            deep = features[:, : len(self._imagenet.weights)]
            known = self._imagenet.probabilities(deep, len(self._names))
            self._last = (
                weakref.ref(grid.embeddings),
                self.probabilities(features),
                known_features(known, self._imagenet.has_class(self._names), self._groups),
            )
        return self._last[1]

    def text_vectors(self, query: Query) -> FloatArray:
        """Regions among sentences, shape (n, d), of length one.

        In a photograph the mixture of what is named; in any other picture what the text tower makes
        of the description of what is measured, where there is a tower.
        """
        output = self.answer(query)
        described = [seen.text or "" for seen in output.evidence or ()]
        if self._embed_text is not None and any(described):
            return self._embed_text(described)
        return output.vectors[:, : self._embeddings.shape[1]]

    def _mixed(self, probabilities: FloatArray) -> FloatArray:
        """Mix the best concepts' embeddings, sharpened, to unit length, (n, d)."""
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :_MIXTURE]
        shares = np.take_along_axis(probabilities, best, 1) ** _SHARPNESS
        return unit_rows(np.einsum("nk,nkd->nd", shares, self._embeddings[best]))

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Probability of every concept, shape (n, len(names)), before near-synonyms merge."""
        return self._head.probabilities(features, self._imagenet, len(self._names))

    def named(self, features: FloatArray) -> FloatArray:
        """Merge near-synonyms: a group's share goes to its most probable member."""
        return self._merged(self.probabilities(features))

    def _merged(self, probabilities: FloatArray) -> FloatArray:
        """Probabilities in which a group's share is its most probable member's."""
        merged = probabilities.copy()
        for members in self._groups:
            part = probabilities[:, members]
            merged[:, members] = 0
            rows = np.arange(len(part))
            merged[rows, np.asarray(members)[part.argmax(1)]] = part.sum(1)
        return merged

    def word_probabilities(self, vectors: FloatArray, words: Sequence[str]) -> FloatArray:
        """Return how likely each region shows what a word means, shape (n, words).

        The vectors (n, dim) are pooled ``[features | appearance axes]``. A word means the concept
        of that name, in the singular or the plural, else the one whose name lies nearest among
        sentences, with all of its group; where none is near, its column is NaN.
        """
        chances = np.full((len(vectors), len(words)), np.nan, np.float32)
        probabilities = self.probabilities(vectors[:, : -len(AXES)])
        for column, word in enumerate(words):
            concept = self._concept(word)
            if concept is not None:
                group = next((group for group in self._groups if concept in group), [concept])
                chances[:, column] = probabilities[:, group].sum(axis=1)
        return chances

    def phrase_meaning(self, phrase: str) -> tuple[str, ...]:
        """Return the concepts that a phrase may mean, the nearest first; none where none is near.

        That of this name with its group, all that a wider word stands for ("animal"), or else those
        whose names lie near it among sentences.
        """
        shares = self._shares_of(phrase)
        order = np.argsort(-shares, kind="stable")
        return tuple(self._names[row] for row in order if shares[row] > 0)

    def is_name(self, phrase: str) -> bool:
        """Whether a phrase is the name of a concept or a synonym, in the singular or plural."""
        return bool(self._named(_plain(phrase)))

    def phrase_knowledge(self, phrase: str) -> Knowledge:
        """Return what was learned of what a phrase may mean, see `bridges.base.Knowledge`."""
        shares = self._shares_of(phrase)
        # What lies near in meaning alone is no knowledge of the thing itself.
        meant = shares >= min(1.0, float(shares.max(initial=0.0)) or 1.0)
        if meant[self._head.labels].any():
            return "regions"
        return "pictures" if (meant & self._imagenet.has_class(self._names)).any() else ""

    def phrase_probabilities(self, vectors: FloatArray, phrases: Sequence[str]) -> FloatArray:
        """Return how likely each region shows what a phrase may mean, shape (n, phrases).

        The vectors (n, dim) are pooled ``[features | appearance axes]``; see `phrase_meaning`. Of a
        phrase that means no concept all are NaN.
        """
        shares = np.stack([self._shares_of(phrase) for phrase in phrases], axis=1)
        asked = self._asked
        if asked is None or asked[0]() is not vectors:
            # The same windows are asked about phrase after phrase.
            asked = weakref.ref(vectors), self.probabilities(vectors[:, : -len(AXES)])
            # Those of some regions take no time, and would drive out those of all windows.
            if len(vectors) >= _MANY or self._asked is None or self._asked[0]() is None:
                self._asked = asked
        chances = product(asked[1], shares)
        chances[:, ~shares.any(axis=0)] = np.nan
        return np.asarray(np.minimum(chances, 1), np.float32)

    def adjective_strengths(self, vectors: FloatArray, adjectives: Sequence[str]) -> FloatArray:
        """Return how much regions have each of some adjectives, shape (n, adjectives), 0 to 1.

        The vectors (n, dim) are pooled ``[features | appearance axes]``. Any of the colours of a
        region counts by the share that it takes, which need not be the largest; other adjectives
        are those of `attributes`.
        """
        axes = vectors[:, -len(AXES) :]
        strengths = np.zeros((len(vectors), len(adjectives)), np.float32)
        others = [adjective for adjective in adjectives if adjective not in COLOURS]
        measured = attributes(axes) if others else []
        for column, adjective in enumerate(adjectives):
            if adjective in others:
                strengths[:, column] = [words.get(adjective, 0.0) for words in measured]
                continue
            own = axes[:, AXES.index(f"share_{adjective}")]
            # Pictures without any colour have no balanced shares.
            balanced = axes[:, AXES.index(f"balanced_{adjective}")]
            has_colour = axes[:, _BALANCED].any(axis=1)
            share = np.where(has_colour, (own + balanced) / 2, own)
            low, high = _GRAY_SHARES if adjective in _GRAYS else _COLOUR_SHARES
            strengths[:, column] = ramp(share, low, high)
        return strengths

    def _shares_of(self, phrase: str) -> FloatArray:
        """Return how much each concept is what a phrase means, shape (concepts,), 0 to 1."""
        phrase = _plain(phrase)
        if phrase in self._shares:
            return self._shares[phrase]
        shares = np.zeros(len(self._names), np.float32)
        exact = self._named(phrase)
        for concept in exact:
            group = next((group for group in self._groups if concept in group), [concept])
            shares[group] = 1
        if phrase and not exact and self._embed_text is not None:
            likeness = self._embeddings @ unit_rows(self._embed_text([phrase]))[0]
            near = np.argsort(-likeness, kind="stable")[:_MEANINGS]
            best = float(likeness[near[0]])
            rise = (likeness[near] - (best - _BELOW_BEST)) / (_BELOW_BEST / 2)
            shares[near] = np.where(likeness[near] < _LEAST_MEANING, 0, rise.clip(0, 1))
        self._shares[phrase] = shares
        return shares

    def _named(self, phrase: str) -> list[int]:
        """Return the concepts of this name, or those that it is a wider word for."""
        forms = (phrase, phrase.removesuffix("s"), phrase.removesuffix("es"), f"{phrase}s")
        names = next((self._meanings[form] for form in forms if form in self._meanings), ())
        # "Animals" are each an "animal", which stands for many.
        own = (name for name in names if name in forms)
        wider = (other for name in own for other in self._meanings.get(name, ()))
        meant = dict.fromkeys((*forms, *names, *wider))
        return [self._index[name] for name in meant if name in self._index]

    def _concept(self, word: str) -> int | None:
        """Return which concept a word means, if any."""
        word = _plain(word)
        if word not in self._meant:
            forms = (word, word.removesuffix("s"), word.removesuffix("es"), f"{word}s")
            concept = next((self._index[form] for form in forms if form in self._index), None)
            self._meant[word] = self._nearest(word) if concept is None else concept
        return self._meant[word]

    def _nearest(self, word: str) -> int | None:
        """Return the concept whose name means the same as a word to the text tower, if any."""
        if not word or self._embed_text is None:
            return None
        likeness = self._embeddings @ unit_rows(self._embed_text([word]))[0]
        # What is only said of the thing, as "hair" in "hair drier", is not the thing.
        nearest = (
            int(index)
            for index in np.argsort(-likeness, kind="stable")[:_MIXTURE]
            if likeness[index] >= _SAME_MEANING and not word.startswith(f"{self._names[index]} ")
        )
        return next(nearest, None)

    def _evidence(self, row: FloatArray, words: dict[str, float], score: float) -> Evidence:
        best = np.argsort(-row, kind="stable")[:CANDIDATES]
        likely = row[best] >= MIN_SHARE * row[best[0]]
        best = best[likely | (np.arange(len(best)) < SHOWN)]
        return Evidence(
            concepts=tuple((self._names[index], float(row[index])) for index in best),
            attributes=suiting(words, self._names[best[0]]),
            score=score,
            verdict="sure" if score >= self._head.sure else "unsure",
        )


def _doubt(grid: FeatureGrid) -> float:
    """Say how much less is known of a picture of few pixels, in log-odds."""
    octaves = np.log2(_ENOUGH / max(grid.transform.extent[2:]))
    return float(_OCTAVE * max(octaves, 0.0) ** 2)


def _unit(pixel_size: str | None, grid: FeatureGrid) -> tuple[float, str] | None:
    """Length of a pixel of an image whose long side is 640, and its unit, where it is known."""
    if pixel_size is None:
        return None
    length, unit = as_length(pixel_size)
    return length * max(grid.transform.extent[2:]) / LONG_SIDE, unit


def _lightness_around(grid: FeatureGrid, covers: Sequence[PatchWeights]) -> FloatArray | None:
    """Lightness of each region together with a margin around it, shape (n,)."""
    if not covers:
        return None
    plane = grid.embeddings[..., AXES.index("lightness") - len(AXES)]
    means = []
    for region in covers:
        (top, bottom), (left, right) = (
            (places.min(), places.max() + 1) for places in (region.rows, region.columns)
        )
        margin = math.ceil(_MARGIN * max(bottom - top, right - left))
        part = plane[max(top - margin, 0) : bottom + margin, max(left - margin, 0) : right + margin]
        means.append(part.mean())
    return np.array(means, np.float32)


def _middles(axes: FloatArray, grid: FeatureGrid, covers: Sequence[PatchWeights]) -> FloatArray:
    """Axes of regions, (n, len(AXES)), pooled again with more weight on the middle of each.

    Around a thing that is drawn as a box lies what is not the thing.
    """
    if not covers:
        return axes
    cells = grid.embeddings.reshape(-1, grid.dim)[:, -len(AXES) :]
    middles = axes.copy()
    for row, region in enumerate(covers):
        weights = region.weights.astype(np.float64)
        for places in (region.rows, region.columns):
            low, high = places.min(), places.max() + 1
            away = (places + 0.5 - (low + high) / 2) / (_MIDDLE * (high - low))
            weights = weights * np.exp(-0.5 * away**2)
        own = cells[region.indices].astype(np.float64)
        middles[row] = product(weights[None], own)[0] / weights.sum()
    return middles


@dataclass(frozen=True, eq=False, slots=True)
class ImageNetClassifier:
    """The published ImageNet classifier, its classes grouped under concepts.

    ``weights`` (channels, classes), ``bias`` (classes,), ``groups`` (classes,): each class's
    concept.
    """

    weights: FloatArray
    bias: FloatArray
    groups: npt.NDArray[np.int64]

    def probabilities(self, deep: FloatArray, concepts: int) -> FloatArray:
        """Probability of every concept, zero where it has no class, shape (n, concepts)."""
        classes = softmax(product(deep, self.weights) + self.bias)
        grouped = np.zeros((concepts, len(deep)), np.float32)
        np.add.at(grouped, self.groups, classes.T)
        return grouped.T

    def has_class(self, names: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which concepts it can know of, shape (len(names),); of persons, the bridegroom alone."""
        grouped = np.isin(np.arange(len(names)), self.groups)
        return np.asarray(grouped & (np.array(names) != "person"))


@dataclass(frozen=True, eq=False, slots=True)
class ConceptHead:
    """Concept probabilities of pooled features.

    Logits of the concepts fitted on development images are a linear function, plus that of a hidden
    layer, plus ``prior`` times the log-probability that ImageNet gives them: the fewer images
    showed a concept, the more ImageNet counts. Of the other concepts, those it finds likely have
    ``open_prior`` times that log-probability plus ``open_offset``. The softmax of both at
    ``temperature`` is the answer.

    ``weights`` (dim, fitted) and ``hidden`` (dim, units) read the square root of deep features, and
    middle features as they are; ``hidden_bias`` (units,) and ``hidden_weights`` (units, fitted)
    belong to the hidden layer, whose negative units count as zero; ``labels`` (fitted,) are the
    concepts of the outputs; ``mixing`` holds ``open_prior, open_offset, temperature``;
    ``score_offsets`` (concepts,), ``score_steps`` and ``score_values`` (knots,) make of the first
    concept's probability that of being right: some are taken for others more often than their
    probability says. From the score ``sure_from`` (1,) on a caption needs no hedge.
    """

    weights: FloatArray
    bias: FloatArray
    hidden: FloatArray
    hidden_bias: FloatArray
    hidden_weights: FloatArray
    labels: npt.NDArray[np.int64]
    prior: FloatArray
    mixing: FloatArray
    score_offsets: FloatArray
    score_steps: FloatArray
    score_values: FloatArray
    sure_from: FloatArray

    @property
    def dim(self) -> int:
        """Length of the features it reads."""
        return len(self.weights)

    @property
    def sure(self) -> float:
        """Score from which a caption needs no hedge."""
        return float(self.sure_from[0])

    def probabilities(
        self, features: FloatArray, imagenet: ImageNetClassifier, concepts: int
    ) -> FloatArray:
        """Probabilities of all concepts, shape (n, concepts); each row sums to one.

        ``features`` (n, dim) are pooled ``[deep | middle]``.
        """
        deep = len(imagenet.weights)
        known = np.log(imagenet.probabilities(features[:, :deep], concepts) + _MIN_PROBABILITY)
        open_prior, open_offset, temperature = self.mixing
        # Hundreds of names with a trace of probability each must not drown the likely ones.
        logits = np.where(
            known > np.log(_MIN_OPEN), open_prior * known + open_offset, -np.inf
        ).astype(np.float32)
        logits[:, self.labels] = -np.inf
        inputs = head_input(features, deep)
        units = np.maximum(product(inputs, self.hidden) + self.hidden_bias, 0)
        fitted = product(inputs, self.weights) + self.bias + product(units, self.hidden_weights)
        fitted += self.prior * (known[:, self.labels] - np.log(_EVEN))
        fitted = np.log(np.maximum(softmax(fitted), 1e-9))
        # Two categories may be one concept, so their logits add up as probabilities do.
        np.logaddexp.at(logits.T, self.labels, fitted.T)
        return softmax(logits / temperature)

    def calibrated(self, probabilities: FloatArray, doubt: float = 0.0) -> FloatArray:
        """Probability that the likeliest concept is right, from those of all, shape (n,).

        ``doubt`` is taken from the log-odds.
        """
        odds = first_odds(probabilities) + self.score_offsets[probabilities.argmax(1)] - doubt
        scores: FloatArray = np.interp(odds, self.score_steps, self.score_values).astype(np.float32)
        return scores


def first_odds(probabilities: FloatArray) -> FloatArray:
    """Log-odds of the likeliest concept of each row, (n, concepts), shape (n,)."""
    best = probabilities.max(1).clip(_FARTHEST, 1 - _FARTHEST)
    odds: FloatArray = np.log(best) - np.log1p(-best)
    return odds


def head_input(features: FloatArray, deep: int) -> FloatArray:
    """Features as the head reads them: square roots prevent a few strong channels from ruling."""
    return np.concatenate([np.sqrt(np.maximum(features[:, :deep], 0)), features[:, deep:]], axis=1)


def load_head(path: Path, model: str | None = None) -> ConceptHead:
    """Read a head, of a certain model if its id is given, from a safetensors file."""
    head = ConceptHead(**_arrays(path, ConceptHead))
    outputs = head.weights.shape[-1:]
    parts = (head.bias, head.labels, head.prior)
    if head.weights.ndim != 2 or any(part.shape != outputs for part in parts):
        raise own_file_damaged(path)
    units = head.hidden_bias.shape
    if (head.hidden.shape, head.hidden_weights.shape) != ((head.dim, *units), units + outputs):
        raise own_file_damaged(path)
    if (head.mixing.shape, head.sure_from.shape) != ((3,), (1,)):
        raise own_file_damaged(path)
    if head.score_steps.shape != head.score_values.shape or head.score_offsets.ndim != 1:
        raise own_file_damaged(path)
    owner = read_notes(path).get("model")
    if model is not None and owner != model:
        raise ModelError(
            f"{path} belongs to {owner or 'no model'}, not to {model}; reinstall napari-patchioner "
            "to restore it."
        )
    return head


def load_imagenet(path: Path) -> ImageNetClassifier:
    """Read the ImageNet classifier from a safetensors file."""
    classifier = ImageNetClassifier(**_arrays(path, ImageNetClassifier))
    shapes = {part.shape for part in (classifier.bias, classifier.groups)}
    if classifier.weights.ndim != 2 or shapes != {classifier.weights.shape[1:]}:
        raise own_file_damaged(path)
    return classifier


def _arrays(path: Path, kind: type[ConceptHead | ImageNetClassifier]) -> dict[str, Any]:
    """Return the arrays of a file that a kind of network is made of."""
    arrays = read_own_arrays(path)
    names = [field.name for field in fields(kind)]
    if any(name not in arrays for name in names):
        raise own_file_damaged(path)
    return {name: arrays[name] for name in names}


def _agreed(first: FloatArray, second: FloatArray) -> FloatArray:
    """Combine the probabilities of two looks, shape (n, concepts): their geometric mean."""
    both: FloatArray = np.sqrt((first + _LEAST) * (second + _LEAST))
    both /= both.sum(axis=1, keepdims=True)
    return both


def _plain(phrase: str) -> str:
    """Return a phrase in lower case without its article."""
    return _ARTICLE.sub("", phrase.strip().casefold())


def softmax(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    normalised: FloatArray = shifted / shifted.sum(-1, keepdims=True)
    return normalised
