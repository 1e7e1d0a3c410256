"""ImageJ's binary format for one region of interest: what its bytes mean, nothing about regions.

A head of 64 bytes, the coordinates, a second head of 64 bytes, the name and the properties. All
numbers are big-endian. Whole coordinates are kept as 16 bits relative to a corner; the exact ones
follow as 32-bit floats.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Collection

FloatArray: TypeAlias = npt.NDArray[np.float64]

POLYGON, RECTANGLE, OVAL, LINE, FREELINE, POLYLINE = range(6)
NOTHING, FREEHAND, TRACED, ANGLE, POINT = range(6, 11)
ELLIPSE, TURNED_RECTANGLE = 3, 5
"""Subtypes of a freehand region."""

_TEXT, _ARROW, _IMAGE = 1, 2, 4
"""Subtypes of a rectangle with text or a picture in it, and of a line."""

_LISTS = (POLYGON, FREELINE, POLYLINE, FREEHAND, TRACED, ANGLE, POINT)
"""Kinds that are a list of points."""

# Of the options those that are about how a region is shown, not about its points.
_SHOWN, _SPLINE = 0b11111001111000, 1

_MAGIC, _VERSION, _VERSION_OF_LARGE_GROUPS = b"Iout", 228, 229
_HEAD = ">4sHBx4HH16shiIIHH4sii"
_SECOND_HEAD = ">4x5i6xB5xf2i4xH10x"
_SECOND_SIZE = 64
# Where the second head says where name, properties and counters are, and the numbers of looks.
_NAME_AT, _PROPERTIES_AT, _COUNTERS_AT = 16, 40, 48
_GROUP_AT, _LARGE_GROUP_AT, _WIDTH_AT = 30, 52, 36
_SUBPIXEL, _SUBPIXEL_CORNERS_FROM = 128, 223
_MOVE, _DRAW, _QUADRATIC, _CUBIC, _CLOSE = range(5)
_NUMBERS = {_MOVE: 2, _DRAW: 2, _QUADRATIC: 4, _CUBIC: 6, _CLOSE: 0}
_CURVE_STEPS = np.linspace(0, 1, 13)[1:, None]
"""Where a curve is sampled, as parts of its way."""

_MOST_POINTS = 65535
# Pixels by which two numbers differ that are one.
_UNSEEN = 1e-5
# ImageJ takes whole coordinates below this for such above 32,767.
_LOWEST = -5000


@dataclass(frozen=True, slots=True)
class Roi:
    """One region of interest.

    Attributes
    ----------
    kind : int
        What it is: `POLYGON`, `RECTANGLE`, ...
    points : ndarray of float, shape (n, 2)
        ``x y`` as ImageJ counts. Of rectangles and ovals the two outer corners; of `ELLIPSE` the
        ends of one axis, of `TURNED_RECTANGLE` the middles of two sides.
    rings : tuple of ndarray
        The outlines of a composite region, in place of points; the outline of an ellipse, which
        ImageJ wants to be written beside its axis.
    subtype : int
        `ELLIPSE` or `TURNED_RECTANGLE`, for `FREEHAND`.
    ratio : float
        The other axis of an ellipse over the first; the width of a turned rectangle.
    name, properties : str
        What ImageJ calls it; one ``key: value`` per line.
    channel, depth, time, place : int
        Position in the stack from 1; 0 is none. `place` counts slices alone.
    text : str
        What stands in a rectangle with text; it is read, not written.
    group : int
        The number of its group; 0 is none.
    stroke, fill : int
        Colours as ``alpha red green blue``, a byte each; 0 is none.
    width : float
        Of its lines; 0 is the usual one.
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
    if many and len(listed) > _MOST_POINTS:
        raise FormatError(f"ImageJ holds at most {_MOST_POINTS} points, not {len(listed)}")
    body, special, ratio = b"", b"\0" * 16, b"\0\0\0\0"
    path = _path(() if roi.subtype else roi.rings)
    if many:  # whole numbers from a corner, then exact ones
        whole = np.clip(np.rint(listed - low), 0, 65535).astype(">u2")
        body = whole.T.tobytes() + listed.T.astype(">f4").tobytes()
    elif not roi.rings:
        special = struct.pack(">4f", *roi.points[0], *(roi.points[1] - roi.points[0]))
    if roi.subtype:
        special, ratio = struct.pack(">4f", *roi.points.ravel()), struct.pack(">f", roi.ratio)
    exact = 0 if len(path) else _SUBPIXEL
    body += path.astype(">f4").tobytes()
    # 16 bits each, at the border where they do not fit.
    corners = np.clip([*low[::-1], *high[::-1]], _LOWEST, 60535).astype(int) & 0xFFFF
    version = _VERSION if roi.group < 256 else _VERSION_OF_LARGE_GROUPS
    head = struct.pack(
        _HEAD,
        *(_MAGIC, version, roi.kind, *corners.tolist()),
        *(len(listed) if many else 0, special, round(roi.width) & 0x7FFF, len(path)),
        *(roi.stroke, roi.fill, roi.subtype, exact, ratio, roi.place, 64 + len(body)),
    )
    return head + body + _second_head(roi, 128 + len(body))


def _path(rings: tuple[FloatArray, ...]) -> npt.NDArray[np.float64]:
    """Return outlines as a path: a step and its ``x y``, over and over."""
    numbers: list[float] = []
    for ring in rings:
        for place, (x, y) in enumerate(ring.tolist()):
            numbers += [_DRAW if place else _MOVE, x, y]
        numbers.append(_CLOSE)
    return np.array(numbers, float)


def _second_head(roi: Roi, end: int) -> bytes:
    """Return the second head with what follows it, the name and the properties."""
    name = roi.name.encode("utf-16-be", "surrogatepass")
    properties = roi.properties.encode("utf-16-be", "surrogatepass")
    places = (end, len(name) // 2) if name else (0, 0)
    more = (end + len(name), len(properties) // 2) if properties else (0, 0)
    small, large = (roi.group, 0) if roi.group < 256 else (0, roi.group)
    about = (roi.channel, roi.depth, roi.time, *places, small, roi.width, *more, large)
    return struct.pack(_SECOND_HEAD, *about) + name + properties


def with_texts(data: bytes, name: str, properties: str) -> bytes:
    """Return the bytes of a ``.roi`` file with another name and other properties in them."""
    made = bytearray(data)
    at = _int(data, 60)
    if at <= 0:
        at = len(made)
        struct.pack_into(">i", made, 60, at)
    made += bytes(max(0, at + _SECOND_SIZE - len(made)))
    behind = at + _SECOND_SIZE
    spans = []
    for place in (_NAME_AT, _PROPERTIES_AT):
        start, length = struct.unpack_from(">2i", made, at + place)
        spans += [(start, start + 2 * length)] if start > 0 and length > 0 else []
    counters = _int(made, at + _COUNTERS_AT)
    spans.sort(reverse=True)
    overlap = any(end > start for (start, _), (_, end) in itertools.pairwise(spans))
    inside = any(start < behind or start < counters < end for start, end in spans)
    moved = counters
    # Texts that lie in another thing stay there; nothing names them any more.
    for start, end in spans if not (overlap or inside) else ():
        del made[start:end]
        moved -= (end - start) if counters >= end else 0
    texts = [text.encode("utf-16-be", "surrogatepass") for text in (name, properties)]
    made[behind:behind] = b"".join(texts)
    for place, text, start in zip(
        (_NAME_AT, _PROPERTIES_AT), texts, (behind, behind + len(texts[0])), strict=True
    ):
        struct.pack_into(">2i", made, at + place, *((start, len(text) // 2) if text else (0, 0)))
    if counters >= behind:
        struct.pack_into(">i", made, at + _COUNTERS_AT, moved + sum(map(len, texts)))
    return bytes(made)


def with_looks(data: bytes, roi: Roi, names: Collection[str]) -> bytes:
    """Return a ``.roi`` file, as `with_texts` returns it, with some looks of another region."""
    made = bytearray(data)
    at = _int(data, 60)
    places = {"stroke": 40, "fill": 44, "place": 56}
    places |= {"channel": at + 4, "depth": at + 8, "time": at + 12}
    for name in places.keys() & set(names):
        struct.pack_into(">I", made, places[name], getattr(roi, name))
    if "width" in names:
        struct.pack_into(">H", made, 34, round(roi.width) & 0x7FFF)
        struct.pack_into(">f", made, at + _WIDTH_AT, roi.width)
    if "group" in names:
        made[at + _GROUP_AT] = roi.group if roi.group < 256 else 0
        struct.pack_into(">H", made, at + _LARGE_GROUP_AT, roi.group if roi.group > 255 else 0)
        if roi.group > 255:
            struct.pack_into(">H", made, 4, max(_version(data), _VERSION_OF_LARGE_GROUPS))
    return bytes(made)


def like(data: bytes, old: bytes) -> bytes:
    """Return a ``.roi`` file that `encode_roi` made with the labels and the opacity of another."""
    made = bytearray(data)
    options, was = (struct.unpack_from(">H", item, 50)[0] for item in (data, old))
    struct.pack_into(">H", made, 50, options & ~_SHOWN | was & _SHOWN)
    at, then = _int(data, 60), _int(old, 60)
    if then > 0:
        for start, end in ((24, _GROUP_AT), (_GROUP_AT + 1, _GROUP_AT + 2)):
            made[at + start : at + end] = old[then + start : then + end]
    return bytes(made)


def own_looks(data: bytes) -> list[str]:
    """Return in words what a ``.roi`` file has that `encode_roi` cannot write."""
    kind, at = data[6], _int(data, 60)
    subtype, options = struct.unpack_from(">HH", data, 48)
    results = {
        "text": kind == RECTANGLE and subtype == _TEXT,
        "picture": kind == RECTANGLE and subtype == _IMAGE,
        "arrow head": kind == LINE and subtype == _ARROW,
        "rounded corners": kind == RECTANGLE and struct.unpack_from(">H", data, 54)[0] > 0,
        "spline": bool(options & _SPLINE),
        "counters": at > 0 and len(data) >= at + 52 and _int(data, at + _COUNTERS_AT) > 0,
    }
    return [name for name, is_there in results.items() if is_there]


def is_alike(data: bytes, other: bytes) -> bool:
    """Return whether two ``.roi`` files that `encode_roi` may have made say the same.

    Numbers that were written as text and read again may differ where nobody sees it.
    """
    if data == other:
        return True
    parts = (slice(0, 8), slice(16, 18), slice(34, 52), slice(56, 64))
    if len(data) != len(other) or any(data[part] != other[part] for part in parts):
        return False
    at = _int(data, 60)
    if at <= 0 or data[at:] != other[at:]:
        return False
    first, second = decode_roi(data), decode_roi(other)
    pairs = [(first.points, second.points), *zip(first.rings, second.rings, strict=False)]
    return (
        len(first.rings) == len(second.rings)
        and abs(first.ratio - second.ratio) < _UNSEEN
        and all(a.shape == b.shape and np.allclose(a, b, 1e-6, _UNSEEN) for a, b in pairs)
    )


def _version(data: bytes) -> int:
    return int(struct.unpack_from(">H", data, 4)[0])


def decode_roi(data: bytes) -> Roi:
    """Return the region in the bytes of a ``.roi`` file; undoes `encode_roi`."""
    try:
        return _decoded(data)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError("the file is cut off or damaged") from error


def _decoded(data: bytes) -> Roi:
    if data[:4] != _MAGIC:
        raise FormatError("is no region of ImageJ; it does not begin with 'Iout'")
    roi = _named(data)
    path = _int(data, 36)
    if path > 0:
        with np.errstate(invalid="ignore"):
            numbers = np.frombuffer(data, ">f4", path, 64).astype(float)
        if not np.isfinite(numbers).all():
            raise FormatError("a coordinate is not a finite number")
        return replace(roi, rings=_rings(numbers.tolist()))
    subtype, options = struct.unpack_from(">HH", data, 48)
    exact = bool(options & _SUBPIXEL)
    if roi.kind in (RECTANGLE, OVAL):
        since = _version(data) >= _SUBPIXEL_CORNERS_FROM
        text = _text_within(data) if roi.kind == RECTANGLE and subtype == _TEXT else ""
        if not (exact and since):
            return replace(roi, points=_box(data), text=text)
        x, y, width, height = struct.unpack_from(">4f", data, 18)
        return replace(roi, points=np.array([[x, y], [x + width, y + height]]), text=text)
    turned = roi.kind == FREEHAND and subtype in (ELLIPSE, TURNED_RECTANGLE)
    if roi.kind == LINE or turned:
        ends = np.array(struct.unpack_from(">4f", data, 18)).reshape(2, 2)
        ratio = float(struct.unpack_from(">f", data, 52)[0]) if turned else 0.0
        return replace(roi, points=ends, subtype=subtype if turned else 0, ratio=ratio)
    return roi if roi.kind == NOTHING else replace(roi, points=_points(data, exact))


def _points(data: bytes, exact: bool) -> FloatArray:
    """Return the ``x y`` of a region with many points."""
    count = struct.unpack_from(">H", data, 16)[0] or _int(data, 18)
    if count < 1:
        return np.zeros((0, 2))
    if exact:
        floats = np.frombuffer(data, ">f4", 2 * count, 64 + 4 * count).reshape(2, -1)
        with np.errstate(invalid="ignore"):  # a NaN that signals
            return np.asarray(floats.T, float)
    whole = np.frombuffer(data, ">u2", 2 * count, 64).reshape(2, -1).T.astype(float)
    return np.asarray(whole + _box(data)[0])


def _int(data: bytes | bytearray, at: int) -> int:
    return int(struct.unpack_from(">i", data, at)[0])


def _box(data: bytes) -> FloatArray:
    """Return the whole pixels around a region, shape (2, 2): lowest and highest ``x y``."""
    numbers = np.array(struct.unpack_from(">4h", data, 8), float)
    numbers[numbers < _LOWEST] += 65536
    return numbers.reshape(2, 2)[:, ::-1]


def _rings(numbers: list[float]) -> tuple[FloatArray, ...]:
    """Return the outlines of a path, curves as short straight lines."""
    rings: list[list[list[float]]] = []
    at = 0
    while at < len(numbers):
        step = int(numbers[at])
        if step not in _NUMBERS:
            raise FormatError("the file is cut off or damaged")
        end = at + 1 + _NUMBERS[step]
        points = [numbers[place : place + 2] for place in range(at + 1, end, 2)]
        if end > len(numbers) or (step != _MOVE and not rings):
            raise FormatError("the file is cut off or damaged")
        if step == _MOVE:
            rings.append([])
        if step in (_QUADRATIC, _CUBIC):
            points = _curve(np.array([*rings[-1][-1:], *points])).tolist()
        rings[-1] += points
        at = end
    return tuple(np.array(ring, float) for ring in rings if len(ring) > 2)


def _curve(points: FloatArray) -> FloatArray:
    """Return points along a Bezier curve of any degree, its beginning left out."""
    results = [points[place] + 0 * _CURVE_STEPS for place in range(len(points))]
    while len(results) > 1:
        pairs = itertools.pairwise(results)
        results = [item + (other - item) * _CURVE_STEPS for item, other in pairs]
    return np.asarray(results[0])


def _named(data: bytes) -> Roi:
    """Return what a region is and is called, its position and looks, without its points."""
    width, stroke, fill = struct.unpack_from(">h4xII", data, 34)
    bare = Roi(data[6], np.zeros((0, 2)), place=_int(data, 56), stroke=stroke, fill=fill)
    bare = replace(bare, width=float(max(width, 0)))
    at = _int(data, 60)
    if at <= 0:
        return bare
    channel, depth, time, name_at, name_length = struct.unpack_from(">4x5i", data, at)
    exact, more_at, more_length = struct.unpack_from(">f2i", data, at + 36)
    group, more = data[at + _GROUP_AT], at + _LARGE_GROUP_AT
    if not group and _version(data) >= _VERSION_OF_LARGE_GROUPS and more + 2 <= len(data):
        group = int(struct.unpack_from(">H", data, more)[0])
    return replace(
        bare,
        width=float(exact) if np.isfinite(exact) and exact > 0 else bare.width,
        group=group,
        channel=channel,
        depth=depth,
        time=time,
        name=_text(data, name_at, name_length),
        properties=_text(data, more_at, more_length),
    )


def _text(data: bytes, at: int, length: int) -> str:
    if at <= 0 or length <= 0:
        return ""
    if at + 2 * length > len(data):
        raise FormatError("the file is cut off or damaged")
    return data[at : at + 2 * length].decode("utf-16-be", "surrogatepass")


def _text_within(data: bytes) -> str:
    """Return the text that stands in a rectangle, after the name of its font."""
    font, length = struct.unpack_from(">2i", data, 72)
    return _text(data, 80 + 2 * max(font, 0), length).strip()
