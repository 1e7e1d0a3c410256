"""From cached features to the shipped heads, and to the heads of the folds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from scipy.optimize import isotonic_regression, minimize

from napari_patchioner.bridges.concepts import (
    ConceptBridge,
    ConceptHead,
    first_odds,
    load_imagenet,
)
from napari_patchioner.decoders.grounded.vocabulary import ATTRIBUTES, load_concepts
from napari_patchioner.evaluation.metrics.mention import mentions
from napari_patchioner.models.embedded import FOLDER, HEADS, NEAR

from .concept_map import concept_index
from .crossval import FOLDS, folds_of
from .head import DEEP, Basis, find_basis, fit_reading, one_hot, region_weights
from .pooled import Pooled, Tags, pool_development_images
from .zeroshot import fit_from_tags

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from napari_patchioner.decoders.grounded.vocabulary import Concept

    from .head import Reading

FloatArray: TypeAlias = npt.NDArray[np.float32]
Booleans: TypeAlias = npt.NDArray[np.bool_]
HeadName = Literal["mini", "mini-zeroshot"]

MIXING: dict[HeadName, tuple[float, float, float]] = {
    "mini": (1.0, -0.2, 1.25),
    "mini-zeroshot": (0.5, -1.5, 1.0),
}
"""Open prior, open offset and temperature of each head, chosen by cross-validation."""

PRIOR, RARE_PRIOR, RARE = 0.2, 0.4, 4
"""ImageNet's weight, what it gains for outputs nobody saw, and the images that halve the gain."""

UNKNOWN = 0.02
"""Probability that stands for ImageNet's opinion where it has none."""

SURE: dict[HeadName, float] = {"mini": 0.7, "mini-zeroshot": 0.6}
"""Score of each head from which a caption needs no hedge."""

OWN = 1.0
"""Ridge of the offsets that the score has for each concept, or for each kind of concepts."""

MIXED = 3
"""What a photograph of all sorts of things counts where the score of `mini-zeroshot` is fitted."""

KNOTS: dict[HeadName, int] = {"mini": 20, "mini-zeroshot": 10}
_STEP = 0.1
"""Knots of the calibration curve, and how far apart at least, so that it is nowhere too steep. With
20, that of `mini-zeroshot` followed chance: a fold that it had not seen was off by half as much
again."""


@dataclass(frozen=True, eq=False, slots=True)
class Material:
    """Everything the heads are fitted on.

    Attributes
    ----------
    regions, windows : Pooled
    tags : mapping of str to Tags
    concepts : list of Concept
    outputs : tuple of str
        Plain category names, one per fitted output.
    labels : ndarray of int64, shape (outputs,)
        The concept of each output.
    known : ndarray of float32, shape (windows, outputs)
        Log-probability that ImageNet gives each output in each window.
    """

    regions: Pooled
    windows: Pooled
    tags: Mapping[str, Tags]
    concepts: list[Concept]
    outputs: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    known: FloatArray


def prepare(data: Path, cache: Path, folder: Path = FOLDER, *, seed: int = 0) -> Material:
    """Pool all regions and windows and look up what the classes are called."""
    regions, windows, tags = pool_development_images(data, cache, seed=seed)
    concepts = load_concepts(folder / "concepts.json")
    outputs = tuple(sorted(set(regions.categories.tolist())))
    labels = np.array([concept_index(name, concepts) for name in outputs])
    imagenet = load_imagenet(folder / "imagenet.safetensors")
    found = imagenet.probabilities(windows.features[:, :DEEP], len(concepts))
    known = np.log(found[:, labels] + 1e-3)
    known[:, [_blind(concepts[label]) for label in labels]] = np.log(UNKNOWN)
    return Material(regions, windows, tags, concepts, outputs, labels, known)


def take(pooled: Pooled, kept: Booleans) -> Pooled:
    """Choose some of the examples."""
    return Pooled(**{field.name: getattr(pooled, field.name)[kept] for field in fields(Pooled)})


def fit(name: HeadName, material: Material, held_out: int | None, *, seed: int = 0) -> ConceptHead:
    """Fit one head, calibration aside.

    Parameters
    ----------
    name : {"mini", "mini-zeroshot"}
    material : Material
    held_out : int, optional
        Fold whose images it must not see.
    seed : int

    Returns
    -------
    ConceptHead
        Its score is the probability of the first concept.
    """
    if name == "mini":
        kept = folds_of(material.regions.images) != (-1 if held_out is None else held_out)
        regions = take(material.regions, kept)
        basis = find_basis(regions.features[regions.copies == 0])
        targets = one_hot(regions.categories, material.outputs)
        inputs = basis(regions.features)
        reading = fit_reading(inputs, targets, region_weights(regions), basis, seed=seed)
    else:
        kept = folds_of(material.windows.images) != (-1 if held_out is None else held_out)
        windows = take(material.windows, kept)
        basis = _window_basis(windows)
        known = material.known[kept]
        reading = fit_from_tags(windows, material.tags, material.outputs, known, basis)
    return _head(name, reading, material)


def unseen_probabilities(material: Material, heads: Mapping[int, ConceptHead]) -> FloatArray:
    """Concept probabilities of every region by the head that never saw its image.

    Parameters
    ----------
    material : Material
    heads : mapping of int to ConceptHead
        By held-out fold.

    Returns
    -------
    ndarray of float32, shape (regions, concepts)
        Near-synonyms merged as the bridge merges them.
    """
    names = [concept.name for concept in material.concepts]
    imagenet = load_imagenet(FOLDER / "imagenet.safetensors")
    nothing = np.zeros((len(names), 1), np.float32)
    found = np.zeros((len(material.regions), len(names)), np.float32)
    folds = folds_of(material.regions.images)
    for fold, head in heads.items():
        bridge = ConceptBridge(head, imagenet, names, nothing, ATTRIBUTES, NEAR)
        rows = folds == fold
        found[rows] = bridge.named(material.regions.features[rows])
    return found


def calibrate(
    material: Material,
    probabilities: FloatArray,
    name: HeadName = "mini",
    mixed: Collection[str] = (),
    held_out: int | None = None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """From the first concept's probability to how often such a concept is right.

    Parameters
    ----------
    material : Material
    probabilities : ndarray of float32, shape (regions, concepts)
        By heads that have not seen the regions.
    name : {"mini", "mini-zeroshot"}
        Concepts are taken for others more or less often: `mini` tells each apart. No region's name
        is for `mini-zeroshot`, which tells apart kinds of concepts alone, and asks no stuff, of
        which it knows little.
    mixed : collection of str
        Photographs of all sorts of things, by file name; the others are mostly of persons, and
        count less for `mini-zeroshot`.
    held_out : int, optional
        Fold whose regions must not be asked, so that the score of its head can be measured.

    Returns
    -------
    offsets : ndarray of float32, shape (concepts,)
        Added to the log-odds of each concept.
    steps, values : ndarray of float32, shape (knots,)
        Log-odds with their offset, and probabilities; both rising.
    """
    regions = material.regions
    rows = np.flatnonzero(measured(regions))
    if held_out is not None:
        rows = rows[folds_of(regions.images[rows]) != held_out]
    groups = np.arange(len(material.concepts))
    if name == "mini-zeroshot":
        rows = rows[regions.kinds[rows] == "box"]
        rows = np.repeat(rows, np.where(np.isin(regions.images[rows], [*mixed]), MIXED, 1))
        kinds = [concept.kind for concept in material.concepts]
        groups = np.unique(kinds, return_inverse=True)[1]
    first, odds = probabilities[rows].argmax(1), first_odds(probabilities[rows])
    names = [concept.name for concept in material.concepts]
    right = np.array(
        [
            mentions(names[index], category)
            for index, category in zip(first, regions.categories[rows], strict=True)
        ]
    )
    offsets = _offsets(odds, groups[first], right, int(groups.max()) + 1)[groups]
    believed = odds + offsets[first]
    levels = np.quantile(believed, np.linspace(0, 1, KNOTS[name] + 1)[1:-1])
    place = np.digitize(believed, np.unique(np.round(levels / _STEP) * _STEP))
    counts = np.bincount(place)
    filled = np.flatnonzero(counts)
    steps = (np.bincount(place, believed) / np.maximum(counts, 1))[filled]
    shares = (np.bincount(place, right) / np.maximum(counts, 1))[filled]
    values = isotonic_regression(shares, weights=counts[filled]).x
    # One knot in the middle of every plateau, so that no two probabilities score the same.
    levels = np.unique(values)
    middles = [steps[values == level].mean() for level in levels]
    return offsets, np.array(middles, np.float32), levels.astype(np.float32)


def _offsets(
    odds: FloatArray, first: npt.NDArray[np.int64], right: Booleans, groups: int
) -> FloatArray:
    """Return what to add to the log-odds of each group of concepts, shape (groups,)."""

    def loss(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        bias, slope, own = parameters[0], parameters[1], parameters[2:]
        believed = bias + slope * odds + own[first]
        residual = 1 / (1 + np.exp(-believed)) - right
        value = float((np.logaddexp(0, believed) - right * believed).sum() + OWN * own @ own)
        by_group = np.bincount(first, residual, groups) + 2 * OWN * own
        return value, np.concatenate([[residual.sum(), residual @ odds], by_group])

    start = np.zeros(groups + 2)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    offsets: FloatArray = (found[2:] / found[1]).astype(np.float32)
    return offsets


def measured(regions: Pooled) -> Booleans:
    """Find what counts when measuring: boxes and stuff above two percent of the image."""
    counts: Booleans = (regions.copies == 0) & (regions.areas > 0.02) & (regions.kinds != "mask")
    return counts


def write_head(head: ConceptHead, path: Path, name: HeadName) -> None:
    """Write the head of a model as safetensors, what is large as float16."""
    tensors = {field.name: getattr(head, field.name) for field in fields(ConceptHead)}
    for part in ("weights", "hidden", "hidden_weights"):
        tensors[part] = tensors[part].astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {part: np.ascontiguousarray(value) for part, value in tensors.items()}
    save_file(contiguous, path, metadata={"model": name})
    path.chmod(0o644)


def build(
    name: HeadName, material: Material, shipped: Path, folds: Path, mixed: Collection[str]
) -> FloatArray:
    """Fit, calibrate and write the shipped head and those of the folds.

    ``mixed`` goes to `calibrate`.

    Returns
    -------
    ndarray of float32, shape (regions, concepts)
        Out-of-fold probabilities.
    """
    heads = {fold: fit(name, material, fold) for fold in range(FOLDS)}
    probabilities = unseen_probabilities(material, heads)
    heads[-1] = fit(name, material, None)
    short = name.removeprefix("mini-")
    for fold, head in heads.items():
        path, held_out = folds / f"head_{short}_fold{fold}.safetensors", fold
        if fold < 0:
            path, held_out = shipped / HEADS[name], None
        offsets, steps, values = calibrate(material, probabilities, name, mixed, held_out)
        calibrated = replace(head, score_offsets=offsets, score_steps=steps, score_values=values)
        write_head(calibrated, path, name)
    return probabilities


def _blind(concept: Concept) -> bool:
    """Whether ImageNet has nothing to say: no class, or a stray one for people and ground."""
    stray = concept.kind in ("person", "stuff", "scene") and len(concept.imagenet) < 2
    return stray or not concept.imagenet


def _window_basis(windows: Pooled) -> Basis:
    generator = np.random.default_rng(0)
    rows = generator.choice(len(windows), min(len(windows), 5000), replace=False)
    return find_basis(windows.features[rows])


def _priors(name: HeadName, material: Material) -> FloatArray:
    """Weight of ImageNet's opinion on each output; tags were shared out by it already."""
    if name == "mini-zeroshot":
        return np.zeros(len(material.outputs), np.float32)
    regions = material.regions
    shown = [set(regions.images[regions.categories == output]) for output in material.outputs]
    images = np.array([len(found) for found in shown])
    blind = np.array([_blind(material.concepts[label]) for label in material.labels])
    return np.where(blind, PRIOR, PRIOR + RARE_PRIOR * RARE / (RARE + images)).astype(np.float32)


def _head(name: HeadName, reading: Reading, material: Material) -> ConceptHead:
    """Make a head whose score is the probability of the first concept."""
    # As it ships: what is large in half precision.
    weights, hidden, hidden_weights = (
        part.astype(np.float16).astype(np.float32)
        for part in (reading.weights, reading.hidden, reading.hidden_weights)
    )
    levels = np.linspace(0, 1, KNOTS[name] + 2, dtype=np.float32)[1:-1]
    return ConceptHead(
        weights,
        reading.bias.astype(np.float32),
        hidden,
        reading.hidden_bias.astype(np.float32),
        hidden_weights,
        material.labels,
        _priors(name, material),
        np.array(MIXING[name], np.float32),
        np.zeros(len(material.concepts), np.float32),
        np.log(levels) - np.log1p(-levels),
        levels,
        np.array([SURE[name]], np.float32),
    )
