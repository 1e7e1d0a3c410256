"""A paragraph about the whole image, whose phrases lead to the regions that they speak of."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy import QtWidgets as qt
from qtpy.QtCore import Qt, Signal

from napari_patchioner.annotations import Record
from napari_patchioner.annotations.paragraph import Link, as_html

# Addresses of what is no phrase; phrases have numbers.
_EDIT, _ANEW = "edit", "anew"
_FOOT = '<p style="margin-top: 4px">{}<a href="' + _EDIT + '">Edit as text</a></p>'
# Colours of links, and the lightness of a text from which it stands on something dark.
_ON_DARK, _ON_LIGHT, _MIDDLE = "#7db7ff", "#0b57d0", 127
_OUTDATED = f'<b>Outdated:</b> its regions have changed. <a href="{_ANEW}">Write it anew</a> · '


class ParagraphView(qt.QLabel):  # type: ignore[misc]
    """Shows a paragraph as rich text; takes no room where there is none."""

    # With the uids of what a phrase speaks of: it was clicked; the cursor is over it, or left it.
    followed = Signal(object)
    pointed = Signal(object)
    edit_wanted = Signal()
    anew_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(
            wordWrap=True,
            minimumWidth=1,
            textFormat=Qt.TextFormat.RichText,
            accessibleName="Paragraph about the whole image",
        )
        # No tool tip: it would lie over the words that are pointed at.
        self.setAccessibleDescription("Its links go to the regions that they speak of.")
        flags = Qt.TextInteractionFlag
        self.setTextInteractionFlags(flags.LinksAccessibleByMouse | flags.TextSelectableByMouse)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self._links: tuple[Link, ...] = ()
        self.linkActivated.connect(self.follow)
        self.linkHovered.connect(self._on_hovered)
        self.show_paragraph(None, ())

    def show_paragraph(
        self, record: Record | None, links: Sequence[Link], *, outdated: bool = False
    ) -> None:
        """Show the paragraph that a record holds; without links there is none."""
        self.setVisible(record is not None and bool(links))
        if record is None or not links:
            self._links = ()
            self.setText("")
            return
        self._links = tuple(links)
        numbers = {link: str(number) for number, link in enumerate(self._links)}
        body = as_html(record.caption, self._links, numbers.__getitem__)
        text = f"{body}{_FOOT.format(_OUTDATED if outdated else '')}"
        # Qt's own blue cannot be read on a dark theme.
        is_light = self.palette().windowText().color().lightness() > _MIDDLE
        text = text.replace("<a ", f'<a style="color: {_ON_DARK if is_light else _ON_LIGHT}" ')
        # Written again, it would lose what is selected in it.
        if text != self.text():
            self.setText(text)

    def follow(self, address: str) -> None:
        """Do what a link is for, given its address."""
        if address == _EDIT:
            self.edit_wanted.emit()
        elif address == _ANEW:
            self.anew_wanted.emit()
        elif uids := self._uids(address):
            self.followed.emit(uids)

    def _on_hovered(self, address: str) -> None:
        self.pointed.emit(self._uids(address))

    def _uids(self, address: str) -> tuple[str, ...]:
        is_phrase = address.isdecimal() and int(address) < len(self._links)
        return self._links[int(address)].uids if is_phrase else ()
