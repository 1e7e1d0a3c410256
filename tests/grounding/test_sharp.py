"""SAM 2.1 with random weights: how it is loaded and asked, not how well it outlines."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_sam2 import write_sam2

from napari_patchioner.backbones.sam2 import Sam2
from napari_patchioner.cli import main
from napari_patchioner.errors import ModelError, RegionError
from napari_patchioner.grounding import sharp_mask, sharpen_box
from napari_patchioner.models import available_models, get_model, load_model, remove_model
from napari_patchioner.models.segmenters import SEGMENTERS, installed_segmenter, load_segmenter
from napari_patchioner.models.store import HOME
from napari_patchioner.regions import Box

IMAGE = np.random.default_rng(0).integers(0, 255, (90, 140, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sam2(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def segmenter(folder):
    return Sam2.open({"folder": folder})


class Disc:
    """Says that a disc lies around the first click, or in the box; it notes what it was asked."""

    def __init__(self):
        self.asked = []
        self.pictures = []

    def encode(self, image, **_):
        from napari_patchioner.backbones.sam2 import EncodedPicture

        self.pictures.append(np.asarray(image))
        return EncodedPicture((), np.shape(image)[:2])

    def logits(self, encoded, clicks=(), negative=(), box=None):
        self.asked.append((list(clicks), list(negative), box))
        middle = clicks[0] if clicks else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        rows, columns = np.indices(encoded.shape)
        return 10.0 - np.hypot(rows - middle[0], columns - middle[1]), 0.9


def test_a_picture_is_encoded_once_and_asked_often(segmenter):
    encoded = segmenter.encode(IMAGE)
    assert encoded.shape == (90, 140)
    for asked in (
        {"clicks": [(40, 60)]},
        {"clicks": [(40, 60), (50, 60)], "negative": [(5, 5)]},
        {"box": (10, 10, 60, 90)},
        {"clicks": [(40, 60)], "box": (10, 10, 60, 90)},
    ):
        logits, score = segmenter.logits(encoded, **asked)
        assert logits.shape == (90, 140)
        assert np.isfinite(logits).all()
        assert 0 <= score <= 1
        again, _ = segmenter.logits(encoded, **asked)
        np.testing.assert_array_equal(again, logits)


def test_it_does_what_the_library_does_with_the_same_weights(folder, segmenter):
    from transformers import Sam2Model

    model = Sam2Model.from_pretrained(folder).eval()
    side = segmenter.side
    square = np.random.default_rng(1).integers(0, 255, (side, side, 3), dtype=np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    pixels = torch.tensor(((square / 255 - mean) / std).transpose(2, 0, 1)[None], dtype=torch.float)
    with torch.inference_mode():
        wanted = model(
            pixel_values=pixels,
            input_points=torch.tensor([[[[70.0, 30.0]]]]),
            input_labels=torch.ones(1, 1, 1, dtype=torch.int32),
        )
    best = int(wanted.iou_scores[0, 0].argmax())
    small = wanted.pred_masks[:, 0, best : best + 1]
    full = torch.nn.functional.interpolate(small, (side, side), mode="bilinear")
    logits, score = segmenter.logits(segmenter.encode(square), [(30.0, 70.0)])
    np.testing.assert_allclose(logits, full[0, 0].numpy(), atol=1e-4)
    assert score == pytest.approx(float(wanted.iou_scores[0, 0, best]), abs=1e-5)


def test_what_is_published_for_videos_is_read(tmp_path, segmenter):
    other = Sam2.open({"folder": write_sam2(tmp_path, video=True)})
    first, _ = segmenter.logits(segmenter.encode(IMAGE), [(40, 60)])
    second, _ = other.logits(other.encode(IMAGE), [(40, 60)])
    np.testing.assert_array_equal(first, second)


def test_a_file_may_hold_the_positions_once(tmp_path, segmenter):
    write_sam2(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state.pop("prompt_encoder.shared_embedding.positional_embedding", None)
    save_file(state, tmp_path / "model.safetensors")
    other = Sam2.open({"folder": tmp_path})
    assert np.isfinite(other.logits(other.encode(IMAGE), [(40, 60)])[0]).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": "sam"}, "not a SAM 2"),
        ({"vision_config": {"backbone_config": 3}}, "no configuration of a SAM 2"),
        ({"mask_decoder_config": {"hidden_size": 64}}, "does not fit"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, change, says):
    path = write_sam2(tmp_path) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=says):
        Sam2.open({"folder": tmp_path})
    path.unlink()
    with pytest.raises(ModelError, match="missing"):
        Sam2.open({"folder": tmp_path})


def test_a_mask_lies_where_the_image_has_it():
    disc = Disc()
    encoded = disc.encode(IMAGE)
    mask = sharp_mask(disc, encoded, [(50, 70)], [(5, 5)])
    assert (mask.offset, mask.pixels.shape) == ((41, 61), (19, 19))
    window = disc.encode(IMAGE[20:, 30:])
    mask = sharp_mask(disc, window, [(50, 70)], offset=(20, 30))
    assert disc.asked[-1][0] == [(30, 40)]
    assert mask.offset == (41, 61)


def test_of_a_box_only_the_surroundings_are_encoded():
    disc = Disc()
    image = np.zeros((1000, 1200), np.uint8)
    mask = sharpen_box(disc, image, Box(300, 400, 400, 500))
    assert disc.pictures[0].shape == (201, 201)
    assert disc.asked[0][2] == (50, 50, 150, 150)
    assert (mask.offset, mask.pixels.shape) == ((341, 441), (19, 19))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "Click on something"),
        ({"clicks": [(95, 5)]}, "beside the image"),
        ({"clicks": [(5, 5)], "negative": [(float("nan"), 5)]}, "beside the image"),
        ({"box": Box(200, 5, 300, 20)}, "beside the image"),
        ({"box": Box(20, 5, 20, 20)}, "no area"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, says):
    disc = Disc()
    with pytest.raises(RegionError, match=says):
        sharp_mask(disc, disc.encode(IMAGE), **asked)


def test_nothing_outlined_is_said():
    class Nothing(Disc):
        def logits(self, encoded, *_, **__):
            return np.full(encoded.shape, -1.0), 0.1

    nothing = Nothing()
    with pytest.raises(RegionError, match="Nothing is outlined"):
        sharp_mask(nothing, nothing.encode(IMAGE), [(5, 5)])


@pytest.fixture
def offline(tmp_path, folder, monkeypatch):
    """Return a folder with the files as owner/name/path, and no network."""
    monkeypatch.setenv(HOME, str(tmp_path / "store"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place = tmp_path / "stick" / "facebook" / "sam2.1-hiera-tiny"
    place.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (place / name).write_bytes((folder / name).read_bytes())
    return tmp_path / "stick"


def test_it_is_got_from_a_folder_loaded_and_removed(offline, capsys):
    assert installed_segmenter() == ""
    with pytest.raises(
        ModelError, match=r"No model for sharp outlines is here; get one \(156 MB\)"
    ):
        load_segmenter()
    get_model("sam2-tiny", folder=offline)
    assert installed_segmenter() == "sam2-tiny"
    mask = sharpen_box(load_segmenter(), IMAGE, Box(10, 10, 60, 90))
    assert mask.pixels.any()
    assert not {card.id for card in available_models()} & SEGMENTERS.keys()
    with pytest.raises(ModelError, match="makes outlines and no captions"):
        load_model("sam2-tiny")
    assert main(["models", "list"]) == 0
    assert "SAM 2.1 tiny" in capsys.readouterr().out
    remove_model("sam2-tiny")
    assert installed_segmenter() == ""
    with pytest.raises(ModelError, match="no model for outlines 'other'"):
        load_segmenter("other")


def test_the_command_line_gets_it(offline, capsys):
    assert main(["models", "get", "sam2-tiny", "--from", str(offline)]) == 0
    assert "Outline has what it does" in capsys.readouterr().err
    assert main(["models", "info", "sam2-tiny"]) == 0
    assert "makes no captions" in capsys.readouterr().out
