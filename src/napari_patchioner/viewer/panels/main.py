"""The panel of the dock: the small widgets, one below the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from qtpy import QtWidgets as qt
from superqt import QCollapsible

from napari_patchioner.viewer.widgets import ProgressRow, Sentence, action_buttons, button, stack

from . import forms
from .caption_box import CaptionBox
from .keys import Help

if TYPE_CHECKING:
    from napari_patchioner.viewer.session.review import Review

    from .inspect import InspectPanel
    from .models import ModelPanel
    from .project import Projects


class Tool(NamedTuple):
    """A drawing tool: which layer, which of napari's modes, and how to use it."""

    title: str
    key: str
    mode: str
    tip: str


TOOLS = (
    Tool("Box", "regions", "add_rectangle", "Press, drag, release (key R)."),
    Tool("Ellipse", "regions", "add_ellipse", "Press, drag, release (key E)."),
    Tool("Polygon", "regions", "add_polygon", "Click each corner, double-click the last (key P)."),
    Tool("Lasso", "regions", "add_polygon_lasso", "Draw around something with the button held."),
    Tool("Trace", "traces", "add_path", "Draw along or over something with the button held."),
    Tool("Select", "regions", "select", "Click a shape to see its caption, drag to move (key S)."),
)
BOLD = "font-weight: bold"
# Title, name of the action, and what it is for.
BUTTONS = (
    ("Undo", "undo", "Take back the last step: shapes and captions (key Ctrl+Z)."),
    ("Redo", "redo", "Do it again (key Ctrl+Shift+Z)."),
    ("Accept", "accept", "Keep this caption: no model will change it (key Y)."),
    ("Reject", "reject", "Throw away what the model wrote here (key U)."),
    ("Lock", "lock", "Keep all models from this region (key K)."),
    ("Caption again", "caption_again", "Have the selected shapes captioned anew (key Q)."),
    ("As one region", "caption_together", "Caption the selected shapes together (key G)."),
    ("Caption whole image", "caption_whole", "Caption the plane on display (key W)."),
    ("Review…", "start_review", "Go through the captions, the most doubtful first."),
    ("List of regions", "toggle_list", "All regions in a table (key O)."),
    ("Export…", "ask_where_to_export", "Save all regions and captions in a format you choose."),
)
REVIEW_BUTTONS = (
    ("Accept, next", "accept", "Keep this caption and go on to the next one (key Y)."),
    ("Skip", "go_on", "Leave it as it is and go on (key N)."),
    ("Back", "go_back", "Go back to the one before (key Shift+N)."),
    ("End", "stop_review", "End the review; what was accepted stays so."),
)


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
            layout.addWidget(made, *divmod(index, 3))

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
        made = self.buttons = action_buttons(actions, REVIEW_BUTTONS)
        judged = made["go_back"], made["go_on"], made["accept"]
        stack(self, (self.position, made["stop_review"]), judged, wide=[self.position])
        self.hide()

    def show_review(self, review: Review | None) -> None:
        """Show how far a review has come; without one, nothing."""
        self.setVisible(review is not None)
        if review is not None:
            self.position.setText(f"Review: {review.position}")


class MainPanel(qt.QWidget):  # type: ignore[misc]
    """Choose, start, draw, correct, export; `images` returns the image layers to choose from."""

    def __init__(
        self,
        images: Callable[[Any], Sequence[Any]],
        actions: Any,
        models: ModelPanel,
        inspect: InspectPanel,
        projects: Projects,
    ) -> None:
        super().__init__()
        self.image = forms.image_form(images)
        self.options = forms.options_form()
        self.canvas = forms.canvas_form()
        self.progress = ProgressRow()
        self.status = Sentence(lines=2)
        self.draw = DrawBar(actions)
        self.caption = CaptionBox("Select a shape to see its caption")
        self.whole = CaptionBox("Not captioned yet", lines=2, compact=True)
        self.review = ReviewBar(actions)
        self.help = Help(self)
        headings = "Draw", "Selected shape", "Whole image"
        draw, self.selected, whole = (qt.QLabel(title, styleSheet=BOLD) for title in headings)
        made = self.buttons = action_buttons(actions, BUTTONS)
        for name in ("lock", "toggle_list"):
            made[name].setCheckable(True)
        self.progress.start.connect(actions.start)
        self.progress.cancel.connect(actions.cancel)
        for box in (self.caption, self.whole):
            box.edited.connect(actions.edit)
            box.left.connect(actions.finish_edit)
            box.picked.connect(actions.take)
        choices = qt.QWidget()
        form = qt.QFormLayout(choices)
        form.setContentsMargins(0, 0, 0, 0)
        form.setSpacing(4)
        form.setFieldGrowthPolicy(form.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Image", self.image.native)
        form.addRow("Model", models)
        more = QCollapsible("Options", self, expandedIcon="▾", collapsedIcon="▸")
        for layout in (more.layout(), more.content().layout()):
            layout.setContentsMargins(0, 0, 0, 0)
        more.addWidget(self.options.native)
        more.addWidget(self.canvas.native)
        stack(
            self,
            *(choices, self.progress, self.status, projects.offer, self.review),
            (draw, made["undo"], made["redo"], self.help.button),
            *(self.draw, inspect, self.selected, self.caption),
            (made["accept"], made["reject"], made["lock"]),
            (made["caption_again"], made["caption_together"]),
            (made["start_review"], made["toggle_list"], made["ask_where_to_export"]),
            (whole, made["caption_whole"]),
            *(self.whole, more, projects),
            wide=[draw, whole],
            margins=(8, 6, 8, 6),
            spacing=5,
        ).addStretch(1)

    def set_ready(self, ready: bool) -> None:
        """Allow or forbid what needs an image."""
        self.draw.setEnabled(ready)
        for name, made in self.buttons.items():
            made.setEnabled(ready or name == "toggle_list")

    def show_nothing(self, message: str) -> None:
        """Show that there is no image."""
        self.status.setText(message)
        self.caption.show_record(None)
        self.whole.show_record(None)
        self.review.show_review(None)
