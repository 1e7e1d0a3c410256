"""The unit of work: one image with its regions in, their captions out, wherever it runs."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.annotations import Annotation, other_axes, with_model_caption
from napari_patchioner.annotations import Source as AnnotationSource
from napari_patchioner.annotations.project.records import REWORDED, joined_caption
from napari_patchioner.annotations.record import FAMILIARITY, familiarity_text
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import Caption
from napari_patchioner.describers import NOT_SAID
from napari_patchioner.errors import (
    FormatError,
    ImageError,
    ModelError,
    PatchionerError,
    RegionError,
)
from napari_patchioner.grids import PHOTOGRAPH, FeatureGrid, GridStore
from napari_patchioner.images import (
    StoredImage,
    open_image,
    pages_left_out,
    pixel_sides,
    read_image,
)
from napari_patchioner.pyramid import BIG, Plan, Pyramid
from napari_patchioner.regions import cover
from napari_patchioner.teaching import ImageMeasures, Lexicon, read_lexicon

from ._describe import described, is_composed, sides_of
from ._find import size_of
from ._proposed import ProposedDrawing, outlined_of
from ._reword import caption_in_words

Source: TypeAlias = npt.NDArray[Any] | StoredImage | None
"""Pixels; an image that had to be read whole; or None for one that is read in parts."""

Status: TypeAlias = Literal["done", "skipped", "failed"]

PREVIOUS = "previous_caption"
"""Extra that holds a person's caption where a model's has taken its place."""

OWN = "model_caption"
"""Extra that holds a model's own caption where it is joined to a name that was taught."""

_OUTSIDE = "The region lies outside the image, so nothing is said of it: draw it again."

# Pixels of the shorter side of what can be captioned.
_LEAST = 2
_TIFF = (".tif", ".tiff")
# Tiles are kept for regions nearby, not for another day.
_STORE_BYTES = 256 * 2**20
_YES = ("true", "1", "yes")
_ACCEPTED = (*_YES, "accepted")


class Drawing(Protocol):
    """Makes the regions of an image once its size is known; picklable."""

    def draw(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return the regions of the image of this name and size."""

    def sample(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return a region of the kind that `draw` makes, without reading anything."""


class Searching(Protocol):
    """Finds things on an image in place of captioning its regions; picklable."""

    def find(
        self, captioner: Captioner, image: StoredImage, path: Path, name: str
    ) -> tuple[list[Annotation], float | None] | Found:
        """Return what is found, and how likely the image is a photograph, if that is known."""

    def left_out(self, captioner: Captioner) -> tuple[str, ...]:
        """Return words of what is looked for that count for nothing with this model."""


class Found(NamedTuple):
    """What is found on an image, and what is wrong with regions that were given."""

    annotations: list[Annotation]
    photograph: float | None = None
    faults: tuple[str, ...] = ()


class Fault(NamedTuple):
    """What is wrong with a region, which is named by its uid."""

    text: str
    # Whether it is the region's own, so that the same will come of it another time.
    is_final: bool


@dataclass(frozen=True, slots=True)
class LexiconFolder:
    """A lexicon as a job names it: where it lies, and its digest when the run began.

    With ``join`` the model's own caption follows the name, as in "leaf: one green round spot";
    None for where the image is a photograph.
    """

    path: Path
    digest: str
    join: bool | None = None

    @classmethod
    def of(cls, path: Path, *, join: bool | None = None) -> LexiconFolder:
        """Return that of a folder, which is read; a FormatError where it holds no lexicon."""
        return cls(path.absolute(), read_lexicon(path).digest, join)

    @property
    def setting(self) -> str:
        """What captions depend on, as text."""
        how = {None: "", True: " joined", False: " alone"}
        return f"{self.digest}{how[self.join]}"

    def open(self) -> Lexicon:
        """Read it, once per process.

        A ModelError where it cannot be read here, or is another one than when the run began.
        """
        return _opened(self.path, self.digest)


@lru_cache(maxsize=2)
def _opened(path: Path, digest: str) -> Lexicon:
    """Read a lexicon of this digest."""
    try:
        lexicon = read_lexicon(path)
    except FormatError as error:
        raise ModelError(str(error)) from error
    if lexicon.digest != digest:
        raise ModelError(f"{path}: the lexicon was changed while it was in use; run this again")
    return lexicon


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
        How to caption: keywords of `Captioner.caption`; ``"context"``: by what the wordings of the
        model are ranked; ``"tell_apart"``: whether regions that are called the same get captions
        that tell them apart; and ``"zoom"``: whether regions smaller
        than a patch are enlarged.
    big : int
        Long side, in pixels, up to which the image is encoded in one pass.
    overwrite : bool
        Whether captions by people, accepted ones and those of unknown source are replaced as
        well, the old text kept as the extra ``"previous_caption"``; what is locked stays.
    lexicon : LexiconFolder or None
        What names regions that are like its examples; the others get captions of the model.
    place : bool
        Whether place and size are said behind new captions, and beside all; see `described`.
    paragraph : bool
        Whether a paragraph about the image is made of its regions; see `described`.
    search : Searching or None
        What is looked for in place of captioning; all else but the image then says nothing.
    """

    image: str
    path: Path
    regions: tuple[Annotation, ...] = ()
    drawing: Drawing | None = None
    only_empty: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    big: int = BIG
    overwrite: bool = False
    lexicon: LexiconFolder | None = None
    place: bool = False
    paragraph: bool = False
    search: Searching | None = None

    @property
    def is_open(self) -> bool:
        """Whether there may be something to caption or find, so that the image has to be read."""
        is_drawn = self.drawing is not None or self.search is not None
        return is_drawn or any(map(self.is_open_region, self.regions))

    def is_open_region(self, annotation: Annotation) -> bool:
        """Whether the model may caption a region."""
        if is_locked(annotation) or self.overwrite:
            return not is_locked(annotation)
        if self.paragraph and is_composed(annotation):
            # It is put together anew.
            return False
        is_accepted = annotation.extra.get("reviewed", "").lower() in _ACCEPTED
        is_kept = annotation.caption and (is_accepted or self.only_empty)
        return not (annotation.is_human or is_kept)


def is_locked(annotation: Annotation) -> bool:
    """Whether a person has locked a region, so that it stays whatever the options."""
    return annotation.extra.get("locked", "").lower() in _YES


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one job; it pickles.

    Attributes
    ----------
    image : str
        Of the job.
    status : {"done", "skipped", "failed"}
        Skipped: there was nothing left to caption. Failed: the image, or some of its regions,
        could not be captioned, which another time may do.
    annotations : tuple of Annotation
        All regions of the job, captioned or, where that failed, as they were.
    why : str
        What failed, in a sentence; else empty.
    seconds : float
        How long it took.
    height, width : int
        Pixels of the image; 0 where nobody knows.
    photograph : float or None
        How likely the image is a photograph, 0 to 1, where that was asked.
    faults : tuple of str
        What is wrong with regions that can never be captioned, as those outside the image, each
        named by its uid.
    left_out : tuple of str
        Words of what was looked for that count for nothing with the model.
    pages_left_out : int
        Pages of the file that are no part of a stack with the first, and were not read.
    """

    image: str
    status: Status
    annotations: tuple[Annotation, ...] = ()
    why: str = ""
    seconds: float = 0.0
    height: int = 0
    width: int = 0
    photograph: float | None = None
    faults: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    pages_left_out: int = 0


def failure(job: Job, why: str) -> Outcome:
    """Return the outcome of a job that came to nothing: its regions as they were."""
    return Outcome(job.image, "failed", job.regions, why)


def skipped(job: Job) -> Outcome:
    """Return the outcome of a job in which nothing is left to caption."""
    outcome = Outcome(job.image, "skipped", job.regions, "", 0.0, *size_of(job.path))
    return _described(job, outcome)


def reason(error: Exception) -> str:
    """Return what went wrong, in one line."""
    if isinstance(error, PatchionerError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def work(
    captioner: Captioner, job: Job, *, read: Callable[[Path], Source] | None = None
) -> Outcome:
    """Caption or search one image; nothing about the image or its regions is ever raised.

    The outcome is the same for the same model, file and job, whatever was captioned before. The
    image is read by ``read`` if that is given. A ModelError where the model cannot do what the
    options say, for this image or any other.
    """
    started = time.perf_counter()
    try:
        outcome = _captioned(captioner, job, read)
    except ModelError:
        raise
    except Exception as error:  # one bad image never stops the rest, whatever is wrong with it
        outcome = failure(job, reason(error))
    unread = 0
    if outcome.status == "done" and job.path.suffix.lower() in _TIFF:
        with suppress(Exception):  # whatever is wrong with the other pages, this one is done
            unread = pages_left_out(job.path)
    return replace(outcome, seconds=time.perf_counter() - started, pages_left_out=unread)


def read_source(path: Path, big: int = BIG) -> Source:
    """Read an image as far as that is done before its turn; no file stays open."""
    with open_image(path) as image:
        if max(image.shape) > big or not image.is_flat:
            return image if image.is_in_memory else None
        if image.is_in_memory or path.suffix.lower() not in _TIFF:
            return np.asarray(image.levels().given[0].data[:, :])
    return read_image(path)


def _captioned(captioner: Captioner, job: Job, read: Callable[[Path], Source] | None) -> Outcome:
    if not job.is_open:
        return skipped(job)
    source = read_source(job.path, job.big) if read is None else read(job.path)
    if job.search is None:
        job = _measured(job)
    with ExitStack() as stack:
        if job.search is not None:
            if isinstance(source, np.ndarray):
                source = StoredImage.of(source, job.path)
            image = stack.enter_context(source or open_image(job.path))
            result = Found(*job.search.find(captioner, image, job.path, job.image))
            about = (tuple(result.annotations), "", 0.0, *image.shape, result.photograph)
            return Outcome(job.image, "done", *about, result.faults, job.search.left_out(captioner))
        if isinstance(source, np.ndarray) and not job.options.get("zoom"):
            height, width = source.shape[:2]
            lexicon = job.lexicon.open() if job.lexicon else None
            usual = _usual(job.options)
            join = job.lexicon.join if job.lexicon else None
            caption = partial(
                _caption_array, captioner, source, options=usual, lexicon=lexicon, join=join
            )
        else:
            if isinstance(source, np.ndarray):
                source = StoredImage.of(source, job.path)
            image = stack.enter_context(source or open_image(job.path))
            height, width = image.shape
            caption = partial(_caption_stored, captioner, image, job=job)
        if min(height, width) < _LEAST:
            raise ImageError(
                f"an image must be at least {_LEAST} by {_LEAST} pixels, but this one is {height} "
                f"by {width}"
            )
        regions = list(job.regions)
        if isinstance(job.drawing, ProposedDrawing):
            pixels = source if isinstance(source, np.ndarray) else image
            store = GridStore(ram_bytes=_STORE_BYTES)
            how: dict[str, Any] = {"store": store, "big": job.big}
            proposed, grid = job.drawing.propose(captioner, pixels, job.image, **how)
            regions += proposed
            if isinstance(pixels, np.ndarray) and not job.options.get("zoom"):
                caption = partial(caption, grid=grid)
        elif job.drawing is not None:
            regions += job.drawing.draw(job.image, height, width)
        rows = [row for row, region in enumerate(regions) if job.is_open_region(region)]
        bare = [_without_caption(regions[row]) for row in rows]
        captioned, faults = caption(bare)
    for row, before, after in zip(rows, bare, captioned, strict=True):
        # A person's text stays where the model has none to take its place.
        if after is not before and (after.caption or not regions[row].is_human):
            regions[row] = after
    why = "; ".join(fault.text for fault in faults if not fault.is_final)
    final = tuple(fault.text for fault in faults if fault.is_final)
    status: Status = "failed" if why else "done" if rows else "skipped"
    outcome = Outcome(job.image, status, tuple(regions), why, 0.0, height, width, faults=final)
    return _described(job, outcome)


def _described(job: Job, outcome: Outcome) -> Outcome:
    """Return an outcome with what else the job says of its regions."""
    if job.search is not None or not (job.place or job.paragraph):
        return outcome
    annotations, outside = described(
        outcome.annotations,
        job.regions,
        pixel=sides_of(job.path, job.options.get("pixel_size")),
        shape=(outcome.height, outcome.width) if outcome.height and outcome.width else None,
        place=job.place,
        paragraph=job.paragraph,
    )
    faults = [f"region {uid!r}: {_OUTSIDE}" for uid in outside]
    # Of those that it was to caption, the model has said so.
    said = "; ".join((outcome.why, *outcome.faults))
    faults = [text for text in faults if text.partition(":")[0] not in said]
    return replace(outcome, annotations=annotations, faults=(*outcome.faults, *faults))


def _measured(job: Job) -> Job:
    """Return a job with the pixel size that the file states, unless one is given."""
    # It loads torch, as whatever captions the image has done already.
    from napari_patchioner.decoders.options import square_pixel

    sides = None if "pixel_size" in job.options else pixel_sides(job.path)
    size = square_pixel(*sides) if sides else None
    return replace(job, options={**job.options, "pixel_size": size}) if size else job


def _usual(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are keywords of `Captioner.caption`."""
    return {name: value for name, value in options.items() if name != "zoom"}


def _without_caption(annotation: Annotation) -> Annotation:
    """Return a region as a model may caption it, a person's text kept beside."""
    if not annotation.is_human:
        return annotation
    extra = {**annotation.extra, PREVIOUS: annotation.caption}
    extra.pop("reviewed", None)
    return replace(annotation, caption="", score=None, source="", model="", extra=extra)


def caption_image(
    captioner: Captioner,
    image: npt.ArrayLike,
    annotations: Sequence[Annotation],
    options: Mapping[str, Any] | None = None,
    *,
    lexicon: Lexicon | None = None,
    join: bool | None = None,
    grid: FeatureGrid | None = None,
) -> tuple[list[Annotation], str]:
    """Caption regions of one image, which is encoded once, or not at all if there are no regions.

    The image has the shape (height, width) or (height, width, channels); what a person wrote of
    its regions stays as it is; the options are keywords of `Captioner.caption`, ``"context"`` and
    ``"tell_apart"``, see `Job`. Regions that a
    ``lexicon`` has a name for get that, and with ``join``, or where that is None and the image a
    photograph, the model's caption after it; the others get captions of the model. Where the image
    has been encoded already, ``grid`` is its grid. Returns the
    annotations in the same order, regions at fault as they were or, where a server said nothing,
    without a text, and what is wrong with those, each named by its uid; empty if there are none.
    An ImageError or ModelError in one sentence.
    """
    how: dict[str, Any] = {"lexicon": lexicon, "join": join, "grid": grid}
    captioned, faults = _caption_array(captioner, image, annotations, options, **how)
    return captioned, "; ".join(fault.text for fault in faults)


def _caption_array(
    captioner: Captioner,
    image: npt.ArrayLike,
    annotations: Sequence[Annotation],
    options: Mapping[str, Any] | None = None,
    *,
    lexicon: Lexicon | None = None,
    join: bool | None = None,
    grid: FeatureGrid | None = None,
) -> tuple[list[Annotation], list[Fault]]:
    """Caption regions of one image, see `caption_image`."""
    options = options or {}
    if not annotations:
        return [], []
    grid = captioner.encode(image) if grid is None else grid
    captioned = list(annotations)
    rows = list(range(len(annotations)))
    named: dict[int, Annotation] = {}
    if lexicon is not None:
        measures = ImageMeasures(np.asarray(image))
        named = _named(captioner, lexicon, grid, measures, annotations, rows)
        for row, annotation in named.items():
            captioned[row] = annotation
        joined = join if join is not None else _is_photograph(grid)
        rows = [row for row in rows if joined or row not in named]
    faults: dict[int, Fault] = {}
    try:
        regions = [annotations[row].region for row in rows]
        captions = caption_in_words(captioner, grid, regions, options)
    except RegionError:
        for row in rows:
            try:
                cover(annotations[row].region, grid.transform)
            except RegionError as error:
                faults[row] = _fault(annotations[row], error)
        if not faults:
            raise
        rows = [row for row in rows if row not in faults]
        regions = [annotations[row].region for row in rows]
        captions = caption_in_words(captioner, grid, regions, options)
    for row, (caption, made) in zip(rows, captions, strict=True):
        if row in named:
            captioned[row] = _joined(named[row], caption)
        else:
            captioned[row] = _with_caption(
                captioner, grid, annotations[row], caption, options, made=made
            )
            if caption.problem == NOT_SAID:
                faults[row] = _fault(annotations[row], ModelError(NOT_SAID))
    return captioned, list(faults.values())


def _fault(annotation: Annotation, error: Exception) -> Fault:
    """Return what is wrong with a region."""
    text = f"region {annotation.uid!r}: {error}"
    return Fault(text, isinstance(error, RegionError))


def _named(
    captioner: Captioner,
    lexicon: Lexicon,
    grid: FeatureGrid,
    measures: ImageMeasures,
    annotations: Sequence[Annotation],
    rows: Sequence[int],
    details: Callable[[int], Mapping[str, str]] = lambda _: {},
) -> dict[int, Annotation]:
    """Return those of the rows that a lexicon has a name for; regions at fault have none."""
    sound = []
    for row in rows:
        with suppress(RegionError):
            cover(annotations[row].region, grid.transform)
            sound.append(row)
    namings = lexicon.name(captioner, grid, measures, [annotations[row].region for row in sound])
    named = {}
    for row, naming in zip(sound, namings, strict=True):
        if naming.name is not None:
            caption = Caption(naming.name, naming.score)
            learned = {"lexicon": lexicon.digest, "examples": lexicon.counts[naming.name]}
            bare = annotations[row]
            named[row] = _with_caption(
                captioner, grid, bare, caption, learned, details(row), "taught"
            )
    return named


def _joined(named: Annotation, caption: Caption) -> Annotation:
    """Return a region with the model's own caption after its name, and beside it."""
    if not caption.text:
        return named
    extra = {**named.extra, OWN: caption.text}
    return replace(named, caption=joined_caption(named.caption, caption.text), extra=extra)


def _caption_stored(
    captioner: Captioner, image: StoredImage, annotations: Sequence[Annotation], *, job: Job
) -> tuple[list[Annotation], list[Fault]]:
    """Caption regions of an image of any size, each at the resolution its size asks for.

    Only what the regions need is read; the extra ``"plane"`` of each says where in a stack it
    lies. Returns as `caption_image`; the ``origin`` of a caption says what it was made from.
    """
    zoom, usual, lengths = bool(job.options.get("zoom")), _usual(job.options), image.lengths
    captioned = list(annotations)
    faults: dict[int, Exception] = {}
    unread: list[ImageError] = []
    planes: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for row, annotation in enumerate(annotations):
        try:
            if (axes := other_axes(annotation)) is not None:
                raise RegionError(
                    f"it lies along the axes {axes[0]} and {axes[1]} of the stack; caption it "
                    "in the window, where that view is displayed"
                )
            plane = image.find(annotation.extra.get("plane", ""))
            planes[tuple(plane.items())].append(row)
        except RegionError as error:
            faults[row] = error
    lexicon = job.lexicon.open() if job.lexicon else None
    for index, rows in planes.items():
        store = GridStore(ram_bytes=_STORE_BYTES)
        pyramid = captioner.pyramid(image.levels(dict(index)), store=store, big=job.big)
        chosen = ", ".join(f"{axis} {position}" for axis, position in index if lengths[axis] > 1)

        def made_from(plan: Plan, row: int, chosen: str = chosen) -> dict[str, str]:
            """Say what a caption was made from, where that is not the image as a whole."""
            is_part = max(image.shape) > job.big or plan.window is not None
            details = dict(plan.notes) if is_part else {}
            if chosen:
                is_named = annotations[row].extra.get("plane", "").strip()
                details["plane"] = chosen if is_named else f"{chosen} (the first)"
            return details

        named: dict[int, Annotation] = {}
        if job.lexicon is not None and lexicon is not None:
            # Never enlarged, as examples are not.
            named, photographed = _named_parts(
                captioner, lexicon, pyramid, annotations, rows, made_from
            )
            for row, annotation in named.items():
                captioned[row] = annotation
            join = job.lexicon.join
            joined = photographed if join is None else set(named) if join else set()
            rows = [row for row in rows if row in joined or row not in named]
        sound = []
        for row in rows:
            try:
                pyramid.plan(annotations[row].region, zoom=zoom)
                sound.append(row)
            except RegionError as error:
                faults[row] = error
        plans = list(pyramid.plans([annotations[row].region for row in sound], zoom=zoom))
        for plan, members in plans:
            group = [sound[member] for member in members]
            try:
                grid = pyramid.encode(plan)
            except ImageError as error:  # the fault of these regions alone
                group = [row for row in group if row not in named]
                faults |= dict.fromkeys(group, error)
                unread += [error] * len(group)
                continue
            regions = [annotations[row].region for row in group]
            # What is on the left of one piece need not be so in the whole image.
            captions = caption_in_words(captioner, grid, regions, usual, place=len(plans) == 1)
            for row, (caption, made) in zip(group, captions, strict=True):
                if row in named:
                    captioned[row] = _joined(named[row], caption)
                    continue
                captioned[row] = _with_caption(
                    captioner,
                    grid,
                    annotations[row],
                    caption,
                    job.options,
                    made_from(plan, row),
                    made=made,
                )
                if caption.problem == NOT_SAID:
                    faults[row] = ModelError(NOT_SAID)
    if annotations and len(unread) == len(annotations):
        raise unread[0]
    return captioned, [_fault(annotations[row], faults[row]) for row in sorted(faults)]


def _named_parts(
    captioner: Captioner,
    lexicon: Lexicon,
    pyramid: Pyramid,
    annotations: Sequence[Annotation],
    rows: Sequence[int],
    made_from: Callable[[Plan, int], Mapping[str, str]],
) -> tuple[dict[int, Annotation], set[int]]:
    """Return those that a lexicon has a name for, each seen at the resolution it asks for.

    Beside them, which of the rows lie in photographs. Regions at fault, and those whose pixels
    cannot be read, have none.
    """
    lexicon.check(captioner)
    measures = ImageMeasures(pyramid.levels)
    sound = []
    for row in rows:
        with suppress(RegionError):
            pyramid.plan(annotations[row].region)
            sound.append(row)
    named: dict[int, Annotation] = {}
    photographed: set[int] = set()
    for plan, members in pyramid.plans([annotations[row].region for row in sound]):
        with suppress(ImageError):
            grid = pyramid.encode(plan)
            group = [sound[member] for member in members]
            details = partial(made_from, plan)
            named |= _named(captioner, lexicon, grid, measures, annotations, group, details)
            photographed.update(group if _is_photograph(grid) else ())
    return named, photographed


def _is_photograph(grid: FeatureGrid) -> bool:
    """Whether an image is likely a photograph, as far as its model can tell."""
    return grid.measures.get("photograph", 0.0) >= PHOTOGRAPH


def _with_caption(
    captioner: Captioner,
    grid: FeatureGrid,
    annotation: Annotation,
    caption: Caption,
    options: Mapping[str, Any],
    details: Mapping[str, str] | None = None,
    source: AnnotationSource = "model",
    made: Mapping[str, Any] | None = None,
) -> Annotation:
    """Return the region with its caption and what that was made from."""
    how = "taught" if source == "taught" else "options"
    used = dict(options)
    if source == "model" and captioner.memory:
        used["memory"] = dict(captioner.memory)
    made_from = {"grid": grid.key, "looked": dict(details or {}), how: used}
    origin = {"model": captioner.name} | {name: part for name, part in made_from.items() if part}
    origin |= outlined_of(annotation)
    if source == "model":
        origin |= captioner.origin
    if made:
        origin[REWORDED] = dict(made)
    gone = ("problem", OWN, FAMILIARITY)
    extra = {name: text for name, text in annotation.extra.items() if name not in gone}
    extra["origin"] = json.dumps(origin, sort_keys=True, ensure_ascii=False)
    if caption.problem:
        extra["problem"] = caption.problem
    if caption.familiarity is not None:
        extra[FAMILIARITY] = familiarity_text(caption.familiarity)
    bare = replace(annotation, extra=extra)
    return with_model_caption(bare, caption, model=captioner.name, source=source)
