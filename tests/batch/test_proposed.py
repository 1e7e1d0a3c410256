"""Regions that are proposed are captioned, with the model that ships."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

from napari_patchioner.annotations import read_annotations, read_tidy_csv
from napari_patchioner.batch import Plan, find_images, work
from napari_patchioner.cli import main
from napari_patchioner.grounding import propose_outlines


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "coffee.png"
    Image.fromarray(data.coffee()[::2, ::2]).save(path)
    return path


def test_a_folder_is_captioned_with_proposed_regions(photo, tmp_path, mini):
    out = tmp_path / "out.csv"
    asked = ["caption", str(photo.parent), "--regions", "proposed:4", "--out", str(out)]
    assert main(asked) == 0
    rows = read_tidy_csv(out)
    pixels = np.asarray(Image.open(photo))
    wanted = propose_outlines(mini.encode(pixels), pixels, most=4)
    assert [row.uid for row in rows] == [f"p{n}" for n in range(1, len(wanted) + 1)]
    captions = mini.caption(mini.encode(pixels), [one.region for one in wanted])
    for row, one, caption in zip(rows, wanted, captions, strict=True):
        assert (row.kind, row.source, row.caption) == ("polygon", "model", caption.text)
        assert np.abs(row.region.coords() - one.region.coords()).max() < 0.01
        origin = json.loads(row.extra["origin"])
        assert origin["outlined"] == {"proposed": round(one.score, 4)}
        assert origin["model"] == "mini"
    # How it came about is kept where its caption is written anew.
    again = tmp_path / "again.csv"
    assert main(["caption", str(photo), "--regions", str(out), "--out", str(again)]) == 0
    assert [json.loads(row.extra["origin"]) for row in read_tidy_csv(again)] == [
        json.loads(row.extra["origin"]) for row in rows
    ]


def test_regions_are_proposed_on_an_image_that_is_read_in_parts(photo, mini):
    [job] = Plan(find_images([photo]), "proposed:3", big=150)
    outcome = work(mini, job)
    assert (outcome.status, outcome.why) == ("done", "")
    assert 1 <= len(outcome.annotations) <= 3
    assert all(annotation.caption for annotation in outcome.annotations)
    height, width = outcome.height, outcome.width
    for annotation in outcome.annotations:
        bounds = annotation.region.bounds()
        assert -1 < bounds.top < bounds.bottom < height
        assert -1 < bounds.left < bounds.right < width


@pytest.mark.parametrize("ending", ["geojson", "json", "ome.xml"])
def test_formats_hold_what_is_proposed(photo, tmp_path, ending):
    out = tmp_path / f"out.{ending}"
    assert main(["caption", str(photo), "--regions", "proposed:2", "--out", str(out)]) == 0
    assert len(read_annotations(out, {})) == 2
