"""All that is kept of the work on one image: shapes, captions, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import numpy.typing as npt

    from napari_patchioner.annotations.record import Source
    from napari_patchioner.decoders import Caption

RecordKind: TypeAlias = Literal["shape", "group", "image"]


@dataclass(frozen=True, slots=True)
class ProjectImage:
    """Which image a project is about.

    Its name (of a file or a layer), ``shape`` and type of its pixels at full resolution, colours
    included, their `content_hash` and its path, empty where not known, and fields of a newer
    version.
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    content: str = ""
    path: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class ProjectRecord:
    """One caption and what it describes.

    Attributes
    ----------
    uid : str
        Its name for life, unique in the project.
    kind : {"shape", "group", "image"}
        What the caption describes: one shape, several together, or a whole plane.
    layer : str
        Key of the layer a shape lies on, ``"regions"`` or ``"traces"``.
    shape_type : str
        What napari calls the shape, ``"rectangle"`` for one; empty for groups and planes.
    vertices : ndarray of float, shape (n, ndim), optional
        Of the shape, in image pixels with pixel centres at integers, all axes of the image.
    label : int, optional
        Number a painted label has in its layer.
    digest : str
        Of the pixels of a painted label and their place.
    members : tuple of str
        Uids of the shapes of a group.
    plane : (axes, index), optional
        The axes shown as rows and columns, and the position along all others.
    caption, score, source, model
        The text, the trust in it (NaN where there is none), who wrote it, and which model wrote
        it or its draft.
    reviewed, locked, rejected : bool
        A person accepted the text; no model may touch it, even where it is empty; a person
        refused it.
    wanted : bool
        Whether a model was still to caption it.
    problem : str
        Why there is no caption.
    details : Caption, optional
        What else the model said.
    origin : mapping
        What the model made it from: grid key, and how the image was displayed.
    columns : mapping
        Feature columns of other people.
    extra : mapping
        Fields of a newer version, written again.
    """

    uid: str
    kind: RecordKind = "shape"
    layer: str = ""
    shape_type: str = ""
    vertices: npt.NDArray[np.float64] | None = None
    label: int | None = None
    digest: str = ""
    members: tuple[str, ...] = ()
    plane: tuple[tuple[int, int], tuple[int, ...]] | None = None
    caption: str = ""
    score: float = float("nan")
    source: Source = ""
    model: str = ""
    reviewed: bool = False
    locked: bool = False
    rejected: bool = False
    wanted: bool = False
    problem: str = ""
    details: Caption | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def protected(self) -> bool:
        """Whether no model may touch the text, see `is_protected`."""
        return is_protected(self.caption, self.source, self.reviewed or self.locked)


def is_protected(caption: str, source: str, accepted: bool) -> bool:
    """Whether no model may touch a text: a person's, or one that is accepted or locked."""
    return accepted or (bool(caption) and source != "model")


@dataclass(frozen=True, eq=False, slots=True)
class Project:
    """The work on one image.

    Attributes
    ----------
    image : ProjectImage
        Which image.
    records : tuple of ProjectRecord
        Every caption; shapes of one layer in the order they are drawn in.
    options : mapping
        How captions were asked for, and how the image was shown.
    provenance : mapping
        What made the captions: version of this package, models.
    written : str
        When it was saved, ISO 8601 in UTC; filled in by the writer where it is empty.
    extra : mapping
        Fields of a newer version, written again.
    warning : str
        What the reader had to do to read it, in one sentence; not saved.
    """

    image: ProjectImage
    records: tuple[ProjectRecord, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    written: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    warning: str = ""


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
    """What came of a merge: all of both, and the uids of records the other project changed.

    ``added`` only the other had, ``changed`` have its text now; for ``differing`` people have
    written different texts, and the first project's stays.
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
    of the same regions, a point or painted label that both have met) is one record. In doubt the
    first one counts, the newer; the other is not changed.
    """
    records = {record.uid: record for record in mine.records}
    same = {_subject(record): record.uid for record in mine.records}
    uids = {record.uid: same.get(_subject(record), record.uid) for record in other.records}
    added, changed, differing = [], [], []
    for theirs in other.records:
        members = tuple(sorted(uids.get(member, member) for member in theirs.members))
        uid = same.get(("group", members), uids[theirs.uid]) if members else uids[theirs.uid]
        theirs = replace(theirs, uid=uid, members=members)
        ours = records.get(uid)
        if ours is None:
            records[uid] = theirs
            added.append(uid)
        elif not ours.protected and (
            # A person's text stays with a region that was moved, a model's does not.
            theirs.protected
            or (
                theirs.caption
                and not ours.caption
                and not ours.rejected
                and _same_place(ours, theirs)
            )
        ):
            records[uid] = replace(ours, **{name: getattr(theirs, name) for name in _TEXT})
            changed.append(uid)
        elif theirs.protected and ours.protected and theirs.caption != ours.caption:
            differing.append(uid)
    project = replace(
        mine, records=tuple(records.values()), extra={**other.extra, **mine.extra}, written=""
    )
    return Merged(project, tuple(added), tuple(changed), tuple(differing))


def _same_place(record: ProjectRecord, other: ProjectRecord) -> bool:
    """Whether two shapes lie where each other does; true of two that are no shapes."""
    if record.vertices is None or other.vertices is None:
        return record.vertices is other.vertices
    return record.digest == other.digest and np.array_equal(record.vertices, other.vertices)


def _subject(record: ProjectRecord) -> Hashable:
    """Return what a record is about, the same for two people; its uid for what somebody drew."""
    if record.kind == "group":
        return "group", tuple(sorted(record.members))
    if record.kind == "image":
        return "image", record.plane
    if record.shape_type in ("point", "label") and record.vertices is not None:
        return record.shape_type, record.digest or record.label, record.vertices.tobytes()
    return record.uid
