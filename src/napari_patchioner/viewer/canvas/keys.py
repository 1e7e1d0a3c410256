"""Keys on our layers; none of them means anything to napari 0.9 there.

napari has given 1 to 7 to the modes of Shapes, so other wordings are picked with Control held; in
the list of regions, which napari's keys do not reach, the digits do it alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari


class Key(NamedTuple):
    """A key, the deed it does, what that deed is given, and what it is for."""

    key: str
    deed: str
    purpose: str
    given: tuple[object, ...] = ()


KEYS = (
    Key("Q", "caption_again", "Caption the selected shapes again"),
    Key("G", "caption_together", "Caption them together, as one region"),
    Key("W", "caption_whole", "Caption the whole plane on display"),
    Key("C", "write_caption", "Write in the caption; Enter goes back"),
    Key("Y", "accept", "Accept the caption; in a review, go on to the next"),
    Key("U", "reject", "Reject the caption"),
    Key("K", "lock", "Lock: keep all models from it; again to unlock"),
    Key("N", "go_on", "Next region; in a review, skip to the next"),
    Key("Shift-N", "go_back", "Previous region"),
    Key("Control-Z", "undo", "Undo: shapes and captions alike"),
    Key("Control-Shift-Z", "redo", "Redo"),
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
    ("Ctrl+Z, Ctrl+Shift+Z", "Undo, redo"),
)


def bind_keys(layer: napari.layers.Layer, deeds: object) -> None:
    """Let the keys of a layer do what the dock's buttons do."""
    for key in KEYS:
        layer.bind_key(key.key, key_callback(getattr(deeds, key.deed), *key.given), overwrite=True)


def free_keys(layer: napari.layers.Layer) -> None:
    """Give the keys back."""
    for key in KEYS:
        layer.bind_key(key.key, None, overwrite=True)


def key_callback(action: Callable[..., object], *given: object) -> Callable[[object], None]:
    """Return what napari may bind to a key: a true function, which is what it asks names of.

    One bound key without a ``__name__``, a `functools.partial` for one, and every key of the
    window ends with an error.
    """

    def press(_layer_or_viewer: object) -> None:
        action(*given)

    return press
