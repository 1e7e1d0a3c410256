"""ImageJ's binary format for one region of interest: what its bytes mean, nothing about regions.

A head of 64 bytes, the coordinates, a second head of 64 bytes, the name and the properties. All
numbers are big-endian. Whole coordinates are kept as 16 bits relative to a corner; the exact ones
follow as 32-bit floats.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_patchioner.annotations.notes import naming
from napari_patchioner.annotations.xy import FloatArray
from napari_patchioner.errors import FormatError

POLYGON, RECTANGLE, OVAL, LINE, FREELINE, POLYLINE = range(6)
NOTHING, FREEHAND, TRACED, ANGLE, POINT = range(6, 11)
ELLIPSE, TURNED_RECTANGLE = 3, 5
"""Subtypes of a freehand region."""

MOST_POINTS = 65535

# Subtypes of a rectangle with text or a picture in it, and of a line.
_WITH_TEXT, _ARROW, _PICTURE = 1, 2, 4
# Kinds that are a list of points.
_LISTS = (POLYGON, FREELINE, POLYLINE, FREEHAND, TRACED, ANGLE, POINT)
# Of the options those that are about how a region is shown, not about its points.
_SHOWN, _SPLINE = 0b11111001111000, 1
_MAGIC, _VERSION, _VERSION_OF_LARGE_GROUPS = b"Iout", 228, 229


def _layout(fields: str) -> np.dtype[Any]:
    """Return the layout of a head from the names and the types of its fields in turn."""
    words = fields.split()
    return np.dtype(list(zip(words[::2], words[1::2], strict=True)))


# Corners are top, left, bottom, right; the path is counted in numbers; second is where the second
# head stands, as ..._at are where other things do.
_HEAD = _layout(
    "magic S4 version >u2 kind u1 _ u1 corners (4,)>i2 count >u2 ends (4,)>f4 whole_width >i2 "
    "path >i4 stroke >u4 fill >u4 subtype >u2 options >u2 ratio >f4 place >i4 second >i4"
)
_SECOND = _layout(
    "_ V4 channel >i4 depth >i4 time >i4 name_at >i4 name_length >i4 labels V6 small_group u1 "
    "opacity u1 picture >i4 width >f4 properties_at >i4 properties_length >i4 counters_at >i4 "
    "group >u2 rest V10"
)
# What else a region has: texts, which the second head places, and looks.
_TEXTS = ("name", "properties")
_LOOKS = ("channel", "depth", "time", "place", "group", "stroke", "fill", "width")
# Bytes of a second head that are always there.
_FEWEST = 48
_SUBPIXEL, _SUBPIXEL_CORNERS_FROM = 128, 223
_MOVE, _DRAW, _QUADRATIC, _CUBIC, _CLOSE = range(5)
_NUMBERS = {_MOVE: 2, _DRAW: 2, _QUADRATIC: 4, _CUBIC: 6, _CLOSE: 0}
# Where a curve is sampled, as parts of its way.
_CURVE_STEPS = np.linspace(0, 1, 13)[1:, None]
# Pixels by which two numbers differ that are one.
_UNSEEN = 1e-5
# ImageJ takes whole coordinates below this for such above 32,767.
_LOWEST = -5000
_CUT_OFF = "the file is cut off or damaged"


@dataclass(frozen=True, slots=True)
class Roi:
    """One region of interest.

    Its points, shape (n, 2), are ``x y`` as ImageJ counts: of rectangles and ovals the two outer
    corners, of `ELLIPSE` the ends of one axis, of `TURNED_RECTANGLE` the middles of two sides
    (these two are subtypes of `FREEHAND`). In place of points a composite region has rings; so
    has an ellipse its outline, which ImageJ wants to be written beside its axis. The ratio is the
    other axis of an ellipse over the first, or the width of a turned rectangle. Properties are one
    ``key: value`` a line. Positions in the stack count from 1, ``place`` slices alone; ``text``
    stands in a rectangle and is read, not written; colours are ``alpha red green blue``, a byte
    each. 0 is none of each, or the usual width of lines.
    """

    kind: int
    points: FloatArray
    rings: tuple[FloatArray, ...] = ()
    subtype: int = 0
    ratio: float = 0.0
    name: str = ""
    properties: str = ""
    channel: int = 0
    depth: int = 0
    time: int = 0
    place: int = 0
    text: str = ""
    group: int = 0
    stroke: int = 0
    fill: int = 0
    width: float = 0.0


def encode_roi(roi: Roi) -> bytes:
    """Return a region as the bytes of a ``.roi`` file."""
    ends = np.concatenate(roi.rings) if roi.rings else roi.points
    low, high = np.floor(ends.min(axis=0)), np.ceil(ends.max(axis=0))
    listed = roi.rings[0] if roi.subtype else roi.points
    many = roi.kind in _LISTS and (roi.subtype or not roi.rings)
    if many and len(listed) > MOST_POINTS:
        raise FormatError(f"ImageJ holds at most {MOST_POINTS} points, not {len(listed)}")
    # Outlines as a path: a step and its x y, over and over.
    path: list[float] = []
    for ring in () if roi.subtype else roi.rings:
        for place, (x, y) in enumerate(ring.tolist()):
            path += [_DRAW if place else _MOVE, x, y]
        path.append(_CLOSE)
    body = np.array(path, ">f4").tobytes()
    if many:  # whole numbers from a corner, then exact ones
        whole = np.clip(np.rint(listed - low), 0, 65535).astype(">u2")
        body = whole.T.tobytes() + listed.T.astype(">f4").tobytes()
    head = np.zeros((), _HEAD)
    head["magic"], head["version"], head["kind"] = _MAGIC, _VERSION, roi.kind
    # 16 bits each, at the border where they do not fit.
    head["corners"] = np.clip([*low[::-1], *high[::-1]], _LOWEST, 60535).astype(int)
    head["count"], head["path"] = len(listed) if many else 0, len(path)
    head["options"], head["second"] = 0 if path else _SUBPIXEL, 64 + len(body)
    if roi.subtype:
        head["ends"], head["subtype"], head["ratio"] = roi.points.ravel(), roi.subtype, roi.ratio
    elif not (many or roi.rings):
        head["ends"] = [*roi.points[0], *(roi.points[1] - roi.points[0])]
    bare = head.tobytes() + body + bytes(_SECOND.itemsize)
    return with_texts(with_looks(bare, roi, _LOOKS), roi.name, roi.properties)


def _heads(data: bytes | bytearray) -> tuple[Any, Any]:
    """Return both heads, through which a bytearray can be changed; zeros for a second one."""
    head = np.frombuffer(data, _HEAD, 1)[0]
    at = int(head["second"])
    if at <= 0:
        return head, np.zeros(1, _SECOND)[0]
    if at + _FEWEST > len(data):
        raise FormatError(_CUT_OFF)
    whole = data if at + _SECOND.itemsize <= len(data) else data.ljust(at + _SECOND.itemsize, b"\0")
    return head, np.frombuffer(whole, _SECOND, 1, at)[0]


def with_texts(data: bytes, name: str, properties: str) -> bytes:
    """Return the bytes of a ``.roi`` file with another name and other properties in them."""
    made = bytearray(data)
    head, second = _heads(made)
    if head["second"] <= 0:
        head["second"] = len(data)
    at = int(head["second"])
    behind = at + _SECOND.itemsize
    rest = bytearray(data[behind:])
    listed = [(int(second[f"{text}_at"]), int(second[f"{text}_length"])) for text in _TEXTS]
    spans = [(start, start + 2 * length) for start, length in listed if start > 0 and length > 0]
    spans.sort(reverse=True)
    counters = moved = int(second["counters_at"])
    overlap = any(end > start for (start, _), (_, end) in itertools.pairwise(spans))
    inside = any(start < behind or start < counters < end for start, end in spans)
    # Texts that lie in another thing stay there; nothing names them any more.
    for start, end in spans if not (overlap or inside) else ():
        del rest[start - behind : end - behind]
        moved -= (end - start) if counters >= end else 0
    new = b""
    for field, text in zip(_TEXTS, (name, properties), strict=True):
        second[f"{field}_at"] = behind + len(new) if text else 0
        written = text.encode("utf-16-be", "surrogatepass")
        second[f"{field}_length"] = len(written) // 2
        new += written
    if counters >= behind:
        second["counters_at"] = moved + len(new)
    return b"".join((made[:at], second.tobytes(), new, rest))


def with_looks(data: bytes, roi: Roi, names: Collection[str]) -> bytes:
    """Return a ``.roi`` file, as `with_texts` returns it, with some looks of another region."""
    made = bytearray(data)
    head, second = _heads(made)
    for part in (head, second):
        for name in set(names).intersection(part.dtype.names):
            part[name] = getattr(roi, name)
    if "width" in names:
        head["whole_width"] = round(roi.width) & 0x7FFF
    if "group" in names and roi.group > 255:
        second["small_group"] = 0
        head["version"] = max(int(head["version"]), _VERSION_OF_LARGE_GROUPS)
    elif "group" in names:
        second["small_group"], second["group"] = roi.group, 0
    return bytes(made)


def like(data: bytes, old: bytes) -> bytes:
    """Return a ``.roi`` file that `encode_roi` made with the labels and the opacity of another."""
    made = bytearray(data)
    (head, second), (head_then, second_then) = _heads(made), _heads(old)
    head["options"] = head["options"] & (0xFFFF - _SHOWN) | head_then["options"] & _SHOWN
    for name in ("labels", "opacity"):
        second[name] = second_then[name]
    return bytes(made)


def own_looks(data: bytes) -> list[str]:
    """Return in words what a ``.roi`` file has that `encode_roi` cannot write."""
    head, second = _heads(data)
    kind, subtype = head["kind"], head["subtype"]
    results = {
        "text": kind == RECTANGLE and subtype == _WITH_TEXT,
        "picture": kind == RECTANGLE and subtype == _PICTURE,
        "arrow head": kind == LINE and subtype == _ARROW,
        "rounded corners": kind == RECTANGLE and data[54:56] > b"\0\0",
        "spline": bool(head["options"] & _SPLINE),
        "counters": second["counters_at"] > 0,
    }
    return [name for name, is_there in results.items() if is_there]


def is_alike(data: bytes, other: bytes) -> bool:
    """Return whether two files of `encode_roi` say the same, but for rounding that nobody sees."""
    if data == other:
        return True
    (head, _), (head_then, _) = _heads(data), _heads(other)
    names = set(_HEAD.names or ()) - {"corners", "ends", "ratio"}
    at = int(head["second"])
    if len(data) != len(other) or any(head[name] != head_then[name] for name in names):
        return False
    if at <= 0 or data[at:] != other[at:]:
        return False
    first, second = decode_roi(data), decode_roi(other)
    pairs = [(first.points, second.points), *zip(first.rings, second.rings, strict=False)]
    return (
        len(first.rings) == len(second.rings)
        and abs(first.ratio - second.ratio) < _UNSEEN
        and all(a.shape == b.shape and np.allclose(a, b, 1e-6, _UNSEEN) for a, b in pairs)
    )


@np.errstate(invalid="ignore")  # a NaN that signals
@naming(why=_CUT_OFF)
def decode_roi(data: bytes) -> Roi:
    """Return the region in the bytes of a ``.roi`` file; undoes `encode_roi`."""
    if data[:4] != _MAGIC:
        raise FormatError("is no region of ImageJ; it does not begin with 'Iout'")
    head, second = _heads(data)
    kind, subtype, count = (int(head[name]) for name in ("kind", "subtype", "count"))
    width, group = float(second["width"]), int(second["small_group"])
    if not group and head["version"] >= _VERSION_OF_LARGE_GROUPS:
        group = int(second["group"])
    about: dict[str, Any] = {name: int(second[name]) for name in ("channel", "depth", "time")}
    about |= {name: int(head[name]) for name in ("place", "stroke", "fill")}
    for name in _TEXTS:
        about[name] = _text(data, int(second[f"{name}_at"]), int(second[f"{name}_length"]))
    roi = Roi(
        kind,
        np.zeros((0, 2)),
        **about,
        group=group,
        width=width if np.isfinite(width) and width > 0 else max(float(head["whole_width"]), 0.0),
    )
    if head["path"] > 0:
        numbers = np.frombuffer(data, ">f4", int(head["path"]), 64).astype(float)
        if not np.isfinite(numbers).all():
            raise FormatError("a coordinate is not a finite number")
        return replace(roi, rings=_rings(numbers.tolist()))
    # The whole pixels around it: lowest and highest ``x y``.
    box = head["corners"].astype(float)
    box[box < _LOWEST] += 65536
    box = box.reshape(2, 2)[:, ::-1]
    ends, exact = head["ends"].astype(float).reshape(2, 2), bool(head["options"] & _SUBPIXEL)
    if kind in (RECTANGLE, OVAL):
        if exact and head["version"] >= _SUBPIXEL_CORNERS_FROM:
            box = np.cumsum(ends, axis=0)  # a corner, then width and height
        text = ""
        if kind == RECTANGLE and subtype == _WITH_TEXT:  # behind the name of its font
            font, length = struct.unpack_from(">2i", data, 72)
            text = _text(data, 80 + 2 * max(font, 0), length).strip()
        return replace(roi, points=box, text=text)
    if kind == LINE:
        return replace(roi, points=ends)
    if kind == FREEHAND and subtype in (ELLIPSE, TURNED_RECTANGLE):
        return replace(roi, points=ends, subtype=subtype, ratio=float(head["ratio"]))
    count = count or int.from_bytes(data[18:22], signed=True)
    if kind == NOTHING or count < 1:
        return roi
    if exact:
        listed = np.frombuffer(data, ">f4", 2 * count, 64 + 4 * count).astype(float)
        return replace(roi, points=np.ascontiguousarray(listed.reshape(2, -1).T))
    whole = np.frombuffer(data, ">u2", 2 * count, 64).reshape(2, -1).T.astype(float)
    return replace(roi, points=whole + box[0])


def _rings(numbers: list[float]) -> tuple[FloatArray, ...]:
    """Return the outlines of a path, curves as short straight lines."""
    rings: list[list[list[float]]] = []
    at = 0
    while at < len(numbers):
        step = int(numbers[at])
        end = at + 1 + _NUMBERS.get(step, len(numbers))
        if end > len(numbers) or (step != _MOVE and not rings):
            raise FormatError(_CUT_OFF)
        points = [numbers[place : place + 2] for place in range(at + 1, end, 2)]
        if step == _MOVE:
            rings.append([])
        if step in (_QUADRATIC, _CUBIC):  # along a Bezier curve, its beginning left out
            curve = [np.array(point) + 0 * _CURVE_STEPS for point in (*rings[-1][-1:], *points)]
            while len(curve) > 1:
                pairs = itertools.pairwise(curve)
                curve = [item + (other - item) * _CURVE_STEPS for item, other in pairs]
            points = curve[0].tolist()
        rings[-1] += points
        at = end
    return tuple(np.array(ring, float) for ring in rings if len(ring) > 2)


def _text(data: bytes, at: int, length: int) -> str:
    if at <= 0 or length <= 0:
        return ""
    if at + 2 * length > len(data):
        raise FormatError(_CUT_OFF)
    return data[at : at + 2 * length].decode("utf-16-be", "surrogatepass")
