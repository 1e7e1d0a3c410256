"""From cached features to the shipped heads, and to the heads of the folds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from scipy.optimize import isotonic_regression

from napari_patchioner.bridges.concepts import ConceptBridge, ConceptHead, load_imagenet
from napari_patchioner.decoders.grounded.vocabulary import ATTRIBUTES, load_concepts
from napari_patchioner.evaluation.metrics.mention import mentions
from napari_patchioner.models.embedded import FOLDER, HEADS, NEAR

from .concept_map import concept_index
from .crossval import FOLDS, folds_of
from .head import DEEP, Basis, find_basis, fit_reading, one_hot, region_weights
from .pooled import Pooled, Tags, pool_development_images
from .zeroshot import fit_from_tags

if TYPE_CHECKING:
    from collections.abc import Mapping
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

_KNOTS = 20
_STEP = 0.02
"""Knots of the calibration curve, and how far apart at least, so that it is nowhere too steep."""


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
        Its calibration is the identity.
    """
    if name == "mini":
        kept = folds_of(material.regions.images) != (-1 if held_out is None else held_out)
        regions = take(material.regions, kept)
        basis = find_basis(regions.features[regions.copies == 0])
        targets = one_hot(regions.categories, material.outputs)
        reading = fit_reading(regions, targets, region_weights(regions), basis, seed=seed)
    else:
        kept = folds_of(material.windows.images) != (-1 if held_out is None else held_out)
        windows = take(material.windows, kept)
        basis = _window_basis(windows)
        known = material.known[kept]
        reading = fit_from_tags(windows, material.tags, material.outputs, known, basis)
    return _head(reading, material.labels, _priors(name, material), MIXING[name])


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


def calibrate(material: Material, probabilities: FloatArray) -> tuple[FloatArray, FloatArray]:
    """From the first concept's probability to how often such a concept is right.

    Returns
    -------
    steps, values : ndarray of float32, shape (knots,)
        Both rising.
    """
    rows = measured(material.regions)
    first = probabilities[rows].argmax(1)
    names = [concept.name for concept in material.concepts]
    right = np.array(
        [
            mentions(names[index], category)
            for index, category in zip(first, material.regions.categories[rows], strict=True)
        ]
    )
    believed = probabilities[rows].max(1)
    levels = np.quantile(believed, np.linspace(0, 1, _KNOTS + 1)[1:-1])
    place = np.digitize(believed, np.unique(np.round(levels / _STEP) * _STEP))
    counts = np.bincount(place)
    filled = np.flatnonzero(counts)
    steps = (np.bincount(place, believed) / np.maximum(counts, 1))[filled]
    shares = (np.bincount(place, right) / np.maximum(counts, 1))[filled]
    values = isotonic_regression(shares, weights=counts[filled]).x
    # One knot in the middle of every plateau, so that no two probabilities score the same.
    levels = np.unique(values)
    middles = [steps[values == level].mean() for level in levels]
    return np.array(middles, np.float32), levels.astype(np.float32)


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


def build(name: HeadName, material: Material, shipped: Path, folds: Path) -> FloatArray:
    """Fit, calibrate and write the shipped head and those of the folds.

    Returns
    -------
    ndarray of float32, shape (regions, concepts)
        Out-of-fold probabilities.
    """
    heads = {fold: fit(name, material, fold) for fold in range(FOLDS)}
    probabilities = unseen_probabilities(material, heads)
    steps, values = calibrate(material, probabilities)
    heads[-1] = fit(name, material, None)
    short = name.removeprefix("mini-")
    for fold, head in heads.items():
        path = shipped / HEADS[name] if fold < 0 else folds / f"head_{short}_fold{fold}.safetensors"
        write_head(replace(head, score_steps=steps, score_values=values), path, name)
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


def _head(
    reading: Reading,
    labels: npt.NDArray[np.int64],
    prior: FloatArray,
    mixing: tuple[float, float, float],
) -> ConceptHead:
    identity = np.array([0, 1], np.float32)
    # As it ships: what is large in half precision.
    weights, hidden, hidden_weights = (
        part.astype(np.float16).astype(np.float32)
        for part in (reading.weights, reading.hidden, reading.hidden_weights)
    )
    return ConceptHead(
        weights,
        reading.bias.astype(np.float32),
        hidden,
        reading.hidden_bias.astype(np.float32),
        hidden_weights,
        labels,
        prior,
        np.array(mixing, np.float32),
        identity,
        identity,
    )
