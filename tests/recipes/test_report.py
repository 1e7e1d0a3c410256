from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from napari_patchioner.decoders import Caption
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.regions import Box, Mask, Region, WholeImage
from recipes.mini.coco_folders import LabelledImage, LabelledRegion
from recipes.mini.report import write_report
from recipes.mini.run import run, samples_of
from recipes.mini.scores import score_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Says:
    """Captions regions from a table of their corners; counts what it is asked."""

    def __init__(self, text: str, known: dict[int, str] | None = None) -> None:
        self.text, self.known, self.encoded = text, known or {}, 0

    def encode(self, image: np.ndarray) -> FeatureGrid:
        self.encoded += 1
        height, width = image.shape[:2]
        transform = GridTransform((height, width), (2, 2))
        return FeatureGrid(np.zeros((2, 2, 1), np.float32), transform, "nothing")

    def caption(self, grid: FeatureGrid, regions: Sequence[Region]) -> list[Caption]:
        return [Caption(self.known.get(id(region), self.text), 0.5) for region in regions]


@pytest.fixture
def images(tmp_path: Path) -> list[LabelledImage]:
    return [_image(tmp_path, name) for name in ("one.jpg", "two.jpg", "three.jpg")]


def _image(folder: Path, name: str) -> LabelledImage:
    path = folder / name
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(path)
    pixels = np.zeros((40, 60), bool)
    pixels[5:30, 10:50] = True
    dog = LabelledRegion("dog", Box(4.5, 9.5, 29.5, 49.5), 0.4)
    person = LabelledRegion("person", Box(-0.5, -0.5, 39.5, 20.5), 0.35)
    sky = LabelledRegion("sky", Mask(~pixels), 0.5)
    return LabelledImage(
        file_name=name,
        path=path,
        folder="here",
        size=(40, 60),
        boxes=(dog, person),
        masks=(LabelledRegion("dog", Mask(pixels), 0.4),),
        stuff=(sky,),
        captions=("a dog under the sky", "a dog and a person"),
        licence=4,
    )


def test_an_oracle_scores_one_and_its_whole_image_caption_less(images: list[LabelledImage]) -> None:
    class Oracle(Says):
        def caption(self, grid: FeatureGrid, regions: Sequence[Region]) -> list[Caption]:
            kinds = ("dog", "person", "dog", "dog", "sky", "dog")
            if isinstance(regions[0], WholeImage):
                return [Caption("a dog", 1.0)]
            return [Caption(f"a {name}", 1.0) for name in kinds]

    scores = score_run(run(images, {"o": lambda name: Oracle("")}, crops=100)["o"])

    assert {kind: one["all"]["region"]["mean"] for kind, one in scores["regions"].items()} == {
        "box": 1.0,
        "polygon": 1.0,
        "trace": 1.0,
        "stuff": 1.0,
    }
    assert scores["regions"]["box"]["all"]["whole"]["mean"] == 0.5
    assert scores["regions"]["stuff"]["all"]["region_minus_whole"]["mean"] == 1.0
    assert scores["crop"]["all"]["crop"]["mean"] == 0.5
    assert scores["score"]["error"] == 0.0


def test_a_constant_scores_its_share(images: list[LabelledImage]) -> None:
    scores = score_run(run(images, {"p": lambda name: Says("a person")}, crops=0)["p"])

    boxes = scores["regions"]["box"]
    assert boxes["all"]["region"]["mean"] == 0.5
    assert boxes["non_person"]["region"]["mean"] == 0.0
    assert boxes["constant"]["share"] == 0.5
    assert boxes["all"]["region_minus_whole"]["mean"] == 0.0


def test_each_image_and_each_crop_is_encoded_once(images: list[LabelledImage]) -> None:
    captioner = Says("a dog")

    result = run(images, {"d": lambda name: captioner}, crops=4)["d"]

    assert captioner.encoded == len(images) + 4
    assert sum(one.crop is not None for one in result.trials) == 4


def test_each_image_is_shown_to_its_own_captioner(images: list[LabelledImage]) -> None:
    asked = {image.file_name: Says(f"seen by {image.file_name}") for image in images}

    result = run(images, {"each": asked.__getitem__}, crops=0)["each"]

    assert all(one.caption.text == f"seen by {one.sample.image}" for one in result.trials)


def test_models_share_one_encoding_where_they_are_given_an_encoder(
    images: list[LabelledImage],
) -> None:
    eye, mouth = Says("a dog"), Says("a person")
    models = {"dog": lambda name: eye, "person": lambda name: mouth}

    run(images, models, encode=lambda pixels, key: eye.encode(pixels), crops=2)

    assert (eye.encoded, mouth.encoded) == (len(images) + 2, 0)


def test_scribbles_stay_inside_their_masks_and_repeat(images: list[LabelledImage]) -> None:
    mask = images[0].masks[0].region
    first, again = (
        [one.region for one in samples_of(images[0], seed=3) if one.group == "trace"]
        for _ in range(2)
    )

    rows, columns = np.rint(first[0].points).astype(int).T
    assert mask.pixels[rows, columns].all()
    np.testing.assert_array_equal(first[0].points, again[0].points)


def test_outlines_enclose_what_the_mask_does(images: list[LabelledImage]) -> None:
    (outline,) = [one.region for one in samples_of(images[0]) if one.group == "polygon"]

    low, high = outline.vertices.min(axis=0), outline.vertices.max(axis=0)
    np.testing.assert_allclose([*low, *high], [4.5, 9.5, 29.5, 49.5], atol=1.0)


def test_the_report_writes_all_its_files(images: list[LabelledImage], tmp_path: Path) -> None:
    out = tmp_path / "report"
    write_report(
        images, {"dogs": lambda name: Says("a dog")}, out, crops=2, tell=lambda message: None
    )

    assert sorted(path.name for path in out.iterdir()) == [
        "examples-dogs.md",
        "examples-dogs.png",
        "predictions.jsonl",
        "scores.json",
        "tables.md",
    ]
    lines = (out / "predictions.jsonl").read_text().splitlines()
    assert len(lines) == 3 * 5 + 3
    assert json.loads(lines[0])["caption"] == "a dog"
    assert "15 boxes" not in (out / "tables.md").read_text()
    assert "6 boxes" in (out / "tables.md").read_text()
