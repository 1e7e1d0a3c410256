"""What a person decides about captions; each decision is a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._ledger import Ledger
from .identify import new_uid
from .record import Record
from .steps import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .record import Plane


class Decisions(Ledger):
    """Everything a person can do to captions other than draw."""

    def edit(self, uid: str, text: str) -> None:
        """Take a person's text for a record; an empty one hands it back to the models.

        Edits of the same record that follow each other are one step.
        """
        for record in self._chosen([uid]):
            with self.step("edit of 1 caption", key=("edit", uid)):
                record.write(" ".join(text.split()))

    def accept(self, uids: Iterable[str]) -> int:
        """Keep texts as they are, safe from any model; return how many have none to keep."""
        chosen = self._chosen(uids)
        kept = [record for record in chosen if record.caption]
        with self.step(f"acceptance of {counted(kept, 'caption')}"):
            for record in kept:
                record.reviewed = True
                record.leave()
        return len(chosen) - len(kept)

    def reject(self, uids: Iterable[str]) -> int:
        """Throw models' texts away; return how many were kept: a person's and locked ones.

        No model is asked again until a person asks, or moves the shape.
        """
        chosen = self._chosen(uids)
        refused = [r for r in chosen if not r.locked and r.source not in ("human", "edited")]
        with self.step(f"rejection of {counted(refused, 'caption')}"):
            for record in refused:
                record.empty()
                record.blank()
                record.leave()
                record.rejected = True
        return len(chosen) - len(refused)

    def lock(self, uids: Iterable[str], on: bool) -> None:
        """Keep all models from records, with a text or without, or let them in again."""
        chosen = [record for record in self._chosen(uids) if record.locked != on]
        word = "locking" if on else "unlocking"
        with self.step(f"{word} of {counted(chosen, 'caption')}"):
            for record in chosen:
                record.locked = on
                record.leave()

    def choose(self, uid: str, place: int) -> bool:
        """Take one of the model's other wordings, counted from 0, as accepted text.

        It changes places with the model's first wording. False where there is no such wording.
        """
        with self.step("choice of another wording"):
            return any(record.choose(place) for record in self._chosen([uid]))

    def again(self, uids: Iterable[str]) -> int:
        """Ask for new captions; return how many were refused: a person's, accepted or locked.

        All of them are one step, and so are the answers, whenever they come.
        """
        chosen = self._chosen(uids)
        asked = [record for record in chosen if not record.protected]
        with self.step(f"writing of {counted(asked, 'caption')}"):
            for record in asked:
                record.blank()
            self._ask(asked)
        return len(chosen) - len(asked)

    def drop(self, uids: Iterable[str]) -> None:
        """Delete the captions of groups and planes; shapes are deleted on their layers."""
        chosen = [record for record in self._chosen(uids) if record.kind != "shape"]
        with self.step(f"deletion of {counted(chosen, 'caption')}"):
            for record in chosen:
                del self.records[record.uid]

    def group(self, members: Iterable[str]) -> Record | None:
        """Return the record of several shapes together, made on first use; None below two."""
        names = tuple(sorted(uid for uid in set(members) if self._is_shape(uid)))
        if len(names) < 2:
            return None
        found = self.find_group(names)
        if found is None:
            found = Record(new_uid(), "group", self._fingerprint(names), members=names)
            with self.step(f"grouping of {counted(names, 'shape')}"):
                self.records[found.uid] = found
        return found

    def find_group(self, members: Iterable[str]) -> Record | None:
        """Return the record of these shapes together, if there is one."""
        names = tuple(sorted(set(members)))
        return next((r for r in self.records.values() if names and r.members == names), None)

    def whole(self, plane: Plane) -> Record:
        """Return the record of a whole plane, made on first use."""
        found = self.find_whole(plane)
        plane = plane.upright
        if found is None:
            uid = "-".join(["image", *map(str, plane.axes), *map(str, plane.index)])
            found = self.records[uid] = Record(uid, "image", uid, plane=plane)
        return found

    def find_whole(self, plane: Plane) -> Record | None:
        """Return the record of a whole plane, whichever way it is turned, if there is one."""
        known = ((r, r.plane) for r in self.records.values())
        found = (r for r, own in known if own is not None and own.upright == plane.upright)
        return next(found, None)

    def _fingerprint(self, members: Iterable[str]) -> str:
        return "+".join(self.records[uid].fingerprint for uid in members)

    def _is_shape(self, uid: str) -> bool:
        return uid in self.records and self.records[uid].kind == "shape"
