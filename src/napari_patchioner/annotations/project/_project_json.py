"""Projects as plain JSON values, and back."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from napari_patchioner.annotations._annotation import Source
from napari_patchioner.annotations._fields import Fields
from napari_patchioner.decoders import Caption

from ._project import ProjectImage, ProjectRecord, RecordKind

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERDICTS = ("sure", "unsure", "appearance")
# JSON has no words for these.
_ODD = "$float"
_PLAIN_TEXTS = ("layer", "digest", "caption", "source", "model", "problem")
_FLAGS = ("reviewed", "locked", "rejected", "wanted")
_OBJECTS = ("origin", "columns")
_DETAILS = [(one.name, one.default) for one in fields(Caption)[2:]]


def plain(value: object) -> Any:
    """Return a value as JSON can hold it; other people's objects become texts.

    >>> plain({"area": np.float32(0.5), "worst": float("-inf")})
    {'area': 0.5, 'worst': {'$float': '-inf'}}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {_ODD: repr(float(value))}
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(one) for one in value]
    text = str(value)
    return None if text in ("NaT", "<NA>") else text


def unplain(value: dict[str, Any]) -> Any:
    """Undo what `plain` did to odd numbers; for ``json.loads(object_hook=...)``."""
    odd = value.get(_ODD) if len(value) == 1 else None
    return float(odd) if odd in ("nan", "inf", "-inf") else value


def image_to_json(image: ProjectImage) -> dict[str, Any]:
    """Return the image of a project as a JSON object, without its content hash."""
    known = {
        "name": image.name,
        "shape": list(image.shape),
        "dtype": image.dtype,
        "path": image.path,
    }
    return {**plain(dict(image.extra)), **known}


def image_from_json(value: object, content: str, where: str) -> ProjectImage:
    """Return the image of a project."""
    given = Fields(value, where)
    return ProjectImage(
        given.take("name", str),
        given.items("shape", int, []),
        given.take("dtype", str, ""),
        content,
        given.take("path", str, ""),
        given.rest(),
    )


def record_to_json(record: ProjectRecord) -> dict[str, Any]:
    """Return a record as a JSON object, but for `plain`; fields that say nothing are left out."""
    known: dict[str, Any] = {"uid": record.uid, "kind": record.kind}
    known |= {name: value for name in _PLAIN_TEXTS if (value := getattr(record, name))}
    known |= {name: True for name in _FLAGS if getattr(record, name)}
    if not math.isnan(record.score):
        known["score"] = float(record.score)
    if record.vertices is not None:
        known["shape"] = record.shape_type
        known["vertices"] = record.vertices.tolist()
    if record.label is not None:
        known["label"] = record.label
    if record.members:
        known["members"] = list(record.members)
    if record.plane is not None:
        axes, index = record.plane
        known["plane"] = {"axes": list(axes), "index": list(index)}
    if record.details is not None:
        known["details"] = _details_to_json(record.details)
    known |= {name: dict(value) for name in _OBJECTS if (value := getattr(record, name))}
    return {**record.extra, **known} if record.extra else known


def record_from_json(value: object, where: str) -> ProjectRecord:
    """Return a record."""
    given = Fields(value, where)
    uid = given.take("uid", str)
    given.where = f"{where} ({uid!r})"
    kind: RecordKind = given.choice("kind", get_args(RecordKind), "shape")
    shape = kind == "shape"
    shape_type = given.take("shape", str) if shape else ""
    vertices = _vertices(given) if shape else None
    members = given.items("members", str, []) if kind == "group" else ()
    return ProjectRecord(
        uid,
        kind,
        vertices=vertices,
        shape_type=shape_type,
        label=given.take("label", int, None),
        members=members,
        plane=_plane(given) if kind == "image" else None,
        score=float(given.take("score", float, math.nan)),
        source=given.choice("source", get_args(Source), ""),
        **{name: given.take(name, str, "") for name in _PLAIN_TEXTS if name != "source"},
        **{name: given.take(name, bool, False) for name in _FLAGS},
        details=_details_from_json(given),
        **{name: given.take(name, dict, {}) for name in _OBJECTS},
        extra=given.rest(),
    )


def _vertices(given: Fields) -> Any:
    points = given.items("vertices", list)
    axes = {len(point) for point in points}
    numbers = (float, int)
    if len(axes) != 1 or min(axes) < 2 or not all(type(x) in numbers for p in points for x in p):
        raise given.error("'vertices' must be points with the same two or more coordinates each")
    return np.array(points, float)


def _plane(given: Fields) -> tuple[tuple[int, int], tuple[int, ...]]:
    plane = Fields(given.take("plane", dict), f"{given.where}: plane")
    axes, index = plane.items("axes", int), plane.items("index", int, [])
    if len(axes) != 2:
        raise plane.error("'axes' must name two axes")
    return (axes[0], axes[1]), index


def _details_to_json(details: Caption) -> dict[str, Any]:
    """Return what a model said, without what is said by default."""
    known: dict[str, Any] = {"text": details.text, "score": float(details.score)}
    for name, default in _DETAILS:
        value = getattr(details, name)
        if value != default:
            known[name] = value
    return known


def _details_from_json(given: Fields) -> Caption | None:
    value = given.take("details", dict, None)
    if value is None:
        return None
    said = Fields(value, f"{given.where}: details")
    return Caption(
        said.take("text", str),
        float(said.take("score", float)),
        float(said.take("log_probability", float, 0.0)),
        said.items("token_log_probabilities", float, []),
        said.items("alternatives", str, []),
        _weighted(said, "neighbours"),
        _weighted(said, "concepts"),
        said.choice("verdict", _VERDICTS, "sure"),
        said.take("problem", str, None),
    )


def _weighted(said: Fields, name: str) -> tuple[tuple[str, float], ...]:
    """Return pairs of a text and a number."""
    pairs = said.items(name, list, [])
    for pair in pairs:
        if [type(one) for one in pair] not in ([str, float], [str, int]):
            raise said.error(f"every item of {name!r} must be a text and a number")
    return tuple((text, float(weight)) for text, weight in pairs)


def check_references(records: Mapping[str, ProjectRecord], where: str) -> None:
    """Raise a FormatError where a group has members that are no shapes of the project."""
    for record in records.values():
        for member in record.members:
            if member not in records or records[member].kind != "shape":
                raise Fields({}, f"{where}: group {record.uid!r}").error(
                    f"its member {member!r} is no shape of this project"
                )
        if record.kind == "group" and not record.members:
            raise Fields({}, f"{where}: group {record.uid!r}").error("it has no members")
