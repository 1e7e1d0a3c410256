"""Published DeCap checkpoints, told in this package's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._weights import Names, PublishedGpt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ._gpt import PrefixGPT

_PREFIX: Names = (("clip_project.model.0.{kind}", "prefix.{kind}"),)


def prefix_gpt_from_decap(
    state: Mapping[str, Tensor], *, heads: int = 4, source: object = "The DeCap checkpoint"
) -> PrefixGPT:
    """Build a decoder from the state dictionary of a published DeCap checkpoint.

    Parameters
    ----------
    state : mapping of str to Tensor
        Keys ``decoder.transformer.*`` and ``clip_project.model.0.*``; the tied
        ``decoder.lm_head.weight`` may be present.
    heads : int
        Attention heads, which the weights do not tell; the published decoders have 4.
    source : object
        Where the weights came from, for messages.

    Returns
    -------
    PrefixGPT
        In evaluation mode, single precision, without gradients.

    Raises
    ------
    ModelError
        Weights are missing, left over, of another shape or not finite; they are named.

    Notes
    -----
    ``decoder.lm_head.weight`` is not read: the architecture ties it to the token embedding.
    """
    published = PublishedGpt(state, gpt="decoder", prefix=_PREFIX, source=source)
    numbers, dim = published.shape("prefix.weight")
    return published.build(heads=heads, dim=dim, numbers=numbers)
