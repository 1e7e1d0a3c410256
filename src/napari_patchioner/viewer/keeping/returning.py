"""Captions of points and labels come back with their layers, and what does not is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Points, Shapes
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Signal

from napari_patchioner.viewer.layers.geometry import POINT, alignment
from napari_patchioner.viewer.layers.shapes import LayerReader
from napari_patchioner.viewer.layers.sources import layer_key
from napari_patchioner.viewer.session.record import Seen
from napari_patchioner.viewer.session.session import counted

from .restore import restore_groups
from .snapshot import fill_in
from .waiting import Waiting

if TYPE_CHECKING:
    import napari
    from napari.utils.events import Event

    from napari_patchioner.viewer.desk.annotator import Annotator

    from .snapshot import Snapshots


class Returning(QObject):
    """Follows layers that saved captions wait for, and tells how that went.

    Parameters
    ----------
    annotator : Annotator
        Whose session gets the captions.
    snapshots : Snapshots
        Knows what is saved and not shown.
    parent : QObject, optional
        The keeper.
    """

    told = Signal(str)

    def __init__(
        self, annotator: Annotator, snapshots: Snapshots, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._annotator, self._snapshots = annotator, snapshots
        self._strange: set[str] = set()
        self.waiting = Waiting(
            lambda: snapshots.lost,
            snapshots.keep,
            lambda layer: snapshots.set_aside(layer, self.layers | {layer}),
        )
        annotator.session.pending = self.waiting
        annotator.changed.connect(self._on_changed)
        annotator.viewer.layers.events.inserted.connect(self._on_inserted)

    @property
    def layers(self) -> set[str]:
        """Keys of all layers that are looked at."""
        followed = self._annotator.sources.following.values()
        return {*self._annotator.bindings, *(source.key for source in followed)}

    def look(self) -> None:
        """Follow the layers there are that captions wait for."""
        for layer in self._annotator.sources.offers():
            self._follow(layer)

    def close(self) -> None:
        """Hear no more of the annotator and the viewer."""
        self._annotator.session.pending = None
        self._annotator.changed.disconnect(self._on_changed)
        self._annotator.viewer.layers.events.inserted.disconnect(self._on_inserted)

    # details

    def _on_inserted(self, event: Event) -> None:
        if event.value in self._annotator.sources.offers():
            self._follow(event.value)

    def _follow(self, layer: napari.layers.Layer) -> None:
        sources = self._annotator.sources
        if layer in sources.following or not self.waiting.records():
            return
        uids: Any = layer.features.get("uid", ())
        if self.waiting.belongs(layer_key(layer), uids, self._places(layer)):
            sources.follow(layer)

    def _places(self, layer: napari.layers.Layer) -> list[Seen]:
        """Return the points or shapes of a layer; nothing where it has labels."""
        if isinstance(layer, Shapes):
            return LayerReader(layer, self._annotator.image).shapes()
        if not isinstance(layer, Points):
            return []
        places = alignment(layer, self._annotator.image)(layer.data)
        return [Seen(POINT, place[None]) for place in places]

    def _on_changed(self) -> None:
        """Restore what has become whole again, and tell of it."""
        for found in self.waiting.told():
            self._restore_groups()
            name = found.layer.partition(":")[2]
            if found.captions:
                self.told.emit(f"Restored {counted(found.captions, 'caption')} on {name!r}.")
            strange = set(found.strange) - self._strange
            if strange:
                self._strange |= strange
                show_warning(
                    f"{counted(strange, 'saved caption')} could not be matched: {name!r} is not "
                    "what it was when they were written. They stay in the project."
                )

    def _restore_groups(self) -> None:
        """Bring back captions of several regions together, once all of these are there."""
        session = self._annotator.session
        groups = [one for one in self._snapshots.lost.values() if one.members]
        restore_groups(groups, session)
        for saved in groups:
            if saved.uid in session.records:
                fill_in(session.records[saved.uid], saved)
        session.amend()
