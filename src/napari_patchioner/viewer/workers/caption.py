"""Captioning regions in a worker: takes what the session wants, and brings back the captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.backbones import TextTower
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import Caption
from napari_patchioner.describers.picture import BACKBONE as PICTURE
from napari_patchioner.errors import Cancelled, PatchionerError, counted
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.grounding import captions_in_context
from napari_patchioner.models.memories import MemoryChoice, with_memory
from napari_patchioner.progress import Progress, part
from napari_patchioner.regions import Region
from napari_patchioner.viewer.layers import image_layers
from napari_patchioner.viewer.layers.geometry import (
    own_axes,
    pixel_size,
    record_outline,
    untangled,
)
from napari_patchioner.viewer.session.session import Request, Session

from .encode import Encoder, Overview
from .job import Job, JobProgress, error_message
from .models import ModelRegistry

Answer = tuple[Request, Caption | PatchionerError]

# The region is outlined by the worker: of thousands it takes longer than a window may wait.
Task = tuple[Request, Callable[[], Region], FeatureGrid]

# Regions decoded between two checks whether the job is cancelled.
BATCH = 16
# Smaller batches are over before anybody could press Cancel.
WATCHED = 32
CANCELLED = "cancelled; press Caption again to have it written"
SEVERAL = "its corners lie on several planes; draw it anew on one"
# What a pooling needs in the grid besides the patches: the field and its name.
NEEDS = {"attention": ("attention", "attention"), "cls": ("cls", "class token")}

CONTEXT, LAYER_NAMES = "context", "layer_names"
"""Options of a window: what the image is about, and whether the names of layers say so too."""


@contextmanager
def lent(
    registry: ModelRegistry, model: str, options: Mapping[str, Any], progress: Progress
) -> Iterator[tuple[Captioner, dict[str, Any]]]:
    """Lend a model, with the memory that options name; the options without it come along."""
    rest = {name: value for name, value in options.items() if name != "memory"}
    with registry.using(model, progress) as captioner:
        memory = options.get("memory")
        yield with_memory(captioner, memory, progress) if memory else captioner, rest


def caption_region(
    registry: ModelRegistry,
    model: str,
    grid: FeatureGrid,
    region: Region,
    options: Mapping[str, Any],
    progress: Progress,
) -> Caption:
    """Caption one region from the grid at hand."""
    with lent(registry, model, options, progress) as (captioner, rest):
        [caption] = captioner.caption(grid, [region], progress=progress, **usual_options(rest))
    return caption


def caption_at(
    captioner: Captioner,
    grid: FeatureGrid,
    region: Region,
    options: Mapping[str, Any],
    progress: Progress,
) -> Caption:
    """Caption one region with a model at hand, of a large plane from as close as it asks for."""
    [caption] = _captions(captioner, grid, [region], options, progress)
    return caption


def _captions(
    captioner: Captioner,
    grid: FeatureGrid,
    regions: Sequence[Region],
    options: Mapping[str, Any],
    progress: Progress,
) -> list[Caption]:
    """Caption regions of a plane of any size."""
    usual = usual_options(options)
    if not isinstance(grid, Overview):
        return captioner.caption(grid, regions, progress=progress, **usual)
    if "zoom" in options:
        usual["zoom"] = options["zoom"]
    return grid.caption(captioner, regions, progress=progress, **usual)


def caption_tasks(
    registry: ModelRegistry,
    model: str,
    tasks: Sequence[Task],
    options: Mapping[str, Any],
    progress: Progress,
) -> Iterator[tuple[list[Answer], Mapping[str, Any]]]:
    """Caption regions in batches, each batch on one grid; yield pairs of request and answer.

    And what the captions are made with besides: a ``memory`` that is not the model's own, a server.
    The first region comes alone: a person waits for it.
    """
    by_grid: dict[int, list[Task]] = {}
    for task in tasks:
        by_grid.setdefault(id(task[2]), []).append(task)
    done = 0
    for same in by_grid.values():
        remaining = iter(same)
        # A server takes its time for each.
        most = 1 if same[0][2].backbone == PICTURE else BATCH
        while batch := list(islice(remaining, most if done else 1)):
            message = f"captioning: {done} of {len(tasks)}"
            first, last = done / len(tasks), (done + len(batch)) / len(tasks)
            progress(first, message)
            # Between two batches the model may be exchanged or removed.
            with lent(registry, model, options, progress) as (captioner, rest):
                inner = part(progress, first, last, message)
                answers = _caption_batch(captioner, batch, rest, inner)
                made = dict(captioner.origin)
                if captioner.memory:
                    made["memory"] = dict(captioner.memory)
            done += len(batch)
            yield answers, made


def _caption_batch(
    captioner: Captioner, batch: Sequence[Task], options: Mapping[str, Any], progress: Progress
) -> list[Answer]:
    """Outline the regions of one grid and caption them.

    Where one region is at fault, its error is the answer, and the others get their caption.
    """
    asked: list[tuple[Task, Region]] = []
    answers: list[Answer] = []
    for task in batch:
        try:
            asked.append((task, untangled(task[1]())))
        except PatchionerError as error:
            answers.append((task[0], error))
    if not asked:
        return answers
    grid, regions = batch[0][2], [region for _, region in asked]
    try:
        captions = _captions(captioner, grid, regions, options, progress)
        context = options.get(CONTEXT)
        # Without a text tower captions stay in the order of the model.
        if context and isinstance(captioner.backbone, TextTower):
            captions = captions_in_context(captioner, grid, regions, captions, context)
    except PatchionerError as error:
        if len(asked) == 1:
            return [*answers, (asked[0][0][0], error)]
        for task, _ in asked:
            answers += _caption_batch(captioner, [task], options, progress)
        return answers
    return answers + [(task[0], text) for (task, _), text in zip(asked, captions, strict=True)]


def usual_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as captioners take them: nothing of large planes, no context."""
    others = ("zoom", CONTEXT, LAYER_NAMES)
    return {name: value for name, value in options.items() if name not in others}


def left_message(made: int, kept: int, missing: int) -> str:
    """Say how many captions were made, where work has ended early.

    >>> left_message(207, 93, 0)
    '207 of 300 captions were made anew; the others are as they were.'
    """
    total = made + kept + missing
    if not missing:
        return f"{made} of {counted(total, 'caption')} were made anew; the others are as they were."
    others = (
        f"{kept} are as they were and {missing} are missing" if kept else "the others are missing"
    )
    return (
        f"{made} of {counted(total, 'caption')} were written; {others}. Press Caption again to "
        "have them."
    )


class CaptionQueue(QObject):  # type: ignore[misc]
    """Has at most one batch of captions with a worker; the rest waits in the session."""

    captioned = Signal()
    messaged = Signal(str)

    def __init__(self, session: Session, encoder: Encoder, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.options: dict[str, Any] = {}
        self._session, self._encoder = session, encoder
        self._job: Job | None = None
        self._is_long = False
        # Whether it is a server that is asked
        self.asks_server = False
        self._open: set[Request] = set()
        # Who got a caption since there was nothing to do.
        self._made: set[str] = set()

    @property
    def memory(self) -> MemoryChoice | None:
        """The vocabulary of this image, if it has one."""
        chosen = self._session.vocabulary
        return chosen if isinstance(chosen, MemoryChoice) else None

    @property
    def active(self) -> bool:
        """Whether a worker is captioning."""
        return self._job is not None

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Use other options from now on; in place, as the overlays follow them too."""
        self.options.clear()
        self.options.update(options)

    def work(self) -> None:
        """Send all captions that are wanted and possible to a worker, unless it has some."""
        self._refuse()
        if self._open and not any(map(self._session.awaits, self._open)):
            # All was asked anew meanwhile, or is wanted no more.
            self._drop()
        if self._job is not None or self._encoder.active or not self._encoder.ready:
            return
        tasks = self._tasks()
        if not tasks:
            self._made.clear()
            return
        self._open = {request for request, _, _ in tasks}
        self._made -= {request.uid for request in self._open}
        model, options = self._encoder.model, self.options_for(grid for _, _, grid in tasks)
        self.asks_server = any(grid.backbone == PICTURE for _, _, grid in tasks)
        is_large = any(isinstance(grid, Overview) for _, _, grid in tasks)
        self._is_long = len(tasks) > WATCHED or is_large or self.asks_server
        work = (caption_tasks, self._encoder.registry, model, tasks, options)
        delivered = partial(self._on_delivered, model, options)
        self._job = Job.run(*work, delivered=delivered, ended=self._on_ended, parent=self)
        if self.asks_server:
            about = counted(tasks, "region")
            self.messaged.emit(f"Asking {model} about {about}: Esc or Cancel stops it.")
            # At once, as both are needed now.
            self.captioned.emit()

    def close(self) -> None:
        """Drop the batch of the worker; its captions are wanted again."""
        self._session.give_back(self._drop())

    def cancel(self) -> None:
        """Stop captioning: what is not made anew stays as it is until it is asked for again."""
        dropped = self._drop()
        # What was asked meanwhile would begin at once.
        dropped.update(request for request, _, _ in self._tasks())
        kept, missing = self._session.stop(dropped, CANCELLED)
        if kept or missing:
            self.messaged.emit(left_message(len(self._made), kept, missing))
        self._made.clear()
        self.captioned.emit()

    def _drop(self) -> set[Request]:
        """Take the batch away from the worker; return what was not answered."""
        if self._job is not None:
            self._job.drop()
        self._job, self.asks_server = None, False
        dropped, self._open = self._open, set()
        return dropped

    @property
    def progress(self) -> JobProgress | None:
        """How far a batch is that is long enough to be watched."""
        return self._job.progress if self._job is not None and self._is_long else None

    def options_for(self, grids: Iterable[FeatureGrid]) -> dict[str, Any]:
        """Return the options and how large pixels are, without a pooling the model lacks."""
        options = {name: value for name, value in self.options.items() if name != "union"}
        if context := self._context():
            options[CONTEXT] = context
        options.pop(LAYER_NAMES, None)
        size = pixel_size(self._encoder.image)
        if size is not None:
            options["pixel_size"] = size
        if self.memory is not None:
            options["memory"] = self.memory
        field, name = NEEDS.get(options.get("pooling", ""), ("", ""))
        if not field or all(getattr(grid, field) is not None for grid in grids):
            return options
        self.messaged.emit(f"this model has no {name}; its own way of pooling is used instead")
        return {**options, "pooling": None}

    def _context(self) -> str:
        """Return what the person says the image is about, with the names of layers if wanted."""
        names = [self.options.get(CONTEXT, "")]
        if self.options.get(LAYER_NAMES):
            viewer, image = self._encoder.viewer, self._encoder.image
            # Our own layers are called after what they hold.
            names += [
                layer.name
                for layer in viewer.layers
                if layer is image or not image_layers.is_ours(viewer, layer)
            ]
        return ", ".join(name for name in names if name)

    def _refuse(self) -> None:
        """Say of regions on no single plane why they have no caption."""
        session = self._session
        refused = session.take(lambda record: own_axes(record, session) is None)
        for request in refused:
            session.fail(request, SEVERAL)
        if refused:
            self.messaged.emit(f"A region has no caption: {SEVERAL}.")
            self.captioned.emit()

    def _tasks(self) -> list[Task]:
        """Take all requests whose grid is there, each with what outlines its region."""
        session, union = self._session, bool(self.options.get("union"))
        places: dict[str, tuple[Plane, FeatureGrid]] = {}

        def is_ready(record: Record) -> bool:
            place = self._encoder.plane_and_grid(record, session)
            if place is not None:
                places[record.uid] = place
            return place is not None

        tasks = []
        for request in session.take(is_ready):
            (plane, grid), record = places[request.uid], session.records[request.uid]
            tasks.append((request, record_outline(record, session, plane.axes, union=union), grid))
        return tasks

    def _on_delivered(
        self,
        model: str,
        used: Mapping[str, Any],
        result: tuple[list[Answer], Mapping[str, Any]],
    ) -> None:
        answers, made = result
        options = {name: value for name, value in used.items() if value is not None}
        own = dict(made)
        if memory := own.pop("memory", None):
            options["memory"] = memory
        with self._session.together():
            for request, answer in answers:
                self._open.discard(request)
                if isinstance(answer, PatchionerError):
                    self._session.fail(request, str(answer))
                else:
                    origin = self._origin(request, options)
                    origin |= own if origin else {}
                    if self._session.deliver(request, answer, model, origin):
                        self._made.add(request.uid)
        self.captioned.emit()

    def _origin(self, request: Request, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a caption is made from, as plain values."""
        record = self._session.records.get(request.uid)
        place = self._encoder.plane_and_grid(record, self._session) if record else None
        if record is None or place is None:
            return {}
        plane, grid = place
        origin = {**self._encoder.provenance(plane), "options": dict(options)}
        if isinstance(grid, Overview):
            # A shape that has changed meanwhile may be none; its caption is not taken either.
            with suppress(PatchionerError):
                region = record_outline(record, self._session, plane.axes)()
                plan = grid.planner.plan(region, zoom=bool(options.get("zoom")))
                origin["looked"] = dict(plan.notes)
        return origin

    def _on_ended(self, error: Exception | None) -> None:
        self._job = None
        asked, self.asks_server = self.asks_server, False
        unanswered, self._open = self._open, set()
        if error is not None and not isinstance(error, Cancelled):
            message = error_message(error, "the captions could not be written")
            kept, missing = self._session.stop(unanswered, message)
            if kept:
                message = f"{message.rstrip('.')}. {left_message(len(self._made), kept, missing)}"
            self.messaged.emit(message)
        elif asked and error is None:
            self.messaged.emit(f"{counted(self._made, 'caption')} by {self._encoder.model}.")
        self.captioned.emit()
