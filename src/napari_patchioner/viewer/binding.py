"""One Shapes layer kept in step with the session, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import table

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.utils.events import Event

    from .session import Session


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
    """

    def __init__(
        self,
        layer: napari.layers.Shapes,
        image: napari.layers.Image,
        key: str,
        session: Session,
        changed: Callable[[], None],
    ) -> None:
        self.layer = layer
        self.image = image
        self.key = key
        self._session = session
        self._changed = changed
        self._writing = False
        layer.events.data.connect(self._on_data)
        layer.events.features.connect(self._on_features)
        self.sync()

    def close(self) -> None:
        """Stop following the layer."""
        self.layer.events.data.disconnect(self._on_data)
        self.layer.events.features.disconnect(self._on_features)

    @property
    def dragging(self) -> bool:
        """Whether a shape is on the move."""
        return table.is_dragging(self.layer)

    def sync(self, *, replaced: bool = False) -> None:
        """Read the layer and repair its table, unless a shape is being drawn."""
        if self._writing or table.is_drawing(self.layer):
            return
        shapes = table.read_shapes(self.layer, self.image)
        rows = table.read_rows(self.layer)
        if self._session.observe(self.key, shapes, rows, replaced=replaced):
            self._write()
        table.reset_defaults(self.layer)
        table.trim_colours(self.layer)

    def show(self) -> None:
        """Write the session's captions into the table, by uid."""
        self._writing = True
        try:
            table.update_rows(self.layer, self._session.table(self.key))
        finally:
            self._writing = False

    def selected(self) -> list[str]:
        """Return the uids of the selected shapes, in order."""
        uids = self._session.uids(self.key)
        return [uids[index] for index in sorted(self.layer.selected_data) if index < len(uids)]

    def _write(self) -> None:
        self._writing = True
        try:
            table.write_rows(self.layer, self._session.table(self.key))
        finally:
            self._writing = False

    def _on_data(self, event: Event) -> None:
        """Follow finished changes; those announced beforehand end in -ing."""
        action = str(getattr(event.action, "value", event.action))
        if not action.endswith("ing"):
            self.sync(replaced=action == "changed")
            self._changed()

    def _on_features(self) -> None:
        """Follow a paste, which tells of itself in no other way, and edits in other tables."""
        if not self._writing:
            self.sync()
            self._changed()
