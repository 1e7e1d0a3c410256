"""Outcomes as plain JSON values, and back."""

from __future__ import annotations

from typing import Any

from napari_patchioner.annotations import Annotation, region_from_text, region_to_text
from napari_patchioner.annotations.wkt import members_cell

from ._job import Outcome

_TEXTS = ("uid", "image", "caption", "source", "model")


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as a JSON object.

    Raises
    ------
    FormatError
        If a region makes no sense.
    """
    return {
        "image": outcome.image,
        "status": outcome.status,
        "why": outcome.why,
        "seconds": round(outcome.seconds, 4),
        "size": [outcome.height, outcome.width],
        "regions": [_annotation_to_json(one) for one in outcome.annotations],
    }


def outcome_from_json(entry: dict[str, Any]) -> Outcome:
    """Return the outcome that `outcome_to_json` wrote."""
    return Outcome(
        entry["image"],
        entry["status"],
        tuple(map(_annotation_from_json, entry["regions"])),
        entry["why"],
        entry["seconds"],
        *entry["size"],
    )


def _annotation_to_json(annotation: Annotation) -> dict[str, Any]:
    """Return a record as a JSON object; fields that say nothing are left out."""
    known: dict[str, Any] = {
        name: text for name in _TEXTS if (text := getattr(annotation, name)) != ""
    }
    written = annotation.written
    if written is not None and written[0] is annotation.region:
        known |= {"wkt": written[1], "written": True}
    else:
        known["wkt"] = region_to_text(annotation.region)
    known["kind"] = annotation.kind
    if members := members_cell(annotation.region):
        known["members"] = members
    if annotation.score is not None:
        known["score"] = annotation.score
    if annotation.extra:
        known["extra"] = dict(annotation.extra)
    return known


def _annotation_from_json(known: dict[str, Any]) -> Annotation:
    region = region_from_text(known["wkt"], known["kind"], known.get("members", ""))
    return Annotation(
        **{name: known.get(name, "") for name in _TEXTS},
        region=region,
        score=known.get("score"),
        extra=known.get("extra", {}),
        written=(region, known["wkt"]) if known.get("written") else None,
    )
