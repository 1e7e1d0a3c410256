"""What there is to say about a caption besides its text; knows no Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_patchioner.viewer.session.record import Record

CONCEPTS = 3
TELLING_WEIGHT = 0.05
LEAST_SHARE = 0.01


def verdict_line(record: Record, waiting: str = "") -> str:
    """Return who wrote a caption and how far to trust it, in a few words."""
    line = _authorship(record, waiting)
    states = ["accepted"] * record.reviewed + ["locked"] * record.locked
    if not states:
        return line
    return ", ".join([line, *states]) if line else ", ".join(states).capitalize()


def _authorship(record: Record, waiting: str) -> str:
    if record.problem and not record.caption:
        return record.problem[:1].upper() + record.problem[1:]
    if not record.caption:
        return waiting if record.owed else ""
    if record.source == "edited":
        return "Edited by you"
    if record.source != "model":
        return "Written by you"
    verdict = record.details.verdict if record.details else "sure"
    if verdict == "appearance":
        return "By the model: appearance only, no object named"
    doubt = ", not sure" if verdict == "unsure" else ""
    score = f", score {record.score:.2f}" if record.score == record.score else ""
    return f"By the model{f' {record.model}' if record.model else ''}{doubt}{score}"


def provenance(record: Record | None) -> str:
    """Return which model had a hand in a caption, and what it could not do, for a tool tip."""
    if record is None:
        return ""
    draft = {"model": "Written by", "edited": "Edited from a draft by"}.get(record.source)
    written = f"{draft} the model {record.model}." if draft and record.model else ""
    problem = getattr(record.details, "problem", None) or ""
    return "\n".join(part for part in (written, problem) if part) or "Who wrote the caption."


def concepts_line(record: Record) -> str:
    """Return the concepts a model considered, best first.

    Weights spread thinly over many concepts say nothing in per cent and are left out.
    """
    concepts = record.details.concepts[:CONCEPTS] if record.details else ()
    if not concepts:
        return ""
    telling = concepts[0][1] >= TELLING_WEIGHT
    names = [f"{name} {_share(weight)}" if telling else name for name, weight in concepts]
    return " · ".join(names)


def _share(weight: float) -> str:
    return f"{weight:.0%}" if weight >= LEAST_SHARE else f"<{LEAST_SHARE:.0%}"
