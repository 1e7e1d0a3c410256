"""What boxes of labelled photographs are on, in front of and near, for fitting and measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_cdt

from napari_patchioner.bridges.around import AROUND, RELATIONS, around_features
from napari_patchioner.regions import Box, Mask

from .concept_map import concept_index

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from .coco_folders import LabelledImage, LabelledRegion
    from .things import Gatherer

FloatArray = npt.NDArray[np.float64]

# Share of the pixels right under a thing, around all but its foot, and farther around it.
_UNDER, _BEHIND, _NEAR = 0.15, 0.12, 0.04
# How thick these are: in heights, and twice in its shorter sides; and the least number of pixels.
_THICK, _RING, _WIDE, _PIXELS = 0.05, 0.12, 0.3, 4
# The foot of a thing, in heights.
_FOOT = 0.25
# A box is near that takes this share of what is around, or of which this share is there.
_TOUCHED = 0.08
# A mask is of a box whose bounds have this much in common with it.
_SAME = 0.5


class Lie(NamedTuple):
    """How boxes lie to concepts.

    ``features`` (n, AROUND_FEATURES), ``concepts`` (n,), and ``relations`` (n, 3): 1 where a box is
    on, in front of or near one, 0 where it is not, not a number where labels do not say.
    """

    features: FloatArray
    concepts: npt.NDArray[np.int64]
    relations: FloatArray


def around_candidates(
    parts: npt.NDArray[np.float32],
    shown: npt.NDArray[np.bool_],
    windows: npt.NDArray[np.float32],
    relations: Mapping[int, FloatArray],
    gatherer: Gatherer,
    labelled: Set[int] | None = None,
) -> Lie:
    """Candidates around a box, with the truth.

    ``parts`` (1 + len(PARTS), concepts) are probabilities, first of the box itself, ``shown`` says
    which parts there are; ``windows`` (84, concepts) are those of the picture; ``relations`` are
    those of `relations_of`; ``labelled`` are the concepts of which the labels say, all for None.
    """
    grouped, whole = (np.zeros_like(chances) for chances in (parts, windows))
    for target, chances in ((grouped, parts), (whole, windows)):
        np.add.at(target.T, gatherer.owners, chances.T)
    best = int(grouped[0].argmax())
    kept = [
        concept
        for concept in np.flatnonzero((grouped[1:] * shown[:, None]).max(0) >= AROUND).tolist()
        if concept != best and (labelled is None or concept in labelled)
    ]
    absent = np.zeros(len(RELATIONS)) if labelled is None else np.array([np.nan, np.nan, 0.0])
    return Lie(
        around_features(grouped[0], grouped[1:], shown, whole)[kept].astype(float),
        np.array(kept, int),
        np.array([relations.get(concept, absent) for concept in kept]).reshape(-1, len(RELATIONS)),
    )


def relations_of(
    box: LabelledRegion, image: LabelledImage, gatherer: Gatherer
) -> dict[int, FloatArray]:
    """How a box lies to every concept that is labelled around it: on, in front of, near; 0 or 1.

    Where the picture has no panoptic labels only nearness is known, the others are not a number.
    """
    bounds = box.region.bounds()
    unknown = 0.0 if image.stuff else np.nan
    relations: dict[int, FloatArray] = {}

    def add(concept: int, relation: int) -> None:
        row = relations.setdefault(concept, np.array([unknown, unknown, 0.0]))
        row[relation] = 1.0

    if image.stuff:
        labels = _label_map(image, gatherer)
        for relation, (area, least) in enumerate(_areas(_mask_of(box, image), bounds)):
            concepts, counts = np.unique(labels[area], return_counts=True)
            for concept, count in zip(concepts.tolist(), counts.tolist(), strict=True):
                if concept >= 0 and count >= least * max(1, int(area.sum())):
                    add(concept, relation)
    for other in image.boxes:
        if other is not box and _is_near(other.region.bounds(), bounds):
            add(_concept(other, gatherer), RELATIONS.index("near"))
    return relations


def _concept(region: LabelledRegion, gatherer: Gatherer) -> int:
    return int(gatherer.owners[concept_index(region.category, gatherer.concepts)])


def _label_map(image: LabelledImage, gatherer: Gatherer) -> npt.NDArray[np.int64]:
    """Concept of every pixel, -1 where there is no label."""
    labels = np.full(image.size, -1, np.int64)
    for region in (*image.stuff, *image.masks):
        labels[_full_mask(region, image.size)] = _concept(region, gatherer)
    return labels


def _full_mask(region: LabelledRegion, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Pixels of a masked region in the whole picture."""
    mask = np.zeros(size, bool)
    if isinstance(region.region, Mask):
        top, left = (int(start) for start in region.region.offset)
        height, width = region.region.pixels.shape
        mask[top : top + height, left : left + width] = region.region.pixels
    return mask


def _mask_of(box: LabelledRegion, image: LabelledImage) -> npt.NDArray[np.bool_]:
    """Pixels of the thing in a box, or those of the box where nothing fits it."""
    bounds = box.region.bounds()
    likeness = {
        number: _overlap(bounds, mask.region.bounds())
        for number, mask in enumerate(image.masks)
        if mask.category == box.category
    }
    best = max(likeness, key=lambda number: likeness[number], default=-1)
    if best >= 0 and likeness[best] > _SAME:
        return _full_mask(image.masks[best], image.size)
    pixels = np.zeros(image.size, bool)
    pixels[
        round(bounds.top + 0.5) : round(bounds.bottom + 0.5),
        round(bounds.left + 0.5) : round(bounds.right + 0.5),
    ] = True
    return pixels


def _areas(
    mask: npt.NDArray[np.bool_], bounds: Box
) -> tuple[tuple[npt.NDArray[np.bool_], float], ...]:
    """Pixels under a thing, around all but its foot and farther around; shares that count there."""
    height, width = bounds.bottom - bounds.top, bounds.right - bounds.left
    foot = bounds.bottom - _FOOT * height
    rows = np.arange(len(mask))[:, None]
    lowest = np.where(mask, rows, -1).max(0)
    thick = max(_PIXELS, _THICK * height)
    under = (rows > lowest) & (rows <= lowest + thick) & (lowest >= foot)
    apart = distance_transform_cdt(~mask, "chessboard")
    side = min(height, width)
    behind = (apart > 0) & (apart <= max(_PIXELS, _RING * side)) & (rows < foot)
    near = (apart > 0) & (apart <= max(_PIXELS, _WIDE * side))
    return (under & ~mask, _UNDER), (behind, _BEHIND), (near, _NEAR)


def _is_near(other: Box, bounds: Box) -> bool:
    """Whether a box reaches into what is around another."""
    height, width = bounds.bottom - bounds.top, bounds.right - bounds.left
    margin = max(_WIDE * min(height, width), max(height, width) / 8)
    wide = Box(
        bounds.top - margin, bounds.left - margin, bounds.bottom + margin, bounds.right + margin
    )
    shared = _common(wide, other) - _common(bounds, other)
    return shared >= _TOUCHED * min(_area(wide) - _area(bounds), _area(other))


def _area(box: Box) -> float:
    return float((box.bottom - box.top) * (box.right - box.left))


def _common(first: Box, second: Box) -> float:
    """Area that two boxes have in common."""
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    width = min(first.right, second.right) - max(first.left, second.left)
    return float(max(height, 0.0) * max(width, 0.0))


def _overlap(first: Box, second: Box) -> float:
    """Area in common over that of both together."""
    common = _common(first, second)
    return common / max(_area(first) + _area(second) - common, 1e-9)
