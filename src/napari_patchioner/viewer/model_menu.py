"""What can be done with models besides choosing one: a menu on a small button."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMenu, QToolButton

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_patchioner.models import ModelCard


class ModelMenu(QToolButton):
    """A button whose menu gets or removes the chosen model, adds one, or opens their folder."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setText("Models…")
        self.setToolTip("Get, remove or add models.")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setPopupMode(self.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.get = menu.addAction("Get…")
        self.copy = menu.addAction("Get from a folder…")
        self.remove = menu.addAction("Remove…")
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
            Whether another model is being got or removed.
        """
        title = _short(card.title) if card else "model"
        there = card is not None and card.installed
        self.get.setText(f"Get {title}…")
        self.copy.setText(f"Get {title} from a folder…")
        self.remove.setText(f"Remove {title}…")
        self.get.setEnabled(card is not None and not there and not busy)
        self.copy.setEnabled(self.get.isEnabled())
        self.remove.setEnabled(there and not built_in and not busy)
        self.add.setEnabled(not busy)


def _short(title: str, length: int = 36) -> str:
    """Return a title that a menu has room for; `&` is a sign to menus."""
    short = title if len(title) <= length else f"{title[: length - 1].rstrip()}…"
    return short.replace("&", "&&")
