"""What must hold of the whole chain, asked of the model that ships."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from napari_patchioner.backbones.mini import grid_shape
from napari_patchioner.bridges.appearance import AXES
from napari_patchioner.grids import pool
from napari_patchioner.models import load_model
from napari_patchioner.regions import (
    Box,
    Mask,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
    cover,
)

RED = AXES.index("share_red") - len(AXES)
REGIONS = [
    Box(30, 150, 200, 300),
    Box(300, 10, 500, 120),
    Box(5, 400, 9, 404),
    Point(100, 210),
    Trace(np.array([[100.0, 200], [110, 210], [120, 240], [110, 210]])),
    RegionSet((Box(30, 150, 200, 300), Box(250, 100, 500, 400))),
    WholeImage(),
]


@pytest.fixture(scope="module")
def captioner():
    return load_model()


@pytest.fixture(scope="module", params=["astronaut", "immunohistochemistry"])
def grid(request, mini):
    return mini.encode(getattr(skimage.data, request.param)())


def said(captions):
    return [(caption.text, caption.alternatives, caption.verdict) for caption in captions]


@pytest.mark.parametrize("beams", [1, 4])
def test_company_and_order_change_no_caption(captioner, grid, beams):
    together = captioner.caption(grid, REGIONS, beams=beams)
    alone = [captioner.caption(grid, [region], beams=beams)[0] for region in REGIONS]
    backwards = captioner.caption(grid, REGIONS[::-1], beams=beams)[::-1]
    assert said(together) == said(alone) == said(backwards)
    scores = [caption.score for caption in together]
    # Products over more rows add in another order, and log-odds magnify the last digits.
    assert scores == pytest.approx([caption.score for caption in alone], abs=1e-4)


def test_the_tool_changes_no_caption(captioner, grid):
    mask = np.zeros(grid.transform.image_shape, bool)
    mask[40:171, 155:300] = True
    corners = np.array([[39.5, 154.5], [39.5, 299.5], [170.5, 299.5], [170.5, 154.5]])
    drawn = [Box(39.5, 154.5, 170.5, 299.5), Polygon(corners), Mask(mask)]
    one, *others = said(captioner.caption(grid, drawn))
    assert others == [one, one]


def test_the_same_picture_gives_the_same_grid(captioner):
    image = skimage.data.coffee()[:60]
    one, two = captioner.encode(image), captioner.encode(image)
    np.testing.assert_array_equal(one.embeddings, two.embeddings)
    assert one.key == two.key


def test_one_pass_serves_every_region(captioner):
    passes = []
    handle = captioner.backbone._network.register_forward_hook(lambda *_: passes.append(1))
    try:
        grid = captioner.encode(skimage.data.astronaut()[:60])
        captioner.caption(grid, [Box(2, 150, 40, 300), Point(10, 20), WholeImage()] * 20)
        captioner.caption(grid, [WholeImage()])
    finally:
        handle.remove()
    assert len(passes) == 1


@pytest.mark.parametrize(
    "size", [(480, 640), (333, 500), (1000, 300), (37, 911), (40, 4000), (4000, 40)]
)
def test_painted_patches_are_those_patches(captioner, size):
    shape = grid_shape(*size)
    image, painted = np.full((*size, 3), 127, np.uint8), {}
    for where in ((0.0, 0.0), (0.4, 0.7), (0.999, 0.999)):
        patch = tuple(int(share * cells) for share, cells in zip(where, shape, strict=True))
        (top, bottom), (left, right) = (
            (int(np.ceil(at * side / cells)), int((at + 1) * side / cells))
            for at, side, cells in zip(patch, size, shape, strict=True)
        )
        image[top:bottom, left:right] = (220, 20, 20)
        painted[patch] = Box(top - 0.5, left - 0.5, bottom - 0.5, right - 0.5)
    grid = captioner.encode(image)
    red = grid.embeddings[..., RED].copy()
    assert grid.shape == shape
    for patch, box in painted.items():
        assert red[patch] > 0.9, patch
        covered = cover(box, grid.transform, weighting="area")
        assert pool(grid, [covered])[0, RED] > 0.9, patch
        red[patch] = 0
    assert red.sum() < 0.1 * len(painted)


@pytest.mark.parametrize(
    "image",
    [
        np.tile(skimage.data.coffee()[:40], (1, 7, 1))[:, :4000],
        np.tile(skimage.data.coffee()[:, :40], (10, 1, 1)),
        skimage.data.astronaut()[:2, :2],
        skimage.data.camera()[:64].astype(np.uint16) * 200,
        skimage.data.camera()[:64] / 127.5 - 1,
        np.dstack([skimage.data.astronaut()[:64], skimage.data.astronaut()[:64, :, 0]]),
        skimage.data.camera()[200:264] > 100,
        np.full((3, 30), -7.5),
    ],
    ids=["wide", "tall", "tiny", "16 bits", "negative", "transparent", "binary", "blank"],
)
def test_any_picture_has_a_caption(captioner, image):
    [caption] = captioner.caption(captioner.encode(image), [WholeImage()])
    assert caption.text
    assert 0 <= caption.score <= 1
