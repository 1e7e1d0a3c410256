"""What specificity does to captions of the embedded model: length, rarity, whether they are right.

``python -m recipes.mini.specificity --data DIR --folds DIR [--grids DIR] [--every N]``

On boxes of development images that have two and more, with heads that were not fitted to them. A
caption is right if it names the box's category or what stands for it, and it leads back if the
judge of `tell_apart` finds its box by it among all boxes of the image. How usual a name is, is how
many of COCO's captions of the development images hold it.
"""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.captioner import Captioner
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.grounding import read_phrase

from .card import captioner_for, shared_encoder
from .coco_folders import FOLDERS, development_images
from .kept_grids import key_of
from .options import measure_parser
from .tell_apart import SMALLEST, Bench, look_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.bridges import PhraseReader

STEPS = (0.0, 0.5, 1.0, 2.0, 3.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv`` without the program's name.
    """
    given = measure_parser(__doc__).parse_args(arguments)
    images = [
        image
        for image in development_images(given.data, FOLDERS, smallest=SMALLEST)
        if len(image.boxes) > 1
    ][:: given.every]
    said = " . ".join(text.casefold() for image in images for text in image.captions)
    usual: dict[str, int] = {}
    measured: dict[float, list[tuple[float, float, float, float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        captioner_of = captioner_for("mini", given.folds, Path(one))
        judge_of = captioner_for("mini-zeroshot", given.folds, Path(two))
        for image in images:
            captioner, judge = captioner_of(image.file_name), judge_of(image.file_name)
            assert isinstance(captioner, Captioner)
            assert isinstance(judge, Captioner)
            bridge: PhraseReader = captioner.bridge  # type: ignore[assignment]
            pixels = image.pixels()
            grid = shared_encoder(captioner, given.grids)(pixels, key_of(pixels))
            boxes = [item.region for item in image.boxes]
            seen = [look_at(pixels, image, item.category, item.region) for item in image.boxes]
            bench = Bench(judge, grid, boxes, seen)
            plain: list[str] = []
            for step in STEPS:
                captions = captioner.caption(grid, boxes, specificity=step, no_close_up=True)
                texts = [caption.text for caption in captions]
                plain = plain or texts
                for row, (caption, item) in enumerate(zip(captions, image.boxes, strict=True)):
                    if caption.verdict != "sure":
                        continue
                    name = read_phrase(caption.text).thing
                    if name not in usual:
                        usual[name] = len(re.findall(rf"\b{re.escape(name)}s?\b", said))
                    right = name in {item.category, *bridge.phrase_meaning(item.category)}
                    measured[step].append(
                        (
                            len(caption.text.split()),
                            float(np.log1p(usual[name])),
                            float(right),
                            bench.share(caption.text, row),
                            float(caption.text != plain[row]),
                        )
                    )
    rows = []
    for step, values in measured.items():
        words, rarity, right, back, changed = np.mean(values, axis=0)
        rows.append(
            [
                f"{step:g}",
                f"{len(values)}",
                f"{100 * changed:.1f} %",
                f"{words:.2f}",
                f"{np.expm1(rarity):.0f}",
                f"{100 * right:.1f} %",
                f"{100 * back:.1f} %",
            ]
        )
    header = ["g", "sure of", "changed", "words", "said in captions", "name is right"]
    print(markdown_table([*header, "leads back (R@1)"], rows))


if __name__ == "__main__":
    main()
