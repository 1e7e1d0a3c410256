"""Records that a format shows as several shapes: sets, member by member."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Region, RegionSet

from ._carried import annotation_from, unique
from ._notes import leaving_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ._annotation import Annotation

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
    records = unique(one for one, _ in found)
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
    record = annotation_from(
        first.texts,
        drawn=as_one(parts, union),
        image=first.image,
        caption=changed[0] if changed and others else first.caption,
        uid=first.uid,
        shown=lambda region: shown_as(region, lambda part: show(first.image, part), union),
        told=told,
    )
    return with_class(record, first.label)
