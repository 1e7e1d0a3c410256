"""Searches for more of the same, for a phrase, for regions, and what came of them on the canvas."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.utils.events import Event
from qtpy.QtCore import QObject, QTimer, Signal

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.errors import counted
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.images import Levels
from napari_patchioner.teaching import (
    LONGEST,
    ImageMeasures,
)
from napari_patchioner.teaching.measures import Boxes
from napari_patchioner.viewer.layers.geometry import (
    record_outline,
    record_plane,
    shown_plane,
    world_to_image,
)
from napari_patchioner.viewer.layers.proposals import ProposalLayers
from napari_patchioner.viewer.session.proposals import (
    PHRASE_THRESHOLD,
    Proposals,
    Proposed,
    Rejection,
    bounds_of,
    corners_of,
    is_area,
)
from napari_patchioner.viewer.session.session import Session
from napari_patchioner.viewer.widgets import throttled

from .encode import Encoder
from .find import LEAST, Found, Pictured, Said, find_like, find_phrase, propose
from .grow import Picture
from .job import Job, JobProgress, error_message
from .plane import PlaneSource

# The canvas follows the threshold this soon.
PACE_MS = 30
# The heat map follows the boxes this much later.
HEAT_MS = 100
PROPOSE_NOT_READ = "Press Start first: regions can be proposed once the image has been read."
PROPOSE_READING = "This plane is being read: propose regions once it is ready."
NO_AREA = "Find more needs an area to go by: select a box, an ellipse, a polygon or a lasso."
_IN_PARTS = "; the image is large, so it is searched part by part"
NOT_READ = "Press Start first: more like this can be found once the image has been read."
NOT_READ_YET = "Press Start first: what this plane shows can be found once it has been read."


@dataclass(frozen=True, eq=False, slots=True)
class _Question:
    """What was asked: on which plane with which grid, from which examples, called what."""

    plane: Plane
    grid: FeatureGrid
    examples: tuple[str, ...]
    name: str
    left_out: int = 0
    # How captions are asked for, where regions are proposed
    options: Mapping[str, Any] | None = None
    # All that was typed, where no examples but a phrase is what was asked
    phrase: str = ""


class Search(QObject):  # type: ignore[misc]
    """Finds more of what regions of one image show, and shows it until it is accepted or closed.

    Nothing of it belongs to the session before it is accepted: no file has it.
    """

    changed = Signal()
    messaged = Signal(str)
    # With the layer of what is found, once it is there.
    laid = Signal(object)
    # A proposal was clicked on the canvas, with its number and whether Shift was held.
    clicked = Signal(int, bool)

    def __init__(self, encoder: Encoder, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.proposals: Proposals | None = None
        # How likely the image is a photograph, where the model says so
        self.photograph = 0.0
        # The number of what is selected in the list; 0 for nothing
        self.selected = 0
        self.with_heat = True
        # What was typed, where no examples but a phrase was looked for
        self.phrase = ""
        # How captions are asked for, where regions were proposed
        self.options: Mapping[str, Any] | None = None
        self._memory: Mapping[str, Any] = {}
        self._matches: Mapping[str, float] = {}
        self._encoder, self._session = encoder, session
        self._viewer, self._image = encoder.viewer, encoder.image
        self._layers: ProposalLayers | None = None
        self._heat: npt.NDArray[np.float32] | None = None
        self._grid: FeatureGrid | None = None
        self._job: Job | None = None
        # Grows with each question; answers to earlier ones are dropped.
        self._generation = 0
        # Whether what is shown is of the question at hand, which goes on
        self._is_found = False
        self._measures: dict[Plane, tuple[tuple[PlaneSource, ...], ImageMeasures]] = {}
        # Kept when proposals are taken away: what was read of a large plane is not read again.
        self._levels: dict[Plane, tuple[tuple[PlaneSource, ...], Levels]] = {}
        # What is put aside, as it was when it was last looked at
        self._aside: tuple[object, ...] = ()
        self._following = False
        self._drawn: tuple[object, ...] = ()
        self._soon = throttled(self.draw, PACE_MS, self)
        # Once the boxes are seen: napari takes longer to make its layer than they take to find.
        self._heat_soon = throttled(self._draw_heat, HEAT_MS, self)

    # asking

    @property
    def progress(self) -> JobProgress | None:
        """How far a search is."""
        return self._job.progress if self._job is not None else None

    def start(self, uids: Iterable[str]) -> None:
        """Find more of what these regions show, on the plane on display."""
        here = self._encoder.here()
        if here is None:
            self._refuse(NOT_READ)
            return
        plane, grid = here
        shapes = self._shapes(uids)
        examples = [record for record in shapes if is_area(record)]
        pictures: dict[Plane, list[Record]] = {plane: []}
        for record in examples:
            place = self._encoder.plane_and_grid(record, self._session)
            if place is not None:
                pictures.setdefault(place[0], []).append(record)
        known = [record for of_plane in pictures.values() for record in of_plane]
        if not known:
            self._refuse(NOT_READ if examples else NO_AREA)
            return
        asked = {p: self._pictured(p, records) for p, records in pictures.items()}
        uids = tuple(record.uid for record in known)
        left_out = len(shapes) - len(known)
        question = _Question(plane, grid, uids, name_of(known), left_out)
        # The searched one last: what was worked out of it then is at hand.
        pictured = [asked[p] for p in reversed(asked) if asked[p].outlines]
        self._work(question, find_like, pictured, asked[plane], self._encoder.store)
        wanted = f"looking for more like {question.name!r}" if question.name else "looking for more"
        is_large = max(asked[plane].measures.shape) > LONGEST
        how = _IN_PARTS if is_large else "…"
        self.messaged.emit(f"{wanted}{how}")
        self.changed.emit()
        if not is_large:
            QTimer.singleShot(0, partial(self._prepare, self._generation, plane))

    def ask(self, phrase: str) -> None:
        """Find what a phrase says, on the plane on display."""
        here = self._encoder.here()
        if here is None:
            self._refuse(NOT_READ_YET)
            return
        # It loads torch, as the model that has read the image has done already.
        from napari_patchioner.grounding import nothing_wanted, split_negative
        from napari_patchioner.grounding.search import is_searched_in_parts

        wanted, unwanted = split_negative(phrase)
        if not wanted:
            self._refuse(nothing_wanted(unwanted))
            return
        plane, grid = here
        levels = self._pictured(plane, ()).measures.levels
        outlines = {
            record.uid: record_outline(record, self._session, plane.axes)
            for record in self._session.records.values()
            if record.seen is not None and record_plane(record, self._session, plane.axes) == plane
        }
        typed = " ".join(phrase.split())
        question = _Question(plane, grid, (), wanted, phrase=typed)
        self._work(question, find_phrase, grid, levels, typed, outlines, self._encoder.store)
        is_large = is_searched_in_parts(levels.shape)
        how = _IN_PARTS if is_large else "…"
        self.messaged.emit(f"looking for {typed!r}{how}")
        self.changed.emit()
        QTimer.singleShot(0, partial(self._prepare, self._generation, plane))

    def propose(self, options: Mapping[str, Any]) -> None:
        """Propose regions on the plane on display, captioned as the options say."""
        here = self._encoder.here()
        if here is None:
            reading = self._encoder.read_on()
            self._refuse(PROPOSE_READING if reading else PROPOSE_NOT_READ)
            return
        plane, grid = here
        question = _Question(plane, grid, (), "", options=options)
        self._work(question, propose, Picture(self._encoder.sizes[plane]), grid, options)
        self.messaged.emit("proposing regions…")
        self.changed.emit()
        QTimer.singleShot(0, partial(self._prepare, self._generation, plane))

    def origin(self, item: Proposed) -> dict[str, Any]:
        """Return what the caption of a proposal was made from, as plain values."""
        if self.proposals is None or self.options is None or item.caption is None:
            return {}
        options = {name: value for name, value in self.options.items() if value is not None}
        options.pop("memory", None)
        if self._memory:
            options["memory"] = dict(self._memory)
        return {**self._encoder.provenance(self.proposals.plane), "options": options}

    def _work(self, question: _Question, find: Callable[..., Any], *asked: object) -> None:
        """Have a question answered by a worker, in place of any before."""
        self._drop_job()
        self._take_down_unused()
        self._generation += 1
        self._is_found = False
        self._job = Job(find, self._encoder.registry, self._encoder.model, *asked, parent=self)
        self._job.delivered.connect(partial(self._on_delivered, self._generation, question))
        self._job.ended.connect(partial(self._on_ended, self._generation))
        self._job.start()

    def ranked(self) -> list[tuple[str, float, str]]:
        """Return the regions that were there by uid, score and caption, the likeliest first."""
        records = self._session.records
        rows = ((uid, score) for uid, score in self._matches.items() if uid in records)
        ordered = sorted(rows, key=lambda row: -row[1])
        return [(uid, score, records[uid].caption or "") for uid, score in ordered]

    def again(self) -> None:
        """Find more of what the examples show and of what was accepted; a phrase anew."""
        if self.proposals is not None and self.options is not None:
            self.propose(self.options)
        elif self.proposals is not None and self.phrase and not self.proposals.accepted:
            self.ask(self.phrase)
        elif self.proposals is not None:
            self.start(dict.fromkeys((*self.proposals.examples, *self.proposals.accepted)))

    def cancel(self) -> None:
        """Stop the search; what was found before stays."""
        if self._job is not None:
            # A model may take long for a step that nobody waits for any more.
            self._drop_job()
            self._generation += 1
            self._take_down_unused()
            if self._is_found:
                self.messaged.emit("Stopped: the proposals stay, not all of them with a caption.")
            else:
                self._refuse("cancelled")
            self.changed.emit()

    def _refuse(self, message: str) -> None:
        """Say why nothing new is found, and what that is which was found before and is shown."""
        shown = ""
        if self.proposals is None or not self.proposals.shown():
            pass
        elif self.options is not None:
            shown = " The regions that were proposed before are still shown."
        else:
            name = self.phrase or self.name()
            shown = f" What is shown is still what was found for {name!r}."
            if not name:
                shown = " What is shown is still what was found before."
        self.messaged.emit(f"{message.rstrip('.')}.{shown}" if shown else message)

    def _drop_job(self) -> None:
        if self._job is not None:
            self._job.drop()
        self._job = None

    def _shapes(self, uids: Iterable[str]) -> list[Record]:
        """Return the records meant, the members of groups in their place."""
        records = self._session.records
        chosen = [records[uid] for uid in uids if uid in records]
        names = [uid for record in chosen for uid in record.members or (record.uid,)]
        return [records[uid] for uid in dict.fromkeys(names) if uid in records]

    def _pictured(self, plane: Plane, records: Sequence[Record]) -> Pictured:
        """Return an encoded plane with examples, its pixels as they were displayed then."""
        sizes = self._encoder.sizes[plane]
        known = self._measures.get(plane)
        if known is None or known[0] is not sizes:
            levels = self._levels.get(plane)
            if levels is None or levels[0] is not sizes:
                levels = self._levels[plane] = sizes, Levels(sizes)
            known = self._measures[plane] = sizes, ImageMeasures(levels[1])
        outlines = [record_outline(record, self._session, plane.axes) for record in records]
        return Pictured(self._encoder.grids[plane], known[1], outlines)

    def _on_delivered(self, generation: int, question: _Question, result: Found | Said) -> None:
        if generation != self._generation:
            return
        if isinstance(result, Said):
            if self.proposals is not None:
                self.proposals.say(result.captions)
                self._memory = result.memory
                self._refresh()
            return
        if self._encoder.grids.get(question.plane) is not question.grid:
            self._refuse("The image has changed meanwhile; find again.")
            return
        self._is_found = True
        asked = question.plane, question.name, question.examples
        found_before = self._rejections(*asked, proposed=question.options is not None)
        rejected = _corners_of_all(found_before)
        self._aside = self._session.aside
        layers, before = self._layers, self.proposals
        if layers is not None and before is not None and before.plane != question.plane:
            self._take_down()
        self.proposals = Proposals(
            question.plane,
            question.examples,
            question.name,
            result.proposals,
            rejected,
            self._regions(question.plane),
            one_by_one=bool(question.phrase),
        )
        if question.options is not None:
            # What has been proposed at all is to be seen.
            self.proposals.threshold = LEAST
        elif before is not None and before.name == question.name:
            self.proposals.threshold = before.threshold
        elif question.phrase:
            self.proposals.threshold = PHRASE_THRESHOLD
        self._heat, self._grid = result.heat, question.grid
        self.phrase, self._matches = question.phrase, result.matches
        self.options, self._memory = question.options, {}
        self.photograph = float(question.grid.measures.get("photograph", 0.0))
        self.selected = 0
        self._put_up()
        self.messaged.emit(self.sentence(question.left_out, result.left_out))

    def _on_ended(self, generation: int, error: Exception | None) -> None:
        if generation != self._generation:
            return
        self._job = None
        self._take_down_unused()
        if isinstance(error, MemoryError):
            self._refuse("there is not enough memory to search this image; crop it")
        elif error is not None:
            self._refuse(error_message(error, "the image could not be searched"))
        self.changed.emit()

    def sentence(self, left_out: int = 0, words: Sequence[str] = ()) -> str:
        """Return what was found, in words; `words` are those that count for nothing."""
        if self.proposals is None:
            return ""
        shown, total = len(self.proposals.shown()), len(self.proposals.open())
        is_judged = bool(self.proposals.accepted) or len(self.proposals.rejected) > 0
        if self.options is not None and not total and not len(self.proposals.rejected):
            return "Nothing here stands out enough to be proposed, or all of it is a region."
        if self.phrase and not total and not is_judged:
            # Where regions show it, these are what there is of it.
            is_matched = max(self._matches.values(), default=0.0) >= self.proposals.threshold
            what = "Nothing else" if is_matched else "Nothing"
            text = f"{what} here shows {self.phrase!r}, as far as the model can tell."
        elif not total and is_judged:
            text = "All that was found is accepted or rejected; Find again goes on from there."
        elif not total:
            text = "Nothing else like this was found here; more examples may help."
        elif not shown and self.proposals.are_taken():
            text = "What scores high enough is a region already; the others score less."
        elif not shown:
            text = "Nothing scores high enough."
        elif self.options is not None:
            text = f"{counted(shown, 'region')} proposed."
        else:
            alike = f"for {self.phrase!r}" if self.phrase else "like this"
            text = f"{counted(shown, 'proposal')} {alike}."
        if words:
            count = "counts" if len(words) == 1 else "count"
            listed = ", ".join(map(repr, words))
            text += f" {listed} {count} for nothing with this model."
        if left_out:
            text += f" {counted(left_out, 'selected shape')} without an area counted for nothing."
        return text

    # what came of it

    def set_threshold(self, threshold: float) -> None:
        """Show what scores at least as much; nothing is computed."""
        if self.proposals is not None and self.proposals.threshold != threshold:
            before = bool(self.proposals.shown())
            self.proposals.threshold = threshold
            if bool(self.proposals.shown()) != before:
                self.messaged.emit(self.sentence())
            self._soon.throttle()

    def select(self, number: int) -> None:
        """Draw one thicker than the others, 0 for none."""
        if number != self.selected:
            self.selected = number
            self._soon.throttle()

    def set_heat(self, on: bool) -> None:
        """Show the heat map, or not."""
        self.with_heat = on
        self._draw_heat()

    def reject(self, numbers: Iterable[int]) -> int:
        """Leave these out, now and whenever more of the same is searched for, as a step."""
        chosen = self.proposals.chosen(numbers) if self.proposals is not None else []
        if self.proposals is not None and chosen:
            left_out = frozenset(item.number for item in chosen)
            rejection = Rejection(self.proposals, left_out, self.options is not None)
            label = f"rejection of {counted(chosen, 'proposal')}"
            self._session.put_aside((*self._session.aside, rejection), label)
            self._meet()
        self._refresh()
        return len(chosen)

    def restore(self) -> int:
        """Let what was rejected come back, as a step; return how many that are."""
        if self.proposals is None:
            return 0
        count, gone = len(self.proposals.rejected), self._rejections_here()
        kept = (thing for thing in self._session.aside if thing not in gone)
        self._session.put_aside(kept, f"return of {counted(count, 'rejected proposal')}")
        self._meet()
        self._refresh()
        are = "is" if count == 1 else "are"
        self.messaged.emit(f"{counted(count, 'rejected proposal')} {are} back. {self.sentence()}")
        return count

    def accepted(self, uids: Sequence[str], items: Sequence[Proposed]) -> None:
        """Take note of the regions that proposals have become."""
        if self.proposals is not None:
            numbers = (item.number for item in items)
            self.proposals.accept(dict(zip(numbers, uids, strict=True)))
        self._refresh()

    def name(self) -> str:
        """Return what the examples are called now; as they were called where they are gone."""
        if self.proposals is None:
            return ""
        records = self._session.records
        left = [records[uid] for uid in self.proposals.examples if uid in records]
        return name_of(left) if left else self.proposals.name

    def vertices(self, item: Proposed) -> npt.NDArray[np.float64]:
        """Return the corners of a proposal along all axes of the image, shape (corners, n)."""
        assert self._layers is not None
        return self._layers.vertices(item)

    @property
    def here(self) -> bool:
        """Whether the plane on display is the one that was searched."""
        plane = shown_plane(self._viewer, self._image)
        return self.proposals is not None and plane == self.proposals.plane

    def owns(self, layer: object) -> bool:
        """Whether a layer is one of those that show what was found."""
        return self._layers is not None and self._layers.owns(layer)

    def follow(self) -> None:
        """Keep up with what has changed: the plane on display, regions, the image itself."""
        if self.proposals is None or self._layers is None:
            return
        grid = self._encoder.grids.get(self.proposals.plane)
        if grid is None and self._encoder.active:
            # The same image read anew has the same grid.
            return
        if grid is not self._grid:
            self.clear()
            self.messaged.emit("The image has changed; what was found in it is gone.")
            return
        changed = self._meet()
        seen = self.here and bool(self._image.visible)
        if self._following != seen:
            self._following = seen
            self._layers.show(seen)
            changed = True
        if changed:
            self._refresh()

    def clear(self, *, later: bool = False) -> None:
        """Take away everything that was found, and stop; `later` as in `ProposalLayers.close`."""
        self._generation += 1
        self._drop_job()
        self._take_down(later=later)
        self.proposals = self._heat = self._grid = None
        self.phrase, self._matches, self.options = "", {}, None
        self._measures.clear()
        self.selected = 0
        self.changed.emit()

    def close(self) -> None:
        """Do the same for good."""
        self._soon.cancel()
        self._heat_soon.cancel()
        self.blockSignals(True)
        self.clear(later=True)

    def draw(self) -> None:
        """Draw what is shown of it, if that is not what is drawn."""
        if self._layers is None or self.proposals is None:
            return
        items = self.proposals.shown()
        said = [item.text for item in self.proposals.chosen([self.selected])]
        wanted = tuple(item.number for item in items), self.selected, said
        if wanted != self._drawn or self._layers.boxes is None:
            self._drawn = wanted
            self._draw(items)

    # details

    def _refresh(self) -> None:
        if self.proposals is not None and not self.proposals.chosen([self.selected]):
            self.selected = 0
        self.draw()
        self.changed.emit()

    def _meet(self) -> bool:
        """Compare with the regions that lie on the plane, and with what is put aside by now."""
        proposals, aside = self.proposals, self._session.aside
        assert proposals is not None
        changed = False
        if aside != self._aside:
            self._aside, rejections = aside, self._rejections_here()
            own = [r.numbers for r in rejections if r.proposals is proposals]
            others = _corners_of_all(r for r in rejections if r.proposals is not proposals)
            changed = proposals.leave_out(frozenset().union(*own), others)
        regions = self._regions(proposals.plane)
        return proposals.meet(regions, self._session.records.keys()) or changed

    def _regions(self, plane: Plane) -> Boxes:
        """Return the corners of the boxes around all regions on a plane, shape (n, 4)."""
        shapes = [
            record.seen
            for record in self._session.records.values()
            if record.seen is not None
            and is_area(record)
            and record_plane(record, self._session, plane.axes) == plane
        ]
        return bounds_of(shapes, plane.axes)

    def _prepare(self, generation: int, plane: Plane) -> None:
        """Make the layer of the boxes while the search runs: it takes about as long."""
        if generation == self._generation and self._job is not None and self._layers is None:
            self._made(plane)
            self._draw([])

    def _made(self, plane: Plane) -> ProposalLayers:
        """Return the layers, made on first use."""
        if self._layers is None:
            self._layers = ProposalLayers(self._viewer, self._image, plane, self._on_edited)
            self._viewer.layers.events.removed.connect(self._on_removed)
            self._image.events.visible.connect(self._on_visible)
            self._viewer.mouse_drag_callbacks.append(self._on_press)
        return self._layers

    def _draw(self, items: Sequence[Proposed]) -> None:
        """Draw these, and tell of the layer where it is a new one."""
        assert self._layers is not None
        before = self._layers.boxes
        self._layers.draw(items, self.selected)
        if before is None and self._layers.boxes is not None:
            self.laid.emit(self._layers.boxes)

    def _put_up(self) -> None:
        """Show what was found, the boxes first."""
        assert self.proposals is not None
        layers = self._made(self.proposals.plane)
        self._drawn = ()
        self.draw()
        self._following = self.here and bool(self._image.visible)
        layers.show(self._following)
        if layers.boxes is not None and self.here:
            self._viewer.layers.selection.active = layers.boxes
        self.changed.emit()
        self._heat_soon.throttle()

    def _take_down(self, *, later: bool = False) -> None:
        layers, self._layers = self._layers, None
        if layers is not None:
            self._viewer.layers.events.removed.disconnect(self._on_removed)
            self._image.events.visible.disconnect(self._on_visible)
            if self._on_press in self._viewer.mouse_drag_callbacks:
                self._viewer.mouse_drag_callbacks.remove(self._on_press)
            layers.close(later=later)

    def _take_down_unused(self) -> None:
        """Take away layers that were made for a search of which nothing came."""
        if self.proposals is None:
            self._take_down()

    def _draw_heat(self) -> None:
        if self._layers is not None:
            self._layers.draw_heat(self._heat if self.with_heat else None)
            self._layers.show(self._following)

    def _rejections(
        self, plane: Plane, name: str, examples: Iterable[str], *, proposed: bool
    ) -> list[Rejection]:
        """Return what was rejected on a plane in the place of the same thing."""
        put_aside = (thing for thing in self._session.aside if isinstance(thing, Rejection))
        return [r for r in put_aside if r.is_about(plane, name, examples, proposed=proposed)]

    def _rejections_here(self) -> list[Rejection]:
        """Return what counts as rejected of the proposals there are."""
        now = self.proposals
        assert now is not None
        proposed = self.options is not None
        return self._rejections(now.plane, now.name, now.examples, proposed=proposed)

    def _on_edited(self) -> None:
        """Draw anew what somebody has changed with napari's own tools."""
        self._drawn = ()
        self._soon.throttle()

    def _on_visible(self, *_: object) -> None:
        """Show nothing of an image that is hidden, for another one for instance."""
        self.follow()

    def _on_removed(self, event: Event) -> None:
        """Follow a person who deletes one of the layers: that of the boxes is all there is."""
        layers = self._layers
        if layers is None or not layers.owns(event.value):
            return
        is_heat = event.value is layers.heat
        layers.forget(event.value)
        if is_heat:
            self.with_heat = False
            self.changed.emit()
        else:
            self.clear(later=True)

    def _on_press(self, _viewer: object, event: Event) -> Generator[None, None, None]:
        """Pass on a click on a proposal, while nothing is drawn or selected on another layer."""
        active = self._viewer.layers.selection.active
        at_hand = active is None or active is self._image or self.owns(active)
        if event.button != 1 or "Control" in event.modifiers or not at_hand or not self.here:
            return
        pressed = tuple(event.position)
        yield
        while event.type == "mouse_move":
            # Moved with the button held, it is the image that is dragged.
            if event.is_dragging and not np.allclose(event.position, pressed):
                return
            yield
        proposals = self.proposals
        if proposals is None:
            return
        pixel = world_to_image(self._viewer, self._image, pressed)[list(proposals.plane.axes)]
        number = proposals.at(float(pixel[0]), float(pixel[1]))
        if number:
            self.clicked.emit(number, "Shift" in event.modifiers)


def _corners_of_all(rejections: Iterable[Rejection]) -> Boxes:
    """Return the corners of what was rejected, shape (n, 4)."""
    return np.concatenate([corners_of(()), *(rejection.corners for rejection in rejections)])


def name_of(records: Iterable[Record]) -> str:
    """Return what people call all of some regions, by themselves or by examples; else nothing."""
    names = {
        " ".join(record.caption.split())
        for record in records
        if record.caption and (record.source != "model" or record.reviewed)
    }
    # One word in several spellings is one name.
    return min(names) if len({name.casefold() for name in names}) == 1 else ""
