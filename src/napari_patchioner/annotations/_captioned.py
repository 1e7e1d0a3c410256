"""Setting a caption without ever losing what a person wrote."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_patchioner.decoders import Caption

    from ._annotation import Annotation

# A calibrated score is not known better than that, and a table is read by people.
_DIGITS = 4


def with_model_caption(
    annotation: Annotation,
    caption: Caption,
    *,
    model: str = "",
    extra: Mapping[str, str] | None = None,
) -> Annotation:
    """Return the annotation with a model's caption, or as it is where a person wrote the caption.

    Parameters
    ----------
    annotation : Annotation
        The record to fill in.
    caption : Caption
        What the model says about the region.
    model : str
        Name of the model.
    extra : mapping of str to str, optional
        Provenance to keep beside the caption, laid over what the record holds already.

    Returns
    -------
    Annotation
        A new record with source ``"model"``, or the same object if its caption is a person's.
    """
    if annotation.is_human:
        return annotation
    return replace(
        annotation,
        caption=caption.text,
        score=round(float(caption.score), _DIGITS),
        source="model",
        model=model,
        extra={**annotation.extra, **(extra or {})},
    )


def with_human_caption(annotation: Annotation, text: str) -> Annotation:
    """Return the annotation with a person's caption; the same object if the text is unchanged.

    The model's name stays on a text that began as its draft, the score does not: it was the
    score of other words.
    """
    if text == annotation.caption:
        return annotation
    if annotation.source in ("model", "edited"):
        return replace(annotation, caption=text, score=None, source="edited")
    return replace(annotation, caption=text, score=None, source="human", model="")
