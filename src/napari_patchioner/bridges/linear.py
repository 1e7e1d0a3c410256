"""A linear map between the text spaces of two encoders (SITTA, Paischer et al. 2023)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.checkpoints import tensors_sha256
from napari_patchioner.devices import Placement
from napari_patchioner.errors import ModelError

from .base import Bridge, BridgeOutput, Query, checked_unit_rows, unit_rows
from .memory import MemoryBank

if TYPE_CHECKING:
    from torch import Tensor

Method: TypeAlias = Literal["least-squares", "orthogonal"]

METHODS: tuple[Method, ...] = ("least-squares", "orthogonal")
FORMAT = "napari-patchioner linear map 1"
# Below this share of the largest eigenvalue a direction is in none of the sentences.
_RANK = 1e-10


class LinearMap:
    r"""Maps vectors of one text space to another, :math:`y = x W + b`.

    Vectors are scaled to length one before; the result is not. Fitted on sentences that both
    towers embedded, see `NormalEquations`.

    ``matrix`` has the shape (source_dim, target_dim), ``offset`` (target_dim,). ``source`` and
    ``target`` are the provenance of the two towers: what regions must have been encoded with, and
    what the decoder must have been trained on.
    """

    def __init__(
        self,
        matrix: npt.ArrayLike,
        offset: npt.ArrayLike | None = None,
        *,
        source: Mapping[str, str] | None = None,
        target: Mapping[str, str] | None = None,
    ) -> None:
        self.matrix = np.asarray(matrix, np.float32)
        self.offset = np.zeros(self.matrix.shape[-1], np.float32)
        if offset is not None:
            self.offset = np.asarray(offset, np.float32)
        fits = self.matrix.ndim == 2 and self.offset.shape == self.matrix.shape[1:]
        if not fits or not self.matrix.size:
            raise ModelError(
                f"A linear map needs a matrix and an offset for its columns, not shapes "
                f"{self.matrix.shape} and {self.offset.shape}; fit it again."
            )
        if not (np.isfinite(self.matrix).all() and np.isfinite(self.offset).all()):
            raise ModelError("The linear map holds numbers that are not finite; fit it again.")
        self.source, self.target = dict(source or {}), dict(target or {})

    @property
    def source_dim(self) -> int:
        """Numbers in a vector that it reads."""
        return len(self.matrix)

    @property
    def target_dim(self) -> int:
        """Numbers in a vector that it gives."""
        return len(self.offset)

    @property
    def hash(self) -> str:
        """SHA-256 of matrix and offset."""
        return tensors_sha256(self._tensors())

    def __call__(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Map vectors of any length, shape (n, source_dim), to (n, target_dim)."""
        rows = checked_unit_rows(np.asarray(vectors, np.float32), self.source_dim, "The map reads")
        return np.asarray(rows @ self.matrix + self.offset, np.float32)

    def save(self, path: str | Path) -> Path:
        """Write it to one safetensors file."""
        from napari_patchioner.checkpoints import write_state

        stamps = {name: json.dumps(getattr(self, name)) for name in ("source", "target")}
        return write_state(path, self._tensors(), format=FORMAT, **stamps)

    @classmethod
    def open(cls, path: str | Path) -> LinearMap:
        """Open what :meth:`save` wrote; a ModelError where it is something else, or damaged."""
        from napari_patchioner.checkpoints import read_notes, read_state

        path = Path(path)
        state, notes = read_state(path), read_notes(path) if path.is_file() else {}
        if notes.get("format") != FORMAT or set(state) != {"matrix", "offset"}:
            raise ModelError(
                f"{path} is no linear map; make it with napari-patchioner train bridge."
            )
        try:
            stamps = {name: _stamp(notes[name]) for name in ("source", "target")}
        except (KeyError, ValueError, RecursionError) as error:
            raise ModelError(f"{path} is damaged; make the map again.") from error
        return cls(state["matrix"].numpy(), state["offset"].numpy(), **stamps)

    def _tensors(self) -> dict[str, Tensor]:
        from torch import from_numpy

        return {"matrix": from_numpy(self.matrix), "offset": from_numpy(self.offset)}


def _stamp(text: str) -> dict[str, str]:
    """Read a provenance."""
    stamp: Any = json.loads(text)
    if not isinstance(stamp, dict) or not all(isinstance(item, str) for item in stamp.values()):
        raise ValueError("no provenance")
    return stamp


class NormalEquations:
    r"""Sums over pairs of vectors from which the best linear map follows, however many there are.

    For pairs :math:`(x_i, y_i)` it keeps :math:`\sum x_i`, :math:`\sum y_i`,
    :math:`\sum x_i^T x_i` and :math:`\sum x_i^T y_i` in double precision, so that memory depends on
    the lengths of the vectors alone. With means :math:`\bar x, \bar y` (zero without an intercept),
    :math:`C = \frac1n \sum x_i^T x_i - \bar x^T \bar x` and
    :math:`D = \frac1n \sum x_i^T y_i - \bar x^T \bar y`:

    - ``"least-squares"``, :math:`W = (C + \lambda I)^{-1} D`, minimises
      :math:`\frac1n \sum |x_i W + b - y_i|^2 + \lambda |W|^2`;
    - ``"orthogonal"``, :math:`W = U V^T` of :math:`D = U S V^T` (Schönemann 1966), is the rotation
      that does so without :math:`\lambda`. From a longer to a shorter vector no map keeps all
      lengths; it is then the projection that agrees best.

    :math:`b = \bar y - \bar x W`.
    """

    def __init__(self, source_dim: int, target_dim: int) -> None:
        self.count = 0
        self.sums = {
            "x": np.zeros(source_dim),
            "y": np.zeros(target_dim),
            "xx": np.zeros((source_dim, source_dim)),
            "xy": np.zeros((source_dim, target_dim)),
        }

    def add(self, source: npt.ArrayLike, target: npt.ArrayLike) -> None:
        """Add pairs as they are, shapes (n, source_dim) and (n, target_dim)."""
        x, y = np.asarray(source, np.float64), np.asarray(target, np.float64)
        shapes = tuple(self.sums["xy"].shape)
        if len(x) != len(y) or (x.shape[1:], y.shape[1:]) != (shapes[:1], shapes[1:]):
            raise ModelError(
                f"Pairs of shapes {x.shape} and {y.shape} do not fit a map of {shapes}; embed the "
                "same sentences with the same two towers."
            )
        self.count += len(x)
        for name, term in (("x", x.sum(0)), ("y", y.sum(0)), ("xx", x.T @ x), ("xy", x.T @ y)):
            self.sums[name] += term

    def solve(
        self, method: Method = "least-squares", *, intercept: bool = True, ridge: float = 0.0
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the matrix, (source_dim, target_dim), and the offset, (target_dim,).

        Directions that no sentence has stay zero where there is no ``ridge``.
        """
        if method not in METHODS:
            raise ModelError(f"The method is {' or '.join(METHODS)}, not {method!r}.")
        if not self.count:
            raise ModelError("There are no sentences to fit a map to; give some.")
        if not (np.isfinite(ridge) and ridge >= 0):
            raise ModelError(f"The ridge must be 0 or more, not {ridge}.")
        means = [self.sums[name] / self.count * intercept for name in "xy"]
        covariance = self.sums["xx"] / self.count - np.outer(means[0], means[0])
        shared = self.sums["xy"] / self.count - np.outer(*means)
        if method == "orthogonal":
            left, _, right = np.linalg.svd(shared, full_matrices=False)
            matrix = left @ right
        else:
            values, axes = np.linalg.eigh((covariance + covariance.T) / 2)
            used = values > _RANK * max(values[-1], np.finfo(float).tiny)
            weights = 1 / (values[used] + ridge)
            matrix = axes[:, used] @ (weights[:, None] * (axes[:, used].T @ shared))
        return matrix, means[1] - means[0] @ matrix


class LinearBridge(Bridge):
    """Takes regions of one encoder to the decoder of another.

    The map was fitted on text, so regions should be brought to text first: with a ``bank`` of
    sentences that the encoder itself embedded, a region is replaced by their average as
    `MemoryBank.recall` takes it with ``temperature`` and ``top_k``, before it is mapped, and so
    many ``neighbours`` are named. The result has length one.
    """

    def __init__(
        self,
        map: LinearMap,  # noqa: A002 - the role of its file
        bank: MemoryBank | None = None,
        *,
        temperature: float = 0.01,
        top_k: int | None = None,
        neighbours: int = 5,
    ) -> None:
        if not temperature > 0:
            raise ModelError(f"The memory's temperature must be above 0, not {temperature}.")
        if top_k is not None and top_k < 1:
            raise ModelError(f"The memory's top_k must be 1 or more, not {top_k}.")
        if bank is not None and bank.dim != map.source_dim:
            raise ModelError(
                f"The map reads vectors of length {map.source_dim} but the sentences have "
                f"{bank.dim}; embed them with the encoder it was fitted for."
            )
        self.map, self.temperature, self.top_k, self.neighbours = (
            map,
            temperature,
            top_k,
            neighbours,
        )
        if bank is not None:
            self.bank = bank

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> tuple[Any, ...]:
        """Open ``map`` and, where it is given, ``bank``, the folder of a `MemoryBank`."""
        bank = MemoryBank.open(files["bank"]) if "bank" in files else None
        return LinearMap.open(files["map"]), bank

    def place(self, placement: Placement) -> None:
        """Have the bank compared there."""
        if bank := getattr(self, "bank", None):
            bank.place(placement)

    def answer(self, query: Query) -> BridgeOutput:
        """Map all regions at once."""
        bank: MemoryBank | None = getattr(self, "bank", None)
        if bank is None:
            return BridgeOutput(unit_rows(self.map(query.vectors)))
        asked = query.options.temperature
        recalled, neighbours = bank.recall(
            query.vectors,
            self.temperature if asked is None else asked,
            top_k=self.top_k,
            neighbours=self.neighbours,
            progress=query.progress,
        )
        mapped = unit_rows(self.map(recalled))
        return BridgeOutput(mapped, neighbours=neighbours if self.neighbours else None)
