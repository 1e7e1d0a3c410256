"""The seeing side from nothing: backbone, ImageNet rows, features, heads and their calibration.

Run ``python -m recipes.mini.vision --data DATA --work WORK``. It takes about half an
hour on one core, most of it features, which are kept in ``WORK/features``. Seeds and counted
steps end every fit; the shipped heads saw all development images, those in
``WORK/heads_folds`` each lack one fold.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import torch

from napari_patchioner.backbones.mini import SIZE
from napari_patchioner.decoders.grounded.vocabulary import load_concepts

from .backbone import write_backbone
from .coco_folders import FOLDERS, MORE_FOLDERS, development_images
from .features import compute_features, load_network
from .heads import HeadName, build, prepare
from .imagenet import write_imagenet
from .options import recipe_parser


def rebuild(data: Path, work: Path, out: Path) -> None:
    """Write every file of the seeing side.

    Parameters
    ----------
    data : Path
        The data folder.
    work : Path
        Cached features, and the heads of the folds.
    out : Path
        Where the shipped files go; ``concepts.json`` is read from there.
    """
    torch.set_num_threads(1)
    write_backbone(out / "backbone.safetensors")
    write_imagenet(out / "imagenet.safetensors", load_concepts(out / "concepts.json"))
    network = load_network(out / "backbone.safetensors")
    images = [image.path for image in development_images(data, (*FOLDERS, *MORE_FOLDERS))]
    compute_features(network, images, work / "features", SIZE)
    material = prepare(data, work / "features", out)
    mixed = {image.file_name for image in development_images(data, FOLDERS)}
    for name in get_args(HeadName):
        build(name, material, out, work / "heads_folds", mixed)


def main() -> None:
    """Read the command line and rebuild."""
    options = recipe_parser(__doc__).parse_args()
    rebuild(options.data, options.work, options.out)


if __name__ == "__main__":
    main()
