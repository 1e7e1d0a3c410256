"""What is seen of a layer: its shapes, and the rows of its features table."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

NO_SCORE = float("nan")
# Keys of the layers whose regions are drawn here, and come back with the image.
OWN_LAYERS = ("regions", "traces", "points")


def is_foreign(layer: str) -> bool:
    """Whether a layer, given by its key, is of other people's making.

    >>> is_foreign("regions"), is_foreign("shapes:my cells"), is_foreign("")
    (False, True, False)
    """
    return ":" in layer


def same_number(one: float, other: float) -> bool:
    """Whether two numbers are equal, or both none.

    >>> same_number(NO_SCORE, NO_SCORE), same_number(0.5, NO_SCORE)
    (True, False)
    """
    return one == other or (one != one and other != other)


def same_cells(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows of other people's columns say the same; in doubt they do not."""
    if one is other:
        return True
    if one.keys() != other.keys():
        return False
    try:
        return all(one[name] is other[name] or _same_cell(one[name], other[name]) for name in one)
    except (TypeError, ValueError):
        return False


def _same_cell(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other or (one != one and other != other))


class Plane(NamedTuple):
    """One displayed plane of an image.

    Attributes
    ----------
    axes : tuple of int
        Image axes shown as rows and as columns.
    index : tuple of int
        Position along each other axis, in ascending order of the axes.
    """

    axes: tuple[int, int] = (0, 1)
    index: tuple[int, ...] = ()

    @property
    def upright(self) -> Plane:
        """The same plane with its axes in ascending order, as no display has turned it."""
        low, high = sorted(self.axes)
        return Plane((low, high), self.index)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a layer's features table.

    Attributes
    ----------
    uid, source, caption_model : str
        As in the table, missing values as empty strings.
    caption : str, optional
        None where the table has no text, not even an empty one.
    score : float
        NaN where there is none.
    reviewed : bool, optional
        None where the table says neither yes nor no.
    extras : mapping
        Columns that belong to other people; carried along untouched.
    """

    uid: str = ""
    caption: str | None = ""
    score: float = NO_SCORE
    source: str = ""
    caption_model: str = ""
    reviewed: bool | None = False
    extras: Mapping[str, Any] = field(default_factory=dict)

    def same(self, other: Row) -> bool:
        """Whether both rows say the same in the columns that are ours."""
        return self is other or (
            same_number(self.score, other.score) and self._words == other._words
        )

    @property
    def _words(self) -> tuple[object, ...]:
        return self.uid, self.caption, self.source, self.caption_model, self.reviewed


class Look(NamedTuple):
    """How a shape is drawn.

    Attributes
    ----------
    edge_width : float
        In data units.
    edge_color, face_color : tuple of float
        Red, green, blue and opacity, 0 to 1.
    z_index : int
        Shapes of higher number cover others.
    """

    edge_width: float
    edge_color: tuple[float, ...]
    face_color: tuple[float, ...]
    z_index: int


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """One finished shape as it lies on the image.

    Attributes
    ----------
    shape_type : str
        What napari calls it: rectangle, ellipse, polygon, path or line.
    vertices : ndarray of float, shape (n, ndim)
        In image pixels, pixel centres at integers, all axes of the image.
    drawn : ndarray of float, shape (n, ndim), optional
        The same in the coordinates of the layer, digit for digit; where it is not given, the
        layer lies exactly on the image.
    look : Look, optional
        How it is drawn.
    """

    shape_type: str
    vertices: npt.NDArray[np.float64]
    drawn: npt.NDArray[Any] | None = field(default=None, kw_only=True)
    look: Look | None = field(default=None, kw_only=True)
    _mark: str = field(default="", init=False, repr=False)

    @property
    def outline(self) -> npt.NDArray[Any]:
        """The vertices in the coordinates of the layer."""
        return self.vertices if self.drawn is None else self.drawn

    def same_outline(self, other: Seen) -> bool:
        """Whether both are drawn alike on their layer, wherever that layer lies.

        A coordinate that is no number is as it was if it still is none.
        """
        return self.shape_type == other.shape_type and np.array_equal(
            self.outline, other.outline, equal_nan=True
        )

    def same(self, other: Seen) -> bool:
        """Whether nothing about both differs, digit for digit."""
        return self is other or (
            self.same_outline(other)
            and self.fingerprint == other.fingerprint
            and self.look == other.look
        )

    @property
    def fingerprint(self) -> str:
        """The same for the same geometry, and only then."""
        if not self._mark:
            digest = blake2b(self.shape_type.encode(), digest_size=12)
            digest.update(repr(self.vertices.shape).encode())
            # Zero has two signs, which are the same place.
            digest.update((np.ascontiguousarray(self.vertices, float) + 0.0).tobytes())
            object.__setattr__(self, "_mark", digest.hexdigest())
        return self._mark

    def overlap(self, other: Seen) -> float:
        """Return the intersection over union of the two bounding boxes, one pixel thick at least.

        0 where the shapes have different numbers of axes.
        """
        if self.vertices.shape[1] != other.vertices.shape[1]:
            return 0.0
        low_a, high_a = self.vertices.min(axis=0) - 0.5, self.vertices.max(axis=0) + 0.5
        low_b, high_b = other.vertices.min(axis=0) - 0.5, other.vertices.max(axis=0) + 0.5
        shared = np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None).prod()
        union = (high_a - low_a).prod() + (high_b - low_b).prod() - shared
        return float(shared / union)
