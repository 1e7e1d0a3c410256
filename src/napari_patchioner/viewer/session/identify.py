"""Which shape is which, whatever napari did to the order of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from .seen import Seen

LEAST_OVERLAP = 0.3


def new_uid() -> str:
    """Return a name that no other shape has."""
    return uuid4().hex


def identify(
    known: Mapping[str, Seen],
    shapes: Sequence[Seen],
    rows: Sequence[str],
    *,
    taken: Collection[str] = (),
    shuffled: bool = False,
) -> list[str | None]:
    """Return the uid of each shape, None for a new one.

    Geometry is trusted before the table: napari moves rows against shapes (a triangle losing
    a vertex, ``layer.data = fewer``), and a paste repeats a uid, but no tool swaps outlines.

    Parameters
    ----------
    known : mapping of str to Seen
        The shapes of this layer as they were last seen, by uid.
    shapes : sequence of Seen
        The shapes as they are now.
    rows : sequence of str
        The uid in each row of the features table; may be longer or shorter than the shapes.
    taken : collection of str
        Uids that live elsewhere.
    shuffled : bool
        The rows are known not to follow the shapes.

    Returns
    -------
    list of str or None
        One per shape, no uid twice.
    """
    names: list[str | None] = [None] * len(shapes)
    claimed = set(taken)
    _by_geometry(names, claimed, known, shapes, rows)
    for position, name in enumerate(names):
        if name is not None:
            continue
        row = rows[position] if position < len(rows) else ""
        if shuffled and (row in known or not row):
            row = _nearest(shapes[position], known, claimed)
        if row and row not in claimed:
            names[position] = row
            claimed.add(row)
    return names


def _by_geometry(
    names: list[str | None],
    claimed: set[str],
    known: Mapping[str, Seen],
    shapes: Sequence[Seen],
    rows: Sequence[str],
) -> None:
    """Give back their uid to all shapes that have not changed, in place."""
    homes: dict[str, list[str]] = {}
    for uid, seen in known.items():
        if uid not in claimed:
            homes.setdefault(seen.fingerprint, []).append(uid)
    candidates = [homes.get(shape.fingerprint, []) for shape in shapes]
    for position, uids in enumerate(candidates):
        row = rows[position] if position < len(rows) else ""
        if row in uids:
            uids.remove(row)
            names[position] = row
            claimed.add(row)
    for position, uids in enumerate(candidates):
        if names[position] is None and uids:
            names[position] = uids.pop(0)
            claimed.add(str(names[position]))


def _nearest(shape: Seen, known: Mapping[str, Seen], claimed: Collection[str]) -> str:
    """Return the missing shape that covers most of the same place, or an empty string."""
    missing = [(shape.overlap(seen), uid) for uid, seen in known.items() if uid not in claimed]
    overlap, uid = max(missing, default=(0.0, ""))
    return uid if overlap >= LEAST_OVERLAP else ""
