"""The development images as published files of all four tasks, so that every task can be run here.

Image captions and region sets are people's own sentences. There is no dense captioning and no
trace captioning of these images to be had: boxes, and scribbles inside object masks, stand in, with
the name of the object for a sentence.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.regions import Mask, WholeImage

from .coco_folders import development_images
from .drawn import stroke_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_patchioner.evaluation.datasets import Task
    from napari_patchioner.regions import Box

    from .coco_folders import LabelledImage

_HALF = 0.5
_VOWELS = "aeiou"


def write_development_files(data: Path, out: Path, *, seed: int = 0) -> dict[Task, Path]:
    """Write a file for every task from the development folders.

    Parameters
    ----------
    data : Path
        The data folder (it holds ``coco``, ``entities`` and ``vocab``).
    out : Path
        Folder to write to.
    seed : int
        Of the scribbles.

    Returns
    -------
    dict of str to Path
        File by task; the images are below ``data / "coco"``.

    Raises
    ------
    FormatError
        A folder or annotation file is missing or damaged.
    """
    images = list(development_images(data))
    contents: dict[Task, Any] = {
        "image": _captions(images),
        "dense": _boxes(images),
        "region-set": _sets(images, data / "entities" / "coco_entities_test.json"),
        "trace": _traces(images, seed),
    }
    out.mkdir(parents=True, exist_ok=True)
    paths = {task: out / f"{task}.json" for task in contents}
    for task, path in paths.items():
        path.write_text(json.dumps(contents[task]), encoding="utf-8")
    return paths


def _captions(images: Sequence[LabelledImage]) -> dict[str, Any]:
    pairs = [(one, caption) for one in images for caption in one.captions]
    return {
        "images": [{"id": _id(one), "file_name": one.file_name} for one in images],
        "annotations": [{"image_id": _id(one), "caption": caption} for one, caption in pairs],
    }


def _boxes(images: Sequence[LabelledImage]) -> dict[str, Any]:
    names = sorted({region.category for one in images for region in one.boxes})
    return {
        "images": [{"id": _id(one), "file_name": one.file_name} for one in images],
        "categories": [{"id": place, "name": name} for place, name in enumerate(names)],
        "annotations": [
            {
                "image_id": _id(one),
                "bbox": _corners(region.region),
                "caption": phrase(region.category),
                "category_id": names.index(region.category),
            }
            for one in images
            for region in one.boxes
        ],
    }


def _sets(images: Sequence[LabelledImage], entities: Path) -> dict[str, Any]:
    published = json.loads(entities.read_bytes())
    return {str(_id(one)): published[str(_id(one))] for one in images if str(_id(one)) in published}


def _traces(images: Sequence[LabelledImage], seed: int) -> dict[str, Any]:
    found = {}
    for one in images:
        generator = np.random.default_rng([seed, _id(one)])
        strokes = [
            (region.category, _fractions(region.region, one.size, generator))
            for region in one.masks
            if isinstance(region.region, Mask)
        ]
        if strokes:
            categories, traces = zip(*strokes, strict=True)
            captions = [phrase(category) for category in categories]
            found[str(_id(one))] = {
                "captions": captions,
                "categories": list(categories),
                "traces": list(traces),
            }
    return found


def _fractions(
    mask: Mask, size: tuple[int, int], generator: np.random.Generator
) -> list[dict[str, float]]:
    """Scribble inside a mask as points of a published trace."""
    points = stroke_in(mask.pixels, generator).points + mask.offset + _HALF
    height, width = size
    return [
        {"x": float(column / width), "y": float(row / height), "t": float(place)}
        for place, (row, column) in enumerate(points)
    ]


def phrase(category: str) -> str:
    """Return a category as the shortest sentence a person would write.

    >>> phrase("umbrella")
    'an umbrella'
    """
    return f"{'an' if category[0] in _VOWELS else 'a'} {category}"


def _corners(region: Box | Any) -> list[float]:
    if isinstance(region, WholeImage):
        raise TypeError("a labelled object has a box")
    return [edge + _HALF for edge in (region.left, region.top, region.right, region.bottom)]


def _id(image: LabelledImage) -> int:
    return int(image.path.stem)
