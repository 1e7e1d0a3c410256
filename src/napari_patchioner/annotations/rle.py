"""Masks as runs of pixels, the ways COCO and Label Studio write them.

COCO's runs go down each column, columns from left to right, and begin with pixels outside the mask.
The text holds each run (from the fourth on: its difference to the run before last) as digits of
five bits, lowest first, in characters from ``0`` on; the sixth bit says that more follow.

Label Studio packs the pixels of the whole image, row by row, four bytes each (red, green, blue,
alpha), as a stream of bits: the number of bytes (32 bits), the size of a word less one (5), four
sizes for lengths less one (4 each); then for every run one bit that says whether its words are all
alike, two that say which of the four sizes its length has, the length less one, and one word, or
all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_pixels, check_time
from napari_patchioner.regions import Mask

_ZERO = 48
# Thirteen digits of five bits hold any 64-bit number.
_LONGEST = 13
# Pixels looked at together where a whole mask would take several times its memory.
_AT_ONCE = 2**22
# Of Label Studio's stream: bits of the count, of a word, and of lengths; bytes of a pixel.
_COUNT = 32
_WORD = 8
_LENGTHS = (3, 4, 8, 16)
_CHANNELS = 4
_OPAQUE = 128
_DIGITS = bytes.maketrans(b"\x00\x01", b"01")


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


def encode_brush(mask: Mask, height: int, width: int) -> list[int]:
    """Return the mask within an image as bytes; none if there is none, or too many to count."""
    whole = height * width * _CHANNELS
    if whole >= 1 << _COUNT:
        return []
    # Runs here go along the rows: as those of a mask on its side, which go down the columns.
    turned = Mask(mask.pixels.T, mask.offset[::-1])
    lengths = runs_in_image(turned, width, height).tolist()
    if len(lengths) < 2:
        return []
    bits = [f"{whole:0{_COUNT}b}{_WORD - 1:05b}", *(f"{length - 1:04b}" for length in _LENGTHS)]
    longest = 1 << _LENGTHS[-1]
    for place, length in enumerate(lengths):
        word = 255 if place % 2 else 0
        pieces, rest = divmod(length * _CHANNELS, longest)
        # No piece is longer than a length can be.
        for piece in [longest] * pieces + [rest] * (rest > 0):
            index = next(index for index, size in enumerate(_LENGTHS) if piece <= 1 << size)
            bits.append(f"1{index:02b}{piece - 1:0{_LENGTHS[index]}b}{word:0{_WORD}b}")
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def decode_brush(data: Sequence[int], height: int, width: int) -> Mask | None:
    """Return the opaque pixels of an image of this size, cut to them; None if there are none."""
    try:
        bits = np.unpackbits(np.frombuffer(bytes(data), np.uint8)).tobytes()
        opaque = _opaque(bits.translate(_DIGITS).decode("ascii"), height * width * _CHANNELS)
    except (ValueError, TypeError) as error:
        raise FormatError("its painted pixels are no runs as Label Studio packs them") from error
    edges = [0, *(edge for run in opaque for edge in run), height * width]
    turned = mask_in_image(np.diff(edges).astype(np.int64), width, height)
    return None if turned is None else Mask(turned.pixels.T, turned.offset[::-1])


def _opaque(bits: str, expected: int) -> list[tuple[int, int]]:
    """Return where runs of opaque pixels, counted and never made, begin and end, or ValueError."""
    count, size = int(bits[:32], 2), int(bits[32:37], 2) + 1
    if count != expected or size > _WORD:
        raise ValueError
    lengths = [int(bits[37 + 4 * place : 41 + 4 * place], 2) + 1 for place in range(4)]
    runs: list[tuple[int, int]] = []

    at, done = 53, 0
    while done < count:
        check_time()
        alike, chosen = bits[at] == "1", lengths[int(bits[at + 1 : at + 3], 2)]
        at += 3
        end = done + int(bits[at : at + chosen], 2) + 1
        at += chosen
        many = 1 if alike else end - done
        if at + many * size > len(bits) or end > count:
            raise ValueError
        # The last byte of each four is the one that tells.
        first, last = done // _CHANNELS, end // _CHANNELS
        if alike:
            if int(bits[at : at + size], 2) >= _OPAQUE:
                runs.append((first, last))
        else:
            for pixel in range(first, last):
                word = at + (pixel * _CHANNELS + _CHANNELS - 1 - done) * size
                if int(bits[word : word + size], 2) >= _OPAQUE:
                    runs.append((pixel, pixel + 1))
        at, done = at + many * size, end
    return runs
