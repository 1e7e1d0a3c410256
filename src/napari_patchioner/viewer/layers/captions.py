"""How captions are drawn on the image: what is written of each, how long, and in which colour."""

from __future__ import annotations

import textwrap
import zlib
from functools import lru_cache
from string import Formatter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Layer, Shapes
from napari.layers.utils.string_encoding import FormatStringEncoding
from pydantic import Field

if TYPE_CHECKING:
    import pandas as pd

# From the palette of Okabe and Ito, which people tell apart whatever colours they see: bright ones
# for dark images, dark ones for bright images.
ON_DARK = {"regions": "#56b4e9", "traces": "#f0e442"}
ON_BRIGHT = {"regions": "#0072b2", "traces": "#d55e00"}
# Colours of taught names, from the same palette and that of Paul Tol.
NAME_COLOURS = (
    *("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2"),
    *("#88ccee", "#aa4499", "#999933", "#ee3377", "#44bb99"),
)
_colours: dict[str, str] = {}
# What fits beside a shape without covering its neighbours: a few short lines.
LINE_LENGTH, LINES, SIZE = 24, 3, 9
TEMPLATE = "{caption}"
# Drawing the letters of more shapes than these makes the window stand still at every caption.
CROWD = 120
# What a template may name; other columns of the table may be missing or change their names.
FIELDS = ("caption", "score", "source", "caption_model")


class TemplateError(ValueError):
    """A template for captions on the canvas makes no sense; the message says why."""


class CaptionText(FormatStringEncoding):  # type: ignore[misc]
    """The captions, wrapped and shortened for the canvas; the table keeps them whole."""

    # What to write of each shape, as in "{caption} ({score:.2f})"
    format: str = TEMPLATE
    # napari copies a layer from a description of its text, and knows no lines there.
    lines: int = Field(default=LINES, exclude=True)

    def __call__(self, features: pd.DataFrame) -> npt.NDArray[np.str_]:
        """Return one short text per row, empty where somebody has taken our column away."""
        if "caption" not in features:
            return np.full(len(features), "", dtype=str)
        columns = {name: features[name] for name in FIELDS if name in features}
        rows = zip(*columns.values(), strict=True)
        texts = [self._text(dict(zip(columns, row, strict=True))) for row in rows]
        return np.array(texts, dtype=str)

    def _text(self, row: dict[str, Any]) -> str:
        """Return nothing where there is no caption, and no score where there is none."""
        if not isinstance(row["caption"], str) or not row["caption"]:
            return ""
        text = row["caption"] if self.format == TEMPLATE else filled(self.format, row)
        return shortened(text, self.lines)


def filled(template: str, row: dict[str, Any]) -> str:
    """Fill in a template; what is not known is left out with the brackets around it."""
    text = ""
    for literal, name, spec, _ in Formatter().parse(template):
        text += literal
        if name is not None:
            value = row.get(name, "")
            known = isinstance(value, str) or value == value
            text += format(value, spec or "") if known and value != "" else ""
    return " ".join(text.replace("()", "").replace("[]", "").split())


def checked(template: str) -> str:
    """Return a template that makes sense; raise `TemplateError` for any other."""
    try:
        names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        unknown = names - set(FIELDS)
        if not unknown:
            filled(template, {**dict.fromkeys(FIELDS, "a"), "score": 0.5})
            return template
    except (ValueError, KeyError, IndexError) as error:
        raise TemplateError(f"The template cannot be read: {error}.") from error
    known = ", ".join(f"{{{name}}}" for name in FIELDS)
    raise TemplateError(f"There is no {{{min(unknown)}}} to show; there is {known}.")


# More than anybody draws: of one more than it holds, asked for in turn, it would remember none.
@lru_cache(maxsize=1 << 16)
def shortened(caption: str, lines: int = LINES) -> str:
    """Return a caption as it is drawn on the canvas."""
    wrapped = textwrap.wrap(caption, LINE_LENGTH, max_lines=lines, placeholder=" …")
    return "\n".join(wrapped)


def colour_of(name: str) -> str:
    """Return the colour of a taught name: the same among the same names, in any order."""
    if name not in _colours:
        names = sorted((*_colours, name), key=lambda text: (zlib.crc32(text.encode()), text))
        _colours.clear()
        for text in names:
            first = zlib.crc32(text.encode()) % len(NAME_COLOURS)
            order = (*NAME_COLOURS[first:], *NAME_COLOURS[:first])
            taken = set(_colours.values())
            _colours[text] = next((colour for colour in order if colour not in taken), order[0])
    return _colours[name]


def draw_captions(layer: Layer, colour: str) -> None:
    """Have the captions of shapes or points drawn on the canvas."""
    layer.text = {"color": colour, "size": SIZE, "anchor": "upper_left"}
    # Given inside the dict, napari would copy it as a plain format string.
    layer.text.string = CaptionText()
    layer.refresh_text()


def write_on(
    layer: Shapes,
    *,
    template: str = TEMPLATE,
    lines: int = LINES,
    visible: bool = True,
    crowd: int = CROWD,
) -> None:
    """Have the captions of a layer drawn on the canvas this way, in the colour they have."""
    wanted = CaptionText(format=template, lines=lines)
    if layer.text.string != wanted:
        layer.text.string = wanted
        layer.refresh_text()
    layer.text.size = SIZE
    show_on(layer, visible, crowd)


def has_text(layer: Layer) -> bool:
    """Whether somebody has had something written beside the shapes or points of a layer."""
    return getattr(layer.text.string, "constant", None) != ""


def show_on(layer: Shapes, visible: bool, crowd: int = CROWD) -> bool:
    """Show or hide the captions of a layer; return whether they are hidden for being too many."""
    crowded = visible and getattr(layer, "nshapes", len(layer.features)) > crowd
    shown = visible and not crowded
    if layer.text.visible != shown:
        if shown:
            layer.refresh_text()
        layer.text.visible = shown
    return crowded
