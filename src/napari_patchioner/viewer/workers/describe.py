"""Place and size of regions in words, and a paragraph about an image, composed in a worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.annotations.paragraph import (
    FROM_REGIONS,
    Link,
    Paragraph,
    links_of,
    paragraph_of,
    region_digest,
    regions_digest,
)
from napari_patchioner.annotations.place import (
    WITH_PLACE,
    PixelSides,
    Place,
    Places,
    Thing,
    is_doubtful,
    with_place,
)
from napari_patchioner.annotations.project.records import REWORDED
from napari_patchioner.errors import Cancelled, RegionError, counted
from napari_patchioner.progress import Progress
from napari_patchioner.viewer.layers.geometry import (
    full_shape,
    own_axes,
    record_outline,
    record_plane,
    untangled,
)
from napari_patchioner.viewer.session.session import Session

from .job import Job, error_message

NO_CAPTION = "There is no caption to add place and size to yet: press Start, or write one."
NO_REGIONS = "No region on this plane has a caption to make a paragraph of: draw and caption some."
# Regions that are placed between two looks at whether to go on.
_BATCH = 64


@dataclass(frozen=True, eq=False, slots=True)
class Survey:
    """The records of an image as they were, and how large its pixels are, axis by axis."""

    records: Mapping[str, Record]
    shape: tuple[int, ...]
    scale: tuple[tuple[float, str], ...]

    @classmethod
    def of(cls, session: Session, image: Image) -> Survey:
        """Return that of an image now."""
        scale = [abs(float(step)) for step in image.scale]
        scales = tuple(zip(scale, map(str, image.units), strict=True))
        return cls(dict(session.records), full_shape(image), scales)

    def sides(self, axes: tuple[int, int]) -> PixelSides:
        """Return height and width of a pixel of planes with these axes."""
        return self.scale[axes[0]], self.scale[axes[1]]

    def size(self, axes: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of planes with these axes, in pixels."""
        return self.shape[axes[0]], self.shape[axes[1]]

    def session(self) -> Session:
        """Return a session with these records alone, to ask where they lie."""
        session = Session()
        session.records = dict(self.records)
        return session

    def things(self) -> dict[tuple[int, int], list[Thing]]:
        """Return all regions that lie on one plane each, by the axes of that."""
        session = self.session()
        things: dict[tuple[int, int], list[Thing]] = {}
        for record in self.records.values():
            axes = own_axes(record, session)
            if record.plane is not None or axes is None:
                continue
            with suppress(RegionError):
                region = untangled(record_outline(record, session, axes)())
                plane = record_plane(record, session, axes)
                thing = Thing(record.uid, region, record.caption, plane, doubtful(record))
                things.setdefault(axes, []).append(thing)
        return things


class Composed(NamedTuple):
    """A paragraph about a plane, how many regions it is made of, and the digest of each."""

    paragraph: Paragraph
    digests: Mapping[str, int]


def doubtful(record: Record) -> bool:
    """Whether a caption is no more than a guess of a model, which nobody has accepted."""
    verdict = record.details.verdict if record.details is not None else "sure"
    is_own = record.source == "model" and not record.reviewed
    return is_own and is_doubtful(record.caption, verdict)


def find_places(survey: Survey, uids: Iterable[str], progress: Progress) -> dict[str, Place]:
    """Return place and size of regions, by uid; those that lie on no single plane have none."""
    wanted, places = set(uids), {}
    for axes, things in survey.things().items():
        placed = Places(things, pixel=survey.sides(axes), shape=survey.size(axes))
        for done, thing in enumerate(things):
            if not done % _BATCH:
                progress(done / len(things), "measuring")
            if thing.uid in wanted:
                places[thing.uid] = placed.place(thing.uid)
    progress(1.0, "done")
    return places


def compose(survey: Survey, plane: Plane, progress: Progress) -> Composed:
    """Compose the paragraph about a plane."""
    progress(0.0, "composing")
    records = survey.records
    everything = survey.things().get(plane.upright.axes, [])
    things = [thing for thing in everything if thing.plane == plane.upright]
    people = {thing.uid for thing in things if records[thing.uid].is_human}
    axes = plane.upright.axes
    paragraph = paragraph_of(things, people, pixel=survey.sides(axes), shape=survey.size(axes))
    digests = {thing.uid: digest_of(records[thing.uid]) for thing in things}
    progress(1.0, "done")
    return Composed(paragraph, {uid: digest for uid, digest in digests.items() if digest})


def digest_of(record: Record) -> int:
    """Return the digest of a region as far as a paragraph goes by it; 0 where it does not."""
    # What a model says of several together is no part of it.
    counts = record.caption and (not record.members or record.is_human)
    return region_digest(record.uid, record.caption, record.fingerprint) if counts else 0


class Describer(QObject):  # type: ignore[misc]
    """Adds place and size to captions, and writes paragraphs, each as one step.

    A caption that changes while it is measured stays as it is then; so do people's, accepted and
    locked ones, to which the words are offered.
    """

    changed = Signal()
    messaged = Signal(str)

    def __init__(self, image: Image, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._image, self._session = image, session
        self._job: Job | None = None
        # The digest of each record on a plane, and the record that it was made of.
        self._digests: dict[str, tuple[Record, Plane | None, int]] = {}

    @property
    def is_busy(self) -> bool:
        """Whether an answer is on its way."""
        return self._job is not None

    def add_places(self, uids: Iterable[str]) -> None:
        """Say place and size behind the captions of these regions; of all where there are none."""
        survey = Survey.of(self._session, self._image)
        asked = list(uids) or list(survey.records)
        captioned = [uid for uid in asked if uid in survey.records and survey.records[uid].caption]
        if not captioned:
            self.messaged.emit(NO_CAPTION)
            return
        self._run(find_places, survey, captioned, delivered=partial(self._on_places, survey))

    def write(self, plane: Plane) -> None:
        """Write a paragraph about a plane from what is said of its regions."""
        survey = Survey.of(self._session, self._image)
        self._run(compose, survey, plane, delivered=partial(self._on_composed, plane))

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._job is not None:
            self._job.drop()
            self._job = None

    def links(self, record: Record | None) -> tuple[Link, ...]:
        """Return the links of the paragraph that a record holds; none where it holds none."""
        if record is None or record.reworded_by != FROM_REGIONS:
            return ()
        return links_of(record.origin[REWORDED], record.caption)

    def is_outdated(self, record: Record) -> bool:
        """Whether a paragraph speaks of regions that are others by now, or lacks some."""
        made = record.origin.get(REWORDED)
        if record.plane is None or not isinstance(made, Mapping):
            return False
        return bool(made.get("regions") != self._digest(record.plane.upright))

    def _digest(self, plane: Plane) -> str:
        """Return the digest of the regions on a plane; of what has not changed it is known."""
        known, records = self._digests, self._session.records
        for uid, record in records.items():
            if uid not in known or known[uid][0] is not record:
                axes = own_axes(record, self._session) if record.plane is None else None
                where = record_plane(record, self._session, axes) if axes is not None else None
                known[uid] = record, where, digest_of(record)
        for uid in known.keys() - records.keys():
            del known[uid]
        return regions_digest(
            digest for _, where, digest in known.values() if where == plane and digest
        )

    def _run(self, function: object, *arguments: object, delivered: object) -> None:
        self.close()
        self._job = Job.run(
            function,  # type: ignore[arg-type]
            *arguments,
            delivered=delivered,  # type: ignore[arg-type]
            ended=self._on_ended,
            parent=self,
        )

    def _on_ended(self, error: Exception | None) -> None:
        self._job = None
        if error is not None and not isinstance(error, Cancelled):
            self.messaged.emit(error_message(error, "The regions could not be described"))
        self.changed.emit()

    def _on_places(self, survey: Survey, places: Mapping[str, Place]) -> None:
        session, texts, offers = self._session, {}, {}
        same = late = 0
        for uid, place in places.items():
            record = session.records.get(uid)
            if record is None or record is not survey.records[uid]:
                late += 1
                continue
            text = with_place(record.caption, place)
            if text == record.caption or text in record.alternatives[:1]:
                same += 1
            elif record.protected:
                offers[uid] = (text,)
            else:
                made = {"place": place.where, "size": place.size, "about": list(place.about)}
                texts[uid] = text, record.score, WITH_PLACE, made
        if not (texts or offers):
            self.messaged.emit(_why_nothing(same, late))
            return
        label = f"place and size of {counted(len(texts) + len(offers), 'caption')}"
        with session.step(label):
            session.reword(label, texts)
            session.suggest(label, offers)
        parts = [f"added to {counted(texts, 'caption')}"] if texts else []
        if offers:
            parts.append(f"offered for {counted(offers, 'caption')} of yours, as a wording")
        self.messaged.emit(f"Place and size {' and '.join(parts)}.")

    def _on_composed(self, plane: Plane, composed: Composed) -> None:
        session, paragraph = self._session, composed.paragraph
        if not paragraph.text:
            self.messaged.emit(NO_REGIONS)
            return
        label = f"paragraph from {counted(composed.digests, 'region')}"
        regions = regions_digest(composed.digests.values())
        made = {**paragraph.to_json(), "regions": regions}
        with session.step(label):
            record = session.whole(plane)
            if record.rejected:
                # Somebody asks for another one.
                session.again([record.uid])
            if record.protected:
                session.suggest(label, {record.uid: (paragraph.text,)})
            else:
                session.reword(label, {record.uid: (paragraph.text, None, FROM_REGIONS, made)})
        kept = "What you wrote of the whole image is kept; the paragraph is offered below it."
        count = counted(composed.digests, "region")
        written = f"A paragraph was put together from {count}: click a phrase to go there."
        self.messaged.emit(kept if record.protected else written)


def _why_nothing(same: int, late: int) -> str:
    """Return why no caption was changed."""
    if same and not late:
        return "Place and size are said already, or there is nothing to say of them."
    return "Nothing was added: the captions have changed meanwhile. Try again."
