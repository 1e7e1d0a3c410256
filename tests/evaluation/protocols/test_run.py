"""Region sets captioned by the model that ships, in every way there is."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from napari_patchioner.errors import Cancelled, FormatError, ModelError
from napari_patchioner.evaluation.datasets import open_dataset
from napari_patchioner.evaluation.protocols import evaluate, read_predictions
from napari_patchioner.regions import WholeImage

if TYPE_CHECKING:
    from pathlib import Path

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.evaluation.datasets import Dataset


@pytest.fixture
def dataset(folder: Path) -> Dataset:
    return open_dataset("region-set", folder / "sets.json", folder / "images")


def test_every_sample_is_captioned_in_every_way(dataset, mini, tmp_path, monkeypatch):
    looks = []
    encode = mini.encode
    monkeypatch.setattr(mini, "encode", lambda image, **kw: looks.append(1) or encode(image, **kw))

    done = evaluate(dataset, mini, tmp_path / "p.jsonl", variants=("model", "crop", "whole-image"))

    samples = [one.id for one in dataset.samples()]
    for variant in ("model", "crop", "whole-image"):
        own = [one for one in done.predictions if one.variant == variant]
        assert [one.sample for one in own] == samples
        assert all(one.caption and not one.problem for one in own)
    # One look at each image, one at each crop.
    assert len(looks) == 2 + 4
    assert len(done.encode_seconds) == 2
    assert {one.group for one in done.predictions} == {"single", "disjoint", "overlapping"}


def test_captions_are_those_of_the_captioner(dataset, mini: Captioner, tmp_path):
    from napari_patchioner.images import read_image

    done = evaluate(dataset, mini, tmp_path / "p.jsonl", variants=("model", "whole-image"))
    first = list(dataset.samples())[:2]
    grid = mini.encode(read_image(dataset.find("1")))

    said = mini.caption(grid, [one.region for one in first])
    (whole,) = mini.caption(grid, [WholeImage()])

    own = [one for one in done.predictions if one.image == "1"]
    assert [one.caption for one in own if one.variant == "model"] == [one.text for one in said]
    assert {one.caption for one in own if one.variant == "whole-image"} == {whole.text}


def test_a_run_goes_on_where_it_was_stopped(dataset, mini, tmp_path):
    def stop(fraction: float, message: str) -> None:
        if "image 2" in message:
            raise Cancelled

    path = tmp_path / "p.jsonl"
    with pytest.raises(Cancelled):
        evaluate(dataset, mini, path, progress=stop)
    before = read_predictions(path)[1]
    assert {one.image for one in before} == {"1"}

    done = evaluate(dataset, mini, path)

    assert done.predictions[: len(before)] == before
    assert len(done.encode_seconds) == 1
    undisturbed = evaluate(dataset, mini, tmp_path / "q.jsonl").predictions
    assert [one.caption for one in done.predictions] == [one.caption for one in undisturbed]


def test_a_baseline_added_later_captions_nothing_again(dataset, mini, tmp_path):
    path = tmp_path / "p.jsonl"
    first = evaluate(dataset, mini, path).predictions
    both = evaluate(dataset, mini, path, variants=("model", "whole-image")).predictions
    assert [one for one in both if one.variant == "model"] == first
    assert len(read_predictions(path)[1]) == len(both) == 2 * len(first)


def test_the_limit_counts_images(dataset, mini, tmp_path):
    done = evaluate(dataset, mini, tmp_path / "p.jsonl", limit=1)
    assert {one.image for one in done.predictions} == {"1"}
    more = evaluate(dataset, mini, tmp_path / "p.jsonl")
    assert more.predictions[: len(done.predictions)] == done.predictions
    assert len(more.encode_seconds) == 1
    fewer = evaluate(dataset, mini, tmp_path / "p.jsonl", limit=1)
    assert fewer.predictions == done.predictions
    assert not fewer.encode_seconds


def test_an_image_that_cannot_be_read_does_not_end_the_run(folder, mini, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "images" / "000000000001.jpg").write_bytes(b"broken")
    dataset = open_dataset("region-set", copy / "sets.json", copy / "images")

    done = evaluate(dataset, mini, tmp_path / "p.jsonl")

    assert list(done.failed) == ["000000000001.jpg"]
    silent = [one for one in done.predictions if one.problem]
    assert {one.image for one in silent} == {"1"}
    assert all(one.caption for one in done.predictions if one.image == "2")

    shutil.copy(folder / "images" / "000000000001.jpg", copy / "images")
    again = evaluate(dataset, mini, tmp_path / "p.jsonl")
    assert not again.failed
    assert len(again.encode_seconds) == 1
    assert all(one.caption for one in again.predictions)


def test_a_region_outside_its_image_costs_only_its_own_caption(folder, mini, tmp_path):
    path = tmp_path / "sets.json"
    path.write_text(
        json.dumps({"1": {"gone": [[900, 900, 910, 910]], "there": [[60, 0, 180, 31]]}})
    )
    dataset = open_dataset("region-set", path, folder / "images")

    done = evaluate(dataset, mini, tmp_path / "p.jsonl", variants=("model", "crop"))

    for variant in ("model", "crop"):
        gone, there = [one for one in done.predictions if one.variant == variant]
        assert (gone.caption, bool(gone.problem)) == ("", True)
        assert there.caption
        assert not there.problem


def test_a_model_without_a_class_token_says_so(dataset, mini, tmp_path):
    with pytest.raises(ModelError, match="no class token"):
        evaluate(dataset, mini, tmp_path / "p.jsonl", variants=("class-token",))


def test_captions_of_another_file_of_the_same_name_are_not_taken(folder, mini, tmp_path):
    sets = json.loads((folder / "sets.json").read_text())
    first = open_dataset("region-set", folder / "sets.json", folder / "images")
    evaluate(first, mini, tmp_path / "p.jsonl", limit=1)
    sets["1"] = {f"{text} again": boxes for text, boxes in sets["1"].items()}
    (tmp_path / "sets.json").write_text(json.dumps(sets))
    second = open_dataset("region-set", tmp_path / "sets.json", folder / "images")
    with pytest.raises(FormatError, match="the data set has changed, so name another folder"):
        evaluate(second, mini, tmp_path / "p.jsonl", limit=1)


def test_samples_of_one_name_are_not_mixed_up(folder, mini, tmp_path):
    one = {"id": 7, "image_id": 1, "bbox": [0, 0, 9, 9], "caption": "a flag"}
    path = tmp_path / "dense.json"
    path.write_text(json.dumps({"annotations": [one, one | {"caption": "a sky"}]}))
    dataset = open_dataset("dense", path, folder / "images")
    with pytest.raises(FormatError, match=r"two samples are called '1/7'"):
        evaluate(dataset, mini, tmp_path / "p.jsonl")


def test_a_data_set_none_of_whose_images_are_there_is_told(folder, mini, tmp_path):
    (tmp_path / "images").mkdir()
    dataset = open_dataset(
        "region-set", folder / "sets.json", tmp_path / "images", skip_missing=True
    )
    with pytest.raises(FormatError, match="no sample whose image is there"):
        evaluate(dataset, mini, tmp_path / "p.jsonl")
    assert not (tmp_path / "p.jsonl").exists()
