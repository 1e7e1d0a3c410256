"""The parameter forms, made by magicgui."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, Container, SpinBox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari

POOLINGS = {
    "as the model likes": None,
    "mean over patches": "mean",
    "centre counts more": "gaussian",
    "attention": "attention",
    "class token": "cls",
}


def image_form(images: Callable[[Any], Sequence[tuple[str, napari.layers.Image]]]) -> ComboBox:
    """Return the question which image.

    Parameters
    ----------
    images : callable
        Returns the image layers by name; asked whenever the choices are reset.
    """
    image = ComboBox(name="image", label="Image", choices=images, nullable=False)
    image.tooltip = "The image layer to caption; of a stack, the plane on display."
    return image


def options_form() -> Container:
    """Return the form for how captions are written."""
    pooling = ComboBox(name="pooling", label="Region", choices=list(POOLINGS))
    pooling.tooltip = (
        "How the patches of a region are put together.\n"
        "Attention: patches the model looks at count more. Class token: the whole image,\n"
        "the same for every region. Where a model has neither, it goes its own way."
    )
    beams = SpinBox(name="beams", label="Beams", value=4, min=1, max=16)
    beams.tooltip = "Sentences followed at once: more is slower and a little better."
    alternatives = SpinBox(name="alternatives", label="Wordings", value=3, min=0, max=10)
    alternatives.tooltip = "How many other wordings to keep."
    length = SpinBox(name="max_tokens", label="Length", value=0, min=0, max=77)
    length.tooltip = "Longest caption, in words and pieces of words; 0 is as the model likes."
    return _compact(Container(widgets=[pooling, beams, alternatives, length], labels=True))


def options(form: Container) -> dict[str, Any]:
    """Return the options as `Captioner.caption` takes them."""
    return {
        "pooling": POOLINGS[form["pooling"].value],
        "beams": form["beams"].value,
        "alternatives": form["alternatives"].value,
        "max_tokens": form["max_tokens"].value or None,
    }


def _compact(form: Container) -> Container:
    form.native.layout().setContentsMargins(0, 0, 0, 0)
    form.native.layout().setSpacing(4)
    return form
