"""The ClipCap decoder: a vector becomes a soft prompt for GPT-2, and nothing else is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from .caption import Evidence
from .gpt import PrefixGPT
from .gpt_decoder import PromptDecoder, mapper_names, published_gpt


def prefix_gpt_from_clipcap(
    state: Mapping[str, Tensor],
    *,
    heads: int = 12,
    mapper_heads: int = 8,
    source: object = "The ClipCap checkpoint",
) -> PrefixGPT:
    """Build a decoder from the state dictionary of a published ClipCap checkpoint.

    Its keys are ``gpt.*`` and either ``clip_project.model.{0,2}.*`` (MLP) or
    ``clip_project.{linear,prefix_const,transformer}.*``; see :func:`prefix_gpt_from_decap`.
    """
    names = (
        ("clip_project.model.0.{kind}", "prefix.0.{kind}"),
        ("clip_project.model.2.{kind}", "prefix.2.{kind}"),
        *mapper_names("clip_project"),
    )
    return published_gpt(
        state,
        gpt="gpt",
        prefix=names,
        mapper="transformer" if "clip_project.prefix_const" in state else "mlp",
        heads=heads,
        mapper_heads=mapper_heads,
        source=source,
    )


class ClipCapDecoder(PromptDecoder):
    """Captions vectors with GPT-2 and ClipCap's MLP or transformer mapper.

    A caption ends with its first full stop. Greedy and beam search are those of the ClipCap
    authors; Patch-ioner's evaluation draws tokens at random instead (nucleus sampling, p = 0.8),
    which no two runs repeat and which is left out. See `PromptDecoder` for the parameters.
    """

    default_tokens = 67
    published = staticmethod(prefix_gpt_from_clipcap)

    def _ends(self) -> tuple[int, ...]:
        return (self.tokenizer.stop,)

    def _prompts(self, vectors: Tensor, evidence: Sequence[Evidence] | None) -> list[Tensor]:
        return list(self.model.embed_prefix(vectors))
