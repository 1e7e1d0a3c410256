"""Shapes and points layers kept in step with the session, both ways; undo and redo on them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from operator import is_
from typing import Any

import numpy as np
from napari.layers import Image
from napari.utils.events import Event

from napari_patchioner.annotations import Record
from napari_patchioner.annotations.project.records import Seen, is_foreign
from napari_patchioner.viewer.session.session import Row, Session
from napari_patchioner.viewer.workers.job import JobProgress

from . import shapes, table
from .geometry import PLACEMENT, POINT, FloatArray, Follower, alignment


class TableBinding:
    """Shows the session what happens on a layer, and writes its captions into the table.

    `changed`, called after what may need captions, should wait a little, as napari announces a
    drawing before it has finished it; `finished` is called, too, where a hand has let go of a
    shape or a point. With `revive` an empty layer gets what the session knows.
    """

    def __init__(
        self,
        layer: Any,
        image: Image,
        key: str,
        session: Session,
        changed: Callable[[], None],
        *,
        finished: Callable[[TableBinding], None] = lambda _: None,
        revive: bool = False,
    ) -> None:
        self.layer, self.image, self.key = layer, image, key
        self._session, self._changed, self._finished = session, changed, finished
        self._foreign = is_foreign(key)
        self._writing = False
        # Whether something was announced that no look at the layer has taken in yet
        self.behind = False
        self._follower = Follower(layer, image)
        self._connections: list[tuple[Any, Callable[..., None]]] = [
            (layer.events.data, self._on_data),
            (layer.events.features, self._on_features),
            *((getattr(layer.events, name), self._on_placed) for name in PLACEMENT),
        ]
        self._prepare()
        for emitter, slot in self._connections:
            emitter.connect(slot)
        if revive:
            self.restore()
        else:
            self.sync()

    def _prepare(self) -> None:
        """Get ready to follow the layer."""

    @property
    def progress(self) -> JobProgress | None:
        """How far a reading of the layer is that takes long enough to be watched."""
        return None

    @property
    def dragging(self) -> bool:
        """Whether a shape is on the move; a point is moved in one go."""
        return shapes.is_dragging(self.layer)

    @property
    def drawing(self) -> bool:
        """Whether a shape is begun and not finished; a point is put down at once."""
        return shapes.is_drawing(self.layer)

    def finish(self) -> None:
        """End a drawing that nobody can go on with, and take it into the session."""
        if self.drawing:
            shapes.finish_drawing(self.layer)
            self.sync()

    def close(self) -> None:
        """Stop following the layer; the captions stay in the table."""
        for emitter, slot in self._connections:
            emitter.disconnect(slot)
        self._connections.clear()
        self._follower.close()

    def sync(self, *, quiet: bool = False) -> None:
        """Read the layer and repair its table; `quiet` where what is new is no step."""
        raise NotImplementedError

    def restore(self) -> None:
        """Give the layer what the session has gone back to."""
        raise NotImplementedError

    def refill(self, fill: Callable[[Any], None]) -> None:
        """Have the layer filled without following what happens meanwhile."""
        self.finish()
        with self._quietly():
            fill(self.layer)
        self.sync()

    def show(self) -> None:
        """Write the session's captions into the table, by uid."""
        with self._quietly():
            table.update_rows(self.layer, self._session.table(self.key))

    def selected(self) -> list[str]:
        """Return the uids of what is selected, in order."""
        uids = self._session.uids(self.key)
        return [uids[index] for index in sorted(self.layer.selected_data) if index < len(uids)]

    def select(self, uids: Collection[str]) -> bool:
        """Select these; whether any is on this layer."""
        indices = {i for i, uid in enumerate(self._session.uids(self.key)) if uid in uids}
        if set(self.layer.selected_data) != indices:
            self.layer.selected_data = indices
        return bool(indices)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Write on the layer without listening to what it announces."""
        self._writing = True
        try:
            yield
        finally:
            self._writing = False

    def _write_table(self) -> None:
        table.write_rows(self.layer, self._session.table(self.key))

    def _on_data(self, event: Event) -> None:
        if not action(event).endswith("ing"):
            self.behind = True
            self._changed()
            self._finished(self)

    def _on_features(self, *_: object) -> None:
        if not self._writing:
            self._changed()

    def _on_placed(self, *_: object) -> None:
        if not self._follower.working:
            self._changed()

    def _on_selected(self, *_: object) -> None:
        self._changed()


def action(event: Event) -> str:
    """Return what was done to the data of a layer, such as "added"."""
    return str(getattr(event.action, "value", event.action))


class LayerBinding(TableBinding):
    """Keeps a Shapes layer in step with the session, both ways."""

    def _prepare(self) -> None:
        self._current: list[str] = []
        self._adding = False
        self._reader = shapes.LayerReader(self.layer, self.image)
        # What the table says
        self._shown: list[Record] = []
        # What was read last of the layer
        self._read: tuple[list[Seen], list[Row]] = [], []
        if self._foreign:
            table.keep_theirs(self.layer)
            selection = self.layer.selected_data.events.items_changed
            self._connections.append((selection, self._on_selected))

    def sync(self, *, replaced: bool = False, quiet: bool = False) -> None:
        """Read the layer and repair its table, unless a shape is being drawn."""
        if self._writing or self.drawing:
            return
        self.behind = False
        self._follower.update()
        before, self._read = self._read, (self._reader.shapes(), self._reader.rows())
        if self._is_known(before):
            # Of thousands of shapes nothing has to be compared, but what models have said since.
            if self._session.amend():
                self._session.notify()
            self._repair()
            return
        news = self._session.observe(
            self.key,
            *self._read,
            replaced=replaced,
            quiet=quiet,
            foreign=self._foreign,
        )
        earlier, self._current = self._current, self._session.uids(self.key)
        if replaced and len(self._current) < len(earlier):
            # napari selects the next shape when one vanishes.
            with shapes.same_selection(self.layer, earlier, self._current):
                pass
        if news or not table.has_columns(self.layer):
            with self._quietly():
                self._write_table()
            self._read = self._read[0], self._reader.rows()
        self._shown = self._session.table(self.key)
        self._repair()

    def _is_known(self, before: tuple[list[Seen], list[Row]]) -> bool:
        """Whether shapes and rows are those of the last look, and so are their records."""
        records = self._session.table(self.key)
        return (
            _are_same(self._read[0], before[0])
            and _are_same(self._read[1], before[1])
            and _are_same(records, self._shown)
            and self._session.holds(self.key)
            and table.has_columns(self.layer)
        )

    def _repair(self) -> None:
        """Mend what napari may have left broken though no shape has changed."""
        table.reset_defaults(self.layer)
        shapes.trim_colours(self.layer)
        shapes.trim_vertices(self.layer)

    def restore(self) -> None:
        """Give the layer the shapes and rows that the session has gone back to."""
        order = self._session.uids(self.key)
        wanted = dict(zip(order, self._session.shapes(self.key), strict=True))
        with self._quietly():
            with shapes.same_selection(self.layer, self._current, order):
                shapes.write_shapes(self.layer, self._current, wanted, self._reader.known)
                self._write_table()
            if {self.layer.edge_color_mode, self.layer.face_color_mode} != {"direct"}:
                self.layer.refresh_colors()
            self._current = order
        self.sync(quiet=True)

    def reshape(self, uid: str, outline: FloatArray) -> None:
        """Give a shape another outline, a polygon in the coordinates of the layer, (n, ndim)."""
        order = self._session.uids(self.key)
        wanted = dict(zip(order, self._session.shapes(self.key), strict=True))
        if uid in wanted:
            wanted[uid] = Seen("polygon", outline, appearance=wanted[uid].appearance)
            with self._quietly():
                shapes.write_shapes(self.layer, order, wanted, self._reader.known)
            self.sync()

    def show(self) -> None:
        """Write what is new in the session into the table, by uid."""
        records = self._session.table(self.key)
        news = set(records).difference(self._shown)
        if news:
            with self._quietly():
                table.update_rows(self.layer, news)
            self._shown = records

    def select(self, uids: Collection[str]) -> bool:
        """Select these, in a mode in which napari shows what is selected."""
        known = self._session.uids(self.key)
        if not set(known).isdisjoint(uids) and self.layer.mode not in ("select", "direct"):
            self.layer.mode = "select"
        return super().select(uids)

    def _on_data(self, event: Event) -> None:
        """Follow finished changes; before one of them, see how things stand."""
        done = action(event)
        self._adding = done == "adding"
        if not done.endswith("ing"):
            self.behind = True
            self.sync(replaced=done == "changed")
            self._changed()
            self._finished(self)
        elif done != "adding":
            self.sync()

    def _on_features(self, *_: object) -> None:
        """Follow a paste, which is announced in no other way, and edits in other tables."""
        if not self._writing:
            # What napari is adding it announces again, once all of it is there.
            if not self.dragging and not self._adding and not self._is_own_echo():
                self.sync()
            self._changed()

    def _is_own_echo(self) -> bool:
        """Whether the table says what was read or written last, of as many shapes."""
        seen, rows = self._read
        complete = len(seen) == self.layer.nshapes and table.has_columns(self.layer)
        return complete and _are_same(self._reader.rows(), rows)


def _are_same(new: Sequence[object], old: Sequence[object]) -> bool:
    """Whether two lists hold the very same objects."""
    return len(new) == len(old) and all(map(is_, new, old))


class PointsBinding(TableBinding):
    """Keeps a points layer in step with the session: every point is the patch that it lies in."""

    def _prepare(self) -> None:
        if self._foreign:
            table.keep_theirs(self.layer)
        table.add_columns(self.layer)
        self._connections.append((self.layer.selected_data.events.items_changed, self._on_selected))

    def sync(self, *, quiet: bool = False) -> None:
        """Read the points and repair the table; `quiet` where what is new is no step."""
        if self._writing:
            return
        self.behind = False
        self._follower.update()
        points = alignment(self.layer, self.image)(self.layer.data)
        seen = [Seen(POINT, point[None]) for point in points]
        rows = table.read_rows(self.layer)
        if self._session.observe(self.key, seen, rows, quiet=quiet, foreign=self._foreign):
            with self._quietly():
                self._write_table()

    def restore(self) -> None:
        """Give a layer of our own the points and rows that the session has gone back to."""
        points = [seen.vertices[0] for seen in self._session.shapes(self.key)]
        placed = alignment(self.image, self.layer)(np.reshape(points, (-1, self.image.ndim)))
        with self._quietly():
            self.layer.selected_data = set()
            self.layer.data = placed
            self._write_table()
        self.sync(quiet=True)


def travel(
    session: Session,
    bindings: Collection[TableBinding],
    revive: Callable[[], None] = lambda: None,
    *,
    back: bool,
) -> str:
    """Take back the newest step, or do it again, on the layers too; return which, as a sentence.

    `revive` makes layers that were deleted and have shapes again, or deletes them once more.
    """
    if any(binding.drawing or binding.dragging for binding in bindings):
        return "Finish the shape at hand first: double-click or press Escape."
    for binding in bindings:
        binding.sync()
    label = session.undo() if back else session.redo()
    if not label:
        return f"There is nothing to {'undo' if back else 'redo'}."
    revive()
    for binding in bindings:
        # That of a layer that was deleted once more has nothing to restore.
        if session.holds(binding.key):
            binding.restore()
    session.amend()
    session.notify()
    return f"{'Undid' if back else 'Redid'}: {label}"


undo, redo = partial(travel, back=True), partial(travel, back=False)
