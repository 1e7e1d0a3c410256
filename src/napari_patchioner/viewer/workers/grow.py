"""Growing regions from clicks on the canvas, in a worker; what is asked is drawn meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from napari.utils.events import Event
from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Plane
from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.images import Levels, as_rgb
from napari_patchioner.models.segmenters import installed_segmenter, load_segmenter
from napari_patchioner.progress import Progress
from napari_patchioner.regions import Polygon, Region
from napari_patchioner.viewer.layers.geometry import (
    full_shape,
    record_plane,
    record_region,
    shown_plane,
    world_to_image,
)
from napari_patchioner.viewer.session.session import Session

from .encode import Encoder
from .job import Job, error_message
from .plane import PlaneSource
from .sharpen import FINE, segmenter_named
from .sharpen import SIDE as SHARP_SIDE

if TYPE_CHECKING:
    from napari_patchioner.backbones.sam2 import EncodedPicture

Place: TypeAlias = tuple[float, float]
Colour: TypeAlias = tuple[float, float, float, float]
Sizes: TypeAlias = tuple[PlaneSource, ...]

# A picture that regions are grown on has less than twice as many pixels along its long side.
SIDE = 512
NOT_READ = "Press Start first: a region can be grown once the image has been read."
READING = "This plane is being read: what is clicked is grown once it is ready."
BESIDE = "Click on the image itself to grow a region."
NOTHING = "Click on something first; then Shift+click adds to it, and Alt+click takes away."
HOW = (
    "Grow: click. Shift+click, or a drag from within, adds; Alt+click takes away, [ ] change its "
    "size, Esc ends it."
)


# A cross around a click, in long sides of the image, and colours: of the outline, and of clicks
_MARK = 0.018
_ACROSS = np.array([[(0, -1), (0, 1)], [(-1, 0), (1, 0)]], float)
_SO_FAR, _ADDED, _TAKEN_AWAY = (1, 0.75, 0, 1), (0.2, 0.95, 0.4, 1), (1, 0.25, 0.3, 1)


class Picture:
    """The pixels of a plane as it was displayed when it was encoded, made small."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self._pixels: npt.NDArray[np.uint8] | None = None
        self._encoded: dict[str, tuple[EncodedPicture, npt.NDArray[np.float64]]] = {}

    def encoded(self, name: str) -> tuple[EncodedPicture, npt.NDArray[np.float64]]:
        """Return it as a model for outlines has encoded it, once, in a worker.

        And how many pixels of what was encoded there are for one of the plane, down and across.
        """
        if name not in self._encoded:
            level = Levels(self.sizes).down_to(SHARP_SIDE)[-1]
            pixels = as_rgb(np.asarray(level.data[:, :]))
            scale = np.divide(pixels.shape[:2], self.sizes[0].full_size)
            self._encoded[name] = segmenter_named(name).encode(pixels), scale
        return self._encoded[name]

    def read(self) -> npt.NDArray[np.uint8]:
        """Return them, shape (height, width, 3); read once, in a worker."""
        if self._pixels is None:
            level = Levels(self.sizes).down_to(SIDE)[-1]
            self._pixels = as_rgb(np.asarray(level.data[:, :]))
        return self._pixels


@dataclass(eq=False, slots=True)
class Subject:
    """Which record a region is that is grown; empty before it is one."""

    uid: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Growth:
    """A region that is grown: which and where, and from which clicks."""

    subject: Subject
    plane: Plane
    grid: FeatureGrid
    clicks: tuple[Place, ...] = ()
    negative: tuple[Place, ...] = ()
    # Steps larger than is likeliest meant, or smaller ones below 0
    size: int = 0
    # How often it is to get larger than that, or smaller below 0
    more: int = 0

    def clicked(self, places: Iterable[Place], *, removes: bool) -> Growth:
        """Return it with further clicks; a later one at the same place counts."""
        new = [(round(row, 1), round(column, 1)) for row, column in places]
        step = max(self.grid.transform.image_shape) / SIDE

        def is_free(place: Place) -> bool:
            return all(max(abs(place[0] - r), abs(place[1] - c)) > step for r, c in new)

        clicks, negative = (
            [*filter(is_free, kept), *(dict.fromkeys(new) if adds else ())]
            for kept, adds in ((self.clicks, not removes), (self.negative, removes))
        )
        return replace(self, clicks=tuple(clicks), negative=tuple(negative))

    def is_of(self, other: Growth | None) -> bool:
        """Whether both are the same region, at one time or another."""
        return other is not None and self.subject is other.subject


@dataclass(frozen=True, eq=False, slots=True)
class Grown:
    """What came of clicks: the outline, shape (n, 2), in pixels of the plane."""

    growth: Growth
    outline: npt.NDArray[np.float64]
    # The model for outlines that made it; empty where that of the captions did
    segmenter: str = ""


def grow(
    picture: Picture, growth: Growth, progress: Progress
) -> tuple[int, npt.NDArray[np.float64]]:
    """Return the size of a region, and the outline.

    Several sizes may be the same region: only what gets it larger, or smaller, is one more.
    """
    progress(0.0, "growing a region")
    # It loads torch, as the model that has read the image has done already.
    from napari_patchioner.grounding import grow_outline
    from napari_patchioner.grounding.membership import SIZES

    def outlined(size: int) -> npt.NDArray[np.float64]:
        clicks, negative = growth.clicks, growth.negative
        return grow_outline(growth.grid, picture.read(), clicks, negative, size=size).coords()

    size, outline = growth.size, outlined(growth.size)
    left, step = abs(growth.more), 1 if growth.more > 0 else -1
    other = size
    while left and SIZES[0] <= other + step <= SIZES[1]:
        other += step
        tried = outlined(other)
        if step * (_area(tried) - _area(outline)) > 0:
            size, outline, left = other, tried, left - 1
    return size, outline


def _area(outline: npt.NDArray[np.float64]) -> float:
    """Return what an outline encloses; cuts, which are passed there and back, add nothing."""
    return float(shapely.Polygon(outline).area)


def grow_sharply(
    picture: Picture, growth: Growth, name: str, progress: Progress
) -> tuple[int, npt.NDArray[np.float64]]:
    """Return the size of a region, and the outline that a model for outlines gives it."""
    progress(0.0, "growing a region")
    encoded, scale = picture.encoded(name)
    # It loads torch, as the model for outlines has done already.
    from napari_patchioner.grounding import region_outline, sharp_mask

    def scaled(places: Iterable[Place]) -> list[Place]:
        return [tuple(place) for place in ((np.array(list(places)) + 0.5) * scale - 0.5).tolist()]

    clicks = scaled(growth.clicks)
    negative = scaled(growth.negative) if growth.negative else []
    mask = sharp_mask(segmenter_named(name), encoded, clicks, negative)
    return growth.size, np.asarray((region_outline(mask, FINE) + 0.5) / scale - 0.5)


class Grower(QObject):  # type: ignore[misc]
    """Grows a region from what is clicked: a click begins one, with Shift or Alt it changes it.

    `selected` returns the uids of what is selected: a region that was grown before is gone on with.
    `in_hand` says whether clicks are meant for it.
    """

    messaged = Signal(str)
    # With a `Grown`, once the button is let go.
    grown = Signal(object)
    # What is to be drawn has changed; see `marks` and `outline`.
    moved = Signal()

    def __init__(
        self,
        encoder: Encoder,
        session: Session,
        selected: Callable[[], Sequence[str]],
        in_hand: Callable[[], bool],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.on = False
        # The model for outlines that clicks are outlined by; empty for the grid of the image
        self.segmenter = ""
        # What is pressed at the moment, or asked, and its outline so far
        self.asked: Growth | None = None
        self.outline: npt.NDArray[np.float64] | None = None
        self._encoder, self._session, self._selected = encoder, session, selected
        self._in_hand = in_hand
        # The region at hand
        self._hand: Growth | None = None
        self._job: Job | None = None
        # What no worker is at yet, and whether it is to be kept
        self._open: list[tuple[Growth, bool]] = []
        # Clicks on planes that are being read, with the keys that were held
        self._unread: list[tuple[Plane, Place, frozenset[str]]] = []
        # What was asked last, and what came of it
        self._last: tuple[Growth, Grown] | None = None
        self._picture: Picture | None = None

    @property
    def working(self) -> bool:
        """Whether there is something that no answer has come to."""
        return self._job is not None

    def switch(self, on: bool) -> None:
        """Begin or stop to take clicks."""
        if on == self.on:
            return
        self.on = on
        callbacks = self._encoder.viewer.mouse_drag_callbacks
        if on:
            callbacks.append(self._on_press)
            self.messaged.emit(HOW if self._encoder.here() is not None else NOT_READ)
            return
        if self._on_press in callbacks:
            callbacks.remove(self._on_press)
        self.end()

    def choose(self, sharp: bool) -> str:
        """Have clicks outlined by a model for outlines, or by the grid; return why not, if so."""
        name = installed_segmenter() if sharp else ""
        self.segmenter = name
        self._last = None
        if sharp and not name:
            try:
                load_segmenter()
            except ModelError as error:
                return str(error)
        return ""

    def drawing(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Return lines of what is asked, (n, 2, 2), and their colours, (n, 4); None for nothing.

        A cross for each click, a bar for each that takes away, and the outline so far.
        """
        asked = self.asked
        if asked is None or shown_plane(self._encoder.viewer, self._encoder.image) != asked.plane:
            return None
        half = _MARK * max(asked.grid.transform.image_shape)
        across, cross = half * _ACROSS[:1], half * _ACROSS
        parts: list[tuple[npt.NDArray[np.float64], Colour]] = [(np.zeros((0, 2, 2)), _SO_FAR)]
        if self.outline is not None:
            parts.append((_edges(self.outline), _SO_FAR))
        parts += [(np.array(place) + cross, _ADDED) for place in asked.clicks]
        parts += [(np.array(place) + across, _TAKEN_AWAY) for place in asked.negative]
        colours = [np.tile(colour, (len(lines), 1)) for lines, colour in parts]
        return np.concatenate([lines for lines, _ in parts]), np.concatenate(colours)

    def resize(self, step: int) -> None:
        """Make the region at hand larger or smaller by some steps."""
        here = self._encoder.here()
        growth = self._at_hand(*here) if here is not None else None
        if growth is None:
            self.messaged.emit(NOTHING)
            return
        if self.segmenter:
            self.messaged.emit(f"{self.segmenter} knows one size: add or take away by clicks.")
            return
        # It loads torch, as the model that has read the image has done already.
        from napari_patchioner.grounding.membership import SIZES

        more = growth.more + step
        if SIZES[0] <= growth.size + more <= SIZES[1]:
            self._ask(replace(growth, more=more), keep=True)
        else:
            self.messaged.emit(_at_the_end(step))

    def end(self) -> bool:
        """Let the next click begin another region; whether there was one at hand."""
        had = self._hand is not None or self.asked is not None or bool(self._unread)
        if self._job is not None:
            self._job.drop()
        self._job = self._hand = self._last = None
        self._open.clear()
        self._unread.clear()
        self._show(None)
        return had

    def forget(self) -> None:
        """Go on from nothing where the grid or the image is not what it was.

        What was clicked on a plane while it was being read is grown now.
        """
        self._picture = None
        unread, self._unread = self._unread, []
        if self._hand is not None and not self._is_here(self._hand):
            self.end()
        for plane, place, held in unread:
            grid = self._encoder.grids.get(plane)
            if grid is None:
                if self._encoder.active:
                    self._unread.append((plane, place, held))
                continue
            growth = self._begun(self._at_hand(plane, grid), plane, grid, held)
            if growth is not None:
                self._ask(growth.clicked([place], removes="Alt" in held), keep=True)

    # details

    def _on_press(self, _viewer: object, event: Event) -> Generator[None, None, None]:
        """Take a click, or all that is dragged over."""
        held = set(event.modifiers)
        if event.button != 1 or "Control" in held or not self._in_hand():
            return
        plane = shown_plane(self._encoder.viewer, self._encoder.image)
        place = self._place(plane, event) if plane is not None else None
        if plane is None or place is None:
            self.messaged.emit(NOT_READ if plane is None else BESIDE)
            return
        here = self._encoder.here()
        if here is None:
            reading = self._encoder.read_on()
            if reading:
                self._unread.append((plane, place, frozenset(held)))
            self.messaged.emit(READING if reading else NOT_READ)
            return
        removes = "Alt" in held
        hand = self._at_hand(*here)
        growth = self._begun(hand, *here, held)
        if growth is None:
            return
        # What is dragged from within the region at hand is added to it; a click begins another.
        within = hand if not growth.is_of(hand) and self._covers(hand, place) else None
        pressed, cells = place, {_cell(growth.grid, place)}
        growth = self._ask(growth.clicked([place], removes=removes), keep=False)
        yield
        # Where it is let go counts, too: not every move is told of.
        while event.type in ("mouse_move", "mouse_release"):
            place, let_go = self._place(plane, event), event.type == "mouse_release"
            if (let_go or event.is_dragging) and place is not None and growth.is_of(self.asked):
                cell = _cell(growth.grid, place)
                if cell not in cells:
                    cells.add(cell)
                    if within is not None:
                        begun = growth
                        self._open = [item for item in self._open if not item[0].is_of(begun)]
                        growth, within = within.clicked([pressed], removes=False), None
                    growth = self._ask(growth.clicked([place], removes=removes), keep=False)
            if let_go:
                break
            yield
        if growth.is_of(self.asked):
            self._ask(growth, keep=True)

    def _begun(
        self, hand: Growth | None, plane: Plane, grid: FeatureGrid, held: Collection[str]
    ) -> Growth | None:
        """Return what a click is about: the region at hand, or another; say so where neither."""
        if hand is not None and not {"Shift", "Alt"}.isdisjoint(held):
            return hand
        if "Alt" in held:
            self.messaged.emit(NOTHING)
            return None
        return Growth(Subject(), plane, grid)

    def _covers(self, growth: Growth | None, place: Place) -> bool:
        """Whether a pixel lies in a region that is grown, as it is drawn."""
        if growth is None:
            return False
        record = self._session.records.get(growth.subject.uid)
        region: Region
        if growth.is_of(self.asked) and self.outline is not None:
            region = Polygon(self.outline)
        elif record is not None:
            region = record_region(record, self._session, growth.plane.axes)
        else:
            return False
        inside = region.inside()
        return inside is not None and bool(inside.covers(shapely.Point(place[::-1])))

    def _place(self, plane: Plane, event: Event) -> Place | None:
        """Return the pixel of the plane under the cursor; None beside the image."""
        viewer, image = self._encoder.viewer, self._encoder.image
        row, column = world_to_image(viewer, image, event.position)[list(plane.axes)]
        shape = full_shape(image)
        height, width = (shape[axis] for axis in plane.axes)
        if not (-0.5 <= row <= height - 0.5 and -0.5 <= column <= width - 0.5):
            return None
        return float(row), float(column)

    def _at_hand(self, plane: Plane, grid: FeatureGrid) -> Growth | None:
        """Return the region that further clicks are about, as it is by now."""
        records, hand = self._session.records, self._hand
        if hand is not None and hand.is_of(self.asked) and hand.plane == plane:
            return self.asked
        subject = hand.subject if hand is not None else Subject()
        chosen = list(self._selected())
        if len(chosen) == 1 and chosen[0] != subject.uid:
            subject = Subject(chosen[0])
        record = records.get(subject.uid)
        if record is None or record.layer != "regions":
            return None
        # As Undo, for instance, has left them
        clicks, negative = record.clicks
        if not clicks or record_plane(record, self._session, plane.axes) != plane:
            return None
        return Growth(subject, plane, grid, tuple(clicks), tuple(negative), record.grown_size)

    def _is_kept(self, growth: Growth) -> bool:
        """Whether the region is already made from these clicks."""
        record = self._session.records.get(growth.subject.uid)
        return record is not None and tuple(map(tuple, record.clicks)) == (
            growth.clicks,
            growth.negative,
        )

    def _is_here(self, growth: Growth) -> bool:
        return self._encoder.grids.get(growth.plane) is growth.grid

    def _ask(self, growth: Growth, *, keep: bool) -> Growth:
        """Have a region grown, in place of all that was asked of it and not begun."""
        if not growth.clicks:
            self.messaged.emit(NOTHING)
            return growth
        self._hand = growth
        self._open = [(later, kept) for later, kept in self._open if not later.is_of(growth)]
        self._open.append((growth, keep))
        self._show(growth, self.outline if growth.is_of(self.asked) else None)
        self._go_on()
        return growth

    def _go_on(self) -> None:
        """Turn to the next that is asked."""
        while self._job is None and self._open:
            growth, keep = self._open.pop(0)
            last = self._last
            if last is not None and last[0] is growth:
                grown = last[1]
                self._on_delivered(
                    growth, keep, grown.segmenter, (grown.growth.size, grown.outline)
                )
                continue
            sizes = self._encoder.sizes.get(growth.plane)
            if sizes is None or not self._is_here(growth):
                continue
            if self._picture is None or self._picture.sizes is not sizes:
                self._picture = Picture(sizes)
            name = self.segmenter
            work = (grow_sharply, self._picture, growth, name)
            self._job = Job.run(
                *(work if name else (grow, self._picture, growth)),
                delivered=partial(self._on_delivered, growth, keep, name),
                ended=self._on_ended,
                parent=self,
            )

    def _on_delivered(
        self,
        growth: Growth,
        keep: bool,
        segmenter: str,
        result: tuple[int, npt.NDArray[np.float64]],
    ) -> None:
        size, outline = result
        grown = Grown(replace(growth, size=size, more=0), outline, segmenter)
        self._last = growth, grown
        if not self._is_here(growth):
            return
        if keep:
            if growth is self.asked:
                self._show(None)
            if growth.more and size == growth.size and self._is_kept(grown.growth):
                self.messaged.emit(_at_the_end(growth.more))
            else:
                self.grown.emit(grown)
        elif growth.is_of(self.asked):
            self._show(self.asked, outline)

    def _on_ended(self, error: Exception | None) -> None:
        self._job = None
        if error is not None and not isinstance(error, Cancelled):
            self._show(None)
            self.messaged.emit(error_message(error, "the region could not be grown"))
        self._go_on()

    def _show(self, growth: Growth | None, outline: npt.NDArray[np.float64] | None = None) -> None:
        self.asked, self.outline = growth, outline
        self.moved.emit()


def _at_the_end(step: int) -> str:
    """Return what is said where no other size is another region."""
    return f"It does not get any {'larger' if step > 0 else 'smaller'}."


def _edges(outline: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the edges of an outline, (n, 2, 2), without those that are gone there and back."""
    edges = np.stack([outline, np.roll(outline, -1, axis=0)], axis=1)
    ends = np.sort(edges.round(6).view("f8,f8").reshape(-1, 2), axis=1)
    _, places, counts = np.unique(ends.view("f8,f8,f8,f8"), return_index=True, return_counts=True)
    return np.asarray(edges[places[counts == 1]])


def _cell(grid: FeatureGrid, place: Place) -> tuple[int, ...]:
    """Return the patch that a pixel lies in."""
    return tuple(np.floor(grid.transform.to_grid(place)).astype(int).tolist())
