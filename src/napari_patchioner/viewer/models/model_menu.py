"""What can be done with models besides choosing one: a menu on a small button."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMenu, QPushButton

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_patchioner.models import ModelCard


class ModelMenu(QPushButton):
    """A button whose menu gets or removes the chosen model, adds one, or opens their folder."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("…", parent)
        self.setToolTip("Get, remove or add models.")
        self.setAccessibleName("Models")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFixedWidth(30)
        self.setStyleSheet("QPushButton::menu-indicator { image: none; width: 0px; }")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.get = menu.addAction("Get this model…")
        self.copy = menu.addAction("Get it from a folder…")
        self.remove = menu.addAction("Remove this model…")
        menu.addSeparator()
        self.add = menu.addAction("Add a model of your own…")
        self.open = menu.addAction("Open models folder")
        self.copy.setToolTip("Where a copy of the files lies already; nothing is downloaded then.")
        self.add.setToolTip("A folder with a preset.toml and the files it names.")
        self.setMenu(menu)

    def show_card(self, card: ModelCard | None, *, built_in: bool, busy: bool) -> None:
        """Offer what can be done with a model.

        Parameters
        ----------
        card : ModelCard, optional
            The chosen model.
        built_in : bool
            Whether it came with the package.
        busy : bool
            Whether a model is being got or removed.
        """
        known = card is not None and not busy
        self.get.setEnabled(known and not card.installed)
        self.copy.setEnabled(known and not card.installed)
        self.remove.setEnabled(known and not built_in)
        self.add.setEnabled(not busy)
