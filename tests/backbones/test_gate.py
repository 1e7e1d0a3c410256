from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data
import torch
from safetensors.numpy import load_file, save_file

from napari_patchioner.backbones import mini as gate
from napari_patchioner.bridges.appearance import AXES
from napari_patchioner.errors import ModelError
from napari_patchioner.images import as_rgb
from recipes.mini._painted import FAMILIES
from recipes.mini.features import load_network
from recipes.mini.gate import MANNERS, disguise, fit, read

if TYPE_CHECKING:
    from napari_patchioner.backbones.mini import EfficientNetLite

EMBEDDED = Path(str(files("napari_patchioner"))) / "models" / "embedded"
GATE = EMBEDDED / "gate.safetensors"
PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "rocket")
MICROGRAPHS = ("cell", "hubble_deep_field", "immunohistochemistry", "microaneurysms", "retina")


@cache
def network() -> EfficientNetLite:
    torch.set_num_threads(1)
    return load_network(EMBEDDED / "backbone.safetensors")


@cache
def mini() -> gate.MiniBackbone:
    return gate.MiniBackbone(EMBEDDED / "backbone.safetensors", GATE)


def passes(picture: np.ndarray) -> bool:
    return gate.score(read(network(), picture), load_file(GATE)) > 0


def shipped(name: str) -> np.ndarray:
    return as_rgb(getattr(skimage.data, name)())


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_pass(name: str) -> None:
    assert passes(shipped(name))


@pytest.mark.parametrize("manner", MANNERS)
def test_photographs_pass_however_they_come(manner: str) -> None:
    assert passes(disguise(shipped("coffee"), manner, np.random.default_rng(0)))


@pytest.mark.parametrize("name", [*MICROGRAPHS, "moon", "page", "text", "logo"])
def test_other_pictures_never_pass(name: str) -> None:
    assert not passes(shipped(name))


@pytest.mark.parametrize(
    ("name", "corner"),
    [
        ("immunohistochemistry", (0, 0)),
        ("immunohistochemistry", (250, 250)),
        ("retina", (100, 200)),
    ],
)
def test_parts_of_micrographs_never_pass(name: str, corner: tuple[int, int]) -> None:
    row, column = corner
    assert not passes(np.ascontiguousarray(shipped(name)[row:, column:][:260, :260]))


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_fresh_painted_pictures_never_pass(family: str) -> None:
    assert not passes(FAMILIES[family](np.random.default_rng(777)))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_blank_images_never_pass(value: int) -> None:
    assert not passes(np.full((300, 400, 3), value, np.uint8))


@pytest.mark.parametrize("value", [0, 128])
def test_blank_strips_are_no_photographs(value: int) -> None:
    grid = mini().encode(np.full((40, 400, 3), value, np.uint8))
    assert grid.measures["photograph"] < 0.5


def test_noise_never_passes() -> None:
    random = np.random.default_rng(0)
    assert not passes(random.integers(0, 256, (400, 400, 3), dtype=np.uint8))


def test_the_door_gives_a_probability() -> None:
    axes = np.zeros((30, 40, len(AXES)), np.float32)
    parameters = gate.load_gate(GATE)
    assert 0.0 <= gate.photograph_probability(np.zeros(1280, np.float32), axes, parameters) <= 1.0
    assert gate.photograph_probability(np.full(1280, 6.0, np.float32), axes, parameters) < 0.1


def test_the_file_is_small() -> None:
    assert GATE.stat().st_size < 100_000


def test_strangers_fail_even_where_the_classifier_was_never_told() -> None:
    random = np.random.default_rng(1)
    photographs = random.normal(0, 1, (200, 30)).astype(np.float32)
    others = random.normal(0, 1, (200, 30)).astype(np.float32)
    others[:, 0] += 8
    parameters = fit(photographs, others)
    assert np.mean([gate.score(row, parameters) > 0 for row in photographs]) > 0.9
    stranger = np.full(30, 5.5, np.float32)
    stranger[0] = 0
    assert gate.score(stranger, parameters) < 0


@pytest.mark.parametrize("damage", ["missing", "cut", "short", "not finite", "other"])
def test_a_damaged_file_is_told_in_one_sentence(tmp_path: Path, damage: str) -> None:
    path, parameters = tmp_path / "gate.safetensors", load_file(GATE)
    if damage == "cut":
        path.write_bytes(GATE.read_bytes()[:5000])
    elif damage == "short":
        save_file({**parameters, "centre": parameters["centre"][:-1].copy()}, path)
    elif damage == "not finite":
        save_file({**parameters, "bias": np.full(1, np.nan, np.float32)}, path)
    elif damage == "other":
        save_file({"weights": np.zeros((2, 2), np.float32)}, path)
    with pytest.raises(ModelError, match="reinstall") as caught:
        gate.load_gate(path)
    assert "\n" not in str(caught.value)
