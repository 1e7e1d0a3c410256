"""Every kind of region as one text, exactly: well-known text, and runs of pixels for masks.

A mask is ``RLE (x y, width height, runs)``: the corner of its first pixel, its size, and its
pixels as COCO writes them (`_rle`). In all else this is well-known text as in `_wkt`.
"""

from __future__ import annotations

import re

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Mask, Region, RegionSet

from ._rle import decode_runs, encode_runs, mask_runs, runs_mask
from ._wkt import region_from_wkt, region_to_wkt

_RLE = re.compile(r"\s*RLE\s*\(\s*(-?\d+) (-?\d+)\s*,\s*(\d+) (\d+)\s*,\s*([0-o]*)\s*\)\s*\Z")
_COLLECTION = re.compile(r"\s*GEOMETRYCOLLECTION\s*\((.*)\)\s*\Z", re.DOTALL)


def region_to_text(region: Region) -> str:
    """Return any region as text, ``x y`` pixels with pixel corners at integers.

    Raises
    ------
    FormatError
        If the region makes no sense: too few vertices, no pixel, a coordinate not finite.

    >>> import numpy as np
    >>> region_to_text(Mask(np.array([[False, True], [True, True]]), (10, 20)))
    'RLE (20 10, 2 2, 13)'
    """
    if isinstance(region, Mask):
        return _mask_to_text(region)
    if isinstance(region, RegionSet) and any(isinstance(one, Mask) for one in region.members):
        return f"GEOMETRYCOLLECTION ({', '.join(map(region_to_text, region.members))})"
    return region_to_wkt(region)


def _mask_to_text(mask: Mask) -> str:
    if mask.pixels.ndim != 2 or not mask.pixels.any():
        raise FormatError("a mask needs at least one pixel, but this one has none")
    height, width = mask.pixels.shape
    row, column = (int(edge) for edge in mask.offset)
    return f"RLE ({column} {row}, {width} {height}, {encode_runs(mask_runs(mask.pixels))})"


def region_from_text(text: str, kind: str, members: str = "") -> Region:
    """Return the region a text tells of; undoes `region_to_text`.

    Parameters
    ----------
    text : str
        ``x y`` image pixels, pixel corners at integers.
    kind : str
        What the region is, one of `KINDS`.
    members : str
        What the parts of a set are, as `members_cell` writes it.

    Raises
    ------
    FormatError
        If the text cannot be parsed or does not fit the kind.
    """
    if kind == "mask":
        return _mask_from_text(text)
    collection = _COLLECTION.match(text) if kind == "set" and "RLE" in text else None
    if collection is None:
        return region_from_wkt(text, kind, members)
    how, _, named = members.partition(":")
    parts, kinds = _parts(collection[1]), named.split()
    if how.strip() not in ("sum", "union") or len(kinds) != len(parts) or "set" in kinds:
        raise FormatError(
            f"the members {members!r} do not fit a set of {len(parts)} with masks; write 'sum:' "
            "or 'union:' and the kind of each"
        )
    regions = tuple(map(region_from_text, parts, kinds))
    return RegionSet(regions, how.strip() == "union")


def _mask_from_text(text: str) -> Mask:
    match = _RLE.match(text)
    if match is None:
        raise FormatError("is no mask, such as 'RLE (20 10, 2 2, 13)'")
    column, row, width, height = (int(number) for number in match.groups()[:4])
    pixels = runs_mask(decode_runs(match[5]), height, width)
    if not pixels.any():
        raise FormatError("a mask needs at least one pixel, but this one has none")
    return Mask(pixels, (row, column))


def _parts(inner: str) -> list[str]:
    """Return what stands between the commas that are within no parentheses."""
    parts, depth, start = [], 0, 0
    for place, sign in enumerate(inner):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append(inner[start:place].strip())
            start = place + 1
    return [*parts, inner[start:].strip()]
