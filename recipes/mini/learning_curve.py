"""How much more photographs help: the head of `mini` fitted to parts of them, and the same boxes.

``python -m recipes.mini.learning_curve --data DIR --work WORK`` after `recipes.mini.vision`, whose
features and heads of folds it reads, writes the table of the model card.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_patchioner.annotations import encode_text, write_bytes
from napari_patchioner.bridges.concepts import load_head
from napari_patchioner.evaluation.metrics.mention import mentions
from napari_patchioner.evaluation.protocols.page import markdown_table

from .card import fill_blocks
from .coco_folders import FOLDERS, development_images
from .crossval import FOLDS
from .heads import fit, prepare, take, unseen_probabilities
from .options import recipe_parser

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_patchioner.bridges.concepts import ConceptHead

    from .heads import Material

SHARES = (1 / 8, 1 / 4, 1 / 2)
_LARGE = 0.02


def part_of(material: Material, share: float) -> Material:
    """Keep the regions of a share of the images, chosen by their names.

    Parameters
    ----------
    material : Material
    share : float
        Of the images, 0 to 1; what a smaller share has, a larger one has too.
    """
    images = np.unique(material.regions.images)
    chosen = sorted(images, key=lambda name: sha256(f"part {name}".encode()).hexdigest())
    kept = np.isin(material.regions.images, chosen[: round(share * len(chosen))])
    return replace(material, regions=take(material.regions, kept))


def curve(
    material: Material,
    measured: npt.NDArray[np.bool_],
    fitted: Mapping[int, ConceptHead],
    shares: Sequence[float] = SHARES,
) -> list[tuple[int, float, float]]:
    """Fit parts of the images and ask each head for the regions of images it never saw.

    Parameters
    ----------
    material : Material
    measured : ndarray of bool, shape (regions,)
        Which regions are named to be counted.
    fitted : mapping of int to ConceptHead
        By held-out fold, the heads fitted to all other images.
    shares : sequence of float
        Of the images, beside all of them.

    Returns
    -------
    list of (int, float, float)
        For each share, then for all: images fitted to, share of the regions whose likeliest name
        is right, and that of those that are no persons.
    """
    names = [concept.name for concept in material.concepts]
    asked = replace(material, regions=take(material.regions, measured))
    categories = asked.regions.categories
    others = categories != "person"
    rows = []
    for share in (*shares, 1.0):
        part = part_of(material, share)
        heads = fitted
        if share < 1:
            heads = {fold: fit("mini", part, fold) for fold in range(FOLDS)}
        first = unseen_probabilities(asked, heads).argmax(1)
        right = np.array(
            [mentions(names[index], name) for index, name in zip(first, categories, strict=True)]
        )
        images = len(set(part.regions.images.tolist())) * (FOLDS - 1) // FOLDS
        rows.append((images, float(right.mean()), float(right[others].mean())))
    return rows


def main() -> None:
    """Read the command line, measure, and fill the card."""
    parser = recipe_parser(__doc__)
    parser.add_argument("--card", type=Path, default=Path("docs/models/mini.md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    material = prepare(options.data, options.work / "features")
    reported = {image.file_name for image in development_images(options.data, FOLDERS)}
    regions = material.regions
    measured = (regions.copies == 0) & (regions.kinds == "box") & (regions.areas > _LARGE)
    measured &= np.isin(regions.images, sorted(reported))
    folds = options.work / "heads_folds"
    fitted = {fold: load_head(folds / f"head_mini_fold{fold}.safetensors") for fold in range(FOLDS)}
    rows = [
        [f"{images:,}", f"{every:.3f}", f"{others:.3f}"]
        for images, every, others in curve(material, measured, fitted)
    ]
    table = markdown_table(["photographs fitted to", "first noun right", "not persons"], rows)
    text = options.card.read_text(encoding="utf-8")
    write_bytes(options.card, encode_text(fill_blocks(text, {"curve": table})))


if __name__ == "__main__":
    main()
