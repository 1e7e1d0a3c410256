from __future__ import annotations

import numpy as np

from napari_patchioner.decoders.grounded.vocabulary import load_concepts
from napari_patchioner.models.embedded import FOLDER
from recipes.mini.crossval import fold_of
from recipes.mini.heads import Material, calibrate
from recipes.mini.pooled import Pooled

COUNT, FOLD = 600, 2


def make_material(is_right: np.ndarray) -> tuple[Material, np.ndarray]:
    """Regions that are dogs where the head that says "dog" of all is right, else cats."""
    images = np.array([f"{number // 3}.jpg" for number in range(len(is_right))])
    concepts = load_concepts(FOLDER / "concepts.json")
    names = [concept.name for concept in concepts]
    regions = Pooled(
        features=np.zeros((len(images), 1), np.float32),
        images=images,
        categories=np.where(is_right, "dog", "cat"),
        kinds=np.full(len(images), "box"),
        areas=np.full(len(images), 0.1, np.float32),
        copies=np.zeros(len(images), int),
        clean=np.ones(len(images), bool),
    )
    nothing = np.zeros(0)
    material = Material(regions, regions, {}, concepts, (), nothing.astype(int), nothing)
    chances = np.full((len(images), len(names)), 1e-4, np.float32)
    chances[:, names.index("dog")] = np.linspace(0.2, 0.95, len(images))
    return material, chances


def test_the_score_is_how_often_such_a_name_is_right() -> None:
    generator = np.random.default_rng(0)
    material, chances = make_material(generator.random(COUNT) < 0.3)

    offsets, steps, values = calibrate(material, chances)

    odds = np.log(chances.max(1)) - np.log1p(-chances.max(1)) + offsets[chances.argmax(1)]
    assert abs(np.interp(odds, steps, values).mean() - 0.3) < 0.05
    assert (np.diff(steps) > 0).all()
    assert (np.diff(values) >= 0).all()


def test_a_score_is_not_fitted_to_the_fold_that_is_held_out() -> None:
    right = np.random.default_rng(1).random(COUNT) < 0.7
    folds = np.array([fold_of(f"{number // 3}.jpg") for number in range(COUNT)])
    told, changed, other = (
        right,
        np.where(folds == FOLD, ~right, right),
        np.where(folds == FOLD + 1, ~right, right),
    )

    one, same, different = (
        calibrate(*make_material(answers), held_out=FOLD) for answers in (told, changed, other)
    )

    for part, again in zip(one, same, strict=True):
        np.testing.assert_array_equal(part, again)
    assert any(
        part.shape != again.shape or not np.allclose(part, again)
        for part, again in zip(one, different, strict=True)
    )
