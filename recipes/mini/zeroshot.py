"""A head learned from whole images only, by asking which window shows which thing mentioned."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.bridges.concepts import softmax
from napari_patchioner.evaluation.metrics.mention import STUFF, named

from .head import fit_reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .head import Basis, Reading
    from .pooled import Pooled, Tags

FloatArray: TypeAlias = npt.NDArray[np.float32]

ROUNDS = 3
EPOCHS = 3
UNITS = 64
"""Of the readings, whose labels are guesses: less fitting than regions with names deserve."""

LEAST_SHARE = 0.1
"""Every thing mentioned gets at least this share of an image's windows."""

UNMENTIONED, UNMENTIONED_STUFF = 0.05, 0.5
"""How far what nobody listed is believed, where nobody was asked to list it: things, and stuff,
which captions leave out more often than not."""


def allowed(tags: Tags, outputs: Sequence[str]) -> FloatArray:
    """How far each output may be in an image, 0 to 1, from its tags and captions.

    Parameters
    ----------
    tags : Tags
    outputs : sequence of str
        Plain category names.

    Returns
    -------
    ndarray of float32, shape (len(outputs),)
    """
    said = set[str]().union(*(names for caption in tags.captions for names in named(caption)))
    found = np.zeros(len(outputs), np.float32)
    for index, name in enumerate(outputs):
        is_stuff = name in STUFF
        if name in tags.categories:
            found[index] = 1.0
        elif not (tags.stuff_known if is_stuff else tags.things_known):
            unmentioned = UNMENTIONED_STUFF if is_stuff else UNMENTIONED
            found[index] = 1.0 if name in said else unmentioned
    return found


def fit_from_tags(
    windows: Pooled,
    tags: Mapping[str, Tags],
    outputs: Sequence[str],
    known: FloatArray,
    basis: Basis,
) -> Reading:
    """Learn outputs from windows by turns: share windows out among the tags, fit, again.

    Parameters
    ----------
    windows : Pooled
        Windows of the training images.
    tags : mapping of str to Tags
        By file name; only these and the pixels are used.
    outputs : sequence of str
        Plain category names.
    known : ndarray of float32, shape (n, len(outputs))
        Log-probability that the ImageNet classifier gives each output in each window.
    basis : Basis

    Returns
    -------
    Reading
    """
    names, rows = np.unique(windows.images, return_inverse=True)
    may = np.stack([allowed(tags[name], outputs) for name in names])
    weights = np.where(windows.areas > 0.5, 0.5, 1.0).astype(np.float32)
    scores, inputs = known, basis(windows.features)
    for _ in range(ROUNDS):
        targets = share_out(scores, may, rows)
        reading = fit_reading(inputs, targets, weights, basis, units=UNITS, epochs=EPOCHS)
        scores = 0.5 * reading.logits(windows.features) + 0.5 * known
    return reading


def share_out(scores: FloatArray, may: FloatArray, rows: npt.NDArray[np.int64]) -> FloatArray:
    """Give every window to the tags of its image, and every tag some windows.

    Parameters
    ----------
    scores : ndarray of float32, shape (n, outputs)
        Logits of every window.
    may : ndarray of float32, shape (images, outputs)
        What each image may show.
    rows : ndarray of int64, shape (n,)
        The image of each window.

    Returns
    -------
    ndarray of float32, shape (n, outputs)
        Each row sums to one over what its image may show.
    """
    shares = softmax(scores + np.log(may[rows] + 1e-9))
    for _ in range(5):
        totals = np.zeros_like(may)
        np.add.at(totals, rows, shares)
        wanted = LEAST_SHARE * (may == 1) * np.bincount(rows, minlength=len(may))[:, None]
        lift = np.maximum(1.0, wanted / np.maximum(totals, 1e-9))
        shares = shares * np.minimum(lift, 1e6)[rows]
        shares /= shares.sum(1, keepdims=True)
    return shares.astype(np.float32)
