"""Beams shared among sentences that have come equally far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ._language_model import Goals


def with_openings(
    goals: Goals, past: Tensor, totals: Tensor, best: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Add the tokens that lead on to the likeliest ones.

    Parameters
    ----------
    goals : Goals
        They name the tokens.
    past : Tensor of int64, shape (m, t)
        The sentences so far.
    totals : Tensor, shape (m, vocab)
        What each sentence would score with each token.
    best, tokens : Tensor, shape (m, w)
        The highest of these, and their tokens.

    Returns
    -------
    best, tokens : Tensor, shape (m, w + f)
        -inf where there was nothing to add.
    """
    openings = goals.openings(past)
    known = (openings[:, :, None] == tokens[:, None]).any(dim=2) | (openings < 0)
    openings = openings.clamp(min=0)
    added = totals.gather(1, openings).masked_fill(known, -torch.inf)
    return torch.cat([best, added], dim=1), torch.cat([tokens, openings], dim=1)


def share_out(
    goals: Goals, past: Tensor, totals: Tensor, tokens: Tensor, wanted: int
) -> tuple[Tensor, Tensor]:
    """Choose continuations: in turn the best of those that have come farthest, then less far.

    Parameters
    ----------
    goals : Goals
        They say how far a sentence has come.
    past : Tensor of int64, shape (n, k, t)
        The sentences so far.
    totals : Tensor, shape (n, k * w)
        What each candidate scores.
    tokens : Tensor of int64, shape (n * k, w)
        Their tokens.
    wanted : int
        How many to choose for each row.

    Returns
    -------
    totals : Tensor, shape (n, wanted)
        Of the chosen; the first ``k`` make the next beams and, like the rest, are best first.
    chosen : Tensor of int64, shape (n, wanted)
        Their places among the candidates.
    """
    rows, beams, length = past.shape
    width = tokens.shape[1]
    flat = past.reshape(rows * beams, 1, length).expand(-1, width, -1)
    sentences = torch.cat([flat, tokens[:, :, None]], dim=2).reshape(-1, length + 1)
    bank = goals.progress(sentences).reshape(rows, beams * width)
    totals, order = totals.sort(dim=1, descending=True, stable=True)
    bank = bank.gather(1, order)
    turn = torch.zeros_like(bank)
    for number in range(goals.banks):
        own = bank == number
        turn = torch.where(own, own.cumsum(dim=1), turn)
    key = turn * goals.banks - bank
    key = key.masked_fill(totals == -torch.inf, torch.iinfo(key.dtype).max)
    picked = key.sort(dim=1, stable=True).indices[:, :wanted]
    # Places in ``order`` are ranks: sorted, the best come first again.
    picked = torch.cat(
        [
            part.sort(dim=1).values
            for part in picked.split_with_sizes(
                [min(beams, picked.shape[1]), max(picked.shape[1] - beams, 0)], dim=1
            )
        ],
        dim=1,
    )
    return totals.gather(1, picked), order.gather(1, picked)
