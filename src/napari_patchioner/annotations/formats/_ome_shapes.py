"""OME-XML's shapes for regions, in ``x y`` pixels with pixel corners at integers, and back.

===========  =====================================================================================
kind         shape
===========  =====================================================================================
box          ``Rectangle``
polygon      ``Polygon``
ellipse      ``Ellipse``, with a ``Transform`` unless it is upright
trace        ``Polyline``; ``Point`` for a single position
point        ``Point``
mask         ``Mask``: one bit per pixel, row by row
set          one shape per member in one ``Union``
image        ``Rectangle`` around the image; ``Label`` at its corner if nobody told its size
===========  =====================================================================================

Until 2009 shapes had the names and attributes of SVG (``Rect`` with ``x``, ``Circle`` with ``r``,
``Text``), and until 2012 polygons were closed ``Polyline`` elements; until 2010 transforms were
attributes (``matrix(a b c d e f)``). `as_of_today` turns them into shapes of 2016.
"""

from __future__ import annotations

import base64
import bz2
import re
import zlib
from typing import TYPE_CHECKING, TypeAlias
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from napari_patchioner.annotations.xy import (
    ellipse_axes,
    ellipse_from_axes,
    from_xy,
    mask_from_rings,
    to_xy,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_bytes, charge_pixels
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    Region,
    Trace,
    WholeImage,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

Size: TypeAlias = "tuple[int, int] | None"
_MOST_PIXELS = 2**28
_FARTHEST = 2**31
_TAGS = {"Rect": "Rectangle", "Circle": "Ellipse", "Text": "Label"}
_ROUND = ("Ellipse", "Point")
SHAPES = (
    *("Rectangle", "Mask", "Ellipse", "Point", "Label", "Line", "Polygon", "Polyline"),
    *_TAGS,
)
"""The elements that are shapes, in any year."""

_SEPARATORS = re.compile(r"[\s,]+")
_CALL = re.compile(r"(\w*)\s*[(\[]([^)\]]*)[)\]]")
_TRANSFORM = ("A00", "A01", "A02", "A10", "A11", "A12")


def element_of(region: Region, size: Size) -> Element | None:
    """Return the shape for a region that is no set, without ``ID``; None if it shows nothing."""
    if isinstance(region, WholeImage):
        if size is None:
            return _element("Label", X=0.0, Y=0.0)
        return _element("Rectangle", X=0.0, Y=0.0, Width=float(size[1]), Height=float(size[0]))
    if isinstance(region, Box):
        corners = np.sort([[region.top, region.left], [region.bottom, region.right]], axis=0)
        (x, y), (right, bottom) = to_xy(corners).tolist()
        return _element("Rectangle", X=x, Y=y, Width=right - x, Height=bottom - y)
    if isinstance(region, Ellipse):
        return _ellipse(region)
    if isinstance(region, Mask):
        return _mask(region)
    if isinstance(region, Polygon):
        return Element("Polygon", Points=_points(region.vertices))
    if isinstance(region, Trace) and len(region.points) > 1:
        return Element("Polyline", Points=_points(region.points))
    if isinstance(region, Trace | Point):
        at = [[region.row, region.column]] if isinstance(region, Point) else region.points[:1]
        return _element("Point", **dict(zip("XY", to_xy(at).ravel().tolist(), strict=False)))
    return None


def _element(tag: str, **numbers: float) -> Element:
    """Return an element whose attributes are numbers in full precision."""
    return Element(tag, {name: _exact(number) for name, number in numbers.items()})


def _exact(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def _points(points: npt.ArrayLike) -> str:
    return " ".join(f"{_exact(x)},{_exact(y)}" for x, y in to_xy(points).tolist())


def _ellipse(ellipse: Ellipse) -> Element:
    """Return an ellipse about its centre, turned (and sheared) by a transform."""
    centre, along, across = ellipse_axes(ellipse)
    radii = np.array([np.hypot(*along), np.hypot(*across)])
    turned = np.stack([along, across], axis=1) / np.where(radii > 0, radii, 1)
    x, y = centre.tolist()
    made = _element("Ellipse", X=x, Y=y, RadiusX=float(radii[0]), RadiusY=float(radii[1]))
    if not np.array_equal(abs(turned), np.eye(2)):
        numbers = np.column_stack([turned, centre - turned @ centre]).ravel().tolist()
        made.append(_element("Transform", **dict(zip(_TRANSFORM, numbers, strict=True))))
    return made


def _mask(mask: Mask) -> Element:
    pixels = np.asarray(mask.pixels, bool)
    (row, column), (height, width) = mask.offset, pixels.shape
    made = _element("Mask", X=column, Y=row, Width=width, Height=height)
    text = base64.b64encode(np.packbits(pixels).tobytes()).decode("ascii")
    SubElement(made, "BinData", BigEndian="true", Length=str(len(text))).text = text
    return made


def as_of_today(shape: Element) -> Element:
    """Return a shape of any year with the names and attributes of 2016.

    >>> made = as_of_today(Element("Circle", cx="4", cy="5", r="2", theT="1"))
    >>> made.tag, made.get("X"), made.get("RadiusY"), made.get("TheT")
    ('Ellipse', '4', '2', '1')
    """
    tag = _TAGS.get(shape.tag, shape.tag)
    fields = {name[:1].upper() + name[1:]: text for name, text in shape.attrib.items()}
    for old, new in {"Cx": "X", "Cy": "Y", "Rx": "RadiusX", "Ry": "RadiusY"}.items():
        if tag in _ROUND and old in fields:
            fields.setdefault(new, fields.pop(old))
    if shape.tag == "Circle" and "R" in fields:
        radius = fields.pop("R")
        fields |= {"RadiusX": radius, "RadiusY": radius}
    if tag == "Polyline" and fields.pop("Closed", "").lower() in ("true", "1"):
        tag = "Polygon"
    made = Element(tag, fields)
    made.text = shape.text
    made.extend(shape)
    return made


def region_of(shape: Element) -> Region:
    """Return the region a shape shows; see `as_of_today` for those of earlier years.

    Raises
    ------
    FormatError
        If its kind is unknown, or its numbers are missing or none.
    """
    try:
        region = _upright(shape)
        transform = shape.find("Transform")
        if transform is not None:
            return _moved(region, _matrix_of(transform.attrib))
        written = shape.get("Transform", "none").strip()
        return region if written in ("", "none") else _moved(region, _matrix_from(written))
    except (KeyError, ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"a {shape.tag} lacks numbers, or they are none") from error


def _numbers(shape: Element, *names: str) -> list[float]:
    numbers = [float(shape.attrib[name]) for name in names]
    _check_places(numbers)
    return numbers


def _check_places(numbers: npt.ArrayLike) -> None:
    """Refuse coordinates that are none, or that no image reaches."""
    if not np.isfinite(numbers).all():
        raise FormatError("a coordinate is not a finite number")
    if (abs(np.asarray(numbers, float)) > _FARTHEST).any():
        raise FormatError("a coordinate lies farther out than any image reaches")


def _upright(shape: Element) -> Region:
    """Return what a shape shows but for its transform."""
    if shape.tag in ("Rectangle", "Mask"):
        x, y, width, height = _numbers(shape, "X", "Y", "Width", "Height")
        if shape.tag == "Mask":
            return _read_mask(shape, (round(x), round(y)), (round(height), round(width)))
        (top, left), (bottom, right) = from_xy([[x, y], [x + width, y + height]]).tolist()
        return Box(top, left, bottom, right)
    if shape.tag == "Ellipse":
        x, y, along, across = _numbers(shape, "X", "Y", "RadiusX", "RadiusY")
        return ellipse_from_axes([x, y], [along, 0], [0, across])
    if shape.tag in ("Point", "Label"):
        return Point(*from_xy(_numbers(shape, "X", "Y"))[0].tolist())
    if shape.tag == "Line":
        return Trace(from_xy(_numbers(shape, "X1", "Y1", "X2", "Y2")))
    if shape.tag in ("Polygon", "Polyline"):
        return _listed(shape)
    raise FormatError(f"the shape {shape.tag!r} is unknown")


def _listed(shape: Element) -> Region:
    """Return the polygon or trace that a list of points shows."""
    # Older files say it thrice: points[1,2 3,4] points1[1,2 3,4] points2[1,2 3,4].
    listed = shape.attrib["Points"]
    within = re.match(r"\s*points\[([^\]]*)\]", listed)
    texts = [one for one in _SEPARATORS.split(within[1] if within else listed) if one]
    fewest = 3 if shape.tag == "Polygon" else 1
    if len(texts) % 2 or len(texts) < 2 * fewest:
        raise FormatError(f"a {shape.tag} needs at least {fewest} points of two numbers each")
    points = np.array(texts, float).reshape(-1, 2)
    _check_places(points)
    return Polygon(from_xy(points)) if fewest == 3 else Trace(from_xy(points))


def _read_mask(shape: Element, corner: tuple[int, int], size: tuple[int, int]) -> Mask:
    """Return the pixels of a mask: a bit each or, as some tools write them, a byte each."""
    count = size[0] * size[1]
    data = next(shape.iter("BinData"), None)
    if data is None or min(size) < 1 or not 0 < count <= _MOST_PIXELS:
        raise FormatError("a Mask has no pixels, or too many")
    charge_pixels(count)
    packed = base64.b64decode("".join((data.text or "").split()), validate=True)
    compression = data.get("Compression", "none")
    if compression != "none":
        packed = _unpacked(packed, compression, count)
    numbers = np.frombuffer(packed, np.uint8)[:count]
    bits = numbers if len(numbers) == count > 1 else np.unpackbits(numbers, count=count)
    if len(numbers) < (count + 7) // 8 or not bits.any():
        raise FormatError("a Mask is empty or cut off")
    return Mask(bits.reshape(size).astype(bool), corner[::-1])


def _unpacked(packed: bytes, compression: str, count: int) -> bytes:
    """Return at most so many bytes of what is compressed."""
    charge_bytes(count)
    try:
        if compression == "zlib":
            return zlib.decompressobj().decompress(packed, count)
        if compression == "bzip2":
            return bz2.BZ2Decompressor().decompress(packed, count)
    except (zlib.error, OSError) as error:
        raise FormatError("a Mask is cut off or damaged") from error
    raise FormatError("a Mask is compressed in a way that is not read; save it uncompressed")


def _matrix_of(transform: Mapping[str, str]) -> npt.NDArray[np.float64]:
    """Return the matrix of a ``Transform`` element, shape (2, 3)."""
    return np.array([float(transform[name]) for name in _TRANSFORM]).reshape(2, 3)


def _matrix_from(text: str) -> npt.NDArray[np.float64]:
    """Return the matrix that a transform as SVG writes it stands for, shape (2, 3)."""
    matrix = np.eye(3)
    for name, inner in _CALL.findall(text):
        numbers = [float(one) for one in _SEPARATORS.split(inner.strip())]
        matrix = matrix @ _step(name, numbers)
    return matrix[:2]


def _step(name: str, numbers: list[float]) -> npt.NDArray[np.float64]:
    """Return the matrix of one step of a transform, shape (3, 3)."""
    match name, numbers:
        case "matrix" | "", [a, b, c, d, e, f]:
            return np.array([[a, c, e], [b, d, f], [0, 0, 1]])
        case "translate", [x, *rest]:
            return np.array([[1, 0, x], [0, 1, rest[0] if rest else 0], [0, 0, 1]])
        case "scale", [x, *rest]:
            return np.diag([x, rest[0] if rest else x, 1])
        case "rotate", [degrees, *centre] if len(centre) in (0, 2):
            x, y = centre or (0.0, 0.0)
            cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
            there, back = np.eye(3), np.eye(3)
            there[:2, 2], back[:2, 2] = (x, y), (-x, -y)
            return np.asarray(there @ turn @ back)
    raise FormatError(f"the transform {name[:40]!r} is not read")


def _moved(region: Region, matrix: npt.NDArray[np.float64]) -> Region:
    """Return a region under an affine transform of ``x y``."""
    if not np.isfinite(matrix).all():
        raise FormatError("a transform is not finite")
    if np.array_equal(matrix, [[1, 0, 0], [0, 1, 0]]):
        return region

    def move(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        moved = to_xy(points) @ matrix[:, :2].T + matrix[:, 2]
        _check_places(moved)
        return from_xy(moved)

    if isinstance(region, Box) and not matrix[[0, 1], [1, 0]].any():
        (top, left), (bottom, right) = move(
            [[region.top, region.left], [region.bottom, region.right]]
        )
        low, high = np.sort([[top, left], [bottom, right]], axis=0).tolist()
        return Box(*low, *high)
    if isinstance(region, Box):
        sides = [[region.top, region.left], [region.top, region.right]]
        return Polygon(move([*sides, [region.bottom, region.right], [region.bottom, region.left]]))
    if isinstance(region, Ellipse):
        return Ellipse(move(region.corners))
    if isinstance(region, Point):
        return Point(*move([[region.row, region.column]])[0].tolist())
    if isinstance(region, Polygon):
        return Polygon(move(region.vertices))
    if isinstance(region, Trace):
        return Trace(move(region.points))
    if isinstance(region, Mask):
        return _moved_mask(region, matrix)
    raise FormatError("a shape with such a transform cannot be read")


def _moved_mask(mask: Mask, matrix: npt.NDArray[np.float64]) -> Mask:
    """Return a mask elsewhere; its outline is moved unless it stays upright in whole pixels."""
    whole = np.rint(matrix)
    if np.array_equal(matrix[:, :2], np.eye(2)) and np.array_equal(matrix, whole):
        right, down = (int(step) for step in whole[:, 2])
        return Mask(mask.pixels, (mask.offset[0] + down, mask.offset[1] + right))
    rings = [to_xy(ring) @ matrix[:, :2].T + matrix[:, 2] for ring in mask.rings()]
    found = mask_from_rings(rings)
    if found is None:
        raise FormatError("a Mask has no pixels, or too many, once its transform moves it")
    return found


def shown(region: Region, size: Size) -> Region | None:
    """Return what a file shows for a region that is no set."""
    shape = element_of(region, size)
    return None if shape is None else region_of(shape)
