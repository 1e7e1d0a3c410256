"""A Shapes layer of other people's making: every shape on it is a region."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.viewer.canvas import table
from napari_patchioner.viewer.canvas.binding import LayerBinding

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import napari

    from napari_patchioner.viewer.session.session import Session


class ShapesSource:
    """Keeps a Shapes layer in step with the session, both ways; only its captions are ours.

    Parameters
    ----------
    layer : napari.layers.Shapes
        The layer to follow; its features table gets our columns.
    image : napari.layers.Image
        What the shapes lie on.
    key : str
        Name of the layer in the session.
    session : Session
        What to keep in step.
    changed : callable
        Called after something happened that may need captions.
    viewer : napari.Viewer
        Not needed for shapes.
    """

    progress = None

    def __init__(
        self,
        layer: napari.layers.Shapes,
        image: napari.layers.Image,
        key: str,
        session: Session,
        changed: Callable[[], None],
        viewer: napari.components.ViewerModel | None = None,
    ) -> None:
        self.layer, self.image, self.key = layer, image, key
        self._session, self._changed = session, changed
        table.keep_theirs(layer)
        self._binding = LayerBinding(layer, image, key, session, changed, foreign=True)
        layer.selected_data.events.items_changed.connect(self._on_selected)

    @property
    def dragging(self) -> bool:
        """Whether a shape is on the move."""
        return self._binding.dragging

    def close(self) -> None:
        """Stop following the layer."""
        self._binding.close()
        self.layer.selected_data.events.items_changed.disconnect(self._on_selected)

    def sync(self) -> None:
        """Read the shapes and repair the table."""
        if not self.dragging:
            self._binding.sync()

    def show(self) -> None:
        """Write the session's captions into the table, by uid."""
        self._binding.show()

    def selected(self) -> list[str]:
        """Return the uids of the selected shapes, in order."""
        return self._binding.selected()

    def select(self, uids: Collection[str]) -> bool:
        """Select shapes; whether any is on this layer."""
        places = {i for i, uid in enumerate(self._session.uids(self.key)) if uid in uids}
        # Only in these modes does napari show what is selected.
        if places and self.layer.mode not in ("select", "direct"):
            self.layer.mode = "select"
        if set(self.layer.selected_data) != places:
            self.layer.selected_data = places
        return bool(places)

    def _on_selected(self, *_: object) -> None:
        self._changed()
