"""Place and size of regions in words, and a paragraph about an image, composed in a worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
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
    PlaceDigests,
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
    is_shown_turned,
    own_axes,
    record_outline,
    record_plane,
)
from napari_patchioner.viewer.session.session import Session

from .job import Job, error_message

NO_CAPTION = "There is no caption to add place and size to yet: press Start, or write one."
NO_REGIONS = "No region on this plane has a caption to make a paragraph of: draw and caption some."
SAME = "Nothing has changed: the paragraph stays as it is."
TURNED = "Directions are those of the stored image, which this layer shows turned or mirrored."
NO_PLACE = "The whole image has no place within itself: select regions that lie on one plane."
# Regions that are placed between two looks at whether to go on.
_BATCH = 64
# The only plane of an image of two axes
_FLAT = Plane()


class Placed(NamedTuple):
    """A record with what a description goes by: the region, where it lies, and its digest.

    Of what lies on no single plane, or outlines no region, there is no region.
    """

    record: Record
    axes: tuple[int, int] | None
    thing: Thing | None
    digest: int

    @classmethod
    def of(cls, record: Record, session: Session, before: Placed | None) -> Placed:
        """Return that of a record, given what was known of it before another change."""
        digest = digest_of(record)
        if before is not None and before.thing is not None and _lies_as(before.record, record):
            thing = replace(before.thing, caption=record.caption, doubtful=doubtful(record))
            return cls(record, before.axes, thing, digest)
        if record.plane is not None:
            return cls(record, None, None, 0)
        is_flat = record.seen is not None and record.seen.vertices.shape[1] == len(_FLAT.axes)
        axes = _FLAT.axes if is_flat else own_axes(record, session)
        if axes is not None:
            with suppress(RegionError):
                region = record_outline(record, session, axes)()
                plane = _FLAT if is_flat else record_plane(record, session, axes)
                thing = Thing(record.uid, region, record.caption, plane, doubtful(record))
                return cls(record, axes, thing, digest)
        return cls(record, axes, None, 0)


def _lies_as(before: Record, record: Record) -> bool:
    """Whether nothing but the text of a record has changed."""
    same = before.seen is record.seen and before.members == record.members
    return same and before.fingerprint == record.fingerprint


def pixel_scale(image: Image) -> tuple[tuple[float, str], ...]:
    """Return how large the pixels of an image are, axis by axis, each with its unit."""
    scale = [abs(float(step)) for step in image.scale]
    return tuple(zip(scale, map(str, image.units), strict=True))


@dataclass(frozen=True, eq=False, slots=True)
class Survey:
    """The records of an image as they were, and how large its pixels are, axis by axis.

    ``known`` is what has been found out of them before, and grows with what is found out now.
    """

    records: Mapping[str, Record]
    shape: tuple[int, ...]
    scale: tuple[tuple[float, str], ...]
    known: dict[str, Placed]

    @classmethod
    def of(cls, session: Session, image: Image, known: dict[str, Placed]) -> Survey:
        """Return that of an image now."""
        return cls(dict(session.records), full_shape(image), pixel_scale(image), known)

    def sides(self, axes: tuple[int, int]) -> PixelSides:
        """Return height and width of a pixel of planes with these axes."""
        return self.scale[axes[0]], self.scale[axes[1]]

    def size(self, axes: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of planes with these axes, in pixels."""
        return self.shape[axes[0]], self.shape[axes[1]]

    def things(self) -> dict[tuple[int, int], list[Thing]]:
        """Return all regions that lie on one plane each, by the axes of that."""
        # To ask where they lie, as they were.
        session = Session()
        session.records = dict(self.records)
        things: dict[tuple[int, int], list[Thing]] = {}
        for placed in place_all(session, self.known):
            if placed.axes is not None and placed.thing is not None:
                things.setdefault(placed.axes, []).append(placed.thing)
        return things


def place_all(session: Session, known: dict[str, Placed]) -> list[Placed]:
    """Return where all records of a session are; what has not changed is known."""
    placed = []
    for uid, record in session.records.items():
        before = known.get(uid)
        if before is None or before.record is not record:
            before = known[uid] = Placed.of(record, session, before)
        placed.append(before)
    return placed


class Measured(NamedTuple):
    """Place and size of regions, and a digest of what the words for each go by, by uid."""

    places: Mapping[str, Place]
    digests: Mapping[str, str]


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


def measure(survey: Survey, uids: Iterable[str], progress: Progress) -> Measured:
    """Return the same with what the words go by."""
    places = find_places(survey, uids, progress)
    digests = place_digests(survey.known[uid] for uid in survey.records)
    scale = scale_text(survey.scale)
    made = {uid: f"{digests.digest(uid, place.about)} {scale}" for uid, place in places.items()}
    return Measured(places, made)


def place_digests(placed: Iterable[Placed]) -> PlaceDigests:
    """Return the digests of what words about places go by, of regions as they lie."""
    return PlaceDigests(
        (item.thing, item.record.fingerprint) for item in placed if item.thing is not None
    )


def scale_text(scale: Iterable[tuple[float, str]]) -> str:
    """Return how large pixels are, as it is kept beside sizes."""
    return " ".join(f"{size:.6g}{unit}" for size, unit in scale)


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
        # Whether somebody was told that the image is shown turned
        self._hinted = False
        # What has been found out of each record, by uid.
        self._known: dict[str, Placed] = {}
        # Those whose place and size may be others by now, and for pixels of what size; None where
        # that has to be looked up.
        self._moved: tuple[str, frozenset[str]] | None = None
        # Before those who then ask for them.
        session.changed.insert(0, self._forget_moved)

    @property
    def is_busy(self) -> bool:
        """Whether an answer is on its way."""
        return self._job is not None

    def add_places(self, uids: Iterable[str]) -> None:
        """Say place and size behind the captions of these regions; of all where there are none."""
        survey = Survey.of(self._session, self._image, self._known)
        asked = list(uids) or list(survey.records)
        captioned = [uid for uid in asked if uid in survey.records and survey.records[uid].caption]
        if not captioned:
            self.messaged.emit(NO_CAPTION)
            return
        self._run(measure, survey, captioned, delivered=partial(self._on_places, survey))

    def write(self, plane: Plane) -> None:
        """Write a paragraph about a plane from what is said of its regions."""
        survey = Survey.of(self._session, self._image, self._known)
        self._run(compose, survey, plane, delivered=partial(self._on_composed, plane))

    def close(self) -> None:
        """Wait for nothing any more, and follow no session."""
        self._drop()
        if self._forget_moved in self._session.changed:
            self._session.changed.remove(self._forget_moved)

    def _drop(self) -> None:
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

    def moved(self) -> frozenset[str]:
        """Return those whose caption says a place or size that may be another by now.

        That is so where what it is compared with has changed, or itself, or the size of a pixel.
        """
        scale = scale_text(pixel_scale(self._image))
        if self._moved is None or self._moved[0] != scale:
            records = self._session.records.values()
            said = [record for record in records if record.reworded_by == WITH_PLACE]
            self._moved = scale, frozenset(self._among(said, scale) if said else ())
        return self._moved[1]

    def _among(self, said: Iterable[Record], scale: str) -> Iterator[str]:
        """Yield those of some with place and size that may be others by now."""
        digests = place_digests(self._place_all())
        for record in said:
            made = record.origin[REWORDED]
            kept, about = made.get("regions"), made.get("about")
            if not (isinstance(kept, str) and isinstance(about, list | tuple)):
                # Of what was read from a file nobody knows.
                continue
            if kept != f"{digests.digest(record.uid, map(str, about))} {scale}":
                yield record.uid

    def _forget_moved(self) -> None:
        self._moved = None

    def _digest(self, plane: Plane) -> str:
        """Return the digest of the regions on a plane; of what has not changed it is known."""
        return regions_digest(
            item.digest
            for item in self._place_all()
            if item.thing and item.digest and item.thing.plane == plane
        )

    def _place_all(self) -> list[Placed]:
        """Return where all regions are, and forget what there was of others."""
        placed = place_all(self._session, self._known)
        if len(placed) < len(self._known):
            for uid in self._known.keys() - self._session.records.keys():
                self._known.pop(uid, None)
        return placed

    def _run(self, function: object, *arguments: object, delivered: object) -> None:
        self._drop()
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

    def _on_places(self, survey: Survey, measured: Measured) -> None:
        session, places, texts, offers = self._session, measured.places, {}, {}
        same = late = 0
        for uid, place in places.items():
            record = session.records.get(uid)
            if record is None or record is not survey.records[uid]:
                late += 1
                continue
            text = with_place(record.caption, place)
            made = {"place": place.where, "size": place.size, "about": list(place.about)}
            made["regions"] = measured.digests[uid]
            if text == record.caption and not _is_renewed(record, made):
                same += 1
            elif not record.protected:
                texts[uid] = text, record.score, WITH_PLACE, made
            elif text in record.alternatives[:1]:
                same += 1
            else:
                offers[uid] = (text,)
        if not (texts or offers):
            self.messaged.emit(_why_nothing(same, late) if places else NO_PLACE)
            return
        label = f"place and size of {counted(len(texts) + len(offers), 'caption')}"
        with session.step(label):
            session.reword(label, texts)
            session.suggest(label, offers, by=WITH_PLACE)
        # At once: what a table of a layer says otherwise is taken for a person's words.
        self.changed.emit()
        parts = [f"added to {counted(texts, 'caption')}"] if texts else []
        if offers:
            theirs = f"offered for {counted(offers, 'caption')} of yours, as a wording"
            parts.append(f"{theirs} (Ctrl+1 takes that of each selected region)")
        self.messaged.emit(f"Place and size {' and '.join(parts)}.{self._hint()}")

    def _on_composed(self, plane: Plane, composed: Composed) -> None:
        session, paragraph = self._session, composed.paragraph
        if not paragraph.text:
            self.messaged.emit(NO_REGIONS)
            return
        label = f"paragraph from {counted(composed.digests, 'region')}"
        regions = regions_digest(composed.digests.values())
        # No model has written it, whichever it takes the place of.
        made = {**paragraph.to_json(), "regions": regions, "model": ""}
        before = session.find_whole(plane)
        if before is not None and _says(before, paragraph.text, made):
            self.messaged.emit(SAME)
            return
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
        self.messaged.emit(f"{kept if record.protected else written}{self._hint()}")

    def _hint(self) -> str:
        """Say once that directions are not those of the screen, where that is so."""
        is_turned, before = is_shown_turned(self._image), self._hinted
        self._hinted = is_turned
        return f" {TURNED}" if is_turned and not before else ""


def _says(whole: Record, text: str, made: Mapping[str, object]) -> bool:
    """Whether a whole image has this paragraph already, or a person has been offered it."""
    if whole.protected:
        return text in whole.alternatives[:1] or text == whole.caption
    before = whole.origin.get(REWORDED)
    if whole.rejected or whole.reworded_by != FROM_REGIONS or not isinstance(before, Mapping):
        return False
    return whole.caption == text and all(before.get(name) == made[name] for name in made)


def _is_renewed(record: Record, made: Mapping[str, object]) -> bool:
    """Whether the same place and size go by something else than they did."""
    before = record.origin.get(REWORDED)
    if record.protected or record.reworded_by != WITH_PLACE or not isinstance(before, Mapping):
        return False
    return any(before.get(name) != value for name, value in made.items())


def _why_nothing(same: int, late: int) -> str:
    """Return why no caption was changed."""
    if same and not late:
        return "Place and size are said already, or there is nothing to say of them."
    return "Nothing was added: the captions have changed meanwhile. Try again."
