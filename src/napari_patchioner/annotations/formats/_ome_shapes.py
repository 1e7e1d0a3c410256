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
"""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING, TypeAlias
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from napari_patchioner.annotations._outlines import ellipse_axes, ellipse_from_axes, from_xy, to_xy
from napari_patchioner.errors import FormatError
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


def region_of(shape: Element) -> Region:
    """Return the region a shape shows.

    Raises
    ------
    FormatError
        If its kind is unknown, or its numbers are missing or none.
    """
    try:
        region = _upright(shape)
        transform = shape.find("Transform")
        return region if transform is None else _moved(region, transform.attrib)
    except (KeyError, ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"a {shape.tag} lacks numbers, or they are none") from error


def _numbers(shape: Element, *names: str) -> list[float]:
    numbers = [float(shape.attrib[name]) for name in names]
    if not np.isfinite(numbers).all():
        raise FormatError("a coordinate is not a finite number")
    return numbers


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
    points = np.array([pair.split(",") for pair in shape.attrib["Points"].split()], float)
    fewest = 3 if shape.tag == "Polygon" else 1
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < fewest:
        raise FormatError(f"a {shape.tag} needs at least {fewest} points")
    if not np.isfinite(points).all():
        raise FormatError("a coordinate is not a finite number")
    return Polygon(from_xy(points)) if fewest == 3 else Trace(from_xy(points))


def _read_mask(shape: Element, corner: tuple[int, int], size: tuple[int, int]) -> Mask:
    """Return the pixels of a mask: a bit each or, as some tools write them, a byte each."""
    count = size[0] * size[1]
    data = shape.find("BinData")
    if data is None or not 0 < count <= _MOST_PIXELS:
        raise FormatError("a Mask has no pixels, or too many")
    packed = base64.b64decode("".join((data.text or "").split()), validate=True)
    if data.get("Compression") == "zlib":
        packed = zlib.decompressobj().decompress(packed, count)
    elif data.get("Compression", "none") != "none":
        raise FormatError("a Mask is compressed in a way that is not read; save it uncompressed")
    numbers = np.frombuffer(packed, np.uint8)
    bits = numbers if len(numbers) == count > 1 else np.unpackbits(numbers, count=count)
    if len(numbers) < (count + 7) // 8 or not bits.any():
        raise FormatError("a Mask is empty or cut off")
    return Mask(bits.reshape(size).astype(bool), corner[::-1])


def _moved(region: Region, transform: Mapping[str, str]) -> Region:
    """Return a region under an affine transform of ``x y``."""
    matrix = np.array([float(transform[name]) for name in _TRANSFORM]).reshape(2, 3)
    if not np.isfinite(matrix).all():
        raise FormatError("a transform is not finite")
    if np.array_equal(matrix, [[1, 0, 0], [0, 1, 0]]):
        return region

    def move(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return from_xy(to_xy(points) @ matrix[:, :2].T + matrix[:, 2])

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
    raise FormatError("a Mask with a transform cannot be read; draw its outline instead")


def shown(region: Region, size: Size) -> Region | None:
    """Return what a file shows for a region that is no set."""
    shape = element_of(region, size)
    return None if shape is None else region_of(shape)
