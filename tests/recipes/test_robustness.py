from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from napari_patchioner.decoders import Caption
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.regions import Box
from recipes.mini.coco_folders import LabelledImage, LabelledRegion
from recipes.mini.robustness import WAYS, measure, moved, turned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_patchioner.regions import Region


class Looks:
    """Names what is bright in a region a dog, and reads no other picture than it was given."""

    def __init__(self) -> None:
        self.seen: dict[str, np.ndarray] = {}

    def encode(self, pixels: np.ndarray, key: str = "") -> FeatureGrid:
        self.seen[key] = pixels
        transform = GridTransform(pixels.shape[:2], (1, 1))
        return FeatureGrid(np.zeros((1, 1, 1), np.float32), transform, key)

    def caption(self, grid: FeatureGrid, regions: Sequence[Region]) -> list[Caption]:
        pixels = self.seen[grid.key]
        captions = []
        for region in regions:
            edges = region.bounds()
            rows = slice(round(edges.top + 0.5), round(edges.bottom + 0.5))
            columns = slice(round(edges.left + 0.5), round(edges.right + 0.5))
            name = "dog" if (pixels[rows, columns] > 60).mean() > 0.8 else "cat"
            captions.append(Caption(f"a {name}", 0.9, "sure", ((name, 0.9),)))
        return captions


@pytest.fixture
def image(tmp_path: Path) -> LabelledImage:
    pixels = np.zeros((120, 200, 3), np.uint8)
    pixels[20:60, 100:180] = 200
    path = tmp_path / "one.png"
    Image.fromarray(pixels).save(path)
    dog = LabelledRegion("dog", Box(19.5, 99.5, 59.5, 179.5), 0.13)
    return LabelledImage(
        file_name="one.png",
        path=path,
        folder="here",
        size=(120, 200),
        boxes=(dog,),
        masks=(),
        stuff=(),
        captions=(),
        licence=4,
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_box_stays_around_its_thing(image: LabelledImage, way: str) -> None:
    pixels = image.pixels()
    changed = WAYS[way](pixels)

    box = moved(image.boxes[0].region, pixels, changed, is_turned=WAYS[way] is turned)

    rows, columns = np.nonzero(changed[..., 0] > 60)
    edges = [rows.min() - 0.5, columns.min() - 0.5, rows.max() + 0.5, columns.max() + 0.5]
    np.testing.assert_allclose([box.top, box.left, box.bottom, box.right], edges, atol=1.0)


def test_every_way_of_every_model_is_a_row_of_the_table(image: LabelledImage) -> None:
    sees, guesses = Looks(), Looks()
    guesses.caption = lambda grid, regions: [Caption("a cat", 0.9)] * len(regions)

    table = measure(
        [image], {"sees": lambda name: sees, "guesses": lambda name: guesses}, sees.encode
    )

    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    assert [row[1] for row in rows] == [*WAYS, *WAYS]
    assert {row[3][:5] for row in rows[: len(WAYS)]} == {"1.000"}
    assert {row[3][:5] for row in rows[len(WAYS) :]} == {"0.000"}


def test_the_ways_change_what_they_say(image: LabelledImage) -> None:
    colourful = image.pixels().copy()
    colourful[20:60, 100:180] = (200, 60, 20)
    changed = {way: change(colourful) for way, change in WAYS.items()}

    assert changed["turned by 90°"].shape == (200, 120, 3)
    assert max(changed["64 pixels on the long side"].shape) == 64
    assert np.ptp(changed["gray"].astype(int), axis=2).max() == 0
    assert changed["half as bright"].max() == 100
    assert np.abs(changed["JPEG of quality 10"].astype(int) - colourful).max() > 5
