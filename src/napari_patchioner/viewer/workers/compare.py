"""Regions compared with each other, or one over the slices of a stack, in a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import Cancelled, RegionError, counted
from napari_patchioner.grids import FeatureGrid, GridStore
from napari_patchioner.grounding.compare import (
    MOST_SLICES,
    Comparison,
    SliceComparison,
    compare_regions,
    compare_slices,
    learned_part,
    places_called,
)
from napari_patchioner.progress import Progress, part
from napari_patchioner.regions import Region, cover
from napari_patchioner.viewer.layers.geometry import (
    full_shape,
    own_axes,
    record_outline,
    record_plane,
    shown_plane,
    untangled,
)
from napari_patchioner.viewer.session.session import Session

from .caption import CaptionQueue, caption_at, lent
from .encode import Encoder, current_store, encode_plane
from .job import Job, JobProgress, error_message
from .models import ModelRegistry
from .plane import PlaneSource, channels, plane_source

SELECT = (
    "Select two shapes or more to compare them (press S, then Shift+click), or one of a stack to "
    "compare its slices."
)
START = "Press Start first: what is compared is read from the image."
DELETED = "The region has been deleted; Undo brings it back."
SEVERAL = "A shape whose corners lie on several planes cannot be compared; draw it anew on one."

Outline: TypeAlias = Callable[[], Region]
# The grid of a plane, or what is needed to make it.
Ground: TypeAlias = FeatureGrid | PlaneSource


class Compared(NamedTuple):
    """Regions and how they compare; what to call each, and why others are left out."""

    uids: tuple[str, ...]
    names: tuple[str, ...]
    result: Comparison
    faults: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """How they compare, in one line."""
        said = self.result.sentence(self.names)
        if not self.faults:
            return said
        are = "is" if len(self.faults) == 1 else "are"
        reasons = " ".join(dict.fromkeys(self.faults))
        return f"{said}. {counted(self.faults, 'region')} {are} left out: {reasons}"


class Slice(NamedTuple):
    """What is said of a region on one slice."""

    number: int
    caption: Caption


class Sliced(NamedTuple):
    """A region over all slices."""

    numbers: tuple[int, ...]
    result: SliceComparison


class Asked(NamedTuple):
    """What a region was when it was compared: its text, and the fingerprint of its geometry."""

    caption: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class SliceQuestion:
    """A region of a stack, and the axis along which its slices are compared."""

    uid: str
    axis: int
    # All axes that can be chosen, with their labels
    axes: tuple[tuple[int, str], ...]


def compare_places(
    registry: ModelRegistry,
    model: str,
    places: Mapping[str, tuple[Outline, Ground, Caption | None]],
    is_same_plane: bool,
    store: GridStore,
    options: Mapping[str, Any],
    progress: Progress,
) -> Compared:
    """Compare regions, by uid; what has no caption yet is captioned, what lies nowhere left out."""
    uids: list[str] = []
    regions: list[Region] = []
    grids: list[FeatureGrid] = []
    captions: list[Caption] = []
    faults: list[RegionError] = []
    with lent(registry, model, options, progress) as (captioner, rest):
        for number, (uid, (outline, ground, caption)) in enumerate(places.items()):
            share = part(progress, 0.7 * number / len(places), 0.7 * (number + 1) / len(places))
            try:
                region = untangled(outline())
                grid = _grid(captioner, ground, store, share)
                cover(region, grid.transform)
                captions.append(caption or caption_at(captioner, grid, region, rest, share))
            except RegionError as error:
                faults.append(error)
                continue
            uids.append(uid)
            regions.append(region)
            grids.append(grid)
        if faults and len(uids) < 2:
            raise faults[0]
        pairs = list(zip(grids, regions, strict=True))
        share = part(progress, 0.7, 1.0)
        result = compare_regions(captioner, pairs, captions=captions, progress=share)
    names = places_called(regions if is_same_plane else regions[:0])
    names = names or tuple(str(n) for n in range(1, len(regions) + 1))
    return Compared(tuple(uids), names, result, tuple(map(str, faults)))


def compare_planes(
    registry: ModelRegistry,
    model: str,
    outline: Outline,
    sources: Sequence[tuple[int, Ground]],
    store: GridStore,
    options: Mapping[str, Any],
    progress: Progress,
) -> Iterator[Slice | Sliced]:
    """Caption a region on each plane, encoded once and kept in the store; then compare them all."""
    region = untangled(outline())
    captions: list[Caption] = []
    vectors: list[npt.NDArray[np.float32]] = []
    with lent(registry, model, options, progress) as (captioner, rest):
        for place, (number, ground) in enumerate(sources):
            first, last = place / len(sources), (place + 1) / len(sources)
            message = f"slice {place + 1} of {len(sources)}"
            progress(first, message)
            share = part(progress, first, last, message)
            grid = _grid(captioner, ground, store, share)
            captions.append(caption_at(captioner, grid, region, rest, share))
            vectors.append(learned_part(captioner, captioner.embed(grid, [region]))[0])
            yield Slice(number, captions[-1])
    numbers = tuple(number for number, _ in sources)
    yield Sliced(numbers, compare_slices(captions, np.array(vectors, np.float32)))


def _grid(
    captioner: Captioner, ground: Ground, store: GridStore, progress: Progress
) -> FeatureGrid:
    """Return the grid of a plane, encoded unless that was done before."""
    if isinstance(ground, PlaneSource):
        return encode_plane(captioner, ground, store, progress)
    return ground


class Comparer(QObject):  # type: ignore[misc]
    """Compares what is selected: several regions, or one over the slices of a stack.

    One comparison is with a worker at any time; a later one takes its place.
    """

    messaged = Signal(str)
    # A comparison has begun, has come on, or is over.
    changed = Signal()

    def __init__(
        self,
        image: Image,
        encoder: Encoder,
        queue: CaptionQueue,
        session: Session,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._image, self._encoder, self._queue = image, encoder, queue
        self._session = session
        self._job: Job | None = None
        self.compared: Compared | None = None
        # Of one region over slices: what is asked, and the slices so far
        self.question: SliceQuestion | None = None
        self.slices: list[Slice] = []
        self.sliced: Sliced | None = None
        # What was compared, as it was, and with which model; whether the image is another by now
        self._asked: dict[str, Asked] = {}
        self._model = ""
        self._forgotten = False
        self._shown = ("", "")

    @property
    def image_name(self) -> str:
        """What the image is called."""
        return str(self._image.name)

    @property
    def progress(self) -> JobProgress | None:
        """How far a comparison is."""
        return self._job.progress if self._job is not None else None

    def start(self, uids: Sequence[str], axis: int | None = None) -> bool:
        """Compare records, or one over slices along an axis; whether that has begun."""
        records = [
            self._session.records[uid]
            for uid in dict.fromkeys(uids)
            if uid in self._session.records
        ]
        if len(records) < 2 and not (records and self._other_axes(records[0])):
            self.messaged.emit(SELECT)
        elif not self._encoder.ready:
            self.messaged.emit(START)
        elif any(own_axes(record, self._session) is None for record in records):
            self.messaged.emit(SEVERAL)
        else:
            self.close()
            self._asked = {r.uid: Asked(r.caption, r.fingerprint) for r in records}
            self._model, self._forgotten = self._encoder.model, False
            self.compared, self.question, self.sliced, self.slices = None, None, None, []
            if len(records) == 1:
                self._start_slices(records[0], axis)
            else:
                self._start_regions(records)
            self.messaged.emit("Comparing…")
            self.changed.emit()
            return True
        return False

    def start_again(self) -> None:
        """Compare what is left of what was compared, as it is now."""
        self.start(self.left, self.question.axis if self.question is not None else None)

    @property
    def left(self) -> list[str]:
        """The uids of what was compared, as far as it is still there and can be again."""
        left = [uid for uid in self._asked if uid in self._session.records]
        return left if len(left) >= min(2, len(self._asked)) else []

    @property
    def outdated(self) -> str:
        """What has changed since regions were compared, in a few words; empty where nothing has."""
        if self.compared is None and self.sliced is None:
            return ""
        records = [self._session.records.get(uid) for uid in self._asked]
        if gone := records.count(None):
            if len(records) == 1:
                return "the region has been deleted"
            have = "has" if gone == 1 else "have"
            return f"{counted(range(gone), 'region')} {have} been deleted"
        asked = list(zip([r for r in records if r is not None], self._asked.values(), strict=True))
        if any(record.fingerprint != before.fingerprint for record, before in asked):
            return "a region has another outline"
        if self._forgotten or self._encoder.model not in ("", self._model):
            return "the image or the model has changed"
        if self.compared is not None:
            # What had no caption was captioned on the way.
            said = [caption.text for caption in self.compared.result.captions]
            pairs = zip(asked, said, strict=True)
            if any(r.caption not in (before.caption, text) for (r, before), text in pairs):
                return "a caption has changed"
        return ""

    def follow(self) -> None:
        """Announce it when what was compared is no longer what is there."""
        shown = self.outdated, self.objection
        if shown != self._shown:
            self._shown = shown
            self.changed.emit()

    def forget(self) -> None:
        """Know that the image or the model is another."""
        self._forgotten = True
        self.follow()

    @property
    def objection(self) -> str:
        """Why the region cannot say what its slices agree on, in a sentence; empty if it can."""
        question, sliced = self.question, self.sliced
        if question is None or sliced is None:
            return "There is no consensus before all slices are compared."
        record = self._session.records.get(question.uid)
        if record is None:
            return DELETED
        if outdated := self.outdated:
            return f"It is outdated, since {outdated}: compare again first."
        if not sliced.result.consensus:
            return f"No caption has more than half of the slices: {sliced.result.division}."
        if record.rejected:
            return "You rejected what was said of this region: press Caption again first."
        if record.protected:
            return "What you wrote, accepted or locked stays as it is."
        return ""

    def take_consensus(self) -> None:
        """Let the region say what its slices agree on, as one step."""
        question, sliced = self.question, self.sliced
        if self.objection or question is None or sliced is None:
            self.messaged.emit(self.objection)
            return
        result, total = sliced.result, counted(sliced.numbers, "slice")
        is_whole = result.agreeing == len(sliced.numbers)
        by = f"consensus of {total if is_whole else f'{result.agreeing} of {total}'}"
        made = {
            "slices": [sliced.numbers[0], sliced.numbers[-1]],
            "changes": [sliced.numbers[place] for place in result.changes],
            "compared": len(sliced.numbers),
            "agreeing": result.agreeing,
        }
        entry = (result.consensus, result.score, by, made)
        self._session.reword(by, {question.uid: entry})
        self.messaged.emit(f"The caption is the {by} now; Undo takes it back.")

    def cancel(self) -> None:
        """Stop at the next step."""
        if self._job is not None:
            self._job.cancel()

    def close(self) -> None:
        """Drop what is under way."""
        if self._job is not None:
            self._job.drop()
            self._job = None

    # details

    def _other_axes(self, record: Record) -> list[int]:
        """Return the axes along which a region has slices."""
        shape, axes = full_shape(self._image), own_axes(record, self._session)
        others = [axis for axis in range(self._image.ndim) if axis not in (axes or ())]
        return [axis for axis in others if shape[axis] > 1] if axes is not None else []

    def _start_regions(self, records: Sequence[Record]) -> None:
        places, planes = {}, set()
        for record in records:
            axes, ground = self._ground(record)
            outline = record_outline(record, self._session, axes)
            planes.add(record_plane(record, self._session, axes))
            places[record.uid] = outline, ground, _said(record)
        self._run(compare_places, (places, len(planes) == 1), self._on_compared)

    def _start_slices(self, record: Record, axis: int | None) -> None:
        others = self._other_axes(record)
        labels = [str(label) for label in self._image.axis_labels]
        # The last one is the depth of most stacks.
        axis = axis if axis in others else others[-1]
        named = tuple((other, _label(labels[other], other)) for other in others)
        self.question = SliceQuestion(record.uid, axis, named)
        axes, _ = self._ground(record)
        own = record_plane(record, self._session, axes)
        assert own is not None
        place = [other for other in range(self._image.ndim) if other not in axes].index(axis)
        sources: list[tuple[int, Ground]] = []
        # In groups, so that of many no more than the most are taken, evenly.
        length = full_shape(self._image)[axis]
        for number in range(0, length, -(-length // MOST_SLICES)):
            index = (*own.index[:place], number, *own.index[place + 1 :])
            sources.append((number, self._at(Plane(axes, index))))
        outline = record_outline(record, self._session, axes)
        self._run(compare_planes, (outline, sources), self._on_sliced)

    def _ground(self, record: Record) -> tuple[tuple[int, int], Ground]:
        """Return the axes that a record is read along, and the grid there or how to make it."""
        known = self._encoder.plane_and_grid(record, self._session)
        if known is not None:
            return known[0].axes, known[1]
        axes = own_axes(record, self._session)
        assert axes is not None
        shown = shown_plane(self._encoder.viewer, self._image)
        if shown is not None and set(shown.axes) == set(axes):
            axes = shown.axes
        plane = record_plane(record, self._session, axes)
        assert plane is not None
        return axes, self._at(plane)

    def _at(self, plane: Plane) -> Ground:
        """Return the grid of a plane, or how to make it."""
        if plane in self._encoder.grids:
            return self._encoder.grids[plane]
        encoder = self._encoder
        others = channels(encoder.viewer, self._image) if encoder.composite else ()
        return plane_source(self._image, plane, others)

    def _run(
        self, work: Callable[..., Any], own: tuple[Any, ...], delivered: Callable[[Any], object]
    ) -> None:
        encoder = self._encoder
        options = self._queue.options_for(encoder.grids.values())
        given = (encoder.registry, encoder.model, *own, current_store(encoder.keep), options)
        self._job = Job.run(work, *given, delivered=delivered, ended=self._on_ended, parent=self)

    def _on_compared(self, compared: Compared) -> None:
        self.compared = compared
        self._asked = {uid: self._asked[uid] for uid in compared.uids}
        self.changed.emit()

    def _on_sliced(self, news: Slice | Sliced) -> None:
        if isinstance(news, Sliced):
            self.sliced = news
        else:
            self.slices.append(news)
        self.changed.emit()

    def _on_ended(self, error: Exception | None) -> None:
        self._job = None
        if isinstance(error, Cancelled):
            self.messaged.emit("The comparison was cancelled; what was read is kept.")
        elif error is not None:
            self.messaged.emit(error_message(error, "the regions could not be compared"))
        elif self.compared is not None:
            self.messaged.emit(self.compared.sentence)
        elif self.sliced is not None:
            self.messaged.emit(self.sliced.result.sentence(self.sliced.numbers))
        self.changed.emit()


def _said(record: Record) -> Caption | None:
    """Return what is said of a region already, a person's words included."""
    if not record.caption:
        return None
    details = record.details
    if details is not None and details.text == record.caption:
        return details
    return Caption(record.caption, record.score if record.score is not None else float("nan"))


def _label(label: str, axis: int) -> str:
    """Return what to call an axis."""
    return f"axis {axis}" if label.lstrip("-").isdecimal() else label
