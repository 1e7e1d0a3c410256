"""The DeCap prefix decoder: one linear layer, a small GPT-2, CLIP's word pieces."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from napari_patchioner.errors import ModelError

from .bpe import ClipTokenizer, Gpt2Tokenizer
from .caption import Caption, Evidence
from .gpt import PrefixGPT
from .gpt_decoder import GptDecoder, published_gpt, tidy_sentence
from .options import CaptionOptions
from .search import SearchOptions, caption_rows, rate

# CLIP's word pieces leave "a dog , a child 's toy".
_LOOSE = re.compile(r" (?=[,.;:!?)]|'(?:s|t|re|ve|m|ll|d)\b)|(?<=\() ")


def prefix_gpt_from_decap(
    state: Mapping[str, Tensor], *, heads: int = 4, source: object = "The DeCap checkpoint"
) -> PrefixGPT:
    """Build a decoder from the state dictionary of a published DeCap checkpoint.

    Its keys are ``decoder.transformer.*`` and ``clip_project.model.0.*``;
    ``decoder.lm_head.weight`` may be present and is not read, as the architecture ties it to the
    token embedding. The weights do not state the number of ``heads``; ``source`` is where they came
    from, for messages. A ModelError names weights that are missing, left over, of another shape or
    not finite.
    """
    names = (("clip_project.model.0.{kind}", "prefix.{kind}"),)
    return published_gpt(
        state, gpt="decoder", prefix=names, mapper="linear", heads=heads, source=source
    )


class DeCapDecoder(GptDecoder):
    """Captions vectors in CLIP's or Talk2DINO's text space, or any that it was trained in.

    Behind a memory bridge it is DeCap. CapDec and CLOSE are the same decoder trained on noisy
    text embeddings: put it behind a `NormalizeBridge`, which only scales to length one.

    The model's vocabulary may be larger than CLIP's (GPT-2's 50,257 in published decoders): the ids
    above are never generated; if it is smaller, that is a ModelError. A ``length_penalty`` of 0
    compares sentences by the sum of log-probabilities, 1 by their mean. ``tidy`` closes the gaps
    that CLIP's word pieces leave before punctuation; without it words are spelt as the published
    code spells them.

    A decoder that was trained with word pieces of its own reads them from a folder as `tokenizer`
    instead of ``merges``; their mark of a document's end ends a caption.
    """

    published = staticmethod(prefix_gpt_from_decap)

    def __init__(
        self,
        model: PrefixGPT,
        tokenizer: ClipTokenizer | Gpt2Tokenizer,
        *,
        length_penalty: float = 1.0,
        tidy: bool = True,
    ) -> None:
        super().__init__(model, tokenizer, tidy=tidy)
        if tokenizer.end is None:
            raise ModelError("The word pieces lack the mark of an end; train the decoder again.")
        self._end = tokenizer.end
        self.search = SearchOptions(length_penalty=length_penalty)

    @classmethod
    def _open_tokenizer(cls, files: Mapping[str, Path]) -> ClipTokenizer | Gpt2Tokenizer:
        if "tokenizer" in files:
            return Gpt2Tokenizer(files["tokenizer"])
        if "merges" not in files:
            raise ModelError(
                "The decoder needs its word pieces: CLIP's as merges, or its own as tokenizer."
            )
        return ClipTokenizer(files["merges"])

    def _decode(
        self, vectors: Tensor, evidence: Sequence[Evidence] | None, options: CaptionOptions
    ) -> list[Caption]:
        max_tokens = self.default_tokens if options.max_tokens is None else options.max_tokens
        max_tokens = min(max_tokens, self.model.longest)
        # A vector of zeros is what a region that shows nothing would be.
        text = replace(self._token_text, empty=torch.zeros_like(vectors[:1]))
        return caption_rows(self.model, vectors, text, options, max_tokens)

    def _rated(
        self, vectors: Tensor, evidence: Sequence[Evidence] | None, sentences: list[list[int]]
    ) -> Tensor:
        longest = self.model.longest
        return rate(self.model, vectors, [tokens[:longest] for tokens in sentences])

    def _spelt(self, text: str) -> list[int]:
        plain = text.strip(" .")
        if not plain:
            return []
        if isinstance(self.tokenizer, Gpt2Tokenizer):
            return [*self.tokenizer.encode(f" {plain}"), self._end]
        return [self.tokenizer.start, *self.tokenizer.encode(plain), self._end]

    def _ends(self) -> tuple[int, ...]:
        return (self._end,)

    def _encode_inside(self, phrase: str) -> list[int]:
        own = isinstance(self.tokenizer, Gpt2Tokenizer)
        return self.tokenizer.encode(f" {phrase}" if own else phrase)

    def _text(self, tokens: Sequence[int]) -> str:
        """Spell the tokens before the end, without the start token or the final stop."""
        if isinstance(self.tokenizer, Gpt2Tokenizer):
            text = self.tokenizer.decode(tokens, special=False)
            return (tidy_sentence(text) if self.tidy else text).strip(" .")
        special = (self.tokenizer.start, self.tokenizer.end)
        text = self.tokenizer.decode(token for token in tokens if token not in special)
        return (_LOOSE.sub("", text) if self.tidy else text).strip(" .")
