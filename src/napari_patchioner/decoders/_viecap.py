"""The ViECap decoder: what was recognised is told to GPT-2 in words and in soft tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from napari_patchioner.errors import ModelError

from ._gpt2_bpe import Gpt2Tokenizer
from ._prompt import PromptDecoder, hard_prompt
from ._viecap_weights import prefix_gpt_from_viecap
from ._weights import open_prefix_gpt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from ._caption import Caption, Evidence
    from ._gpt import PrefixGPT
    from ._wishes import Wishes

Prompt: TypeAlias = Literal["soft-hard", "hard-soft", "soft", "hard"]
_PROMPTS = ("soft-hard", "hard-soft", "soft", "hard")


class ViECapDecoder(PromptDecoder):
    """Writes captions from unit vectors and the names of what was recognised in each region.

    The vector becomes soft tokens; the names, best first, become "There are dog, park in image.",
    or "There are something in image." where there are none. MeaCap's concepts go the same way.
    A caption ends with its first full stop.

    Parameters
    ----------
    model : PrefixGPT
        GPT-2 with a `MappingNetwork`; moved to evaluation mode.
    tokenizer : Gpt2Tokenizer
        GPT-2's.
    prompt : {"soft-hard", "hard-soft", "soft", "hard"}
        What is read before the caption, in this order; the first is how the released decoders
        were trained.
    tidy : bool
        Close gaps before punctuation; False gives the words as the published code spells them.

    Raises
    ------
    ModelError
        If the model knows fewer tokens than the tokenizer, or the prompt is unknown.
    """

    most_tokens: ClassVar[int] = 64

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

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        heads: int = 12,
        mapper_heads: int = 8,
        prompt: Prompt = "soft-hard",
        tidy: bool = True,
    ) -> ViECapDecoder:
        """Open a decoder from files.

        Parameters
        ----------
        files : mapping of str to path
            ``weights``: the published checkpoint (keys ``mapping_network.*`` and ``gpt.*``), or
            what `PrefixGPT.save` wrote. ``tokenizer``: a folder with GPT-2's ``vocab.json`` and
            ``merges.txt``.
        heads, mapper_heads : int
            Attention heads of GPT-2 and of the mapper, which a checkpoint does not tell.
        prompt, tidy
            As for the class.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not fit.
        """
        model = open_prefix_gpt(
            files["weights"],
            lambda state, source: prefix_gpt_from_viecap(
                state, heads=heads, mapper_heads=mapper_heads, source=source
            ),
        )
        return cls(model, Gpt2Tokenizer(files["tokenizer"]), prompt=prompt, tidy=tidy)

    def decode(
        self,
        vectors: npt.NDArray[np.float32],
        *,
        max_tokens: int | None = None,
        beams: int = 1,
        alternatives: int = 0,
        evidence: Sequence[Evidence] | None = None,
        wishes: Wishes | None = None,
    ) -> list[Caption]:
        """Write one caption per row of ``vectors``, shape (n, d); see :class:`Decoder`.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, d)
            Region embeddings of unit length.
        max_tokens : int, optional
            Longest caption in tokens; 64 by default, as published.
        beams : int
            Sentences followed side by side; finished ones compete with the others.
        alternatives : int
            How many other captions to give where there are any.
        evidence : sequence of Evidence, optional
            Its ``concepts`` are the names; they come back as those of the caption.
        wishes : Wishes, optional
            Unwanted names are left out of the prompt, too, and wanted words lead it.

        Raises
        ------
        ModelError
            The evidence is not one per vector, or the vectors have another length.
        """
        captions = super().decode(
            vectors,
            max_tokens=max_tokens,
            beams=beams,
            alternatives=alternatives,
            evidence=evidence if wishes is None else _wished(evidence, wishes),
            wishes=wishes,
        )
        if evidence is None:
            return captions
        return [
            replace(caption, concepts=tuple(seen.concepts), verdict=seen.verdict)
            for caption, seen in zip(captions, evidence, strict=True)
        ]

    def _ends(self) -> tuple[int, ...]:
        return self.tokenizer.stops

    def _prompts(self, vectors: Tensor, evidence: Sequence[Evidence] | None) -> list[Tensor]:
        """Soft and hard prompts in the chosen order."""
        if evidence is not None and len(evidence) != len(vectors):
            raise ModelError(
                f"There are {len(vectors)} regions but evidence of {len(evidence)}; "
                "give one for each."
            )
        if self.prompt == "soft":
            return list(self.model.embed_prefix(vectors))
        names = [[]] * len(vectors) if evidence is None else [_names(seen) for seen in evidence]
        hard = [self._embed(hard_prompt(one)) for one in names]
        if self.prompt == "hard":
            return hard
        pairs = zip(self.model.embed_prefix(vectors), hard, strict=True)
        ahead = self.prompt == "soft-hard"
        return [torch.cat([soft, words] if ahead else [words, soft]) for soft, words in pairs]

    def _embed(self, text: str) -> Tensor:
        weight = self.model.tokens.weight
        embedded: Tensor = self.model.tokens(
            torch.tensor(self.tokenizer.encode(text), device=weight.device)
        )
        return embedded


def _names(seen: Evidence) -> list[str]:
    return [name for name, _ in seen.concepts]


def _wished(evidence: Sequence[Evidence] | None, wishes: Wishes) -> list[Evidence] | None:
    """Evidence without the names that may not be written, led by the words that must be."""
    if evidence is None:
        return None
    wanted = tuple((phrase, 1.0) for phrase in wishes.must)
    return [
        replace(
            seen, concepts=(*wanted, *(one for one in seen.concepts if not wishes.refuses(one[0])))
        )
        for seen in evidence
    ]
