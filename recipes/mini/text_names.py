"""Name regions by a list of words alone: the text tower beside the sentence encoder.

``python -m recipes.mini.text_names --data DIR [--images 120]``

The photographs are those of ``coco_more``, which no head was fitted to; boxes take more than 2 % of
theirs, crowds are left out. A region is right where, of the 80 category names, the one nearest to
its vector is its own.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_patchioner.images import read_picture
from napari_patchioner.models import load_model
from napari_patchioner.models.embedded import HEADS, load_text_tower
from napari_patchioner.regions import Box

from .development import phrase
from .sentence_encoder import SentenceEncoder

if TYPE_CHECKING:
    import numpy.typing as npt

_FOLDER = Path("coco_more", "val2017_people")
_SMALLEST = 0.02
_HALF = 0.5
# A person's own dozen: what is in the photographs, under names that the model does not use.
DOZEN = {
    "pizza": "a slice of pizza",
    "banana": "a tropical fruit",
    "cake": "a birthday cake",
    "dog": "a puppy",
    "cat": "a kitten",
    "horse": "a pony",
    "elephant": "an African elephant",
    "car": "an automobile",
    "motorcycle": "a motorbike",
    "bus": "a coach",
    "train": "a locomotive",
    "airplane": "a jet plane",
}


def accuracy(
    data: Path, images: int, encoders: dict[str, Any], seed: int = 0
) -> dict[str, dict[str, float]]:
    """Share of the regions named rightly, by model and encoder.

    Parameters
    ----------
    data : Path
        The data folder.
    images : int
        How many photographs are drawn.
    encoders : dict
        What embeds texts, by name.
    seed : int
        Of the drawing.

    Returns
    -------
    dict
        ``result[model][encoder, list]``, and the numbers of regions.
    """
    record = json.loads((data / _FOLDER / "instances.json").read_text(encoding="utf-8"))
    names = {entry["id"]: entry["name"] for entry in record["categories"]}
    boxes = defaultdict(list)
    for entry in record["annotations"]:
        if not entry.get("iscrowd"):
            boxes[entry["image_id"]].append(entry)
    order = np.random.default_rng(seed).permutation(len(record["images"]))[:images]
    models = {name: load_model(name) for name in HEADS}
    vectors: dict[str, list[npt.NDArray[np.float32]]] = defaultdict(list)
    truth: list[str] = []
    for place in order:
        entry = record["images"][place]
        path = next((data / _FOLDER).rglob(entry["file_name"]))
        pixels = np.asarray(read_picture(path).convert("RGB"))
        height, width = pixels.shape[:2]
        scale = width / entry["width"] if entry.get("width") else 1.0
        chosen = []
        for box in boxes[entry["id"]]:
            left, top, wide, high = (scale * side for side in box["bbox"])
            if wide * high >= _SMALLEST * height * width:
                bottom, right = min(top + high, height), min(left + wide, width)
                chosen.append(Box(top - _HALF, left - _HALF, bottom - _HALF, right - _HALF))
                truth.append(names[box["category_id"]])
        if chosen:
            grid = models["mini"].encode(pixels)
            for name, model in models.items():
                vectors[name].append(model.text_vectors(grid, chosen))
    labels = np.array(truth)
    dozen = np.isin(labels, list(DOZEN))
    result: dict[str, dict[str, float]] = {"regions": {"80": len(labels), "12": int(dozen.sum())}}
    for name, parts in vectors.items():
        rows = np.concatenate(parts)
        result[name] = {}
        for encoder, embed in encoders.items():
            every = sorted(names.values())
            for count, words, texts, used in (
                ("80", every, [phrase(word) for word in every], np.ones(len(labels), bool)),
                ("12", list(DOZEN), list(DOZEN.values()), dozen),
            ):
                nearest = np.array(words)[(rows[used] @ embed(texts).T).argmax(1)]
                right = nearest == labels[used]
                others = labels[used] != "person"
                result[name][f"{encoder}, {count}"] = float(right.mean())
                result[name][f"{encoder}, {count}, not persons"] = float(right[others].mean())
    return result


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--images", type=int, default=120, help="how many photographs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoders = {"tower": load_text_tower().embed_text, "encoder": SentenceEncoder().encode}
    print(json.dumps(accuracy(options.data, options.images, encoders), indent=1))


if __name__ == "__main__":
    main()
