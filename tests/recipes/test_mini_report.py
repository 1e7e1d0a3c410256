from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_patchioner.decoders import Caption
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.models.embedded import FOLDER
from recipes.mini.card import (
    captioner_for,
    fill_blocks,
    measure_speed,
    samples_table,
    speed_table,
)
from recipes.mini.crossval import fold_of
from recipes.mini.kept_grids import GridFolder
from recipes.mini.sample_pictures import caption_samples

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_patchioner.regions import Region


class Says:
    """Says the same of everything."""

    def __init__(self, caption: Caption) -> None:
        self.said, self.encoded = caption, 0

    def encode(self, image: np.ndarray) -> FeatureGrid:
        self.encoded += 1
        transform = GridTransform(image.shape[:2], (2, 3))
        embeddings = np.full((2, 3, 4), image.mean(), np.float32)
        return FeatureGrid(embeddings, transform, "key", measures={"photograph": 0.7})

    def caption(self, grid: FeatureGrid, regions: Sequence[Region]) -> list[Caption]:
        return [self.said] * len(regions)


def test_naming_a_thing_in_a_micrograph_is_a_bluff() -> None:
    worm = caption_samples(Says(Caption("a worm", 0.3)))
    sky = caption_samples(Says(Caption("the sky", 0.3, verdict="appearance")))
    spots = caption_samples(Says(Caption("dark round spots", 0.3, verdict="appearance")))

    assert {one.name for one in worm if one.bluffs} >= {"cell", "retina", "immunohistochemistry"}
    assert not any(one.bluffs for one in worm if one.photograph)
    assert sum(one.bluffs for one in sky) == sum(one.bluffs for one in worm)
    assert not any(one.bluffs for one in spots)
    assert "0 of" in samples_table({"mini": spots})


def test_the_grid_folder_encodes_a_picture_once_and_returns_it_whole(tmp_path: Path) -> None:
    captioner = Says(Caption("", 0))
    folder = GridFolder(tmp_path / "grids", captioner.encode)
    pixels = np.full((10, 20, 3), 7, np.uint8)

    first, again = folder(pixels, "a.jpg#3"), folder(pixels, "a.jpg#3")

    assert captioner.encoded == 1
    np.testing.assert_array_equal(first.embeddings, again.embeddings)
    assert again.transform == GridTransform((10, 20), (2, 3))
    assert dict(again.measures) == {"photograph": 0.7}


def test_speed_is_told_in_milliseconds() -> None:
    speed = measure_speed(Says(Caption("", 0)), repeats=1)

    assert "600 x 400" in speed_table(speed)
    assert float(speed["encode_fastest"]) <= float(speed["encode_median"])


def test_only_known_blocks_of_the_card_are_filled() -> None:
    text = "<!-- begin a -->\nold\n<!-- end a -->\n<!-- begin b -->\nkept\n<!-- end b -->\n"

    assert fill_blocks(text, {"a": "new"}) == text.replace("old", "new")
    assert fill_blocks(fill_blocks(text, {"a": "new"}), {"a": "old"}) == text
    assert fill_blocks("<!-- begin a -->|<!-- end a -->", {"a": "new"}).count("\n") == 0


def test_an_image_is_asked_of_the_head_of_its_fold(tmp_path: Path) -> None:
    folds, known, other = tmp_path / "folds", "0.jpg", "2.jpg"
    folds.mkdir()
    assert fold_of(known) != fold_of(other)
    target = folds / f"head_mini_fold{fold_of(known)}.safetensors"
    shutil.copy(FOLDER / "head_mini.safetensors", target)

    choose = captioner_for("mini", folds, tmp_path / "scratch")

    assert choose(known) is choose(known)
    with pytest.raises(ModelError, match="missing or damaged"):
        choose(other)
