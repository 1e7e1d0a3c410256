"""What a foreign format carries beside its own fields, so that nothing is lost on the way."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Region, RegionSet, same_drawing

from .notes import leaving_out
from .record import KINDS, Annotation, with_human_caption
from .wkt import members_cell, region_from_text, region_to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from napari_patchioner.regions import Region

    from .record import Source

# The extra that other tools call label, category or classification.
CLASS = "class"
# The extra that holds the entry of another program's file from which a record was read.
METADATA = "metadata"
_OURS = ("uid", "kind", "wkt", "members", "caption", "score", "source", "model")
# Names that a table could not tell from its own columns.
_IMAGE = "image"
_TAKEN = frozenset((*_OURS, _IMAGE))
_SOURCES = ("model", "edited", "human")
# Names that formats give to what they add to these texts; and what makes an extra another name.
_FORMATS_OWN = frozenset(
    ("part_of", "image.size", "caption.sha256", "ANNOTATION_DESCRIPTION", "napari_patchioner")
)
_EXTRA = "extra:"


def record_texts(annotation: Annotation) -> dict[str, str]:
    """Return a record as plain texts for the free places of a format; see `annotation_from_texts`.

    Parameters
    ----------
    annotation : Annotation
        The record; its image is not among the texts, since every format names that itself.

    Returns
    -------
    dict of str to str
        ``uid, kind, wkt`` (the exact geometry), ``members`` (of sets), ``caption, score, source,
        model`` where there are any, and every extra under its own name, or, where that is one of
        these, under one that `annotation_from_texts` knows.

    Raises
    ------
    FormatError
        If the region makes no sense, or an extra has no name.

    >>> from napari_patchioner.regions import Point
    >>> record_texts(Annotation("a", "cat.png", Point(1, 2), "an ear", extra={"plane": "3"}))
    {'uid': 'a', 'kind': 'point', 'wkt': 'POINT (2.5 1.5)', 'caption': 'an ear', 'plane': '3'}
    """
    if "" in annotation.extra:
        raise FormatError(f"an extra of region {annotation.uid!r} has no name; give it one")
    try:
        wkt = region_to_text(annotation.region)
    except FormatError as error:
        raise FormatError(f"region {annotation.uid!r}: {error}") from error
    score = annotation.score
    if score is not None and not math.isfinite(score):
        raise FormatError(f"the score of region {annotation.uid!r} is not a finite number")
    texts = {
        "members": members_cell(annotation.region),
        "caption": annotation.caption,
        "score": "" if score is None else repr(float(score)),
        "source": annotation.source,
        "model": annotation.model,
    }
    said = {name: text for name, text in texts.items() if text}
    extra = {_escaped(name): text for name, text in annotation.extra.items()}
    return {"uid": annotation.uid, "kind": annotation.kind, "wkt": wkt, **said, **extra}


def _escaped(name: str) -> str:
    """Return the name of an extra as one that no format uses; `annotation_from_texts` undoes it."""
    escaped = name in _TAKEN or name in _FORMATS_OWN or name.startswith(_EXTRA)
    return f"{_EXTRA}{name}" if escaped else name


def record_texts_with_image(annotation: Annotation, name: str) -> dict[str, str]:
    """Return a record as `carried` does, and its image where the file calls that another name."""
    other = {} if annotation.image == name else {_IMAGE: annotation.image}
    return {**record_texts(annotation), **other}


def _as_it_is(region: Region) -> Region:
    return region


def _word_for_word(caption: str) -> str:
    return caption


def annotation_from_texts(
    carried: Mapping[str, str],
    *,
    drawn: Region | None,
    image: str,
    caption: str | None,
    uid: str = "",
    shown: Callable[[Region], Region | None] = _as_it_is,
    told: Callable[[str], str] = _word_for_word,
    tolerance: float = 1e-3,
) -> Annotation:
    """Return the record that a foreign file holds, with what other tools changed in it.

    Parameters
    ----------
    carried : mapping of str to str
        What `carried` wrote into the file's free places; empty, or other people's entries, where
        the record is not ours.
    drawn : Region or None
        What the file itself shows; None where it shows nothing (only for records of ours).
    image : str
        The image the file names.
    caption : str or None
        What the file itself says; None where it has no place for captions.
    uid : str
        The name to give a record that is not ours.
    shown : callable
        Turns an exact region into what the format would show for it. Where that is within
        `tolerance` of ``drawn``, nobody touched the drawing and the exact region is taken; else
        ``drawn`` is. The same region by default.
    told : callable
        Turns a caption into what the format would say for it; as it is by default.
    tolerance : float
        How far, in pixels, other tools move a vertex by rounding it.

    Returns
    -------
    Annotation
        A caption another tool changed has the source ``"edited"`` or ``"human"``.

    Raises
    ------
    FormatError
        If texts of ours are broken, or a record that is not ours shows nothing.
    """
    if not _is_ours(carried):
        return _foreign(carried, drawn, image, caption, uid)
    exact = region_from_text(carried["wkt"], carried["kind"], carried.get("members", ""))
    seen = shown(exact)
    kept = drawn is None or (seen is not None and same_drawing(seen, drawn, tolerance=tolerance))
    source = carried.get("source", "")
    annotation = Annotation(
        uid=carried["uid"] or uid,
        image=carried.get(_IMAGE, image),
        region=exact if kept or drawn is None else drawn,
        caption=carried.get("caption", ""),
        score=parse_score(carried.get("score", "")),
        source=cast("Source", source if source in _SOURCES else ""),
        model=carried.get("model", ""),
        extra={
            name.removeprefix(_EXTRA): text
            for name, text in carried.items()
            if name and name not in _TAKEN
        },
    )
    if caption is None or caption == told(annotation.caption):
        return annotation
    return with_human_caption(annotation, caption)


def _is_ours(carried: Mapping[str, str]) -> bool:
    """Whether `carried` wrote these texts."""
    return all(name in carried for name in ("uid", "kind", "wkt")) and (carried["kind"] in KINDS)


def _foreign(
    entries: Mapping[str, str], drawn: Region | None, image: str, caption: str | None, uid: str
) -> Annotation:
    """Return the record of another tool, whose entries become extras, none under our names."""
    if drawn is None:
        raise FormatError("shows no region and holds none")
    said = caption if caption is not None else entries.get("caption", "")
    extra = as_extras(entries)
    if extra.get("caption_") == said:
        del extra["caption_"]
    return Annotation(uid, image, drawn, said, extra=extra)


def as_extras(entries: Mapping[str, str]) -> dict[str, str]:
    """Return entries of another program as extras, none under a name of ours or without one.

    >>> as_extras({"source": "web", "": "x", "depth": "2"})
    {'source_': 'web', 'depth': '2'}
    """
    taken = _TAKEN | {METADATA}
    return {f"{name}_" if name in taken else name: text for name, text in entries.items() if name}


def parse_score(text: str) -> float | None:
    """Return the finite number in a text, or None.

    >>> parse_score("0.25"), parse_score("high")
    (0.25, None)
    """
    try:
        score = float(text)
    except ValueError:
        return None
    return score if math.isfinite(score) else None


def with_unique_uids(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Return records with a uid of its own for each of an image: a copy made elsewhere gets a new.

    >>> from napari_patchioner.regions import WholeImage
    >>> [one.uid for one in with_unique_uids([Annotation("a", "", WholeImage())] * 3)]
    ['a', 'a-2', 'a-3']
    """
    found = list(annotations)
    used = {(one.image, one.uid) for one in found}
    # How far the copies of a name are counted: to count each from 2 would take for ever.
    counts: dict[tuple[str, str], int] = {}
    for place, one in enumerate(found):
        key = (one.image, one.uid)
        count = counts.get(key, 1)
        if key in counts:
            count += 1
            while (one.image, f"{one.uid}-{count}") in used:
                count += 1
            found[place] = replace(one, uid=f"{one.uid}-{count}")
            used.add((one.image, f"{one.uid}-{count}"))
        counts[key] = count
    return found


PART = "part_of"
"""What every shape of a set but the first carries: the uid of the set."""

CLASS = "class"
"""The extra that holds the class of a region, for formats that sort regions into classes."""

UNSORTED = "region"
"""The class of a region that has none."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape in a foreign file.

    Attributes
    ----------
    image : str
        The image it lies on.
    uid : str
        The name to give it, should it not be ours.
    region : Region or None
        What is drawn; None where nothing is.
    caption : str or None
        What the file says about it; None where it has no place for captions.
    texts : mapping of str to str
        What `carried` wrote, or ``{PART: uid}``, or entries of other people.
    label : str or None
        The class the file sorts it into; None where it has no classes.
    """

    image: str
    uid: str
    region: Region | None
    caption: str | None
    texts: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None


def class_of(annotation: Annotation) -> str:
    """Return the class a region is sorted into."""
    return annotation.extra.get(CLASS, "") or UNSORTED


def with_class(annotation: Annotation, label: str | None) -> Annotation:
    """Return the annotation in the class a file names; the same object if that is no news."""
    if label is None or label == class_of(annotation):
        return annotation
    return replace(annotation, extra={**annotation.extra, CLASS: label})


def as_one(parts: Sequence[Region], union: bool) -> Region | None:
    """Return shapes as one region: a set where there are several, None where there are none."""
    if len(parts) < 2:
        return parts[0] if parts else None
    return RegionSet(tuple(parts), union)


def shown_as(
    region: Region, show: Callable[[Region], Region | None], union: bool | None = None
) -> Region | None:
    """Return what a format shows for a region, given what it shows for a member."""
    shown = [part for member in region.parts() if (part := show(member)) is not None]
    counted = isinstance(region, RegionSet) and region.union
    return as_one(shown, counted if union is None else union)


def gather(
    shapes: Sequence[Shape],
    show: Callable[[str, Region], Region | None],
    told: Callable[[str], str] = str,
) -> list[Annotation]:
    """Return the records that shapes make, members of sets put together again.

    Parameters
    ----------
    shapes : sequence of Shape
        In the order of the file.
    show : callable
        What the format shows for a member of a region on an image; None if nothing.
    told : callable
        What the format says for a caption.

    Returns
    -------
    list of Annotation
        One per record, in the order of their first shapes, every uid once per image.

    Raises
    ------
    FormatError
        Names the region whose record is broken.
    """
    return [one for one, _ in gather_with_places(shapes, show, told)]


def gather_with_places(
    shapes: Sequence[Shape],
    show: Callable[[str, Region], Region | None],
    told: Callable[[str], str] = str,
    where: str = "",
) -> list[tuple[Annotation, tuple[int, ...]]]:
    """Return the records that shapes make, each with the numbers of its shapes.

    Parameters
    ----------
    shapes, show, told
        As for `gather`.
    where : str
        The file. With it, a record that is broken is left out, where notes are taken.
    """
    rest: dict[tuple[str, str], list[int]] = {}
    firsts: list[tuple[int, Shape]] = []
    known = {(one.image, one.texts.get("uid", "")) for one in shapes if PART not in one.texts}
    for place, one in enumerate(shapes):
        key = (one.image, one.texts.get(PART, ""))
        if PART in one.texts and key in known:
            rest.setdefault(key, []).append(place)
        elif PART in one.texts:
            firsts.append((place, replace(one, texts={})))
        else:
            firsts.append((place, one))
    found: list[tuple[Annotation, tuple[int, ...]]] = []
    for place, one in firsts:
        others = rest.pop((one.image, one.texts.get("uid", "")), []) if one.texts else []
        with leaving_out("region") if where else nullcontext():
            try:
                record = _record(one, [shapes[other] for other in others], show, told)
            except FormatError as error:
                before = f"{where}: " if where else ""
                called = one.texts.get("uid", one.uid)
                raise FormatError(f"{before}region {called!r}: {error}") from error
            found.append((record, (place, *others)))
    records = with_unique_uids(one for one, _ in found)
    return [(one, places) for one, (_, places) in zip(records, found, strict=True)]


def _record(
    first: Shape,
    others: Sequence[Shape],
    show: Callable[[str, Region], Region | None],
    told: Callable[[str], str],
) -> Annotation:
    """Return the record that one shape, or the shapes of a set, make."""
    union = first.texts.get("members", "").startswith("union")
    parts = [one.region for one in (first, *others) if one.region is not None]
    said = told(first.texts.get("caption", ""))
    changed = [one.caption for one in (first, *others) if one.caption not in (None, said)]
    record = annotation_from_texts(
        first.texts,
        drawn=as_one(parts, union),
        image=first.image,
        caption=changed[0] if changed and others else first.caption,
        uid=first.uid,
        shown=lambda region: shown_as(region, lambda part: show(first.image, part), union),
        told=told,
    )
    return with_class(record, first.label)
