"""The photograph gate: fit on real photographs and on painted pictures of other kinds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import skimage.data
from PIL import Image
from safetensors.numpy import save_file

from napari_patchioner.backbones.appearance import appearance_axes
from napari_patchioner.backbones.mini import dense, distance, score, summary
from napari_patchioner.images import as_rgb, read_picture

from ._painted import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_patchioner.backbones.mini import EfficientNetLite

    Vectors = npt.NDArray[np.float32]
    Picture = npt.NDArray[np.uint8]

LONG_SIDE = 640
GRID_SIDE = 40
PER_FAMILY = 12
COMMERCIAL_LICENCES = frozenset((4, 5, 6, 7, 8))
_PENALTY = 3.0
_RANK = 24
_FOLDS = 5
_FALSE_ALARMS = 0.01
# Naming what is no photograph is worse than describing one: lean that way (chosen on
# photographs that were not fitted on, and on drawings).
_CAUTION = 1.4
_SLOPE = 4.0


def read(network: EfficientNetLite, picture: Picture) -> Vectors:
    """Look at one picture as the embedded model does; returns the gate's summary of it."""
    height, width = picture.shape[:2]
    scale = GRID_SIDE / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    deep, _ = dense(network, picture, LONG_SIDE)
    return summary(deep.mean((0, 1)), appearance_axes(picture, shape))


def painted(per_family: int = PER_FAMILY) -> Iterator[tuple[str, Picture]]:
    """Painted pictures, ``(family, picture)``, the same ones every time."""
    for number, (family, painter) in enumerate(FAMILIES.items()):
        for index in range(per_family):
            yield family, painter(np.random.default_rng((2026, number, index)))


SHIPPED = ("immunohistochemistry", "retina", "cell")
"""Micrographs that scikit-image ships (each image's licence is in its docstring)."""

_VIEWS = 5


def shipped() -> Iterator[tuple[str, Picture]]:
    """Yield views of the shipped micrographs: whole, and random square parts, turned."""
    for number, name in enumerate(SHIPPED):
        whole = as_rgb(getattr(skimage.data, name)())
        yield name, whole
        for index in range(_VIEWS - 1):
            random = np.random.default_rng((11, number, index))
            side = int(min(whole.shape[:2]) * random.uniform(0.25, 0.8))
            top, left = (random.integers(0, length - side) for length in whole.shape[:2])
            part = whole[top : top + side, left : left + side]
            yield name, np.ascontiguousarray(np.rot90(part, int(random.integers(4))))


def disguised(paths: Sequence[Path]) -> Iterator[tuple[str, Picture]]:
    """Photographs as they are and, every one in its turn, as they often come."""
    for index, path in enumerate(sorted(paths, key=lambda path: path.name)):
        picture = np.asarray(read_picture(path).convert("RGB"))
        yield "plain", picture
        manner = MANNERS[index % len(MANNERS)]
        yield manner, disguise(picture, manner, np.random.default_rng((7, index)))


MANNERS = ("gray", "night", "blurred", "close", "faded")
"""Gray, under-exposed, out of focus, a close crop, low contrast."""


def disguise(picture: Picture, manner: str, random: np.random.Generator) -> Picture:
    """Photographs people bring: see ``MANNERS``."""
    image = Image.fromarray(picture)
    if manner == "gray":
        return np.asarray(image.convert("L").convert("RGB"))
    if manner == "night":
        dark = random.uniform(0.15, 0.5) * picture + random.normal(0, 4, picture.shape)
        return np.clip(dark, 0, 255).astype(np.uint8)
    if manner == "blurred":
        small = [max(8, int(side / random.uniform(3, 7))) for side in image.size]
        return np.asarray(image.resize((small[0], small[1])).resize(image.size))
    if manner == "close":
        width, height = image.size
        wide, high = int(width * 0.45), int(height * 0.45)
        left, top = int(random.integers(width - wide)), int(random.integers(height - high))
        return np.asarray(image.crop((left, top, left + wide, top + high)))
    return (
        np.asarray(random.uniform(60, 150) + random.uniform(0.3, 0.6) * (picture - 127.0))
        .clip(0, 255)
        .astype(np.uint8)
    )


def licensed(coco: Path) -> list[Path]:
    """List the development photographs whose owners allow commercial use, by name.

    Parameters
    ----------
    coco : Path
        Folder of COCO subsets, each with ``images/`` and annotation files.
    """
    allowed: set[str] = set()
    for path in sorted(coco.glob("*/*.json")):
        images = json.loads(path.read_text(encoding="utf-8"))["images"]
        allowed |= {
            f"{image['id']:012d}.jpg"
            for image in images
            if image.get("license") in COMMERCIAL_LICENCES
        }
    found = {path.name: path for path in sorted(coco.glob("*/images/*.jpg"))}
    return [found[name] for name in sorted(allowed & found.keys())]


def build(network: EfficientNetLite, coco: Path, target: Path) -> None:
    """Rebuild the gate's file from named sources; the same bytes every time on one machine.

    Parameters
    ----------
    network : EfficientNetLite
        The shipped backbone.
    coco : Path
        Folder of COCO subsets (see `licensed`).
    target : Path
        The file to write.
    """
    photographs = [read(network, picture) for _, picture in disguised(licensed(coco))]
    others = [read(network, picture) for _, picture in (*painted(), *shipped())]
    write(fit(np.stack(photographs), np.stack(others)), target)


def fit(photographs: Vectors, others: Vectors) -> dict[str, npt.NDArray[np.float32]]:
    """Fit the gate.

    Parameters
    ----------
    photographs, others : ndarray, shape (n, d) and (m, d)
        Summaries (see `summary`) of photographs and of other pictures.

    Returns
    -------
    dict of str to ndarray
        What `judge` reads.
    """
    parameters = _fit_judges(photographs, others)
    # Contiguous folds keep a photograph and its disguise together.
    fold = np.arange(len(photographs)) * _FOLDS // len(photographs)
    unseen: list[float] = []
    for number in range(_FOLDS):
        judges = _fit_judges(photographs[fold != number], others)
        judges["distance"] = parameters["distance"]
        unseen += [score(row, judges) for row in photographs[fold == number]]
    # The border starts where one photograph in a hundred that the judges never saw would fail.
    border = np.quantile(unseen, _FALSE_ALARMS) + _CAUTION
    parameters["bias"] = parameters["bias"] - np.float32(border)
    return parameters


def _fit_judges(photographs: Vectors, others: Vectors) -> dict[str, npt.NDArray[np.float32]]:
    """Fit the linear classifier and the distance, before the border is drawn."""
    centre, spread = photographs.mean(0), photographs.std(0)
    spread = spread + 1e-3 + 0.05 * np.abs(centre)
    z, w = (np.clip((part - centre) / spread, -6, 6) for part in (photographs, others))
    weight, bias = _logistic(np.concatenate([z, w]), np.repeat([1.0, 0.0], [len(z), len(w)]))
    _, singular, axes = np.linalg.svd(z - z.mean(0), full_matrices=False)
    basis = axes[:_RANK].T.astype(np.float16)
    rest = np.sqrt((np.sum(z**2) - np.sum((z @ basis) ** 2)) / len(z) / (z.shape[1] - _RANK))
    parameters = {
        "centre": centre,
        "spread": spread,
        "weight": weight.astype(np.float32),
        "bias": np.array([bias], np.float32),
        "basis": np.ascontiguousarray(basis),
        "scale": np.append(singular[:_RANK] / np.sqrt(len(z)), rest).astype(np.float32),
    }
    usual = 1.25 * np.median([distance(row, parameters) for row in z])
    return parameters | {"distance": np.array([usual, _SLOPE], np.float32)}


def _logistic(
    rows: npt.NDArray[np.float32], labels: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], float]:
    """L2-regularised logistic regression with classes of equal weight."""
    from scipy.optimize import minimize

    sign = 2 * labels - 1
    share = np.where(labels > 0, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())
    penalty = _PENALTY / len(rows)

    def loss(theta: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        margin = sign * (rows @ theta[:-1] + theta[-1])
        slope = -share * sign / (1 + np.exp(np.clip(margin, -50, 50)))
        value = share @ np.logaddexp(0, -margin) + penalty * theta[:-1] @ theta[:-1]
        gradient = np.append(rows.T @ slope + 2 * penalty * theta[:-1], slope.sum())
        return float(value), gradient

    start = np.zeros(rows.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return found[:-1], float(found[-1])


def write(parameters: dict[str, npt.NDArray[np.float32]], path: Path) -> None:
    """Write the gate's file."""
    save_file(
        dict(parameters), path, metadata={"part": "photograph gate", "licence": "BSD-3-Clause"}
    )
    path.chmod(0o644)
