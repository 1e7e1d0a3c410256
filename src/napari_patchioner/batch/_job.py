"""The unit of work: one image with its regions in, their captions out, wherever it runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from napari_patchioner.errors import ImageError, ModelError, PatchionerError
from napari_patchioner.pyramid import BIG

from ._captions import caption_image
from ._large import caption_stored
from ._sizes import image_size
from ._source import opened, read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from napari_patchioner.annotations import Annotation
    from napari_patchioner.captioner import Captioner

    from ._regions import Drawing
    from ._source import Source

    Reader: TypeAlias = Callable[[Path], Source]
    Captioning: TypeAlias = Callable[..., tuple[list[Annotation], str]]

_LEAST = 2
"""Pixels of the shorter side of what can be captioned."""

Status: TypeAlias = Literal["done", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """One image to caption; it pickles, and needs nothing but a captioner and the file.

    Attributes
    ----------
    image : str
        What the image is called in the result; no two jobs of a run share it.
    path : Path
        Where it lies, absolute.
    regions : tuple of Annotation
        What to caption. What a person wrote, accepted or locked stays as it is.
    drawing : Drawing or None
        Makes more regions when the image has been read.
    only_empty : bool
        Whether captions by a model stay as well.
    options : mapping of str to object
        How to caption: keywords of `Captioner.caption`, and ``"zoom"``: whether regions smaller
        than a patch are looked at enlarged.
    big : int
        Long side, in pixels, up to which the image is looked at in one pass.
    overwrite : bool
        Whether captions by people, accepted ones and those of unknown source are written anew as
        well, the old text kept as the extra ``"previous_caption"``; what is locked stays.
    """

    image: str
    path: Path
    regions: tuple[Annotation, ...] = ()
    drawing: Drawing | None = None
    only_empty: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    big: int = BIG
    overwrite: bool = False

    @property
    def is_open(self) -> bool:
        """Whether there may be something to caption, so that the image has to be read."""
        return self.drawing is not None or any(
            is_open(one, self.only_empty, self.overwrite) for one in self.regions
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one job; it pickles.

    Attributes
    ----------
    image : str
        Of the job.
    status : {"done", "skipped", "failed"}
        Skipped: there was nothing left to caption. Failed: the image, or some of its regions,
        could not be captioned.
    annotations : tuple of Annotation
        All regions of the job, captioned or, where that failed, as they were.
    why : str
        What failed, in a sentence; else empty.
    seconds : float
        How long it took.
    height, width : int
        Pixels of the image; 0 where nobody knows.
    """

    image: str
    status: Status
    annotations: tuple[Annotation, ...] = ()
    why: str = ""
    seconds: float = 0.0
    height: int = 0
    width: int = 0


def work(captioner: Captioner, job: Job, *, read: Reader | None = None) -> Outcome:
    """Caption one image; nothing about the image or its regions is ever raised.

    Parameters
    ----------
    captioner : Captioner
        The model.
    job : Job
        The image and what to caption of it.
    read : callable, optional
        Reads the image; `read_source` by default.

    Returns
    -------
    Outcome
        The same for the same model, file and job, whatever was captioned before.

    Raises
    ------
    ModelError
        The model cannot do what the options ask, for this image or any other.
    """
    started = time.perf_counter()
    try:
        outcome = _captioned(captioner, job, read)
    except ModelError:
        raise
    except Exception as error:  # one bad image never stops the rest, whatever is wrong with it
        outcome = failure(job, reason(error))
    return replace(outcome, seconds=time.perf_counter() - started)


def failure(job: Job, why: str) -> Outcome:
    """Return the outcome of a job that came to nothing: its regions as they were."""
    return Outcome(job.image, "failed", job.regions, why)


def skipped(job: Job) -> Outcome:
    """Return the outcome of a job in which nothing is left to caption."""
    height, width = image_size(job.path)
    return Outcome(job.image, "skipped", job.regions, "", 0.0, height, width)


def reason(error: Exception) -> str:
    """Return what went wrong, in one line."""
    if isinstance(error, PatchionerError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _captioned(captioner: Captioner, job: Job, read: Reader | None) -> Outcome:
    if not job.is_open:
        return skipped(job)
    source = read_source(job.path, job.big) if read is None else read(job.path)
    if isinstance(source, np.ndarray) and not job.options.get("zoom"):
        usual = {name: value for name, value in job.options.items() if name != "zoom"}
        return _outcome(job, source.shape[:2], partial(caption_image, captioner, source), usual)
    with opened(source, job.path) as image:
        piecewise = partial(caption_stored, captioner, image, big=job.big)
        return _outcome(job, image.shape, piecewise, job.options)


def _outcome(
    job: Job, shape: tuple[int, ...], caption: Captioning, options: Mapping[str, Any]
) -> Outcome:
    """Caption what may be captioned of an image of this size."""
    height, width = shape
    if min(height, width) < _LEAST:
        raise ImageError(
            f"an image must be at least {_LEAST} by {_LEAST} pixels, but this one is {height} by "
            f"{width}"
        )
    regions = job.regions
    if job.drawing is not None:
        regions += job.drawing.draw(job.image, height, width)
    places = [
        place for place, one in enumerate(regions) if is_open(one, job.only_empty, job.overwrite)
    ]
    given = [_without_caption(regions[place]) for place in places]
    said, why = caption(given, options)
    found = list(regions)
    for place, before, annotation in zip(places, given, said, strict=True):
        # A person's text stays where the model has none to take its place.
        if annotation is not before and (annotation.caption or not regions[place].is_human):
            found[place] = annotation
    status: Status = "failed" if why else "done" if places else "skipped"
    return Outcome(job.image, status, tuple(found), why, 0.0, height, width)


def _without_caption(annotation: Annotation) -> Annotation:
    """Return a region as a model may caption it, a person's text kept beside."""
    if not annotation.is_human:
        return annotation
    extra = {**annotation.extra, PREVIOUS: annotation.caption}
    extra.pop("reviewed", None)
    return replace(annotation, caption="", score=None, source="", model="", extra=extra)


def is_open(annotation: Annotation, only_empty: bool, overwrite: bool = False) -> bool:
    """Whether a model may caption a region.

    Parameters
    ----------
    annotation : Annotation
        The region.
    only_empty : bool
        Whether a caption by a model stays, too.
    overwrite : bool
        Whether a caption by a person goes, and one that was accepted.
    """
    if is_locked(annotation):
        return False
    if overwrite:
        return True
    if annotation.is_human:
        return False
    if annotation.caption and (annotation.extra.get("reviewed", "").lower() in _ACCEPTED):
        return False
    return not (only_empty and annotation.caption)


def is_locked(annotation: Annotation) -> bool:
    """Whether a person has locked a region, so that it stays whatever is asked."""
    return annotation.extra.get("locked", "").lower() in _YES


PREVIOUS = "previous_caption"
"""Extra that holds a person's caption where a model's has taken its place."""

_YES = ("true", "1", "yes")
_ACCEPTED = (*_YES, "accepted")
