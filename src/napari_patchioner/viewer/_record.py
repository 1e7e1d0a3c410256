"""What the session knows about one caption, and what it sees of one shape."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_patchioner.decoders import Caption

Kind = Literal["shape", "group", "image"]
NO_SCORE = float("nan")
SOURCES = ("", "model", "edited", "human")


def same_number(one: float, other: float) -> bool:
    """Whether two numbers are equal, or both none.

    >>> same_number(NO_SCORE, NO_SCORE), same_number(0.5, NO_SCORE)
    (True, False)
    """
    return one == other or (one != one and other != other)


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
        return same_number(self.score, other.score) and self._words == other._words

    @property
    def _words(self) -> tuple[object, ...]:
        return self.uid, self.caption, self.source, self.caption_model, self.reviewed


@dataclass(frozen=True, eq=False, slots=True)
class Seen:
    """One finished shape as it lies on the image.

    Attributes
    ----------
    shape_type : str
        What napari calls it: rectangle, ellipse, polygon, path or line.
    vertices : ndarray of float, shape (n, ndim)
        In image pixels, pixel centres at integers, all axes of the image.
    """

    shape_type: str
    vertices: npt.NDArray[np.float64]

    @property
    def fingerprint(self) -> str:
        """The same for the same geometry, and only then."""
        digest = blake2b(self.shape_type.encode(), digest_size=12)
        digest.update(repr(self.vertices.shape).encode())
        digest.update(np.ascontiguousarray(self.vertices, float).tobytes())
        return digest.hexdigest()

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
    reviewed: bool = False
    locked: bool = False
    rejected: bool = False
    origin: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def protected(self) -> bool:
        """Whether no model may touch the text: a person's, an accepted or a locked one."""
        return self.locked or self.reviewed or (bool(self.caption) and self.source != "model")

    @property
    def row(self) -> Row:
        """What the features table should say."""
        return Row(
            self.uid,
            self.caption,
            self.score,
            self.source,
            self.model,
            self.reviewed,
            self.extras,
        )

    def want(self) -> None:
        """Ask the models for a text, unless it is none of their business."""
        self.wanted = not self.protected
        self.rejected = self.rejected and not self.wanted

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
        self.wanted = False

    def choose(self, place: int) -> bool:
        """Take one of the model's other wordings, which changes places with its first one."""
        others = list(self.details.alternatives) if self.details else []
        if self.details is None or not 0 <= place < len(others):
            return False
        text, others[place] = others[place], self.details.text
        self.details = replace(self.details, text=text, alternatives=tuple(others))
        self.caption, self.score, self.source = text, NO_SCORE, "model"
        self.reviewed, self.problem, self.wanted = True, "", False
        return True


@dataclass(frozen=True, slots=True)
class Request:
    """One caption asked of a model; the answer counts only while nothing here has changed."""

    uid: str
    fingerprint: str
    generation: int
