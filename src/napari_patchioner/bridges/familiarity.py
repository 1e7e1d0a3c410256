"""How unlike what a model knows an image and its regions are: a calibrated whitened likelihood."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.checkpoints import arrays_as_bytes, read_arrays
from napari_patchioner.devices import DTYPES, IN_8_BITS
from napari_patchioner.errors import FormatError, ModelError, counted, os_errors
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.regions import Box, PatchWeights, cover_all

from .base import unit_rows

FloatArray: TypeAlias = npt.NDArray[np.float32]
Scores: TypeAlias = npt.NDArray[np.float64]

LEAST_IMAGES = 20
"""So many images say what a model knows, at least."""

RANK = 24
_FOLDS = 5
_BOXES = 12
# Sides of the boxes that stand for regions: their share of the image, and the log of their aspect.
_AREAS, _ASPECT = (0.005, 0.6), 1.0
# Shares that are kept of the sorted distances; the rest is interpolated.
_KEPT = 96
_LEAST_SHARE, _LEAST_SPREAD, _LEAST_VARIANCE = 1e-4, 1e-3, 1e-12
# Mean absolute value of a normal variable of deviation one, inverted.
_ABSOLUTE = 1.2533
_INT8 = 127
_SHAPES = {"expected": 3, "spread": 2, "whole": 2}
_FACTS = ("backbone", "images", "regions")


class ImageSample(NamedTuple):
    """What is learned of one known image.

    ``regions``, shape (n, dim), are mean patch embeddings of regions that take the ``shares``,
    (n,), of the grid; ``image``, (dim,), is the mean of all patches.
    """

    regions: FloatArray
    shares: Scores
    image: FloatArray


def sample_image(grid: FeatureGrid, seed: int, *, learned: int | None = None) -> ImageSample:
    """Sample boxes of a known image, of all sizes and at any place; the same for the same seed.

    ``learned`` is how many numbers of an embedding count, the first ones; all by default.
    """
    height, width = grid.transform.image_shape
    boxes = [
        Box(top * height - 0.5, left * width - 0.5, bottom * height - 0.5, right * width - 0.5)
        for top, left, bottom, right in _boxes(np.random.default_rng(seed))
    ]
    embeddings = _learned(grid, learned)
    # What the model was not shown, as where it cuts out the middle, is no region of it.
    inside = [box for box in boxes if _reaches(box, grid)]
    weights = cover_all(inside, grid.transform, weighting="area")
    return ImageSample(
        _means(embeddings, weights),
        np.array([_share(covered) for covered in weights]),
        embeddings.mean(axis=0),
    )


def _boxes(random: np.random.Generator) -> Iterator[tuple[float, float, float, float]]:
    """Yield corners of boxes in shares of the image."""
    made = 0
    while made < _BOXES:
        area = np.exp(random.uniform(*np.log(_AREAS)))
        aspect = np.exp(random.uniform(-_ASPECT, _ASPECT))
        high, wide = float(np.sqrt(area * aspect)), float(np.sqrt(area / aspect))
        if max(high, wide) >= 1:
            continue
        top, left = random.uniform(0, 1 - high), random.uniform(0, 1 - wide)
        yield float(top), float(left), float(top) + high, float(left) + wide
        made += 1


def _reaches(box: Box, grid: FeatureGrid) -> bool:
    top, left, height, width = grid.transform.extent
    return bool(
        box.bottom > top
        and box.top < top + height - 1
        and box.right > left
        and box.left < left + width - 1
    )


class Familiarity:
    """Says which share of what a model knows is as unlike the rest of it as a region is.

    Patch embeddings are averaged over a region and scaled to length one. How unlikely that is by a
    normal distribution of known regions, whitened in its main directions and with one deviation in
    all others (probabilistic PCA; Tipping and Bishop 1999), is set against what regions of that
    size come to, and added to the same of the whole image. The sum is ranked among those of known
    regions that were not fitted to.

    Parameters
    ----------
    backbone : str
        Name of the backbone whose grids it reads.
    images, regions : int
        How many it was fitted to: no share is less than one of them.
    arrays : mapping of str to ndarray
        As :meth:`write` keeps them; a ModelError where they do not belong together.
    """

    def __init__(
        self, backbone: str, images: int, regions: int, arrays: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        self.backbone, self.known_images, self.known_regions = backbone, images, regions
        self.arrays = arrays
        if not _fits(arrays):
            raise ModelError("What a model knows is damaged; make it again.")
        self._whitening = _Whitening(
            *(arrays[name].astype(np.float32) for name in ("centre", "basis", "step", "scale"))
        )
        self._expected, self._spread, self._whole = (
            arrays[name].astype(np.float64) for name in _SHAPES
        )
        self._last: tuple[weakref.ref[FloatArray], float] | None = None

    @property
    def learned(self) -> int:
        """How many numbers of an embedding count, the first ones."""
        return len(self.arrays["centre"])

    @classmethod
    def fit(cls, samples: Sequence[ImageSample], backbone: str) -> Familiarity:
        """Learn what is known.

        Parameters
        ----------
        samples : sequence of ImageSample
            Of `LEAST_IMAGES` images or more; a ModelError otherwise.
        backbone : str
            Name of the backbone that made them.
        """
        if len(samples) < LEAST_IMAGES:
            raise ModelError(
                f"{counted(samples, 'image')} are too few to say what a model knows; give "
                f"{LEAST_IMAGES} or more."
            )
        fold = np.arange(len(samples)) % _FOLDS
        measured: list[Scores] = [np.zeros(0)] * len(samples)
        whole = np.zeros(len(samples))
        for number in range(_FOLDS):
            # Those that were fitted to would all seem well known.
            others = [s for s, own in zip(samples, fold, strict=True) if own != number]
            whitening = _Whitening.fit(others)
            for row in np.flatnonzero(fold == number).tolist():
                measured[row] = whitening.distances(samples[row].regions)
                whole[row] = whitening.distances(samples[row].image[None])[0]
        shares = np.concatenate([sample.shares for sample in samples])
        distances = np.concatenate(measured)
        expected = _solved(_powers(shares), distances)
        off = distances - _powers(shares) @ expected
        spread = _solved(_powers(shares)[:, :2], _ABSOLUTE * np.abs(off))
        usual = np.array([whole.mean(), max(whole.std(), _LEAST_SPREAD)])
        image = (whole - usual[0]) / usual[1]
        sums = off / _deviation(shares, spread) + np.repeat(image, list(map(len, measured)))
        arrays = _Whitening.fit(samples).arrays() | {
            "expected": expected.astype(np.float32),
            "spread": spread.astype(np.float32),
            "whole": usual.astype(np.float32),
            "regions": _ranks(sums),
            "images": _ranks(image),
        }
        return cls(backbone, len(samples), len(distances), arrays)

    def of_regions(self, grid: FeatureGrid, weights: Sequence[PatchWeights]) -> Scores:
        """Return the share of known regions that are as unlike as each of these, shape (n,).

        A ModelError where another backbone made the grid.
        """
        image = self._image(grid)
        if not weights:
            return np.zeros(0)
        distances = self._whitening.distances(_means(_learned(grid, self.learned), weights))
        shares = np.array([_share(covered) for covered in weights])
        off = (distances - _powers(shares) @ self._expected) / _deviation(shares, self._spread)
        return _ranked(off + image, self.arrays["regions"], self.known_regions)

    def of_image(self, grid: FeatureGrid) -> float:
        """Return the share of known images that are as unlike as this one.

        A ModelError where another backbone made the grid.
        """
        image = np.array([self._image(grid)])
        return float(_ranked(image, self.arrays["images"], self.known_images)[0])

    def write(self, path: Path) -> None:
        """Write it as a safetensors file, whole or not at all."""
        facts = (self.backbone, self.known_images, self.known_regions)
        about = dict(zip(_FACTS, map(str, facts), strict=True))
        words = np.frombuffer(json.dumps(about).encode(), np.uint8)
        beside = path.with_name(f".{path.name}.part")
        with os_errors(path, "written", ModelError):
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(arrays_as_bytes({**self.arrays, "about": words}))
            beside.replace(path)

    @classmethod
    def read(cls, path: Path) -> Familiarity:
        """Read what :meth:`write` has written; a ModelError where that is damaged."""
        try:
            arrays = read_arrays(path)
            about = json.loads(arrays.pop("about").tobytes())
            backbone, images, regions = (about[name] for name in _FACTS)
            return cls(str(backbone), int(images), int(regions), arrays)
        except (FormatError, ModelError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{path} does not say what a model knows: it is missing or damaged; make it again."
            ) from error

    def is_of(self, backbone: str) -> bool:
        """Whether it reads the grids of a backbone of this name."""
        return plain_name(backbone) == plain_name(self.backbone)

    def _image(self, grid: FeatureGrid) -> float:
        """Return how unlike an image as a whole is, in deviations; that of the last one is kept."""
        # Of a grid that names no backbone the captioner has checked all that can be.
        is_other = bool(grid.backbone) and not self.is_of(grid.backbone)
        if is_other or grid.dim < self.learned:
            raise ModelError(
                f"What is known belongs to {self.backbone}, but {grid.backbone or 'another one'} "
                "encoded the image; make it again for this model."
            )
        if self._last is not None and self._last[0]() is grid.embeddings:
            return self._last[1]
        mean = _learned(grid, self.learned).mean(axis=0)
        distance = float(self._whitening.distances(mean[None])[0])
        image = float((distance - self._whole[0]) / self._whole[1])
        self._last = weakref.ref(grid.embeddings), image
        return image


def plain_name(backbone: str) -> str:
    """Return the name of a backbone without the precision it runs in, which changes little.

    >>> plain_name("dino/448/bfloat16"), plain_name("dino/448")
    ('dino/448', 'dino/448')
    """
    for ending in (IN_8_BITS, *(f"/{dtype}" for dtype in DTYPES)):
        backbone = backbone.removesuffix(ending)
    return backbone


class _Whitening(NamedTuple):
    """A normal distribution of unit vectors, shape (d,): main directions, one spread elsewhere.

    ``basis``, (d, r), is in whole numbers of ``step``, (r,); ``scale``, (r + 1,), are deviations.
    """

    centre: FloatArray
    basis: FloatArray
    step: FloatArray
    scale: FloatArray

    @classmethod
    def fit(cls, samples: Sequence[ImageSample]) -> _Whitening:
        """Fit it to the regions of images."""
        rows = unit_rows(np.concatenate([sample.regions for sample in samples]))
        centre = rows.mean(axis=0).astype(np.float16).astype(np.float32)
        rows = rows - centre
        count, dim = rows.shape
        rank = max(1, min(RANK, count // 4, dim - 1))
        # The smaller one of the two products has the same values.
        product = rows.T @ rows if dim <= count else rows @ rows.T
        _, vectors = np.linalg.eigh(product.astype(np.float64))
        main = vectors[:, ::-1][:, :rank].astype(np.float32)
        basis = main if dim <= count else unit_rows((rows.T @ main).T).T
        step = np.maximum(np.abs(basis).max(axis=0), 1e-12) / _INT8
        basis = np.round(basis / step)
        inside = rows @ (basis * step)
        rest = (np.sum(rows**2) - np.sum(inside**2)) / count / (dim - rank)
        scale = np.sqrt(np.maximum(np.append((inside**2).mean(axis=0), rest), _LEAST_VARIANCE))
        return cls(centre, basis, step, scale.astype(np.float32))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as it is kept: in half precision and bytes."""
        return {
            "centre": self.centre.astype(np.float16),
            "basis": self.basis.astype(np.int8),
            "step": self.step.astype(np.float32),
            "scale": self.scale.astype(np.float32),
        }

    def distances(self, vectors: FloatArray) -> Scores:
        """Return the log of squared Mahalanobis distances, shape (n,)."""
        off = unit_rows(vectors) - self.centre
        inside = off @ (self.basis * self.step)
        rest = np.maximum(np.sum(off**2, axis=1) - np.sum(inside**2, axis=1), 0)
        squares = np.sum((inside / self.scale[:-1]) ** 2, axis=1) + rest / self.scale[-1] ** 2
        return np.asarray(np.log(np.maximum(squares, _LEAST_VARIANCE)), float)


def _fits(arrays: Mapping[str, npt.NDArray[Any]]) -> bool:
    """Whether arrays are there, finite and of shapes that belong together."""
    names = {"centre", "basis", "step", "scale", "regions", "images", *_SHAPES}
    if set(arrays) != names or not all(np.isfinite(part).all() for part in arrays.values()):
        return False
    dim, rank = arrays["basis"].shape if arrays["basis"].ndim == 2 else (0, 0)
    shapes = {"centre": (dim,), "step": (rank,), "scale": (rank + 1,)}
    shapes |= {"regions": (_KEPT,), "images": (_KEPT,)}
    shapes |= {name: (count,) for name, count in _SHAPES.items()}
    return all(arrays[name].shape == shape for name, shape in shapes.items())


def _learned(grid: FeatureGrid, learned: int | None) -> FloatArray:
    """Return the patches of a grid, shape (patches, d)."""
    return grid.embeddings.reshape(-1, grid.dim)[:, :learned]


def _means(patches: FloatArray, weights: Sequence[PatchWeights]) -> FloatArray:
    """Return the mean embedding of each region, shape (n, d)."""
    means = [covered.weights @ patches[covered.indices] / covered.total for covered in weights]
    return np.asarray(means, np.float32).reshape(len(weights), patches.shape[1])


def _share(weights: PatchWeights) -> float:
    """Return which share of the grid a region takes."""
    return float(weights.total / np.prod(weights.grid_shape))


def _powers(shares: Scores) -> Scores:
    """Return what the usual distance of a region of some size is a sum of, shape (n, 3)."""
    logs = np.log(np.clip(shares, _LEAST_SHARE, 1))
    return np.stack([np.ones_like(logs), logs, logs**2], axis=1)


def _solved(rows: Scores, values: Scores) -> Scores:
    """Return the least-squares solution."""
    return np.asarray(np.linalg.lstsq(rows, values, rcond=None)[0], float)


def _deviation(shares: Scores, spread: Scores) -> Scores:
    """Return how far distances of regions of these sizes spread."""
    return np.asarray(np.maximum(_powers(shares)[:, :2] @ spread, _LEAST_SPREAD), float)


def _ranks(values: Scores) -> FloatArray:
    """Return values that shares of all exceed, from one of them to all of them."""
    shares = np.geomspace(1 / len(values), 1, _KEPT)
    return np.quantile(values, 1 - shares).astype(np.float32)


def _ranked(values: Scores, ranks: FloatArray, count: int) -> Scores:
    """Return the share of known values that are at least as large."""
    logs = np.linspace(np.log(1 / count), 0, _KEPT)
    order = ranks.astype(np.float64)[::-1]
    return np.asarray(np.exp(np.interp(values, order, logs[::-1])), float)
