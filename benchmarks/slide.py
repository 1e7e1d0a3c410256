"""Captions of 200 regions of a slide of 20,000 x 20,000 pixels, and what tiles do to seams.

``python -m benchmarks.slide [--side 20000] [--regions 200] [--levels 1|3] [--skip-seams]``

The slide is made chunk by chunk in a temporary folder and read with zarr, so at no time is it in
memory. "Everything" is what looking at all tiles of the finest level would take, reckoned from
the mean time of those that were looked at.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from unittest import mock

import numpy as np
import skimage.data
import torch
import zarr
from PIL import Image

from napari_patchioner.backbones import appearance, mini
from napari_patchioner.grids import pool
from napari_patchioner.models import load_model
from napari_patchioner.regions import Box, WholeImage, cover

from .rows import Row

CHUNK = 1000
GROUND, CELLS = (228, 208, 222), ((112, 70, 140), (168, 88, 120), (94, 110, 160))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--regions", type=int, default=200)
    parser.add_argument("--levels", type=int, default=3, help="how many, each a quarter as wide")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip-seams", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sys.stdout.reconfigure(line_buffering=True)
    captioner = load_model("mini")
    before = peak()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        levels = make_slide(folder, options.side, options.levels)
        sizes = ", ".join(" x ".join(map(str, level.shape[:2])) for level in levels)
        print(f"slide made in {time.perf_counter() - start:.0f} s: {sizes}")
        on_slide(captioner, levels, options.regions)
    print(f"peak memory {peak():.0f} MB, of which {before:.0f} MB before there was a slide")
    if not options.skip_seams:
        seams(captioner)


def rows(threads: int, quick: bool) -> list[Row]:
    """Measure regions of a slide, beside looking at all of it."""
    torch.set_num_threads(threads)
    captioner = load_model("mini")
    side, count = (8000, 20) if quick else (20_000, 200)
    with tempfile.TemporaryDirectory() as folder:
        spent, everything, again = on_slide(captioner, make_slide(folder, side, 3), count)
    name = f"{count} regions of {side:,} x {side:,} pixels"
    return [
        Row(name, spent, against="all tiles of the finest level, reckoned", baseline=everything),
        Row("one more, its tiles known", again),
        Row("memory", peak() / 1000, "GB"),
    ]


def on_slide(captioner, levels, count: int) -> tuple[float, float, float]:
    """Caption regions from ten pixels to a third of the slide.

    Returned are the seconds they took, what all tiles would take, and one more of them.
    """
    pyramid = captioner.pyramid(levels)
    side = levels[0].shape[0]
    boxes = draw_boxes(side, count)
    plans = [pyramid.plan(box) for box in boxes]
    looked = Timed(captioner)
    with looked:
        start = time.perf_counter()
        captions = pyramid.caption(boxes)
        spent = time.perf_counter() - start
    used = {plan.level: sum(p.level == plan.level for p in plans) for plan in plans}
    print(
        f"{count} regions in {spent:.0f} s ({1000 * spent / count:.0f} ms each): "
        f"{looked.passes} tiles at {1000 * looked.seconds / looked.passes:.0f} ms; "
        f"regions by level {dict(sorted(used.items()))}; "
        f"{len({caption.text for caption in captions})} different captions"
    )
    tiling = pyramid.planner.tiling(0)
    tiles = tiling.down.tiles * tiling.across.tiles
    everything = tiles * looked.seconds / looked.passes
    embeddings = tiling.down.cells * tiling.across.cells * captioner.backbone.dim * 4
    print(
        f"everything: {tiles} tiles in {everything:.0f} s, a grid of {embeddings / 1e9:.0f} GB; "
        f"the regions took {spent / everything:.2f} of that time"
    )
    pyramid.caption(boxes[:1])
    start = time.perf_counter()
    pyramid.caption(boxes[:1])
    again = time.perf_counter() - start
    print(f"a region again, its tiles known: {1000 * again:.0f} ms")
    start = time.perf_counter()
    [whole] = pyramid.caption([WholeImage()])
    print(f"the whole slide in {time.perf_counter() - start:.1f} s: {whole.text}")
    return spent, everything, again


class Timed:
    """Counts the passes of a backbone and their time."""

    def __init__(self, captioner) -> None:
        self.passes, self.seconds = 0, 0.0
        self._backbone, self._encode = captioner.backbone, captioner.backbone.encode

    def __enter__(self) -> None:
        def encode(image, **options):
            start = time.perf_counter()
            grid = self._encode(image, **options)
            self.passes, self.seconds = self.passes + 1, self.seconds + time.perf_counter() - start
            return grid

        self._backbone.encode = encode

    def __exit__(self, *_: object) -> None:
        del self._backbone.encode


def draw_boxes(side: int, count: int) -> list[Box]:
    """Boxes anywhere, small ones as likely as large ones; the same ones for the same count."""
    generator = np.random.default_rng(0)
    boxes = []
    for _ in range(count):
        rows, columns = np.exp(generator.uniform(np.log(10), np.log(side / 3), 2))
        rows = np.clip(rows, columns / 3, columns * 3)
        top, left = generator.uniform(0, 1, 2) * (side - 1 - np.array([rows, columns]))
        boxes.append(Box(top, left, top + rows, left + columns))
    return boxes


def make_slide(folder: str, side: int, count: int) -> list[zarr.Array]:
    """Paint a slide chunk by chunk, and smaller copies of it from the chunks that were written."""
    sizes = [-(-side // 4**number) for number in range(count)]
    levels = [
        zarr.create_array(
            f"{folder}/{number}", shape=(size, size, 3), chunks=(CHUNK, CHUNK, 3), dtype="uint8"
        )
        for number, size in enumerate(sizes)
    ]
    for row in range(0, side, CHUNK):
        for column in range(0, side, CHUNK):
            part = paint(row, column, min(CHUNK, side - row), min(CHUNK, side - column))
            levels[0][row : row + CHUNK, column : column + CHUNK] = part
    for fine, coarse in pairwise(levels):
        for row in range(0, coarse.shape[0], CHUNK):
            for column in range(0, coarse.shape[1], CHUNK):
                large = fine[4 * row : 4 * (row + CHUNK), 4 * column : 4 * (column + CHUNK)]
                height, width = (-(-length // 4) for length in large.shape[:2])
                small = Image.fromarray(large).resize((width, height), Image.Resampling.BOX)
                coarse[row : row + height, column : column + width] = np.asarray(small)
    return levels


def paint(top: int, left: int, height: int, width: int) -> np.ndarray:
    """A piece of tissue: stained cells on a cloudy ground, the same for the same place."""
    generator = np.random.default_rng([top, left])
    cloud = generator.normal(0, 10, (height // 50 + 2, width // 50 + 2, 3)).astype(np.float32)
    smooth = [
        np.asarray(Image.fromarray(cloud[..., channel]).resize((width, height), 3))
        for channel in range(3)
    ]
    picture = np.stack(smooth, -1) + GROUND + generator.normal(0, 4, (height, width, 1))
    density = 1 + np.sin(top / 2900) + np.cos(left / 3700)
    for _ in range(int(60 + 160 * max(0.0, density))):
        reach = generator.integers(6, 22)
        row, column = generator.integers(0, height), generator.integers(0, width)
        rows = slice(max(0, row - reach), row + reach)
        columns = slice(max(0, column - reach), column + reach)
        grid = np.ogrid[
            rows.start : min(rows.stop, height), columns.start : min(columns.stop, width)
        ]
        stretch = generator.uniform(0.6, 1.6)
        inside = ((grid[0] - row) ** 2 * stretch + (grid[1] - column) ** 2 / stretch) < (
            reach / 1.4
        ) ** 2
        colour = np.array(CELLS[generator.integers(len(CELLS))]) + generator.normal(0, 8, 3)
        picture[rows, columns][inside] = colour + generator.normal(0, 6, (int(inside.sum()), 3))
    return picture.clip(0, 255).astype(np.uint8)


def seams(captioner) -> None:
    """Print how far stitched patches are from those of one look at the whole picture."""
    coffee = Image.fromarray(skimage.data.coffee()).resize((1920, 1280), Image.Resampling.BICUBIC)
    slide = np.concatenate(
        [np.concatenate([paint(r, c, 640, 640) for c in (0, 640, 1280)], 1) for r in (0, 640)]
    )
    print("cosine of stitched patches and those of one look; overlap in patches of 40 along a tile")
    print(
        f"{'':24}{'all 2740 numbers':^29}   {'deep features':^29}   boxes on seams: deep features,"
    )
    heads = 2 * f"{'at seams (least)':>18}{'away':>8}      "
    print(f"{'picture':>12}{'overlap':>9}   {heads}same caption")
    for name, picture in {"photograph": np.asarray(coffee), "slide": slide}.items():
        with one_look(3):
            whole = captioner.backbone.encode(picture).embeddings
        for overlap in (0, 4, 8, 12, 16, 20):
            print(f"{name:>12}{overlap:9d}   {one_overlap(captioner, picture, whole, overlap)}")


def one_overlap(captioner, picture: np.ndarray, whole: np.ndarray, overlap: int) -> str:
    pyramid = captioner.pyramid(picture, big=0, overlap=overlap, patches_across=1e9)
    height, width = picture.shape[:2]
    grid = pyramid.grid(Box(-0.5, -0.5, height - 0.5, width - 0.5))
    near = at_seams(pyramid.planner.tiling(0), grid.shape)
    deep = slice(0, captioner.backbone.networks[0].channels)
    text = ""
    for part in (slice(None), deep):
        cosines = cosine(grid.embeddings[..., part], whole[..., part])
        seam = f"{cosines[near].mean():.4f} ({cosines[near].min():.3f})"
        text += f"{seam:>18}{cosines[~near].mean():8.4f}      "
    untiled, boxes = replace(grid, embeddings=whole), draw_boxes_over_seams(picture.shape, 40)
    weights = [cover(box, grid.transform) for box in boxes]
    pooled = cosine(pool(grid, weights)[:, deep], pool(untiled, weights)[:, deep]).mean()
    pairs = zip(captioner.caption(grid, boxes), captioner.caption(untiled, boxes), strict=True)
    return f"{text}{pooled:.4f}, {np.mean([a.text == b.text for a, b in pairs]):.0%}"


@contextmanager
def one_look(times: int):
    """Let the embedded backbone take in a picture so many times larger, patches as before."""
    with (
        mock.patch.multiple(mini, SIZE=640 * times, GRID_SIDE=40 * times),
        mock.patch.object(appearance, "LONG_SIDE", appearance.LONG_SIDE * times),
    ):
        yield


def at_seams(tiling, shape: tuple[int, int]) -> np.ndarray:
    """Patches next to the border between what two tiles own."""
    near = np.zeros(shape, bool)
    for axis, strip in enumerate((tiling.down, tiling.across)):
        for tile in range(strip.tiles - 1):
            border = strip.owned(tile)[1]
            near.swapaxes(0, axis)[border - 1 : border + 1] = True
    return near


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return (one * other).sum(-1) / lengths


def draw_boxes_over_seams(shape: tuple[int, ...], count: int) -> list[Box]:
    """Boxes across the middle of the picture, where tiles of any overlap meet."""
    generator = np.random.default_rng(1)
    boxes = []
    for _ in range(count):
        rows, columns = generator.uniform(100, 400, 2)
        row = generator.uniform(500, shape[0] - 500)
        column = generator.uniform(500, shape[1] - 500)
        boxes.append(
            Box(row - rows / 2, column - columns / 2, row + rows / 2, column + columns / 2)
        )
    return boxes


def peak() -> float:
    """Most memory this process has had, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    main()
