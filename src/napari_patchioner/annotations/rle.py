"""Masks as runs of pixels, the way COCO writes them.

Runs go down each column, columns from left to right, and begin with pixels outside the mask.
The text holds each run (from the fourth on: its difference to the run before last) as digits of
five bits, lowest first, in characters from ``0`` on; the sixth bit says that more follow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_pixels
from napari_patchioner.regions import Mask

_ZERO = 48
# Thirteen digits of five bits hold any 64-bit number.
_LONGEST = 13
# Pixels looked at together where a whole mask would take several times its memory.
_AT_ONCE = 2**22


def mask_runs(pixels: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the lengths of the runs of a mask, shape (height, width), the first outside it.

    >>> mask_runs(np.array([[False, True], [True, True]])).tolist()
    [1, 3]
    """
    flat = np.asarray(pixels, bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    first = [0] if flat.size and flat[0] else []
    edges = np.concatenate([first, [0], changes, [flat.size]]).astype(np.int64)
    return np.diff(edges)


def runs_mask(
    runs: Sequence[int] | npt.NDArray[np.int64], height: int, width: int
) -> npt.NDArray[np.bool_]:
    """Return the mask, shape (height, width), that runs make exactly; undoes `mask_runs`."""
    lengths = _filling(runs, height, width)
    charge_pixels(height * width)
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(width, height).T


def _filling(
    runs: Sequence[int] | npt.NDArray[np.int64], height: int, width: int
) -> npt.NDArray[np.int64]:
    """Return runs that fill a mask exactly; an error where they do not."""
    try:
        lengths = np.asarray(runs, np.int64)
    except (OverflowError, TypeError, ValueError):
        lengths = np.array([-1])
    # Summed as Python's numbers, which do not overflow.
    if height < 0 or width < 0 or (lengths < 0).any() or sum(lengths.tolist()) != height * width:
        raise FormatError(f"the runs of a mask do not fill its {height} by {width} pixels")
    return lengths


def encode_runs(runs: Sequence[int] | npt.NDArray[np.int64]) -> str:
    """Return runs as COCO's text.

    >>> encode_runs([1, 3])
    '13'
    """
    left = np.array(runs, np.int64)
    left[3:] -= np.asarray(runs, np.int64)[1:-2]
    digits = []
    open_ = np.ones(len(left), bool)
    used = []
    while open_.any():
        digit = left & 31
        left = left >> 5
        more = np.where(digit & 16, left != -1, left != 0)
        digits.append(digit + 32 * more + _ZERO)
        used.append(open_)
        open_ = open_ & more
    if not digits:
        return ""
    table = np.stack(digits, axis=1).astype(np.uint8)
    return str(table[np.stack(used, axis=1)].tobytes(), "ascii")


def decode_runs(text: str) -> npt.NDArray[np.int64]:
    """Return the runs in COCO's text; undoes `encode_runs`."""
    digits = np.frombuffer(text.encode("latin-1", "replace"), np.uint8).astype(np.int64) - _ZERO
    ends = np.flatnonzero((digits & 32) == 0)
    if (digits < 0).any() or (digits > 63).any() or (len(digits) and not len(ends)):
        raise FormatError("the runs of a mask are no text as COCO writes it")
    if len(digits) and ends[-1] != len(digits) - 1:
        raise FormatError("the runs of a mask are cut off")
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    sizes = ends - starts + 1 if len(digits) else np.zeros(0, np.int64)
    if (sizes > _LONGEST).any():
        raise FormatError("a run of a mask is too long")
    place = np.arange(len(digits)) - np.repeat(starts[: len(sizes)], sizes)
    values = np.add.reduceat((digits & 31) << (5 * place), starts) if len(digits) else sizes
    negative = (digits[ends] & 16) != 0 if len(digits) else np.zeros(0, bool)
    values = values - (negative.astype(np.int64) << (5 * sizes))
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def runs_in_image(mask: Mask, height: int, width: int) -> npt.NDArray[np.int64]:
    """Return the runs of a mask within a whole image; what lies outside the image is left out.

    >>> runs_in_image(Mask(np.ones((1, 2), bool), (1, 1)), 2, 3).tolist()
    [3, 1, 1, 1]
    """
    top, left = mask.offset
    rows = slice(max(0, -top), max(0, height - top))
    columns = slice(max(0, -left), max(0, width - left))
    within = np.asarray(mask.pixels, bool)[rows, columns]
    some = max(_AT_ONCE // max(within.shape[0], 1), 1)
    edges_of: list[list[npt.NDArray[np.int64]]] = [[], []]
    for begin in range(0, max(within.shape[1], 1), some):
        block = np.pad(within[:, begin : begin + some], ((1, 1), (0, 0))).astype(np.int8)
        steps = np.diff(block, axis=0).T
        corner = (max(left, 0) + begin, max(top, 0))
        for ends, step in zip(edges_of, (1, -1), strict=True):
            ends.append((np.argwhere(steps == step) + corner) @ (height, 1))
    first, last = (np.concatenate(ends) for ends in edges_of)
    apart = first[1:] != last[:-1]
    if len(first):
        first, last = first[np.append(True, apart)], last[np.append(apart, True)]
    edges = np.stack([first, last], axis=1).ravel()
    all_edges = np.concatenate([[0], edges, [height * width]]).astype(np.int64)
    runs = np.diff(all_edges)
    return runs if runs[-1] or len(runs) == 1 else runs[:-1]


def mask_in_image(
    runs: Sequence[int] | npt.NDArray[np.int64], height: int, width: int
) -> Mask | None:
    """Return the pixels that runs over a whole image hold, cut to size; None if there are none."""
    lengths = _filling(runs, height, width)
    ends = np.cumsum(lengths)
    starts, stops = (ends - lengths)[1::2], ends[1::2]
    starts, stops = starts[stops > starts], stops[stops > starts]
    if not len(starts):
        return None
    first, last = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1
    top, bottom = 0, height
    if (starts // height == (stops - 1) // height).all():
        # No run goes on in the next column: only the rows that are met are made.
        top, bottom = int((starts % height).min()), int(((stops - 1) % height).max()) + 1
        shift = (starts // height) * (height - (bottom - top)) + top
        starts, stops = starts - shift, stops - shift
    tall = bottom - top
    edges = np.stack([starts, stops], axis=1).ravel() - first * tall
    whole = np.diff(np.concatenate([[0], edges, [(last - first) * tall]]))
    pixels = runs_mask(whole, tall, last - first)
    rows = np.flatnonzero(pixels.any(axis=1))
    if (rows[0], rows[-1]) != (0, tall - 1):
        pixels = pixels[rows[0] : rows[-1] + 1].copy()
    return Mask(pixels, (top + int(rows[0]), first))
