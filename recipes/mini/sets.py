"""Measure captions of region sets, made as COCO Entities were: the boxes that a caption mentions.

``python -m recipes.mini.sets --data DIR --work work``
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from napari_patchioner.backbones.mini import SIZE, grid_shape, resample
from napari_patchioner.bridges.appearance import AXES
from napari_patchioner.decoders.grounded.vocabulary import load_concepts
from napari_patchioner.evaluation.metrics.overlap import bleu, cider_d
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.models.embedded import FOLDER
from napari_patchioner.regions import RegionSet

from .card import captioner_for
from .coco_folders import FOLDERS, MORE_FOLDERS, development_images
from .concept_map import concept_index
from .features import read_features
from .things import Gatherer, half_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_patchioner.captioner import Captioner

    from .coco_folders import LabelledImage

# Boxes of a set, at most.
MOST = 12
WAYS = ("pooled as one region", "from its members")


def sets_of(image: LabelledImage, gatherer: Gatherer) -> dict[RegionSet, list[str]]:
    """Find sets of two boxes or more, with the captions of the picture that mention just these.

    Of what a caption names in the singular the largest box is taken, else all.
    """
    owners = [
        int(gatherer.owners[concept_index(b.category, gatherer.concepts)]) for b in image.boxes
    ]
    by_size = sorted(range(len(owners)), key=lambda box: -image.boxes[box].area)
    captions = defaultdict(list)
    for caption in image.captions:
        members: set[int] = set()
        for said in gatherer.read(caption):
            owner = int(gatherer.owners[said.concept])
            shown = [box for box in by_size if owners[box] == owner]
            members.update(shown if said.plural else shown[:1])
        if 2 <= len(members) <= MOST:
            captions[tuple(sorted(members))].append(caption)
    return {
        RegionSet(tuple(image.boxes[box].region for box in members)): said
        for members, said in captions.items()
    }


def grid_of(image: LabelledImage, cache: Path, backbone: str) -> FeatureGrid:
    """Make the grid of a photograph from its kept features, in which no colour is measured."""
    shape = grid_shape(*image.size)
    parts = [
        resample(part.astype(np.float32), shape)
        for part in read_features(cache, image.file_name, SIZE)
    ]
    cells = np.concatenate([*parts, np.zeros((*shape, len(AXES)), np.float32)], axis=2)
    transform, known = GridTransform(image.size, shape), {"photograph": 1.0}
    return FeatureGrid(cells, transform, key=image.file_name, backbone=backbone, measures=known)


def measure(
    images: Iterable[LabelledImage],
    models: Callable[[str], Captioner],
    gatherer: Gatherer,
    cache: Path,
) -> list[dict[str, float | str]]:
    """Score both ways for both halves of the pictures."""
    texts: dict[tuple[int, str], list[str]] = defaultdict(list)
    references: dict[int, list[Sequence[str]]] = defaultdict(list)
    for image in images:
        sets = sets_of(image, gatherer)
        if not sets:
            continue
        half, captioner = half_of(image.file_name), models(image.file_name)
        grid = grid_of(image, cache, captioner.backbone.name)
        for way in WAYS:
            asked = captioner.caption(grid, [*sets], union=way == WAYS[0], no_close_up=True)
            texts[half, way] += [caption.text for caption in asked]
        references[half] += sets.values()
    return [
        {
            "half": ("tuning", "reporting")[half],
            "way": way,
            "sets": len(said),
            "cider_d": float(np.mean(cider_d(said, references[half]))),
            "bleu4": bleu(said, references[half])[-1],
        }
        for (half, way), said in sorted(texts.items())
    ]


def main() -> None:
    """Read the command line and print the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--work", type=Path, default=Path("work"), help="cache and fold heads")
    parser.add_argument("--models", nargs="+", default=["mini", "mini-zeroshot"])
    parser.add_argument("--every", type=int, default=1, help="take every n-th image only")
    options = parser.parse_args()
    gatherer = Gatherer(load_concepts(FOLDER / "concepts.json"))
    folders = (*FOLDERS, *MORE_FOLDERS)
    images = list(development_images(options.data, folders, smallest=0))[:: options.every]
    captioned = [image for image in images if image.captions]
    for name in options.models:
        with tempfile.TemporaryDirectory() as scratch:
            folds = options.work / "heads_folds"
            # They are whole captioners, of which the other recipes need less.
            models = cast("Callable[[str], Captioner]", captioner_for(name, folds, Path(scratch)))
            cache = options.work / "features"
            for scores in measure(captioned, models, gatherer, cache):
                print(json.dumps({"model": name, **scores}))


if __name__ == "__main__":
    main()
