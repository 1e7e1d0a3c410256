"""Captions of a model in other words of its own: told apart, or in the order of a context."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.decoders import Caption, CaptionOptions
from napari_patchioner.errors import Cancelled, PatchionerError, counted
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.grounding import (
    DistinctCaption,
    alike,
    captions_in_context,
    context_parts,
    distinct_captions,
    perhaps_alike,
)
from napari_patchioner.progress import Progress
from napari_patchioner.regions import Region
from napari_patchioner.viewer.layers.geometry import record_outline, untangled
from napari_patchioner.viewer.session.session import Session

from .caption import CONTEXT, CaptionQueue, lent, usual_options
from .encode import Encoder
from .job import Job, error_message
from .models import ModelRegistry

NOT_READ = "Press Start first: regions are compared in what the model has read of the image."
NO_OTHERS = "No other region here is called the same: there is nothing to tell apart."
NO_WORDINGS = "No caption of the model here has other wordings that could be ranked."
ONLY_DESCRIBED = "What a server said is not ranked against what the model says, and stays as it is."
NO_CONTEXT = "Write in Options what the image is about, beside Context: wordings are ranked by it."
CHANGED = "Nothing was changed: the captions are others by now. Try again."


class Part(NamedTuple):
    """Regions on one grid that belong together: who, where, and what is said of them.

    Those whose uids are in ``counted`` are compared with, and not put in other words.
    """

    records: tuple[Record, ...]
    outlines: tuple[Callable[[], Region], ...]
    grid: FeatureGrid
    counted: frozenset[str] = frozenset()

    def sound(self) -> tuple[list[Record], list[Region]]:
        """Return those that can be outlined."""
        records, regions = [], []
        for record, outline in zip(self.records, self.outlines, strict=True):
            with suppress(PatchionerError):
                regions.append(untangled(outline()))
                records.append(record)
        return records, regions


def words_before(record: Record) -> str:
    """Return what a caption was before it was put in other words."""
    others = record.alternatives
    return (
        others[0] if (record.reworded_by or record.distinguished_by) and others else record.caption
    )


def caption_of(record: Record, text: str, *, own: bool = False) -> Caption:
    """Return the caption of a record with this text; with its ``own`` wordings, of no others."""
    score = math.nan if record.score is None else record.score
    details = record.details or Caption(text, score)
    wordings = own_wordings(record) if own else record.alternatives
    others = tuple(other for other in wordings if other != text)
    return replace(details, text=text, score=score, alternatives=others)


def own_wordings(record: Record) -> tuple[str, ...]:
    """Return the wordings that compare with a caption: those of whoever made it.

    How likely a model finds a text says nothing of another one's, such as a server's.
    """
    if record.is_human:
        return record.alternatives
    maker = record.maker_of(record.caption)
    return tuple(text for text in record.alternatives if record.maker_of(text) == maker)


def distinguish(
    registry: ModelRegistry,
    model: str,
    parts: Sequence[Part],
    options: Mapping[str, Any],
    progress: Progress,
) -> dict[str, DistinctCaption]:
    """Find captions that tell the regions of each part apart, by uid."""
    distinct: dict[str, DistinctCaption] = {}
    with lent(registry, model, options, progress) as (captioner, rest):
        asked = CaptionOptions().changed(usual_options(rest))
        for part in parts:
            records, regions = part.sound()
            captions = [caption_of(record, words_before(record)) for record in records]
            if len(records) > 1:
                answers = distinct_captions(
                    captioner,
                    part.grid,
                    regions,
                    captions,
                    asked,
                    vouched=[record.vouched for record in records],
                    progress=progress,
                )
                answered = zip(records, answers, strict=True)
                distinct.update({r.uid: a for r, a in answered if r.uid not in part.counted})
    return distinct


def rank(
    registry: ModelRegistry,
    model: str,
    parts: Sequence[Part],
    context: str,
    options: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Caption]:
    """Order the wordings of captions by a context, by uid."""
    ranked: dict[str, Caption] = {}
    with lent(registry, model, options, progress) as (captioner, _):
        for part in parts:
            records, regions = part.sound()
            captions = [caption_of(record, record.caption, own=True) for record in records]
            answers = captions_in_context(
                captioner, part.grid, regions, captions, context, progress=progress
            )
            ranked.update(zip((r.uid for r in records), answers, strict=True))
    return ranked


class Rewriter(QObject):  # type: ignore[misc]
    """Puts captions in other words that the model has for them, each time as one step.

    A caption that changes meanwhile stays as it is then; people's, accepted and locked ones stay.
    """

    changed = Signal()
    messaged = Signal(str)

    def __init__(
        self,
        session: Session,
        encoder: Encoder,
        queue: CaptionQueue,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._encoder, self._queue = session, encoder, queue
        self._job: Job | None = None

    @property
    def is_busy(self) -> bool:
        """Whether an answer is on its way."""
        return self._job is not None

    def set_apart(self, uids: Sequence[str]) -> None:
        """Tell these regions apart; one from all that are called the same; all where none is."""
        if self._waits(uids):
            return
        places = self._places()
        if not places:
            self.messaged.emit(NOT_READ)
            return
        chosen = [uid for uid in uids if uid in places]
        if len(chosen) > 1:
            parts = self._parts(places, chosen, least=2)
        else:
            parts = []
            for group in self._alike(places, chosen):
                others = self._perhaps_alike(places, group)
                together = self._parts(places, [*group, *others], least=2)
                parts += [part._replace(counted=frozenset(others)) for part in together]
        if not parts:
            self.messaged.emit(NO_OTHERS)
            return
        options = self._queue.options_for(part.grid for part in parts)
        delivered = partial(self._on_distinct, parts, len(uids) - len(chosen))
        self._run(distinguish, parts, options, delivered=delivered)

    def rank(self, uids: Sequence[str]) -> None:
        """Order the wordings of these regions by the context; of all where there are none."""
        places, context = self._places(), self._queue.options_for([]).get(CONTEXT, "")
        if not context_parts(context):
            self.messaged.emit(NO_CONTEXT)
            return
        if not places:
            self.messaged.emit(NOT_READ)
            return
        records = self._session.records
        if self._waits(uids):
            return
        chosen = [uid for uid in list(uids) or list(places) if uid in places]
        described = [uid for uid in chosen if records[uid].is_described]
        chosen = [uid for uid in chosen if own_wordings(records[uid])]
        parts = self._parts(places, chosen, least=1)
        if not parts:
            self.messaged.emit(ONLY_DESCRIBED if described else NO_WORDINGS)
            return
        options = self._queue.options_for(part.grid for part in parts)
        delivered = partial(self._on_ranked, parts, context)
        self._run(rank, parts, context, options, delivered=delivered)

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._job is not None:
            self._job.drop()
            self._job = None

    # details

    def _places(self) -> dict[str, tuple[Plane, FeatureGrid]]:
        """Return where captioned regions lie whose plane has been read."""
        places = {}
        for uid, record in self._session.records.items():
            if record.caption and not record.rejected and record.plane is None:
                place = self._encoder.plane_and_grid(record, self._session)
                if place is not None and not record.members:
                    places[uid] = place
        return places

    def _waits(self, uids: Sequence[str]) -> bool:
        """Say how many captions are still to come, of several regions or of a whole plane."""
        records = self._session.records
        asked = [records[uid] for uid in uids if uid in records]
        planes = {self._plane(record) for record in asked}
        if len(asked) < 2:
            shapes = (record for record in records.values() if record.subject == "shape")
            asked = [r for r in shapes if not planes or self._plane(r) in planes]
        coming = [r for r in asked if r.wanted and not r.protected and self._plane(r)]
        if coming:
            are, they = ("is", "it is") if len(coming) == 1 else ("are", "they are")
            self.messaged.emit(
                f"{counted(coming, 'caption')} {are} still to come: wait until {they} there, then "
                "press again."
            )
        return bool(coming)

    def _plane(self, record: Record) -> Plane | None:
        """Return on which plane that has been read a record lies."""
        place = self._encoder.plane_and_grid(record, self._session)
        return place[0] if place is not None else None

    def _alike(
        self, places: Mapping[str, tuple[Plane, FeatureGrid]], chosen: Sequence[str]
    ) -> list[list[str]]:
        """Return regions of one plane that are called the same, those like the chosen one alone."""
        by_plane: dict[Plane, list[str]] = {}
        for uid, (plane, _) in places.items():
            by_plane.setdefault(plane, []).append(uid)
        groups = []
        for uids in by_plane.values():
            texts = [words_before(self._session.records[uid]) for uid in uids]
            groups += [[uids[row] for row in rows] for rows in alike(texts)]
        return [group for group in groups if not chosen or chosen[0] in group]

    def _perhaps_alike(
        self, places: Mapping[str, tuple[Plane, FeatureGrid]], group: Sequence[str]
    ) -> list[str]:
        """Return what a person called otherwise on the same plane that may be the same thing."""
        records, own = self._session.records, places[group[0]][0]
        uids = [
            uid
            for uid, (plane, _) in places.items()
            if plane == own and uid not in group and records[uid].vouched
        ]
        texts = [words_before(records[uid]) for uid in uids]
        return [uids[row] for row in perhaps_alike(words_before(records[group[0]]), texts)]

    def _parts(
        self,
        places: Mapping[str, tuple[Plane, FeatureGrid]],
        uids: Iterable[str],
        *,
        least: int,
    ) -> list[Part]:
        """Return regions plane by plane, where there are so many."""
        by_plane: dict[Plane, list[str]] = {}
        for uid in uids:
            by_plane.setdefault(places[uid][0], []).append(uid)
        parts = []
        for plane, own in by_plane.items():
            records = tuple(self._session.records[uid] for uid in own)
            outlines = tuple(record_outline(r, self._session, plane.axes) for r in records)
            if len(records) >= least:
                parts.append(Part(records, outlines, places[own[0]][1]))
        return parts

    def _run(self, function: Callable[..., Any], *arguments: Any, delivered: Any) -> None:
        self.close()
        encoder = self._encoder
        work = (function, encoder.registry, encoder.model, *arguments)
        self._job = Job.run(*work, delivered=delivered, ended=self._on_ended, parent=self)

    def _on_ended(self, error: Exception | None) -> None:
        self._job = None
        if error is not None and not isinstance(error, Cancelled):
            self.messaged.emit(error_message(error, "The captions could not be compared"))
        self.changed.emit()

    def _unchanged(self, parts: Sequence[Part]) -> dict[str, Record]:
        """Return the records that are what they were when they were asked about."""
        known = {record.uid: record for part in parts for record in part.records}
        now = self._session.records
        return {uid: record for uid, record in known.items() if now.get(uid) is record}

    def _on_distinct(
        self, parts: Sequence[Part], silent: int, answers: Mapping[str, DistinctCaption]
    ) -> None:
        records, texts = self._unchanged(parts), {}
        offers: dict[str, tuple[str, str]] = {}
        ways: dict[str, int] = {}
        kept = still_alike = 0
        for uid, answer in answers.items():
            record = records.get(uid)
            if record is None:
                continue
            if not answer.by or answer.text == record.caption:
                still_alike += not answer.way
                continue
            if record.protected:
                if record.source == "model" and not record.locked:
                    offers[uid] = answer.text, answer.by
                else:
                    kept += 1
                continue
            ways[answer.way] = ways.get(answer.way, 0) + 1
            made = {"way": answer.way, "others": answer.others, "model": self._encoder.model}
            texts[uid] = answer.text, answer.score, answer.by, made
        if not records:
            self.messaged.emit(CHANGED)
            return
        if texts or offers:
            label = f"telling {counted(len(texts) + len(offers), 'caption')} apart"
            with self._session.step(label):
                self._session.reword(label, texts)
                for uid, (text, by) in offers.items():
                    self._session.suggest(label, {uid: [text]}, by)
            # At once: what a table of a layer says otherwise is taken for a person's words.
            self.changed.emit()
        self.messaged.emit(_distinct_message(ways, len(offers), kept, still_alike, silent))

    def _on_ranked(
        self, parts: Sequence[Part], context: str, answers: Mapping[str, Caption]
    ) -> None:
        records, texts, offers = self._unchanged(parts), {}, {}
        by = f"ranked by the context {context!r}"
        for uid, answer in answers.items():
            record = records.get(uid)
            if record is None:
                continue
            others = [text for text in (answer.text, *answer.alternatives) if text]
            offers[uid] = [text for text in others if text != record.caption]
            if answer.text != record.caption and not record.protected:
                score = None if math.isnan(answer.score) else answer.score
                made = {"context": context, "model": self._encoder.model}
                texts[uid] = answer.text, score, by, made
                offers[uid] = list(answer.alternatives)
        if not records:
            self.messaged.emit(CHANGED)
            return
        label = f"ranking of {counted(offers, 'caption')}"
        with self._session.step(label):
            self._session.reword(label, texts)
            self._session.suggest(label, offers)
        self.changed.emit()
        said = f"{counted(texts, 'caption')} changed" if texts else "no caption changed"
        self.messaged.emit(f"Wordings ranked by {context!r}: {said}; others stand below each.")


def _distinct_message(
    ways: Mapping[str, int], offered: int, kept: int, still_alike: int, silent: int
) -> str:
    """Say how many captions were told apart, and how."""
    total = sum(ways.values())
    parts = []
    if total:
        hows = [
            f"{number} from some only" if way == "partly" else f"{number} by {way}"
            for way, number in ways.items()
        ]
        parts.append(f"{counted(total, 'caption')} told apart: {', '.join(hows)}")
    else:
        leads = "every caption here leads to its region already"
        parts.append("" if still_alike or kept or offered else leads)
    if offered:
        which = (
            "it apart is offered below it" if offered == 1 else "them apart is offered below each"
        )
        parts.append(
            f"{counted(offered, 'caption')} you accepted kept, what tells {which}: Ctrl+1 takes it"
        )
    if kept:
        parts.append(f"{counted(kept, 'caption')} of yours kept")
    if still_alike:
        parts.append(f"{counted(still_alike, 'region')} could not be told apart")
    if silent:
        parts.append(f"{counted(silent, 'region')} without a caption left out")
    message = "; ".join(part for part in parts if part)
    return f"{message[:1].upper()}{message[1:]}."
