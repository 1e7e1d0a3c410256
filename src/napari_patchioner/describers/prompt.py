"""What a server is asked: templates with fields, and nothing but their names in braces."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

from napari_patchioner.errors import ModelError

FIELDS = {
    "caption": "the caption of the region, as it is now",
    "layer": "the name of the layer that it lies on",
    "image": "the name of the image",
    "size": "how large the region is",
}
"""What a template may name in braces, and what stands there."""

DESCRIBE = (
    "This is a part of a picture; one region of it is outlined in yellow. Describe what is inside "
    "the outline in one or two plain sentences. Say only what can be seen, do not mention the "
    "outline, and do not guess."
)
"""What is asked of a region where nobody has written a prompt."""

ASK = (
    "This is a part of a picture; one region of it is outlined in yellow. Answer briefly, about "
    "what is inside the outline: {question}"
)
"""How a free question is asked."""

LONGEST = 4000
"""Letters of a template or a question."""


def check_template(template: str, *, question: bool = False) -> None:
    """Raise a ModelError in one sentence where a template names what is no field.

    >>> check_template("What stage of {caption}?")
    >>> check_template("{caption.__class__}")
    Traceback (most recent call last):
    napari_patchioner.errors.ModelError: A prompt has no field {caption.__class__}; it may name \
{caption}, {layer}, {image} and {size}, and {{ stands for a brace.
    """
    fill(template, dict.fromkeys([*FIELDS, *(["question"] if question else [])], ""))


def fill(template: str, fields: Mapping[str, str]) -> str:
    """Return a template with its fields filled in; what they hold is never read as a template.

    >>> fill("Is {caption} {{really}} there?", {"caption": "a {cat}"})
    'Is a {cat} {really} there?'
    """
    if len(template) > LONGEST:
        raise ModelError(f"A prompt has at most {LONGEST:,} letters; make it shorter.")
    parts: list[str] = []
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise ModelError(
            f"The prompt has a brace too many ({error}); write {{{{ for one that stands for itself."
        ) from error
    for text, name, form, conversion in parsed:
        parts.append(text)
        if name is None:
            continue
        # Only plain names: no attributes, no items, no forms.
        if form or conversion or name not in fields:
            names = [f"{{{known}}}" for known in fields]
            shown = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise ModelError(
                f"A prompt has no field {{{shown}}}; it may name {', '.join(names[:-1])} and "
                f"{names[-1]}, and {{{{ stands for a brace."
            )
        parts.append(fields[name])
    return "".join(parts)
