"""The DeCap prefix decoder: one linear layer, a small GPT-2, CLIP's word pieces."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from napari_patchioner.errors import ModelError

from ._bpe import ClipTokenizer
from ._decap_weights import prefix_gpt_from_decap
from ._generate import generate
from ._tell import tell
from ._weights import open_prefix_gpt
from ._wish_spelling import Spelling
from ._wish_writing import Pen, write_wished

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from ._caption import Caption, Evidence
    from ._gpt import PrefixGPT
    from ._wishes import Wishes

# CLIP's word pieces leave "a dog , a child 's toy".
_LOOSE = re.compile(r" (?=[,.;:!?)]|'(?:s|t|re|ve|m|ll|d)\b)|(?<=\() ")


class DeCapDecoder:
    """Writes captions from vectors in CLIP's or Talk2DINO's text space.

    Behind a memory bridge it is DeCap. CapDec and CLOSE are the same decoder trained on noisy
    text embeddings: put it behind a `NormalizeBridge`, which only scales to length one.

    Parameters
    ----------
    model : PrefixGPT
        The trained decoder; moved to evaluation mode.
    tokenizer : ClipTokenizer
        CLIP's. The model's vocabulary may be larger (GPT-2's 50,257 in published decoders):
        the ids above are never written.
    length_penalty : float
        0 compares sentences by the sum of log-probabilities, 1 by their mean.
    tidy : bool
        Close the gaps CLIP's word pieces leave before punctuation; False gives the words as the
        published code spells them.

    Raises
    ------
    ModelError
        If the model knows fewer tokens than the tokenizer.
    """

    def __init__(
        self,
        model: PrefixGPT,
        tokenizer: ClipTokenizer,
        *,
        length_penalty: float = 1.0,
        tidy: bool = True,
    ) -> None:
        if model.vocab_size < tokenizer.size:
            raise ModelError(
                f"The decoder knows {model.vocab_size} tokens and its tokenizer {tokenizer.size}; "
                "use the tokenizer the decoder was trained with."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.length_penalty = length_penalty
        self.tidy = tidy

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        heads: int = 4,
        length_penalty: float = 1.0,
        tidy: bool = True,
    ) -> DeCapDecoder:
        """Open a decoder from files.

        Parameters
        ----------
        files : mapping of str to path
            ``weights``: the published checkpoint (keys ``decoder.transformer.*`` and
            ``clip_project.model.0.*``), or what `PrefixGPT.save` wrote. ``merges``: CLIP's
            ``bpe_simple_vocab_16e6.txt.gz`` or ``merges.txt``.
        heads : int
            Attention heads, which a checkpoint does not tell.
        length_penalty, tidy
            As for the class.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not fit.
        """
        model = open_prefix_gpt(
            files["weights"],
            lambda state, source: prefix_gpt_from_decap(state, heads=heads, source=source),
        )
        tokenizer = ClipTokenizer(files["merges"])
        return cls(model, tokenizer, length_penalty=length_penalty, tidy=tidy)

    @property
    def provenance(self) -> Mapping[str, str]:
        """What the decoder was trained behind, such as the hash of a projection."""
        return self.model.notes

    def decode(
        self,
        vectors: npt.NDArray[np.float32],
        *,
        max_tokens: int = 30,
        beams: int = 1,
        alternatives: int = 0,
        evidence: Sequence[Evidence] | None = None,
        wishes: Wishes | None = None,
    ) -> list[Caption]:
        """Write one caption per row of ``vectors``, shape (n, d); see :class:`Decoder`.

        Captions are no longer than the model has positions for, and ``evidence`` is not read.
        """
        weight = self.model.tokens.weight
        read = torch.as_tensor(vectors, dtype=weight.dtype, device=weight.device)
        max_tokens = min(max_tokens, self.model.longest)
        if wishes is not None and wishes.steer:
            return write_wished(
                self.model,
                read,
                self._pen,
                wishes,
                max_tokens=max_tokens,
                beams=beams,
                alternatives=alternatives,
            )
        hypotheses = generate(
            self.model,
            read,
            end=self.tokenizer.end,
            max_tokens=max_tokens,
            beams=beams,
            keep=min(beams, 1 + alternatives),
            length_penalty=self.length_penalty,
            bias=self._bias(weight),
        )
        return [tell(found, self._text, alternatives=alternatives) for found in hypotheses]

    @cached_property
    def _pen(self) -> Pen:
        """How captions are written that have to grant wishes."""
        return Pen(
            spelling=Spelling(self.tokenizer.pieces(), self.model.vocab_size),
            ends=(self.tokenizer.end,),
            encode=self.tokenizer.encode,
            text_of=self._text,
            length_penalty=self.length_penalty,
            bias=self._bias(self.model.tokens.weight),
        )

    def _bias(self, like: torch.Tensor) -> torch.Tensor | None:
        """Forbid what the tokenizer cannot spell."""
        if self.model.vocab_size == self.tokenizer.size:
            return None
        bias = like.new_zeros(self.model.vocab_size)
        bias[self.tokenizer.size :] = -torch.inf
        return bias

    def _text(self, tokens: Sequence[int]) -> str:
        """Spell the tokens before the end, without the start token or the final stop."""
        special = (self.tokenizer.start, self.tokenizer.end)
        text = self.tokenizer.decode(token for token in tokens if token not in special)
        return (_LOOSE.sub("", text) if self.tidy else text).strip(" .")
