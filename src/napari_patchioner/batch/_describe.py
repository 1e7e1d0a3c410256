"""Place and size behind captions, and a paragraph about each image, once it is captioned."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_patchioner.annotations import MACHINES, Annotation, other_axes
from napari_patchioner.annotations.paragraph import (
    FROM_REGIONS,
    Link,
    Paragraph,
    links_in,
    paragraph_of,
)
from napari_patchioner.annotations.place import (
    WITH_PLACE,
    PixelSides,
    Places,
    Thing,
    is_doubtful,
    with_place,
)
from napari_patchioner.annotations.project.records import REWORDED
from napari_patchioner.annotations.record import FAMILIARITY
from napari_patchioner.annotations.texts import free_name
from napari_patchioner.images import pixel_sides
from napari_patchioner.regions import WholeImage

PARAGRAPH = "paragraph"
"""Extra that holds a paragraph where a person has said something else of the whole image."""

_WHOLE = "whole"
_OF_A_MODEL = ("problem", "model_caption", FAMILIARITY)
_NAMES = ("place", "size")


def sides_of(path: Path, pixel_size: str | None) -> PixelSides | None:
    """Return height and width of a pixel: as somebody says, else as the file does; None if neither.

    >>> sides_of(Path("a.png"), "0.5 um")
    ((0.5, 'µm'), (0.5, 'µm'))
    """
    if pixel_size is not None:
        # It loads torch, as whatever captioned the image has done already.
        from napari_patchioner.decoders.options import as_length

        side = as_length(pixel_size)
        return side, side
    return pixel_sides(path)


def described(
    annotations: Sequence[Annotation],
    kept: Sequence[Annotation],
    *,
    pixel: PixelSides | None,
    shape: tuple[int, int] | None,
    place: bool,
    paragraph: bool,
) -> tuple[tuple[Annotation, ...], tuple[str, ...]]:
    """Return the regions of an image with their place and size, and what they say together.

    Those that have a caption and lie outside the image, so that nothing is said of them, are named
    as well, by their uids.

    Parameters
    ----------
    annotations : sequence of Annotation
        All regions of one image with their captions.
    kept : sequence of Annotation
        Those of them whose captions stay as they are: place and size go beside them alone.
    pixel : pair of (float, str) or None
        Height and width of a pixel, each with its unit.
    shape : tuple of int or None
        Height and width of the image in pixels.
    place : bool
        Whether place and size are said behind captions, and stand in ``"place"`` and ``"size"``.
    paragraph : bool
        Whether a paragraph about each plane is written, as the caption of the whole image.
    """
    rows = list(annotations)
    things = [
        Thing(
            str(row),
            item.region,
            item.caption,
            item.extra.get("plane", ""),
            item.source in MACHINES and is_doubtful(item.caption),
        )
        for row, item in enumerate(rows)
        # How large pixels are in another view of a stack is not known.
        if other_axes(item) is None
    ]
    places = Places(things, pixel=pixel, shape=shape)
    beyond = [rows[int(things[index].uid)] for index in sorted(places.layout.outside)]
    outside = tuple(item.uid for item in beyond if item.caption)
    same = set(map(id, kept))
    if place:
        for thing in things:
            row = int(thing.uid)
            rows[row] = _placed(rows[row], places, thing.uid, stays=id(rows[row]) in same)
    if paragraph:
        planes = defaultdict(list)
        for thing in things:
            planes[thing.plane].append(replace(thing, caption=rows[int(thing.uid)].caption))
        for plane, members in planes.items():
            people = {thing.uid for thing in members if rows[int(thing.uid)].is_human}
            composed = paragraph_of(members, people, pixel=pixel, shape=shape)
            if composed.text:
                _say(rows, str(plane), composed)
    return tuple(rows), outside


def _placed(annotation: Annotation, places: Places, uid: str, *, stays: bool) -> Annotation:
    """Return a region with its place and size."""
    place = places.place(uid)
    words = dict(zip(_NAMES, (place.where, place.size), strict=True))
    extra = {name: text for name, text in annotation.extra.items() if name not in _NAMES}
    extra |= {name: text for name, text in words.items() if text}
    text = annotation.caption
    if not stays and annotation.source in MACHINES:
        text = with_place(text, place)
    if text == annotation.caption:
        return replace(annotation, extra=extra)
    made = {"by": WITH_PLACE, "text": text, "before": annotation.caption}
    extra["origin"] = _with_origin(annotation, made)
    return replace(annotation, caption=text, extra=extra)


def _say(rows: list[Annotation], plane: str, composed: Paragraph) -> None:
    """Make a paragraph the caption of the whole image, unless a person has said something of it."""
    links = [
        Link(link.start, link.stop, tuple(rows[int(row)].uid for row in link.uids))
        for link in composed.links
    ]
    made = {**Paragraph(composed.text, tuple(links)).to_json(), "by": FROM_REGIONS}
    made["text"] = composed.text
    wholes = (
        row
        for row, item in enumerate(rows)
        if item.kind == "image" and item.extra.get("plane", "") == plane
    )
    row = next(wholes, -1)
    if row < 0:
        uid = free_name(_WHOLE, {item.uid for item in rows})
        extra = {"plane": plane} if plane else {}
        rows.append(Annotation(uid, rows[0].image, WholeImage(), source="model", extra=extra))
    whole = rows[row]
    # What a person accepted or locked is theirs as well.
    decided = (whole.extra.get(name, "") for name in ("reviewed", "locked"))
    if whole.is_human or any(text.lower() not in ("", "false", "0", "no") for text in decided):
        rows[row] = replace(whole, extra={**whole.extra, PARAGRAPH: composed.text})
        return
    # Whatever a model made of its pixels says nothing of these words.
    extra = {name: text for name, text in whole.extra.items() if name not in _OF_A_MODEL}
    extra["origin"] = json.dumps({REWORDED: made}, sort_keys=True, ensure_ascii=False)
    whole = replace(whole, caption=composed.text, score=None, source="model", model="")
    rows[row] = replace(whole, extra=extra)


def is_composed(annotation: Annotation) -> bool:
    """Whether the caption of a whole image is a paragraph that was put together from regions."""
    return annotation.kind == "image" and bool(links_in(annotation))


def _with_origin(annotation: Annotation, made: dict[str, Any]) -> str:
    """Return what a caption was made from, with how it was put in other words."""
    try:
        origin = json.loads(annotation.extra.get("origin", ""))
    except (ValueError, RecursionError):
        origin = None
    known = origin if isinstance(origin, dict) else {}
    return json.dumps({**known, "reworded": made}, sort_keys=True, ensure_ascii=False)
