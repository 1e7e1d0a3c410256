"""Dense-captioning mAP: boxes and captions judged together (Johnson et al. 2016).

A prediction counts if its box overlaps a person's box and its caption agrees with what is said
there. Precision is averaged over recall, and over thirty pairs of thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Meteor: TypeAlias = Callable[[Sequence[str], Sequence[Sequence[str]]], npt.NDArray[np.float64]]

Boxes: TypeAlias = npt.NDArray[np.float64]
Protocol: TypeAlias = Literal["paper", "reference"]

IOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
METEORS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
MERGE_IOU = 0.7


@dataclass(frozen=True, eq=False, slots=True)
class DenseImage:
    """What people and the model say about the boxes of one image.

    Attributes
    ----------
    truth : ndarray of float, shape (n, 4)
        People's boxes, ``x1, y1, x2, y2`` in pixels.
    texts : sequence of str, length n
        What they say of each.
    boxes : ndarray of float, shape (m, 4)
        Boxes of the model, or people's again where boxes are given.
    captions : sequence of str, length m
        What the model says of each.
    scores : sequence of float, length m
        How sure it is; only their order matters.
    """

    truth: Boxes
    texts: Sequence[str]
    boxes: Boxes
    captions: Sequence[str]
    scores: Sequence[float]


@dataclass(frozen=True, slots=True)
class Match:
    """A prediction with the merged box it was held against.

    Attributes
    ----------
    first : bool
        It is the surest prediction on that box.
    iou : float
        Intersection over union with it; 0 where no box is touched.
    caption : str
        What the model said.
    references : tuple of str
        All that people said of the merged box.
    score : float
        How sure the model was.
    """

    first: bool
    iou: float
    caption: str
    references: tuple[str, ...]
    score: float


@dataclass(frozen=True, slots=True)
class DenseMap:
    """Average precision at every pair of thresholds and in the mean.

    Attributes
    ----------
    mean : float
        mAP, 0 to 1.
    detection : float
        The same with captions left out of account (detmAP).
    by_threshold : dict of (float, float) to float
        Average precision by IoU and METEOR threshold.
    by_iou : dict of float to float
        Average precision of boxes alone, by IoU threshold.
    """

    mean: float
    detection: float
    by_threshold: dict[tuple[float, float], float]
    by_iou: dict[float, float]


def dense_map(
    images: Sequence[DenseImage], meteor: Meteor, *, protocol: Protocol = "paper"
) -> DenseMap:
    """Dense-captioning mAP of a test set.

    Parameters
    ----------
    meteor : callable
        ``meteor(candidates, references) -> (n,)``, 0 to 1 each.
    protocol : {"paper", "reference"}
        ``"paper"`` is the protocol of Johnson et al.: boxes include their last pixel, precision
        is read at 101 recalls. ``"reference"`` is ControlCap's evaluator, which Patch-ioner uses:
        plain areas, 100 recalls from 0 to 0.99, in single precision.
    """
    edge = 1.0 if protocol == "paper" else 0.0
    matches, positives = [], 0
    for image in images:
        truth, said = merge_boxes(image.truth, image.texts)
        positives += len(truth)
        matches += match(image, truth, said, edge)
    agreement = meteor([item.caption for item in matches], [item.references for item in matches])
    return average_precisions(matches, agreement, positives, protocol=protocol)


def merge_boxes(boxes: Boxes, texts: Sequence[str]) -> tuple[Boxes, list[tuple[str, ...]]]:
    """Merge boxes that nearly coincide: people often describe one thing several times.

    The box with most others at an IoU of 0.7 or above takes these with it, again and again.

    Parameters
    ----------
    boxes : ndarray of float, shape (n, 4)
        ``x1, y1, x2, y2``.

    Returns
    -------
    boxes : ndarray of float, shape (k, 4)
        Mean of each group.
    texts : list of tuple of str, length k
    """
    near = iou_matrix(boxes, boxes) >= MERGE_IOU
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
    """Hold every prediction against the box it overlaps best, the surest first.

    Parameters
    ----------
    truth : ndarray of float, shape (k, 4)
        Merged boxes.
    edge : float
        1 where a box includes its last pixel, else 0.
    """
    overlaps = iou_matrix(image.boxes, truth, edge)
    taken: set[int] = set()
    results = []
    for place in np.argsort(-np.asarray(image.scores, dtype=np.float64), kind="stable"):
        row = overlaps[place]
        best = int(row.argmax()) if row.size and row.max() > 0 else None
        first = best is not None and best not in taken
        if best is not None:
            taken.add(best)
        iou = float(row[best]) if best is not None else 0.0
        references = said[best] if best is not None else ()
        score = float(image.scores[place])
        results.append(Match(first, iou, image.captions[place], references, score))
    return results


def average_precisions(
    matches: Sequence[Match],
    agreement: npt.NDArray[np.float64],
    positives: int,
    *,
    protocol: Protocol = "paper",
) -> DenseMap:
    """Average precision at all thresholds, from matches and the METEOR of each.

    Parameters
    ----------
    agreement : ndarray of float, shape (n,)
        METEOR of each caption with its references.
    """
    order = np.argsort([-item.score for item in matches], kind="stable")
    first = np.array([item.first for item in matches], dtype=bool)[order]
    ious = np.array([item.iou for item in matches], dtype=np.float64)[order]
    agreement = np.asarray(agreement, dtype=np.float64)[order]

    def precision(iou: float, meteor: float) -> float:
        right = first & (ious >= iou) & (agreement > meteor)
        return _average_precision(right, positives, protocol)

    pairs = {(iou, meteor): precision(iou, meteor) for iou in IOUS for meteor in METEORS}
    alone = {iou: precision(iou, -1.0) for iou in IOUS}
    means = float(np.mean(list(pairs.values()))), float(np.mean(list(alone.values())))
    return DenseMap(*means, pairs, alone)


def _average_precision(right: npt.NDArray[np.bool_], positives: int, protocol: Protocol) -> float:
    """Mean over recalls of the best precision at that recall or a higher one."""
    if not positives:
        return float("nan")
    hits = np.cumsum(right, dtype=np.float64)
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / positives
    points = np.linspace(0, 1, 101) if protocol == "paper" else np.arange(0, 1, 0.01)
    if protocol == "reference":
        precision, recall, points = _single(precision), _single(recall), _single(points)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, points, side="left")
    return float(best[places[places < len(best)]].sum() / len(points))


def _single(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Round to single precision, in which the published evaluator compares."""
    return values.astype(np.float32).astype(np.float64)


def iou_matrix(left: Boxes, right: Boxes, edge: float = 0.0) -> npt.NDArray[np.float64]:
    """Intersection over union of all pairs of boxes.

    Parameters
    ----------
    left : ndarray of float, shape (n, 4)
    right : ndarray of float, shape (m, 4)
        ``x1, y1, x2, y2``.
    edge : float
        Added to every side: 1 where a box includes its last pixel.

    Returns
    -------
    ndarray of float64, shape (n, m)
    """
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = np.prod(np.clip(high - low + edge, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2] + edge, axis=1) for boxes in (left, right)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    overlap: npt.NDArray[np.float64] = shared / np.where(union > 0, union, 1.0)
    return overlap
