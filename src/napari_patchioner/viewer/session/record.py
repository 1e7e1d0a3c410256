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
        Columns that belong to other people; kept untouched.
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
            same_number(self.score, other.score) and self._texts == other._texts
        )

    @property
    def _texts(self) -> tuple[object, ...]:
        return self.uid, self.caption, self.source, self.caption_model, self.reviewed


class Appearance(NamedTuple):
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
    appearance : Appearance, optional
        How it is drawn.
    """

    shape_type: str
    vertices: npt.NDArray[np.float64]
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

    Attributes
    ----------
    shape_type : str
        `LABEL`; napari has no shape like it.
    vertices : ndarray of float, shape (2, ndim)
        First and last pixel of its bounding box, in image pixels, all axes of the image.
    pixels : ndarray of bool, shape (height, width)
        The label within its bounding box.
    axes : tuple of int
        Image axes of the rows and the columns of `pixels`.
    value : int
        The label.
    digest : str
        Of the pixels and their position, but not of the value.
    """

    pixels: npt.NDArray[np.bool_]
    axes: tuple[int, int]
    value: int
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
    """A caption and everything that goes with it; the table of a layer only mirrors it.

    Attributes
    ----------
    uid : str
        Its name for life.
    kind : {"shape", "group", "image"}
        What the caption describes: one shape, several together, or a whole plane.
    fingerprint : str
        Of the geometry it describes now.
    caption, score, source, model
        The text, the model's trust in it, who wrote it, and which model wrote it or its draft.
    details : Caption, optional
        What else the model said: alternatives and concepts.
    problem : str
        Why there is no caption, in one sentence.
    layer : str
        Key of the layer the shape lies on.
    seen : Seen, optional
        The shape.
    members : tuple of str
        The shapes of a group.
    plane : Plane, optional
        The plane that a whole-image caption describes.
    wanted : bool
        Whether a model should caption it when it can.
    asked : bool
        Whether a model is at it: only then an answer counts.
    reviewed : bool
        Whether a person accepted the text.
    locked : bool
        Whether no model may touch it, not even where there is no text.
    rejected : bool
        Whether a person refused the text; then only they may ask for another.
    origin : mapping
        What a model made the text or its draft from, so that it can be made again: grid, display
        and options, as plain values.
    extras : mapping
        Other people's feature columns.
    stamp : int
        Another number after every change, never used before: two records of the same stamp are the
        same, so that only what has changed needs to be compared. Mappings are exchanged and
        never changed in place, which no stamp would show.
    """

    uid: str
    kind: Kind = "shape"
    fingerprint: str = ""
    caption: str = ""
    score: float = NO_SCORE
    source: str = ""
    model: str = ""
    details: Caption | None = None
    problem: str = ""
    layer: str = ""
    seen: Seen | None = None
    members: tuple[str, ...] = ()
    plane: Plane | None = None
    wanted: bool = False
    asked: bool = False
    reviewed: bool = False
    locked: bool = False
    rejected: bool = False
    origin: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)
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
