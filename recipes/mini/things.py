"""What of a picture people mention, and what is there: fitted on captions and labels.

Run ``python -m recipes.mini.things --data DATA --work WORK`` after `recipes.mini.vision`, whose
features and heads of folds it reads, for the file that comes with the package. No window is read
by a head that saw its picture.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from scipy.optimize import minimize

from napari_patchioner.backbones.mini import SIZE, grid_shape, resample
from napari_patchioner.bridges.around import pool_around
from napari_patchioner.bridges.concepts import load_head, load_imagenet
from napari_patchioner.bridges.things import (
    BESIDE,
    CONSIDERED,
    FEATURES,
    ThingHead,
    beside_features,
    known_features,
    pool_inside,
    pool_windows,
    thing_features,
)
from napari_patchioner.decoders.grounded import GroundedDecoder
from napari_patchioner.decoders.grounded.vocabulary import load_concepts, load_embeddings
from napari_patchioner.evaluation.metrics.overlap import bleu, cider_d
from napari_patchioner.images import image_size
from napari_patchioner.models.embedded import FOLDER, HEADS, NEAR, THINGS
from napari_patchioner.regions import GridTransform, Mask, cover

from .around import Lie, around_candidates, relations_of
from .coco_folders import FOLDERS, MORE_FOLDERS, development_images
from .concept_map import concept_index
from .corpus import Reader, read_captions
from .crossval import fold_head
from .features import compute_features, load_network, read_features
from .options import recipe_parser
from .unlike import Shown, imagenet_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence, Set

    from napari_patchioner.bridges.concepts import ConceptHead, ImageNetClassifier
    from napari_patchioner.decoders.grounded.scenes import Scenes
    from napari_patchioner.decoders.grounded.vocabulary import Concept

    from .coco_folders import LabelledImage, LabelledRegion

FloatArray = npt.NDArray[np.float64]

# So many of a thing are several.
SEVERAL = 3
# A region holds what lies in it for the most part and is seen, or takes much of it.
_MOST, _SEEN, _MUCH = 0.5, 0.03, 0.3
# What is there is mentioned by so many. What a picture unlike COCO's counts where it is fitted what
# is mentioned and what is shown: ImageNet's, so that there are enough of them, and VOC's.
_TOLD = 0.8
_UNLIKE, _BOXED = (1.0, 6.0), (0.0, 2.0)
_ALL_OF_ITS_OWN = "voc2012"
"""The folder whose photographs have all things labelled that are of one of its own classes."""
# Smallest boxes in which windows are named, smallest around which it is looked, and how many of a
# picture.
SMALLEST, _LEAST, _BOXES = 0.02, 0.005, 10
# Ridge of the weights, of each concept's own offset, and of that of its kind.
_RIDGE, _OWN, _KIND = 0.3, 3.0, 1.0


class Windows(NamedTuple):
    """What windows of a picture show.

    ``chances`` (84, concepts) are probabilities by a head that did not see the picture, ``known``
    (concepts,) are `known_features`.
    """

    chances: npt.NDArray[np.float32]
    known: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, slots=True)
class Candidates:
    """Concepts that windows of pictures suggest.

    Attributes
    ----------
    features : ndarray of float, shape (n, FEATURES + 1)
        The last are `known_features`.
    concepts : ndarray of int64, shape (n,)
        The first concept of each one's group.
    mentioned : ndarray of float, shape (n,)
        Share of the picture's captions that mention it.
    shown : ndarray of float, shape (n,)
        1 where a caption mentions it or a label names it, else 0; not a number where nobody says.
    several : ndarray of float, shape (n,)
        1 where three or more boxes are labelled so, else 0; the share of captions that mention it
        in the plural where nothing is labelled.
    counts : ndarray of float, shape (n, 3)
        What each counts in the three regressions.
    """

    features: FloatArray
    concepts: npt.NDArray[np.int64]
    mentioned: FloatArray
    shown: FloatArray
    several: FloatArray
    counts: FloatArray


class Gatherer:
    """Finds candidates in the windows of pictures.

    Parameters
    ----------
    concepts : sequence of Concept
        What can be named.
    """

    def __init__(self, concepts: Sequence[Concept]) -> None:
        self.concepts = concepts
        self.read = Reader(concepts).read
        index = {concept.name: position for position, concept in enumerate(concepts)}
        self.owners = np.arange(len(concepts))
        self.groups = [[index[name] for name in group if name in index] for group in NEAR]
        for members in self.groups:
            self.owners[members] = members[0]

    def known(
        self, windows: npt.NDArray[np.float32], imagenet: ImageNetClassifier
    ) -> npt.NDArray[np.float32]:
        """`known_features` of pooled windows, (84, dim)."""
        names = [concept.name for concept in self.concepts]
        found = imagenet.probabilities(windows[:, : len(imagenet.weights)], len(names))
        return known_features(found, imagenet.has_class(names), self.groups)

    def mentions(self, captions: Iterable[str]) -> Counter[int]:
        """In how many captions each group of concepts is mentioned."""
        return Counter(
            owner
            for caption in captions
            for owner in {int(self.owners[said.concept]) for said in self.read(caption)}
        )

    def considered(self, seen: Windows) -> tuple[npt.NDArray[np.float32], list[int]]:
        """Features of the concepts that windows suggest, and which these are."""
        grouped = np.zeros_like(seen.chances)
        np.add.at(grouped.T, self.owners, seen.chances.T)
        kept = np.flatnonzero(grouped.max(0) >= CONSIDERED).tolist()
        return np.column_stack([thing_features(grouped), seen.known])[kept], kept

    def candidates(self, seen: Windows, image: LabelledImage) -> Candidates:
        """Concepts that the windows of a picture with captions suggest."""
        features, kept = self.considered(seen)
        said = self.mentions(image.captions)
        many = Counter(
            owner
            for caption in image.captions
            for owner in {int(self.owners[it.concept]) for it in self.read(caption) if it.plural}
        )
        labels = (*image.boxes, *image.stuff)
        labelled = Counter(
            int(self.owners[concept_index(region.category, self.concepts)]) for region in labels
        )
        several = [
            float(labelled[concept] >= SEVERAL) if labels else many[concept] / len(image.captions)
            for concept in kept
        ]
        return Candidates(
            features.astype(float),
            np.array(kept, int),
            np.array([said[concept] / len(image.captions) for concept in kept]),
            np.array([float(labelled[concept] + said[concept] > 0) for concept in kept]),
            np.array(several),
            np.ones((len(kept), 3)),
        )

    def judged(
        self, seen: Windows, shown: Callable[[int], float], counts: tuple[float, float]
    ) -> Candidates:
        """Concepts that the windows of a picture without captions suggest.

        ``shown`` says of a concept whether it is there; ``counts`` are for being mentioned, as what
        is there mostly is, and for being shown.
        """
        features, kept = self.considered(seen)
        there = np.array([shown(concept) for concept in kept])
        return Candidates(
            features.astype(float),
            np.array(kept, int),
            _TOLD * there,
            there,
            np.full(len(kept), np.nan),
            np.tile([*counts, 0.0], (len(kept), 1)),
        )


def gather(parts: Sequence[Candidates]) -> Candidates:
    """Put the candidates of pictures together."""
    return Candidates(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Candidates)
        )
    )


def beside_candidates(
    windows: npt.NDArray[np.float32], box: LabelledRegion, image: LabelledImage, gatherer: Gatherer
) -> tuple[npt.NDArray[np.float32], list[int], list[float]]:
    """Features, concepts, and whether a label names each, of what is beside a box's first concept.

    ``windows`` (1 + n, concepts) are probabilities, of the box itself first. What lies on the
    ground is no candidate where the picture's ground is not labelled.
    """
    grouped = np.zeros_like(windows)
    np.add.at(grouped.T, gatherer.owners, windows.T)
    best = int(grouped[0].argmax())
    kept = [
        concept
        for concept in np.flatnonzero(grouped[1:].max(0) >= BESIDE).tolist()
        if concept != best and (image.stuff or gatherer.concepts[concept].kind != "stuff")
    ]
    inside = inside_of(box, image, gatherer)
    return beside_features(grouped)[kept], kept, [float(concept in inside) for concept in kept]


def inside_of(box: LabelledRegion, image: LabelledImage, gatherer: Gatherer) -> set[int]:
    """Concepts that labels have inside a box, that of the box among them."""
    return {
        int(gatherer.owners[concept_index(other.category, gatherer.concepts)])
        for other in (*image.boxes, *image.stuff)
        if _is_inside(other, box)
    }


def _is_inside(other: LabelledRegion, box: LabelledRegion) -> bool:
    """Whether a box holds most of another region, or another region much of the box."""
    bounds = box.region.bounds()
    if isinstance(other.region, Mask):
        rows, columns = np.nonzero(other.region.pixels)
        rows, columns = rows + other.region.offset[0], columns + other.region.offset[1]
        shared = float(
            (
                (rows >= bounds.top)
                & (rows <= bounds.bottom)
                & (columns >= bounds.left)
                & (columns <= bounds.right)
            ).sum()
        )
        size = float(len(rows))
    else:
        edges = other.region.bounds()
        height = min(bounds.bottom, edges.bottom) - max(bounds.top, edges.top)
        width = min(bounds.right, edges.right) - max(bounds.left, edges.left)
        shared = max(height, 0.0) * max(width, 0.0)
        size = (edges.bottom - edges.top) * (edges.right - edges.left)
    area = (bounds.bottom - bounds.top) * (bounds.right - bounds.left)
    most = shared >= _MOST * size and shared >= _SEEN * area
    return most or shared >= _MUCH * area


def fit_beside(
    features: FloatArray,
    concepts: npt.NDArray[np.int64],
    inside: FloatArray,
    gatherer: Gatherer,
) -> dict[str, npt.NDArray[np.float32]]:
    """Fit the regression of what is beside a region's first concept, for a `ThingHead`."""
    weights, offsets = _logistic(features, concepts, inside, gatherer)
    return {
        "beside_weights": weights.astype(np.float32),
        "beside_offsets": offsets[gatherer.owners].astype(np.float32),
    }


def fit_around(lies: Sequence[Lie], gatherer: Gatherer) -> dict[str, npt.NDArray[np.float32]]:
    """Fit the regressions of how a region lies to what is around it, for a `ThingHead`."""
    features, concepts, relations = (np.concatenate(parts) for parts in zip(*lies, strict=True))
    columns = []
    for relation in relations.T:
        known = np.isfinite(relation)
        columns.append(_logistic(features[known], concepts[known], relation[known], gatherer))
    weights, offsets = (np.stack(parts, 1) for parts in zip(*columns, strict=True))
    return {
        "around_weights": weights.astype(np.float32),
        "around_offsets": offsets[gatherer.owners].astype(np.float32),
    }


def fit(
    candidates: Candidates, gatherer: Gatherer, habits: FloatArray, *, knows: bool = True
) -> dict[str, npt.NDArray[np.float32]]:
    """Fit the regressions.

    ``habits`` (concepts,) is the logarithm of the share of captions that mention each concept;
    ``knows`` says whether `known_features` are read.

    Returns
    -------
    dict of str to ndarray
        The arrays of a `napari_patchioner.bridges.things.ThingHead`.
    """
    read = candidates.features if knows else candidates.features[:, :FEATURES]
    features = np.column_stack([read, habits[candidates.concepts]])
    targets = (candidates.mentioned, candidates.shown, candidates.several)
    columns = []
    for target, counts in zip(targets, candidates.counts.T, strict=True):
        told = np.isfinite(target) & (counts > 0)
        columns.append(
            _logistic(
                features[told], candidates.concepts[told], target[told], gatherer, counts[told]
            )
        )
    weights, offsets = (np.stack(parts, 1) for parts in zip(*columns, strict=True))
    # Habits are each concept's own.
    offsets = (offsets + np.outer(habits, weights[-1]))[gatherer.owners]
    found = {"weights": weights[:FEATURES], "offsets": offsets}
    if knows:
        found["known_weights"] = weights[FEATURES]
    return {name: array.astype(np.float32) for name, array in found.items()}


def _logistic(
    features: FloatArray,
    concepts: npt.NDArray[np.int64],
    target: FloatArray,
    gatherer: Gatherer,
    counts: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Weights of the features, and what is constant for each concept."""
    counts = np.ones(len(target)) if counts is None else counts
    kinds = sorted({concept.kind for concept in gatherer.concepts})
    kind = np.array([kinds.index(concept.kind) for concept in gatherer.concepts])
    mean, spread = features.mean(0), features.std(0) + 1e-6
    standard = (features - mean) / spread
    sizes = [1, features.shape[1], len(kind), len(kinds)]
    ends = np.cumsum(sizes)[:-1]
    ridge = np.repeat([0, _RIDGE, _OWN, _KIND], sizes)

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        bias, weights, own, of_kind = np.split(parameters, ends)
        odds = bias + standard @ weights + (own + of_kind[kind])[concepts]
        residual = counts * (1 / (1 + np.exp(-odds)) - target)
        by_concept = np.bincount(concepts, residual, len(kind))
        by_kind = np.bincount(kind, by_concept, len(kinds))
        slope = np.concatenate([[residual.sum()], standard.T @ residual, by_concept, by_kind])
        missed = counts * (np.logaddexp(0, odds) - target * odds)
        value = float(missed.sum() + ridge @ parameters**2)
        return value, slope + 2 * ridge * parameters

    start = np.zeros(len(ridge))
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    bias, weights, own, of_kind = np.split(best, ends)
    weights = weights / spread
    return weights, bias - mean @ weights + own + of_kind[kind]


def habits_of(captions: Sequence[str], gatherer: Gatherer) -> FloatArray:
    """Logarithm of the share of captions that mention each concept, shape (concepts,)."""
    said = gatherer.mentions(captions)
    counts = np.array([said[int(owner)] for owner in gatherer.owners])
    return np.asarray(np.log((counts + 1) / len(captions)))


@dataclass(frozen=True, eq=False, slots=True)
class Material:
    """What the file of a head is fitted on.

    Attributes
    ----------
    images : list of LabelledImage
        Those that have captions.
    windows : dict of str to Windows
        By file name.
    others : list of tuple
        Of pictures without captions, file names and `Gatherer.judged`.
    beside : list of tuple
        For every box, its file name and what `beside_candidates` gives.
    around : list of tuple
        For every box, its file name and what `around_candidates` gives.
    """

    images: list[LabelledImage]
    windows: dict[str, Windows]
    others: list[tuple[str, Candidates]]
    beside: list[tuple[str, npt.NDArray[np.float32], list[int], list[float]]]
    around: list[tuple[str, Lie]]

    def half(self, remainder: int | None) -> Material:
        """Every second picture by its name, all of them for None."""

        def kept(file_name: str) -> bool:
            return remainder in (None, half_of(file_name))

        return Material(
            [image for image in self.images if kept(image.file_name)],
            self.windows,
            [row for row in self.others if kept(row[0])],
            [row for row in self.beside if kept(row[0])],
            [row for row in self.around if kept(row[0])],
        )


def half_of(file_name: str) -> int:
    """Which half a picture is in, 0 to tune on or 1 to report on, by its name alone."""
    return int(hashlib.md5(file_name.encode(), usedforsecurity=False).hexdigest(), 16) % 2


def prepare(images: Iterable[LabelledImage], work: Path, head: str, gatherer: Gatherer) -> Material:
    """Name windows of pictures, and of their larger boxes, by heads that did not see them."""
    imagenet = load_imagenet(FOLDER / "imagenet.safetensors")
    material = Material([], {}, [], [], [])
    images = list(images)
    of_voc = labelled_in(_ALL_OF_ITS_OWN, images, gatherer)
    labelled = {
        int(gatherer.owners[concept_index(box.category, gatherer.concepts)])
        for image in images
        for box in image.boxes
    }
    for image in images:
        shape = grid_shape(*image.size)
        features = read_features(work / "features", image.file_name, SIZE)
        cells = np.concatenate([resample(part.astype(np.float32), shape) for part in features], 2)
        named = partial(
            load_head(fold_head(work / "heads_folds", head, image.file_name)).probabilities,
            imagenet=imagenet,
            concepts=len(gatherer.concepts),
        )
        if image.captions:
            material.images.append(image)
        windows = pool_windows(cells)
        seen = Windows(named(windows), gatherer.known(windows, imagenet))
        material.windows[image.file_name] = seen
        if image.folder == _ALL_OF_ITS_OWN:
            there = labelled_in(_ALL_OF_ITS_OWN, [image], gatherer)
            material.others.append(
                (
                    image.file_name,
                    gatherer.judged(
                        seen, lambda one, there=there: among(one, there, of_voc), _BOXED
                    ),
                )
            )
        transform = GridTransform(image.size, shape)
        for box in [box for box in image.boxes if box.area > _LEAST][:_BOXES]:
            region = cover(box.region, transform, weighting="area")
            inside = pool_inside(cells, region)
            parts, shown = pool_around(cells, region)
            chances = named(np.concatenate([inside, parts]))
            inside, parts = chances[: len(inside)], chances[len(inside) :]
            if box.area > SMALLEST:
                row = beside_candidates(inside, box, image, gatherer)
                material.beside.append((image.file_name, *row))
            if image.complete:
                lie = around_candidates(
                    np.concatenate([inside[:1], parts]),
                    shown,
                    seen.chances,
                    relations_of(box, image, gatherer),
                    gatherer,
                    None if image.stuff else labelled,
                )
                material.around.append((image.file_name, lie))
    return material


def labelled_in(folder: str, images: Iterable[LabelledImage], gatherer: Gatherer) -> set[int]:
    """Concepts that boxes of the pictures of a folder are labelled as."""
    return {
        int(gatherer.owners[concept_index(box.category, gatherer.concepts)])
        for image in images
        if image.folder == folder
        for box in image.boxes
    }


def among(concept: int, there: Set[int], known: Set[int]) -> float:
    """Whether a concept is there, of those that are known; not a number of the others."""
    return float(concept in there) if concept in known else np.nan


def add_unlike(
    material: Material, data: Path, work: Path, head: ConceptHead, gatherer: Gatherer
) -> None:
    """Add pictures of ImageNet, which no head saw; their features must have been kept."""
    imagenet = load_imagenet(FOLDER / "imagenet.safetensors")
    shown = Shown(gatherer.concepts, load_embeddings(FOLDER / "text.safetensors"))
    for path, number in imagenet_pictures(data):
        shape = grid_shape(*image_size(path))
        parts = read_features(work / "features", path.name, SIZE)
        cells = np.concatenate([resample(part.astype(np.float32), shape) for part in parts], 2)
        windows = pool_windows(cells)
        chances = head.probabilities(windows, imagenet, len(gatherer.concepts))
        seen = Windows(chances, gatherer.known(windows, imagenet))
        label = int(gatherer.owners[shown.of_class[number]])
        found = gatherer.judged(seen, partial(shown, label), _UNLIKE)
        material.others.append((path.name, found))


def fit_all(
    material: Material, gatherer: Gatherer, habits: FloatArray
) -> dict[str, npt.NDArray[np.float32]]:
    """Fit all arrays of a `ThingHead`, those about regions where some are labelled."""
    captioned = [
        gatherer.candidates(material.windows[image.file_name], image) for image in material.images
    ]
    others = [found for _, found in material.others]
    knows = bool(others)
    whole = fit(gather([*captioned, *others]), gatherer, habits, knows=knows)
    beside = [row for row in material.beside if row[2]]
    if not beside:
        return whole
    return {
        **whole,
        **fit_beside(
            np.concatenate([row[1] for row in beside]).astype(float),
            np.concatenate([row[2] for row in beside]).astype(int),
            np.concatenate([row[3] for row in beside]),
            gatherer,
        ),
        **fit_around([lie for _, lie in material.around], gatherer),
    }


def report(
    material: Material, head: ThingHead, gatherer: Gatherer, scenes: Scenes
) -> dict[str, float]:
    """Captions of whole pictures against people's, and how many of their nouns are right."""
    index = {concept.name: position for position, concept in enumerate(gatherer.concepts)}
    texts, right, first = [], [], []
    for image in material.images:
        known = {
            int(gatherer.owners[concept_index(region.category, gatherer.concepts)])
            for region in (*image.boxes, *image.stuff)
        } | set(gatherer.mentions(image.captions))
        seen = material.windows[image.file_name]
        things = head.things(seen.chances, [*index], gatherer.groups, seen.known)
        chosen = scenes.chosen(things)
        texts.append(scenes.phrase(chosen) if chosen else "")
        nouns = [int(gatherer.owners[index[thing.name]]) in known for thing in chosen]
        right += nouns
        first += nouns[:1]
    references = [image.captions for image in material.images]
    return {
        "images": len(texts),
        "cider_d": float(np.mean(cider_d(texts, references))),
        "bleu4": bleu(texts, references)[-1],
        "nouns right": float(np.mean(right)),
        "first noun right": float(np.mean(first)),
    }


def _by_captions(images: Iterable[LabelledImage]) -> list[LabelledImage]:
    """Return photographs that have captions, with these alone."""
    return [replace(image, boxes=(), masks=(), stuff=()) for image in images if image.captions]


def main() -> None:
    """Read the command line, write the file of every head that has one, and print its scores."""
    parser = recipe_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=list(THINGS), help="which models")
    options = parser.parse_args()
    gatherer = Gatherer(load_concepts(options.out / "concepts.json"))
    captions = read_captions(options.data / "text" / "coco_captions_val2017.json")
    habits = habits_of(captions, gatherer)
    images = list(development_images(options.data, (*FOLDERS, *MORE_FOLDERS), smallest=0))
    scenes = GroundedDecoder.open(options.out).scenes
    network = load_network(FOLDER / "backbone.safetensors")
    unlike = [path for path, _ in imagenet_pictures(options.data)]
    compute_features(network, unlike, options.work / "features", SIZE)
    for name in options.models:
        file = THINGS[name]
        short = Path(HEADS[name]).stem.removeprefix("head_")
        chosen = images if name == "mini" else _by_captions(images)
        material = prepare(chosen, options.work, short, gatherer)
        # What is known of these is of the whole picture, so that no region is labelled.
        head = load_head(FOLDER / HEADS[name], name)
        add_unlike(material, options.data, options.work, head, gatherer)
        halves = options.work / ("things_folds" if name == "mini" else f"things_folds_{short}")
        halves.mkdir(parents=True, exist_ok=True)
        for tested in (0, 1):
            arrays = fit_all(material.half(1 - tested), gatherer, habits)
            save_file(arrays, halves / f"{Path(file).stem}_half{tested}.safetensors")
            fitted = ThingHead(**arrays)
            scores = report(material.half(tested), fitted, gatherer, scenes)
            print(json.dumps({"model": name, "half": ("tuning", "reporting")[tested], **scores}))
        save_file(fit_all(material, gatherer, habits), options.out / file)


if __name__ == "__main__":
    main()
