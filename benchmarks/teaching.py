"""How well regions are named and found after examples, on a folder of images with named boxes.

``python benchmarks/teaching.py FOLDER [--draws N] [--model ID] [--only TABLE] [--pictures OUT]``

The folder holds ``images/`` and ``boxes.csv`` with the columns ``image, name, x1, y1, x2, y2``, in
pixels from 1 with both ends in the box. Examples come from the first images of a random order that
hold any, and all other images are the test. Prints tables: balanced accuracy at 1, 5 and 10
examples of a name; how many regions of a name that was never taught stay without one; how well
boxes of a name are found by themselves; and times.

``python benchmarks/teaching.py FOLDER --coco INSTANCES.json`` is about photographs, of which
``FOLDER`` holds those that a file of COCO's instances is about: it teaches three examples of each
of the ten categories that captions mention least, and prints how often captions mention these and
all others before and after, on the images that no example is from.

``--pictures OUT`` writes a picture for each name instead: what is found in another image than the
examples are from (green where a box of that name lies, red elsewhere, with its score), what is
missed (yellow), and the heat map.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from napari_patchioner import load_model
from napari_patchioner.images import read_image
from napari_patchioner.regions import Box
from napari_patchioner.teaching import (
    Classifier,
    Descriptions,
    Example,
    Finder,
    ImageMeasures,
    Lexicon,
    Naming,
    Origin,
    Proposal,
    Sample,
    TaughtImage,
    background,
    describe,
)
from napari_patchioner.teaching.find import overlap

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import FeatureGrid

TABLES = ("teach", "open", "find", "time")
COUNTS = (1, 5, 10)
# How much of the union boxes have to share to count as the same.
OVERLAP, OTHER_IMAGES = 0.3, 20
FIND_COUNTS = (1, 5)
# Things that an image for a picture has at least, where some have; and how much it is enlarged.
MORE, ENLARGED = 3, 2
GOOD, BAD, MISSED = "#008000", "#d00000", "#e0c000"
# Pixels of a box in a photograph, and boxes of a category that is counted.
LEAST_AREA, LEAST_BOXES = 400, 8
PEOPLE = ("people", "man", "men", "woman", "women", "boy", "girl", "child", "children", "player")


class BoxedImages:
    """Images with named boxes, each encoded and described once."""

    def __init__(self, folder: Path, captioner: Captioner, *, described: bool = True) -> None:
        self.captioner, self.folder = captioner, folder
        rows = defaultdict(list)
        with (folder / "boxes.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
                rows[row["image"]].append(
                    (row["name"], Box(y1 - 1.5, x1 - 1.5, y2 - 0.5, x2 - 0.5))
                )
        self.names = {image: np.array([name for name, _ in rows[image]]) for image in sorted(rows)}
        self.boxes = {image: [box for _, box in rows[image]] for image in sorted(rows)}
        self.images = list(self.names)
        self.kinds = sorted(set(np.concatenate(list(self.names.values()))))
        self.regions: dict[str, Descriptions] = {}
        self.around: dict[str, Descriptions] = {}
        self.photographs: dict[str, float] = {}
        for image in self.images if described else ():
            grid, measures = self.encoded(image)
            self.regions[image] = describe(captioner, grid, measures, self.boxes[image])
            self.around[image] = background(captioner, grid, measures)
            self.photographs[image] = grid.measures.get("photograph", 0.5)

    def encoded(self, image: str) -> tuple[FeatureGrid, ImageMeasures]:
        pixels = self.pixels(image)
        return self.captioner.encode(pixels), ImageMeasures(pixels)

    def pixels(self, image: str) -> np.ndarray:
        return read_image(self.folder / "images" / image)

    def draw(self, kinds: list[str], count: int, rng: np.random.Generator) -> list[tuple[str, int]]:
        """Return examples as image and row, from as few images of a random order as hold them."""
        needed, examples = dict.fromkeys(kinds, count), []
        for image in rng.permutation(self.images):
            for kind in kinds:
                rows = rng.permutation(np.flatnonzero(self.names[image] == kind))[: needed[kind]]
                examples += [(image, int(row)) for row in rows]
                needed[kind] -= len(rows)
            if not any(needed.values()):
                break
        return examples

    def taught(
        self, kinds: list[str], count: int, rng: np.random.Generator
    ) -> tuple[Lexicon, list[str]]:
        """Return a lexicon of so many examples of each name, and the other images."""
        examples = self.draw(kinds, count, rng)
        used = list(dict.fromkeys(image for image, _ in examples))
        lexicon = Lexicon(
            Origin.of(self.captioner),
            [Example(str(self.names[image][row]), image, str(row)) for image, row in examples],
            Descriptions.joined([self.regions[image].take([row]) for image, row in examples]),
            [TaughtImage(i, "", self.around[i], self.photographs[i]) for i in used],
        )
        return lexicon, [image for image in self.images if image not in used]

    def named(self, lexicon: Lexicon, regions: Descriptions) -> list[Naming]:
        """Name regions as the package does."""
        return lexicon.name_described(self.captioner.bridge, regions)

    def of(self, images: list[str], kinds: list[str]) -> tuple[Descriptions, np.ndarray]:
        """Return all regions of some names in some images, and their names."""
        rows = {image: np.flatnonzero(np.isin(self.names[image], kinds)) for image in images}
        regions = Descriptions.joined([self.regions[image].take(rows[image]) for image in images])
        return regions, np.concatenate([self.names[image][rows[image]] for image in images])

    def names_of(
        self, lexicon: Lexicon, images: list[str], kinds: list[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the names that such regions get, empty for none, and their true ones."""
        regions, right = self.of(images, kinds)
        return np.array([naming.name or "" for naming in self.named(lexicon, regions)]), right


def table(title: str, header: str, rows: list[str]) -> None:
    """Print a table of Markdown."""
    columns = header.count("|") + 1
    print(f"\n## {title}\n\n| {header} |\n|{'---|' * columns}")
    for row in rows:
        print(f"| {row} |")


def teach(data: BoxedImages, draws: int) -> None:
    """Print how many regions are named rightly, each name counting the same."""
    rows = []
    for count in COUNTS:
        shares, given, surplus = [], [], []
        for draw in range(draws):
            lexicon, rest = data.taught(data.kinds, count, np.random.default_rng(draw))
            regions, true = data.of(rest, data.kinds)
            namings = data.named(lexicon, regions)
            right = np.array([naming.closest for naming in namings]) == true
            shares.append(np.mean([right[true == kind].mean() for kind in data.kinds]))
            named = np.array([naming.name or "" for naming in namings]) == true
            given.append(np.mean([named[true == kind].mean() for kind in data.kinds]))
            known = np.array([naming.score for naming in namings])
            surplus.append(known.mean() - right.mean())
        rows.append(
            f"{count} | {np.mean(shares):.3f} | {np.mean(given):.3f} | {min(given):.3f} | "
            f"{np.mean(surplus):+.3f}"
        )
    header = "examples of each | closest name | name given | worst draw | score minus accuracy"
    table(f"Named rightly, {draws} draws", header, rows)


def open_set(data: BoxedImages, draws: int) -> None:
    """Print how many regions stay without a name: of what was never taught."""
    header = "taught | examples of each | others without a name | taught with their right name"
    for title, ways in (
        ("All names but one", [[k for k in data.kinds if k != other] for other in data.kinds]),
        ("One name alone", [[kind] for kind in data.kinds]),
    ):
        rows = []
        for kinds in ways:
            others = [kind for kind in data.kinds if kind not in kinds]
            for count in COUNTS:
                unnamed, kept = [], []
                for draw in range(draws):
                    lexicon, rest = data.taught(kinds, count, np.random.default_rng(draw))
                    named, right = data.names_of(lexicon, rest, kinds)
                    kept.append(np.mean([(named == right)[right == kind].mean() for kind in kinds]))
                    named, right = data.names_of(lexicon, rest, others)
                    shares = [(named[right == kind] == "").mean() for kind in others]
                    unnamed.append(np.mean(shares))
                shown = f"{np.mean(unnamed):.3f} | {np.mean(kept):.3f}"
                rows.append(f"{', '.join(kinds)} | {count} | {shown}")
        table(f"{title}, {draws} draws", header, rows)


def matched(proposals: list[Proposal], true: list[Box]) -> int:
    """Return how many proposals, the best first, meet a box of their own."""
    corners = np.array([[b.top, b.left, b.bottom, b.right] for b in true]).reshape(-1, 4)
    free, count = np.ones(len(true), bool), 0
    for proposal in proposals:
        box = proposal.box
        shared = overlap(np.array([box.top, box.left, box.bottom, box.right]), corners) * free
        if len(true) and shared.max() >= OVERLAP:
            free[shared.argmax()] = False
            count += 1
    return count


def find(data: BoxedImages, draws: int) -> None:
    """Print how well boxes of a name are found in other images, at the threshold that is set."""
    rows = []
    encoded = {image: data.encoded(image) for image in data.images}
    for kind in data.kinds:
        for count in FIND_COUNTS:
            scores = []
            for draw in range(draws):
                rng = np.random.default_rng(100 + draw)
                examples = data.draw([kind], count, rng)
                used = list(dict.fromkeys(image for image, _ in examples))
                boxes = {i: [data.boxes[i][row] for j, row in examples if j == i] for i in used}
                finder = Finder(data.captioner, [Sample(*encoded[i], boxes[i]) for i in used])
                rest = [image for image in rng.permutation(data.images) if image not in used]
                right = given = wanted = 0
                for image in rest[:OTHER_IMAGES]:
                    true = [data.boxes[image][r] for r in np.flatnonzero(data.names[image] == kind)]
                    proposals = finder.find(*encoded[image])
                    right += matched(proposals, true)
                    given, wanted = given + len(proposals), wanted + len(true)
                scores.append((2 * right / (given + wanted), right / max(given, 1), right / wanted))
            f1, precision, recall = np.mean(scores, axis=0)
            rows.append(f"{kind} | {count} | {f1:.3f} | {precision:.2f} | {recall:.2f}")
    header = "name | examples | F1 | precision | recall"
    table(f"More like this, {draws} draws, {OTHER_IMAGES} other images each", header, rows)


def overlaps(box: Box, others: list[Box]) -> np.ndarray:
    """Return how much of the union a box shares with each of others."""
    corners = np.array([[b.top, b.left, b.bottom, b.right] for b in others]).reshape(-1, 4)
    return overlap(np.array([box.top, box.left, box.bottom, box.right]), corners)


def pictures(data: BoxedImages, out: Path) -> None:
    """Draw for each name what is found from one or five examples: in the image in the middle.

    That is the one with the median F1 of those that hold a few of the name.
    """
    out.mkdir(parents=True, exist_ok=True)
    for kind in data.kinds:
        numbers = {image: int((data.names[image] == kind).sum()) for image in data.images}
        is_rare = max(numbers.values()) < MORE
        examples = data.draw([kind], FIND_COUNTS[not is_rare], np.random.default_rng(100))
        used = list(dict.fromkeys(image for image, _ in examples))
        boxes = {i: [data.boxes[i][row] for j, row in examples if j == i] for i in used}
        finder = Finder(data.captioner, [Sample(*data.encoded(i), boxes[i]) for i in used])
        least = 1 if is_rare else MORE
        rest = [i for i in data.images if i not in used and numbers[i] >= least]
        results = []
        for image in rest[:OTHER_IMAGES]:
            true = [data.boxes[image][row] for row in np.flatnonzero(data.names[image] == kind)]
            grid, measures = data.encoded(image)
            proposals = finder.find(grid, measures)
            score = 2 * matched(proposals, true) / (len(true) + len(proposals))
            results.append((score, image, true, proposals, finder.heat(measures)))
        score, image, true, proposals, heat = sorted(results, key=lambda r: r[:2])[
            len(results) // 2
        ]
        pixels = data.pixels(image)
        size = pixels.shape[1] * ENLARGED, pixels.shape[0] * ENLARGED
        shown = Image.fromarray(pixels).convert("RGB").resize(size)
        pen = ImageDraw.Draw(shown)
        given = [proposal.box for proposal in proposals]
        for box in true:
            if overlaps(box, given).max(initial=0) < OVERLAP:
                outline(pen, box, MISSED)
        for proposal in proposals:
            is_right = overlaps(proposal.box, true).max(initial=0) >= OVERLAP
            outline(pen, proposal.box, GOOD if is_right else BAD, f"{proposal.score:.2f}")
        warm = Image.fromarray((255 * heat).astype(np.uint8)).resize(size)
        both = Image.new("RGB", (2 * size[0], size[1]))
        both.paste(shown, (0, 0))
        both.paste(Image.merge("RGB", (warm, warm, Image.new("L", size))), (size[0], 0))
        both.save(out / f"{kind}.png")
        print(
            f"{kind}: {image}, from {len(examples)} in {', '.join(used)}; F1 {score:.2f}, of all "
            f"{len(results)} images {np.mean([result[0] for result in results]):.2f}"
        )


def outline(pen: ImageDraw.ImageDraw, box: Box, colour: str, text: str = "") -> None:
    """Draw a box, and a text at its corner."""
    left, top = ENLARGED * (box.left + 0.5), ENLARGED * (box.top + 0.5)
    right, bottom = ENLARGED * (box.right + 0.5), ENLARGED * (box.bottom + 0.5)
    pen.rectangle((left, top, right, bottom), outline=colour, width=3)
    pen.text((left + 5, top + 3), text, fill=colour, font_size=20)


def times(data: BoxedImages) -> None:
    """Print how long teaching and naming take where the image is encoded already."""
    pixels = data.pixels(data.images[0])
    grid, boxes = data.captioner.encode(pixels), data.boxes[data.images[0]]
    names = data.names[data.images[0]]
    start = time.perf_counter()
    measures = ImageMeasures(pixels)
    examples = describe(data.captioner, grid, measures, boxes[:3])
    around = background(data.captioner, grid, measures)
    classifier = Classifier.fit(examples, names[:3], around)
    classifier(describe(data.captioner, grid, measures, boxes[3:4]))
    first = time.perf_counter() - start
    everything, true = data.of(data.images, data.kinds)
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(true), 10_000)
    many = Classifier.fit(everything.take(chosen), true[chosen], around)
    some = everything.take(chosen[:64])
    many(some)
    start = time.perf_counter()
    for _ in range(5):
        many(some)
    rest = (time.perf_counter() - start) / 5
    rows = [f"first name after teaching three regions of a new image | {1000 * first:.0f}"]
    kind = max(data.kinds, key=lambda kind: int((names == kind).sum()))
    own = [boxes[row] for row in np.flatnonzero(names == kind)]
    for count in FIND_COUNTS:
        start = time.perf_counter()
        measures = ImageMeasures(pixels)
        finder = Finder(data.captioner, [Sample(grid, measures, own[:count])])
        finder.find(grid, measures)
        finder.heat(measures)
        taken = time.perf_counter() - start
        title = f"find more from {count} of {kind}, with a heat map"
        rows.append(f"{title} | {1000 * taken:.0f}")
    rows.append(f"64 regions after 10,000 examples | {1000 * rest:.0f}")
    table("Times", "what | ms", rows)


class Photographs(BoxedImages):
    """Photographs with the boxes of COCO's instances, and what the model says of each."""

    def __init__(self, folder: Path, instances: Path, captioner: Captioner) -> None:
        content = json.loads(instances.read_text(encoding="utf-8"))
        kinds = {entry["id"]: entry["name"] for entry in content["categories"]}
        files = {entry["id"]: entry["file_name"] for entry in content["images"]}
        named = defaultdict(list)
        for entry in content["annotations"]:
            x, y, width, height = entry["bbox"]
            if not entry.get("iscrowd") and width * height >= LEAST_AREA:
                box = Box(y - 0.5, x - 0.5, y + height - 0.5, x + width - 0.5)
                named[files[entry["image_id"]]].append((kinds[entry["category_id"]], box))
        self.images = [image for image in sorted(named) if (folder / image).exists()]
        self.names = {i: np.array([name for name, _ in named[i]]) for i in self.images}
        self.boxes = {i: [box for _, box in named[i]] for i in self.images}
        self.regions, self.around, self.photographs, self.captions = {}, {}, {}, {}
        for image in self.images:
            pixels = read_image(folder / image)
            grid, measures = captioner.encode(pixels), ImageMeasures(pixels)
            self.regions[image] = describe(captioner, grid, measures, self.boxes[image])
            self.around[image] = background(captioner, grid, measures)
            self.photographs[image] = grid.measures.get("photograph", 0.5)
            captions = captioner.caption(grid, self.boxes[image])
            self.captions[image] = [caption.text for caption in captions]


def mentions(caption: str, name: str) -> bool:
    """Whether a caption has the last word of a name, in the singular or the plural."""
    word = name.split()[-1]
    forms = {word, f"{word}s", f"{word}es", *PEOPLE * (word == "person")}
    return not forms.isdisjoint(re.findall(r"[a-z]+", caption.lower()))


def mentioned(data: Photographs, draws: int) -> None:
    """Print how often captions mention what they are of, before and after teaching."""
    shares: dict[str, list[bool]] = defaultdict(list)
    for image in data.images:
        for name, caption in zip(data.names[image], data.captions[image], strict=True):
            shares[name].append(mentions(caption, name))
    often = [name for name, some in shares.items() if len(some) >= LEAST_BOXES]
    worst = sorted(often, key=lambda name: (np.mean(shares[name]), -len(shares[name])))[:10]
    results, boxes = defaultdict(list), []
    for draw in range(draws):
        lexicon, rest = data.taught(worst, 3, np.random.default_rng(draw))
        names = np.concatenate([data.names[image] for image in rest])
        captions = [caption for image in rest for caption in data.captions[image]]
        regions = Descriptions.joined([data.regions[image] for image in rest])
        namings = data.named(lexicon, regions)
        before = np.array([mentions(c, n) for c, n in zip(captions, names, strict=True)])
        named = np.array([naming.name is not None for naming in namings])
        right = np.array([naming.name for naming in namings]) == names
        pairs = zip(captions, namings, strict=True)
        said = np.array([mentions(caption, naming.closest) for caption, naming in pairs])
        is_taught = np.isin(names, worst)
        boxes.append((is_taught.sum(), (~is_taught).sum()))
        ways = {
            "of the model alone": before,
            "the taught name, then the caption": before | right,
            "the taught name in place of the caption (`--no-join`)": np.where(named, right, before),
            "with a taught name": named,
            "with a name that is wrong, and not in the caption": named & ~right & ~said,
        }
        for way, hits in ways.items():
            groups = [names == name for name in sorted(set(names))]
            taught = [hits[group].mean() for group in groups if is_taught[group].all()]
            others = [hits[group].mean() for group in groups if not is_taught[group].any()]
            results[way].append((np.mean(taught), np.mean(others)))
    rows = []
    for way, values in results.items():
        taught, others = np.mean(values, axis=0)
        rows.append(f"{way} | {taught:.3f} | {others:.3f}")
    few, many = np.mean(boxes, axis=0)
    print(
        f"\ntaught: {', '.join(worst)}; on average {few:.0f} boxes of these, {many:.0f} of others"
    )
    header = "captions that mention what they are of | the ten taught | all other categories"
    table(f"Photographs, three examples each, {draws} draws", header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--only", choices=TABLES, action="append")
    parser.add_argument("--coco", type=Path, metavar="INSTANCES.json")
    parser.add_argument("--pictures", type=Path, metavar="OUT")
    arguments = parser.parse_args()
    if arguments.coco:
        model = load_model(arguments.model)
        mentioned(Photographs(arguments.folder, arguments.coco, model), arguments.draws)
        return
    wanted = arguments.only or TABLES
    described = arguments.pictures is None
    data = BoxedImages(arguments.folder, load_model(arguments.model), described=described)
    if arguments.pictures:
        pictures(data, arguments.pictures)
        return
    if "teach" in wanted:
        teach(data, arguments.draws)
    if "open" in wanted:
        open_set(data, arguments.draws)
    if "find" in wanted:
        find(data, arguments.draws)
    if "time" in wanted:
        times(data)


if __name__ == "__main__":
    main()
