"""Talk2DINO's projection of text into the space of patches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_patchioner.backbones.talk2dino import Projection
from napari_patchioner.bridges import unit_rows
from napari_patchioner.checkpoints import file_sha256

if TYPE_CHECKING:
    from .conftest import Case


def published(case: Case) -> dict[str, Projection]:
    """The projections of a case by its own names for them, found by hash.

    The published files carry no licence, so no copy of them can lie beside the tests: they are
    looked for in ``data/talk2dino`` near the set or near this repository, or in the folder
    TALK2DINO_WEIGHTS names.
    """
    there = {file_sha256(path): path for place in _places(case) for path in place.glob("*.pth")}
    wanted: dict[str, dict[str, str]] = case.params["weights"]
    missing = [part["file"] for part in wanted.values() if part["sha256"] not in there]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found; name their folder in TALK2DINO_WEIGHTS")
    return {name: Projection.open(there[part["sha256"]]) for name, part in wanted.items()}


def _places(case: Case) -> list[Path]:
    if named := os.environ.get("TALK2DINO_WEIGHTS"):
        return [Path(named)]
    near = [*case.root.resolve().parents[:2], *Path(__file__).resolve().parents[2:4]]
    return [folder / within / "talk2dino" for folder in near for within in ("data", "shared/data")]


@pytest.mark.cases("04_talk2dino/*")
def test_published_projections(case: Case) -> None:
    texts, patches = case.inputs["clip_text_features"], case.inputs["patch_tokens"]
    for name, projection in published(case).items():
        mapped = projection(texts)
        unit = unit_rows(mapped)
        case.check(f"{name}_projected", mapped)
        case.check(f"{name}_text_text_cosine", unit @ unit.T)
        case.check(f"{name}_text_patch_cosine", unit @ unit_rows(patches).T)


@pytest.mark.cases("04_talk2dino/*")
def test_two_published_projections_are_two(case: Case) -> None:
    projections = list(published(case).values())
    assert len({projection.hash for projection in projections}) == len(projections)
    assert not any(projection.label.startswith("an unknown") for projection in projections)
    texts = case.inputs["clip_text_features"]
    first, second = (unit_rows(projection(texts)) for projection in projections[:2])
    cosine = np.mean(np.sum(first * second, axis=1))
    assert cosine == pytest.approx(case.params["mean_cosine_between_the_two_files"], abs=1e-4)


def test_the_formula_without_the_published_files(tmp_path: Path) -> None:
    """The same formula in numpy, on a file of the published layout with random weights."""
    from published import talk2dino

    psi = talk2dino.write_projection(tmp_path / "psi.pth", seed=4)
    first, bias, second, shift = (
        part.double().numpy() for part in talk2dino.projection_state(seed=4).values()
    )
    texts = np.random.default_rng(4).normal(size=(6, first.shape[1]))
    texts[1] = 0.1 * texts[0]
    texts[2] = 0
    expected = np.tanh(texts @ first.T + bias) @ second.T + shift
    np.testing.assert_allclose(Projection.open(psi)(texts), expected, atol=1e-5, rtol=1e-4)
