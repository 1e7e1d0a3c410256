"""The queue of captions to look at, the most doubtful first; knows no Qt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .record import Record
    from .session import Session


class Review:
    """Walks through the doubtful captions of an image, in an order settled at the start.

    Parameters
    ----------
    session : Session
        The captions. Regions that are deleted meanwhile are left out.

    Attributes
    ----------
    session : Session
        As given.
    uids : tuple of str
        What there was to review at the start.
    """

    def __init__(self, session: Session) -> None:
        self.uids = tuple(record.uid for record in doubtful(session.records.values()))
        self.session = session
        self._place = 0
        self._settle(1)

    @property
    def uid(self) -> str:
        """What is to be looked at now; empty at the end."""
        return self.uids[self._place] if 0 <= self._place < len(self.uids) else ""

    @property
    def position(self) -> str:
        """How far it has come, as in "3 of 41"."""
        return f"{min(self._place + 1, len(self.uids))} of {len(self.uids)}"

    def forward(self) -> str:
        """Go on to the next one, and return it; empty at the end."""
        self._place += 1
        self._settle(1)
        return self.uid

    def back(self) -> str:
        """Go back to the one before, and return it; the first one stays."""
        before = self._place
        self._place -= 1
        self._settle(-1)
        if self._place < 0:
            self._place = before
        return self.uid

    def turn_to(self, uid: str) -> None:
        """Go on from here, if it is in the queue: it was selected by hand."""
        if uid in self.uids:
            self._place = self.uids.index(uid)

    def summary(self) -> str:
        """Return what has come of it, in one sentence."""
        records = [self.session.records.get(uid) for uid in self.uids]
        there = [record for record in records if record is not None]
        written = sum(record.source in ("human", "edited") for record in there)
        accepted = sum(record.reviewed for record in there if record.source == "model")
        gone = len(records) - len(there)
        left = len(there) - written - accepted
        parts = [
            f"{accepted} accepted" if accepted else "",
            f"{written} written by you" if written else "",
            f"{gone} deleted" if gone else "",
            f"{left} left as they were" if left else "",
        ]
        if not self.uids:
            return "There is nothing to review: every caption is yours or accepted."
        outcome = ", ".join(part for part in parts if part)
        return f"Reviewed {_count(len(self.uids))}: {outcome}."

    def _settle(self, step: int) -> None:
        """Step over regions that are gone."""
        while 0 <= self._place < len(self.uids) and self.uid not in self.session.records:
            self._place += step


def doubtful(records: Iterable[Record]) -> list[Record]:
    """Return the records nobody has vouched for, the most doubtful first.

    Those without a caption come first, then the lowest score; what a person wrote, accepted or
    locked is in no doubt.
    """
    return sorted((record for record in records if not record.protected), key=_doubt)


def _doubt(record: Record) -> tuple[bool, float]:
    score = record.score if record.score == record.score else math.inf
    return bool(record.caption), score


def _count(number: int) -> str:
    return f"{number} region" if number == 1 else f"{number} regions"
