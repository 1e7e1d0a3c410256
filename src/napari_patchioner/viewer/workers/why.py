"""Why captions say what they say: their words on the canvas, agreement, and sentences checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Record
from napari_patchioner.annotations.place import without_place
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import Cancelled, PatchionerError, RegionError, counted
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.progress import Progress, part
from napari_patchioner.regions import Region
from napari_patchioner.viewer.layers.geometry import record_outline, untangled
from napari_patchioner.viewer.session.session import Session
from napari_patchioner.viewer.widgets import throttled

from .caption import CaptionQueue, lent
from .encode import Encoder, Overview
from .job import Job, JobProgress, error_message
from .models import ModelRegistry

if TYPE_CHECKING:
    from napari_patchioner.grounding import Change, GroundedWord, Realigned

Outline = Callable[[], Region]

# Long enough to finish a word, short enough to seem at once.
REST_MS = 150
# Regions judged between two looks whether the job is cancelled; a caption may want the model.
BATCH = 32
CHECKED = "check of the sentence"
CHANGED = "The sentence has changed meanwhile, so nothing is suggested: check it again."
NOT_CHECKED = "Nothing could be checked: the region lies outside the image."
CANCELLED = "The check was cancelled; nothing is suggested."
# By whether all that is wrong is there though the sentence says that it is not
_ADVICE = {
    False: "Nothing is clear enough to take the place: change it yourself, or press Why.",
    True: "Change it yourself, or press Why.",
}
NOT_READ = "Press Start first: a sentence can be checked once the image has been read."


@dataclass(frozen=True, eq=False, slots=True)
class Explained:
    """What a region says to the words of a caption; ``heats`` by name lie on one grid's patches.

    The agreement ``rests_on`` some of the words, or if there is none on the text as a whole.
    """

    words: tuple[GroundedWord, ...] = ()
    agreement: float = math.nan
    transform: GridTransform | None = None
    heats: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    rests_on: tuple[str, ...] = ()


class Task(NamedTuple):
    """A caption to judge: whose it is, what it says, and where."""

    uid: str
    text: str
    outline: Outline
    grid: FeatureGrid


def explain(
    registry: ModelRegistry,
    model: str,
    grid: FeatureGrid,
    text: str,
    outline: Outline,
    progress: Progress,
) -> Explained:
    """Judge the words of a caption, and find the patches of each that can be looked for."""
    progress(0.0, "loading the model")
    with registry.using(model, part(progress, 0.0, 0.5)) as captioner:
        # It loads torch, as the captioner has done already.
        from napari_patchioner.grounding.words import WordGrounder, judged_words

        # What was measured needs no model to bear it out.
        text = without_place(text)
        grounder, region = WordGrounder(captioner), untangled(outline())
        near = _near(captioner, grid, region)
        words = grounder.words(near, region, text)
        [agreement] = grounder.agreement(near, [region], [text])
        heats = {}
        for name in dict.fromkeys(word.word.name for word in words if word.word.name):
            # Of a word that cannot be looked for there is none.
            with suppress(PatchionerError):
                heats[name] = grounder.heat(near, region, name)
        judged = () if grounder.is_measured(near) else judged_words(words)
    rests_on = tuple(dict.fromkeys(word.word.text for word in judged))
    return Explained(words, float(agreement), near.transform, heats, rests_on)


def agree(
    registry: ModelRegistry, model: str, tasks: Sequence[Task], progress: Progress
) -> Iterator[dict[str, float]]:
    """Yield how well captions agree with their regions, by uid, some at a time."""
    with registry.using(model, progress) as captioner:
        from napari_patchioner.grounding import WordGrounder

        grounder = WordGrounder(captioner)
        for start in range(0, len(tasks), BATCH):
            progress(start / len(tasks), "comparing captions with their regions")
            agreements = {}
            for task in tasks[start : start + BATCH]:
                agreements[task.uid] = math.nan
                with suppress(RegionError):
                    region = untangled(task.outline())
                    near = _near(captioner, task.grid, region)
                    text = without_place(task.text)
                    agreements[task.uid] = float(grounder.agreement(near, [region], [text])[0])
            yield agreements


def check(
    registry: ModelRegistry,
    model: str,
    tasks: Sequence[Task],
    names: Sequence[tuple[str, str, Outline]],
    options: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Realigned]:
    """Check sentences, by uid; ``names`` are people's, with the uid of the region of each.

    A name counts where its region lies within that of the sentence, and is another.
    """
    checked = {}
    progress(0.0, "loading the model")
    with lent(registry, model, options, part(progress, 0.0, 0.2)) as (captioner, rest):
        from napari_patchioner.grounding import Realigner
        from napari_patchioner.grounding.realign import lies_in

        realigner = Realigner(captioner)
        rest.pop("zoom", None)
        for number, task in enumerate(tasks):
            progress(0.2 + 0.8 * number / len(tasks), "checking the sentence")
            with suppress(RegionError):
                region = untangled(task.outline())
                near = _near(captioner, task.grid, region)
                inside = [
                    (name, own)
                    for name, uid, make in names
                    if uid != task.uid and lies_in(own := untangled(make()), region)
                ]
                # Place and size, which were measured, stay behind what is suggested.
                said = without_place(task.text)
                result = realigner.check(near, region, said, inside, **rest)
                place = task.text.removeprefix(said) if task.text.startswith(said) else ""
                whole = result.text + place if result.changes else task.text
                checked[task.uid] = replace(result, text=whole)
    return checked


def _near(captioner: Captioner, grid: FeatureGrid, region: Region) -> FeatureGrid:
    """Return the grid that a region is captioned from: of a large plane, one from close."""
    if not isinstance(grid, Overview):
        return grid
    return captioner.pyramid(grid.levels, store=grid.store).grid(region)


class Why(QObject):  # type: ignore[misc]
    """Explains one caption of an image, as long as it is switched on, and compares all of them.

    A worker judges the words; an answer about a caption or a shape that has changed meanwhile is
    dropped. ``wanted`` says whether the agreement of all captions is to be seen.
    """

    changed = Signal()
    messaged = Signal(str)
    # Another word is chosen; nothing else has changed.
    picked = Signal()
    # Sentences were checked; suggestions stand beside them.
    suggested = Signal()

    def __init__(
        self, encoder: Encoder, session: Session, queue: CaptionQueue, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.on = False
        self.explained: Explained | None = None
        self.problem = ""
        # Which word of it is chosen, -1 for none
        self.chosen = -1
        # Why a text was suggested for a record, by uid and text
        self.reasons: dict[tuple[str, str], tuple[Change, ...]] = {}
        self._encoder, self._session, self._queue = encoder, session, queue
        self._record: Record | None = None
        self._about: tuple[Any, ...] = ()
        self._job: Job | None = None
        self._agreeing: Job | None = None
        self._checking: Job | None = None
        self._wanted = False
        # A model that cannot read is not asked again.
        self._mute = ""
        self._soon = throttled(self._ask, REST_MS, self, rest=True)
        self._compare_soon = throttled(self._compare, REST_MS, self, rest=True)

    # one caption

    def switch(self, on: bool) -> None:
        """Begin to explain, or stop."""
        if on != self.on:
            self.on = on
            self._forget()
            self.follow(self._record)
            self.changed.emit()

    def follow(self, record: Record | None) -> None:
        """Turn to a caption; one that has changed is explained anew."""
        self._record = record
        if not self.on:
            return
        about = self._subject(record)
        if about == self._about:
            return
        is_same, is_same_text = (about[:n] == self._about[:n] and bool(about) for n in (1, 2))
        self._about = about
        self._drop()
        if not is_same_text:
            self.explained, self.chosen, self.problem = None, -1, ""
        if about and is_same:
            # Somebody types, or drags its shape.
            self._soon.throttle()
        elif about:
            self._ask()
        self.changed.emit()

    def choose(self, index: int) -> None:
        """Choose a word, -1 for none: its patches are drawn."""
        known = self.explained
        index = index if known is not None and 0 <= index < len(known.words) else -1
        if index != self.chosen:
            self.chosen = index
            self.picked.emit()

    def shown_heat(self) -> tuple[GridTransform, npt.NDArray[np.float32]] | None:
        """Return where the patches of the chosen word lie, and how likely, (rows, columns)."""
        known = self.explained
        if not self.on or known is None or self.chosen < 0 or known.transform is None:
            return None
        here, record = self._encoder.here(), self._record
        place = self._encoder.plane_and_grid(record, self._session) if record else None
        if here is None or place is None or here[0] != place[0]:
            # Another plane of the stack is on display.
            return None
        heat = known.heats.get(known.words[self.chosen].word.name)
        return (known.transform, heat) if heat is not None else None

    # all captions

    def compare(self, wanted: bool) -> None:
        """Keep the agreement of all captions up to date while somebody looks at it."""
        self._wanted = wanted
        if wanted:
            self._compare_soon.throttle()

    # sentences

    @property
    def progress(self) -> JobProgress | None:
        """How far a check of sentences is."""
        return self._checking.progress if self._checking is not None else None

    def check(self, uids: Iterable[str]) -> None:
        """Check the sentences of records, and suggest better ones beside them."""
        records = [self._session.records[uid] for uid in uids if uid in self._session.records]
        tasks = [task for record in records if (task := self._task(record)) is not None]
        if not tasks:
            nothing = "There is no sentence to check here: write one first."
            said = any(record.caption for record in records)
            self.messaged.emit(NOT_READ if said else nothing)
            return
        if self._checking is not None:
            self._checking.drop()
        about = {task.uid: self._state(self._session.records[task.uid]) for task in tasks}
        options = self._queue.options_for(task.grid for task in tasks)
        encoder = self._encoder
        work = check, encoder.registry, encoder.model, tasks, self._names(tasks), options
        delivered = partial(self._on_checked, about)
        self._checking = Job.run(
            *work, delivered=delivered, ended=self._on_check_ended, parent=self
        )
        self.messaged.emit(f"checking {counted(tasks, 'sentence')}…")
        self.changed.emit()

    def cancel(self) -> None:
        """Stop checking; nothing is suggested."""
        if self._checking is not None:
            self._checking.drop()
            self._checking = None
            self.messaged.emit(CANCELLED)
            self.changed.emit()

    def reason(self, uid: str, text: str) -> str:
        """Return why a text was suggested for a record; empty where it was not."""
        return "\n".join(change.why for change in self.reasons.get((uid, text), ()))

    def forget(self) -> None:
        """Ask anew: the grid or the model is not what it was."""
        self._mute = ""
        self._forget()
        self.follow(self._record)

    def close(self) -> None:
        """Stop for good."""
        self._soon.cancel()
        self._compare_soon.cancel()
        self.blockSignals(True)
        self._record = None
        self._forget()
        for job in (self._agreeing, self._checking):
            if job is not None:
                job.drop()
        self._agreeing = self._checking = None

    # details

    def _forget(self) -> None:
        self._drop()
        self._about, self.explained, self.chosen, self.problem = (), None, -1, ""

    def _drop(self) -> None:
        if self._job is not None:
            self._job.drop()
        self._job = None

    def _subject(self, record: Record | None) -> tuple[Any, ...]:
        """Return what decides an explanation, comparable; empty where there is none to give."""
        place = self._encoder.plane_and_grid(record, self._session) if record else None
        if record is None or place is None or not record.caption:
            return ()
        return *self._state(record), id(place[1])

    def _state(self, record: Record) -> tuple[Any, ...]:
        """Return what a record says, and of what shapes."""
        known = self._session.records
        members = tuple(known[uid].fingerprint for uid in record.members if uid in known)
        return record.uid, record.caption, record.fingerprint, members

    def _task(self, record: Record) -> Task | None:
        """Return what there is to judge of a record, if its plane has been read."""
        place = self._encoder.plane_and_grid(record, self._session)
        if place is None or not record.caption:
            return None
        outline = record_outline(record, self._session, place[0].axes)
        return Task(record.uid, record.caption, outline, place[1])

    def _ask(self) -> None:
        task = self._task(self._record) if self._record is not None else None
        if not self.on or task is None:
            return
        self._drop()
        encoder = self._encoder
        work = explain, encoder.registry, encoder.model, task.grid, task.text, task.outline
        delivered, ended = partial(self._on_explained, self._about), self._on_ended
        self._job = Job.run(*work, delivered=delivered, ended=ended, parent=self)

    def _on_explained(self, about: tuple[Any, ...], explained: Explained) -> None:
        if about == self._about:
            self.explained, self.problem = explained, ""
            self.chosen = min(self.chosen, len(explained.words) - 1)
            if self._record is not None:
                self._keep({self._record.uid: explained.agreement})
            self.changed.emit()

    def _on_ended(self, error: Exception | None) -> None:
        self._job = None
        if error is not None and not isinstance(error, Cancelled):
            self.problem = error_message(error, "the words could not be looked for")
            self.changed.emit()

    def _compare(self) -> None:
        """Judge what has not been judged as it is now."""
        encoder, session = self._encoder, self._session
        if not self._wanted or self._agreeing is not None or not encoder.ready:
            return
        if encoder.model == self._mute:
            return
        tasks = [
            task
            for record in session.records.values()
            if not session.has_agreement(record, encoder.model)
            and (task := self._task(record)) is not None
        ]
        if tasks:
            about = {task.uid: session.records[task.uid] for task in tasks}
            work = agree, encoder.registry, encoder.model, tasks
            self._agreeing = Job.run(
                *work,
                delivered=partial(self._on_agreed, about),
                ended=partial(self._on_agree_ended, encoder.model),
                background=True,
                parent=self,
            )

    def _on_agreed(self, about: Mapping[str, Record], agreements: Mapping[str, float]) -> None:
        records = self._session.records
        self._keep(
            {
                uid: value
                for uid, value in agreements.items()
                if uid in records
                and records[uid].caption == about[uid].caption
                and records[uid].fingerprint == about[uid].fingerprint
            }
        )
        self.changed.emit()

    def _on_agree_ended(self, model: str, error: Exception | None) -> None:
        self._agreeing = None
        if error is not None and not isinstance(error, Cancelled):
            self._mute = model
        elif self._wanted:
            self._compare_soon.throttle()

    def _keep(self, agreements: Mapping[str, float]) -> None:
        for uid, value in agreements.items():
            if uid in self._session.records:
                self._session.keep_agreement(uid, self._encoder.model, value)

    def _names(self, tasks: Sequence[Task]) -> list[tuple[str, str, Outline]]:
        """Return what people call things on the planes of some sentences, with their regions."""
        # It loads torch, as the model that has read the image has done already.
        from napari_patchioner.grounding.realign import is_given_name

        grids = [task.grid for task in tasks]
        names = []
        for record in self._session.records.values():
            place = self._encoder.plane_and_grid(record, self._session)
            if place is None or not any(place[1] is grid for grid in grids):
                continue
            taught = record.taught_name
            if taught is not None:
                name = taught.name
            elif record.source in ("human", "edited"):
                name = record.caption
            else:
                continue
            if is_given_name(name) and record.plane is None:
                outline = record_outline(record, self._session, place[0].axes)
                names.append((name, record.uid, outline))
        return names

    def _on_checked(
        self, about: Mapping[str, tuple[Any, ...]], checked: Mapping[str, Realigned]
    ) -> None:
        # What has been rewritten or moved meanwhile is another sentence.
        records = self._session.records
        current = {
            uid: result
            for uid, result in checked.items()
            if uid in records and self._state(records[uid]) == about[uid]
        }
        if not current:
            self.messaged.emit(CHANGED if checked else NOT_CHECKED)
            return
        better = {uid: result for uid, result in current.items() if result.changes}
        for uid, result in better.items():
            self.reasons[uid, result.text] = result.changes
        label = f"check of {counted(current, 'sentence')}"
        # Where there is none now, what was suggested of an earlier sentence goes as well.
        offered = {uid: [result.text] if result.changes else [] for uid, result in current.items()}
        self._session.suggest(label, offered, by=CHECKED)
        results = list(current.values())
        said = suggestion_sentence(results) if better else nothing_better(results)
        if len(current) < len(checked):
            changed = counted(len(checked) - len(current), "sentence")
            said = f"{said} {changed} changed meanwhile: check again."
        self.messaged.emit(said)
        self.suggested.emit()

    def _on_check_ended(self, error: Exception | None) -> None:
        self._checking = None
        if error is not None and not isinstance(error, Cancelled):
            self.messaged.emit(error_message(error, "the sentence could not be checked"))
        # After the message of what was found: else this check would be shown as going on.
        self.changed.emit()


def nothing_better(results: Sequence[Realigned]) -> str:
    """Return why no sentence has a suggestion, in words, and what could be judged at all."""
    # It loads torch, as the worker that has checked has done already.
    from napari_patchioner.grounding.words import account_of, is_judged_whole, judged_words

    if len(results) > 1:
        marked = sum(bool(result.kept_wrong()) for result in results)
        mute = sum(not judged_words(result.words) for result in results)
        parts = [
            f"{count} of {len(results)} {what}"
            for count, what in ((marked, "have a word that is marked"), (mute, "cannot be judged"))
            if count
        ]
        rest = f" ({'; '.join(parts)}: select one and press Why)" if parts else ""
        return f"No suggestion for {counted(results, 'sentence')}{rest}."
    [result] = results
    if wrong := result.kept_wrong():
        reasons = " ".join(dict.fromkeys(word.why for word in wrong))
        return f"{reasons} {_ADVICE[all(word.word.denied for word in wrong)]}"
    if is_judged_whole(result.words) and all(w.verdict != "doubtful" for w in result.words):
        missing = ", and nothing that is plain to see is missing" * result.sought
        return f"Nothing here contradicts it{missing}."
    shown = f" The region surely shows {result.shown!r}." if result.shown else ""
    start = "Nothing is put right. " if judged_words(result.words) else ""
    return f"{start}{account_of(result.words)}{shown}"


def suggestion_sentence(results: Sequence[Realigned]) -> str:
    """Return what was suggested, in words; one sentence with what has changed and why."""
    if len(results) > 1:
        better = sum(bool(result.changes) for result in results)
        return (
            f"{better} of {len(results)} sentences have a suggestion, first among their other "
            "wordings: select one, and click it to take it."
        )
    [result] = results
    changed = "; ".join(
        f"{change.before} → {change.after}" if change.before else f"added {change.after!r}"
        for change in result.changes
    )
    kept = ", ".join(dict.fromkeys(repr(word.word.text) for word in result.kept_wrong()))
    marked = f" Kept, though Why marks it: {kept}." if kept else ""
    return (
        f"Suggested below the caption (Ctrl+1 takes it): {changed}. {result.changes[0].why}{marked}"
    )
