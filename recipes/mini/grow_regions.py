"""How well a click grows to what a person would draw, and how many such regions are proposed.

``python -m recipes.mini.grow_regions --data DIR [--grids DIR] [--every N] [--fit FILE]``

On every other development image with masks; the rest is what the network of clicks and the weights
of segments were fitted to: ``--fit`` writes the one and prints the others. Each mask is clicked in
its inner centre, or at a random pixel, and then up to four times more where most is wrong. Beside
it stand the box of as much area around the click, and the SLIC superpixel that holds it. Proposals
stand beside a lattice of boxes.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import slic

from napari_patchioner import load_model
from napari_patchioner.checkpoints import arrays_as_bytes
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.grounding import grow_region, propose_regions
from napari_patchioner.grounding.membership import SIZES
from napari_patchioner.grounding.segments import MEASURES, segment_tree
from napari_patchioner.regions import Mask

from .click_network import ClickSample, click_sample, fit_network
from .coco_folders import development_images
from .kept_grids import GridFolder, key_of
from .options import measure_parser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.grids import FeatureGrid

Pixels = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]

FOLDERS = ("mini_train", "tiny_train", "coco128_val", "tiny_masks")
SMALLEST, SAME, MOST = 0.005, 0.5, 20
AREAS = ((0.005, 0.02), (0.02, 0.05), (0.05, 0.2), (0.2, 1.0))
CLICKS = 5
SUPERPIXELS = (50, 100, 300)
RIDGE = 1e-2
# Of a mask in the small image, to be learned from.
LEAST_PIXELS = 30
# Sides of boxes of the lattice, as shares of the image's, and how many each way: 20 in all.
LATTICE = ((0.25, 3), (0.4, 3), (0.7, 1), (1.0, 1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv`` without the program's name.
    """
    parser = measure_parser(__doc__, folds=False)
    parser.add_argument("--model", default="mini")
    text = "write the network of clicks and print weights, of the other half"
    parser.add_argument("--fit", type=Path, metavar="FILE", help=text)
    given = parser.parse_args(arguments)
    images = [
        image for image in development_images(given.data, FOLDERS, smallest=SMALLEST) if image.masks
    ]
    captioner = load_model(given.model)
    kept = GridFolder(given.grids, captioner.encode) if given.grids else None
    one_click: dict[str, list[tuple[float, float]]] = defaultdict(list)
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    kinds: dict[str, list[float]] = defaultdict(list)
    wrong: Counter[str] = Counter()
    seconds: dict[str, list[float]] = defaultdict(list)
    paths: list[tuple[Scores, Scores]] = []
    nodes: list[tuple[Scores, Scores]] = []
    samples: list[ClickSample] = []
    for image in images[0 if given.fit else 1 :: 2][:: given.every]:
        pixels = image.pixels()
        grid = kept(pixels, key_of(pixels)) if kept else captioner.encode(pixels)
        masks = [
            (item.category, item.region.pixels, item.area)
            for item in image.masks
            if isinstance(item.region, Mask)
        ]
        if given.fit:
            generator = np.random.default_rng(zlib.crc32(image.file_name.encode()))
            drawn = [mask for _, mask, _ in masks]
            samples += measure(grid, pixels, drawn, paths, nodes, generator)
            continue
        pieces = {count: _superpixels(pixels, count) for count in SUPERPIXELS}
        started = time.perf_counter()
        proposals = propose_regions(grid, pixels, most=MOST)
        seconds["first"].append(time.perf_counter() - started)
        shown = [whole(item.region, pixels.shape) for item in proposals]
        boxes = lattice(pixels.shape)
        generator = np.random.default_rng(zlib.crc32(image.file_name.encode()))
        for category, mask, area in masks:
            centre = inner_centre(mask)
            anywhere = tuple(np.argwhere(mask)[generator.integers(mask.sum())].tolist())
            started = time.perf_counter()
            region = whole(grow_region(grid, pixels, [centre]), pixels.shape)
            seconds["next"].append(time.perf_counter() - started)
            ious = {
                "one click": overlap(region, mask),
                "a box of as much area": overlap(box_around(centre, region), mask),
                "one click anywhere on it": overlap(
                    whole(grow_region(grid, pixels, [anywhere]), pixels.shape), mask
                ),
            }
            sized = [
                whole(grow_region(grid, pixels, [centre], size=size), pixels.shape)
                for size in range(SIZES[0], SIZES[1] + 1)
            ]
            best = "the best of all sizes"
            ious[f"one click, {best}"] = max(overlap(other, mask) for other in sized)
            squares = (box_around(centre, other) for other in sized)
            ious[f"a box of as much area, {best}"] = max(overlap(box, mask) for box in squares)
            for count, labels in pieces.items():
                ious[f"SLIC, {count} superpixels"] = overlap(labels == labels[centre], mask)
            ious |= more_clicks(grid, pixels, mask, centre)
            for name, iou in ious.items():
                one_click[name].append((iou, area))
            kinds[category].append(ious["one click"])
            if ious["one click"] < SAME:
                wrong[_failure(region, mask)] += 1
            for name, regions in (("proposals", shown), ("lattice of boxes", boxes)):
                found[name].append((max(overlap(r, mask) for r in regions), area))
    if given.fit:
        print(fitted(paths, nodes))
        given.fit.write_bytes(arrays_as_bytes(fit_network(samples)))
        return
    print(table(one_click, "region"))
    print()
    print(table(found, f"best of {MOST}"))
    often = sorted(
        (float(np.mean(values)), name, len(values))
        for name, values in kinds.items()
        if len(values) >= 8
    )
    for label, some in (("worst", often[:6]), ("best", often[:-7:-1])):
        print(f"\n{label}: " + ", ".join(f"{n} {m:.2f} ({c})" for m, n, c in some))
    total = sum(wrong.values())
    print("below half: " + ", ".join(f"{n} {100 * c / total:.0f} %" for n, c in wrong.items()))
    for name, values in seconds.items():
        middle, most = (1000 * np.quantile(values, share) for share in (0.5, 0.95))
        print(f"{name} answer of an image: {middle:.0f} ms, 95 % within {most:.0f} ms")


def inner_centre(mask: Pixels) -> tuple[int, int]:
    """Return the pixel of a mask that is farthest from all that is not in it."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(row), int(column)


def overlap(first: Pixels, second: Pixels) -> float:
    """Return intersection over union."""
    common = np.count_nonzero(first & second)
    return common / max(np.count_nonzero(first) + np.count_nonzero(second) - common, 1)


def whole(mask: Mask, shape: tuple[int, ...]) -> Pixels:
    """Return a mask as pixels of all of an image."""
    full = np.zeros(shape[:2], bool)
    top, left = mask.offset
    height, width = mask.pixels.shape
    full[top : top + height, left : left + width] = mask.pixels
    return full


def box_around(centre: tuple[int, int], region: Pixels) -> Pixels:
    """Return a square of as many pixels as a region around a click, cut at the image."""
    half = np.sqrt(region.sum()) / 2
    rows, columns = (
        np.abs(np.arange(count) - at) <= half
        for count, at in zip(region.shape, centre, strict=True)
    )
    return np.asarray(rows[:, None] & columns[None])


def more_clicks(
    grid: FeatureGrid, pixels: npt.NDArray[np.uint8], mask: Pixels, first: tuple[int, int]
) -> dict[str, float]:
    """Click where most is wrong, as a person does, and say what that comes to."""
    positive, negative = [first], []
    ious = {}
    for count in range(2, CLICKS + 1):
        region = whole(grow_region(grid, pixels, positive, negative), pixels.shape)
        missed, spilt = (_largest(part) for part in (mask & ~region, region & ~mask))
        if missed.sum() >= spilt.sum():
            if not missed.any():
                break
            positive.append(inner_centre(missed))
        else:
            negative.append(inner_centre(spilt))
        if count in (3, CLICKS):
            region = whole(grow_region(grid, pixels, positive, negative), pixels.shape)
            ious[f"{count} clicks"] = overlap(region, mask)
    return ious


def _largest(part: Pixels) -> Pixels:
    labels, count = ndimage.label(part)
    if not count:
        return part
    return np.asarray(labels == 1 + np.bincount(labels.ravel())[1:].argmax())


def _superpixels(pixels: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.int64]:
    return np.asarray(slic(pixels, count, start_label=0, max_num_iter=5))


def lattice(shape: tuple[int, ...]) -> list[Pixels]:
    """Return boxes of several sizes laid over an image."""
    boxes = []
    for side, steps in LATTICE:
        starts = np.linspace(0, 1 - side, steps) if steps > 1 else [(1 - side) / 2]
        for top in starts:
            for left in starts:
                box = np.zeros(shape[:2], bool)
                rows, columns = (
                    slice(round(at * n), round((at + side) * n))
                    for at, n in zip((top, left), shape, strict=False)
                )
                box[rows, columns] = True
                boxes.append(box)
    return boxes


def _failure(region: Pixels, mask: Pixels) -> str:
    common = np.count_nonzero(region & mask)
    part, spill = common / max(mask.sum(), 1), 1 - common / max(region.sum(), 1)
    if part < SAME and spill < SAME:
        return "only a part of it"
    return "it and what is beside it" if part >= SAME else "more of what is beside it than of it"


def measure(
    grid: FeatureGrid,
    pixels: npt.NDArray[np.uint8],
    masks: Sequence[Pixels],
    paths: list[tuple[Scores, Scores]],
    nodes: list[tuple[Scores, Scores]],
    generator: np.random.Generator,
) -> list[ClickSample]:
    """Add measures of segments and how much they overlap masks: those that are clicked, and all.

    Return two clicks on each mask, in its inner centre and anywhere.
    """
    tree = segment_tree(grid, pixels)
    height, width = tree.labels.shape
    best = np.zeros(len(tree.parents))
    samples: list[ClickSample] = []
    for mask in masks:
        rows = np.arange(height) * mask.shape[0] // height
        columns = np.arange(width) * mask.shape[1] // width
        small = mask[np.ix_(rows, columns)]
        if small.sum() < LEAST_PIXELS:
            continue
        within = np.bincount(tree.labels[small], minlength=len(tree.order))[tree.order]
        sums = np.concatenate([[0], np.cumsum(within)])
        common = sums[tree.firsts + tree.counts] - sums[tree.firsts]
        ious = common / (tree.areas + small.sum() - common)
        best = np.maximum(best, ious)
        row, column = inner_centre(small)
        anywhere = tuple(np.argwhere(small)[generator.integers(small.sum())].tolist())
        samples += [click_sample(tree, small, at) for at in ((row, column), anywhere)]
        path = tree.ancestors(int(tree.labels[row, column]))
        off = np.linalg.norm(tree.centres[path] - (row, column), axis=1)
        off = off / np.sqrt(tree.areas[path])
        own = np.concatenate([tree.measures[path], np.stack([off, off**2], 1)], axis=1)
        paths.append((own, ious[path]))
    nodes.append((tree.measures, best))
    return samples


def fitted(paths: list[tuple[Scores, Scores]], nodes: list[tuple[Scores, Scores]]) -> str:
    """Return the weights of both kinds."""
    of_click = _ridge(*(np.concatenate(parts) for parts in zip(*paths, strict=True)))
    every, ious = (np.concatenate(parts) for parts in zip(*nodes, strict=True))
    # Most segments overlap nothing that was drawn; what does counts as much.
    of_any = _ridge(every, ious, np.where(ious > 0.3, 20.0, 1.0))
    count = len(MEASURES)
    return "\n".join(
        str(tuple(weights.round(3).tolist()))
        for weights in (of_click[:count], of_click[count:], of_any)
    )


def _ridge(rows: Scores, values: Scores, weights: Scores | float = 1.0) -> Scores:
    weighted = rows * np.reshape(weights, (-1, 1))
    gram = weighted.T @ rows + RIDGE * np.eye(rows.shape[1])
    return np.asarray(np.linalg.solve(gram, weighted.T @ values))


def table(ways: dict[str, list[tuple[float, float]]], head: str) -> str:
    """Return mean overlap and how often it is half or more, of all masks and by their size."""
    count = len(next(iter(ways.values())))
    heads = [f"{100 * low:g}-{100 * high:g} %" for low, high in AREAS]
    rows = []
    for name, values in ways.items():
        ious, areas = np.array(values).T
        by_size = [f"{ious[(areas > low) & (areas <= high)].mean():.2f}" for low, high in AREAS]
        rows.append([name, f"{ious.mean():.3f}", f"{100 * (ious >= SAME).mean():.1f} %", *by_size])
    return markdown_table([f"{head}, {count} masks", "mean IoU", "IoU 0.5", *heads], rows)


if __name__ == "__main__":
    main()
