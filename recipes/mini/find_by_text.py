"""How well phrases find regions and photographs: against chance and the score of the whole image.

``python -m recipes.mini.find_by_text --data DIR [--folds DIR] [--grids DIR] [--every N]``

Each category that an image shows is asked for as a phrase ("a dog"), of heads that have not seen
the image where those of the folds are given. Prints five tables, the categories that go worst, and
the time of an answer:

* which of an image's boxes a phrase picks, of images with boxes of several categories;
* the boxes of all images in one order, and the images themselves;
* the images that score at least as much as a threshold;
* boxes that are proposed, and where the heat map has its peak;
* colours: of two or more of a kind, one is painted in a colour, and asked for ("a red dog").
"""

from __future__ import annotations

import statistics
import tempfile
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders.grounded.vocabulary import with_article
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.grounding import PhraseScorer
from napari_patchioner.regions import Box, Mask, WholeImage
from napari_patchioner.teaching import overlap

from .card import captioner_for, shared_encoder
from .coco_folders import FOLDERS, development_images
from .kept_grids import key_of
from .options import measure_parser

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import Region

    from .coco_folders import LabelledImage

SMALLEST = 0.005
FIRST, SEVERAL, MANY = 1, 5, 10
LEAST = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
SAME = 0.5
# Hue angles of the paint, of 255.
PAINTS = {"red": 0, "green": 85, "blue": 165, "yellow": 42}
WAYS = ("phrase", "whole image", "chance")


@dataclass
class Scores:
    """What was asked and how it went."""

    picked: list[tuple[str, str, int, float, int, float]] = field(default_factory=list)
    boxes: dict[str, list[tuple[float, float, bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    images: dict[str, list[tuple[float, float, bool]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    placed: list[tuple[str, str, bool, bool, bool, bool, bool]] = field(default_factory=list)
    colours: list[tuple[bool, bool, float]] = field(default_factory=list)
    first_seconds: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv`` without the program's name.
    """
    parser = measure_parser(__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--failures", type=Path, help="a sheet of what is picked wrongly goes here")
    given = parser.parse_args(arguments)
    images = list(development_images(given.data, FOLDERS, smallest=SMALLEST))[:: given.every]
    names = sorted({box.category for image in images for box in image.boxes})
    scores = Scores()
    with tempfile.TemporaryDirectory() as scratch:
        captioner_of = captioner_for(given.model, given.folds, Path(scratch))
        scorers: dict[tuple[int, str], PhraseScorer] = {}
        for image in images:
            captioner = captioner_of(image.file_name)
            assert isinstance(captioner, Captioner)
            remember_regions(captioner)

            def scorer(phrase: str, captioner: Captioner = captioner) -> PhraseScorer:
                key = id(captioner), phrase
                return scorers.setdefault(key, PhraseScorer(captioner, phrase))

            pixels = image.pixels()
            grid = shared_encoder(captioner, given.grids)(pixels, key_of(pixels))
            ask(captioner, grid, image, names, scorer, scores)
            ask_colours(captioner, pixels, image, scorer, scores)
    report(scores)
    if given.failures is not None:
        draw_failures(scores, {image.file_name: image for image in images}, given.failures)


def remember_regions(captioner: Captioner) -> None:
    """Have a captioner pool the same regions of a grid once, however many phrases are asked."""
    if "embed" in vars(captioner):
        return
    embed, last = captioner.embed, {}

    def remembered(grid: FeatureGrid, regions: Sequence[Region]) -> npt.NDArray[np.float32]:
        key = id(grid), tuple(map(id, regions))
        if key not in last:
            last.clear()
            last[key] = grid, regions, embed(grid, regions)
        return last[key][2]

    captioner.embed = remembered  # type: ignore[method-assign]


def phrase_of(category: str) -> str:
    """Return a category as people ask for it."""
    return category if category in ("scissors", "skis") else with_article(category)


def ask(
    captioner: Captioner,
    grid: FeatureGrid,
    image: LabelledImage,
    names: Sequence[str],
    scorer: Callable[[str], PhraseScorer],
    scores: Scores,
) -> None:
    """Ask for every category, in this image, among its boxes, and of the image as a whole."""
    started = time.perf_counter()
    first_phrase = PhraseScorer(captioner, "a bus")
    first_phrase.heat(grid)
    first_phrase.proposals(grid)
    scores.first_seconds.append(time.perf_counter() - started)
    boxes = [item.region for item in image.boxes]
    everything = [*boxes, WholeImage()]
    own = np.array([item.category for item in image.boxes])
    for name in names:
        asked = scorer(phrase_of(name))
        if asked.problem(grid):
            continue
        *chances, whole = asked.regions(grid, everything).tolist()
        best = asked.image(grid)
        scores.images[name].append((best, float(whole), bool((own == name).any())))
        right = own == name
        scores.boxes[name] += [
            (float(c), float(whole), bool(r)) for c, r in zip(chances, right, strict=True)
        ]
        if not right.any():
            continue
        started = time.perf_counter()
        fresh = PhraseScorer(captioner, phrase_of(name))
        heat, proposals = fresh.heat(grid), fresh.proposals(grid)
        scores.seconds.append(time.perf_counter() - started)
        if len(set(own.tolist())) > 1:
            order = np.argsort(np.negative(chances), kind="stable")
            first = int(np.flatnonzero(right[order])[0])
            n, m = len(own), int(right.sum())
            ideal = [1 - comb(n - m, min(k, n)) / comb(n, min(k, n)) for k in (FIRST, SEVERAL)]
            scores.picked.append((image.file_name, name, first, ideal[0], n, ideal[1]))
        scores.placed.append(
            (image.file_name, name, *_placed(heat, proposals, boxes, right, image.size))
        )


def _placed(
    heat: npt.NDArray[np.float32],
    proposals: Sequence[object],
    boxes: Sequence[object],
    right: npt.NDArray[np.bool_],
    size: tuple[int, int],
) -> tuple[bool, bool, bool, bool, bool]:
    """Whether the heat's peak, the middle, the first box, five, and the whole image are right."""
    corners = _corners([box for box, is_right in zip(boxes, right, strict=True) if is_right])
    row, column = (
        (place + 0.5) * end / count
        for place, end, count in zip(
            np.unravel_index(heat.argmax(), heat.shape), size, heat.shape, strict=True
        )
    )

    def inside(row: float, column: float) -> bool:
        top, left, bottom, right_ = corners.T
        return bool(((row >= top) & (row <= bottom) & (column >= left) & (column <= right_)).any())

    found = _corners([item.box for item in proposals[:SEVERAL]])  # type: ignore[attr-defined]
    hits = [bool((overlap(box, corners) >= SAME).any()) for box in found]
    everything = np.array([0.0, 0.0, *size])
    return (
        inside(row, column),
        inside(size[0] / 2, size[1] / 2),
        bool(hits and hits[0]),
        any(hits),
        bool((overlap(everything, corners) >= SAME).any()),
    )


def _corners(boxes: Sequence[object]) -> npt.NDArray[np.float64]:
    rows = [(box.top, box.left, box.bottom, box.right) for box in boxes if isinstance(box, Box)]
    return np.array(rows, float).reshape(-1, 4) + 0.5


def ask_colours(
    captioner: Captioner,
    pixels: npt.NDArray[np.uint8],
    image: LabelledImage,
    scorer: Callable[[str], PhraseScorer],
    scores: Scores,
) -> None:
    """Paint one of several things of a kind, if there are, and ask for it by its colour."""
    masks = [item for item in image.masks if isinstance(item.region, Mask)]
    kinds = [item.category for item in masks]
    several = sorted({kind for kind in kinds if kinds.count(kind) > 1 and kind != "person"})
    if not several:
        return
    generator = np.random.default_rng(zlib.crc32(image.file_name.encode()))
    kind = several[int(generator.integers(len(several)))]
    alike = [item.region for item in masks if item.category == kind]
    target = int(generator.integers(len(alike)))
    colour = list(PAINTS)[int(generator.integers(len(PAINTS)))]
    chosen = alike[target]
    assert isinstance(chosen, Mask)
    grid = captioner.encode(painted(pixels, chosen, colour))
    plain, coloured = scorer(phrase_of(kind)), scorer(f"a {colour} {kind}")
    if plain.problem(grid):
        return
    picks = [int(asked.regions(grid, alike).argmax()) == target for asked in (coloured, plain)]
    scores.colours.append((picks[0], picks[1], 1 / len(alike)))


def painted(pixels: npt.NDArray[np.uint8], mask: Mask, colour: str) -> npt.NDArray[np.uint8]:
    """Return a picture, (height, width, 3), in which what a mask covers has another hue."""
    hsv = np.array(Image.fromarray(pixels).convert("HSV"))
    inside = np.zeros(pixels.shape[:2], bool)
    rows, columns = mask.pixels.shape
    top, left = mask.offset
    inside[top : top + rows, left : left + columns] = mask.pixels
    hsv[inside, 0] = PAINTS[colour]
    hsv[inside, 1] = np.maximum(hsv[inside, 1], 170)
    hsv[inside, 2] = np.maximum(hsv[inside, 2], 90)
    return np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))


def report(scores: Scores) -> None:
    """Print what `ask` and `ask_colours` have found."""
    picked = scores.picked
    first = np.array([item[2] for item in picked])
    print(f"Boxes of one image, {len(picked)} phrases on images with several categories\n")
    rows = [
        ["phrase", _percent((first < FIRST).mean()), _percent((first < SEVERAL).mean())],
        # All boxes get the same, so any order of them is as good.
        *(
            [
                way,
                _percent(np.mean([p[3] for p in picked])),
                _percent(np.mean([p[5] for p in picked])),
            ]
            for way in WAYS[1:]
        ),
    ]
    print(markdown_table(["picked by", "recall@1", "recall@5"], rows))
    for what, lists in (("boxes of all images", scores.boxes), ("images", scores.images)):
        lists = {name: items for name, items in lists.items() if any(right for *_, right in items)}
        print(f"\nThe {what}, {len(lists)} phrases\n")
        print(
            markdown_table(["ranked by", "mAP", f"recall@{MANY}", "first is right"], _ranks(lists))
        )
    print(f"\nThe images that are listed, {len(scores.images)} phrases\n")
    header = ["score of at least", "listed", "right", "of those that show it"]
    print(markdown_table(header, _listed(list(scores.images.values()))))
    placed = np.array([item[2:] for item in scores.placed])
    means = [_percent(value) for value in placed.mean(axis=0)]
    print(f"\nPlaces on the image, {len(placed)} phrases\n")
    table = [["peak of the heat map", means[0], ""], ["middle of the image", means[1], ""]]
    table += [["first proposal", "", means[2]], ["first five", "", means[3]]]
    table += [["the whole image", "", means[4]]]
    print(markdown_table(["what", "lies in a box", f"overlaps one by {SAME:g}"], table))
    colours = np.array(scores.colours, float).reshape(-1, 3)
    print(f"\nOne of several of a kind, painted, {len(colours)} images\n")
    names = ["with the colour", "without", "chance"]
    rates = [_percent(value) for value in colours.mean(axis=0)] if len(colours) else ["-"] * 3
    print(markdown_table(["asked", "recall@1"], list(map(list, zip(names, rates, strict=True)))))
    worst = defaultdict(list)
    for _, name, rank, *_ in picked:
        worst[name].append(rank < FIRST)
    often = {name: hits for name, hits in worst.items() if len(hits) >= 4}
    order = sorted(often, key=lambda name: statistics.mean(often[name]))[:8]
    print("\nworst: " + ", ".join(f"{n} {sum(often[n])} of {len(often[n])}" for n in order))
    for what, seconds in (("first phrase", scores.first_seconds), ("next ones", scores.seconds)):
        milliseconds = 1000 * np.array(seconds)
        print(
            f"heat map and proposals, {what} of an image: {np.median(milliseconds):.0f} ms, 95 % "
            f"within {np.quantile(milliseconds, 0.95):.0f} ms"
        )


def _ranks(lists: dict[str, list[tuple[float, float, bool]]]) -> list[list[str]]:
    """Rows of a table: mean average precision, recall among the first ones, first one right."""
    rows = []
    for column, way in enumerate(WAYS):
        values = []
        for items in lists.values():
            right = np.array([item[2] for item in items])
            if way == "chance":
                share = right.mean()
                many = min(MANY, len(right)) * share / min(MANY, right.sum())
                values.append((share, many, share))
                continue
            keys = np.array([item[column] for item in items])
            # Ties in an order that has nothing to do with what is right.
            ties = np.random.default_rng(0).random(len(keys))
            ranked = right[np.lexsort((ties, -keys))]
            hits = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
            most = min(MANY, int(right.sum()))
            values.append((hits[ranked].mean(), ranked[:MANY].sum() / most, ranked[0]))
        mean = np.mean(np.array(values, float), axis=0)
        rows.append([way, f"{mean[0]:.3f}", _percent(mean[1]), _percent(mean[2])])
    return rows


def _listed(lists: Sequence[list[tuple[float, float, bool]]]) -> list[list[str]]:
    """Rows of a table: how many images score so much, and how many of which are which."""
    scores, _, right = np.array([item for items in lists for item in items], float).T
    rows = []
    for least in LEAST:
        listed = scores >= least
        hits = float(right[listed].sum())
        shares = _percent(hits / max(listed.sum(), 1)), _percent(hits / max(right.sum(), 1))
        rows.append([f"{least:g}", str(int(listed.sum())), *shares])
    return rows


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def draw_failures(scores: Scores, images: dict[str, LabelledImage], path: Path) -> None:
    """Draw some images of which a phrase picks the wrong box or proposes none that fits."""
    missed = [item for item in scores.placed if not item[5]][:: max(1, len(scores.placed) // 60)]
    sheet = Image.new("RGB", (4 * 240, 2 * 200), "white")
    for place, (file, name, *_) in enumerate(missed[:8]):
        image = images[file]
        picture = Image.fromarray(image.pixels())
        canvas = ImageDraw.Draw(picture)
        for item in image.boxes:
            if item.category == name and isinstance(item.region, Box):
                b = item.region
                canvas.rectangle((b.left, b.top, b.right, b.bottom), outline="#e0c000", width=4)
        picture.thumbnail((236, 180))
        sheet.paste(picture, (240 * (place % 4), 200 * (place // 4)))
        text = ImageDraw.Draw(sheet)
        text.text((240 * (place % 4) + 2, 200 * (place // 4) + 184), phrase_of(name), fill="black")
    sheet.save(path)


if __name__ == "__main__":
    main()
