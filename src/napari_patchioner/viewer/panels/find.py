"""What was found by a phrase or by examples, or is proposed: proposals, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qtpy import QtWidgets as qt
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent, QKeySequence
from superqt import QElidingLabel
from superqt.utils import signals_blocked

from napari_patchioner.errors import counted
from napari_patchioner.grids import PHOTOGRAPH
from napari_patchioner.viewer.session.proposals import Proposed
from napari_patchioner.viewer.widgets import Sentence, WheelGuard, action_buttons, button, stack
from napari_patchioner.viewer.workers.find import LEAST

if TYPE_CHECKING:
    from napari_patchioner.viewer.controller import Controller

    Current = Callable[[], Controller | None]

# Title, name of the action, and what it is for.
BUTTONS = (
    ("Accept", "accept_found", "Make a region of the selected proposals (keys Y, Enter)."),
    ("Accept all", "accept_all_found", "Make regions of all that are shown (key A)."),
    (
        "Reject",
        "reject_found",
        "Take the selected away, until Undo or Bring back (keys N, Delete).",
    ),
    ("Find again", "find_again", "Find more, with what you accepted as further examples (key F)."),
    ("Bring back", "restore_found", "Let what you rejected be proposed again."),
    (
        "End",
        "end_find",
        "Take all proposals away; accepted ones are regions (key Esc, once no search runs).",
    ),
)
# The keys of these while the list has the focus.
LIST_KEYS = {
    "Return": "accept_found",
    "Enter": "accept_found",
    "A": "accept_all_found",
    "Del": "reject_found",
    "Backspace": "reject_found",
    "Y": "accept_found",
    "N": "reject_found",
    "F": "find_again",
    "Esc": "escape_find",
}
# And while the layer of what was found is active on the canvas
CANVAS_KEYS = {"Y": "accept_found", "N": "reject_found", "Escape": "escape_find"}
CAUTION = (
    "This looks like a photograph. Finding more works well where things keep their size and "
    "look, as in micrographs; here much of what is proposed may be wrong."
)
HINT = "Click a box to accept it, Shift+click to reject it."
HINT_OUTLINED = "Click an outline to accept it (key Y), Shift+click to leave it out (key N)."
HINT_LOWER = "Lower the score to see what comes closest."
HINT_NOTHING = "Nothing is proposed."
AWAY = "What was found is on another plane: go back there, or find again here."
# Lines of the list that are seen without scrolling
_SHOWN = 5
_STEPS = 100
# Lines of the list of regions, and letters of a phrase
_MATCHES = 3
LONGEST_PHRASE = 200


class PhraseBar(qt.QWidget):  # type: ignore[misc]
    """Where a phrase is typed that is to be found on the image."""

    def __init__(self, actions: Any) -> None:
        super().__init__()
        self.text = PhraseField(actions.stop_search)
        self.button = button("Find", "Find what the phrase says (Enter).", actions.find_phrase)
        self.text.returnPressed.connect(actions.find_phrase)
        stack(self, (self.text, self.button), wide=[self.text])


class PhraseField(qt.QLineEdit):  # type: ignore[misc]
    """The field for it; Escape stops what runs, else it goes back to the canvas.

    ``stop`` does that, and says whether something ran.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        super().__init__(
            placeholderText="Find by text: a red bus, not a car",
            accessibleName="Find by text",
            clearButtonEnabled=True,
            maxLength=LONGEST_PHRASE,
        )
        self._stop = stop
        self.setToolTip(
            'What to look for on the image, such as "a red bus"; what follows "not" is not wanted.'
            '\nOf "a bus, a car" any is found. Enter shows where it is, proposes boxes and ranks '
            "your regions; Escape stops a search."
        )

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Stop what runs with Escape, or go back to the canvas."""
        if event.key() == Qt.Key.Key_Escape:
            if not self._stop():
                self.clearFocus()
        else:
            super().keyPressEvent(event)


class MatchList(qt.QListWidget):  # type: ignore[misc]
    """The regions there are, by how likely each shows the phrase; a click selects one."""

    def __init__(self, actions: Any) -> None:
        super().__init__(accessibleName="Your regions by match")
        self._uids: list[str] = []
        self._lines: list[str] = []
        self.setUniformItemSizes(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFixedHeight(_MATCHES * (self.fontMetrics().lineSpacing() + 4) + 6)
        self.setToolTip("Your regions, those that show it most likely first; a click selects one.")
        self.itemClicked.connect(lambda *_: actions.go_to(self._uids[self.currentRow()]))

    def show_matches(self, matches: Sequence[tuple[str, float, str]]) -> None:
        """List regions by uid, score and caption."""
        self.setVisible(bool(matches))
        lines = [f"{score:.2f}    {caption or 'no caption yet'}" for _, score, caption in matches]
        uids = [uid for uid, *_ in matches]
        if (uids, lines) != (self._uids, self._lines):
            self._uids, self._lines = uids, lines
            self.clear()
            self.addItems(lines)


class ProposalList(qt.QListWidget):  # type: ignore[misc]
    """The proposals that are shown, the likeliest first."""

    def __init__(self, actions: Any) -> None:
        super().__init__(accessibleName="Proposals")
        self._actions = actions
        self._items: list[Proposed] = []
        self.setSelectionMode(self.SelectionMode.ExtendedSelection)
        self.setUniformItemSizes(True)
        self.setToolTip(
            "Y or Enter accepts what is selected, N or Delete rejects it; double-click accepts."
        )
        self.setFixedHeight(_SHOWN * (self.fontMetrics().lineSpacing() + 4) + 6)
        self.itemDoubleClicked.connect(lambda *_: actions.accept_found())

    def numbers(self) -> list[int]:
        """Return the numbers of what is selected."""
        return [self._items[row].number for row in self._rows()]

    def _rows(self) -> list[int]:
        return sorted(index.row() for index in self.selectedIndexes())

    def show_items(self, items: Sequence[Proposed]) -> None:
        """List these; where what was selected is gone, what follows it is selected."""
        items = list(items)
        if items == self._items:
            return
        chosen, rows = set(self.numbers()), self._rows()
        self._items = items
        with signals_blocked(self):
            self.clear()
            lines = (f"{item.number}    {item.score:.2f}    {item.text}" for item in items)
            self.addItems([line.rstrip() for line in lines])
            left = [row for row, item in enumerate(items) if item.number in chosen]
            if rows and items and not left:
                left = [min(rows[0], len(items) - 1)]
            for row in left:
                self.item(row).setSelected(True)
            if left:
                self.selectionModel().setCurrentIndex(
                    self.model().index(left[0], 0), self.selectionModel().SelectionFlag.NoUpdate
                )
        self.itemSelectionChanged.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Judge with single keys; napari's own keys are not meant here."""
        key, held = QKeySequence(event.key()).toString(), event.modifiers()
        plain = held in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if event.matches(QKeySequence.StandardKey.Undo):
            self._actions.undo()
        elif event.matches(QKeySequence.StandardKey.Redo):
            self._actions.redo()
        elif plain and key in LIST_KEYS:
            getattr(self._actions, LIST_KEYS[key])()
        elif key in ("Up", "Down") and self._items and not self._rows():
            # Qt would go on from what is current, which nobody has chosen.
            self.setCurrentRow(max(self.currentRow(), 0))
        else:
            super().keyPressEvent(event)


class FindPanel(qt.QWidget):  # type: ignore[misc]
    """What was found on the image at hand; hidden where nothing was."""

    def __init__(self, actions: Any, current: Current) -> None:
        super().__init__()
        self._current = current
        # Of any length, and as narrow as the dock is
        self.title = QElidingLabel(styleSheet="font-weight: bold", minimumWidth=1)
        self.title.setElideMode(Qt.TextElideMode.ElideRight)
        # The buttons below stay where they are, however much there is to say.
        self.text = Sentence(lines=2, fixed=True)
        self.caution = Sentence()
        self.slider = qt.QSlider(Qt.Orientation.Horizontal, accessibleName="Least score")
        self.slider.setRange(round(_STEPS * LEAST), _STEPS)
        self.slider.setToolTip("Shows what scores at least as much; nothing is computed anew.")
        self.count = qt.QLabel()
        self.heat = button(
            "Heat map", "Show where the image shows what is looked for.", checkable=True
        )
        self.list = ProposalList(actions)
        self.matches_title = qt.QLabel("Your regions by match")
        self.matches = MatchList(actions)
        made = self.buttons = action_buttons(actions, BUTTONS)
        stack(
            self,
            (self.title, self.heat, made["end_find"]),
            *(self.caution, self.text),
            (self.slider, self.count),
            self.list,
            (made["accept_found"], made["accept_all_found"], made["reject_found"]),
            (made["find_again"], made["restore_found"]),
            *(self.matches_title, self.matches),
            wide=[self.title, self.slider],
        )
        self.caution.setText(CAUTION)
        self.slider.valueChanged.connect(self._on_slider)
        self.heat.toggled.connect(self._on_heat)
        self.list.itemSelectionChanged.connect(self._on_selected)
        self._guard = WheelGuard(self)
        # Whether proposals are to be judged by keys as soon as they are there
        self._expected = False
        self.hide()

    def refresh(self) -> None:
        """Show the state of the search on the image at hand."""
        controller = self._current()
        search = controller.search if controller is not None else None
        proposals = search.proposals if search is not None else None
        self.setVisible(proposals is not None)
        if search is None or proposals is None:
            self.list.show_items([])
            self.matches.show_matches([])
            return
        shown, total = proposals.shown(), proposals.open()
        name = search.name()
        examples = counted(proposals.examples, "example")
        proposed = search.options is not None
        self.heat.setVisible(not proposed)
        if proposed:
            self.title.setText("Proposed regions")
            self.title.setToolTip("Regions of the whole image that may be things.")
        elif search.phrase:
            self.title.setText(f"Showing {search.phrase!r}")
            self.title.setToolTip(f"Found by {search.phrase!r}.")
        else:
            self.title.setText(f"More like {name!r}" if name else f"More like {examples}")
            self.title.setToolTip(f"{self.title.text()}: from {examples}.")
        self.caution.setVisible(not (search.phrase or proposed) and search.photograph >= PHOTOGRAPH)
        matches = search.ranked()
        self.matches_title.setVisible(bool(matches))
        self.matches.show_matches(matches)
        here = search.here
        hint = HINT_OUTLINED if proposed else HINT
        if not shown:
            # Why that is so is said by the message of the dock.
            hint = HINT_LOWER if total else HINT_NOTHING
        self.text.setText(hint if here else AWAY)
        with signals_blocked(self.slider):
            self.slider.setValue(round(_STEPS * proposals.threshold))
        with signals_blocked(self.heat):
            self.heat.setChecked(search.with_heat)
        self.count.setText(f"{proposals.threshold:.2f}: {len(shown)} of {len(total)}")
        self.list.show_items(shown if here else [])
        if self._expected and proposed and shown and here:
            self._expected = False
            self.list.setCurrentRow(0)
            self.list.setFocus()
        chosen = bool(self.list.numbers())
        for action in ("accept_found", "reject_found"):
            self.buttons[action].setEnabled(chosen and here)
        self.buttons["accept_all_found"].setEnabled(bool(shown) and here)
        self.buttons["accept_all_found"].setText(
            f"Accept all {len(shown)}" if shown else "Accept all"
        )
        self.buttons["restore_found"].setEnabled(len(proposals.rejected) > 0)
        self.buttons["find_again"].setEnabled(search.progress is None)

    def take_focus(self) -> None:
        """Turn to the list once there is something in it, its first item selected."""
        self._expected = True

    def _on_slider(self, value: int) -> None:
        controller = self._current()
        if controller is not None:
            controller.search.set_threshold(value / _STEPS)
            self.refresh()

    def _on_heat(self, on: bool) -> None:
        controller = self._current()
        if controller is not None:
            controller.search.set_heat(on)

    def _on_selected(self) -> None:
        """Mark the one that is selected on the canvas, and bring it into view."""
        controller, numbers = self._current(), self.list.numbers()
        if controller is not None and controller.search.proposals is not None:
            controller.show_found(numbers[0] if len(numbers) == 1 else 0)
        for action in ("accept_found", "reject_found"):
            self.buttons[action].setEnabled(bool(numbers))
