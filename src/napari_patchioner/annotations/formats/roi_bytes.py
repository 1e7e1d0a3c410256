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

import numpy as np

from napari_patchioner.annotations.xy import FloatArray
from napari_patchioner.errors import FormatError

POLYGON, RECTANGLE, OVAL, LINE, FREELINE, POLYLINE = range(6)
NOTHING, FREEHAND, TRACED, ANGLE, POINT = range(6, 11)
ELLIPSE, TURNED_RECTANGLE = 3, 5
"""Subtypes of a freehand region."""

MOST_POINTS = 65535

# Subtypes of a rectangle with text or a picture in it, and of a line.
_TEXT, _ARROW, _IMAGE = 1, 2, 4
# Kinds that are a list of points.
_LISTS = (POLYGON, FREELINE, POLYLINE, FREEHAND, TRACED, ANGLE, POINT)
# Of the options those that are about how a region is shown, not about its points.
_SHOWN, _SPLINE = 0b11111001111000, 1
_MAGIC, _VERSION, _VERSION_OF_LARGE_GROUPS = b"Iout", 228, 229
_HEAD = ">4sHBx4HH16shiIIHH4sii"
_SECOND_HEAD = ">4x5i6xB5xf2i4xH10x"
_SECOND_SIZE = 64
# Where the second head stands; and where it says where name, properties and counters are, and the
# numbers of looks.
_SECOND_AT = 60
_NAME_AT, _PROPERTIES_AT, _COUNTERS_AT = 16, 40, 48
_GROUP_AT, _LARGE_GROUP_AT, _WIDTH_AT = 30, 52, 36
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
    body, special, ratio = b"", b"\0" * 16, b"\0\0\0\0"
    if many:  # whole numbers from a corner, then exact ones
        whole = np.clip(np.rint(listed - low), 0, 65535).astype(">u2")
        body = whole.T.tobytes() + listed.T.astype(">f4").tobytes()
    elif not roi.rings:
        special = struct.pack(">4f", *roi.points[0], *(roi.points[1] - roi.points[0]))
    if roi.subtype:
        special, ratio = struct.pack(">4f", *roi.points.ravel()), struct.pack(">f", roi.ratio)
    # Outlines as a path: a step and its x y, over and over.
    path: list[float] = []
    for ring in () if roi.subtype else roi.rings:
        for place, (x, y) in enumerate(ring.tolist()):
            path += [_DRAW if place else _MOVE, x, y]
        path.append(_CLOSE)
    body += np.array(path, ">f4").tobytes()
    # 16 bits each, at the border where they do not fit.
    corners = np.clip([*low[::-1], *high[::-1]], _LOWEST, 60535).astype(int) & 0xFFFF
    small, large = (roi.group, 0) if roi.group < 256 else (0, roi.group)
    head = struct.pack(
        _HEAD,
        *(_MAGIC, _VERSION_OF_LARGE_GROUPS if large else _VERSION, roi.kind, *corners.tolist()),
        *(len(listed) if many else 0, special, round(roi.width) & 0x7FFF, len(path)),
        *(roi.stroke, roi.fill, roi.subtype, 0 if path else _SUBPIXEL, ratio, roi.place),
        64 + len(body),
    )
    name, properties = map(_utf16, (roi.name, roi.properties))
    end = 128 + len(body)
    places = (end, len(name) // 2) if name else (0, 0)
    more = (end + len(name), len(properties) // 2) if properties else (0, 0)
    about = (roi.channel, roi.depth, roi.time, *places, small, roi.width, *more, large)
    return head + body + struct.pack(_SECOND_HEAD, *about) + name + properties


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")


def with_texts(data: bytes, name: str, properties: str) -> bytes:
    """Return the bytes of a ``.roi`` file with another name and other properties in them."""
    made = bytearray(data)
    at = _int(data, _SECOND_AT)
    if at <= 0:
        at = len(made)
        struct.pack_into(">i", made, _SECOND_AT, at)
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
    texts = [_utf16(name), _utf16(properties)]
    made[behind:behind] = b"".join(texts)
    starts = (behind, behind + len(texts[0]))
    for place, text, start in zip((_NAME_AT, _PROPERTIES_AT), texts, starts, strict=True):
        struct.pack_into(">2i", made, at + place, *((start, len(text) // 2) if text else (0, 0)))
    if counters >= behind:
        struct.pack_into(">i", made, at + _COUNTERS_AT, moved + sum(map(len, texts)))
    return bytes(made)


def with_looks(data: bytes, roi: Roi, names: Collection[str]) -> bytes:
    """Return a ``.roi`` file, as `with_texts` returns it, with some looks of another region."""
    made = bytearray(data)
    at = _int(data, _SECOND_AT)
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
            struct.pack_into(">H", made, 4, max(_short(data, 4), _VERSION_OF_LARGE_GROUPS))
    return bytes(made)


def like(data: bytes, old: bytes) -> bytes:
    """Return a ``.roi`` file that `encode_roi` made with the labels and the opacity of another."""
    made = bytearray(data)
    struct.pack_into(">H", made, 50, _short(data, 50) & ~_SHOWN | _short(old, 50) & _SHOWN)
    at, then = _int(data, _SECOND_AT), _int(old, _SECOND_AT)
    if then > 0:
        for start, end in ((24, _GROUP_AT), (_GROUP_AT + 1, _GROUP_AT + 2)):
            made[at + start : at + end] = old[then + start : then + end]
    return bytes(made)


def own_looks(data: bytes) -> list[str]:
    """Return in words what a ``.roi`` file has that `encode_roi` cannot write."""
    kind, at, subtype = data[6], _int(data, _SECOND_AT), _short(data, 48)
    results = {
        "text": kind == RECTANGLE and subtype == _TEXT,
        "picture": kind == RECTANGLE and subtype == _IMAGE,
        "arrow head": kind == LINE and subtype == _ARROW,
        "rounded corners": kind == RECTANGLE and _short(data, 54) > 0,
        "spline": bool(_short(data, 50) & _SPLINE),
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
    at = _int(data, _SECOND_AT)
    if at <= 0 or data[at:] != other[at:]:
        return False
    first, second = decode_roi(data), decode_roi(other)
    pairs = [(first.points, second.points), *zip(first.rings, second.rings, strict=False)]
    return (
        len(first.rings) == len(second.rings)
        and abs(first.ratio - second.ratio) < _UNSEEN
        and all(a.shape == b.shape and np.allclose(a, b, 1e-6, _UNSEEN) for a, b in pairs)
    )


def decode_roi(data: bytes) -> Roi:
    """Return the region in the bytes of a ``.roi`` file; undoes `encode_roi`."""
    try:
        return _decoded(data)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(_CUT_OFF) from error


def _decoded(data: bytes) -> Roi:
    if data[:4] != _MAGIC:
        raise FormatError("is no region of ImageJ; it does not begin with 'Iout'")
    roi = _without_points(data)
    path = _int(data, 36)
    if path > 0:
        with np.errstate(invalid="ignore"):
            numbers = np.frombuffer(data, ">f4", path, 64).astype(float)
        if not np.isfinite(numbers).all():
            raise FormatError("a coordinate is not a finite number")
        return replace(roi, rings=_rings(numbers.tolist()))
    subtype, exact = _short(data, 48), bool(_short(data, 50) & _SUBPIXEL)
    if roi.kind in (RECTANGLE, OVAL):
        points, text = _box(data), ""
        if exact and _short(data, 4) >= _SUBPIXEL_CORNERS_FROM:
            x, y, width, height = struct.unpack_from(">4f", data, 18)
            points = np.array([[x, y], [x + width, y + height]])
        if roi.kind == RECTANGLE and subtype == _TEXT:  # which stands after the name of its font
            font, length = struct.unpack_from(">2i", data, 72)
            text = _text(data, 80 + 2 * max(font, 0), length).strip()
        return replace(roi, points=points, text=text)
    turned = roi.kind == FREEHAND and subtype in (ELLIPSE, TURNED_RECTANGLE)
    if roi.kind == LINE or turned:
        ends = np.array(struct.unpack_from(">4f", data, 18)).reshape(2, 2)
        ratio = float(struct.unpack_from(">f", data, 52)[0]) if turned else 0.0
        return replace(roi, points=ends, subtype=subtype if turned else 0, ratio=ratio)
    count = _short(data, 16) or _int(data, 18)
    if roi.kind == NOTHING or count < 1:
        return roi
    if exact:
        floats = np.frombuffer(data, ">f4", 2 * count, 64 + 4 * count).reshape(2, -1)
        with np.errstate(invalid="ignore"):  # a NaN that signals
            return replace(roi, points=np.asarray(floats.T, float))
    whole = np.frombuffer(data, ">u2", 2 * count, 64).reshape(2, -1).T.astype(float)
    return replace(roi, points=np.asarray(whole + _box(data)[0]))


def _int(data: bytes | bytearray, at: int) -> int:
    return int(struct.unpack_from(">i", data, at)[0])


def _short(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", data, at)[0])


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


def _without_points(data: bytes) -> Roi:
    """Return what a region is and is called, its position and looks."""
    width, stroke, fill = struct.unpack_from(">h4xII", data, 34)
    bare = Roi(data[6], np.zeros((0, 2)), place=_int(data, 56), stroke=stroke, fill=fill)
    bare = replace(bare, width=float(max(width, 0)))
    at = _int(data, _SECOND_AT)
    if at <= 0:
        return bare
    channel, depth, time, name_at, name_length = struct.unpack_from(">4x5i", data, at)
    exact, more_at, more_length = struct.unpack_from(">f2i", data, at + _WIDTH_AT)
    group, more = data[at + _GROUP_AT], at + _LARGE_GROUP_AT
    if not group and _short(data, 4) >= _VERSION_OF_LARGE_GROUPS and more + 2 <= len(data):
        group = _short(data, more)
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
        raise FormatError(_CUT_OFF)
    return data[at : at + 2 * length].decode("utf-16-be", "surrogatepass")
