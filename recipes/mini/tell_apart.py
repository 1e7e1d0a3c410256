"""How surely captions lead back to their regions among alike ones of the same photograph.

``python -m recipes.mini.tell_apart --data DIR --folds DIR [--grids DIR] [--every N]``

On every other development image that has two boxes and more; thresholds were chosen on the rest.
Of boxes that the model gives the same name, each caption is read by a judge that did not pick it:
the head of `mini-zeroshot` (other weights, of captions and tags) says where the names are, pixels
inside COCO's masks say where the colours are, and those masks where "left" and "largest" is. Among
equals a caption counts in part.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from skimage.color import rgb2hsv

from napari_patchioner.captioner import Captioner
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.grounding import alike, distinct_captions, read_phrase
from napari_patchioner.grounding.apart import DistinctCaption
from napari_patchioner.regions import Box, Mask

from .card import captioner_for, shared_encoder
from .coco_folders import FOLDERS, development_images
from .kept_grids import key_of
from .options import measure_parser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.bridges import PhraseReader
    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import Region

    from .coco_folders import LabelledImage

SMALLEST = 0.005
COLOURS = (
    *("black", "white", "gray", "red", "orange", "yellow"),
    *("green", "blue", "purple", "pink", "brown"),
)
# What a judge gives for nothing, and from which share of a mask on it has a colour.
TRACE, HAS = 0.02, 0.1
# A box and a mask are of one thing from this overlap on.
SAME = 0.6
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_FAR = re.compile(rf"({'|'.join(_ORDINALS)}) from the (left|top)")
_PLACE = re.compile(r"\b(left|right|top|bottom|middle|larger|largest|smaller|smallest)\b")


@dataclass(frozen=True)
class Seen:
    """What the judge knows of a region: pixels of its mask, and chances of names there."""

    shares: npt.NDArray[np.float64]
    lightness: float
    middle: tuple[float, float]
    area: float


@dataclass(frozen=True)
class Row:
    """One region: what was said before and after, and where the judge is led by it."""

    file: str
    row: int
    said: tuple[str, str, str]
    hits: tuple[float, float, float]
    count: int
    way: str
    sure: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv`` without the program's name.
    """
    parser = measure_parser(__doc__)
    parser.add_argument("--fit", action="store_true", help="the half that was looked at")
    parser.add_argument("--failures", type=Path, help="a sheet of captions that mislead goes here")
    given = parser.parse_args(arguments)
    images = [
        image
        for image in development_images(given.data, FOLDERS, smallest=SMALLEST)
        if len(image.boxes) > 1
    ]
    rows: list[Row] = []
    claims: Counter[tuple[str, bool]] = Counter()
    seconds: list[float] = []
    chosen = images[0 if given.fit else 1 :: 2][:: given.every]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        captioner_of = captioner_for("mini", given.folds, Path(one))
        judge_of = captioner_for("mini-zeroshot", given.folds, Path(two))
        for image in chosen:
            captioner, judge = captioner_of(image.file_name), judge_of(image.file_name)
            assert isinstance(captioner, Captioner)
            assert isinstance(judge, Captioner)
            pixels = image.pixels()
            grid = shared_encoder(captioner, given.grids)(pixels, key_of(pixels))
            rows += ask(captioner, judge, grid, image, pixels, claims, seconds)
    report(rows, claims, seconds)
    if given.failures is not None:
        draw_failures(rows, {image.file_name: image for image in chosen}, given.failures)


def ask(
    captioner: Captioner,
    judge: Captioner,
    grid: FeatureGrid,
    image: LabelledImage,
    pixels: npt.NDArray[np.uint8],
    claims: Counter[tuple[str, bool]],
    seconds: list[float],
) -> list[Row]:
    """Tell alike boxes of an image apart, and have the judge find them by their captions."""
    boxes = [item.region for item in image.boxes]
    captions = captioner.caption(grid, boxes)
    rows = []
    for group in alike([caption.text for caption in captions]):
        regions, said = [boxes[row] for row in group], [captions[row] for row in group]
        started = time.perf_counter()
        told = distinct_captions(captioner, grid, regions, said)
        seconds.append(time.perf_counter() - started)
        looks = distinct_captions(captioner, grid, regions, said, place=False)
        seen = [look_at(pixels, image, image.boxes[row].category, boxes[row]) for row in group]
        bench = Bench(judge, grid, regions, seen)
        for place, row in enumerate(group):
            texts = (said[place].text, looks[place].text, told[place].text)
            hits = tuple(bench.share(text, place) for text in texts)
            rows.append(
                Row(
                    image.file_name,
                    row,
                    texts,
                    (hits[0], hits[1], hits[2]),
                    len(group),
                    told[place].way,
                    said[place].verdict == "sure",
                )
            )
            check_claims(told[place], seen[place], claims)
    return rows


def check_claims(told: DistinctCaption, seen: Seen, claims: Counter[tuple[str, bool]]) -> None:
    """Count which colours that a caption says are in the mask."""
    if told.way in ("looks", "partly"):
        for word in _colours(told.text):
            claims["colour", bool(seen.shares[COLOURS.index(word)] >= HAS)] += 1


def _colours(text: str) -> list[str]:
    phrase = read_phrase(text)
    words = [*phrase.adjectives, *phrase.beside.split()]
    return [word for word in words if word in COLOURS]


def look_at(
    pixels: npt.NDArray[np.uint8], image: LabelledImage, category: str, box: Region
) -> Seen:
    """Measure the mask of a box; the middle of the box where there is none."""
    assert isinstance(box, Box)
    best, inside = SAME, None
    for item in image.masks:
        if item.category == category and isinstance(item.region, Mask):
            around = item.region.bounds()
            if (common := _overlap(around, box)) > best:
                best, inside = common, item.region
    if inside is not None:
        places = np.argwhere(inside.pixels) + inside.offset
    else:
        height, width = box.bottom - box.top, box.right - box.left
        corner = np.array([box.top + height / 5, box.left + width / 5]).round().astype(int)
        size = np.maximum([round(height * 3 / 5), round(width * 3 / 5)], 1)
        places = np.argwhere(np.ones(size)) + corner
        places = places.clip(0, np.array(pixels.shape[:2]) - 1)
    shares, lightness = colour_shares(pixels[tuple(places.T)])
    middle = places.mean(axis=0)
    return Seen(shares, lightness, (float(middle[0]), float(middle[1])), float(len(places)))


def _overlap(one: Box, other: Box) -> float:
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    width = min(one.right, other.right) - max(one.left, other.left)
    common = max(height, 0.0) * max(width, 0.0)
    areas = sum((box.bottom - box.top) * (box.right - box.left) for box in (one, other))
    return common / max(areas - common, 1e-9)


def colour_shares(pixels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], float]:
    """Shares of pixels, shape (n, 3), that have each of `COLOURS`, and their mean value."""
    hue, saturation, value = rgb2hsv(pixels[:, None])[:, 0].T * np.array([[360], [1], [1]])
    names = np.full(len(hue), -1)
    black = value < 0.22
    pale = (saturation < 0.16) & ~black
    names[black], names[pale & (value > 0.78)], names[pale & (value <= 0.78)] = 0, 1, 2
    coloured = names < 0
    reddish = (hue < 15) | (hue >= 345)
    for name, is_there in (
        ("red", reddish),
        ("orange", (hue >= 15) & (hue < 42)),
        ("yellow", (hue >= 42) & (hue < 70)),
        ("green", (hue >= 70) & (hue < 165)),
        ("blue", (hue >= 165) & (hue < 258)),
        ("purple", (hue >= 258) & (hue < 295)),
        ("pink", (hue >= 295) & (hue < 345)),
        ("pink", reddish & (saturation < 0.5) & (value > 0.7)),
        ("brown", (hue >= 8) & (hue < 45) & (value < 0.62)),
    ):
        names[coloured & is_there] = COLOURS.index(name)
    return np.bincount(names, minlength=len(COLOURS)) / len(names), float(value.mean())


class Bench:
    """Who says which region a caption leads to."""

    def __init__(
        self, judge: Captioner, grid: FeatureGrid, regions: Sequence[Region], seen: Sequence[Seen]
    ) -> None:
        self.bridge: PhraseReader = judge.bridge  # type: ignore[assignment]
        self.seen = seen
        self.inside = judge.embed(grid, regions)
        self.around = judge.embed(grid, [_wider(region, grid) for region in regions])

    def fits(self, text: str, *, named: bool = True) -> npt.NDArray[np.float64]:
        """How well each region fits what a caption says but for places, shape (n,)."""
        phrase = read_phrase(_PLACE.sub("", _FAR.sub("", text)).replace(",", " "))
        fit = self._named(phrase.thing if named else "", self.inside)
        beside = read_phrase(phrase.beside)
        for word in (*phrase.adjectives, *beside.adjectives):
            values = [self._measured(item, word) for item in self.seen]
            fit = fit * np.array(values)
        if beside.thing:
            near = [self._named(beside.thing, rows) for rows in (self.inside, self.around)]
            fit = fit * np.maximum(*near)
        return fit

    def _named(self, name: str, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        if not name:
            return np.ones(len(vectors))
        chances = self.bridge.phrase_probabilities(vectors, [name])[:, 0].astype(float)
        return np.nan_to_num(chances) + TRACE

    @staticmethod
    def _measured(item: Seen, word: str) -> float:
        if word in COLOURS:
            return float(item.shares[COLOURS.index(word)]) + TRACE
        return {"dark": 1 - item.lightness, "bright": item.lightness}.get(word, 1.0)

    def share(self, text: str, own: int) -> float:
        """How often a caption leads to its region: 1, 0, or less than 1 among equals."""
        far, word = _FAR.search(text), _PLACE.search(text)
        if far is None and word is None:
            fit = self.fits(text)
            best = np.flatnonzero(fit >= fit.max() * (1 - 1e-9))
            return float(own in best) / len(best)
        # Of all that fit about as well, the one that is there; all are called the same.
        fit = self.fits(text, named=False)
        rows = np.flatnonzero(fit >= fit.max() / 2)
        middles = np.array([self.seen[row].middle for row in rows])
        areas = np.array([self.seen[row].area for row in rows])
        if far is not None:
            order = middles[:, 1 if far[2] == "left" else 0].argsort(kind="stable")
            rank = min(_ORDINALS.index(far[1]), len(rows) - 1)
        elif word is not None and word[1] in ("left", "right", "top", "bottom", "middle"):
            along = middles[:, 1 if word[1] in ("left", "right") else 0]
            if word[1] == "middle" and np.ptp(middles[:, 1]) > np.ptp(middles[:, 0]):
                along = middles[:, 1]
            order = along.argsort(kind="stable")
            rank = {"middle": len(rows) // 2}.get(word[1], -(word[1] in ("right", "bottom")))
        else:
            order = areas.argsort(kind="stable")
            rank = -(word is not None and word[1].startswith("large"))
        return float(rows[order[rank]] == own)


def _wider(region: Region, grid: FeatureGrid) -> Box:
    """Return a box twice as high and wide, within the image."""
    box, (height, width) = region.bounds(), grid.transform.image_shape
    down, across = (box.bottom - box.top) / 2, (box.right - box.left) / 2
    return Box(
        max(box.top - down, -0.5),
        max(box.left - across, -0.5),
        min(box.bottom + down, height - 0.5),
        min(box.right + across, width - 0.5),
    )


def report(rows: Sequence[Row], claims: Counter[tuple[str, bool]], seconds: list[float]) -> None:
    """Print what was found."""
    ways = ("caption as it was", "told apart by looks alone", "told apart, with places")

    def table(some: Sequence[Row]) -> str:
        lines = [["chance", _percent([1 / row.count for row in some])]]
        lines += [
            [way, _percent([row.hits[column] for row in some])] for column, way in enumerate(ways)
        ]
        return markdown_table(["caption", "leads back (R@1)"], lines)

    groups = len({(row.file, read_phrase(row.said[0]).thing) for row in rows})
    print(f"{len(rows)} regions in {groups} groups\n\n{table(rows)}")
    sure = [row for row in rows if row.sure]
    print(f"\nOf the {len(sure)} that the model is sure of\n\n{table(sure)}")
    told = [row for row in sure if row.way in ("looks", "partly")]
    if told:
        print(f"\nOf the {len(told)} told apart by looks\n\n{table(told)}")
    print("\nhow: ", Counter(row.way or "not" for row in rows))
    for column in (0, 1, 2):
        texts = defaultdict(Counter[str])
        for row in rows:
            texts[row.file, row.count][row.said[column]] += 1
        once = sum(n == 1 for texts_of in texts.values() for n in texts_of.values())
        print(f"said once in the image, {ways[column]}: {once} of {len(rows)}")
    right, wrong = claims["colour", True], claims["colour", False]
    print(f"colours: {right} of {right + wrong} are a tenth of the mask and more")
    if seconds:
        slow = 1000 * np.quantile(seconds, 0.95)
        print(f"a group: {1000 * np.median(seconds):.0f} ms, 95 % within {slow:.0f} ms")


def _percent(values: Sequence[float]) -> str:
    return f"{100 * float(np.mean(values)):.1f} %"


def draw_failures(rows: Sequence[Row], images: dict[str, LabelledImage], path: Path) -> None:
    """Draw some regions whose caption by looks leads elsewhere."""
    missed = [row for row in rows if row.way in ("looks", "partly") and row.hits[2] == 0]
    missed = missed[:: max(1, len(missed) // 12)][:12]
    sheet = Image.new("RGB", (4 * 300, 3 * 250), "white")
    for place, row in enumerate(missed):
        image = images[row.file]
        picture = Image.fromarray(image.pixels())
        canvas = ImageDraw.Draw(picture)
        box = image.boxes[row.row].region
        assert isinstance(box, Box)
        canvas.rectangle((box.left, box.top, box.right, box.bottom), outline="#e0c000", width=5)
        picture.thumbnail((296, 226))
        left, top = 300 * (place % 4), 250 * (place // 4)
        sheet.paste(picture, (left, top))
        ImageDraw.Draw(sheet).text((left + 2, top + 230), row.said[2], fill="black")
    sheet.save(path)


if __name__ == "__main__":
    main()
