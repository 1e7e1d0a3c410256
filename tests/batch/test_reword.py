"""Captions of a run told apart, ranked by a context and made specific, from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from skimage import color, data

from napari_patchioner.annotations import Annotation, read_tidy_csv, write_annotations
from napari_patchioner.annotations.images import ImageInfo
from napari_patchioner.batch._job import caption_image
from napari_patchioner.cli import main
from napari_patchioner.decoders import CaptionOptions
from napari_patchioner.errors import ModelError
from napari_patchioner.regions import Box

CATS = [Box(0, 0, 299, 450), Box(0, 451, 299, 901)]


@pytest.fixture(scope="module")
def cats():
    """A cat, and the same cat in blue on its right."""
    hsv = color.rgb2hsv(data.cat())
    hsv[..., 0], hsv[..., 1] = 0.62, np.maximum(hsv[..., 1], 0.6)
    return np.concatenate([data.cat(), (255 * color.hsv2rgb(hsv)).astype(np.uint8)], axis=1)


@pytest.fixture(scope="module")
def twins():
    """Twice the same picture of a cat."""
    return np.concatenate([data.cat(), data.cat()], axis=1)


def annotations():
    return [Annotation(str(row), "cats.png", region) for row, region in enumerate(CATS)]


def test_alike_regions_are_told_apart_with_provenance(mini, twins):
    plain, _ = caption_image(mini, twins, annotations())
    assert plain[0].caption == plain[1].caption
    apart, problem = caption_image(mini, twins, annotations(), {"tell_apart": True})
    assert not problem
    assert [item.caption.split()[1] for item in apart] == ["left", "right"]
    made = json.loads(apart[0].extra["origin"])["reworded"]
    assert made["by"] == "told apart from 1 other by place"
    assert made["text"] == apart[0].caption
    assert apart[0].source == "model"


def test_a_context_orders_what_the_model_says(mini, cats):
    plain, _ = caption_image(mini, cats, annotations(), {"alternatives": 5})
    ranked, _ = caption_image(mini, cats, annotations(), {"alternatives": 5, "context": "cats"})
    said = mini.caption(mini.encode(cats), CATS, CaptionOptions(alternatives=5))
    for item, before, caption in zip(ranked, plain, said, strict=True):
        assert item.caption in (caption.text, *caption.alternatives)
        made = json.loads(item.extra["origin"]).get("reworded")
        assert (made is not None) == (item.caption != before.caption)


def test_the_command_line_has_all_three(tmp_path, twins, capsys):
    Image.fromarray(twins).save(tmp_path / "cats.png")
    table, out = tmp_path / "boxes.csv", tmp_path / "out.csv"
    info = {"cats.png": ImageInfo("cats.png", *twins.shape[:2], tmp_path / "cats.png")}
    write_annotations(table, annotations(), info)
    asked = ["caption", str(tmp_path / "cats.png"), "--regions", str(table), "--out", str(out)]
    assert main([*asked, "--tell-apart", "--context", "pets", "--specificity", "0.5"]) == 0
    first, second = read_tidy_csv(out)
    assert "left" in first.caption
    assert "right" in second.caption
    options = json.loads(first.extra["origin"])["options"]
    assert options == {"context": "pets", "specificity": 0.5, "tell_apart": True}
    with pytest.raises(SystemExit):
        main([*asked, "--specificity", "9"])
    assert "must be a number from 0 to 5" in capsys.readouterr().err


def test_specificity_out_of_range_is_refused():
    with pytest.raises(ModelError, match="from 0, which is off, to 5"):
        CaptionOptions(specificity=6)
