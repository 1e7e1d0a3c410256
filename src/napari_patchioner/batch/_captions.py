"""Captions for regions of one image, with one look at it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations import with_model_caption
from napari_patchioner.errors import RegionError
from napari_patchioner.regions import cover

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_patchioner.annotations import Annotation
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.decoders import Caption
    from napari_patchioner.grids import FeatureGrid


def caption_image(
    captioner: Captioner,
    image: npt.ArrayLike,
    annotations: Sequence[Annotation],
    options: Mapping[str, Any] | None = None,
) -> tuple[list[Annotation], str]:
    """Caption regions of one image with one look at it.

    Parameters
    ----------
    captioner : Captioner
        The model.
    image : array_like, shape (height, width) or (height, width, channels)
        The picture; it is not even looked at where there are no regions.
    annotations : sequence of Annotation
        Its regions. What a person wrote stays as it is.
    options : mapping of str to object, optional
        Keywords of `Captioner.caption`.

    Returns
    -------
    annotations : list of Annotation
        In the same order; regions at fault as they were.
    why : str
        What is wrong with the regions at fault, each named by its uid; empty if there are none.

    Raises
    ------
    ImageError, ModelError
        In one sentence.
    """
    options = options or {}
    if not annotations:
        return [], ""
    grid = captioner.encode(image)
    faults: dict[int, str] = {}
    try:
        captions = captioner.caption(grid, [one.region for one in annotations], **options)
    except RegionError:
        faults = _faults(grid, annotations)
        if not faults:
            raise
        sound = [one for place, one in enumerate(annotations) if place not in faults]
        captions = captioner.caption(grid, [one.region for one in sound], **options)
    left = iter(captions)
    said = [
        one if place in faults else written(captioner, grid, one, next(left), options)
        for place, one in enumerate(annotations)
    ]
    return said, "; ".join(faults.values())


def _faults(grid: FeatureGrid, annotations: Sequence[Annotation]) -> dict[int, str]:
    """Return what is wrong with each region at fault, by its place."""
    found = {}
    for place, annotation in enumerate(annotations):
        try:
            cover(annotation.region, grid.transform)
        except RegionError as error:
            found[place] = f"region {annotation.uid!r}: {error}"
    return found


def written(
    captioner: Captioner,
    grid: FeatureGrid,
    annotation: Annotation,
    caption: Caption,
    options: Mapping[str, Any],
    looked: Mapping[str, str] | None = None,
) -> Annotation:
    """Return the region with its caption and what that was made from.

    Parameters
    ----------
    captioner, grid, annotation, caption, options
        What was captioned by whom, from what, and how.
    looked : mapping of str to str, optional
        From how close, and on which plane, where that needs to be said.
    """
    made_from = {
        "grid": getattr(grid, "key", ""),
        "looked": dict(looked or {}),
        "options": dict(options),
    }
    origin = {"model": captioner.name} | {name: one for name, one in made_from.items() if one}
    extra = {name: text for name, text in annotation.extra.items() if name != "problem"}
    extra["origin"] = json.dumps(origin, sort_keys=True, ensure_ascii=False)
    if caption.problem:
        extra["problem"] = caption.problem
    bare = replace(annotation, extra=extra)
    return with_model_caption(bare, caption, model=captioner.name)
