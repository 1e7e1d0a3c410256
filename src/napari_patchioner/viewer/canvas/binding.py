"""One Shapes layer kept in step with the session, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import repairs, table
from .following import Follower
from .layer_reader import LayerReader
from .shapes_writer import same_selection, write_shapes

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.utils.events import Event

    from napari_patchioner.viewer.session.session import Session


class LayerBinding:
    """Tells the session what happens on a layer, and writes its captions into the table.

    Parameters
    ----------
    layer : napari.layers.Shapes
        The layer to follow.
    image : napari.layers.Image
        The image it lies on.
    key : str
        Name of the layer in the session.
    session : Session
        What to keep in step.
    changed : callable
        Called after something happened that may need captions; it should wait a little before
        it acts, since napari tells of a drawing before it has finished it.
    revive : bool
        The session already knows the shapes of the layer, which is new and empty.
    foreign : bool
        The shapes are of other people's making: to draw them is no step, only their captions are.
    """

    def __init__(
        self,
        layer: napari.layers.Shapes,
        image: napari.layers.Image,
        key: str,
        session: Session,
        changed: Callable[[], None],
        *,
        revive: bool = False,
        foreign: bool = False,
    ) -> None:
        self.layer = layer
        self.image = image
        self.key = key
        self._session = session
        self._changed = changed
        self._foreign = foreign
        self._writing = False
        self._there: list[str] = []
        self._reader = LayerReader(layer, image)
        self._follower = Follower(layer, image)
        # What the table says: stamps of the records by uid.
        self._shown: dict[str, int] = {}
        layer.events.data.connect(self._on_data)
        layer.events.features.connect(self._on_features)
        if revive:
            self.restore()
        else:
            self.sync()

    def close(self) -> None:
        """Stop following the layer."""
        self.layer.events.data.disconnect(self._on_data)
        self.layer.events.features.disconnect(self._on_features)
        self._follower.close()

    @property
    def dragging(self) -> bool:
        """Whether a shape is on the move."""
        return table.is_dragging(self.layer)

    @property
    def drawing(self) -> bool:
        """Whether a shape is begun and not finished."""
        return table.is_drawing(self.layer)

    def finish(self) -> None:
        """End a drawing that nobody can go on with, and tell the session of it."""
        if self.drawing:
            table.finish_drawing(self.layer)
            self.sync()

    def sync(self, *, replaced: bool = False, quiet: bool = False) -> None:
        """Read the layer and repair its table, unless a shape is being drawn.

        Parameters
        ----------
        replaced : bool
            Shapes were changed in place, so that rows may have shifted.
        quiet : bool
            What is new is no step of a person's.
        """
        if self._writing or self.drawing:
            return
        self._follower.look()
        shapes, rows = self._reader.shapes(), self._reader.rows()
        news = self._session.observe(
            self.key, shapes, rows, replaced=replaced, quiet=quiet, foreign=self._foreign
        )
        self._follow(self._session.uids(self.key), shifted=replaced)
        if news or not table.has_columns(self.layer):
            self._write()
        self._shown = self._session.stamps(self.key)
        table.reset_defaults(self.layer)
        table.trim_colours(self.layer)
        repairs.trim_vertices(self.layer)

    def restore(self) -> None:
        """Give the layer the shapes and rows that the session has gone back to."""
        order = self._session.uids(self.key)
        shapes = dict(zip(order, self._session.shapes(self.key), strict=True))
        self._writing = True
        try:
            with same_selection(self.layer, self._there, order):
                write_shapes(self.layer, self._there, shapes)
                table.write_rows(self.layer, self._session.table(self.key))
            if {self.layer.edge_color_mode, self.layer.face_color_mode} != {"direct"}:
                self.layer.refresh_colors()
            self._there = order
        finally:
            self._writing = False
        self.sync(quiet=True)

    def show(self) -> None:
        """Write what is new in the session into the table, by uid."""
        stamps = self._session.stamps(self.key)
        news = [uid for uid, stamp in stamps.items() if self._shown.get(uid) != stamp]
        if not news:
            return
        self._writing = True
        try:
            table.update_rows(self.layer, [self._session.records[uid].row for uid in news])
        finally:
            self._writing = False
        self._shown = stamps

    def selected(self) -> list[str]:
        """Return the uids of the selected shapes, in order."""
        uids = self._session.uids(self.key)
        return [uids[index] for index in sorted(self.layer.selected_data) if index < len(uids)]

    def _follow(self, uids: list[str], *, shifted: bool) -> None:
        """Remember which shape is where; napari selects the next one when a shape vanishes."""
        there, self._there = self._there, uids
        if shifted and len(uids) < len(there):
            with same_selection(self.layer, there, uids):
                pass

    def _write(self) -> None:
        self._writing = True
        try:
            table.write_rows(self.layer, self._session.table(self.key))
        finally:
            self._writing = False

    def _on_data(self, event: Event) -> None:
        """Follow finished changes; before one of them, see how things stand."""
        action = str(getattr(event.action, "value", event.action))
        if not action.endswith("ing"):
            self.sync(replaced=action == "changed")
            self._changed()
        elif action != "adding":
            self.sync()

    def _on_features(self) -> None:
        """Follow a paste, which tells of itself in no other way, and edits in other tables."""
        if not self._writing:
            if not self.dragging:
                self.sync()
            self._changed()
