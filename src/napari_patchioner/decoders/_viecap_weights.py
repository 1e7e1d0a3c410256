"""Published ViECap checkpoints, told in this package's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._mapping import MapperConfig
from ._weights import Names, PublishedGpt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ._gpt import PrefixGPT

_LAYER = {
    "norm1.{kind}": "norm_mix.{kind}",
    "attn.to_queries.weight": "query.weight",
    "attn.to_keys_values.weight": "key_value.weight",
    "attn.project.{kind}": "mix_out.{kind}",
    "norm2.{kind}": "norm_think.{kind}",
    "mlp.fc1.{kind}": "think.{kind}",
    "mlp.fc2.{kind}": "think_out.{kind}",
}


def prefix_gpt_from_viecap(
    state: Mapping[str, Tensor],
    *,
    heads: int = 12,
    mapper_heads: int = 8,
    source: object = "The ViECap checkpoint",
) -> PrefixGPT:
    """Build a decoder from the state dictionary of a published ViECap checkpoint.

    Parameters
    ----------
    state : mapping of str to Tensor
        Keys ``mapping_network.{linear,prefix_const,transformer}.*`` and ``gpt.*``.
    heads, mapper_heads : int
        Attention heads of GPT-2 and of the mapper, which the weights do not tell.
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
    names = mapper_names("mapping_network")
    published = PublishedGpt(state, gpt="gpt", prefix=names, source=source)
    return with_mapper(published, heads, mapper_heads)


def mapper_names(stem: str) -> Names:
    """Names of a transformer mapper that a checkpoint keeps under ``stem``."""
    layers = (
        (f"{stem}.transformer.layers.{{n}}.{theirs}", f"prefix.layers.{{n}}.{ours}")
        for theirs, ours in _LAYER.items()
    )
    return (
        (f"{stem}.linear.{{kind}}", "prefix.linear.{kind}"),
        (f"{stem}.prefix_const", "prefix.constants"),
        *layers,
    )


def with_mapper(published: PublishedGpt, heads: int, mapper_heads: int) -> PrefixGPT:
    """Build a decoder whose prefix is made by a transformer mapper."""
    tokens, width = published.shape("prefix.constants")
    numbers, dim = published.shape("prefix.linear.weight")
    mapper = MapperConfig(
        "transformer",
        hidden=published.shape("prefix.layers.0.think.weight")[0],
        layers=published.count("prefix.layers"),
        heads=mapper_heads,
        projected=max(1, numbers // width),
    )
    return published.build(heads=heads, dim=dim, numbers=tokens * width, mapper=mapper)
