"""Published ClipCap checkpoints, told in this package's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._mapping import MapperConfig
from ._viecap_weights import mapper_names, with_mapper
from ._weights import Names, PublishedGpt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ._gpt import PrefixGPT

_MLP: Names = (
    ("clip_project.model.0.{kind}", "prefix.0.{kind}"),
    ("clip_project.model.2.{kind}", "prefix.2.{kind}"),
)


def prefix_gpt_from_clipcap(
    state: Mapping[str, Tensor],
    *,
    heads: int = 12,
    mapper_heads: int = 8,
    source: object = "The ClipCap checkpoint",
) -> PrefixGPT:
    """Build a decoder from the state dictionary of a published ClipCap checkpoint.

    Parameters
    ----------
    state : mapping of str to Tensor
        Keys ``gpt.*`` and either ``clip_project.model.{0,2}.*`` (MLP) or
        ``clip_project.{linear,prefix_const,transformer}.*``.
    heads, mapper_heads : int
        Attention heads of GPT-2 and of a transformer mapper, which the weights do not tell.
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
    """
    names = (*_MLP, *mapper_names("clip_project"))
    published = PublishedGpt(state, gpt="gpt", prefix=names, source=source)
    if "prefix.constants" in published.state:
        return with_mapper(published, heads, mapper_heads)
    hidden, dim = published.shape("prefix.0.weight")
    numbers, _ = published.shape("prefix.2.weight")
    mapper = MapperConfig("mlp", hidden=hidden)
    return published.build(heads=heads, dim=dim, numbers=numbers, mapper=mapper)
