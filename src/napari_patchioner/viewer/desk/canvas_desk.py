"""Draws the captions on the image the way the form says, on every layer there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_patchioner.viewer.layers.captions import TemplateError, checked, show_on, write_on
from napari_patchioner.viewer.layers.rendering import add_halo
from napari_patchioner.viewer.preferences import preference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import napari
    from magicgui.widgets import Container

    from .annotator import Annotator


class CanvasDesk(QObject):
    """Follows the form for how captions are drawn.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers are.
    form : Container
        From `forms.canvas_form`.
    everyone : callable
        Returns all annotators.
    parent : QObject, optional
        The dock.
    """

    told = Signal(str)

    def __init__(
        self,
        viewer: napari.Viewer,
        form: Container,
        everyone: Callable[[], Iterable[Annotator]],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._form = form
        self._everyone = everyone
        for name in ("visible", "lines", "template"):
            form[name].value = preference("captions", name)
        self._looks: dict[str, Any] = {}
        self._crowded = False
        self._read()
        form.changed.connect(self._on_form)

    def dress(self, layer: napari.layers.Layer) -> None:
        """Draw the captions of a layer that has any."""
        if hasattr(layer, "text"):
            write_on(layer, **self._looks)
            add_halo(self._viewer, layer)

    def thin_out(self) -> None:
        """Draw no captions where there are too many, and say so once."""
        shown, crowd = self._looks["visible"], self._looks["crowd"]
        layers = [b.layer for a in self._everyone() for b in a.bindings.values()]
        crowded = sum(show_on(layer, shown, crowd) for layer in layers) > 0
        if crowded and not self._crowded:
            self.told.emit(
                f"More than {crowd} shapes: their captions are in the list (key O) and in the "
                f"caption box, no longer on the image."
            )
        self._crowded = crowded

    def _on_form(self, *_: object) -> None:
        if self._read():
            for annotator in self._everyone():
                for binding in annotator.bindings.values():
                    self.dress(binding.layer)

    def _read(self) -> bool:
        """Take over what the form says; a template that makes no sense changes nothing."""
        try:
            template = checked(self._form["template"].value)
        except TemplateError as error:
            self.told.emit(str(error))
            return False
        self._looks = {
            "template": template,
            "lines": self._form["lines"].value,
            "visible": self._form["visible"].value,
            "crowd": self._form["crowd"].value,
        }
        return True
