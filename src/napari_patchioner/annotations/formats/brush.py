"""Label Studio's packed runs for painted masks.

The pixels of the whole image, row by row, four bytes each (red, green, blue, alpha), as a stream
of bits: the number of bytes (32 bits), the size of a word less one (5), four sizes for lengths less
one (4 each); then for every run one bit that says whether its words are all alike, two that say
which of the four sizes its length has, the length less one, and one word, or all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_patchioner.annotations.rle import mask_in_image, runs_in_image
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_time
from napari_patchioner.regions import Mask

_COUNT = 32
_WORD = 8
_LENGTHS = (3, 4, 8, 16)
_CHANNELS = 4
_OPAQUE = 128
_DIGITS = bytes.maketrans(b"\x00\x01", b"01")


def encode_brush(mask: Mask, height: int, width: int) -> list[int]:
    """Return the part of a mask within an image of this size as bytes; none if there is none.

    Nor are there any for an image of more bytes than the format can count.
    """
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
    """Return where runs of opaque pixels begin and end in a stream, or raise ValueError.

    Pixels are only counted, never made: a few bits may stand for as many as they like.
    """
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
