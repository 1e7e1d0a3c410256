"""Where regions are among others in a word or two, and captions that say so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_patchioner.regions import Region

Values: TypeAlias = npt.NDArray[np.float64]

# What lies farthest to one side lies so much farther than the next, in mean sides of the regions.
_APART = 0.25
# What is larger than the next is so by this factor in area.
_LARGER = 1.5
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
# Words before a noun, and the same after a caption that has no place for them.
_AFTER = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "middle": "in the middle",
    "larger": "the larger one",
    "smaller": "the smaller one",
    "largest": "the largest",
    "smallest": "the smallest",
}
_ARTICLE = re.compile(r"^(?:an?|the) ")
_QUANTITY = re.compile(r"^(?:an?|the) (?:group|couple|pair|number|lot|bunch) of ")


def place_words(regions: Sequence[Region], doubtful: Sequence[bool] | None = None) -> list[str]:
    """Return for each region a word that is true of it alone; empty where there is none.

    Sides of the image come first, then size, then the order along the longer way, as in "second
    from the left". Rows count downwards and columns to the right, as the image is stored. Words are
    true with those that are ``doubtful``, and without them too where it is possible to count so.
    """
    in_doubt = np.zeros(len(regions), bool) if doubtful is None else np.array(doubtful, bool)
    boxes = [region.bounds() for region in regions]
    corners = np.array([(b.top, b.left, b.bottom, b.right) for b in boxes], float).reshape(-1, 4)
    middles, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    count = len(regions)
    words = [""] * count
    if count < 2:
        return words
    rows, columns = middles.T
    down, across = np.ptp(rows), np.ptp(columns)
    axes = [(columns, "left", "right", sides[:, 1]), (rows, "top", "bottom", sides[:, 0])]
    if down > across:
        axes.reverse()
    for values, low, high, lengths in axes:
        gap = _APART * max(float(lengths.mean()), 1.0)
        _name_ends(words, values, low, high, gap)
        order = np.argsort(values, kind="stable")
        are_three = count == 3 and not in_doubt.any()
        if are_three and (np.diff(values[order]) >= gap).all() and not words[order[1]]:
            words[order[1]] = "middle"
    areas = np.array([_area(region) for region in regions])
    larger, smaller = ("larger", "smaller") if count == 2 else ("largest", "smallest")
    logs = np.log(np.maximum(areas, 1e-9))
    _name_ends(words, logs, smaller, larger, float(np.log(_LARGER)))
    values, low, high, _ = axes[0]
    order = np.argsort(values, kind="stable")
    if (np.diff(values[order]) >= 1).all():
        for rank, row in enumerate(order.tolist()):
            before, after = in_doubt[order[:rank]], in_doubt[order[rank + 1 :]]
            backwards = before.any() and not after.any()
            place, end = (len(after), high) if backwards else (rank, low)
            if not words[row] and place < len(_ORDINALS):
                words[row] = f"{_ORDINALS[place]} from the {end}"
    return words


def _name_ends(words: list[str], values: Values, low: str, high: str, gap: float) -> None:
    """Name the least and the largest of some values that have no name, where they are apart."""
    order = np.argsort(values, kind="stable")
    for end, beside, word in ((order[0], order[1], low), (order[-1], order[-2], high)):
        if not words[end] and abs(values[end] - values[beside]) >= gap:
            words[end] = word


def _area(region: Region) -> float:
    inside = region.inside()
    return float(inside.area) if inside is not None else 0.0


def is_end(word: str) -> bool:
    """Whether a word of `place_words` says the same among fewer regions: "left", not "middle".

    >>> is_end("left"), is_end("middle"), is_end("second from the left"), is_end("")
    (True, False, False, False)
    """
    return word in _AFTER and word != "middle"


def placed(text: str, word: str) -> str:
    """Say in a caption where its region is.

    >>> placed("a cup on a table", "left"), placed("A man surfs.", "left")
    ('the left cup on a table', 'A man surfs, on the left.')
    >>> placed("a red cup", "second from the left"), placed("cup or bowl?", "largest")
    ('the red cup, second from the left', 'cup or bowl, the largest?')
    """
    article = _ARTICLE.match(text)
    ending = text[-1:] if text.endswith((".", "?", "!")) else ""
    counted = _QUANTITY.match(text)
    if article and not ending and not counted:
        rest = text[article.end() :]
        if word in _AFTER:
            return f"the {word} {rest}"
        return f"the {rest}, {word}"
    plain = text[: len(text) - len(ending)]
    return f"{plain}, {_AFTER.get(word, word)}{ending}"
