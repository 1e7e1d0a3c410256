"""Which shape is which, whatever napari did to the order of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from .record import Seen

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
    """Return the uid of each shape, None for a new one, no uid twice.

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
    shuffled : bool
        The rows are known not to follow the shapes.
    """
    row_uids = [rows[index] if index < len(rows) else "" for index in range(len(shapes))]
    names: list[str | None] = [None] * len(shapes)
    claimed = set(taken)
    # Shapes that have not changed get back their uid, before others those whose row says the same.
    unclaimed: dict[str, list[str]] = {}
    for uid, seen in known.items():
        if uid not in claimed:
            unclaimed.setdefault(seen.fingerprint, []).append(uid)
    candidates = [unclaimed.get(shape.fingerprint, []) for shape in shapes]
    for index, uids in enumerate(candidates):
        if row_uids[index] in uids:
            uids.remove(row_uids[index])
            names[index] = row_uids[index]
    for index, uids in enumerate(candidates):
        if names[index] is None and uids:
            names[index] = uids.pop(0)
    claimed |= {name for name in names if name is not None}
    for index, name in enumerate(names):
        if name is not None:
            continue
        uid = row_uids[index]
        if shuffled and (uid in known or not uid):
            uid = _nearest(shapes[index], known, claimed)
        if uid and uid not in claimed:
            names[index] = uid
            claimed.add(uid)
    return names


def _nearest(shape: Seen, known: Mapping[str, Seen], claimed: Collection[str]) -> str:
    """Return the missing shape that covers most of the same area, or an empty string."""
    missing = [(shape.overlap(seen), uid) for uid, seen in known.items() if uid not in claimed]
    overlap, uid = max(missing, default=(0.0, ""))
    return uid if overlap >= LEAST_OVERLAP else ""
