from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_patchioner.decoders.grounded.vocabulary import load_concepts, load_embeddings
from napari_patchioner.models.embedded import FOLDER
from recipes.mini.things import Gatherer, Windows, fit, gather
from recipes.mini.unlike import Shown, imagenet_pictures

if TYPE_CHECKING:
    from pathlib import Path

CONCEPTS = load_concepts(FOLDER / "concepts.json")
INDEX = {concept.name: number for number, concept in enumerate(CONCEPTS)}


@pytest.mark.parametrize(
    ("label", "other", "there"),
    [
        ("crab", "crab", 1.0),
        ("crab", "zebra", 0.0),
        ("crab", "bus", 0.0),
        ("crab", "person", 0.1),
        ("crab", "sand", None),
        ("stork", "bird", None),
        ("taxi", "car", None),
        ("cassette", "book", None),
        ("cassette", "person", None),
        ("cassette", "sheep", 0.0),
    ],
)
def test_what_a_picture_of_a_thing_does_not_show(
    label: str, other: str, there: float | None
) -> None:
    shown = Shown(CONCEPTS, load_embeddings(FOLDER / "text.safetensors"))
    said = shown(INDEX[label], INDEX[other])
    assert np.isnan(said) if there is None else said == there


def test_pictures_have_the_number_of_their_class(tmp_path: Path) -> None:
    assert imagenet_pictures(tmp_path) == []
    (tmp_path / "imagenet_samples").mkdir()
    for number in range(7):
        (tmp_path / "imagenet_samples" / f"n0000000{number}_thing.jpg").touch()
    assert [number for _, number in imagenet_pictures(tmp_path)] == [0, 2, 5]


def test_what_imagenet_denies_is_fitted_to_be_absent() -> None:
    gatherer = Gatherer(CONCEPTS)
    zebra, count = INDEX["zebra"], len(CONCEPTS)
    windows = np.zeros((84, count), np.float32)
    windows[:, zebra] = 0.9
    parts = []
    for there, known in ((1.0, 2.0), (0.0, -3.0)):
        seen = Windows(windows, np.full(count, known, np.float32))
        parts += [gatherer.judged(seen, lambda one, there=there: there, (1.0, 1.0))] * 20
    # Of pictures with captions, how many there are is known, too.
    several = replace(gather(parts), several=np.zeros(len(parts)), counts=np.ones((len(parts), 3)))
    arrays = fit(several, gatherer, np.zeros(count))
    odds = [
        part.features[0] @ np.append(arrays["weights"][:, 1], arrays["known_weights"][1])
        + arrays["offsets"][zebra, 1]
        for part in (parts[0], parts[-1])
    ]
    assert odds[0] > 1
    assert odds[1] < -1
    assert "known_weights" not in fit(several, gatherer, np.zeros(count), knows=False)
