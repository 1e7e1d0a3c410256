"""Dense-captioning mAP: boxes and captions judged together (Johnson et al. 2016).

A prediction counts if its box overlaps a person's box and its caption agrees with what is said
there. Precision is averaged over recall, and over thirty pairs of thresholds. Boxes are arrays of
shape (n, 4), ``x1, y1, x2, y2`` in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Meteor: TypeAlias = Callable[[Sequence[str], Sequence[Sequence[str]]], npt.NDArray[np.float64]]

Boxes: TypeAlias = npt.NDArray[np.float64]
Protocol: TypeAlias = Literal["paper", "reference"]

_IOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
_METEORS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
_MERGE_IOU = 0.7


@dataclass(frozen=True, eq=False, slots=True)
class DenseImage:
    """What people say of their boxes of an image, and a model of its own; how sure it is."""

    truth: Boxes
    texts: Sequence[str]
    boxes: Boxes
    captions: Sequence[str]
    scores: Sequence[float]


@dataclass(frozen=True, slots=True)
class Match:
    """A prediction, and all that people said of the merged box that it overlaps best, if any.

    ``first``: it is the surest prediction on that box.
    """

    first: bool
    iou: float
    caption: str
    references: tuple[str, ...]
    score: float


@dataclass(frozen=True, slots=True)
class DenseMap:
    """Average precision, 0 to 1: with captions (mAP) and without (detmAP), and by thresholds."""

    mean: float
    detection: float
    by_threshold: dict[tuple[float, float], float]
    by_iou: dict[float, float]


def dense_map(
    images: Sequence[DenseImage], meteor: Meteor, *, protocol: Protocol = "paper"
) -> DenseMap:
    """Dense-captioning mAP of a test set.

    ``meteor(candidates, references)`` gives a value from 0 to 1 for each. ``"paper"`` is the
    protocol of Johnson et al.: boxes include their last pixel, precision is read at 101 recalls.
    ``"reference"`` is ControlCap's evaluator, which Patch-ioner uses: plain areas, 100 recalls from
    0 to 0.99, in single precision.
    """
    matches: list[Match] = []
    positives = 0
    for image in images:
        truth, said = merge_boxes(image.truth, image.texts)
        positives += len(truth)
        matches += match(image, truth, said, edge=1.0 if protocol == "paper" else 0.0)
    agreement = meteor([item.caption for item in matches], [item.references for item in matches])
    order = np.argsort([-item.score for item in matches], kind="stable")
    first = np.array([item.first for item in matches], dtype=bool)[order]
    ious = np.array([item.iou for item in matches], dtype=np.float64)[order]
    agreement = np.asarray(agreement, dtype=np.float64)[order]

    def precision(iou: float, least: float) -> float:
        return _average_precision(first & (ious >= iou) & (agreement > least), positives, protocol)

    pairs = {(iou, least): precision(iou, least) for iou in _IOUS for least in _METEORS}
    alone = {iou: precision(iou, -1.0) for iou in _IOUS}
    means = float(np.mean(list(pairs.values()))), float(np.mean(list(alone.values())))
    return DenseMap(*means, pairs, alone)


def merge_boxes(boxes: Boxes, texts: Sequence[str]) -> tuple[Boxes, list[tuple[str, ...]]]:
    """Merge boxes that nearly coincide: people often describe one thing several times.

    The box with most others at an IoU of 0.7 or above takes these with it, again and again. Returns
    the mean box of each group, shape (k, 4), and its texts.
    """
    near = iou_matrix(boxes, boxes) >= _MERGE_IOU
    merged, said = [], []
    while near.any():
        group = near[np.argmax(near.sum(axis=1))].copy()
        merged.append(boxes[group].mean(axis=0))
        said.append(tuple(text for text, inside in zip(texts, group, strict=True) if inside))
        near[group] = False
        near[:, group] = False
    return np.reshape(merged, (-1, 4)), said


def match(
    image: DenseImage, truth: Boxes, said: Sequence[tuple[str, ...]], edge: float
) -> list[Match]:
    """Hold every prediction against the merged box it overlaps best, the surest first."""
    overlaps = iou_matrix(image.boxes, truth, edge)
    taken: set[int] = set()
    results = []
    for place in np.argsort(-np.asarray(image.scores, dtype=np.float64), kind="stable"):
        row = overlaps[place]
        caption, score = image.captions[place], float(image.scores[place])
        if not row.size or row.max() <= 0:
            results.append(Match(False, 0.0, caption, (), score))
            continue
        best = int(row.argmax())
        results.append(Match(best not in taken, float(row[best]), caption, said[best], score))
        taken.add(best)
    return results


def _average_precision(right: npt.NDArray[np.bool_], positives: int, protocol: Protocol) -> float:
    """Mean over recalls of the best precision at that recall or a higher one."""
    if not positives:
        return float("nan")
    hits = np.cumsum(right, dtype=np.float64)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / positives
    points = np.linspace(0, 1, 101) if protocol == "paper" else np.arange(0, 1, 0.01)
    if protocol == "reference":  # the published evaluator compares in single precision
        precision, recall, points = (
            values.astype(np.float32).astype(np.float64) for values in (precision, recall, points)
        )
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, points, side="left")
    return float(best[places[places < len(best)]].sum() / len(points))


def iou_matrix(left: Boxes, right: Boxes, edge: float = 0.0) -> npt.NDArray[np.float64]:
    """Intersection over union of all pairs of boxes, shape (n, m).

    ``edge`` is added to every side: 1 where a box includes its last pixel.
    """
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = np.prod(np.clip(high - low + edge, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2] + edge, axis=1) for boxes in (left, right)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    overlap: npt.NDArray[np.float64] = shared / np.where(union > 0, union, 1.0)
    return overlap
