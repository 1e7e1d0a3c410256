"""The ViECap decoder: GPT-2 reads what was recognised in words and the vector in soft tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_patchioner.errors import ModelError

from .bpe import Gpt2Tokenizer
from .caption import Caption, Evidence
from .gpt import PrefixGPT
from .gpt_decoder import DEFAULTS, PromptDecoder, mapper_names, published_gpt
from .options import CaptionOptions

Prompt: TypeAlias = Literal["soft-hard", "hard-soft", "soft", "hard"]
_PROMPTS = ("soft-hard", "hard-soft", "soft", "hard")


def hard_prompt(names: Sequence[str]) -> str:
    """Return the words ViECap puts before a caption, of the names recognised, surest first.

    >>> hard_prompt(["dog", "park"]), hard_prompt([])
    ('There are dog, park in image.', 'There are something in image.')
    """
    return f"There are {', '.join(names) or 'something'} in image."


def prefix_gpt_from_viecap(
    state: Mapping[str, Tensor],
    *,
    heads: int = 12,
    mapper_heads: int = 8,
    source: object = "The ViECap checkpoint",
) -> PrefixGPT:
    """Build a decoder from the state dictionary of a published ViECap checkpoint.

    Its keys are ``mapping_network.{linear,prefix_const,transformer}.*`` and ``gpt.*``; see
    :func:`prefix_gpt_from_decap`.
    """
    return published_gpt(
        state,
        gpt="gpt",
        prefix=mapper_names("mapping_network"),
        mapper="transformer",
        heads=heads,
        mapper_heads=mapper_heads,
        source=source,
    )


class ViECapDecoder(PromptDecoder):
    """Captions unit vectors with the names of what was recognised in each region.

    The vector becomes soft tokens; the names, best first, become "There are dog, park in image.",
    or "There are something in image." where there are none. MeaCap's concepts go the same way.
    A caption ends with its first full stop. The ``prompt`` is what is read before the caption, in
    this order; ``"soft-hard"`` is how the released decoders were trained.
    """

    default_tokens = 64
    published = staticmethod(prefix_gpt_from_viecap)

    def __init__(
        self,
        model: PrefixGPT,
        tokenizer: Gpt2Tokenizer,
        *,
        prompt: Prompt = "soft-hard",
        tidy: bool = True,
    ) -> None:
        super().__init__(model, tokenizer, tidy=tidy)
        if prompt not in _PROMPTS:
            raise ModelError(f"A prompt is one of {', '.join(_PROMPTS)}, not {prompt!r}.")
        self.prompt: Prompt = prompt

    def decode(
        self,
        vectors: npt.NDArray[np.float32],
        options: CaptionOptions | None = None,
        *,
        evidence: Sequence[Evidence] | None = None,
        **changes: Any,
    ) -> list[Caption]:
        """Caption every row of ``vectors``, shape (n, d); see :class:`Decoder`.

        The evidence's ``concepts``, one evidence per vector, are the names and come back as those
        of the caption. Excluded names are left out of the prompt, too, and required words lead it.
        """
        options = (options or DEFAULTS).changed(changes)
        if evidence is None:
            return super().decode(vectors, options)
        if len(evidence) != len(vectors):
            raise ModelError(
                f"There are {len(vectors)} regions but evidence of {len(evidence)}; "
                "give one for each."
            )
        named = []
        for item in evidence:
            kept = (concept for concept in item.concepts if not options.excludes(concept[0]))
            required = ((phrase, 1.0) for phrase in options.must_include)
            named.append(replace(item, concepts=(*required, *kept)))
        captions = super().decode(vectors, options, evidence=named)
        return [
            replace(caption, concepts=tuple(item.concepts), verdict=item.verdict)
            for caption, item in zip(captions, evidence, strict=True)
        ]

    def _ends(self) -> tuple[int, ...]:
        return self.tokenizer.stops

    def _prompts(self, vectors: Tensor, evidence: Sequence[Evidence] | None) -> list[Tensor]:
        """Soft and hard prompts in the chosen order."""
        if self.prompt == "soft":
            return list(self.model.embed_prefix(vectors))
        concepts = [()] * len(vectors) if evidence is None else [item.concepts for item in evidence]
        device = self.model.tokens.weight.device
        hard: list[Tensor] = []
        for names in concepts:
            tokens = self.tokenizer.encode(hard_prompt([name for name, _ in names]))
            hard.append(self.model.tokens(torch.tensor(tokens, device=device)))
        if self.prompt == "hard":
            return hard
        pairs = zip(self.model.embed_prefix(vectors), hard, strict=True)
        soft_first = self.prompt == "soft-hard"
        return [torch.cat([soft, words] if soft_first else [words, soft]) for soft, words in pairs]
