"""Regions of the embedded models among sentences: a bank of a person's own names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from skimage import data, draw

from napari_patchioner.backbones import TextTower
from napari_patchioner.bridges import MemoryBank, RetrievalBridge, TextSpace, ThroughText
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import QuoteDecoder
from napari_patchioner.errors import RegionError
from napari_patchioner.models import load_model
from napari_patchioner.models.embedded import HEADS
from napari_patchioner.regions import Box, WholeImage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_patchioner.grids import FeatureGrid

NAMES = (
    *("pizza", "coffee cup", "fruit salad", "sandwich"),
    *("kitten", "puppy", "pony", "parrot"),
    *("motorbike", "lorry", "sailing boat", "rocket"),
)
SPECIMENS = (
    "many small dark nuclei",
    "thin branching blood vessels",
    "an empty background without structure",
)


@pytest.fixture(scope="module", params=list(HEADS))
def captioner(request) -> Captioner:
    return load_model(request.param)


@pytest.fixture(scope="session")
def grid_of(mini) -> Callable[[str], FeatureGrid]:
    """Return the grid of a picture, which all embedded models share."""
    return lambda picture: mini.encode(pixels_of(picture))


def pixels_of(picture: str) -> np.ndarray:
    if picture == "vessels":
        return branching()
    image = getattr(data, picture)()
    return image[0] if isinstance(image, tuple) else image


def branching() -> np.ndarray:
    """Thin dark red lines that branch again and again, on pale pink."""
    image = np.full((480, 640, 3), (250, 215, 215), np.uint8)
    ends = [(470.0, 320.0, -np.pi / 2, 110.0)]
    for _ in range(5):
        grown = []
        for row, column, angle, length in ends:
            far = row + length * np.sin(angle), column + length * np.cos(angle)
            for shift in (-1, 0, 1):
                ends_at = [round(value) for value in (row, column + shift, far[0], far[1] + shift)]
                rows, columns = draw.line(*ends_at)
                inside = (rows >= 0) & (rows < 480) & (columns >= 0) & (columns < 640)
                image[rows[inside], columns[inside]] = (140, 20, 30)
            grown += [(*far, angle + turn, 0.8 * length) for turn in (-0.5, 0.5)]
        ends = grown
    return image


def with_bank(captioner: Captioner, texts: tuple[str, ...], folder: Path) -> Captioner:
    tower = captioner.backbone
    assert isinstance(tower, TextTower)
    chunks = [(texts, tower.embed_text(texts))]
    bank = MemoryBank.build(folder, chunks, provenance=tower.provenance)
    assert isinstance(captioner.bridge, TextSpace)
    bridge = ThroughText(captioner.bridge, RetrievalBridge(bank))
    return Captioner(tower, bridge, QuoteDecoder(), name="mine", weighting=captioner.weighting)


@pytest.mark.parametrize(
    ("picture", "name"),
    [("cat", "kitten"), ("coffee", "coffee cup"), ("stereo_motorcycle", "motorbike")],
)
def test_photographs_find_their_own_name(captioner, grid_of, tmp_path, picture, name):
    mine = with_bank(captioner, NAMES, tmp_path / "bank")
    grid = grid_of(picture)
    height, width = grid.transform.image_shape
    middle = Box(height * 0.2, width * 0.2, height * 0.8, width * 0.8)
    for caption in mine.caption(grid, [middle, WholeImage()], alternatives=2):
        assert caption.text == name
        assert len(caption.alternatives) == 2
        assert caption.neighbours[0][0] == name
    # What the model says by itself has not changed by it.
    assert mine.text_vectors(grid, [middle]) == pytest.approx(
        captioner.text_vectors(grid, [middle])
    )


def test_pictures_of_other_kinds_go_by_their_description(captioner, grid_of, tmp_path):
    mine = with_bank(captioner, SPECIMENS, tmp_path / "bank")
    said = {}
    for picture in ("immunohistochemistry", "vessels"):
        grid = grid_of(picture)
        [caption] = captioner.caption(grid, [WholeImage()])
        assert caption.verdict == "appearance"
        [vector] = captioner.text_vectors(grid, [WholeImage()])
        assert vector == pytest.approx(captioner.backbone.embed_text([caption.text])[0], abs=1e-5)
        [said[picture]] = mine.caption(grid, [WholeImage()])
    assert said["immunohistochemistry"].text == SPECIMENS[0]
    assert said["vessels"].text == SPECIMENS[1]


def test_the_vessels_of_a_retina_are_described(captioner, grid_of):
    [caption] = captioner.caption(grid_of("retina"), [WholeImage()])
    assert "branching lines" in caption.text


def test_vectors_are_checked_like_captions(captioner, grid_of):
    grid = grid_of("cat")
    assert captioner.text_vectors(grid, []).shape[0] == 0
    vectors = captioner.text_vectors(grid, [Box(0, 0, 90, 90), WholeImage()])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    with pytest.raises(RegionError):
        captioner.text_vectors(grid, [Box(5000, 5000, 6000, 6000)])


def test_a_model_without_a_space_of_its_own_has_its_pooled_vectors(captioner, grid_of):
    from napari_patchioner.bridges import NormalizeBridge

    plain = Captioner(captioner.backbone, NormalizeBridge(), QuoteDecoder(), name="plain")
    grid = grid_of("cat")
    regions = [Box(0, 0, 90, 90)]
    assert (plain.text_vectors(grid, regions) == plain.embed(grid, regions)).all()
