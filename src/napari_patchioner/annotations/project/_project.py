"""All that is kept of the work on one image: shapes, captions, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from napari_patchioner.annotations._annotation import Source
    from napari_patchioner.decoders import Caption

RecordKind: TypeAlias = Literal["shape", "group", "image"]


@dataclass(frozen=True, slots=True)
class ProjectImage:
    """Which image a project is about.

    Attributes
    ----------
    name : str
        What it is called: a file name, or a layer's name.
    shape : tuple of int
        Of its pixels at full resolution, colours included.
    dtype : str
        Type of its pixels.
    content : str
        Its `content_hash`; empty where it is not known.
    path : str
        Where it lay; empty where it is no file.
    extra : mapping
        Fields of a newer version, carried along.
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
        Fields of a newer version, carried along.
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
        Fields of a newer version, carried along.
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
