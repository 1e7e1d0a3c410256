"""Which image, which model: two lists, one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_patchioner.viewer.panels import forms

from .model_choice import ModelChoice
from .model_menu import ModelMenu

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class SourceBox(QWidget):
    """Asks for the image and the model.

    Parameters
    ----------
    images : callable
        Returns the image layers to choose from.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self, images: Callable[[Any], Sequence[Any]], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.image = forms.image_form(images)
        self.model = ModelChoice(self)
        self.menu = ModelMenu(self)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(QLabel("Image"), 0, 0)
        layout.addWidget(self.image.native, 0, 1, 1, 2)
        layout.addWidget(QLabel("Model"), 1, 0)
        layout.addWidget(self.model, 1, 1)
        layout.addWidget(self.menu, 1, 2)
        layout.setColumnStretch(1, 1)
