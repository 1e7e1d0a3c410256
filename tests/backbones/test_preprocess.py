from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from napari_patchioner.backbones.base import CLIP, HALF, IMAGENET, Preprocessing


def unnormalised(pixels, normalisation):
    mean, std = (np.array(part)[:, None, None] for part in normalisation)
    return np.rint((pixels[0].numpy() * std + mean) * 255).astype(int)


@pytest.mark.parametrize("normalisation", [IMAGENET, CLIP, HALF])
def test_a_square_is_the_bicubic_picture(normalisation):
    picture = np.random.default_rng(0).integers(0, 256, (61, 43, 3), np.uint8)
    prepared = Preprocessing(42, 14, normalisation=normalisation)(picture)
    expected = Image.fromarray(picture).resize((42, 42), Image.Resampling.BICUBIC)
    found = unnormalised(prepared.pixels, normalisation)
    np.testing.assert_array_equal(found, np.asarray(expected).transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(61, 43), (30, 300), (450, 30)])
def test_a_crop_is_what_torchvision_cuts(shape):
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    found = unnormalised(Preprocessing(45, 14, "crop")(picture).pixels, IMAGENET)
    height, width = (int(45 * side / min(shape)) for side in shape)
    whole = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
    top, left = round((height - 45) / 2), round((width - 45) / 2)
    expected = whole[top : top + 42, left : left + 42].transpose(2, 0, 1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(20, 400), (400, 20), (7, 900)])
def test_the_crop_of_a_strip_is_cut_at_once(shape):
    picture = np.random.default_rng(2).integers(60, 190, (*shape, 3), np.uint8)
    found = unnormalised(Preprocessing(45, 14, "crop")(picture).pixels, IMAGENET)
    height, width = (int(45 * side / min(shape)) for side in shape)
    whole = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
    top, left = round((height - 45) / 2), round((width - 45) / 2)
    expected = whole[top : top + 42, left : left + 42].transpose(2, 0, 1)
    assert np.abs(found - expected).max() <= 2


@pytest.mark.parametrize("layout", ["square", "aspect", "crop"])
@pytest.mark.parametrize("shape", [(2, 200_000), (200_000, 2)])
def test_a_strip_needs_no_more_room_than_what_is_seen(layout, shape):
    prepared = Preprocessing(518, 14, layout)(np.full(shape, 100, np.uint8))
    assert prepared.pixels.shape[2] * prepared.pixels.shape[3] <= 518**2
