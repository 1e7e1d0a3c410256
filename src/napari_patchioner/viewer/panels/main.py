"""The panel of the dock: the small widgets, one below the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from qtpy import QtWidgets as qt
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from superqt import QCollapsible
from superqt.utils import signals_blocked

from napari_patchioner.annotations import Record
from napari_patchioner.annotations.paragraph import FROM_REGIONS, Link
from napari_patchioner.annotations.place import WITH_PLACE
from napari_patchioner.annotations.project.records import server_host
from napari_patchioner.annotations.record import UNFAMILIAR
from napari_patchioner.models.familiar import unknown_sentence
from napari_patchioner.viewer import widgets
from napari_patchioner.viewer.session.review import Review
from napari_patchioner.viewer.session.session import learned_from
from napari_patchioner.viewer.widgets import MenuButton, Sentence, button, stack

from . import forms
from .find import FindPanel, PhraseBar
from .inspect import InspectPanel
from .keys import Help
from .models import ModelPanel
from .paragraph import ParagraphView
from .project import Projects
from .regions import OUTDATED, RESHAPED
from .server import AskPanel
from .teach import TeachPanel
from .vocabulary import VocabularyPanel
from .why import WhyRow


class Tool(NamedTuple):
    """A drawing tool: which layer, which of napari's modes, and how to use it."""

    title: str
    key: str
    mode: str
    tip: str


# What is no mode of napari's
GROW = "grow"
TOOLS = (
    Tool("Box", "regions", "add_rectangle", "Press, drag, release (key R)."),
    Tool("Ellipse", "regions", "add_ellipse", "Press, drag, release (key E)."),
    Tool("Polygon", "regions", "add_polygon", "Click each corner, double-click the last (key P)."),
    Tool("Lasso", "regions", "add_polygon_lasso", "Draw around something with the button held."),
    Tool(
        "Grow",
        "regions",
        GROW,
        "Click on something: what is like it around there becomes a region (key Shift+G).\n"
        "Shift+click, or a drag from within it, adds; Alt+click takes away; [ and ] make it\n"
        "smaller and larger; a click without keys begins another.",
    ),
    Tool("Trace", "traces", "add_path", "Draw along or over something with the button held."),
    Tool("Select", "regions", "select", "Click a shape to see its caption, drag to move (key S)."),
)
PROPOSE = (
    "Propose regions of the whole image, with captions: accept them one by one (key Y),\n"
    "leave them out (key N), or accept all."
)
BOLD = "font-weight: bold"
# Title, name of the action, and what it is for.
BUTTONS = (
    ("Undo", "undo", "Take back the last step: shapes and captions (key Ctrl+Z)."),
    ("Redo", "redo", "Do it again (key Ctrl+Shift+Z)."),
    ("Accept", "accept", "Keep this caption: no model will change it (key Y)."),
    ("Reject", "reject", "Throw away what the model wrote here (key U)."),
    ("Lock", "lock", "Keep all models from this region (key K)."),
    (
        "Compare",
        "compare",
        "Say what the selected shapes have in common and what not (key Shift+C);\n"
        "with one shape on a stack: what its slices agree on, and where that changes.",
    ),
    ("Caption again", "caption_again", "Have the selected shapes captioned anew (key Q)."),
    ("As one region", "caption_together", "Caption the selected shapes together (key G)."),
    ("Find more", "find_like", "Find more like the selected shapes (key Shift+F)."),
    ("Why", "toggle_why", "Show why: each word of the caption with its patches (key Shift+W)."),
    (
        "Tell apart",
        "set_apart",
        "Give regions that are called the same captions that tell them apart (key Shift+D): the\n"
        "selected ones, or all that are alike. What looks alike is told apart by its place.",
    ),
    ("Caption whole image", "caption_whole", "Caption the plane on display (key W)."),
    (
        "From its regions",
        "describe_whole",
        "Write a paragraph from the captions of the regions, with links to them.",
    ),
    ("Review…", "start_review", "Go through the captions, the most doubtful first."),
    ("List of regions", "toggle_list", "All regions in a table (key O)."),
    ("Export…", "ask_where_to_export", "Save all regions and captions in a format you choose."),
)
OUTLINE = (
    "Outlines by the pixels, with SAM 2.1, which is optional: 'napari-patchioner models get\n"
    "sam2-tiny' gets it."
)
SHARPEN = "Outline what the selected boxes are around."
GROW_SHARP = "Grow outlines what is clicked with SAM 2.1, instead of by the patches of the model."
# What else can be made of the captions of the selected regions: title, action, and what it is for.
REWORDINGS: tuple[tuple[str, str, str], ...] = (
    (
        "Check my sentence",
        "check_sentence",
        "Compares the sentence with the image: suggests one in which what the image contradicts "
        "is put right, what is missing is added, and your names are used. Yours stays.",
    ),
    (
        "Add place and size",
        "add_places",
        "Say where the selected regions are and how large, behind their captions; of all regions "
        "where none is selected.",
    ),
    (
        "Rank wordings by context",
        "rank_wordings",
        "Put the wordings of the selected captions in the order that suits the Context of the "
        "Options; of all regions where none is selected.",
    ),
    (
        "Describe by server…",
        "describe_by_server",
        "Have a vision-language model on a server of this machine describe the selected regions, "
        "at length; you are asked for its address first.",
    ),
)
REVIEW_BUTTONS = (
    ("Accept, next", "accept", "Keep this caption and go on to the next one (key Y)."),
    ("Skip", "go_on", "Leave it as it is and go on (key N)."),
    ("Back", "go_back", "Go back to the one before (key Shift+N)."),
    ("End", "stop_review", "End the review; what was accepted stays so."),
)


CONCEPTS = 3
# A score above which a caption seldom is wrong, however unlike its region is.
SURE = 0.9
# Of concepts whose best weight is below this, the weights say nothing.
SPREAD_WEIGHT = 0.05
LEAST_SHARE = 0.01
# Alternatives that are shown without scrolling
SHOWN = 3
# Lines about a caption: who wrote it, and what else was considered
ABOUT = 2
# Who has typed nothing for so long has come to an end, as far as Undo goes.
REST_MS = 3000


class DrawBar(qt.QWidget):  # type: ignore[misc]
    """One button per tool, so that nobody has to search for the right layer first."""

    def __init__(self, actions: Any) -> None:
        super().__init__()
        layout = qt.QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.buttons: dict[str, qt.QPushButton] = {}
        for index, tool in enumerate(TOOLS):
            use = partial(actions.use_tool, tool)
            made = self.buttons[tool.title] = button(tool.title, tool.tip, use, checkable=True)
            layout.addWidget(made, *divmod(index, 4))
        self.propose = button("Propose", PROPOSE, actions.propose_regions)
        layout.addWidget(self.propose, *divmod(len(TOOLS), 4))

    @property
    def tool(self) -> Tool | None:
        """The tool in use."""
        return next((tool for tool in TOOLS if self.buttons[tool.title].isChecked()), None)

    def show_mode(self, key: str, mode: str) -> None:
        """Press the button of the tool in use; selecting works on both layers."""
        for tool in TOOLS:
            same = tool.mode == mode and (tool.key == key or mode == "select")
            self.buttons[tool.title].setChecked(same)


class ReviewBar(qt.QWidget):  # type: ignore[misc]
    """Where a review stands, and the buttons to go on with it; shown while there is a review."""

    def __init__(self, actions: Any) -> None:
        super().__init__()
        self.position = qt.QLabel()
        self.position.setToolTip("The most doubtful captions come first.")
        made = self.buttons = widgets.action_buttons(actions, REVIEW_BUTTONS)
        judged = made["go_back"], made["go_on"], made["accept"]
        stack(self, (self.position, made["stop_review"]), judged, wide=[self.position])
        self.hide()

    def show_review(self, review: Review | None) -> None:
        """Show how far a review has come; without one, nothing."""
        self.setVisible(review is not None)
        if review is not None:
            self.position.setText(f"Review: {review.position}")


OLD_CAPTION = "This is the old caption."
"""What is said of a caption while a new one is waited for, or where none could be had."""


def verdict_line(record: Record, pending: str = "", *, outdated: bool = False) -> str:
    """Return who wrote a caption and how far to trust it, in a few words.

    ``outdated`` says that its place and size may be others by now.
    """
    details, line = record.details, ""
    how = record.reworded_by or record.distinguished_by
    reworded = f", {how}" if how else ""
    if outdated:
        reworded += f", {OUTDATED}"
    if record.is_outdated:
        reworded += f", {RESHAPED}"
    score = f", score {record.score:.2f}" if record.score is not None else ""
    problem = record.problem[:1].upper() + record.problem[1:]
    if record.caption and (problem or (record.wanted and pending)):
        said = problem or pending
        line = f"{said}{'' if said.endswith(('…', '.')) else '.'} {OLD_CAPTION}"
    elif problem:
        line = problem
    elif not record.caption:
        line = pending if record.wanted else ""
    elif record.reworded_by == FROM_REGIONS:
        line = FROM_REGIONS[:1].upper() + FROM_REGIONS[1:]
    elif record.source == "taught":
        line = f"{learned_from(record).capitalize()}{reworded}{score}"
    elif record.found_by:
        line = f"Found by {record.found_by!r}, score {record.score or 0:.2f}"
    elif record.source != "model":
        line = "Edited by you" if record.source == "edited" else "Written by you"
        if record.suggested_by:
            was_checked = record.suggested_by != WITH_PLACE
            line += ", from a checked sentence" if was_checked else f", {WITH_PLACE}"
        if record.example and record.teaches != record.caption:
            line += f", an example of {widgets.brief(record.teaches)!r}"
    elif details and details.verdict == "appearance":
        line = f"By the model{reworded}: appearance only, no object named"
        if is_unlike(record):
            line += "; unlike anything it knows"
    else:
        doubt = ", not sure" if details and details.verdict == "unsure" else ""
        host = f" on {record.server_host}" if record.server_host else ""
        named = f" {record.model}" if record.model else ""
        line = f"By the model{named}{host}{reworded}{doubt}{score}"
        if is_unlike(record):
            known = record.model or "the model"
            # Of what is wrongly called unlike, much is named surely; of what is rightly, little.
            is_sure = record.score is not None and record.score > SURE
            advice = "check the words" if is_sure else "do not trust the words"
            line = f"Unlike anything {known} knows: {advice}. {line}"
    states = ["accepted"] * record.reviewed + ["locked"] * record.locked
    return ", ".join([line, *states]) if line else ", ".join(states).capitalize()


def is_unlike(record: Record) -> bool:
    """Whether a region is unlike anything that the model knows."""
    return record.familiarity is not None and record.familiarity < UNFAMILIAR


def familiarity_tip(record: Record) -> str:
    """Return how familiar a region is to the model, or that nobody knows; empty for a person's."""
    if record.source != "model" or not record.model or record.found_by:
        return ""
    if "server" in record.origin:
        # Nothing of the region is embedded there.
        return ""
    if record.familiarity is None:
        return f"{unknown_sentence(record.model)}."
    share = f"{record.familiarity:.1%}" if record.familiarity < 0.1 else f"{record.familiarity:.0%}"
    return f"{share} of what {record.model} knows is as unlike the rest of it as this."


def provenance(record: Record | None) -> str:
    """Return which model had a part in a caption, and what it could not do, for a tool tip."""
    if record is None:
        return ""
    draft = {"model": "Written by", "edited": "Edited from a draft by"}.get(record.source)
    written = f"{draft} the model {record.model}." if draft and record.model else ""
    problem = (record.details.problem if record.details else None) or ""
    known = familiarity_tip(record)
    return "\n".join(part for part in (written, known, problem) if part) or "Who wrote the caption."


def concepts_line(record: Record) -> str:
    """Return the concepts a model considered, best first.

    Weights spread thinly over many concepts say nothing in per cent and are left out.
    """
    concepts = record.details.concepts[:CONCEPTS] if record.details else ()
    if not concepts:
        return ""
    if concepts[0][1] < SPREAD_WEIGHT:
        return " · ".join(name for name, _ in concepts)
    shares = (f"{w:.0%}" if w >= LEAST_SHARE else f"<{LEAST_SHARE:.0%}" for _, w in concepts)
    return " · ".join(f"{name} {share}" for (name, _), share in zip(concepts, shares, strict=True))


def maker_line(record: Record, text: str) -> str:
    """Return whose a wording is, where it is not of whoever made the caption."""
    maker, own = record.maker_of(text), record.maker_of(record.caption)
    if maker == own or not maker.model:
        return ""
    host = server_host(maker.origin)
    return f"By the model {maker.model}{f' on {host}' if host else ''}."


class Wordings(qt.QListWidget):  # type: ignore[misc]
    """The model's alternatives, one line each; without any, `compact` takes no room either."""

    def __init__(self, *, compact: bool) -> None:
        super().__init__(accessibleName="Other wordings", focusPolicy=Qt.FocusPolicy.NoFocus)
        self._compact = compact
        self._texts: list[str] = []
        # Whose they are, where that is not whose caption it is
        self._makers: list[str] = []
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSelectionMode(self.SelectionMode.NoSelection)
        self.setToolTip("Other wordings of the model: click one to take it (keys Ctrl+1, Ctrl+2…).")
        self._fit(SHOWN)
        # What is below stays where it is.
        room = self.sizePolicy()
        room.setRetainSizeWhenHidden(not compact)
        self.setSizePolicy(room)

    def texts(self) -> list[str]:
        """Return the alternatives in their order."""
        return list(self._texts)

    def show_record(self, record: Record | None) -> None:
        """List the alternatives of a caption."""
        texts = list(record.alternatives) if record else []
        makers = [maker_line(record, text) for text in texts] if record else []
        if (texts, makers) != (self._texts, self._makers):
            self._texts, self._makers = texts, makers
            self.clear()
            for number, (text, by) in enumerate(zip(texts, makers, strict=True), start=1):
                item = qt.QListWidgetItem(f"{number}  {text}", self)
                tip = f"{text}\n{by}\n" if by else f"{text}\n"
                item.setToolTip(f"{tip}Click to take it (key Ctrl+{number}).")
            if self._compact:
                self._fit(min(max(len(texts), 1), SHOWN))
        self.setVisible(bool(texts))

    def show_reasons(self, reason: Callable[[str], str]) -> None:
        """Let the tips say why a text was suggested; `reason` is empty where it was not."""
        for row, text in enumerate(self._texts):
            item = self.item(row)
            if item is not None and (why := reason(text)) and why not in item.toolTip():
                item.setToolTip(f"{item.toolTip()}\n{why}")

    def make_room(self, on: bool) -> None:
        """Take a line less, with the room of which the words of a caption are shown."""
        self._fit(SHOWN - on)

    def _fit(self, lines: int) -> None:
        """Be as high as so many alternatives."""
        self.setFixedHeight(lines * (self.fontMetrics().lineSpacing() + 4) + 6)


class CaptionBox(qt.QWidget):  # type: ignore[misc]
    """An editor for one caption, with what the model thought of it."""

    edited = Signal(str, str)
    # The index of an alternative, counted from 0.
    picked = Signal(str, int)
    left = Signal()
    # What was typed so far belongs together: nothing more was for a while, or it is about another.
    rested = Signal()

    def __init__(self, empty: str, *, lines: int = 3, compact: bool = False) -> None:
        super().__init__()
        self._compact, self._uid, self._empty = compact, "", empty
        self.editor = qt.QPlainTextEdit(tabChangesFocus=True)
        self.editor.setStyleSheet(
            "border: 1px solid #6c7480; border-radius: 2px; placeholder-text-color: #8a93a0;"
        )
        self.editor.setFixedHeight(self.editor.fontMetrics().lineSpacing() * lines + 14)
        self.editor.setToolTip(
            "What you type here is yours: no model will overwrite it.\n"
            "Enter goes back to the canvas; an emptied caption may be written by the model again."
        )
        self.editor.installEventFilter(self)
        self._rest = widgets.throttled(self.rested.emit, REST_MS, self, rest=True)
        self.editor.textChanged.connect(self._on_text)
        self.why = WhyRow()
        # Buttons below stay where they are, whatever is said here.
        tip = "Who wrote the caption, and how far to trust it."
        self.verdict = Sentence(lines=1 if compact else ABOUT, fixed=not compact, tip=tip)
        tip = "What the model considered, best first."
        self.concepts = Sentence(lines=1, fixed=not compact, tip=tip)
        for label in (self.verdict, self.concepts):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        about = qt.QWidget()
        stack(about, self.verdict, self.concepts, spacing=0)
        self.wordings = Wordings(compact=compact)
        self.wordings.itemClicked.connect(self._on_picked)
        stack(self, self.editor, self.why, about, self.wordings)
        self.show_record(None)

    def show_record(
        self,
        record: Record | None,
        *,
        pending: str = "",
        empty: str = "",
        outdated: bool = False,
    ) -> None:
        """Show a caption, or why a wanted one is `pending`; `empty` stands where is no record."""
        uid, text = (record.uid, record.caption) if record else ("", "")
        # The person's own spacing stays while they type it.
        if uid != self._uid or " ".join(self.editor.toPlainText().split()) != text:
            with signals_blocked(self.editor):
                self.editor.setPlainText(text)
        if uid != self._uid:
            self._end_edit()
        self._uid = uid
        self.editor.setEnabled(record is not None)
        self.editor.setPlaceholderText("No caption yet" if record else empty or self._empty)
        concepts = concepts_line(record) if record else ""
        below = [concepts] if self._compact and concepts else []
        said = verdict_line(record, pending, outdated=outdated) if record else ""
        self.verdict.setText(said)
        self.verdict.setToolTip("\n".join([*below, provenance(record)]))
        self.concepts.setText("" if self._compact else concepts)
        self.wordings.show_record(record)
        if not self._compact and self.concepts.isHidden() == bool(concepts):
            self.verdict.set_lines(ABOUT - bool(concepts))
        self.concepts.setVisible(bool(self.concepts.text()))
        self.verdict.setVisible(not self._compact or bool(said))

    @property
    def uid(self) -> str:
        """The uid of the record that is shown; empty where there is none."""
        return self._uid

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let Enter finish the editing, and so whatever takes the cursor away."""
        if watched is self.editor and event.type() == QEvent.Type.FocusOut:
            self._end_edit()
        pressed = watched is self.editor and event.type() == QEvent.Type.KeyPress
        if pressed and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape):
            self.editor.clearFocus()
            self.left.emit()
            return True
        return bool(super().eventFilter(watched, event))

    def _end_edit(self) -> None:
        self._rest.cancel()
        self.rested.emit()

    def _on_text(self) -> None:
        if self._uid:
            self._rest.throttle()
            self.edited.emit(self._uid, self.editor.toPlainText())

    def _on_picked(self, item: qt.QListWidgetItem) -> None:
        if self._uid:
            self.picked.emit(self._uid, self.wordings.row(item))


class MainPanel(qt.QWidget):  # type: ignore[misc]
    """Choose, start, draw, correct, export; `images` returns the image layers to choose from."""

    def __init__(
        self,
        images: Callable[[Any], Sequence[Any]],
        actions: Any,
        models: ModelPanel,
        vocabulary: VocabularyPanel,
        inspect: InspectPanel,
        projects: Projects,
        teach: TeachPanel,
        find: FindPanel,
        phrase: PhraseBar,
        ask: AskPanel,
    ) -> None:
        super().__init__()
        self.image = forms.image_form(images)
        self.options = forms.options_form()
        self.canvas = forms.canvas_form()
        self.progress = widgets.ProgressRow()
        self.status = Sentence(lines=2, fixed=True)
        self.draw = DrawBar(actions)
        self.caption = CaptionBox("Select a shape to see its caption")
        self.whole = CaptionBox("Not captioned yet", lines=2, compact=True)
        self.paragraph = ParagraphView()
        # The uid of the whole image whose paragraph is edited as text
        self._edited = ""
        self.paragraph.followed.connect(actions.go_to_all)
        self.paragraph.pointed.connect(actions.point_at)
        self.paragraph.anew_wanted.connect(actions.describe_whole)
        self.paragraph.edit_wanted.connect(self._edit_paragraph)
        self.review = ReviewBar(actions)
        self.help = Help(self)
        headings = "Draw", "Selected shape", "Whole image"
        draw, self.selected, whole = (
            qt.QLabel(title, styleSheet=BOLD, textFormat=Qt.TextFormat.PlainText)
            for title in headings
        )
        made = self.buttons = widgets.action_buttons(actions, BUTTONS)
        for name in ("lock", "toggle_why", "toggle_list"):
            made[name].setCheckable(True)
        self.outline = MenuButton("Outline", OUTLINE)
        self.outline.add("Sharpen outline", actions.sharpen, SHARPEN)
        self.grow_sharply = self.outline.add(
            "Grow with SAM 2.1", actions.grow_sharply, GROW_SHARP, on=False
        )
        self.reword = MenuButton("Reword", "Other words for the captions of the selected regions.")
        for title, name, tip in REWORDINGS:
            self.reword.add(title, getattr(actions, name), tip)
        self.reword.setVisible(bool(REWORDINGS))
        self.phrase = phrase
        self.progress.start.connect(actions.start)
        self.progress.cancel.connect(actions.cancel)
        for box in (self.caption, self.whole):
            box.edited.connect(actions.edit)
            box.left.connect(actions.finish_edit)
            box.rested.connect(actions.finish_edit)
            box.picked.connect(actions.take)
        self.caption.why.chosen.connect(actions.choose_word)
        self.caption.why.toggled.connect(actions.toggle_why)
        choices = qt.QWidget()
        form = qt.QFormLayout(choices)
        form.setContentsMargins(0, 0, 0, 0)
        form.setSpacing(4)
        form.setFieldGrowthPolicy(form.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Image", self.image.native)
        form.addRow("Model", models)
        form.addRow("Vocabulary", vocabulary)
        more = QCollapsible("Options", self, expandedIcon="▾", collapsedIcon="▸")
        for layout in (more.layout(), more.content().layout()):
            layout.setContentsMargins(0, 0, 0, 0)
        more.addWidget(self.options.native)
        more.addWidget(self.canvas.native)
        stack(
            self,
            *(choices, self.progress, self.status, projects.offer, self.review, phrase, find),
            (draw, made["undo"], made["redo"], self.help.button),
            *(self.draw, inspect, self.selected, self.caption),
            (made["accept"], made["reject"], made["lock"]),
            (made["caption_again"], made["caption_together"], made["find_like"]),
            (made["toggle_why"], made["compare"], made["set_apart"]),
            (self.reword, self.outline),
            ask,
            teach,
            (made["start_review"], made["toggle_list"], made["ask_where_to_export"]),
            (whole, made["caption_whole"], made["describe_whole"]),
            *(self.paragraph, self.whole, more, projects),
            wide=[draw, whole],
            margins=(8, 6, 8, 6),
            spacing=5,
        ).addStretch(1)

    def set_ready(self, ready: bool) -> None:
        """Allow or forbid what needs an image."""
        self.draw.setEnabled(ready)
        self.phrase.setEnabled(ready)
        for name, made in self.buttons.items():
            made.setEnabled(ready or name == "toggle_list")
        self.reword.setEnabled(ready)
        self.outline.setEnabled(ready)

    def show_paragraph(
        self, record: Record | None, links: Sequence[Link], *, outdated: bool = False
    ) -> None:
        """Show the paragraph of a whole image in the place of its editor, if there is one."""
        self.paragraph.show_paragraph(record, links, outdated=outdated)
        self._edited = self._edited if record is not None and links else ""
        is_edited = record is not None and record.uid == self._edited
        self.whole.editor.setVisible(not links or is_edited)

    def _edit_paragraph(self) -> None:
        """Show the paragraph in its editor as well, until it is another one."""
        self._edited = self.whole.uid
        self.whole.editor.setVisible(True)
        self.whole.editor.setFocus()

    def show_nothing(self, message: str) -> None:
        """Show that there is no image."""
        self.status.setText(message)
        self.caption.show_record(None)
        self.whole.show_record(None)
        self.show_paragraph(None, ())
        self.review.show_review(None)
