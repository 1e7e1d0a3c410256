"""Every preset with tiny weights in its published layout: prepared, loaded, and made to caption."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from published.presets import with_own_sentences, write_preset_files
from skimage import data
from skimage.transform import resize
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from napari_patchioner.backbones import RegionEncoder
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import pool
from napari_patchioner.models.assemble import assemble
from napari_patchioner.models.catalog import ORDER, presets
from napari_patchioner.models.prepare import prepare
from napari_patchioner.regions import (
    Box,
    Mask,
    Point,
    RegionSet,
    Trace,
    WholeImage,
    cover,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_patchioner.grids import FeatureGrid

HEIGHT, WIDTH = 96, 128


@pytest.fixture(scope="module")
def photograph():
    small = resize(data.astronaut(), (HEIGHT, WIDTH), anti_aliasing=True)
    return (255 * small).astype(np.uint8)


@pytest.fixture(scope="module", params=ORDER)
def captioner(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    preset = with_own_sentences(presets()[request.param])
    if "projection" in preset.backbone.files:
        # The preset answers for the published projection, and this one is random.
        preset = replace(preset, provenance={})
    raw = write_preset_files(preset, folder / "hub")
    return assemble(preset, prepare(preset, raw, folder / preset.id))


@pytest.fixture(scope="module")
def grid(captioner, photograph):
    return captioner.encode(photograph)


def regions():
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[20:50, 30:60] = True
    box, other = Box(10, 10, 40, 50), Box(60, 80, 90, 120)
    points = np.array([[12.0, 15.0], [40.0, 60.0], [70.0, 100.0]])
    return [box, RegionSet((box, other)), Trace(points), Mask(pixels), Point(50, 64), WholeImage()]


@contextmanager
def pictures_seen() -> Iterator[list[int]]:
    """Note how many pictures every convolution of colours was given."""
    seen: list[int] = []

    def note(module: nn.Module, inputs: tuple[object, ...]) -> None:
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            seen.append(len(inputs[0]))

    handle = register_module_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def test_it_captions_every_kind_of_region(captioner, grid):
    captions = captioner.caption(grid, regions(), max_tokens=6, beams=2, alternatives=1)
    assert len(captions) == len(regions())
    assert all(isinstance(caption.text, str) for caption in captions)
    again = captioner.caption(grid, regions(), max_tokens=6, beams=2, alternatives=1)
    assert [caption.text for caption in again] == [caption.text for caption in captions]


def test_it_looks_at_the_picture_once(captioner, photograph):
    with pictures_seen() as seen:
        grid = captioner.encode(photograph)
        looks = len(seen)
        captioner.caption(grid, regions(), max_tokens=3, beams=1)
    proxy = captioner.backbone.name.startswith("proxyclip")
    assert looks == (2 if proxy else 1), "one pass, and one of its guide"
    again = sum(seen[looks:])
    asked = len(regions()) if isinstance(captioner.backbone, RegionEncoder) else 0
    assert again == asked, "only a backbone that says so looks again, once per region"


def test_another_region_is_another_vector(captioner, grid):
    weights = [cover(region, grid.transform) for region in regions()[:2]]
    vectors = _vectors(captioner, grid, weights)
    assert vectors.shape == (2, captioner.backbone.dim)
    assert np.isfinite(vectors).all()
    assert not np.allclose(vectors[0], vectors[1])


def test_it_refuses_the_grid_of_another(captioner, grid):
    stranger = Captioner(
        _Named(captioner.backbone, "somebody else"),
        captioner.bridge,
        captioner.decoder,
        name="stranger",
    )
    with pytest.raises(ModelError, match="encode it again"):
        stranger.caption(grid, [WholeImage()])


def test_its_bridge_names_the_nearest_sentences_if_it_has_any(captioner, grid):
    weights = [cover(region, grid.transform) for region in regions()]
    output = captioner.bridge.project(_vectors(captioner, grid, weights), grid)
    assert output.vectors.shape == (len(weights), captioner.backbone.dim)
    assert np.isfinite(output.vectors).all()
    assert (output.neighbours is None) == (not hasattr(captioner.bridge, "bank"))
    for near in output.neighbours or ():
        cosines = [cosine for _, cosine in near]
        assert len(near) == 5
        assert cosines == sorted(cosines, reverse=True)


class _Named:
    """A backbone under another name."""

    def __init__(self, backbone: object, name: str) -> None:
        self.name, self.dim = name, backbone.dim


def _vectors(captioner: Captioner, grid: FeatureGrid, weights: list) -> np.ndarray:
    if isinstance(captioner.backbone, RegionEncoder):
        return captioner.backbone.embed_regions(grid, weights)
    return pool(grid, weights, "mean")
