"""Accepting, rejecting, locking, choosing, deleting: what a person does with captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.viewer.layers.view import go_to
from napari_patchioner.viewer.session.review import Review

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .annotator import Annotator
    from .dock import CaptionDock


class Judging:
    """Every method is one thing to do; without an image they do nothing.

    They act on what is selected, in the list of regions or on the canvas.

    Parameters
    ----------
    dock : CaptionDock
        What is asked, shown and written with.

    Attributes
    ----------
    review : Review, optional
        The walk through doubtful captions, while there is one.
    """

    def __init__(self, dock: CaptionDock) -> None:
        self._dock = dock
        self.review: Review | None = None

    @property
    def annotator(self) -> Annotator | None:
        """That of the image at hand."""
        return self._dock.annotator

    def chosen(self) -> list[str]:
        """Return the uids of the records meant."""
        if self.annotator is None:
            return []
        if listed := self._dock.region_list.selected(self.annotator):
            return listed
        record = self.annotator.current()
        return [record.uid] if record else self.annotator.selected()

    # judging

    def accept(self) -> None:
        """Keep captions as they are; in a review, go on to the next."""
        uids = self._needed()
        if not uids:
            return
        if self.annotator.session.accept(uids):
            self.annotator.tell("There is no caption to accept here: write one, or skip it.")
        elif self.review is not None and uids[0] in self.review.uids:
            self.review.turn_to(uids[0])
            self._turn(self.review.forward())
        self.annotator.show()

    def reject(self) -> None:
        """Throw away what a model wrote."""
        if uids := self._needed():
            if self.annotator.session.reject(uids):
                self.annotator.tell("What you wrote or locked is kept; delete the text yourself.")
            self.annotator.show()

    def lock(self) -> None:
        """Keep all models from records, or let them in again where all are locked."""
        if uids := self._needed():
            records = self.annotator.session.records
            on = not all(records[uid].locked for uid in uids)
            self.annotator.session.lock(uids, on)
            self.annotator.tell("Locked: no model will touch it." if on else "Unlocked.")
            self.annotator.show()

    def choose(self, place: int) -> None:
        """Take one of the model's other wordings, counted from 0."""
        uids = self._needed()
        if uids and not (len(uids) == 1 and self.annotator.session.choose(uids[0], place)):
            self.annotator.tell(f"There is no wording {place + 1} to choose here.")
        if uids:
            self.annotator.show()

    def take(self, uid: str, place: int) -> None:
        """Take one of the other wordings of a record, which need not be selected."""
        if self.annotator is not None:
            self.annotator.session.choose(uid, place)
            self.annotator.show()

    def caption_again(self) -> None:
        """Have the selected shapes captioned anew, or the group they make up."""
        if uids := self._needed():
            self.annotator.again(uids)

    def write_anew(self) -> None:
        """Let new options show at the selected shapes, except where a person has the say."""
        if self.annotator is None or not self.annotator.reader.ready:
            return
        records = self.annotator.session.records
        uids = [uid for uid in self.chosen() if uid in records and not records[uid].protected]
        if uids:
            self.annotator.again(uids)

    def delete(self) -> None:
        """Delete the selected shapes through their layers, and groups and planes from the list."""
        uids = self._needed()
        if uids:
            self.annotator.delete(uids)

    # going places

    def go_to(self, uid: str) -> None:
        """Select a record's shapes, and bring them into view."""
        annotator = self.annotator
        record = annotator.session.records.get(uid) if annotator else None
        if record is not None:
            annotator.select(record.members or [uid])
            go_to(self._dock.viewer, annotator.image, record, annotator.session)

    def select(self, uids: Iterable[str]) -> None:
        """Select the shapes of records on the canvas."""
        if self.annotator is not None:
            self.annotator.select(self._dock.region_list.regions.shapes(uids))

    def go_on(self, by: int = 1) -> None:
        """Go to the next region of the list, or of the review."""
        if self.annotator is None:
            return
        if self.review is not None:
            self._turn(self.review.forward() if by > 0 else self.review.back())
        else:
            self.go_to(self._dock.region_list.regions.step(by))

    def go_back(self) -> None:
        """Go to the previous one."""
        self.go_on(-1)

    # reviewing

    def start_review(self) -> None:
        """Go through the doubtful captions, the most doubtful first."""
        if self.annotator is not None:
            self.review = Review(self.annotator.session)
            self._turn(self.review.uid)

    def stop_review(self) -> None:
        """End the review, and say what has come of it."""
        review, self.review = self.review, None
        if review is not None and self.annotator is not None:
            self.annotator.tell(review.summary())
        self._dock.refresh()

    def review_here(self) -> Review | None:
        """Return the review of the image at hand; one of another image is over."""
        here = self.annotator.session if self.annotator else None
        if self.review is not None and self.review.session is not here:
            self.review = None
        return self.review

    def _turn(self, uid: str) -> None:
        """Show what is to be reviewed next; at the end, say so."""
        if uid:
            self.go_to(uid)
            self._dock.refresh()
        else:
            self.stop_review()

    def _needed(self) -> list[str]:
        """Return what is chosen, or say that something should be."""
        uids = self.chosen()
        if not uids and self.annotator is not None:
            self.annotator.tell("Select a shape first: press S, then click it.")
        return uids
