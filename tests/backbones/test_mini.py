import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data, draw

from napari_patchioner.backbones.mini import GRID_SIDE, PICTURE, MiniBackbone, grid_shape
from napari_patchioner.bridges.appearance import AXES, describe
from napari_patchioner.errors import Cancelled, ImageError, ModelError
from napari_patchioner.models.embedded import FOLDER
from napari_patchioner.regions import Box, Ellipse, Point, WholeImage

WEIGHTS = FOLDER / "backbone.safetensors"
GATE = FOLDER / "gate.safetensors"


@pytest.fixture(scope="module")
def backbone():
    return MiniBackbone(WEIGHTS, GATE)


@pytest.fixture(scope="module")
def picture():
    """Red on the left, blue noise on the right; ten times as wide as high."""
    generator = np.random.default_rng(0)
    image = np.zeros((12, 120, 3), np.uint8)
    image[:, :60, 0] = 200
    image[:, 60:, 2] = generator.integers(0, 255, (12, 60))
    return image


@pytest.fixture(scope="module")
def grid(backbone, picture):
    return backbone.encode(picture)


def test_the_grid_lies_on_the_image(backbone, grid):
    assert grid.shape == (4, 40)
    assert grid.transform.image_shape == (12, 120)
    assert grid.embeddings.dtype == np.float32
    assert grid.dim == backbone.dim == 1280 + 1400 + len(AXES)


def test_patches_see_what_is_under_them(grid):
    left, right = grid.embeddings[:, 5], grid.embeddings[:, 35]
    red = 1280 + 1400 + AXES.index("share_red")
    assert left[:, red].mean() > 0.9
    assert right[:, red].mean() < 0.1
    deep = slice(0, 1280)
    assert np.abs(left[:, deep].mean(0) - right[:, deep].mean(0)).max() > 0.1


def test_the_photograph_measure_is_a_probability(grid):
    assert 0 <= grid.measures["photograph"] <= 1


def test_the_key_names_the_pixels(backbone, grid, picture):
    brighter = np.minimum(picture.astype(int) + 9, 255).astype(np.uint8)
    assert backbone.encode(picture).key == grid.key
    assert backbone.encode(brighter).key != grid.key
    assert backbone.encode(picture.reshape(120, 12, 3)).key != grid.key


def test_progress_rises_to_one(backbone, picture):
    told = []
    backbone.encode(picture, progress=lambda fraction, message: told.append((fraction, message)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert all(message for _, message in told)


def test_cancelling_stops_the_work(backbone, picture):
    told = []

    def cancel(fraction, message):
        told.append(message)
        if len(told) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        backbone.encode(picture, progress=cancel)
    assert len(told) == 2


@pytest.mark.parametrize("size", [(2, 2), (300, 5), (5, 300)])
def test_odd_sizes_have_a_grid(backbone, size):
    grid = backbone.encode(np.zeros(size, np.uint8))
    assert grid.shape == grid_shape(*size)
    assert max(grid.shape) == GRID_SIDE
    assert np.isfinite(grid.embeddings).all()


def crowd(size):
    """Return a photograph of this many rows and columns."""
    return np.asarray(Image.fromarray(data.astronaut()).resize(size[::-1]))


@pytest.mark.parametrize(("size", "kept"), [((90, 120), (90, 120)), ((20, 2560), (10, PICTURE))])
def test_the_picture_is_kept_but_not_larger_than_is_of_use(backbone, size, kept):
    picture = backbone.encode(crowd(size)).picture
    assert (picture.shape, picture.dtype) == ((3, *kept), np.uint8)


# A hand, a face and a glove; the helmet is large, and so is all the picture.
SMALL = [Box(150, 200, 210, 250), Ellipse(np.array([[90, 215], [90, 255], [135, 255], [135, 215]]))]
LARGE = [Box(12, 22, 510, 362), WholeImage(), Box(400, -0.5, 402, 511.5)]


def test_only_what_is_small_is_looked_at_once_more(backbone):
    grid, told = backbone.encode(data.astronaut()), []
    seen = backbone.embed_close_ups(
        grid, [*LARGE, *SMALL], progress=lambda *news: told.append(news)
    )
    assert list(seen) == [3, 4]
    assert all(vector.shape == (1280 + 1400,) for vector in seen.values())
    assert [message for _, message in told] == [
        "looking closer: 0 of 2 small regions",
        "looking closer: 1 of 2 small regions",
    ]
    # What else is asked changes nothing.
    assert (backbone.embed_close_ups(grid, SMALL[1:])[0] == seen[4]).all()
    # A window of the picture is looked at where it lies.
    half = replace(grid.transform, image_shape=(1024, 1024), window=(512.0, 512.0, 512.0, 512.0))
    moved = Box(662, 712, 722, 762)
    aside = backbone.embed_close_ups(replace(grid, transform=half), [moved])
    np.testing.assert_allclose(aside[0], seen[3], atol=1e-4)


def test_without_a_picture_there_is_no_close_up(backbone):
    grid = replace(backbone.encode(data.astronaut()), picture=None)
    assert backbone.embed_close_ups(grid, SMALL) == {}


def smear():
    """Cells on pale gray: one with a lobed nucleus, which pink ones touch, and others."""
    image = np.full((480, 640, 3), (205, 205, 200), np.uint8)
    for centre in [
        (150, 100),
        (150, 252),
        (242, 180),
        (370, 500),
        (390, 110),
        (90, 480),
        (200, 560),
    ]:
        image[draw.disk(centre, 42)] = (220, 150, 160)
    image[draw.disk((150, 180), 48)] = (190, 150, 205)
    for centre in [(135, 160), (135, 200), (172, 165), (172, 198)]:
        image[draw.disk(centre, 14)] = (90, 60, 160)
    return ndimage.gaussian_filter(image, (2, 2, 0))


def test_a_box_around_one_cell_is_about_that_cell(backbone):
    grid = replace(backbone.encode(smear()), measures={"photograph": 0.1})
    cell, beside, ground = Box(100, 130, 200, 230), Box(326, 456, 414, 544), Box(270, 300, 330, 400)
    things = backbone.embed_close_ups(grid, [cell, beside, ground, WholeImage(), Point(150, 180)])
    assert list(things) == [0, 1]
    axes = grid.embeddings.reshape(-1, grid.dim)[:, -len(AXES) :].mean(0, keepdims=True)
    said = describe(np.repeat(axes, 2, 0), patches=39, scale=16, things=things)
    assert re.fullmatch(r"one large [a-z ]*purple round spot on a light gray background", said[0])
    assert re.fullmatch(r"one large [a-z ]*pink round spot on a light gray background", said[1])


def test_a_second_look_can_be_cancelled(backbone):
    def cancel(fraction, message):
        raise Cancelled

    grid = backbone.encode(data.astronaut())
    with pytest.raises(Cancelled):
        backbone.embed_close_ups(grid, SMALL, progress=cancel)


def test_no_picture_is_said_to_be_none(backbone):
    with pytest.raises(ImageError):
        backbone.encode(np.zeros((0, 3)))


def test_damaged_weights_are_said_to_be(tmp_path):
    path = tmp_path / "backbone.safetensors"
    with pytest.raises(ModelError, match="missing or damaged"):
        MiniBackbone(path, GATE)
    path.write_bytes(WEIGHTS.read_bytes()[:5000])
    with pytest.raises(ModelError, match="missing or damaged"):
        MiniBackbone(path, GATE)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(WEIGHTS)
    tensors["stem.bias"] = np.full_like(tensors["stem.bias"], np.nan)
    save_file(tensors, tmp_path / "backbone.safetensors")
    with pytest.raises(ModelError, match="damaged"):
        MiniBackbone(tmp_path / "backbone.safetensors", GATE)


def test_marks_are_counted_where_they_are_described(backbone):
    photograph, tissue = (backbone.encode(image) for image in (data.chelsea(), data.cell()))
    assert photograph.measures["photograph"] > 0.95
    assert tissue.measures["photograph"] < 0.5
    counted = slice(1280 + 1400 + AXES.index("ground_area"), 1280 + 1400 + AXES.index("line_count"))
    assert not photograph.embeddings[..., counted].any()
    assert tissue.embeddings[..., counted].any()
