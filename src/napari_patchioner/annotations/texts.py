"""A record as plain texts beside the fields of a foreign format, so that nothing is lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import TypeAlias

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Region, RegionSet, same_drawing

from .notes import leaving_out, note
from .record import KINDS, SOURCES, Annotation, with_human_caption
from .wkt import members_cell, region_from_text, region_to_text

Show: TypeAlias = Callable[[str, Region], Region | None]

CLASS = "class"
"""The extra that holds the class of a region: what other tools call label or category."""

UNSORTED = "region"
"""The class of a region that has none."""

METADATA = "metadata"
"""The extra that holds the entry of another program's file from which a record was read."""

PART = "part_of"
"""What every shape of a set but the first has: the uid of the set."""

_IMAGE = "image"
# Names that a table could not tell from its own columns.
_TAKEN = frozenset(("uid", "kind", "wkt", "members", "caption", "score", "source", "model", _IMAGE))
# Names that formats give to what they add to these texts; and what makes an extra another name.
_FORMATS_OWN = frozenset(
    (PART, "image.size", "caption.sha256", "ANNOTATION_DESCRIPTION", "napari_patchioner")
)
_EXTRA = "extra:"


def record_texts(annotation: Annotation) -> dict[str, str]:
    """Return a record as plain texts for the free places of a format.

    ``uid, kind, wkt`` (the exact geometry), ``members`` (of sets), ``caption, score, source,
    model`` where there are any, and every extra under its own name, or, where that is one of these,
    under one that `annotation_from_texts` knows. Not its image: every format names that itself.

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
    optional = {
        "members": members_cell(annotation.region),
        "caption": annotation.caption,
        "score": annotation.score_text,
        "source": annotation.source,
        "model": annotation.model,
    }
    extra = {
        f"{_EXTRA}{name}"
        if name in _TAKEN or name in _FORMATS_OWN or name.startswith(_EXTRA)
        else name: text
        for name, text in annotation.extra.items()
    }
    given = {name: text for name, text in optional.items() if text}
    return {"uid": annotation.uid, "kind": annotation.kind, "wkt": wkt, **given, **extra}


def record_texts_with_image(annotation: Annotation, name: str) -> dict[str, str]:
    """Return a record as `record_texts`, and its image where the file calls that another name."""
    other = {} if annotation.image == name else {_IMAGE: annotation.image}
    return {**record_texts(annotation), **other}


def annotation_from_texts(
    texts: Mapping[str, str],
    *,
    drawn: Region | None,
    image: str,
    caption: str | None,
    uid: str = "",
    shown: Callable[[Region], Region | None] = lambda region: region,
    shown_caption: Callable[[str], str] = str,
    tolerance: float = 1e-3,
) -> Annotation:
    """Return the record that a foreign file holds, with what other tools changed in it.

    ``texts`` are what `record_texts` wrote, or other people's entries where the record is not ours;
    those become extras, and ``uid`` its name. ``drawn`` and ``caption`` are what the file itself
    shows and says: None where it shows nothing (only for records of ours), or has no place for
    captions. Where what ``shown`` makes of the exact region is within `tolerance` pixels of
    ``drawn``, nobody touched the drawing and the exact region is taken; else ``drawn`` is. A
    caption that is not what ``shown_caption`` makes of ours has the source ``"edited"`` or
    ``"human"``.

    A model's record comes back: the point was not moved, but somebody wrote over its caption.

    >>> from napari_patchioner.regions import Point
    >>> texts = record_texts(Annotation("a", "", Point(1, 2), "an ear", source="model"))
    >>> made = annotation_from_texts(texts, drawn=Point(1, 2), image="cat.png", caption="a tail")
    >>> made.uid, made.image, made.region, made.caption, made.source
    ('a', 'cat.png', Point(row=1.0, column=2.0), 'a tail', 'edited')
    """
    if not {"uid", "kind", "wkt"} <= texts.keys() or texts["kind"] not in KINDS:
        if drawn is None:
            raise FormatError("shows no region and holds none")
        text = caption if caption is not None else texts.get("caption", "")
        extra = as_extras(texts)
        if extra.get("caption_") == text:
            del extra["caption_"]
        return Annotation(uid, image, drawn, text, extra=extra)
    region = region_from_text(texts["wkt"], texts["kind"], texts.get("members", ""))
    if drawn is not None:
        expected = shown(region)
        if expected is None or not same_drawing(expected, drawn, tolerance=tolerance):
            region = drawn
    source = texts.get("source", "")
    annotation = Annotation(
        uid=texts["uid"] or uid,
        image=texts.get(_IMAGE, image),
        region=region,
        caption=texts.get("caption", ""),
        score=parse_score(texts.get("score", "")),
        source=source if source in SOURCES else "",
        model=texts.get("model", ""),
        extra={
            name.removeprefix(_EXTRA): text
            for name, text in texts.items()
            if name and name not in _TAKEN
        },
    )
    if caption is None or caption == shown_caption(annotation.caption):
        return annotation
    return with_human_caption(annotation, caption)


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


def with_unique_uids(
    annotations: Iterable[Annotation], places: Sequence[str] = ()
) -> list[Annotation]:
    """Return records with a uid of its own for each of an image: a copy made elsewhere gets a new.

    With the ``places`` of all records in their file, that is noted. One without a uid gets its
    number.

    >>> from napari_patchioner.regions import WholeImage
    >>> [record.uid for record in with_unique_uids([Annotation("a", "", WholeImage())] * 3)]
    ['a', 'a-2', 'a-3']
    """
    records = list(annotations)
    known = {record.uid for record in records}
    for index, record in enumerate(records):
        if not record.uid:
            records[index] = replace(record, uid=free_name(f"{index + 1}", known))
    used = {(record.image, record.uid) for record in records}
    # How far the copies of a name are counted: to count each from 2 would take for ever.
    counts: dict[tuple[str, str], int] = {}
    for index, record in enumerate(records):
        key = (record.image, record.uid)
        count = counts.get(key, 1)
        if key in counts:
            count += 1
            while (record.image, f"{record.uid}-{count}") in used:
                count += 1
            own = f"{record.uid}-{count}"
            records[index] = replace(record, uid=own)
            used.add((record.image, own))
            if places:
                before = f"{places[index]}: the uid {record.uid!r} was used before"
                note("uid", f"{before}; this region is {own!r} now")
        counts[key] = count
    return records


def free_name(name: str, known: Collection[str]) -> str:
    """Return a name, with a number behind where it is known already.

    >>> free_name("7", {"7", "7-2"})
    '7-3'
    """
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(each for each in names if each not in known)


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape in a foreign file; sets are several, member by member.

    ``uid`` is the name to give it, should it not be ours; ``region`` and ``caption`` are None where
    the file shows nothing or has no place for captions; ``texts`` what `record_texts` wrote, or
    ``{PART: uid}``, or entries of other people; ``label`` the class the file sorts it into.
    """

    image: str
    uid: str
    region: Region | None
    caption: str | None
    texts: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None


def by_image(annotations: Sequence[Annotation]) -> dict[str, list[Annotation]]:
    """Return the records of each image, in the order of their first records."""
    own: dict[str, list[Annotation]] = {}
    for annotation in annotations:
        own.setdefault(annotation.image, []).append(annotation)
    return own


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
    shapes: Sequence[Shape], show: Show, where: str = ""
) -> list[tuple[Annotation, tuple[int, ...]]]:
    """Return the records that shapes make, sets put together again, and the numbers of the shapes.

    In the order of their first shapes, every uid once per image. ``show`` says what the format
    shows for a member of a region on an image; with ``where``, the file, a broken record is left
    out where notes are taken.
    """
    members: dict[tuple[str, str], list[int]] = {}
    firsts: list[tuple[int, Shape]] = []
    known = {
        (shape.image, shape.texts.get("uid", "")) for shape in shapes if PART not in shape.texts
    }
    for number, shape in enumerate(shapes):
        key = (shape.image, shape.texts.get(PART, ""))
        if PART not in shape.texts:
            firsts.append((number, shape))
        elif key in known:
            members.setdefault(key, []).append(number)
        else:
            firsts.append((number, replace(shape, texts={})))
    records, numbers = [], []
    for number, shape in firsts:
        key = (shape.image, shape.texts.get("uid", ""))
        others = members.pop(key, []) if shape.texts else []
        with leaving_out("region") if where else nullcontext():
            try:
                records.append(_record(shape, [shapes[other] for other in others], show))
            except FormatError as error:
                uid = shape.texts.get("uid", shape.uid)
                file = f"{where}: " if where else ""
                raise FormatError(f"{file}region {uid!r}: {error}") from error
            numbers.append((number, *others))
    return list(zip(with_unique_uids(records), numbers, strict=True))


def _record(first: Shape, others: Sequence[Shape], show: Show) -> Annotation:
    """Return the record that one shape, or the shapes of a set, make."""
    union = first.texts.get("members", "").startswith("union")
    shapes = (first, *others)
    parts = [shape.region for shape in shapes if shape.region is not None]
    written = first.texts.get("caption", "")
    changed = [shape.caption for shape in shapes if shape.caption not in (None, written)]
    record = annotation_from_texts(
        first.texts,
        drawn=as_one(parts, union),
        image=first.image,
        caption=changed[0] if changed and others else first.caption,
        uid=first.uid,
        shown=lambda region: shown_as(region, lambda part: show(first.image, part), union),
    )
    return with_class(record, first.label)
