"""How far a decoder is from given captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def caption_loss(
    logits: Tensor, tokens: Tensor, *, padding: int = 0, label_smoothing: float = 0.1
) -> Tensor:
    """Cross-entropy of captions under teacher forcing, as DeCap is trained.

    Parameters
    ----------
    logits : Tensor, shape (n, t + 1, vocab)
        What ``PrefixGPT.forward`` gave for ``tokens``; the last place predicts nothing.
    tokens : Tensor of int64, shape (n, t)
        The captions, padded with ``padding``, which does not count.
    padding : int
        The token that is not learnt.
    label_smoothing : float
        Share of probability spread over all tokens.

    Returns
    -------
    Tensor
        A scalar, the mean over the tokens that count.
    """
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1),
        tokens.flatten(),
        ignore_index=padding,
        label_smoothing=label_smoothing,
    )
