"""The record of one captioned region: where it is, what it says, and who said it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, TypeVar, get_args
from uuid import uuid4

from napari_patchioner.decoders import Caption
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Kind, Region

Source: TypeAlias = Literal["", "model", "taught", "edited", "human"]
SOURCES: tuple[Source, ...] = get_args(Source)
MACHINES: tuple[Source, ...] = ("model", "taught")
"""Sources of captions that people may replace and that machines may replace with their own."""
KINDS: tuple[Kind, ...] = get_args(Kind)
# A calibrated score is not known better than that, and a table is read by people.
_DIGITS = 4


FAMILIARITY = "familiarity"
"""Extra that says which share of the regions that the model knows are as unlike the others."""


def familiarity_text(share: float) -> str:
    """Return a share as files hold it.

    >>> familiarity_text(0.25), familiarity_text(0.00041772)
    ('0.25', '0.00042')
    """
    return f"{share:.2g}"


UNFAMILIAR = 0.01
"""Where fewer known regions than this share are as unlike, words are not to be trusted."""


def new_uid() -> str:
    """Return a name no other region has.

    >>> len(new_uid())
    32
    """
    return uuid4().hex


@dataclass(frozen=True, slots=True)
class Annotation:
    """One region of one image and its caption.

    Attributes
    ----------
    uid : str
        Name of the region, unique within its image.
    image : str
        Path, file name or stem of the image; empty where it goes with any image.
    region : Region
        The geometry, in ``(row, column)`` image pixels with pixel centres at integers. Two
        annotations are equal only when they share the very same region object.
    caption : str
        What is said about the region; empty where nothing is said yet.
    score : float or None
        How far to trust a model's caption, 0 to 1; None where there is no such number.
    source : {"", "model", "taught", "edited", "human"}
        Who wrote the caption: nobody or unknown, a model, a model by examples that it was taught,
        a person over a draft of either, a person.
    model : str
        Name of the model that wrote the caption or its draft.
    extra : mapping of str to str
        Anything else that belongs to the record (memory, grid key, options, time, columns of
        other tools); every format keeps it.
    written : tuple of (Region, str), optional
        The well-known text a table held and the region object read from it, so that a region
        nobody changed is written again letter by letter.
    """

    uid: str
    image: str
    region: Region
    caption: str = ""
    score: float | None = None
    source: Source = ""
    model: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    written: tuple[Region, str] | None = field(default=None, compare=False, repr=False)

    @property
    def kind(self) -> Kind:
        """What was drawn: box, polygon, ellipse, trace, point, set, image or mask."""
        return self.region.kind

    @property
    def is_human(self) -> bool:
        """Whether the caption is a person's, or may be: no model may overwrite it."""
        return self.source in ("edited", "human") or (self.source == "" and self.caption != "")

    @property
    def score_text(self) -> str:
        """The score as files hold it, in full precision; empty where there is none."""
        if self.score is None:
            return ""
        if not math.isfinite(self.score):
            raise FormatError(f"the score of region {self.uid!r} is not a finite number")
        return repr(float(self.score))


def is_unfamiliar(annotation: Annotation) -> bool:
    """Whether a model captioned what is unlike all that it knows."""
    try:
        share = float(annotation.extra.get(FAMILIARITY, ""))
    except ValueError:
        return False
    return annotation.source in MACHINES and share < UNFAMILIAR


AnyAnnotation = TypeVar("AnyAnnotation", bound=Annotation)


def with_model_caption(
    annotation: AnyAnnotation,
    caption: Caption,
    *,
    model: str = "",
    extra: Mapping[str, str] | None = None,
    source: Source = "model",
) -> AnyAnnotation:
    """Return the annotation with a model's caption, or as it is where a person wrote the caption.

    Parameters
    ----------
    annotation : Annotation
        The record to fill in.
    caption : Caption
        What the model says about the region; a score that is no number is none.
    model : str
        Name of the model.
    extra : mapping of str to str, optional
        Provenance to keep beside the caption, laid over what the record holds already.
    source : {"model", "taught"}
        Whether the words are the model's own, or those of examples it was taught.

    Returns
    -------
    Annotation
        A new record with that source, or the same object if its caption is a person's.
    """
    if annotation.is_human:
        return annotation
    return replace(
        annotation,
        caption=caption.text,
        score=None if math.isnan(caption.score) else round(float(caption.score), _DIGITS),
        source=source,
        model=model,
        extra={**annotation.extra, **(extra or {})},
    )


def with_human_caption(annotation: AnyAnnotation, text: str) -> AnyAnnotation:
    """Return the annotation with a person's caption; the same object if the text is unchanged.

    The model's name stays on a text that began as its draft, the score does not: it was the
    score of other words.
    """
    if text == annotation.caption:
        return annotation
    if annotation.source in (*MACHINES, "edited"):
        return replace(annotation, caption=text, score=None, source="edited")
    return replace(annotation, caption=text, score=None, source="human", model="")
