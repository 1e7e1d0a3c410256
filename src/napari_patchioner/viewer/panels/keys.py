"""Keys on our layers, none of which means anything to napari 0.9 on them, and the help on keys.

napari has given 1 to 7 to the modes of Shapes, so alternatives are picked with Control held; in
the list of regions, which napari's keys do not reach, the digits do it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from importlib.metadata import metadata
from typing import NamedTuple

from napari.layers import Layer
from napari.viewer import Viewer
from qtpy import QtWidgets as qt

from napari_patchioner.viewer.widgets import button, stack


class Key(NamedTuple):
    """A key, the name of its action, what it is for, and the arguments of the action."""

    key: str
    action: str
    purpose: str
    arguments: tuple[object, ...] = ()


KEYS = (
    Key("Q", "caption_again", "Caption the selected shapes again"),
    Key("G", "caption_together", "Caption them together, as one region"),
    Key("W", "caption_whole", "Caption the whole plane on display"),
    Key("C", "write_caption", "Write in the caption; Enter goes back"),
    Key("Shift-W", "toggle_why", "Why: words of the caption with their patches; again to stop"),
    Key("Y", "accept", "Accept the caption; in a review, go on to the next"),
    Key("U", "reject", "Reject the caption"),
    Key("K", "lock", "Lock: keep all models from it; again to unlock"),
    Key("N", "go_on", "Next region; in a review, skip to the next"),
    Key("Shift-N", "go_back", "Previous region"),
    Key("Control-Z", "undo", "Undo: shapes and captions alike"),
    Key("Control-Shift-Z", "redo", "Redo"),
    Key("Shift-T", "write_name", "Teach: write a name for the selected regions, Enter teaches it"),
    Key("M", "label_next", "Label next: go to the region that is most doubtful"),
    Key("Shift-G", "grow", "Grow regions from clicks; again to stop"),
    Key("Shift-C", "compare", "Compare the selected shapes, or one over the slices of a stack"),
    Key("Shift-D", "set_apart", "Tell the selected regions apart, or all that are alike"),
    Key("Shift-F", "find_like", "Find more like the selected shapes"),
    Key("O", "toggle_list", "Show or hide the list of regions"),
    Key("H", "toggle_captions", "Show or hide the captions on the image"),
    *(
        Key(f"Control-{digit}", "choose", "Take this wording of the model", (digit - 1,))
        for digit in range(1, 10)
    ),
)
# What napari itself offers and people annotating need most.
NAPARI = (
    ("R, E, P, Shift-P", "Box, ellipse, polygon, lasso"),
    ("T, L, Shift-L", "Freehand trace, line, line of several corners"),
    ("S, D", "Select shapes; move their corners"),
    ("A", "Select all shapes of the layer"),
    ("Delete, 3", "Delete the selected shapes"),
    ("Z or Space", "Move the image"),
)
GROWING = (
    ("Click", "Grow a region from what is clicked"),
    ("Shift+click", "Add to it what is clicked, or dragged over"),
    ("Drag", "Add what is passed, from within it; from elsewhere, grow another of it all"),
    ("Alt+click", "Take away what is clicked"),
    ("[, ]", "A smaller, a larger region"),
    ("Esc", "Begin another region; again to stop"),
)
INSPECTING = (
    ("J", "Inspect: read what is under the cursor; again to stop"),
    ("[, ]", "A smaller, a larger brush, while inspecting"),
    ("Ctrl+click", "Keep the patch or brush under the cursor as a region (Cmd on a Mac)"),
)
# On the canvas, whichever layer is active: how many images further in the folder.
FOLDER = {"PageDown": 1, "PageUp": -1}
IN_THE_FOLDER = (
    ("Page Down, Page Up", "Next, previous image of the folder; on the canvas, too"),
    ("Enter, double-click", "Open the image"),
    ("Space", "Tick the selected images as done; again to untick"),
)
IN_THE_LIST = (
    ("Up, Down", "Select the region above or below"),
    ("N, P", "The same, and go there"),
    ("Enter, double-click", "Go there"),
    ("F2", "Write in the caption"),
    ("1 to 9", "Take this wording of the model"),
    ("A, X, K", "Accept, reject, lock"),
    ("Q, G", "Caption again, caption together"),
    ("Delete", "Delete the selected shapes"),
    ("T", "Teach the selected regions a name"),
    ("Ctrl+Z, Ctrl+Shift+Z", "Undo, redo"),
)
IN_THE_WORDS = (
    ("Left, Right", "Choose the word before or after: its patches are shown"),
    ("Esc, Enter", "Go back to the image"),
)
IN_WHAT_WAS_FOUND = (
    ("Click, Shift+click", "On the canvas: accept the proposal, reject it"),
    ("Up, Down", "Select the proposal above or below"),
    ("Enter, double-click", "Accept it"),
    ("Y, N", "Accept it, leave it out; on the canvas, too"),
    ("Delete", "Reject it: it does not come back"),
    ("A", "Accept all that are shown"),
    ("F", "Find again, with what was accepted"),
    ("Esc", "Stop the search; else take all proposals away"),
    ("Ctrl+Z, Ctrl+Shift+Z", "Undo, redo"),
)
# Names of the package's links, the guide first
_LINKS = ("Documentation", "Homepage", "Repository", "Source")


def bind(
    target: Layer | Viewer,
    key: str,
    action: Callable[..., object] | None = None,
    *arguments: object,
) -> None:
    """Bind a key of a layer or a viewer to an action, or give it back where there is none.

    napari asks a bound function for its names. One key without a ``__name__``, a
    `functools.partial` for one, and every key of the window ends with an error. What a function
    returns napari calls at the release; without it, that would end what the same letter began on
    its own, as Shift+T the tool of T.
    """

    def press(_layer_or_viewer: object) -> Callable[[], None]:
        if action is not None:
            action(*arguments)
        return _let_go

    target.bind_key(key, press if action is not None else None, overwrite=True)


def _let_go() -> None:
    """Do nothing when a key is let go."""


def bind_keys(layer: Layer, actions: object) -> None:
    """Let the keys of a layer do what the dock's buttons do."""
    for key in KEYS:
        bind(layer, key.key, getattr(actions, key.action), *key.arguments)


def free_keys(layer: Layer) -> None:
    """Give the keys back."""
    for key in KEYS:
        bind(layer, key.key)


class Help(qt.QDialog):  # type: ignore[misc]
    """The table of keys, in a window that can stay open, and the button that opens it."""

    def __init__(self, parent: qt.QWidget) -> None:
        super().__init__(parent)
        self.button = button("?", "Keys, and where to read more.", self.open)
        self.button.setAccessibleName("Help")
        self.button.setFixedWidth(30)
        self.setWindowTitle("Patch-ioner: keys")

    def open(self) -> None:
        """Show the help, or bring it to the front."""
        if self.layout() is None:
            text = qt.QLabel(help_text())
            text.setOpenExternalLinks(True)
            text.setContentsMargins(12, 8, 12, 8)
            scroll = qt.QScrollArea(widgetResizable=True)
            scroll.setWidget(text)
            stack(self, scroll)
            self.resize(text.sizeHint().width() + 40, 560)
        self.show()
        self.raise_()


def help_text() -> str:
    """Return the help as rich text."""
    tables: dict[str, Iterable[tuple[str, str]]] = {
        "With the canvas": canvas_keys(),
        "While growing": GROWING,
        "While inspecting": INSPECTING,
        "With the list of regions": IN_THE_LIST,
        "With the words of a caption (Why)": IN_THE_WORDS,
        "With what was found": IN_WHAT_WAS_FOUND,
        "With a folder of images": IN_THE_FOLDER,
        "napari's own, with a layer of shapes": NAPARI,
    }
    text = ""
    for title, rows in tables.items():
        cells = "".join(
            f'<tr><td style="padding-right: 16px"><b>{escape(key)}</b></td>'
            f"<td>{escape(purpose)}</td></tr>"
            for key, purpose in rows
        )
        text += f"<h4>{escape(title)}</h4><table>{cells}</table>"
    link = documentation()
    return f'{text}<p><a href="{escape(link)}">Guide</a></p>' if link else text


def canvas_keys() -> list[tuple[str, str]]:
    """Return the keys, as keyboards name them, with their purposes; a line for each purpose."""
    lines: dict[str, list[str]] = {}
    for key in KEYS:
        name = key.key.replace("Control-", "Ctrl+").replace("Shift-", "Shift+")
        lines.setdefault(key.purpose, []).append(name)
    return [
        (names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}", purpose)
        for purpose, names in lines.items()
    ]


def documentation() -> str:
    """Return the address of the guide, as the package itself says; empty where it does not."""
    lines = metadata("napari-patchioner").get_all("Project-URL") or []
    links = dict(line.split(", ", 1) for line in lines if ", " in line)
    return next((links[title] for title in _LINKS if title in links), "")
