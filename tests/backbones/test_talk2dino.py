from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import clip, dino, talk2dino
from safetensors.torch import load_file, save_file
from skimage.data import chelsea

from napari_patchioner.backbones import TextTower
from napari_patchioner.backbones.base import Preprocessing
from napari_patchioner.backbones.clip_towers import ClipText
from napari_patchioner.backbones.dino import DinoVision
from napari_patchioner.backbones.talk2dino import Projection, Talk2DINO
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import Cancelled, ImageError, ModelError

SIZE = 70
TEXTS = ["A cat looks up.", "grey fur"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return talk2dino.write(tmp_path_factory.mktemp("talk2dino"))


@pytest.fixture(scope="module")
def backbone(files):
    return Talk2DINO.open(files, size=SIZE)


@pytest.fixture(scope="module")
def picture():
    return chelsea()


@pytest.fixture(scope="module")
def grid(backbone, picture):
    return backbone.encode(picture)


def test_a_photograph_becomes_patches(files, backbone, grid, picture):
    prepared = Preprocessing(SIZE, 14)(picture)
    tokens = DinoVision.open(files["vision"]).encode(prepared.pixels)

    assert grid.shape == (5, 5)
    assert grid.dim == backbone.dim == 32
    assert grid.transform.image_shape == picture.shape[:2]
    np.testing.assert_array_equal(grid.embeddings, tokens.patches)
    np.testing.assert_array_equal(grid.cls, tokens.cls)
    assert grid.attention.shape == (5, 5)
    assert grid.attention.sum() == pytest.approx(1, abs=1e-6)
    assert grid.backbone == backbone.name


@pytest.mark.parametrize(
    ("kind", "patch", "side"), [("dinov2_with_registers", 14, 518), ("dinov3_vit", 16, 512)]
)
def test_sizes_of_the_paper(tmp_path, kind, patch, side):
    files = talk2dino.write(tmp_path, kind=kind, layers=1, text=False)
    backbone = Talk2DINO.open(files)
    assert (backbone.patch_size, backbone.input_size) == (patch, side)
    assert backbone.encode(np.zeros((8, 8), np.uint8)).shape == (side // patch, side // patch)


@pytest.fixture(scope="module")
def transforms(files, picture):
    return {
        layout: Talk2DINO.open(files, size=SIZE, layout=layout).encode(picture).transform
        for layout in ("square", "aspect", "crop")
    }


@pytest.mark.parametrize("layout", ["square", "aspect", "crop"])
@given(row=st.floats(0, 299), column=st.floats(0, 450))
def test_every_layout_maps_both_ways(transforms, layout, row, column):
    there = transforms[layout].to_grid((row, column))
    back = transforms[layout].to_image(there)
    np.testing.assert_allclose(back, (row, column), atol=1e-9)


def test_the_grid_of_every_layout_lies_on_the_image(transforms):
    assert {layout: there.grid_shape for layout, there in transforms.items()} == {
        "square": (5, 5),
        "aspect": (3, 5),
        "crop": (5, 5),
    }
    for layout in ("square", "aspect"):
        corners = transforms[layout].to_image([(0, 0), transforms[layout].grid_shape])
        np.testing.assert_allclose(corners, [(-0.5, -0.5), (299.5, 450.5)])
    (top, left), (bottom, right) = transforms["crop"].to_image([(0, 0), (5, 5)])
    assert (top, bottom) == pytest.approx((-0.5, 299.5))
    # Whole pixels of the resized picture are cut, of 4.3 pixels of the image each.
    assert right - left == pytest.approx(300, abs=4.3)
    assert left + right == pytest.approx(450, abs=4.3)


def test_a_spot_shows_where_it_is(files):
    """The patch under a spot changes most, though all of them attend to it."""
    backbone = Talk2DINO.open(files, size=140, layout="aspect")
    image = np.full((100, 200, 3), 120, np.uint8)
    marked = image.copy()
    marked[62:66, 152:156] = 255
    change = np.linalg.norm(
        backbone.encode(marked).embeddings - backbone.encode(image).embeddings, axis=2
    )
    place = np.floor(backbone.encode(image).transform.to_grid((64, 154))).astype(int)
    assert np.unravel_index(change.argmax(), change.shape) == tuple(place)


def test_text_is_projected_among_the_patches(files, backbone):
    assert isinstance(backbone, TextTower)
    embedded = backbone.embed_text(TEXTS)

    expected = Projection.open(files["projection"])(ClipText.open(files["text"]).embed(TEXTS))
    np.testing.assert_array_equal(embedded, expected)
    assert embedded.shape == (2, backbone.dim)
    assert np.abs(np.linalg.norm(embedded, axis=1) - 1).min() > 0.01


def test_the_text_tower_is_opened_when_it_is_needed(files, tmp_path):
    backbone = Talk2DINO.open(files | {"text": tmp_path / "gone"}, size=SIZE)
    with pytest.raises(ModelError, match="gone"):
        backbone.embed_text(TEXTS)


def test_without_a_text_tower(files):
    given = {role: path for role, path in files.items() if role != "text"}
    with pytest.raises(ModelError, match="openai/clip-vit-base-patch16"):
        Talk2DINO.open(given, size=SIZE).embed_text(TEXTS)


def test_a_whole_published_model_is_its_parts(tmp_path, picture):
    whole = Talk2DINO.open(talk2dino.write_whole(tmp_path / "whole"), size=SIZE)
    parts = Talk2DINO.open(talk2dino.write(tmp_path / "parts", layout="hub", dim=64), size=SIZE)

    assert whole.name == parts.name
    assert whole.provenance == parts.provenance
    np.testing.assert_allclose(
        whole.encode(picture).embeddings, parts.encode(picture).embeddings, atol=1e-6
    )
    tower = ClipText.from_state(clip.openai_state(dim=24), ClipTokenizer(), source="CLIP")
    psi = Projection(talk2dino.projection_state(dim=64), source="psi")
    np.testing.assert_allclose(whole.embed_text(TEXTS), psi(tower.embed(TEXTS)), atol=1e-5)


def test_a_projection_of_ones_own_replaces_the_whole_models(tmp_path):
    files = talk2dino.write_whole(tmp_path / "whole")
    files["projection"] = talk2dino.write_projection(tmp_path / "psi.pth", seed=5, dim=64)
    backbone = Talk2DINO.open(files)
    assert backbone.provenance["projection"] == Projection.open(files["projection"]).hash


def test_strangers_in_a_whole_model_are_named(tmp_path):
    files = talk2dino.write_whole(tmp_path)
    path = files["vision"] / "model.safetensors"
    state = load_file(path) | {"masker.weight": torch.ones(1)}
    save_file(state, path)
    with pytest.raises(ModelError, match=r"holds masker\.weight besides the parts"):
        Talk2DINO.open(files)


def test_the_projection_belongs_to_the_dino(files, tmp_path):
    other = talk2dino.write_projection(tmp_path / "vitl.pth", dim=48)
    with pytest.raises(ModelError, match="maps to 48 numbers where dinov2-"):
        Talk2DINO.open(files | {"projection": other})


@pytest.mark.parametrize("role", ["vision", "projection"])
def test_files_that_are_not_given(files, role):
    given = {name: path for name, path in files.items() if name != role}
    with pytest.raises(ModelError, match="needs a"):
        Talk2DINO.open(given)


def test_provenance_is_the_projection(files, backbone):
    assert backbone.provenance == {"projection": Projection.open(files["projection"]).hash}


def test_what_changes_a_grid_changes_the_name(files, tmp_path):
    other = files | dino.write(tmp_path, seed=3)
    names = {
        Talk2DINO.open(files, size=SIZE).name,
        Talk2DINO.open(files, size=84).name,
        Talk2DINO.open(files, size=SIZE, layout="aspect").name,
        Talk2DINO.open(files, size=SIZE, attention="reference").name,
        Talk2DINO.open(other, size=SIZE).name,
    }
    assert len(names) == 5


def test_the_published_attention_is_an_option(files, grid, picture):
    reference = Talk2DINO.open(files, size=SIZE, attention="reference").encode(picture)
    np.testing.assert_array_equal(reference.embeddings, grid.embeddings)
    assert np.abs(reference.attention - grid.attention).max() > 1e-4
    assert reference.key != grid.key


@pytest.mark.parametrize("options", [{"attention": "eq"}, {"layout": "tall"}, {"size": 5}])
def test_options_that_make_no_sense(files, options):
    with pytest.raises(ModelError):
        Talk2DINO.open(files, **options)


def test_progress_and_stopping(backbone, picture):
    shares = []
    backbone.encode(picture, progress=lambda share, _message: shares.append(share))
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)

    def stop(share, _message):
        if share > 0.4:
            raise Cancelled

    with pytest.raises(Cancelled):
        backbone.encode(picture, progress=stop)


def test_no_picture(backbone):
    with pytest.raises(ImageError):
        backbone.encode(np.zeros((3, 3, 13)))
