"""Asking a model on a server: the field for questions, its answer, and what is set up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy import QtWidgets as qt
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QTextCursor

from napari_patchioner.describers import DESCRIBE, FIELDS, Endpoint, question
from napari_patchioner.describers.endpoint import EXAMPLE
from napari_patchioner.describers.prompt import LONGEST
from napari_patchioner.errors import Cancelled, ModelError, as_sentence
from napari_patchioner.models.servers import (
    LARGEST_TOKENS,
    ServerSettings,
    allow_host,
    forget_settings,
    read_settings,
    revoke_host,
    write_settings,
)
from napari_patchioner.viewer.widgets import MenuButton, Sentence, button, stack, wrapped
from napari_patchioner.viewer.workers.job import Job, error_message
from napari_patchioner.viewer.workers.server import models_of

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent

    from napari_patchioner.viewer.controller import Controller

    Current = Callable[[], Controller | None]

PRIVACY = (
    "An OpenAI-compatible server on this machine, such as llama.cpp, Ollama or vLLM. Nothing is "
    "contacted before you press List or save an address here. It is sent a crop around each "
    "region you ask about, with its outline, and the words of the prompt; never the rest of the "
    "image."
)
TIP = (
    'A free question about the selected regions, such as "what is the mitotic stage?"; Enter asks\n'
    "a model on a server of this machine, once you have set one up."
)
_LINES = 4


def may_ask(parent: qt.QWidget, endpoint: Endpoint) -> bool:
    """Whether a server may be asked; another host than this machine is asked about, once."""
    if endpoint.is_allowed:
        return True
    answers = qt.QMessageBox.StandardButton
    both = answers.Yes | answers.No
    text = question(endpoint)
    title = "Send crops to another machine?"
    if qt.QMessageBox.question(parent, title, text, both, answers.No) != answers.Yes:
        return False
    allow_host(endpoint.address)
    return True


class ServerDialog(qt.QDialog):  # type: ignore[misc]
    """Where the server is, which model, what it is asked, its key, and which hosts are allowed."""

    # Settings were saved or deleted.
    saved = Signal()

    def __init__(self, parent: qt.QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Describe by server")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(560, 480)
        self._job: Job | None = None
        self.address = qt.QLineEdit(placeholderText=EXAMPLE, accessibleName="Address")
        self.address.setToolTip(f"Its address, such as {EXAMPLE}; mostly it ends in /v1.")
        self.model = qt.QComboBox(editable=True, accessibleName="Model")
        self.model.setInsertPolicy(self.model.InsertPolicy.NoInsert)
        tip = "The name of a model that reads pictures; empty is the only one that the server has."
        self.model.setToolTip(tip)
        self.list = button("List", "Ask the server which models it has.", self.list_models)
        self.prompt = qt.QPlainTextEdit(tabChangesFocus=True, accessibleName="Prompt")
        names = "\n".join(f"{{{name}}}: {what}" for name, what in FIELDS.items())
        self.prompt.setToolTip(f"What is asked of a region. Filled in are\n{names}")
        self.usual = button(
            "Usual prompt", "Put back what is asked where nobody has written a prompt.", self.reset
        )
        self.longest = qt.QSpinBox(accessibleName="Longest answer")
        self.longest.setRange(1, LARGEST_TOKENS)
        self.longest.setSuffix(" tokens")
        self.longest.setToolTip(
            "Words and pieces of words of an answer; a longer one is cut off, and ends in …"
        )
        self.key = qt.QLineEdit(
            accessibleName="Key", placeholderText="only if the server wants one"
        )
        self.key.setEchoMode(self.key.EchoMode.Password)
        self.key.setToolTip(
            "Sent to this server alone, and kept in a file that only you may read;\n"
            "it is in no project and no export."
        )
        self.hosts = qt.QComboBox(accessibleName="Allowed hosts")
        self.hosts.setToolTip("Hosts besides this machine that you allowed to be sent crops.")
        self.revoke = button("Revoke", "Send nothing to this host any more.", self.revoke_host)
        self.report = Sentence(lines=2)
        buttons = qt.QDialogButtonBox
        box = buttons(buttons.StandardButton.Save | buttons.StandardButton.Cancel)
        self.save = box.button(buttons.StandardButton.Save)
        self.forget = box.addButton("Forget all", buttons.ButtonRole.ResetRole)
        self.forget.setToolTip("Delete all of this, the key and what you allowed.")
        self.forget.clicked.connect(lambda *_: self.forget_all())
        box.accepted.connect(self._on_save)
        box.rejected.connect(self.reject)
        about = wrapped()
        about.setText(PRIVACY)
        form = qt.QFormLayout()
        form.setFieldGrowthPolicy(form.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        models, hosts = qt.QWidget(), qt.QWidget()
        stack(models, (self.model, self.list), wide=[self.model])
        stack(hosts, (self.hosts, self.revoke), wide=[self.hosts])
        rows = {"Address": self.address, "Model": models, "Prompt": self.prompt}
        rows |= {"": self.usual, "Longest": self.longest, "Key": self.key, "Allowed": hosts}
        for title, widget in rows.items():
            form.addRow(title, widget)
        fields = qt.QWidget()
        fields.setLayout(form)
        stack(self, about, fields, self.report, box, wide=[fields], margins=(10, 10, 10, 10))
        self.finished.connect(self._stop)
        try:
            self._show(read_settings())
        except ModelError as error:
            self._show(ServerSettings())
            self.report.setText(str(error))

    def settings(self) -> ServerSettings:
        """Return what is typed, tidied; a ModelError in one sentence where it makes no sense."""
        allowed = tuple(self.hosts.itemText(index) for index in range(self.hosts.count()))
        return ServerSettings(
            self.address.text(),
            self.model.currentText(),
            self.prompt.toPlainText(),
            self.key.text().strip(),
            allowed,
            self.longest.value(),
        ).checked()

    def list_models(self) -> None:
        """Ask the server which models it has; one of another host only if that is allowed."""
        self._stop()
        try:
            settings = self.settings()
            endpoint = settings.endpoint()
        except ModelError as error:
            self.report.setText(as_sentence(str(error)))
            return
        if not self._may_ask(endpoint):
            return
        settings = replace(settings, allowed=(*settings.allowed, endpoint.host))
        self.report.setText("asking the server…")
        self._job = Job.run(
            models_of, settings, delivered=self._on_models, ended=self._on_ended, parent=self
        )

    def reset(self) -> None:
        """Put the usual prompt back."""
        self.prompt.setPlainText(DESCRIBE)

    def revoke_host(self) -> None:
        """Take back what was allowed to the chosen host."""
        if host := self.hosts.currentText():
            revoke_host(host)
            self._show_hosts(read_settings().allowed)
            self.report.setText(f"{host} is sent nothing any more.")
            self.saved.emit()

    def forget_all(self) -> None:
        """Delete all that was set up."""
        forget_settings()
        self._show(ServerSettings())
        self.report.setText("Nothing is set up any more, and nothing is contacted.")
        self.saved.emit()

    def _may_ask(self, endpoint: Endpoint) -> bool:
        """Ask about another host; show it among those that are allowed if it is."""
        before = endpoint.is_allowed
        if not may_ask(self, endpoint):
            self.report.setText(f"{endpoint.host} was not asked.")
            return False
        if not before:
            self._show_hosts(read_settings().allowed)
        return True

    def _show(self, settings: ServerSettings) -> None:
        self.address.setText(settings.address)
        self.model.setEditText(settings.model)
        self.prompt.setPlainText(settings.prompt)
        self.key.setText(settings.key)
        self.longest.setValue(settings.most_tokens)
        self._show_hosts(settings.allowed)

    def _show_hosts(self, hosts: tuple[str, ...]) -> None:
        self.hosts.clear()
        self.hosts.addItems(hosts)
        for widget in (self.hosts, self.revoke):
            widget.setEnabled(bool(hosts))

    def _on_models(self, names: list[str]) -> None:
        typed = self.model.currentText()
        self.model.clear()
        self.model.addItems(names)
        self.model.setEditText(typed or (names[0] if names else ""))
        listed = f"{len(names)} models: choose one that reads pictures." if names else ""
        self.report.setText(listed or "The server has no model; load one there.")

    def _on_ended(self, error: Exception | None) -> None:
        self._job = None
        if error is not None and not isinstance(error, Cancelled):
            self.report.setText(as_sentence(error_message(error, "the server was not asked")))

    def _on_save(self) -> None:
        """Save what is typed; another host than this machine is asked about first."""
        try:
            settings = self.settings()
            if settings.is_set_up and not self._may_ask(settings.endpoint()):
                return
            # What was allowed meanwhile goes along.
            write_settings(replace(settings, allowed=read_settings().allowed))
        except ModelError as error:
            self.report.setText(as_sentence(str(error)))
            return
        self.saved.emit()
        self.accept()

    def _stop(self, *_: object) -> None:
        if self._job is not None:
            self._job.drop()
        self._job = None


class QuestionField(qt.QLineEdit):  # type: ignore[misc]
    """The field for a question; Escape stops, or goes back to the canvas."""

    escaped = Signal()

    def __init__(self) -> None:
        super().__init__(
            placeholderText="Ask about the selected region",
            accessibleName="Ask a server",
            maxLength=LONGEST,
        )
        self.setToolTip(TIP)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go back to the canvas with Escape."""
        if event.key() == Qt.Key.Key_Escape:
            self.clearFocus()
            self.escaped.emit()
        else:
            super().keyPressEvent(event)


class AskPanel(qt.QWidget):  # type: ignore[misc]
    """Where a question is typed, and what has come of its answer."""

    def __init__(self, actions: Any, current: Current) -> None:
        super().__init__()
        self._current = current
        # Of the answer, what is shown
        self._shown = ""
        self.text = QuestionField()
        self.ask = button("Ask", "Ask the server (Enter).", actions.ask_server)
        self.stop = button("Stop", "Stop at once (Esc).", actions.stop_server)
        self.answer = qt.QPlainTextEdit(readOnly=True, accessibleName="Answer of the server")
        self.answer.setFixedHeight(self.answer.fontMetrics().lineSpacing() * _LINES + 14)
        self.answer.setToolTip("What the model on the server says; nothing of it is saved yet.")
        self.author = Sentence(lines=2, fixed=True)
        tip = (
            "Make the answer the caption, marked as the server's model's. A text that you wrote,\n"
            "accepted or locked stays: there it becomes the first of the other wordings."
        )
        self.use = button("Use as caption", tip, actions.use_answer)
        self.more = MenuButton("Server", "Where the server is, and what it is asked.")
        self.more.add("Settings…", actions.set_up_server)
        self.text.returnPressed.connect(actions.ask_server)
        self.text.escaped.connect(actions.stop_server)
        stack(
            self,
            (self.text, self.ask, self.stop, self.more),
            self.answer,
            (self.author, self.use),
            wide=[self.text, self.author],
        )
        for widget in (self.stop, self.answer, self.author, self.use):
            widget.hide()

    def refresh(self) -> None:
        """Show what has come of the answer on the image at hand."""
        controller = self._current()
        describing = controller.describing if controller is not None else None
        asked = describing.asked if describing is not None else None
        running = describing is not None and describing.running
        self.setEnabled(controller is not None)
        self.stop.setVisible(running)
        self.ask.setVisible(not running)
        for widget in (self.answer, self.author, self.use):
            widget.setVisible(asked is not None)
        self.use.setVisible(asked is not None and bool(asked.question))
        if describing is None or asked is None:
            return
        self._show_answer(describing.answer())
        model = asked.model or asked.server.model
        self.author.setText(f"{model} on {asked.server.endpoint.name}{'…' * running}")
        self.use.setEnabled(describing.usable)

    def _show_answer(self, text: str) -> None:
        """Show what has come; what is there already is not laid out anew."""
        shown = self._shown if self.answer.document().characterCount() > 1 else ""
        if text == shown:
            return
        bar = self.answer.verticalScrollBar()
        at_end, before = bar.value() == bar.maximum(), bar.value()
        if shown and text.startswith(shown):
            cursor = QTextCursor(self.answer.document())
            cursor.movePosition(cursor.MoveOperation.End)
            cursor.insertText(text[len(shown) :])
        else:
            self.answer.setPlainText(text)
        self._shown = text
        bar.setValue(bar.maximum() if at_end else before)
