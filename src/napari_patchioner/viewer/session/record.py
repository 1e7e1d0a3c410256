"""What the session knows about one caption."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from .seen import NO_SCORE, Look, Plane, Row, Seen, same_cells, same_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_patchioner.decoders import Caption

__all__ = ["NO_SCORE", "SOURCES", "Kind", "Look", "Plane", "Record", "Request", "Row", "Seen"]

Kind = Literal["shape", "group", "image"]
SOURCES = ("", "model", "edited", "human")


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
        """Return a copy for the history; what a model has in hand is still wanted there."""
        kept = copy(self)
        kept.wanted, kept.asked = self.wanted or self.asked, False
        return kept

    def same(self, other: Record) -> bool:
        """Whether both say the same of the same thing."""
        return (
            self.seen is other.seen
            and self.details is other.details
            and self._told == other._told
            and same_number(self.score, other.score)
            and same_cells(self.extras, other.extras)
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
            self.wanted or self.asked,
            self.reviewed,
            self.locked,
            self.rejected,
            self.origin,
        )


@dataclass(frozen=True, slots=True)
class Request:
    """One caption asked of a model; the answer counts only while nothing here has changed."""

    uid: str
    fingerprint: str
    generation: int
