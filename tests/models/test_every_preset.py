"""Every preset with tiny weights: got from a hub that fails, loaded offline, made to caption."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
from published.presets import write_preset_files
from skimage import data
from skimage.transform import resize
from tiny_presets import tiny
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from napari_patchioner.backbones import RegionEncoder, TextTower
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import CaptionOptions
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import pool
from napari_patchioner.grounding import captions_in_context, distinct_captions
from napari_patchioner.models import available_models, get_model, load_model, remove_model
from napari_patchioner.models.catalog import ORDER
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
    from pathlib import Path

    from hub_server import HubServer

    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.models.preset import Preset

HEIGHT, WIDTH = 96, 128


@pytest.fixture(scope="module")
def photograph():
    small = resize(data.astronaut(), (HEIGHT, WIDTH), anti_aliasing=True)
    return (255 * small).astype(np.uint8)


def publish(preset: Preset, hub: HubServer, folder: Path) -> None:
    """Put a preset's files on the hub; those that are on none stay in the folder."""
    write_preset_files(preset, folder)
    for repo in preset.repos:
        files = [path for path in (folder / repo).rglob("*") if path.is_file()]
        hub.repos[repo] = {
            path.relative_to(folder / repo).as_posix(): path.read_bytes() for path in files
        }
        for path in files:
            path.unlink()


@pytest.fixture
def cut_off(monkeypatch):
    """Return a switch that lets every connection fail."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model that is installed asked the network")

    def cut() -> None:
        for name in ("connect", "connect_ex", "sendto"):
            monkeypatch.setattr(socket.socket, name, refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)

    return cut


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


def check_captions_of_every_kind_of_region(captioner, grid):
    captions = captioner.caption(grid, regions(), max_tokens=6, beams=2, alternatives=1)
    assert len(captions) == len(regions())
    assert all(isinstance(caption.text, str) for caption in captions)
    again = captioner.caption(grid, regions(), max_tokens=6, beams=2, alternatives=1)
    assert [caption.text for caption in again] == [caption.text for caption in captions]


def check_that_the_picture_is_encoded_once(captioner, photograph):
    with pictures_seen() as seen:
        grid = captioner.encode(photograph)
        looks = len(seen)
        captioner.caption(grid, regions(), max_tokens=3, beams=1)
    proxy = captioner.backbone.name.startswith("proxyclip")
    assert looks == (2 if proxy else 1), "one pass, and one of its guide"
    again = sum(seen[looks:])
    asked = len(regions()) if isinstance(captioner.backbone, RegionEncoder) else 0
    assert again == asked, "only a backbone that says so looks again, once per region"
    return grid


def check_that_another_region_is_another_vector(captioner, grid):
    weights = [cover(region, grid.transform) for region in regions()[:2]]
    vectors = _vectors(captioner, grid, weights)
    assert vectors.shape == (2, captioner.backbone.dim)
    assert np.isfinite(vectors).all()
    assert not np.allclose(vectors[0], vectors[1])


def check_that_the_grid_of_another_is_refused(captioner, grid):
    stranger = Captioner(
        _Named(captioner.backbone, "somebody else"),
        captioner.bridge,
        captioner.decoder,
        name="stranger",
    )
    with pytest.raises(ModelError, match="encode it again"):
        stranger.caption(grid, [WholeImage()])


def check_that_the_bridge_names_the_nearest_sentences_if_it_has_any(captioner, grid):
    weights = [cover(region, grid.transform) for region in regions()]
    output = captioner.bridge.project(_vectors(captioner, grid, weights), grid)
    assert output.vectors.shape == (len(weights), captioner.backbone.dim)
    assert np.isfinite(output.vectors).all()
    assert (output.neighbours is None) == (not hasattr(captioner.bridge, "bank"))
    for near in output.neighbours or ():
        cosines = [cosine for _, cosine in near]
        assert len(near) == 5
        assert cosines == sorted(cosines, reverse=True)


def check_that_its_captions_can_be_put_in_other_words(captioner, grid):
    """Specific, told apart, and in a context where it has a text tower; always its own words."""
    boxes, small = regions()[:2], CaptionOptions(max_tokens=6, beams=2, alternatives=2)
    said = captioner.caption(grid, boxes, small)
    specific = captioner.caption(grid, boxes, small, specificity=1.0)
    assert len(specific) == len(boxes)
    for item in distinct_captions(captioner, grid, boxes, said, small):
        assert isinstance(item.text, str)
        assert item.others == 1
    if not isinstance(captioner.backbone, TextTower):
        with pytest.raises(ModelError, match="no text tower"):
            captions_in_context(captioner, grid, boxes, said, "a kitchen")
        return
    for before, after in zip(
        said, captions_in_context(captioner, grid, boxes, said, "a kitchen"), strict=True
    ):
        assert {after.text, *after.alternatives} == {before.text, *before.alternatives}
        assert 0 <= after.score <= 1


class _Named:
    """A backbone under another name."""

    def __init__(self, backbone: object, name: str) -> None:
        self.name, self.dim = name, backbone.dim


def _vectors(captioner: Captioner, grid: FeatureGrid, weights: list) -> np.ndarray:
    if isinstance(captioner.backbone, RegionEncoder):
        return captioner.backbone.embed_regions(grid, weights)
    return pool(grid, weights, "mean")


@pytest.mark.parametrize("name", ORDER)
def test_a_preset_comes_through_failures_and_then_captions_without_a_network(
    name, hub, places, monkeypatch, cut_off, photograph
):
    preset = tiny(name)
    monkeypatch.setattr("napari_patchioner.models.catalog.presets", lambda: {name: preset})
    folder = places / "given"
    publish(preset, hub, folder)
    options = {"folder": folder} if preset.elsewhere else {}
    largest = max(
        (path for files in hub.repos.values() for path in files),
        key=lambda path: max(len(files.get(path, b"")) for files in hub.repos.values()),
    )
    hub.wrong.add(largest)
    with pytest.raises(ModelError, match="not the file it should be"):
        get_model(name, **options)
    assert not available_models()[-1].installed
    hub.wrong.clear()
    hub.drops[largest] = [1000]
    get_model(name, **options)
    assert "bytes=1000-" in hub.fetched(largest)
    assert available_models()[-1].installed
    cut_off()
    captioner = load_model(name)
    grid = check_that_the_picture_is_encoded_once(captioner, photograph)
    check_captions_of_every_kind_of_region(captioner, grid)
    check_that_another_region_is_another_vector(captioner, grid)
    check_that_the_grid_of_another_is_refused(captioner, grid)
    check_that_the_bridge_names_the_nearest_sentences_if_it_has_any(captioner, grid)
    check_that_its_captions_can_be_put_in_other_words(captioner, grid)
    assert remove_model(name) > 1000
    assert not available_models()[-1].installed
