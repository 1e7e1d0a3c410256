"""The ClipCap decoder: a vector becomes a soft prompt for GPT-2, and nothing else is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ._clipcap_weights import prefix_gpt_from_clipcap
from ._gpt2_bpe import Gpt2Tokenizer
from ._prompt import PromptDecoder
from ._weights import open_prefix_gpt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from ._caption import Evidence


class ClipCapDecoder(PromptDecoder):
    """Writes captions from vectors; a caption ends with its first full stop.

    Greedy and beam search are those of the ClipCap authors; Patch-ioner's evaluation draws tokens
    at random instead (nucleus sampling, p = 0.8), which no two runs repeat and which is left out.

    Parameters
    ----------
    model : PrefixGPT
        GPT-2 with ClipCap's MLP or transformer mapper; moved to evaluation mode.
    tokenizer : Gpt2Tokenizer
        GPT-2's.
    tidy : bool
        Close gaps before punctuation; False gives the words as the published code spells them.

    Raises
    ------
    ModelError
        If the model knows fewer tokens than the tokenizer.
    """

    most_tokens: ClassVar[int] = 67

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        heads: int = 12,
        mapper_heads: int = 8,
        tidy: bool = True,
    ) -> ClipCapDecoder:
        """Open a decoder from files.

        Parameters
        ----------
        files : mapping of str to path
            ``weights``: the published checkpoint (keys ``clip_project.*`` and ``gpt.*``), or what
            `PrefixGPT.save` wrote. ``tokenizer``: a folder with GPT-2's ``vocab.json`` and
            ``merges.txt``.
        heads, mapper_heads : int
            Attention heads of GPT-2 and of a transformer mapper, which a checkpoint does not tell.
        tidy
            As for the class.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not fit.
        """
        model = open_prefix_gpt(
            files["weights"],
            lambda state, source: prefix_gpt_from_clipcap(
                state, heads=heads, mapper_heads=mapper_heads, source=source
            ),
        )
        return cls(model, Gpt2Tokenizer(files["tokenizer"]), tidy=tidy)

    def _ends(self) -> tuple[int, ...]:
        return (self.tokenizer.stop,)

    def _prompts(self, vectors: Tensor, evidence: Sequence[Evidence] | None) -> list[Tensor]:
        """Soft tokens; evidence is not read."""
        return list(self.model.embed_prefix(vectors))
