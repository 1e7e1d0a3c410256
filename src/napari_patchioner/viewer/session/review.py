"""The queue of captions to review, the most doubtful first; knows no Qt."""

from __future__ import annotations

import math
from collections.abc import Iterable

from napari_patchioner.annotations import MACHINES, Record
from napari_patchioner.errors import counted

from .session import Session


class Review:
    """Walks through the doubtful captions of an image, in an order settled at the start."""

    def __init__(self, session: Session) -> None:
        self.uids = tuple(record.uid for record in doubtful(session.records.values()))
        self.session = session
        self._index = 0
        self._settle(1)

    @property
    def uid(self) -> str:
        """What is to be reviewed now; empty at the end."""
        return self.uids[self._index] if 0 <= self._index < len(self.uids) else ""

    @property
    def position(self) -> str:
        """How far it has come, as in "3 of 41"."""
        return f"{min(self._index + 1, len(self.uids))} of {len(self.uids)}"

    def forward(self) -> str:
        """Go on to the next caption, and return it; empty at the end."""
        self._index += 1
        self._settle(1)
        return self.uid

    def back(self) -> str:
        """Go back to the caption before, and return it; the first stays."""
        before = self._index
        self._index -= 1
        self._settle(-1)
        if self._index < 0:
            self._index = before
        return self.uid

    def turn_to(self, uid: str) -> None:
        """Go on from this caption, if it is in the queue: it was selected by hand."""
        if uid in self.uids:
            self._index = self.uids.index(uid)

    def summary(self) -> str:
        """Return what has come of it, in one sentence."""
        if not self.uids:
            return "There is nothing to review: every caption is yours or accepted."
        records = self.session.records
        left = [records[uid] for uid in self.uids if uid in records]
        written = sum(record.source in ("human", "edited") for record in left)
        accepted = sum(record.reviewed for record in left if record.source in MACHINES)
        outcomes = {
            "accepted": accepted,
            "written by you": written,
            "deleted": len(self.uids) - len(left),
            "left as they were": len(left) - written - accepted,
        }
        outcome = ", ".join(f"{number} {what}" for what, number in outcomes.items() if number)
        return f"Reviewed {counted(self.uids, 'region')}: {outcome}."

    def _settle(self, step: int) -> None:
        """Step over regions that are gone."""
        while 0 <= self._index < len(self.uids) and self.uid not in self.session.records:
            self._index += step


def doubtful(records: Iterable[Record]) -> list[Record]:
    """Return the records nobody has vouched for: those without a caption, then by score."""

    def doubt(record: Record) -> tuple[bool, float]:
        return bool(record.caption), math.inf if record.score is None else record.score

    return sorted((record for record in records if not record.protected), key=doubt)
