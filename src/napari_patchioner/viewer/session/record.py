"""What the session knows of a layer and of each caption: planes, shapes, table rows and records."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from napari_patchioner.regions import Mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_patchioner.decoders import Caption

Kind = Literal["shape", "group", "image"]
SOURCES = ("", "model", "edited", "human")
NO_SCORE = float("nan")
# Keys of the layers whose regions are drawn by hand, and come back with the image.
OWN_LAYERS = ("regions", "traces", "points")
LABEL = "label"
_stamps = count(1)


def is_foreign(layer: str) -> bool:
    """Whether a layer, given by its key, is of other people's making.

    >>> is_foreign("regions"), is_foreign("shapes:my cells"), is_foreign("")
    (False, True, False)
    """
    return ":" in layer


def same_number(first: float, second: float) -> bool:
    """Whether two numbers are equal, or both none.

    >>> same_number(NO_SCORE, NO_SCORE), same_number(0.5, NO_SCORE)
    (True, False)
    """
    return first == second or (first != first and second != second)


def same_cell(first: Any, second: Any) -> bool:
    """Whether two cells of a table are equal, or both none; raises where they do not compare."""
    return type(first) is type(second) and bool(same_number(first, second))


def same_cells(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two rows of other people's columns are equal; in doubt they are not."""
    if first is second:
        return True
    if first.keys() != second.keys():
        return False
    try:
        return all(
            first[name] is second[name] or same_cell(first[name], second[name]) for name in first
        )
    except (TypeError, ValueError):
        return False


class Plane(NamedTuple):
    """One displayed plane of an image: the axes of its rows and columns, and where it lies.

    `index` is the position along each other axis, in ascending order of the axes.
    """

    axes: tuple[int, int] = (0, 1)
    index: tuple[int, ...] = ()  # type: ignore[assignment]

    @property
    def upright(self) -> Plane:
        """The same plane with its axes in ascending order, as no display has turned it."""
        low, high = sorted(self.axes)
        return Plane((low, high), self.index)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a layer's features table, missing values as empty strings."""

    uid: str = ""
    # None where the table has no text, not even an empty one
    caption: str | None = ""
    score: float = NO_SCORE
    source: str = ""
    caption_model: str = ""
    # None where the table says neither yes nor no
    reviewed: bool | None = False
    # Columns that belong to other people; kept untouched
    extras: Mapping[str, Any] = field(default_factory=dict)

    def same(self, other: Row) -> bool:
        """Whether both rows say the same in the columns that are ours."""
        return self is other or (
            same_number(self.score, other.score) and self._texts == other._texts
        )

    @property
    def _texts(self) -> tuple[object, ...]:
        return self.uid, self.caption, self.source, self.caption_model, self.reviewed


class Appearance(NamedTuple):
    """How a shape is drawn: width in data units, colours as RGBA from 0 to 1."""

    edge_width: float
    edge_color: tuple[float, ...]
    face_color: tuple[float, ...]
    z_index: int


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """One finished shape as it lies on the image, of one of napari's shape types."""

    shape_type: str
    # Shape (n, ndim), in image pixels, pixel centres at integers, all axes of the image
    vertices: npt.NDArray[np.float64]
    # The same in the coordinates of the layer, digit for digit; None: it lies exactly on the image
    drawn: npt.NDArray[Any] | None = field(default=None, kw_only=True)
    appearance: Appearance | None = field(default=None, kw_only=True)
    _digest: str = field(default="", init=False, repr=False)

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
            and self.appearance == other.appearance
        )

    @property
    def fingerprint(self) -> str:
        """The same for the same geometry, and only then."""
        if not self._digest:
            digest = blake2b(self.shape_type.encode(), digest_size=12)
            digest.update(repr(self.vertices.shape).encode())
            # Zero has two signs, which are the same point.
            digest.update((np.ascontiguousarray(self.vertices, float) + 0.0).tobytes())
            object.__setattr__(self, "_digest", digest.hexdigest())
        return self._digest

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


@dataclass(frozen=True, eq=False, slots=True)
class SeenMask(Seen):
    """The pixels of one label on one plane of the image.

    Its vertices are the first and the last pixel of its bounding box.
    """

    # The label within its bounding box, shape (height, width)
    pixels: npt.NDArray[np.bool_]
    # Image axes of the rows and the columns of the pixels
    axes: tuple[int, int]
    value: int
    # Of the pixels and their position, but not of the value
    digest: str

    @property
    def fingerprint(self) -> str:
        """The same for the same pixels at the same position, and only then."""
        return self.digest

    def same(self, other: Seen) -> bool:
        """Whether nothing about both differs, the number painted with included."""
        return Seen.same(self, other) and isinstance(other, SeenMask) and self.value == other.value

    @classmethod
    def of(
        cls,
        pixels: npt.NDArray[np.bool_],
        first: npt.NDArray[np.float64],
        axes: tuple[int, int],
        value: int,
    ) -> SeenMask:
        """Return a label that begins at an image pixel, shape (ndim,)."""
        last = np.array(first, float)
        last[list(axes)] += np.array(pixels.shape) - 1
        corners = np.stack([np.asarray(first, float), last])
        digest = blake2b(repr((LABEL, pixels.shape, axes)).encode(), digest_size=12)
        digest.update(corners.tobytes())
        digest.update(np.packbits(pixels).tobytes())
        return cls(LABEL, corners, pixels, axes, value, digest.hexdigest())

    def mask(self, axes: tuple[int, int]) -> Mask:
        """Return the region, as it lies on a plane with these axes."""
        top, left = (int(np.round(self.vertices[0, axis])) for axis in axes)
        pixels = self.pixels if tuple(axes) == tuple(self.axes) else self.pixels.T
        return Mask(pixels, (top, left))


@dataclass(eq=False, slots=True)
class Record:
    """A caption and everything that goes with it; the table of a layer only mirrors it."""

    uid: str
    # What the caption describes: one shape, several together, or a whole plane
    kind: Kind = "shape"
    # Of the geometry it describes now
    fingerprint: str = ""
    caption: str = ""
    # The model's trust in the text
    score: float = NO_SCORE
    source: str = ""
    # Which model wrote the text or its draft, and what else it said: alternatives, concepts
    model: str = ""
    details: Caption | None = None
    # Why there is no caption, in one sentence
    problem: str = ""
    layer: str = ""
    # The shape, the uids of the shapes of a group, or the plane
    seen: Seen | None = None
    members: tuple[str, ...] = ()
    plane: Plane | None = None
    # Whether a model should caption it when it can, or is at it: only then an answer counts
    wanted: bool = False
    asked: bool = False
    # Whether a person accepted the text
    reviewed: bool = False
    # Whether no model may touch it, not even where there is no text
    locked: bool = False
    # Whether a person refused the text; then only they may ask for another
    rejected: bool = False
    # What a model made the text or its draft from, as plain values, so that it can be made again
    origin: Mapping[str, Any] = field(default_factory=dict)
    # Other people's feature columns
    extras: Mapping[str, Any] = field(default_factory=dict)
    # Another number after every change, never used before: records of the same stamp are the same,
    # so that only what has changed needs to be compared. Mappings are exchanged and never changed
    # in place, which no stamp would show.
    stamp: int = field(default=0, init=False, repr=False)
    _row: tuple[int, Row] | None = field(default=None, init=False, repr=False)

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; the stamp changes where it is not the very same as before."""
        if getattr(self, name, _stamps) is not value:
            object.__setattr__(self, name, value)
            object.__setattr__(self, "stamp", next(_stamps))

    @property
    def protected(self) -> bool:
        """Whether no model may touch the text: a person's, an accepted or a locked one."""
        return self.locked or self.reviewed or (bool(self.caption) and self.source != "model")

    @property
    def owed(self) -> bool:
        """Whether a text is still to come, whether a model is at it or not yet."""
        return self.wanted or self.asked

    @property
    def row(self) -> Row:
        """What the features table should say."""
        if self._row is None or self._row[0] != self.stamp:
            row = Row(
                self.uid,
                self.caption,
                self.score,
                self.source,
                self.model,
                self.reviewed,
                self.extras,
            )
            object.__setattr__(self, "_row", (self.stamp, row))
            return row
        return self._row[1]

    def want(self) -> None:
        """Ask the models for a text, unless it is none of their business."""
        self.wanted, self.asked = not self.protected, False
        self.rejected = self.rejected and not self.wanted

    def leave(self) -> None:
        """Ask the models for nothing; an answer on its way comes too late."""
        self.wanted = self.asked = False

    def blank(self) -> None:
        """Forget a text that no longer describes the shape; a protected one stays."""
        self.problem = ""
        self.details = None
        if not self.protected:
            self.empty()

    def empty(self) -> None:
        """Forget the text, whoever wrote it."""
        self.caption, self.score, self.source, self.model = "", NO_SCORE, "", ""
        self.reviewed, self.origin = False, {}

    def write(self, text: str) -> None:
        """Take a text from a person."""
        if text == self.caption:
            return
        drafted = self.source in ("model", "edited")
        self.source = ("edited" if drafted else "human") if text else ""
        self.caption, self.score = text, NO_SCORE
        if not drafted or not text:
            self.model, self.origin = "", {}
        self.reviewed = self.reviewed and bool(text)
        self.problem = ""
        self.leave()

    def choose(self, index: int) -> bool:
        """Take one of the model's alternatives, which changes places with its first caption."""
        if self.details is None or not 0 <= index < len(self.details.alternatives):
            return False
        others = list(self.details.alternatives)
        text, others[index] = others[index], self.details.text
        self.details = replace(self.details, text=text, alternatives=tuple(others))
        self.caption, self.score, self.source = text, NO_SCORE, "model"
        self.reviewed, self.problem = True, ""
        self.leave()
        return True

    def frozen(self) -> Record:
        """Return a copy for the history; what a model is at is still wanted in it.

        That a text is owed belongs to the step that asked for it: to undo the step withdraws the
        request, to redo it makes the request again. Which model is at it belongs to none. So the
        copy keeps the stamp: to the history, wanted and asked are the same.
        """
        kept = object.__new__(Record)
        for name in self.__slots__:
            object.__setattr__(kept, name, getattr(self, name))
        object.__setattr__(kept, "wanted", self.owed)
        object.__setattr__(kept, "asked", False)
        return kept

    def thawed(self) -> Record:
        """Return a copy to work with; it is nothing that anybody has seen before."""
        record = self.frozen()
        object.__setattr__(record, "stamp", next(_stamps))
        return record

    def moved_to(self, other: Record) -> Record:
        """Return a copy to work with that lies where another record does by now.

        A text that a model has written elsewhere does not come along.
        """
        record = self.thawed()
        record.seen, record.extras = other.seen, other.extras
        record.describe(other.fingerprint)
        return other if record.same(other) else record

    def describe(self, fingerprint: str) -> None:
        """Be about this geometry from now on; a text about another is wanted anew."""
        if self.fingerprint != fingerprint:
            self.fingerprint = fingerprint
            self.blank()
            self.want()

    def confirm(self, other: Record) -> None:
        """Take the stamp of a record that has been found to be the same."""
        object.__setattr__(self, "stamp", other.stamp)

    def same(self, other: Record) -> bool:
        """Whether both say the same of the same thing."""
        return self.stamp == other.stamp or (
            self.seen is other.seen
            and self._same_content(other)
            and same_cells(self.extras, other.extras)
        )

    def alike(self, other: Record) -> bool:
        """Whether no step lies between both.

        How a shape is drawn and what stands in other people's columns belong to no step: they go
        along with the shape, and are as they are, whatever is undone.
        """
        if self.stamp == other.stamp:
            return True
        if self.seen is None or other.seen is None:
            same_outline = self.seen is other.seen
        else:
            same_outline = self.seen is other.seen or self.seen.same_outline(other.seen)
        return same_outline and self._same_content(other)

    def _same_content(self, other: Record) -> bool:
        return (
            self.details is other.details
            and self._content == other._content
            and same_number(self.score, other.score)
        )

    @property
    def _content(self) -> tuple[object, ...]:
        return (
            self.uid,
            self.fingerprint,
            self.caption,
            self.source,
            self.model,
            self.problem,
            self.layer,
            self.members,
            self.plane,
            self.owed,
            self.reviewed,
            self.locked,
            self.rejected,
            self.origin,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One caption asked of a model; the answer counts only while nothing about it has changed."""

    uid: str
    fingerprint: str
    generation: int
