"""Decoders that put a prompt before a pretrained GPT-2."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from napari_patchioner.errors import ModelError

from ._generate import generate
from ._tell import tell
from ._wish_spelling import Spelling
from ._wish_writing import Pen, write_wished

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ._caption import Caption, Evidence
    from ._gpt import Cache, PrefixGPT
    from ._gpt2_bpe import Gpt2Tokenizer
    from ._wishes import Wishes

# Sentences under way at once: GPT-2 small keeps 6 MB for each of 86 places.
_SENTENCES_AT_ONCE = 64
_GAP = re.compile(r"\s+(?=[,.;:!?)])")


def hard_prompt(names: Sequence[str]) -> str:
    """Return the words ViECap puts before a caption.

    Parameters
    ----------
    names : sequence of str
        What was recognised, surest first.

    Examples
    --------
    >>> hard_prompt(["dog", "park"])
    'There are dog, park in image.'
    >>> hard_prompt([])
    'There are something in image.'
    """
    return f"There are {', '.join(names) or 'something'} in image."


def tidy_sentence(text: str) -> str:
    """Return a sentence as people write it: no gaps before punctuation, no lone full stop.

    Control characters and bytes that are no letters are left out.

    Examples
    --------
    >>> tidy_sentence(" A dog on a  beach .")
    'A dog on a beach.'
    >>> tidy_sentence(".")
    ''
    """
    readable = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    tidy = _GAP.sub("", readable.replace("\ufffd", ""))
    return tidy if any(letter.isalnum() for letter in tidy) else ""


class Prompted:
    """A GPT whose rows each go on from a prompt of their own.

    Rows of different lengths are padded in front; no place sees the padding and positions count
    from behind it, so that a row is written as if it were alone.

    Parameters
    ----------
    model : PrefixGPT
        Its own prefix is not used.
    prompts : sequence of Tensor, each of shape (length, width)
        Embedded prompts, at least one.
    """

    def __init__(self, model: PrefixGPT, prompts: Sequence[Tensor]) -> None:
        self.model = model
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=prompts[0].device)
        self.longest = int(lengths.max())
        self.padding = self.longest - lengths
        self.embedded = torch.stack(
            [functional.pad(one, (0, 0, self.longest - len(one), 0)) for one in prompts]
        )

    @property
    def vocab_size(self) -> int:
        """Number of tokens to choose from."""
        return self.model.vocab_size

    def start(self, prefix: Tensor) -> tuple[Tensor, tuple[Cache, Tensor | None]]:
        """Logits of the first token after the prompts numbered ``prefix``, shape (n,)."""
        padding = self.padding[prefix] if bool(self.padding[prefix].any()) else None
        hidden, cache = self.model.run(self.embedded[prefix], padding=padding)
        return self.model.head(hidden[:, -1]), (cache, padding)

    def step(
        self, tokens: Tensor, cache: tuple[Cache, Tensor | None]
    ) -> tuple[Tensor, tuple[Cache, Tensor | None]]:
        """Logits after one more token each, ``tokens`` of shape (n,)."""
        past, padding = cache
        hidden, past = self.model.run(self.model.tokens(tokens)[:, None], past, padding)
        return self.model.head(hidden[:, -1]), (past, padding)

    def reorder(
        self, cache: tuple[Cache, Tensor | None], rows: Tensor
    ) -> tuple[Cache, Tensor | None]:
        """Take the given rows of the cache, in that order, repeats allowed."""
        past, padding = cache
        return self.model.reorder(past, rows), None if padding is None else padding[rows]


class PromptDecoder(ABC):
    """What ViECap and ClipCap share: a prompt, GPT-2, and a full stop at the end.

    Parameters
    ----------
    model : PrefixGPT
        GPT-2 with its prefix mapper; moved to evaluation mode.
    tokenizer : Gpt2Tokenizer
        The one the model was trained with.
    tidy : bool
        Close gaps before punctuation; False gives the words as the published code spells them.

    Raises
    ------
    ModelError
        If the model knows fewer tokens than the tokenizer.
    """

    most_tokens: ClassVar[int]

    def __init__(self, model: PrefixGPT, tokenizer: Gpt2Tokenizer, *, tidy: bool = True) -> None:
        if model.vocab_size < tokenizer.size:
            raise ModelError(
                f"The decoder knows {model.vocab_size} tokens and its tokenizer {tokenizer.size}; "
                "use the tokenizer the decoder was trained with."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.tidy = tidy

    @property
    def provenance(self) -> Mapping[str, str]:
        """What the decoder was trained behind, such as the hash of a projection."""
        return self.model.notes

    @abstractmethod
    def _ends(self) -> tuple[int, ...]:
        """Tokens that end a sentence."""

    @abstractmethod
    def _prompts(self, vectors: Tensor, evidence: Sequence[Evidence] | None) -> list[Tensor]:
        """Embedded prompts, each of shape (length, width)."""

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

        With several beams, finished sentences compete with the others as in ClipCap's search.
        Captions are no longer than the model has positions for.
        """
        at_once = max(1, _SENTENCES_AT_ONCE // beams)
        captions: list[Caption] = []
        for first in range(0, len(vectors), at_once):
            rows = slice(first, first + at_once)
            seen = None if evidence is None else evidence[rows]
            captions += self._decode(vectors[rows], seen, max_tokens, beams, alternatives, wishes)
        return captions

    @torch.inference_mode()
    def _decode(
        self,
        vectors: npt.NDArray[np.float32],
        evidence: Sequence[Evidence] | None,
        max_tokens: int | None,
        beams: int,
        alternatives: int,
        wishes: Wishes | None,
    ) -> list[Caption]:
        weight = self.model.tokens.weight
        read = torch.as_tensor(vectors, dtype=weight.dtype, device=weight.device)
        prompted = Prompted(self.model, self._prompts(read, evidence))
        room = self.model.config.positions - prompted.longest + 1
        if room < 1:
            raise ModelError(
                f"A prompt of {prompted.longest} tokens leaves the decoder no place to write; "
                "use a vocabulary of shorter names."
            )
        rows = torch.arange(len(vectors), device=weight.device)
        max_tokens = min(max_tokens or self.most_tokens, room)
        if wishes is not None and wishes.steer:
            return write_wished(
                prompted,
                rows,
                self._pen,
                wishes,
                max_tokens=max_tokens,
                beams=beams,
                alternatives=alternatives,
            )
        found = generate(
            prompted,
            rows,
            end=self._ends(),
            max_tokens=max_tokens,
            beams=beams,
            endings="compete",
            bias=self._bias(weight),
        )
        return [tell(one, self._text, alternatives=alternatives) for one in found]

    @torch.inference_mode()
    def perplexity(self, texts: Sequence[str]) -> list[float]:
        """How surprising GPT-2 finds texts by themselves, without any prompt; lower is better.

        The exponential of the mean loss of every token but the first; not a number for a text of
        one token. The published code gives this as a score.
        """
        found = []
        for text in texts:
            tokens = torch.tensor([self.tokenizer.encode(text)], dtype=torch.long)
            tokens = tokens[:, : self.model.config.positions].to(self.model.tokens.weight.device)
            hidden, _ = self.model.run(self.model.tokens(tokens))
            logits = self.model.head(hidden[0, :-1])
            found.append(float(functional.cross_entropy(logits, tokens[0, 1:]).exp()))
        return found

    @cached_property
    def _pen(self) -> Pen:
        """How captions are written that have to grant wishes."""
        return Pen(
            spelling=Spelling(self.tokenizer.pieces(), self.model.vocab_size),
            ends=self._ends(),
            encode=lambda phrase: self.tokenizer.encode(f" {phrase}"),
            text_of=self._text,
            endings="compete",
            bias=self._bias(self.model.tokens.weight),
        )

    def _bias(self, like: Tensor) -> Tensor | None:
        """Forbid what the tokenizer cannot spell."""
        if self.model.vocab_size == self.tokenizer.size:
            return None
        bias = like.new_zeros(self.model.vocab_size)
        bias[self.tokenizer.size :] = -torch.inf
        return bias

    def _text(self, tokens: Sequence[int]) -> str:
        if self.tidy:
            return tidy_sentence(self.tokenizer.decode(tokens, special=False))
        return self.tokenizer.decode(tokens)
