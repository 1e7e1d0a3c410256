"""What the session knows about one caption."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from .seen import (
    NO_SCORE,
    OWN_LAYERS,
    Look,
    Plane,
    Row,
    Seen,
    is_foreign,
    same_cells,
    same_number,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_patchioner.decoders import Caption

__all__ = [
    "NO_SCORE",
    "OWN_LAYERS",
    "SOURCES",
    "Kind",
    "Look",
    "Plane",
    "Record",
    "Request",
    "Row",
    "Seen",
    "is_foreign",
]

Kind = Literal["shape", "group", "image"]
SOURCES = ("", "model", "edited", "human")
_stamps = count(1)


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
        Another number after every change, never used before: what has the stamp it had says what
        it said, so that only what has changed needs a closer look. Mappings are exchanged and
        never changed in place, which no stamp would tell.
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
        """Set an attribute; the stamp tells of it where it is not the very same as before."""
        if getattr(self, name, _stamps) is not value:
            object.__setattr__(self, name, value)
            object.__setattr__(self, "stamp", next(_stamps))

    @property
    def protected(self) -> bool:
        """Whether no model may touch the text: a person's, an accepted or a locked one."""
        return self.locked or self.reviewed or (bool(self.caption) and self.source != "model")

    @property
    def owed(self) -> bool:
        """Whether a text is still to come, in the hands of a model or not yet."""
        return self.wanted or self.asked

    @property
    def row(self) -> Row:
        """What the features table should say."""
        known = self._row
        if known is not None and known[0] == self.stamp:
            return known[1]
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

    def choose(self, place: int) -> bool:
        """Take one of the model's other wordings, which changes places with its first one."""
        others = list(self.details.alternatives) if self.details else []
        if self.details is None or not 0 <= place < len(others):
            return False
        text, others[place] = others[place], self.details.text
        self.details = replace(self.details, text=text, alternatives=tuple(others))
        self.caption, self.score, self.source = text, NO_SCORE, "model"
        self.reviewed, self.problem = True, ""
        self.leave()
        return True

    def frozen(self) -> Record:
        """Return a copy for the history; what a model has in hand is still wanted there.

        That a text is owed belongs to the step that asked for it: to undo the step takes the
        wish back, to redo it makes the wish again. Who has it in hand belongs to none. So the
        copy keeps the stamp: to the history, wanted and asked are one.
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
        """Return a copy to work with that lies where another one does by now.

        A text that a model has written elsewhere does not come along.
        """
        record = self.thawed()
        record.seen, record.extras = other.seen, other.extras
        record.describe(other.fingerprint)
        return other if record.same(other) else record

    def describe(self, fingerprint: str) -> None:
        """Be about this geometry from now on; a text about another one is wanted anew."""
        if self.fingerprint != fingerprint:
            self.fingerprint = fingerprint
            self.blank()
            self.want()

    def confirm(self, other: Record) -> None:
        """Take the stamp of a record that was found to say the same."""
        object.__setattr__(self, "stamp", other.stamp)

    def same(self, other: Record) -> bool:
        """Whether both say the same of the same thing."""
        return self.stamp == other.stamp or (
            self.seen is other.seen
            and self.details is other.details
            and self._told == other._told
            and same_number(self.score, other.score)
            and same_cells(self.extras, other.extras)
        )

    def alike(self, other: Record) -> bool:
        """Whether no step lies between both.

        How a shape looks and what stands in other people's columns belong to no step: they go
        along with the shape, and are as they are, whatever is undone.
        """
        return self.stamp == other.stamp or (
            self.details is other.details
            and self._told == other._told
            and same_number(self.score, other.score)
            and _same_outline(self.seen, other.seen)
        )

    @property
    def _told(self) -> tuple[object, ...]:
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


def _same_outline(one: Seen | None, other: Seen | None) -> bool:
    if one is None or other is None:
        return one is other
    return one is other or one.same_outline(other)


@dataclass(frozen=True, slots=True)
class Request:
    """One caption asked of a model; the answer counts only while nothing here has changed."""

    uid: str
    fingerprint: str
    generation: int
