"""The choice of COCO captions that ships with the package, for models without a decoder.

Of each photograph's captions the one most like the others is kept, so that slips and oddities
stay out; then captions farthest from all kept ones are added, for variety.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_LENGTHS = range(6, 19)
# A word that fewer captions have is more likely a slip of the pen than a thing to talk of.
_COMMON = 3


def choose_sentences(captions: Sequence[tuple[int, str]], count: int) -> list[str]:
    """Choose captions that cover what the photographs show.

    Parameters
    ----------
    captions : sequence of (int, str)
        Image id and caption.
    count : int
        How many to choose.

    Returns
    -------
    list of str
        Sorted, white space and the final full stop tidied.
    """
    images, texts = _usable(captions)
    rows = _weighted_words(texts)
    chosen = _typical(images, rows)[:count]
    chosen = _farthest(rows, chosen, min(count, len(texts)))
    return sorted(texts[place] for place in chosen)


def write_sentences(source: Path, target: Path, count: int = 5000) -> None:
    """Choose from a COCO captions file and write one sentence per line, packed with gzip."""
    annotations = json.loads(source.read_text(encoding="utf-8"))["annotations"]
    captions = [(entry["image_id"], entry["caption"]) for entry in annotations]
    lines = "".join(f"{text}\n" for text in choose_sentences(captions, count))
    # The time of packing stays out, so that the same captions give the same bytes.
    target.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))


def _usable(captions: Sequence[tuple[int, str]]) -> tuple[list[int], list[str]]:
    """Tidy captions; leave out doubles, odd lengths and words hardly anybody uses."""
    tidy = [(image, _tidy(text)) for image, text in captions]
    counts = Counter(word for _, text in tidy for word in set(_words(text)))
    kept: dict[str, int] = {}
    for image, text in tidy:
        words = _words(text)
        if len(words) in _LENGTHS and all(counts[word] >= _COMMON for word in words):
            kept.setdefault(text, image)
    return list(kept.values()), list(kept)


def _tidy(text: str) -> str:
    text = " ".join(text.split()).strip(" .")
    shouted = 2 * sum(map(str.isupper, text)) > len(text)
    return text.capitalize() if shouted else text[:1].upper() + text[1:]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _weighted_words(texts: Sequence[str]) -> csr_matrix:
    """Rows of length one of word weights; a word counts the more, the fewer captions have it."""
    places: dict[str, int] = {}
    pairs = [
        (row, places.setdefault(word, len(places)))
        for row, text in enumerate(texts)
        for word in sorted(set(_words(text)))
    ]
    rows, columns = np.array(pairs).T
    frequency = np.bincount(columns)
    weights = np.log(len(texts) / frequency)[columns]
    lengths = np.sqrt(np.bincount(rows, weights**2))
    values = (weights / lengths[rows]).astype(np.float32)
    return csr_matrix((values, (rows, columns)), shape=(len(texts), len(places)))


def _typical(images: Sequence[int], rows: csr_matrix) -> list[int]:
    """Return for each image the caption most like its others."""
    _, groups = np.unique(images, return_inverse=True)
    order = np.argsort(groups, kind="stable")
    best = []
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        likeness = (rows[members] @ rows[members].T).sum(axis=1)
        best.append(int(members[int(np.argmax(likeness))]))
    return best


def _farthest(rows: csr_matrix, chosen: list[int], count: int) -> list[int]:
    """Add captions one by one, each the least like all chosen before."""
    nearest = _most_alike(rows, chosen)
    while len(chosen) < count:
        place = int(np.argmin(nearest))
        chosen.append(place)
        nearest = np.maximum(nearest, (rows @ rows[place].T).toarray().ravel())
        nearest[place] = np.inf
    return chosen


def _most_alike(rows: csr_matrix, chosen: Sequence[int]) -> npt.NDArray[np.float32]:
    """Cosine of every caption with the most similar of the chosen; infinite for these."""
    nearest = np.full(rows.shape[0], -np.inf, np.float32)
    for first in range(0, len(chosen), 256):
        some = rows[list(chosen[first : first + 256])]
        nearest = np.maximum(nearest, (rows @ some.T).max(axis=1).toarray().ravel())
    nearest[list(chosen)] = np.inf
    return nearest
