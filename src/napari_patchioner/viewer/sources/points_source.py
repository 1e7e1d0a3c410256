"""A points layer: every point is a region, the patch that it lies in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.viewer.canvas import table
from napari_patchioner.viewer.canvas.following import Follower
from napari_patchioner.viewer.canvas.geometry import POINT, alignment
from napari_patchioner.viewer.session.record import Seen, is_foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import napari
    from napari.utils.events import Event

    from napari_patchioner.viewer.session.session import Session


class PointsSource:
    """Keeps a points layer in step with the session, both ways.

    Parameters
    ----------
    layer : napari.layers.Points
        The layer to follow; its features table gets our columns.
    image : napari.layers.Image
        What the points lie on.
    key : str
        Name of the layer in the session.
    session : Session
        What to keep in step.
    changed : callable
        Called after something happened that may need captions.
    viewer : napari.Viewer
        Not needed for points.
    """

    progress = None
    # A point is put down at once, and moved in one go.
    drawing = dragging = False

    def __init__(
        self,
        layer: napari.layers.Points,
        image: napari.layers.Image,
        key: str,
        session: Session,
        changed: Callable[[], None],
        viewer: napari.components.ViewerModel | None = None,
    ) -> None:
        self.layer, self.image, self.key = layer, image, key
        self._session, self._changed = session, changed
        self._writing = False
        self._follower = Follower(layer, image)
        self._foreign = is_foreign(key)
        if self._foreign:
            table.keep_theirs(layer)
        missing = [name for name in table.COLUMNS if name not in layer.features]
        if missing:
            blank = table.empty_columns(len(layer.data))
            layer.features = layer.features.assign(**{name: blank[name] for name in missing})
        table.reset_defaults(layer)
        layer.events.data.connect(self._on_data)
        layer.events.features.connect(self._on_features)
        layer.selected_data.events.items_changed.connect(self._on_selected)
        if not len(layer.data) and session.uids(key):
            self.restore()
        else:
            self.sync()

    def close(self) -> None:
        """Stop following the layer."""
        self.layer.events.data.disconnect(self._on_data)
        self.layer.events.features.disconnect(self._on_features)
        self.layer.selected_data.events.items_changed.disconnect(self._on_selected)
        self._follower.close()

    def sync(self, *, quiet: bool = False) -> None:
        """Read the points and repair the table; `quiet` where what is new is no step."""
        if self._writing:
            return
        self._follower.look()
        places = alignment(self.layer, self.image)(self.layer.data)
        seen = [Seen(POINT, place[None]) for place in places]
        rows = table.read_rows(self.layer)
        news = self._session.observe(self.key, seen, rows, quiet=quiet, foreign=self._foreign)
        if news:
            self._write(table.write_rows)

    def restore(self) -> None:
        """Give a layer of our own the points and rows that the session has gone back to."""
        places = [seen.vertices[0] for seen in self._session.shapes(self.key)]
        self._writing = True
        try:
            self.layer.selected_data = set()
            self.layer.data = alignment(self.image, self.layer)(
                np.reshape(places, (-1, self.image.ndim))
            )
            table.write_rows(self.layer, self._session.table(self.key))
        finally:
            self._writing = False
        self.sync(quiet=True)

    def show(self) -> None:
        """Write the session's captions into the table, by uid."""
        self._write(table.update_rows)

    def selected(self) -> list[str]:
        """Return the uids of the selected points, in order."""
        uids = self._session.uids(self.key)
        return [uids[index] for index in sorted(self.layer.selected_data) if index < len(uids)]

    def select(self, uids: Collection[str]) -> bool:
        """Select points; whether any is on this layer."""
        places = {i for i, uid in enumerate(self._session.uids(self.key)) if uid in uids}
        if set(self.layer.selected_data) != places:
            self.layer.selected_data = places
        return bool(places)

    def _write(self, write: Callable[..., object]) -> None:
        self._writing = True
        try:
            write(self.layer, self._session.table(self.key))
        finally:
            self._writing = False

    def _on_data(self, event: Event) -> None:
        action = str(getattr(event.action, "value", event.action))
        if not action.endswith("ing"):
            self._changed()

    def _on_features(self) -> None:
        if not self._writing:
            self._changed()

    def _on_selected(self, *_: object) -> None:
        self._changed()
