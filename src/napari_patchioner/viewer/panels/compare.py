"""What a comparison of regions has come to, in a window of its own beside the viewer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy import QtWidgets as qt
from qtpy.QtCore import Qt
from qtpy.QtGui import QFont, QGuiApplication
from superqt.utils import signals_blocked

from napari_patchioner.annotations import write_bytes
from napari_patchioner.annotations.table import format_table, guard_cell
from napari_patchioner.errors import FormatError, counted
from napari_patchioner.viewer import widgets
from napari_patchioner.viewer.widgets import Sentence, button, stack

if TYPE_CHECKING:
    from napari_patchioner.viewer.controller import Controller
    from napari_patchioner.viewer.workers.compare import Comparer

TITLE = "Patch-ioner: differences"
REGIONS_TIP = "Click a column to select its region."
SLICES_TIP = "Click a row to go to that slice; bold rows begin something new."
TAKE_TIP = "Let the region say what its slices agree on; Undo takes it back."
AGAIN_TIP = "Compare the same regions as they are now."
TOO_FEW_TIP = "Too few of these regions are left: select others, and press Compare."
# Rows of a table that are not concepts: captions, and what is said of one only.
_TEXTS = 2
_WAIT_MS = 60


def _so_far(comparer: Comparer) -> str:
    """Return what there is where nothing was compared to the end."""
    if not comparer.slices:
        return "Nothing compared yet."
    slices = counted(comparer.slices, "slice")
    return f"{slices} captioned so far, not compared with each other: press Compare to begin anew."


class ComparePanel(qt.QDialog):  # type: ignore[misc]
    """The sentence, the table and what can be done with them; it can stay open."""

    def __init__(
        self,
        parent: qt.QWidget,
        current: Callable[[], Controller | None],
        actions: Any,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(TITLE)
        self._current, self._actions = current, actions
        self._comparer: Comparer | None = None
        self.sentence = Sentence(lines=3)
        self.sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.outdated = Sentence()
        strong = QFont(self.outdated.font())
        strong.setBold(True)
        self.outdated.setFont(strong)
        self.again = button("Compare again", AGAIN_TIP, self._on_again)
        self.axis = qt.QComboBox(toolTip="Along which axis of the stack slices are compared.")
        self.axis.activated.connect(self._on_axis)
        self.axis.setSizeAdjustPolicy(self.axis.SizeAdjustPolicy.AdjustToContents)
        self.axis.setMinimumContentsLength(12)
        self.progress = qt.QProgressBar(textVisible=True, minimumHeight=18)
        self.stop = button("Cancel", "Stop; what was read is kept.", self._on_stop)
        self.table = qt.QTableWidget(accessibleName="Differences")
        self.table.setEditTriggers(self.table.EditTrigger.NoEditTriggers)
        self.table.setWordWrap(True)
        self.table.verticalHeader().hide()
        self.table.cellClicked.connect(self._on_cell)
        self.table.currentCellChanged.connect(self._on_current)
        self.take = button("Use the consensus", TAKE_TIP, self._on_take)
        self.copy = button("Copy", "Copy the sentence and the table as text.", self.copy_text)
        self.export = button("Export CSV…", "Save the table as a CSV file.", self._on_export)
        self.problem = Sentence()
        self.problem.hide()
        stack(
            self,
            (self.sentence, self.axis),
            (self.outdated, self.again),
            (self.progress, self.stop),
            self.table,
            self.problem,
            (self.take, self.copy, self.export),
            wide=[self.sentence, self.outdated, self.progress, self.table],
            margins=(8, 8, 8, 8),
        )
        self.resize(560, 380)
        self._soon = widgets.throttled(self.refresh, _WAIT_MS, self)

    def open(self) -> None:
        """Show the comparison of the image at hand."""
        controller = self._current()
        self.follow(controller.comparer if controller is not None else None)
        self.show()
        self.raise_()
        self.refresh()

    def follow(self, comparer: Comparer | None) -> None:
        """Show what another image's comparisons come to."""
        if comparer is self._comparer:
            return
        if self._comparer is not None:
            self._comparer.changed.disconnect(self._soon.throttle)
        self._comparer = comparer
        if comparer is not None:
            comparer.changed.connect(self._soon.throttle)

    def leave(self, controller: Controller) -> None:
        """Close where it is about an image that goes."""
        if self._comparer is controller.comparer:
            self.let_go()

    def let_go(self) -> None:
        """Stop following, and close."""
        self._soon.cancel()
        self.follow(None)
        self.close()

    def refresh(self) -> None:
        """Show how far a comparison is, and what it has come to."""
        comparer = self._comparer
        if comparer is None or not self.isVisible():
            return
        self.setWindowTitle(f"{TITLE} in {comparer.image_name}")
        self.problem.hide()
        at_work = comparer.progress
        for part in (self.progress, self.stop):
            part.setVisible(at_work is not None)
        if at_work is not None:
            self.progress.setValue(round(100 * at_work.fraction))
            self.progress.setFormat(at_work.message or "%p%")
        question, sliced, compared = comparer.question, comparer.sliced, comparer.compared
        is_outdated = bool(comparer.outdated) and at_work is None
        self.outdated.setText(f"Outdated: {comparer.outdated}." if is_outdated else "")
        for part in (self.outdated, self.again):
            part.setVisible(is_outdated)
        self.again.setEnabled(bool(comparer.left))
        self.again.setToolTip(AGAIN_TIP if comparer.left else TOO_FEW_TIP)
        self.axis.setVisible(question is not None and len(question.axes) > 1)
        if question is not None:
            self._show_axes(question.axes, question.axis)
        self.take.setVisible(question is not None)
        self.take.setEnabled(not comparer.objection)
        self.take.setToolTip(comparer.objection or TAKE_TIP)
        for part in (self.copy, self.export):
            part.setEnabled(sliced is not None or compared is not None)
        rows = self.rows()
        if compared is not None:
            self.sentence.setText(compared.sentence)
        elif sliced is not None:
            self.sentence.setText(sliced.result.sentence(sliced.numbers))
        else:
            self.sentence.setText("Comparing…" if at_work is not None else _so_far(comparer))
        self.table.setToolTip(REGIONS_TIP if question is None else SLICES_TIP)
        bold = set(range(_TEXTS)) if compared is not None else set()
        if sliced is not None:
            bold = {0, *sliced.result.changes}
        self._show_rows(rows, bold)

    def rows(self) -> list[list[str]]:
        """Return the table as text, its header first."""
        comparer = self._comparer
        if comparer is None:
            return [[]]
        if comparer.compared is not None:
            return comparer.compared.result.table(comparer.compared.names)
        if comparer.sliced is not None:
            return comparer.sliced.result.table(comparer.sliced.numbers)
        slices = [[str(item.number), item.caption.text] for item in comparer.slices]
        return [["slice", "caption"], *slices]

    def copy_text(self) -> None:
        """Put the sentence and the table on the clipboard."""
        lines = ["\t".join(row) for row in self.rows()]
        said = filter(None, [self.sentence.text(), self.outdated.text()])
        QGuiApplication.clipboard().setText("\n".join([*said, "", *lines]))

    def export_csv(self, path: Path) -> None:
        """Save the table; where that fails, say why."""
        header, *rows = self.rows()
        cells = [[guard_cell(cell) for cell in row] for row in rows]
        message = ""
        try:
            text = format_table(header, cells)
            write_bytes(path, text.encode("utf-8"))
        except FormatError as error:
            message = f"Nothing was saved: {error}"
        self._object(message)

    def _show_axes(self, axes: tuple[tuple[int, str], ...], chosen: int) -> None:
        with signals_blocked(self.axis):
            self.axis.clear()
            for axis, label in axes:
                self.axis.addItem(f"along {label}", axis)
            self.axis.setCurrentIndex(self.axis.findData(chosen))

    def _show_rows(self, rows: list[list[str]], bold: set[int]) -> None:
        """Fill the table; what is selected stays so."""
        header, *lines = rows
        with signals_blocked(self.table):
            self.table.setColumnCount(len(header))
            self.table.setHorizontalHeaderLabels(header)
            self.table.setRowCount(len(lines))
            strong = QFont(self.table.font())
            strong.setBold(True)
            for row, cells in enumerate(lines):
                for column, text in enumerate(cells):
                    item = qt.QTableWidgetItem(text)
                    item.setToolTip(text)
                    if row in bold:
                        item.setFont(strong)
                    self.table.setItem(row, column, item)
            self.table.resizeColumnsToContents()
            for column in range(len(header)):
                self.table.setColumnWidth(column, min(self.table.columnWidth(column), 220))
            self.table.resizeRowsToContents()
        self.table.horizontalHeader().setStretchLastSection(True)

    def _on_cell(self, row: int, column: int) -> None:
        """Go to a slice, or select a region."""
        controller, comparer = self._here(), self._comparer
        if controller is None or comparer is None:
            return
        if comparer.compared is not None and column > 0:
            self._actions.go_to(comparer.compared.uids[column - 1])
        elif comparer.question is not None and row < len(comparer.slices):
            controller.go_to_slice(comparer.question, comparer.slices[row].number)

    def _on_current(self, row: int, column: int, before: int, _before: int) -> None:
        """Follow the arrow keys over slices; that the table is turned to means none of them."""
        if (
            before >= 0
            and row != before
            and self._comparer is not None
            and self._comparer.question is not None
        ):
            self._on_cell(row, column)

    def _on_axis(self, _index: int) -> None:
        comparer = self._comparer
        if comparer is not None and comparer.question is not None:
            comparer.start([comparer.question.uid], self.axis.currentData())

    def _on_again(self) -> None:
        if self._comparer is not None:
            self._comparer.start_again()

    def _on_stop(self) -> None:
        if self._comparer is not None:
            self._comparer.cancel()

    def _on_take(self) -> None:
        controller = self._here()
        if controller is not None:
            controller.comparer.take_consensus()
            controller.show()

    def _here(self) -> Controller | None:
        """Return the controller of the image that this is about, or say that it is not at hand."""
        controller, comparer = self._current(), self._comparer
        if controller is not None and controller.comparer is comparer:
            return controller
        if comparer is not None:
            self._object(f"This is about {comparer.image_name}: turn to that image first.")
        return None

    def _object(self, problem: str) -> None:
        """Say what is wrong; nothing where all is well."""
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))

    def _on_export(self) -> None:
        path, _ = qt.QFileDialog.getSaveFileName(self, "Export", "differences.csv", "CSV (*.csv)")
        if path:
            self.export_csv(Path(path))
