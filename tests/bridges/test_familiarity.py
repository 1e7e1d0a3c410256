from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_patchioner.bridges.familiarity import LEAST_IMAGES, Familiarity, sample_image
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.regions import Box, cover_all

if TYPE_CHECKING:
    import numpy.typing as npt

DIM, SIDE = 40, 8
PLACES = [Box(4.5, 4.5, 40.5, 40.5), Box(20.5, 10.5, 70.5, 60.5)]


def grid(vectors: npt.NDArray[np.floating], backbone: str = "net/1") -> FeatureGrid:
    transform = GridTransform((80, 80), (SIDE, SIDE))
    patches = np.asarray(vectors, np.float32).reshape(SIDE, SIDE, -1)
    return FeatureGrid(patches, transform, "", backbone=backbone)


def known(seed: int) -> FeatureGrid:
    """A picture whose patches lie around one of three directions."""
    random = np.random.default_rng(seed)
    middles = np.eye(3, DIM)[random.integers(3, size=SIDE * SIDE)]
    return grid(middles + 0.15 * random.standard_normal((SIDE * SIDE, DIM)))


def unlike(seed: int) -> FeatureGrid:
    """A picture of other directions."""
    random = np.random.default_rng(seed)
    middles = np.eye(DIM)[10 + random.integers(5, size=SIDE * SIDE)]
    return grid(middles + 0.15 * random.standard_normal((SIDE * SIDE, DIM)))


@pytest.fixture(scope="module")
def fitted() -> Familiarity:
    return Familiarity.fit([sample_image(known(seed), seed) for seed in range(120)], "net/1")


def shares(fitted: Familiarity, picture: FeatureGrid) -> npt.NDArray[np.float64]:
    return fitted.of_regions(picture, cover_all(PLACES, picture.transform, weighting="area"))


def test_a_share_of_known_regions_is_that_share(fitted):
    seen = np.concatenate([shares(fitted, known(seed)) for seed in range(1000, 1300)])
    for level in (0.05, 0.2, 0.5):
        assert np.mean(seen <= level) == pytest.approx(level, abs=0.35 * level + 0.02)


def test_what_is_unlike_all_that_is_known_has_the_least_share(fitted):
    for seed in range(20):
        assert (shares(fitted, unlike(seed)) <= 2 / fitted.known_regions).all()
        assert fitted.of_image(unlike(seed)) == pytest.approx(1 / fitted.known_images)


def test_an_odd_region_of_a_known_image_stands_out(fitted):
    picture = known(7)
    picture.embeddings[:1, :2] = unlike(7).embeddings[:1, :2]
    corner, rest = fitted.of_regions(
        picture,
        cover_all(
            [Box(-0.5, -0.5, 9.5, 19.5), Box(39.5, 39.5, 79.5, 79.5)],
            picture.transform,
            weighting="area",
        ),
    )
    assert corner < 0.01 < rest


def test_only_what_is_learned_counts(fitted):
    picture = known(3)
    wide = np.concatenate([picture.embeddings, np.full((SIDE, SIDE, 5), 1e4)], axis=2)
    samples = []
    for seed in range(120):
        grown = np.concatenate([known(seed).embeddings, np.full((SIDE, SIDE, 5), 1e4)], axis=2)
        samples.append(sample_image(grid(grown), seed, learned=DIM))
    same = Familiarity.fit(samples, "net/1")
    assert same.learned == DIM
    assert shares(same, grid(wide)) == pytest.approx(shares(fitted, picture), rel=1e-4)


def test_it_comes_back_from_its_file(fitted, tmp_path):
    path = tmp_path / "net" / "known.safetensors"
    fitted.write(path)
    again = Familiarity.read(path)
    assert (again.backbone, again.known_images, again.known_regions) == (
        "net/1",
        120,
        fitted.known_regions,
    )
    assert shares(again, known(9)) == pytest.approx(shares(fitted, known(9)))
    assert path.stat().st_size < 20_000


@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "other"])
def test_a_damaged_file_is_refused(fitted, tmp_path, damage):
    path = tmp_path / "known.safetensors"
    fitted.write(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:900])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    else:
        arrays = {**fitted.arrays, "scale": fitted.arrays["scale"][1:]}
        with pytest.raises(ModelError, match="damaged"):
            Familiarity("net/1", 120, 1440, arrays)
        return
    with pytest.raises(ModelError, match="does not say what a model knows"):
        Familiarity.read(path)


def test_another_backbone_is_refused_but_another_precision_is_not(fitted):
    picture = known(1)
    other = grid(picture.embeddings, "net/2")
    with pytest.raises(ModelError, match="belongs to net/1, but net/2"):
        shares(fitted, other)
    half = grid(picture.embeddings, "net/1/bfloat16")
    assert shares(fitted, half) == pytest.approx(shares(fitted, picture))
    # A grid of other people's making may name none.
    nameless = grid(picture.embeddings, "")
    assert shares(fitted, nameless) == pytest.approx(shares(fitted, picture))


def test_too_few_images_say_nothing():
    samples = [sample_image(known(seed), seed) for seed in range(LEAST_IMAGES - 1)]
    with pytest.raises(ModelError, match="19 images are too few"):
        Familiarity.fit(samples, "net/1")


def test_the_shipped_file_is_small():
    from napari_patchioner.models.embedded import FOLDER

    path = Path(FOLDER) / "familiar.safetensors"
    assert path.stat().st_size < 80_000
    assert Familiarity.read(path).known_images > 200
