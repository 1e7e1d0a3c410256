"""Laws of every backbone: things answer where they are, and nobody waits long to cancel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from families import FAMILIES

from napari_patchioner.backbones.regionclip import RegionClip
from napari_patchioner.errors import Cancelled

LAYOUTS = ("square", "aspect", "crop")
# Height and width of two pictures, and where to paint in each: fractions of the rows and columns.
SHAPES = ((67, 181), (211, 90))
PLACES = ((0.0, 0.0), (0.0, 1.0), (0.5, 0.25), (0.7, 0.6), (1.0, 0.0), (1.0, 1.0))


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """A kind of backbone and its files."""
    kind = FAMILIES[request.param]
    return kind, kind.write(tmp_path_factory.mktemp("family"), 3)


@pytest.fixture(scope="module", params=LAYOUTS)
def opened(request, family):
    """A kind of backbone, a layout, and the backbone that lays its pictures out so."""
    kind, files = family
    return kind, request.param, kind.open(files, size=5 * kind.patch, layout=request.param)


def look(backbone, image):
    """Return what a backbone sees at every place of the grid, shape (rows, columns, channels)."""
    if not isinstance(backbone, RegionClip):
        return backbone.encode(image).embeddings
    # Its attention pool lets every place look at all others; what it pools is local.
    pixels = backbone.preprocessing(image).pixels
    return backbone.network.cells(pixels)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bright_patch_answers_where_it_is(opened, shape):
    kind, _, backbone = opened
    gray = np.full((*shape, 3), 96, np.uint8)
    transform = backbone.encode(gray).transform
    step = kind.patch // backbone.patch_size
    before = look(backbone, gray)
    rows, columns = before.shape[0] // step, before.shape[1] // step
    assert (rows * step, columns * step) == transform.grid_shape
    for down, across in PLACES:
        row, column = step * round(down * (rows - 1)), step * round(across * (columns - 1))
        corners = transform.to_image([[row, column], [row + step, column + step]])
        (top, left), (bottom, right) = np.round(corners + 0.5).astype(int)
        painted = gray.copy()
        painted[top:bottom, left:right] = (250, 240, 20)
        change = np.linalg.norm(look(backbone, painted) - before, axis=2)
        assert np.unravel_index(change.argmax(), change.shape) == (row, column)


@pytest.mark.parametrize("shape", [(2, 500), (500, 2)])
def test_strips_are_pictures_too(opened, shape):
    kind, layout, backbone = opened
    grid = backbone.encode(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    step = kind.patch // backbone.patch_size
    long = (5, 1) if shape[0] > shape[1] else (1, 5)
    expected = long if layout == "aspect" else (5, 5)
    assert grid.shape == tuple(step * cells for cells in expected)
    assert np.isfinite(grid.embeddings).all()
    corners = grid.transform.to_grid(grid.transform.to_image([[0, 0], grid.shape]))
    np.testing.assert_allclose(corners, [(0, 0), grid.shape], atol=1e-9)


def test_every_block_is_told_of(family):
    kind, files = family
    backbone = kind.open(files, size=3 * kind.patch)
    told = []
    image = np.full((40, 50, 3), 96, np.uint8)
    backbone.encode(image, progress=lambda share, _message: told.append(share))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)
    # At both ends and between the three layers, at least.
    assert len(set(told)) >= 4

    def stop(share, _message):
        if share >= told[len(told) // 2]:
            raise Cancelled

    with pytest.raises(Cancelled):
        backbone.encode(image, progress=stop)
    heard = []
    again = backbone.encode(image, progress=lambda share, _message: heard.append(share))
    assert heard == told
    np.testing.assert_array_equal(again.embeddings, backbone.encode(image).embeddings)


def test_threads_share_a_backbone(family):
    kind, files = family
    backbone = kind.open(files, size=3 * kind.patch)
    pictures = np.random.default_rng(1).integers(0, 256, (3, 40, 50, 3), np.uint8)
    alone = [backbone.encode(picture).embeddings for picture in pictures]
    told = [[] for _ in pictures]

    def look_at(place):
        def tell(share, _message):
            told[place].append(share)

        return backbone.encode(pictures[place], progress=tell).embeddings

    with ThreadPoolExecutor(len(pictures)) as pool:
        together = list(pool.map(look_at, range(len(pictures))))
    np.testing.assert_array_equal(together, alone)
    assert told[0] == told[1] == told[2] == sorted(told[0])
