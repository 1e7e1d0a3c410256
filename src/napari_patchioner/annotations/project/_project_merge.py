"""Two projects of one image made into one, uid by uid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ._project import Project, ProjectRecord

# What belongs to the text of a record, and not to the region.
_TEXT = (
    "caption",
    "score",
    "source",
    "model",
    "reviewed",
    "locked",
    "rejected",
    "wanted",
    "problem",
    "details",
    "origin",
)


@dataclass(frozen=True, eq=False, slots=True)
class Merged:
    """What came of a merge.

    Attributes
    ----------
    project : Project
        All of both.
    added : tuple of str
        Uids of the records that only the other project had.
    changed : tuple of str
        Uids of those that have its text now.
    differing : tuple of str
        Uids of those that people have written different texts for; the first project's stays.
    """

    project: Project
    added: tuple[str, ...]
    changed: tuple[str, ...]
    differing: tuple[str, ...]

    @property
    def news(self) -> int:
        """How many records the other project has brought."""
        return len(self.added) + len(self.changed)


def merge_projects(mine: Project, other: Project) -> Merged:
    """Add to a project what another one of the same image has and it has not.

    A person's text is never replaced, be it by a model's or by another person's; a model's gives
    way to a person's. What describes the very same thing under two uids (a whole plane, a group
    of the same regions, a point or painted label that both have met) is one record.

    Parameters
    ----------
    mine : Project
        The one that counts in doubt: the newer one.
    other : Project
        The other one; it is not changed.
    """
    records = {record.uid: record for record in mine.records}
    same = {_thing(record): record.uid for record in mine.records}
    uids = {record.uid: same.get(_thing(record), record.uid) for record in other.records}
    added, changed, differing = [], [], []
    for theirs in other.records:
        members = tuple(sorted(uids.get(member, member) for member in theirs.members))
        uid = same.get(("group", members), uids[theirs.uid]) if members else uids[theirs.uid]
        theirs = replace(theirs, uid=uid, members=members)
        ours = records.get(uid)
        if ours is None:
            records[uid] = theirs
            added.append(uid)
        elif _rank(theirs) > _rank(ours) and _may_take(ours, theirs):
            records[uid] = replace(ours, **{name: getattr(theirs, name) for name in _TEXT})
            changed.append(uid)
        elif _rank(theirs) == _rank(ours) == 2 and theirs.caption != ours.caption:
            differing.append(uid)
    project = replace(
        mine, records=tuple(records.values()), extra={**other.extra, **mine.extra}, written=""
    )
    return Merged(project, tuple(added), tuple(changed), tuple(differing))


def _rank(record: ProjectRecord) -> int:
    """Return how much a text weighs: 2 where a person stands for it, 1 where a model does."""
    written = bool(record.caption)
    if record.locked or record.reviewed or (written and record.source != "model"):
        return 2
    return int(written)


def _may_take(ours: ProjectRecord, theirs: ProjectRecord) -> bool:
    """Whether a text still belongs to the region; a person's stays with one that was moved."""
    if _rank(theirs) == 2:
        return True
    return not ours.rejected and _same_place(ours, theirs)


def _same_place(one: ProjectRecord, other: ProjectRecord) -> bool:
    if one.vertices is None or other.vertices is None:
        return one.vertices is other.vertices
    return one.digest == other.digest and np.array_equal(one.vertices, other.vertices)


def _thing(record: ProjectRecord) -> Hashable:
    """Return what a record is about, the same for two people; its uid for what somebody drew."""
    if record.kind == "group":
        return "group", tuple(sorted(record.members))
    if record.kind == "image":
        return "image", record.plane
    if record.shape_type in ("point", "label") and record.vertices is not None:
        return record.shape_type, record.digest or record.label, record.vertices.tobytes()
    return record.uid
