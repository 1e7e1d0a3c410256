"""Asking a model on a server about regions of an image, in a worker, and what has come so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.annotations.place import PixelSides, usual_sides
from napari_patchioner.describers import (
    NOT_SAID,
    Server,
    cleaned_answer,
    crop_window,
    cut_off_sentence,
    draw_region,
    is_cut_off,
    list_models,
    size_in_words,
)
from napari_patchioner.describers.picture import LONGEST, RegionPicture
from napari_patchioner.errors import Cancelled, counted
from napari_patchioner.images import as_rgb
from napari_patchioner.models.servers import ServerSettings
from napari_patchioner.progress import Progress
from napari_patchioner.regions import Region
from napari_patchioner.viewer.layers.geometry import (
    own_axes,
    record_outline,
    record_plane,
    shown_plane,
    untangled,
)
from napari_patchioner.viewer.session.session import Session

from .describe import pixel_scale
from .encode import Encoder
from .job import Job, JobProgress, error_message
from .plane import PlaneSource, all_sizes, channels

SET_UP_FIRST = "Set a server up first: its address is all it takes."
NO_REGION = "Select a region to ask about first: press S, then click it."
NO_QUESTION = 'Type a question first, such as "what is the mitotic stage?".'
NOT_WHERE = "What the server said is of regions that have changed meanwhile: ask again."
NOT_TAKEN = "What the server says of the old one is not taken; ask again."
OFF_PLANE = "A region lies on no single plane and cannot be shown to a server; draw it on one."
# How often at most what has come is shown.
_SHOWN_S = 0.1
# A pixel that is so many times as long as wide is no square on any screen.
_THINNEST = 20.0


@dataclass(frozen=True, eq=False, slots=True)
class Subject:
    """One region to ask about: the plane in all its sizes, what outlines it, and its fields."""

    uid: str
    sizes: Sequence[PlaneSource]
    outline: Callable[[], Region]
    fields: Mapping[str, str]
    sides: PixelSides


class Piece(NamedTuple):
    """What has come of the answer about one region, and whether that is all of it.

    ``is_cut`` where the model had more to say than it was allowed.
    """

    uid: str
    text: str
    is_whole: bool
    model: str
    is_cut: bool = False


def ask_about(
    server: Server, subjects: Sequence[Subject], question: str, progress: Progress
) -> Iterator[Piece]:
    """Ask about regions one after another; yield all that has come of each answer so far.

    However fast pieces come, a window is given what has gathered no more often than it is read.
    """
    progress(0.0, f"asking {server.endpoint.name}")
    server.endpoint.check()
    server = server.named()
    for number, subject in enumerate(subjects):
        text, said = "", f"asking {server.model}: {number + 1} of {len(subjects)}"
        progress(number / len(subjects), said)
        is_cut, fresh, shown = False, False, -math.inf
        region = untangled(subject.outline())
        lengths = usual_sides(subject.sides)
        known = lengths if lengths[1] != "pixel" else None
        size = size_in_words(region, subject.sizes[0].full_size, sides=known)
        fields = {**subject.fields, "size": size}
        picture = picture_of(subject.sizes, region, aspect_of(subject.sides))
        with closing(server.stream(picture, fields, question=question)) as pieces:
            for piece in pieces:
                # Raises once somebody has stopped it; the connection is closed then.
                progress(number / len(subjects), said)
                text += piece
                is_cut = is_cut or is_cut_off(piece)
                fresh = fresh or bool(piece)
                if fresh and time.monotonic() - shown >= _SHOWN_S:
                    shown, fresh = time.monotonic(), False
                    yield Piece(subject.uid, cleaned_answer(text), False, server.model)
        yield Piece(subject.uid, cleaned_answer(text), True, server.model, is_cut)


def aspect_of(sides: PixelSides) -> float:
    """Return the height of a pixel for a width of one; 1 where both do not compare."""
    (tall, unit), (wide, other) = sides
    lengths, common = usual_sides(sides)
    if common != "pixel":
        tall, wide = lengths
    elif unit != other:
        return 1.0
    aspect = tall / wide if wide else 1.0
    # What is thinner is no picture.
    return aspect if 1 / _THINNEST <= aspect <= _THINNEST else 1.0


def picture_of(sizes: Sequence[PlaneSource], region: Region, aspect: float = 1.0) -> RegionPicture:
    """Return a crop of a region from the smallest size of a plane that has it sharp.

    ``aspect`` is the height of a pixel for a width of one.
    """
    shape = sizes[0].full_size
    top, left, height, width = crop_window(region, shape)
    sharp = [size for size in sizes if max(height, width) * size.shape[0] / shape[0] >= LONGEST]
    source = (sharp or [sizes[0]])[-1]
    # Pixels of that size for one of the full one
    down, across = source.shape[0] / shape[0], source.shape[1] / shape[1]
    rows = _span(top * down, (top + height) * down, source.shape[0])
    columns = _span(left * across, (left + width) * across, source.shape[1])
    crop = as_rgb(source.read((slice(*rows), slice(*columns))))
    window = (
        rows[0] / down,
        columns[0] / across,
        (rows[1] - rows[0]) / down,
        (columns[1] - columns[0]) / across,
    )
    return draw_region(np.asarray(crop, np.uint8), region, window, aspect=aspect)


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    """Return whole pixels around two places, at least two of them, inside the picture."""
    first = min(max(math.floor(low), 0), max(length - 2, 0))
    return first, min(max(math.ceil(high), first + 2), length)


def models_of(settings: ServerSettings, progress: Progress) -> list[str]:
    """Return the models that a server lists."""
    return list_models(settings.endpoint(), progress=progress)


@dataclass(eq=False, slots=True)
class Asked:
    """What was asked: of which regions, of which server, with which question, and the answers."""

    uids: tuple[str, ...]
    server: Server
    question: str
    # What was selected then
    selected: tuple[str, ...]
    fingerprints: Mapping[str, str]
    # Of what has come, by uid; those in `whole` are complete
    texts: dict[str, str] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    # Complete, as far as it goes: the longest answer was too short
    cut: set[str] = field(default_factory=set)
    model: str = ""


class Describing(QObject):  # type: ignore[misc]
    """Asks a server about regions of one image, one question at a time.

    Descriptions become captions once all have come, or it is stopped, as one step. The answer to a
    free question is shown until another region is selected; it becomes a caption on demand.
    """

    changed = Signal()
    # More of an answer has come.
    arrived = Signal()
    messaged = Signal(str)

    def __init__(
        self,
        encoder: Encoder,
        session: Session,
        selected: Callable[[], Sequence[str]],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.asked: Asked | None = None
        self._encoder, self._session, self._selected = encoder, session, selected
        self._job: Job | None = None
        # Whether a change is being announced, which must not be taken for another selection
        self._following = False

    @property
    def progress(self) -> JobProgress | None:
        """How far it is."""
        return self._job.progress if self._job is not None else None

    @property
    def running(self) -> bool:
        """Whether an answer is on its way."""
        return self._job is not None

    @property
    def usable(self) -> bool:
        """Whether there is an answer to take as a caption."""
        asked = self.asked
        return bool(asked and asked.question and not self.running and any(self._whole(asked)))

    def answer(self) -> str:
        """Return what has come so far, a line for each of several regions."""
        if self.asked is None:
            return ""
        texts = [self.asked.texts[uid] for uid in self.asked.uids if uid in self.asked.texts]
        if len(self.asked.uids) == 1:
            return "".join(texts)
        return "\n".join(f"{number}  {text}" for number, text in enumerate(texts, start=1))

    def ask(self, server: Server, uids: Iterable[str], question: str = "") -> None:
        """Ask about regions; without a question, have them described with the prompt."""
        self.stop()
        records = [r for uid in uids if (r := self._session.records.get(uid)) is not None]
        if not records:
            self.messaged.emit(NO_REGION)
            return
        subjects = list(filter(None, map(self._subject, records)))
        if len(subjects) < len(records):
            self.messaged.emit(OFF_PLANE)
        if not subjects:
            return
        known = tuple(subject.uid for subject in subjects)
        prints = {uid: self._session.records[uid].fingerprint for uid in known}
        self.asked = Asked(known, server, question, tuple(self._selected()), prints)
        work = (ask_about, server, subjects, question)
        ended = partial(self._on_ended, self.asked)
        self._job = Job.run(
            *work, delivered=partial(self._on_piece, self.asked), ended=ended, parent=self
        )
        self.messaged.emit(f"asking {server.model or server.endpoint.name}…")
        self.changed.emit()

    def stop(self) -> None:
        """Stop at once: the connection is closed; descriptions that are whole are kept."""
        if self._job is None:
            return
        self._job.drop()
        self._job = None
        asked = self.asked
        if asked is not None:
            self._finish(asked, "stopped")
        self.changed.emit()

    def clear(self) -> None:
        """Stop, and take the answer away."""
        self.stop()
        if self.asked is not None:
            self.asked = None
            self.changed.emit()

    def forget(self) -> bool:
        """Drop what was asked, all that has come included; whether there was anything."""
        if self.asked is None:
            return False
        self.close()
        self.changed.emit()
        return True

    def follow(self) -> None:
        """Stop once something else is selected, and take the answer to what was asked away."""
        if self.asked is None or self._following:
            return
        if tuple(self._selected()) != self.asked.selected:
            self._following = True
            try:
                self.clear()
            finally:
                self._following = False

    def use(self) -> None:
        """Take the answers as captions, as one step; a person's text gets them as suggestions."""
        if self.asked is not None and self.usable:
            self._take(self.asked, f"answer for {counted(self._whole(self.asked), 'region')}")
            self.clear()

    def close(self) -> None:
        """Stop, and let nobody know."""
        if self._job is not None:
            self._job.drop()
        self._job = self.asked = None

    def _subject(self, record: Record) -> Subject | None:
        """Return what the worker needs to ask about a record; None if it lies on no plane."""
        encoder = self._encoder
        shown = shown_plane(encoder.viewer, encoder.image)
        axes = own_axes(record, self._session)
        if shown is not None and set(axes or shown.axes) == set(shown.axes):
            axes = shown.axes
        plane = record_plane(record, self._session, axes) if axes is not None else None
        if plane is None:
            return None
        fields = {
            "caption": record.caption,
            "layer": self._layer_name(record),
            "image": encoder.image.name,
        }
        outline = record_outline(record, self._session, plane.axes)
        scale, (down, across) = pixel_scale(encoder.image), plane.axes
        return Subject(
            record.uid, self._sizes(plane), outline, fields, (scale[down], scale[across])
        )

    def _sizes(self, plane: Plane) -> tuple[PlaneSource, ...]:
        """Return a plane in all its sizes, as it is displayed now."""
        encoder = self._encoder
        others = channels(encoder.viewer, encoder.image) if encoder.composite else ()
        return all_sizes(encoder.image, plane, others)

    def _layer_name(self, record: Record) -> str:
        """Return what the person calls the layer of a record."""
        if not record.layer:
            return ""
        return record.layer.partition(":")[2] or record.layer

    def _on_piece(self, asked: Asked, piece: Piece) -> None:
        asked.texts[piece.uid], asked.model = piece.text, piece.model
        if piece.is_whole:
            asked.whole.add(piece.uid)
        if piece.is_cut:
            asked.cut.add(piece.uid)
        self.arrived.emit()

    def _on_ended(self, asked: Asked, error: Exception | None) -> None:
        self._job = None
        problem = ""
        if error is not None and not isinstance(error, Cancelled):
            problem = error_message(error, "the server could not be asked")
        self._finish(asked, problem)
        self.changed.emit()

    def _whole(self, asked: Asked) -> dict[str, str]:
        """Return the answers that are complete, of regions that are as they were when asked."""
        records = self._session.records
        return {
            uid: asked.texts[uid]
            for uid in asked.uids
            if uid in asked.whole
            and asked.texts.get(uid)
            and uid in records
            and records[uid].fingerprint == asked.fingerprints[uid]
        }

    def _finish(self, asked: Asked, problem: str) -> None:
        """Take descriptions as captions; say what has come of it."""
        if asked.cut and not problem:
            what = asked.model if len(asked.uids) == 1 else f"{asked.model} ({len(asked.cut)})"
            advice = "allow it more in Server ▾ Settings…, or ask for less"
            problem = cut_off_sentence(what, asked.server.most_tokens, advice)
        if asked.question:
            silent = not problem and not any(asked.texts.values())
            self.messaged.emit(problem or (NOT_SAID if silent else "answered"))
            return
        whole = self._whole(asked)
        if whole:
            self._take(asked, f"description of {counted(whole, 'region')}", problem)
        else:
            moved = any(asked.texts.get(uid) for uid in asked.whole)
            self.messaged.emit(problem or (NOT_WHERE if moved else NOT_SAID))
        self.asked = None

    def _take(self, asked: Asked, label: str, problem: str = "") -> None:
        """Take what is whole as captions, and say where it is no more than a suggestion."""
        whole, accepted = self._whole(asked), bool(asked.question)
        server = Server(asked.server.endpoint, asked.model, asked.server.prompt)
        origin = server.origin(asked.question)
        left = self._session.describe(label, whole, asked.model, origin, accepted=accepted)
        done = len(whole) - len(left)
        parts = [f"{counted(done, 'caption')} by {asked.model}"] if done else []
        if any(asked.texts.get(uid) for uid in asked.whole - whole.keys()):
            parts.append(NOT_WHERE.rstrip("."))
        if left:
            theirs = "What you wrote, accepted or locked stays"
            parts.append(f"{theirs}: the answer is the first of its other wordings (Ctrl+1)")
        self.messaged.emit(". ".join([*parts, *([problem] if problem else [])]))
