"""What a foreign format carries beside its own fields, so that nothing is lost on the way."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import same_drawing

from ._annotation import KINDS, Annotation
from ._captioned import with_human_caption
from ._region_text import region_from_text, region_to_text
from ._wkt import members_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from napari_patchioner.regions import Region

    from ._annotation import Source

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


def carried(annotation: Annotation) -> dict[str, str]:
    """Return a record as plain texts, for a format's free places; `annotation_from` reads them.

    Parameters
    ----------
    annotation : Annotation
        The record; its image is not among the texts, since every format names that itself.

    Returns
    -------
    dict of str to str
        ``uid, kind, wkt`` (the exact geometry), ``members`` (of sets), ``caption, score, source,
        model`` where there are any, and every extra under its own name, or, where that is one of
        these, under one that `annotation_from` knows.

    Raises
    ------
    FormatError
        If the region makes no sense, or an extra has no name.

    >>> from napari_patchioner.regions import Point
    >>> carried(Annotation("a", "cat.png", Point(1, 2), "an ear", extra={"plane": "3"}))
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
    """Return the name of an extra as one that no format uses; `annotation_from` undoes it."""
    escaped = name in _TAKEN or name in _FORMATS_OWN or name.startswith(_EXTRA)
    return f"{_EXTRA}{name}" if escaped else name


def carried_with_image(annotation: Annotation, name: str) -> dict[str, str]:
    """Return a record as `carried` does, and its image where the file calls that another name."""
    other = {} if annotation.image == name else {_IMAGE: annotation.image}
    return {**carried(annotation), **other}


def _as_it_is(region: Region) -> Region:
    return region


def _word_for_word(caption: str) -> str:
    return caption


def annotation_from(
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
        score=score_of(carried.get("score", "")),
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


def score_of(text: str) -> float | None:
    """Return the finite number in a text, or None.

    >>> score_of("0.25"), score_of("high")
    (0.25, None)
    """
    try:
        score = float(text)
    except ValueError:
        return None
    return score if math.isfinite(score) else None


def unique(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Return records with a uid of its own for each of an image: a copy made elsewhere gets a new.

    >>> from napari_patchioner.regions import WholeImage
    >>> [one.uid for one in unique([Annotation("a", "", WholeImage())] * 3)]
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
