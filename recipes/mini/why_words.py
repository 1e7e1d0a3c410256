"""Whether the patches of a word lie on its thing, and whether wrong words of captions are found.

``python -m recipes.mini.why_words --data DIR [--folds DIR] [--grids DIR] [--every N]``

Of heads that have not seen the image where those of the folds are given. Prints three tables, what
goes worst, and the time of an answer:

* the pointing game: is the peak of a word's heat on an instance of that noun, in the whole image
  and in a region that holds the instance somewhere;
* nouns that people wrote of an image, or that a box is labelled with, against wrong ones;
* whole captions of people, with all nouns right and with one exchanged.
"""

from __future__ import annotations

import math
import tempfile
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy.stats import rankdata

from napari_patchioner.captioner import Captioner
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.grids import PHOTOGRAPH
from napari_patchioner.grounding import PhraseScorer, WordGrounder
from napari_patchioner.grounding.sentence import read_words
from napari_patchioner.grounding.words import CONTRADICTED
from napari_patchioner.regions import Box, Mask, WholeImage

from .card import captioner_for, shared_encoder
from .coco_folders import FOLDERS, development_images
from .kept_grids import key_of
from .options import measure_parser

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import Region

    from .coco_folders import LabelledImage

SMALLEST = 0.005
# A region around an instance has sides so many times as long, the instance anywhere in it.
WIDER = 2.5
WRONG_PER_BOX = 2
# Support below which a noun is marked, beside the one that is shipped.
MARKS = (0.05, CONTRADICTED, 0.2)


class Pointed(NamedTuple):
    """Whether the peak of a category's heat, the middle, and any place are on it, 0 to 1."""

    file_name: str
    name: str
    peak: float
    middle: float
    anywhere: float


class Noun(NamedTuple):
    """A noun, its support, the chance of the region as a whole, and whether it is right."""

    name: str
    support: float
    pooled: float
    right: bool


@dataclass
class Findings:
    """What was asked and how it went."""

    # Of images and of regions
    pointed: dict[str, list[Pointed]] = field(default_factory=lambda: defaultdict(list))
    # By what they were asked of
    nouns: dict[str, list[Noun]] = field(default_factory=lambda: defaultdict(list))
    judged: list[bool] = field(default_factory=list)
    agreements: list[tuple[float, float]] = field(default_factory=list)
    peaks: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
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
    parser.add_argument("--folders", nargs="+", default=FOLDERS, help="parts of the data")
    parser.add_argument("--failures", type=Path, help="a sheet of peaks beside the thing goes here")
    given = parser.parse_args(arguments)
    images = list(development_images(given.data, given.folders, smallest=SMALLEST))[:: given.every]
    others = [word for image in images for text in image.captions for word in nouns_of([text])]
    names = sorted({box.category for image in images for box in image.boxes})
    findings = Findings()
    with tempfile.TemporaryDirectory() as scratch:
        captioner_of = captioner_for(given.model, given.folds, Path(scratch))
        grounders: dict[int, WordGrounder] = {}
        for image in images:
            captioner = captioner_of(image.file_name)
            assert isinstance(captioner, Captioner)
            grounder = grounders.setdefault(id(captioner), WordGrounder(captioner))
            pixels = image.pixels()
            grid = shared_encoder(captioner, given.grids)(pixels, key_of(pixels))
            if grid.measures.get("photograph", 1.0) < PHOTOGRAPH:
                continue
            started = time.perf_counter()
            fresh = WordGrounder(captioner)
            fresh.words(grid, WholeImage(), "a dog on a couch")
            findings.first_seconds.append(time.perf_counter() - started)
            point(grounder, grid, image, findings)
            ask_boxes(grounder, grid, image, names, findings)
            ask_captions(grounder, grid, image, others, findings)
    report(findings)
    if given.failures is not None:
        draw_failures(findings, {image.file_name: image for image in images}, given.failures)


def nouns_of(texts: Iterable[str]) -> list[str]:
    """Return the names of the things that texts speak of, each once."""
    words = (word for text in texts for word in read_words(text))
    return list(dict.fromkeys(w.name for w in words if w.kind == "thing" and not w.absent))


def meaning_of(grounder: WordGrounder, names: Iterable[str]) -> set[str]:
    """Return all that names may mean to the model."""
    return {
        meant for name in names for meant in PhraseScorer(grounder.captioner, name).meaning
    } | set(names)


def wrong_nouns(
    grounder: WordGrounder, image: LabelledImage, others: Sequence[str], count: int
) -> list[str]:
    """Return nouns of other images of which nobody has written or labelled anything here.

    Always the same for an image; the more often people use a noun, the likelier it is taken.
    """
    present = {item.category for item in (*image.boxes, *image.masks, *image.stuff)}
    here = meaning_of(grounder, [*nouns_of(image.captions), *present])
    generator = np.random.default_rng(zlib.crc32(image.file_name.encode()))
    chosen: list[str] = []
    for place in generator.permutation(len(others)):
        name = others[place]
        if len(chosen) == count:
            break
        if name not in chosen and not meaning_of(grounder, [name]) & here:
            chosen.append(name)
    return chosen


def point(
    grounder: WordGrounder, grid: FeatureGrid, image: LabelledImage, findings: Findings
) -> None:
    """Look where the heat of each category has its peak, in the image and in a wider region."""
    generator = np.random.default_rng(zlib.crc32(image.file_name.encode()))
    for name in sorted({item.category for item in image.masks}):
        if not PhraseScorer(grounder.captioner, name).knowledge:
            continue
        own = [item.region for item in image.masks if item.category == name]
        shown = np.zeros(image.size, bool)
        for region in own:
            assert isinstance(region, Mask)
            (top, left), (rows, columns) = region.offset, region.pixels.shape
            shown[top : top + rows, left : left + columns] |= region.pixels
        around = wider_box(np.argwhere(shown), image.size, generator)
        for where, region in (("image", WholeImage()), ("region", around)):
            started = time.perf_counter()
            heat = grounder.heat(grid, region, name)
            findings.seconds.append(time.perf_counter() - started)
            cell = np.array(np.unravel_index(heat.argmax(), heat.shape)) + 0.5
            peak = grid.transform.to_image(cell)
            bounds = region.bounds() if where == "region" else Box(0, 0, *image.size)
            middle = (bounds.top + bounds.bottom) / 2, (bounds.left + bounds.right) / 2
            part = shown[
                max(round(bounds.top), 0) : round(bounds.bottom) + 1,
                max(round(bounds.left), 0) : round(bounds.right) + 1,
            ]
            hit, central = (
                float(
                    shown[
                        tuple(
                            int(np.clip(round(float(p)), 0, side - 1))
                            for p, side in zip(place, image.size, strict=True)
                        )
                    ]
                )
                for place in (peak, middle)
            )
            findings.pointed[where].append(
                Pointed(image.file_name, name, hit, central, float(part.mean()))
            )
            if where == "image":
                findings.peaks[image.file_name, name] = float(peak[0]), float(peak[1])


def wider_box(
    pixels: npt.NDArray[np.int64], size: tuple[int, int], generator: np.random.Generator
) -> Box:
    """Return a box around pixels, shape (n, 2), that has them anywhere but not of need midway."""
    low, high = pixels.min(axis=0), pixels.max(axis=0) + 1
    sides = np.minimum((high - low) * WIDER, size)
    first = np.maximum(high - sides, 0)
    last = np.minimum(low, size - sides)
    corner = first + generator.random(2) * np.maximum(last - first, 0)
    return Box(*(corner - 0.5), *(corner + sides - 0.5))


def ask_boxes(
    grounder: WordGrounder,
    grid: FeatureGrid,
    image: LabelledImage,
    names: Sequence[str],
    findings: Findings,
) -> None:
    """Ask each box for its own category, for some that are nowhere, and for some elsewhere."""
    present = {item.category for item in (*image.boxes, *image.masks)}
    here = meaning_of(grounder, present)
    absent = [name for name in names if not meaning_of(grounder, [name]) & here]
    generator = np.random.default_rng(zlib.crc32(image.file_name.encode()))
    for item in image.boxes:
        touching = {other.category for other in image.boxes if _meet(item.region, other.region)}
        elsewhere = sorted(present - touching)[:WRONG_PER_BOX]
        nowhere = [absent[n] for n in generator.permutation(len(absent))[:WRONG_PER_BOX]]
        for kind, asked in (
            ("", [item.category]),
            ("a box, nowhere in the image", nowhere),
            ("a box, elsewhere in the image", elsewhere),
        ):
            for row in judged(grounder, grid, item.region, asked, not kind):
                for other in ("a box, nowhere in the image", "a box, elsewhere in the image"):
                    if kind in ("", other):
                        findings.nouns[other].append(row)


def ask_captions(
    grounder: WordGrounder,
    grid: FeatureGrid,
    image: LabelledImage,
    others: Sequence[str],
    findings: Findings,
) -> None:
    """Ask for what people wrote of an image, for wrong nouns, and for captions with one."""
    said = nouns_of(image.captions)
    wrong = wrong_nouns(grounder, image, others, max(len(said), 5))
    whole = WholeImage()
    for asked, right in ((said, True), (wrong[: len(said)], False)):
        findings.nouns["a caption"] += judged(grounder, grid, whole, asked, right)
    for text, noun in zip(image.captions, wrong, strict=False):
        words = grounder.words(grid, whole, text)
        for word in words:
            if word.word.kind == "thing":
                findings.judged.append(not math.isnan(word.support))
        things = [word.word for word in words if word.word.kind == "thing"]
        if things:
            place = things[zlib.crc32(text.encode()) % len(things)]
            changed = f"{text[: place.start]}{noun}{text[place.end :]}"
            before, after = grounder.agreement(grid, [whole] * 2, [text, changed])
            findings.agreements.append((float(before), float(after)))


def judged(
    grounder: WordGrounder, grid: FeatureGrid, region: Region, names: Sequence[str], right: bool
) -> list[Noun]:
    """Return the support of nouns that can be judged, beside their chance in the region as such."""
    rows = []
    for name in names:
        words = [w for w in grounder.words(grid, region, name) if w.word.name == name]
        if words and not math.isnan(words[-1].support):
            scorer = PhraseScorer(grounder.captioner, name)
            pooled = float(scorer.regions(grid, [region])[0])
            rows.append(Noun(name, words[-1].support, pooled, right))
    return rows


def area_under_curve(scores: Sequence[float], right: Sequence[bool]) -> float:
    """Return how often what is right scores more than what is not, ties as half.

    >>> area_under_curve([0.9, 0.4, 0.6, 0.1], [True, True, False, False])
    0.75
    """
    is_right = np.asarray(right, bool)
    ranks = rankdata(scores)
    many, few = int(is_right.sum()), int((~is_right).sum())
    return float((ranks[is_right].sum() - many * (many + 1) / 2) / max(many * few, 1))


def report(findings: Findings) -> None:
    """Print what was found."""
    table: list[list[str]] = []
    for where, pointed in findings.pointed.items():
        means = np.array([item[2:] for item in pointed], float).mean(axis=0)
        table.append([f"the {where} ({len(pointed)})", *(_percent(value) for value in means)])
    print("The pointing game\n")
    titles = ["word in", "peak of its heat", "middle", "chance (share of the area)"]
    print(markdown_table(titles, table))
    table = []
    for kind, nouns in findings.nouns.items():
        right = [noun.right for noun in nouns]
        supports, is_right = np.array([noun.support for noun in nouns]), np.array(right)
        curves = [
            area_under_curve(scores, right)
            for scores in (supports.tolist(), [noun.pooled for noun in nouns])
        ]
        marked = [
            f"{_percent((supports[~is_right] < mark).mean())} / "
            f"{_percent((supports[is_right] < mark).mean())}"
            for mark in MARKS
        ]
        count = f"{kind} ({sum(right)} right, {len(right) - sum(right)} wrong)"
        table.append([count, *(f"{curve:.3f}" for curve in curves), *marked])
    titles = ["nouns of", "AUROC of the support", "of the region as a whole"]
    titles += [f"wrong / right ones marked below {mark:g}" for mark in MARKS]
    print("\nWrong nouns\n")
    print(markdown_table(titles, table))
    share = 1 - float(np.mean(findings.judged))
    print(f"\nOf {len(findings.judged)} nouns of captions {_percent(share)} cannot be judged.")
    pairs = np.array(findings.agreements)
    both = pairs[np.isfinite(pairs).all(axis=1)]
    whole = [True] * len(both) + [False] * len(both)
    curve = area_under_curve(both.T.ravel().tolist(), whole)
    lower = float((both[:, 1] < both[:, 0]).mean())
    print(
        f"Agreement of {len(both)} captions with one noun exchanged: AUROC {curve:.3f}, lower in "
        f"{_percent(lower)}, the same in {_percent(float((both[:, 1] == both[:, 0]).mean()))}"
    )
    _print_worst("pointed beside", [(p.name, not p.peak) for p in findings.pointed["image"]])
    said = [noun for noun in findings.nouns["a caption"] if noun.right]
    _print_worst("marked though right", [(n.name, n.support < CONTRADICTED) for n in said])
    for what, seconds in (("first", findings.first_seconds), ("next heat", findings.seconds)):
        milliseconds = 1000 * np.array(seconds)
        print(
            f"{what} of an image: {np.median(milliseconds):.0f} ms, 95 % within "
            f"{np.quantile(milliseconds, 0.95):.0f} ms"
        )


def _print_worst(title: str, items: Sequence[tuple[str, bool]]) -> None:
    """Print the names that went wrong most often."""
    wrong: dict[str, list[bool]] = defaultdict(list)
    for name, is_wrong in items:
        wrong[name].append(is_wrong)
    order = sorted(wrong, key=lambda name: (-sum(wrong[name]), len(wrong[name])))[:10]
    print(f"{title}: " + ", ".join(f"{n} {sum(wrong[n])} of {len(wrong[n])}" for n in order))


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _meet(one: object, other: object) -> bool:
    """Whether two boxes share some ground."""
    assert isinstance(one, Box)
    assert isinstance(other, Box)
    down = min(one.bottom, other.bottom) - max(one.top, other.top)
    return down > 0 and min(one.right, other.right) > max(one.left, other.left)


def draw_failures(findings: Findings, images: dict[str, LabelledImage], path: Path) -> None:
    """Draw some images on which the peak, a cross, lies beside all instances, in yellow boxes."""
    missed = [item for item in findings.pointed["image"] if not item.peak]
    missed = missed[:: max(1, len(missed) // 8)][:8]
    sheet = Image.new("RGB", (4 * 240, 2 * 200), "white")
    for place, (file, name, *_) in enumerate(missed):
        picture = Image.fromarray(images[file].pixels())
        canvas = ImageDraw.Draw(picture)
        for item in images[file].boxes:
            if item.category == name and isinstance(item.region, Box):
                b = item.region
                canvas.rectangle((b.left, b.top, b.right, b.bottom), outline="#e0c000", width=4)
        row, column = findings.peaks[file, name]
        for way in (-1, 1):
            ends = (column - 18, row - 18 * way, column + 18, row + 18 * way)
            canvas.line(ends, fill="#ff2020", width=5)
        picture.thumbnail((236, 180))
        corner = 240 * (place % 4), 200 * (place // 4)
        sheet.paste(picture, corner)
        ImageDraw.Draw(sheet).text((corner[0] + 2, corner[1] + 184), name, fill="black")
    sheet.save(path)


if __name__ == "__main__":
    main()
