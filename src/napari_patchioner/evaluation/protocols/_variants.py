"""The ways to come to a caption of a region: the model's own, and the baselines beside it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import ModelError, PatchionerError, RegionError
from napari_patchioner.evaluation.baselines import crop
from napari_patchioner.regions import WholeImage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.decoders import Caption
    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import Region

    from ._predictions import Variant


@dataclass(frozen=True, eq=False, slots=True)
class Said:
    """A caption, the seconds it took, and why there is none."""

    caption: str
    score: float
    seconds: float
    problem: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Looked:
    """An image that has been looked at once."""

    captioner: Captioner
    pixels: npt.NDArray[np.generic]
    grid: FeatureGrid
    options: Mapping[str, Any]


# Large enough for one patch of any backbone.
_PROBE = (64, 64, 3)


def check_ways(
    captioner: Captioner, variants: Sequence[Variant], options: Mapping[str, Any]
) -> None:
    """Find out on a gray picture whether a model can caption in these ways.

    Raises
    ------
    ModelError
        It cannot: it has no class token, or cannot pool as the options say.
    """
    if "class-token" not in variants and not options.get("pooling"):
        return
    pixels = np.full(_PROBE, 127, np.uint8)
    looked = Looked(captioner, pixels, captioner.encode(pixels), options)
    if "class-token" in variants:
        _refuse_no_class_token(looked)
    by_whole(looked, [WholeImage()])


def by_region(looked: Looked, regions: Sequence[Region]) -> list[Said]:
    """Captions from the patches of each region."""
    start = time.perf_counter()
    try:
        captions = looked.captioner.caption(looked.grid, regions, **looked.options)
    except RegionError:
        # One region at fault must not take the others' captions along.
        return [_alone(looked, region) for region in regions]
    seconds = (time.perf_counter() - start) / max(1, len(regions))
    return [_said(caption, seconds) for caption in captions]


def by_crop(looked: Looked, regions: Sequence[Region]) -> list[Said]:
    """Captions of what is left when the bounding box of each region is cut out as an image."""
    said = []
    for region in regions:
        start = time.perf_counter()
        try:
            grid = looked.captioner.encode(crop(looked.pixels, region))
            (caption,) = looked.captioner.caption(grid, [WholeImage()], **looked.options)
        except PatchionerError as error:
            said.append(Said("", 0.0, time.perf_counter() - start, str(error)))
        else:
            said.append(_said(caption, time.perf_counter() - start))
    return said


def by_whole(looked: Looked, regions: Sequence[Region]) -> list[Said]:
    """Give every region the caption of the whole image."""
    return _one_for_all(looked, regions, looked.options)


def by_class_token(looked: Looked, regions: Sequence[Region]) -> list[Said]:
    """Give every region the caption of the class token.

    Raises
    ------
    ModelError
        The backbone has no class token.
    """
    _refuse_no_class_token(looked)
    return _one_for_all(looked, regions, {**looked.options, "pooling": "cls"})


WAYS: dict[Variant, Callable[[Looked, Sequence[Region]], list[Said]]] = {
    "model": by_region,
    "crop": by_crop,
    "whole-image": by_whole,
    "class-token": by_class_token,
}


def _refuse_no_class_token(looked: Looked) -> None:
    """Say that a model has no class token."""
    if looked.grid.cls is None:
        raise ModelError(
            f"{looked.captioner.name} has no class token; leave out --baseline class-token"
        )


def _one_for_all(
    looked: Looked, regions: Sequence[Region], options: Mapping[str, Any]
) -> list[Said]:
    start = time.perf_counter()
    (caption,) = looked.captioner.caption(looked.grid, [WholeImage()], **options)
    return [_said(caption, (time.perf_counter() - start) / max(1, len(regions)))] * len(regions)


def _alone(looked: Looked, region: Region) -> Said:
    start = time.perf_counter()
    try:
        (caption,) = looked.captioner.caption(looked.grid, [region], **looked.options)
    except RegionError as error:
        return Said("", 0.0, time.perf_counter() - start, str(error))
    return _said(caption, time.perf_counter() - start)


def _said(caption: Caption, seconds: float) -> Said:
    return Said(caption.text, float(caption.score), seconds)
