"""The parameter forms, made by magicgui."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from magicgui import widgets as gui
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractSlider

from napari_patchioner.viewer.layers.captions import CROWD, LINES, TEMPLATE

POOLINGS = {
    "as the model likes": None,
    "mean over patches": "mean",
    "centre counts more": "gaussian",
    "attention": "attention",
    "class token": "cls",
}
LENGTHS = {"as the model likes": None} | {name: name for name in ("label", "phrase", "sentence")}
# All others are left out unless somebody chose a value, so that any captioner can be asked.
_ALWAYS = ("pooling", "beams", "alternatives", "max_tokens")


def image_form(images: Callable[[Any], Sequence[tuple[str, Image]]]) -> gui.ComboBox:
    """Return the question which image; `images` returns the layers by name at every reset."""
    image = gui.ComboBox(name="image", label="Image", choices=images, nullable=False)
    name_image(image)
    # Names of layers are as long as those of files.
    _narrow(image)
    image.native.view().setTextElideMode(Qt.TextElideMode.ElideMiddle)
    return image


def name_image(image: gui.ComboBox) -> None:
    """Have the tooltips say the names whole, for which there may be no room."""
    tip = "The image layer to caption; of a stack, the plane on display."
    box = image.native
    image.tooltip = "\n".join(filter(None, (box.currentText(), tip)))
    for index in range(box.count()):
        box.setItemData(index, box.itemText(index), Qt.ItemDataRole.ToolTipRole)


def options_form() -> gui.Container[Any]:
    """Return the form for how captions are written."""
    length = gui.ComboBox(name="length", label="Length", choices=list(LENGTHS))
    length.tooltip = "A label names the thing, a phrase describes it, a sentence tells of it."
    must = gui.LineEdit(name="must", label="Must say")
    must.tooltip = "Words or phrases that captions have to hold, with commas between them."
    never = gui.LineEdit(name="never", label="Must not say")
    never.tooltip = "Words or phrases that captions may not hold, with commas between them."
    context = gui.LineEdit(name="context", label="Context")
    context.tooltip = (
        "What the image is about: names, tags or a sentence, with commas between them. Of the\n"
        "wordings that the model has for a region, the one that suits it comes first; nothing\n"
        "is added. Reword ▾ ranks captions that are there already."
    )
    layer_names = gui.CheckBox(name="layer_names", text="Names of layers, too", value=False)
    layer_names.tooltip = "The names of the image and of other layers belong to the context."
    specificity = gui.FloatSlider(name="specificity", max=3, step=0.1, readout=False)
    # A click beside the handle goes so far.
    slider = specificity.native.findChild(QAbstractSlider)
    slider.setPageStep(5 * slider.singleStep())
    _say_value(specificity, specificity.value)
    specificity.changed.connect(partial(_say_value, specificity))
    specificity.tooltip = (
        "How much what this region alone would be called counts more than what is said of\n"
        "anything: 0 is off, 1 prefers rarer names and more details, above 2 captions may fail."
    )
    pooling = gui.ComboBox(name="pooling", label="Region", choices=list(POOLINGS))
    pooling.tooltip = (
        "How the patches of a region are put together.\n"
        "Attention: patches the model looks at count more. Class token: the whole image,\n"
        "the same for every region. Where a model has neither, it goes its own way."
    )
    union = gui.CheckBox(name="union", text="Overlap counts once", value=False)
    union.tooltip = "Where shapes captioned together overlap: once, or once for every shape."
    zoom = gui.CheckBox(name="zoom", text="Enlarge what is tiny", value=False)
    zoom.tooltip = (
        "Of large images, which are looked at in tiles: what is smaller than a patch of their\n"
        "finest tiles is looked at once more, enlarged. A caption made so says so in its details."
    )
    no_close_up = gui.CheckBox(name="no_close_up", text="No close-up of what is small", value=False)
    no_close_up.tooltip = (
        "In photographs the built-in models look once more, closely, at what takes less than 2 %\n"
        "of the picture, region by region: each takes about a sixth of the time of reading the\n"
        "image. Without that captions are faster, and right less often."
    )
    beams = gui.SpinBox(name="beams", label="Beams", value=4, min=1, max=16)
    beams.tooltip = "Sentences followed at once: more is slower and a little better."
    alternatives = gui.SpinBox(name="alternatives", label="Wordings", value=3, min=0, max=9)
    alternatives.tooltip = "How many other wordings to keep, to be picked by Ctrl+1, Ctrl+2…"
    longest = gui.SpinBox(name="max_tokens", label="Longest", value=0, min=0, max=77)
    longest.tooltip = "Longest caption, in words and pieces of words; 0 is as the model likes."
    heat = gui.FloatSpinBox(name="temperature", label="Temperature", value=0, max=1, step=0.005)
    heat.tooltip = (
        "Of the memory: the smaller, the closer to its nearest sentence; 0 is as the model\n"
        "likes. Nothing changes where a model has no memory."
    )
    repeat = gui.SpinBox(name="repetition", label="No repeats", value=0, min=0, max=9)
    repeat.tooltip = "No sequence of so many words or pieces comes twice; 0 is as the model likes."
    for number in (longest, heat, repeat):
        number.native.setSpecialValueText("model's own")
    asked = [length, specificity, must, never, context, layer_names]
    widgets = [*asked, pooling, union, zoom, no_close_up]
    return _form(*widgets, beams, alternatives, longest, heat, repeat)


def _say_value(slider: gui.FloatSlider, value: float) -> None:
    """Say beside a slider where it stands; napari's theme leaves the number of magicgui no room."""
    slider.label = f"Specificity {value:.1f}" if value else "Specificity off"


def options(form: gui.Container[Any]) -> dict[str, Any]:
    """Return the options as `Captioner.caption` takes them."""
    values = {widget.name: widget.value for widget in form}
    values["pooling"], values["length"] = POOLINGS[values["pooling"]], LENGTHS[values["length"]]
    values["must"], values["never"] = words(values["must"]), words(values["never"])
    values["max_tokens"] = values["max_tokens"] or None
    values["specificity"] = round(values["specificity"], 2)
    values["context"] = " ".join(values["context"].split())
    return {name: value for name, value in values.items() if value or name in _ALWAYS}


def words(text: str) -> tuple[str, ...]:
    """Return the words or phrases between commas, each once.

    >>> words("cat,  on a sofa ,, cat")
    ('cat', 'on a sofa')
    """
    parts = (" ".join(part.split()) for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def canvas_form() -> gui.Container[Any]:
    """Return the form for how captions are drawn on the image."""
    visible = gui.CheckBox(name="visible", text="Captions on the image", value=True)
    visible.tooltip = "Show the captions beside their shapes (key H)."
    template = gui.LineEdit(name="template", label="Show", value=TEMPLATE)
    template.tooltip = (
        "What to write beside a shape; {caption}, {score}, {source} and {caption_model} are\n"
        "filled in, as in {caption} ({score:.2f})."
    )
    lines = gui.SpinBox(name="lines", label="Lines", value=LINES, min=1, max=12)
    lines.tooltip = "Longer captions are cut with …; the list shows them whole."
    crowd = gui.SpinBox(name="crowd", label="Shapes", value=CROWD, min=0, max=5000)
    crowd.tooltip = "With more shapes than these, captions are not drawn: it would be slow."
    return _form(visible, template, lines, crowd)


def _narrow(choice: gui.ComboBox) -> None:
    """Let no long choice make the dock wider."""
    box = choice.native
    box.setSizeAdjustPolicy(box.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(10)


def _form(*fields: Any) -> gui.Container[Any]:
    """Return a form without margins, in which no long choice makes the dock wider."""
    form = gui.Container(widgets=fields, labels=True)
    for field in fields:
        if isinstance(field, gui.ComboBox):
            _narrow(field)
    form.native.layout().setContentsMargins(0, 0, 0, 0)
    form.native.layout().setSpacing(4)
    return form
