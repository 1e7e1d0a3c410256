"""What is selected: shapes, points and labels, on the canvas or in the list of regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.viewer.session.record import is_foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from napari_patchioner.viewer.layers.binding import LayerBinding
    from napari_patchioner.viewer.layers.selection import SharedSelection
    from napari_patchioner.viewer.layers.sources import Sources
    from napari_patchioner.viewer.session.session import Session


class Selection:
    """One selection of all layers.

    napari selects on one layer at a time, and of labels only one. What is selected in the list
    counts until something else is selected on the canvas.

    Parameters
    ----------
    session : Session
        The regions.
    bindings : mapping of str to LayerBinding
        Our layers.
    sources : callable
        Returns the layers of other people that are followed.
    picker : SharedSelection
        Selects on our layers.
    """

    def __init__(
        self,
        session: Session,
        bindings: Mapping[str, LayerBinding],
        sources: Callable[[], Sources],
        picker: SharedSelection,
    ) -> None:
        self._session, self._bindings = session, bindings
        self._sources, self._picker = sources, picker
        self._listed: tuple[list[str], list[str]] | None = None
        picker.pressed = self.forget_list

    def uids(self) -> list[str]:
        """Return the uids of all that is selected."""
        canvas = self._on_canvas()
        if self._listed is not None and self._listed[0] == canvas:
            return [uid for uid in self._listed[1] if uid in self._session.records]
        self._listed = None
        return canvas

    def forget_list(self) -> None:
        """Let what is selected on the canvas count again, though it may be what it was."""
        self._listed = None

    def select(self, uids: Iterable[str]) -> None:
        """Select exactly these, whichever layers they are on."""
        wanted = list(dict.fromkeys(uids))
        # Whoever is told of the selection meanwhile shall not see half of it.
        with self._picker.still():
            layer = self._sources().select(set(wanted))
            shapes = {
                binding.layer: {
                    place for place, uid in enumerate(self._session.uids(key)) if uid in set(wanted)
                }
                for key, binding in self._bindings.items()
            }
            self._picker.select(shapes, elsewhere=layer)
            self._listed = (self._on_canvas(), wanted)

    def delete(self, uids: Iterable[str]) -> int:
        """Delete shapes through their layers; return how many are on layers of other people."""
        known = [uid for uid in uids if uid in self._session.records]
        foreign = [source for source in self._sources() if is_foreign(source.key)]
        theirs = {uid for source in foreign for uid in self._session.uids(source.key)}
        self._session.drop(known)
        self.select(uid for uid in known if uid not in theirs)
        for binding in self._bindings.values():
            if binding.layer.selected_data:
                binding.layer.remove_selected()
        own = self._sources().own
        if own is not None and own.layer.selected_data:
            own.layer.remove_selected()
            own.sync()
        return len(theirs.intersection(known))

    def _on_canvas(self) -> list[str]:
        elsewhere = self._sources().selected()
        if elsewhere:
            return elsewhere
        return [uid for binding in self._bindings.values() for uid in binding.selected()]
