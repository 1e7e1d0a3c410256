"""Regions as text and back, exactly: well-known text, and runs of pixels for masks.

Well-known text is in ``x y`` image pixels with pixel corners at integers, so ``x = column + 0.5``
and ``y = row + 0.5``.

=========  =================================================================================
kind       text
=========  =================================================================================
box        POLYGON, its four corners
polygon    POLYGON without holes
ellipse    POLYGON, the four corners of the (possibly turned) rectangle around it
trace      LINESTRING (POINT for a single position); MULTIPOINT where the points are not to
           be connected
point      POINT
set        GEOMETRYCOLLECTION of the above (MULTIPOLYGON is read as well)
image      POLYGON EMPTY (a POLYGON around the whole image and an empty cell are read as well)
mask       RLE (x y, width height, runs): the corner of its first pixel, its size, and its
           pixels as COCO writes them (`rle`)
=========  =================================================================================
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

import numpy as np
import shapely

from napari_patchioner import regions
from napari_patchioner.errors import FormatError

from .rle import decode_runs, encode_runs, mask_runs, runs_mask
from .xy import BOX_TOLERANCE, from_xy, to_xy

_PARENTHESES = re.compile("[()]")
# A GEOMETRYCOLLECTION of MULTIPOLYGONs, and some to spare.
_DEEPEST = 8
_TYPES = {
    "box": ("Polygon",),
    "polygon": ("Polygon",),
    "ellipse": ("Polygon",),
    "trace": ("LineString", "LinearRing", "MultiPoint", "Point"),
    "point": ("Point",),
    "image": ("Polygon", "GeometryCollection"),
}
_RLE = re.compile(r"\s*RLE\s*\(\s*(-?\d+) (-?\d+)\s*,\s*(\d+) (\d+)\s*,\s*([0-o]*)\s*\)\s*\Z")
_COLLECTION = re.compile(r"\s*GEOMETRYCOLLECTION\s*\((.*)\)\s*\Z", re.DOTALL)


def region_to_text(region: regions.Region) -> str:
    """Return a region as text, ``x y`` pixels with pixel corners at integers, in full precision.

    Raises
    ------
    FormatError
        If the region makes no sense: too few vertices, no pixel, a coordinate not finite.

    >>> import numpy as np
    >>> region_to_text(regions.Mask(np.array([[False, True], [True, True]]), (10, 20)))
    'RLE (20 10, 2 2, 13)'
    >>> region_to_text(regions.Box(-0.5, -0.5, 1.5, 3.5))
    'POLYGON ((0 0, 4 0, 4 2, 0 2, 0 0))'
    """
    if isinstance(region, regions.WholeImage):
        return "POLYGON EMPTY"
    if isinstance(region, regions.RegionSet):
        if not region.members:
            raise FormatError("a set needs at least one member, but this one has none")
        return f"GEOMETRYCOLLECTION ({', '.join(map(region_to_text, region.members))})"
    if isinstance(region, regions.Mask):
        if region.pixels.ndim != 2 or not region.pixels.any():
            raise FormatError("a mask needs at least one pixel, but this one has none")
        height, width = region.pixels.shape
        row, column = (int(edge) for edge in region.offset)
        return f"RLE ({column} {row}, {width} {height}, {encode_runs(mask_runs(region.pixels))})"
    points = region.coords()
    is_ring = not isinstance(region, regions.Point | regions.Trace)
    if is_ring and (points.ndim != 2 or len(points) < 3):
        raise FormatError(f"a {region.kind} needs at least 3 vertices, but has {len(points)}")
    if not len(points):
        raise FormatError("a trace needs at least one point, but this one has none")
    shifted = to_xy(np.concatenate([points, points[:1]]) if is_ring else points)
    if not np.isfinite(shifted).all():
        raise FormatError("a coordinate is not a finite number")
    # The shortest text that stands for exactly each number.
    exact = [[repr(number).removesuffix(".0") for number in pair] for pair in shifted.tolist()]
    pairs = list(map(" ".join, exact))
    if is_ring:
        return f"POLYGON (({', '.join(pairs)}))"
    if isinstance(region, regions.Trace) and not region.connected:
        return f"MULTIPOINT (({'), ('.join(pairs)}))"
    return f"{'POINT' if len(pairs) == 1 else 'LINESTRING'} ({', '.join(pairs)})"


def region_from_text(text: str, kind: str, members: str = "") -> regions.Region:
    """Return the region that a text stands for; undoes `region_to_text`.

    Parameters
    ----------
    text : str
        ``x y`` image pixels, pixel corners at integers.
    kind : {"box", "polygon", "ellipse", "trace", "point", "set", "image", "mask"}
        What the region is.
    members : str
        What the parts of a set are, as `members_cell` writes it. Without it, an upright
        rectangle is read as a box, any other polygon as a polygon, and shared patches add up.

    Returns
    -------
    Region
        In ``(row, column)``, pixel centres at integers.

    Raises
    ------
    FormatError
        If the text cannot be parsed, does not fit the kind, or holds a number that is not
        finite.

    >>> region_from_text("POLYGON ((0 0, 4 0, 4 2, 0 2, 0 0))", "box")
    Box(top=-0.5, left=-0.5, bottom=1.5, right=3.5)
    """
    if kind == "mask":
        match = _RLE.match(text)
        if match is None:
            raise FormatError("is no mask, such as 'RLE (20 10, 2 2, 13)'")
        column, row, width, height = (int(number) for number in match.groups()[:4])
        pixels = runs_mask(decode_runs(match[5]), height, width)
        if not pixels.any():
            raise FormatError("a mask needs at least one pixel, but this one has none")
        return regions.Mask(pixels, (row, column))
    if kind == "image" and not text.strip():
        return regions.WholeImage()
    how, _, named = members.partition(":")
    kinds, how = named.split(), how.strip()
    collection = _COLLECTION.match(text) if kind == "set" and "RLE" in text else None
    if collection is not None:
        texts = _split(collection[1])
        if how not in ("sum", "union") or len(kinds) != len(texts) or "set" in kinds:
            raise FormatError(
                f"the members {members!r} do not fit a set of {len(texts)} with masks; write "
                "'sum:' or 'union:' and the kind of each"
            )
        return regions.RegionSet(tuple(map(region_from_text, texts, kinds)), how == "union")
    # Text nested more deeply than any region is refused before a parser goes down into it.
    steps = (1 if sign == "(" else -1 for sign in _PARENTHESES.findall(text))
    if max(accumulate(steps), default=0) > _DEEPEST:
        raise FormatError("is well-known text nested too deeply; a set may not hold sets")
    try:
        geometry = shapely.from_wkt(text)
    except shapely.errors.ShapelyError as error:
        raise FormatError("is not well-known text, such as 'POLYGON ((0 0, 9 0, 9 9, 0 0))'") from (
            error
        )
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        raise FormatError("a coordinate is not a finite number")
    if kind != "set":
        return _region_of(geometry, kind)
    parts = getattr(geometry, "geoms", [geometry])
    if geometry.is_empty and len(parts) == 0:
        raise FormatError("a set may not be empty")
    kinds = kinds or list(map(_guess_kind, parts))
    if how not in ("", "sum", "union") or len(kinds) != len(parts):
        raise FormatError(
            f"the members {members!r} do not fit a set of {len(parts)}; leave the cell empty, or "
            "write 'sum:' or 'union:' and the kind of each"
        )
    if "set" in kinds:
        raise FormatError("a set may not hold another set")
    return regions.RegionSet(tuple(map(_region_of, parts, kinds)), how == "union")


def _region_of(geometry: Any, kind: str) -> regions.Region:
    """Return the region of a kind, other than sets and masks, that a geometry outlines."""
    if kind not in _TYPES:
        raise FormatError(
            f"the kind {kind!r} is unknown; it may be one of {', '.join(_TYPES)}, set"
        )
    if geometry.geom_type not in _TYPES[kind]:
        expected = _TYPES[kind][0].upper()
        raise FormatError(f"a {kind} must be a {expected}, not a {geometry.geom_type.upper()}")
    if kind == "image":
        return regions.WholeImage()
    if geometry.is_empty:
        raise FormatError(f"a {kind} may not be empty")
    points = from_xy(shapely.get_coordinates(geometry))
    if kind == "point":
        return regions.Point(float(points[0, 0]), float(points[0, 1]))
    if kind == "trace":
        return regions.Trace(points, connected=geometry.geom_type != "MultiPoint")
    if len(geometry.interiors):
        raise FormatError("a polygon with a hole cannot be read; split it into parts without holes")
    corners = points[:-1]
    if kind == "polygon":
        return regions.Polygon(corners)
    if kind == "ellipse":
        if len(corners) != 4:
            raise FormatError(f"an ellipse needs the 4 corners around it, but has {len(corners)}")
        return regions.Ellipse(corners)
    box = regions.upright_box(corners, tolerance=BOX_TOLERANCE)
    if box is None:
        raise FormatError("a box must be an upright rectangle; call any other outline a polygon")
    return box


def _guess_kind(geometry: Any) -> str:
    """Return the kind that a geometry most likely is, when nothing else says."""
    kinds = {name: kind for kind in ("point", "trace") for name in _TYPES[kind]} | {
        "Point": "point",
        "Polygon": "image" if geometry.is_empty else "polygon",
    }
    kind = kinds.get(geometry.geom_type)
    if kind is None:
        raise FormatError(f"a set may not hold a {geometry.geom_type.upper()}")
    if kind == "polygon" and regions.upright_box(shapely.get_coordinates(geometry.exterior)[:-1]):
        return "box"
    return kind


def members_cell(region: regions.Region) -> str:
    """Return what the parts of a set are, which well-known text alone does not say.

    >>> members_cell(regions.RegionSet((regions.Box(0, 0, 4, 4), regions.Point(2, 2))))
    'sum: box point'
    """
    if not isinstance(region, regions.RegionSet):
        return ""
    kinds = " ".join(member.kind for member in region.members)
    return f"{'union' if region.union else 'sum'}: {kinds}"


def _split(inner: str) -> list[str]:
    """Return what stands between the commas that are within no parentheses."""
    parts, depth, start = [], 0, 0
    for index, sign in enumerate(inner):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append(inner[start:index].strip())
            start = index + 1
    return [*parts, inner[start:].strip()]
