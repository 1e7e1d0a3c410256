"""What the published decoders share: a GPT that goes on from a prompt, and a tokenizer."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from napari_patchioner.errors import ModelError

from .bpe import Gpt2Tokenizer
from .options import CaptionOptions
from .published import open_prefix_gpt
from .search import SearchOptions, Spelling, TokenText, caption_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    import numpy as np
    import numpy.typing as npt

    from napari_patchioner.devices import Placement

    from .bpe import ClipTokenizer
    from .caption import Caption, Evidence
    from .gpt import Cache, PrefixGPT

    _Past = tuple[Cache, Tensor | None]

DEFAULTS = CaptionOptions(beams=1, alternatives=0)
"""What a decoder does unless it is asked for something else."""

_GAP = re.compile(r"\s+(?=[,.;:!?)])")


class GptDecoder(ABC):
    """Captions vectors with a `PrefixGPT`; subclasses say what is read before the caption.

    ``sentences_at_once`` are under way at the same time. ``tidy=False`` gives the words as
    the published code spells them.
    """

    default_tokens: ClassVar[int] = 30
    sentences_at_once: ClassVar[int] = 2**30
    search = SearchOptions()

    tokenizer: ClipTokenizer | Gpt2Tokenizer

    def __init__(
        self, model: PrefixGPT, tokenizer: ClipTokenizer | Gpt2Tokenizer, *, tidy: bool = True
    ) -> None:
        if model.vocab_size < tokenizer.size:
            raise ModelError(
                f"The decoder knows {model.vocab_size} tokens and its tokenizer {tokenizer.size}; "
                "use the tokenizer the decoder was trained with."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.tidy = tidy

    def place(self, placement: Placement) -> None:
        """Run on another device or in another precision."""
        placement.put(self.model)

    @property
    def provenance(self) -> Mapping[str, str]:
        """What the decoder was trained behind, such as the hash of a projection."""
        return self.model.notes

    def decode(
        self,
        vectors: npt.NDArray[np.float32],
        options: CaptionOptions | None = None,
        *,
        evidence: Sequence[Evidence] | None = None,
        **changes: Any,
    ) -> list[Caption]:
        """Caption every row of ``vectors``, shape (n, d); see :class:`Decoder`.

        Captions are no longer than the model has positions for.
        """
        options = (options or DEFAULTS).changed(changes)
        weight = self.model.tokens.weight
        inputs = torch.as_tensor(vectors, dtype=weight.dtype, device=weight.device)
        size = max(1, self.sentences_at_once // options.beams)
        captions: list[Caption] = []
        for start in range(0, len(inputs), size):
            rows = slice(start, start + size)
            captions += self._decode(inputs[rows], evidence and evidence[rows], options)
        return captions

    @abstractmethod
    def _decode(
        self, vectors: Tensor, evidence: Sequence[Evidence] | None, options: CaptionOptions
    ) -> list[Caption]:
        """Caption a few rows."""

    @abstractmethod
    def _text(self, tokens: Sequence[int]) -> str:
        """Clean text of a sentence."""

    @abstractmethod
    def _ends(self) -> tuple[int, ...]:
        """Tokens that end a sentence."""

    def _encode_inside(self, phrase: str) -> list[int]:
        """Tokens of a phrase within a sentence."""
        return self.tokenizer.encode(phrase)

    @cached_property
    def _token_text(self) -> TokenText:
        """How this decoder spells and searches."""
        bias = None
        if self.model.vocab_size > self.tokenizer.size:
            # What the tokenizer cannot spell is forbidden.
            bias = self.model.tokens.weight.new_zeros(self.model.vocab_size)
            bias[self.tokenizer.size :] = -torch.inf
        return TokenText(
            spelling=Spelling(self.tokenizer.pieces(), self.model.vocab_size),
            ends=self._ends(),
            encode=self._encode_inside,
            text_of=self._text,
            search=self.search,
            bias=bias,
        )


class PromptDecoder(GptDecoder):
    """What ViECap and ClipCap share: a prompt, GPT-2, and a full stop at the end.

    With several beams, finished sentences compete with the others as in ClipCap's search.

    Parameters
    ----------
    model : PrefixGPT
        GPT-2 with a mapper; moved to evaluation mode.
    tokenizer : Gpt2Tokenizer
        GPT-2's; ModelError if it knows more tokens than the model.
    tidy : bool
        Close gaps before punctuation; False gives the words as the published code spells them.
    """

    # GPT-2 small caches 6 MB for each of 86 positions.
    sentences_at_once = 64
    search = SearchOptions(endings="compete")
    tokenizer: Gpt2Tokenizer
    published: ClassVar[Callable[..., PrefixGPT]]

    @classmethod
    def open(
        cls, files: Mapping[str, Path], *, heads: int = 12, mapper_heads: int = 8, tidy: bool = True
    ) -> Self:
        """Open ``weights``, published or from `PrefixGPT.save`, and ``tokenizer``, GPT-2's folder.

        ``heads`` and ``mapper_heads`` are the attention heads of GPT-2 and of a transformer mapper,
        which a published checkpoint does not state. ModelError if a file is missing, damaged or
        does not fit.
        """
        published = partial(cls.published, heads=heads, mapper_heads=mapper_heads)
        model = open_prefix_gpt(files["weights"], published)
        return cls(model, Gpt2Tokenizer(files["tokenizer"]), tidy=tidy)

    @abstractmethod
    def _prompts(self, vectors: Tensor, evidence: Sequence[Evidence] | None) -> list[Tensor]:
        """Embedded prompts, each of shape (length, width)."""

    @torch.inference_mode()
    def _decode(
        self, vectors: Tensor, evidence: Sequence[Evidence] | None, options: CaptionOptions
    ) -> list[Caption]:
        prompted = Prompted(self.model, self._prompts(vectors, evidence))
        room = self.model.config.positions - prompted.longest + 1
        if room < 1:
            raise ModelError(
                f"A prompt of {prompted.longest} tokens leaves the decoder no room for a caption; "
                "use a vocabulary of shorter names."
            )
        rows = torch.arange(len(vectors), device=vectors.device)
        max_tokens = min(options.max_tokens or self.default_tokens, room)
        return caption_rows(prompted, rows, self._token_text, options, max_tokens)

    @torch.inference_mode()
    def perplexity(self, texts: Sequence[str]) -> list[float]:
        """How surprising GPT-2 finds texts by themselves, without any prompt; lower is better.

        The exponential of the mean loss of every token but the first; not a number for a text of
        one token. The published code gives this as a score.
        """
        perplexities = []
        for text in texts:
            tokens = torch.tensor([self.tokenizer.encode(text)], dtype=torch.long)
            tokens = tokens[:, : self.model.config.positions].to(self.model.tokens.weight.device)
            hidden, _ = self.model.run(self.model.tokens(tokens))
            logits = self.model.head(hidden[0, :-1])
            perplexities.append(float(functional.cross_entropy(logits, tokens[0, 1:]).exp()))
        return perplexities

    def _encode_inside(self, phrase: str) -> list[int]:
        return self.tokenizer.encode(f" {phrase}")

    def _text(self, tokens: Sequence[int]) -> str:
        if self.tidy:
            return tidy_sentence(self.tokenizer.decode(tokens, special=False))
        return self.tokenizer.decode(tokens)


class Prompted:
    """A GPT whose rows each go on from a prompt of their own, of shape (length, width).

    Rows of different lengths are padded in front; no position attends to the padding and positions
    count from behind it, so that a row gets the caption it would get alone.
    """

    def __init__(self, model: PrefixGPT, prompts: Sequence[Tensor]) -> None:
        self.model = model
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=prompts[0].device)
        self.longest = int(lengths.max())
        self.padding = self.longest - lengths
        self.embedded = torch.stack(
            [functional.pad(prompt, (0, 0, self.longest - len(prompt), 0)) for prompt in prompts]
        )
        self.vocab_size = model.vocab_size

    def start(self, prefix: Tensor) -> tuple[Tensor, _Past]:
        """Logits of the first token after the prompts numbered ``prefix``, shape (n,)."""
        padding = self.padding[prefix] if bool(self.padding[prefix].any()) else None
        hidden, cache = self.model.run(self.embedded[prefix], padding=padding)
        return self.model.head(hidden[:, -1]), (cache, padding)

    def step(self, tokens: Tensor, cache: _Past) -> tuple[Tensor, _Past]:
        """Logits after one more token each, ``tokens`` of shape (n,)."""
        past, padding = cache
        hidden, past = self.model.run(self.model.tokens(tokens)[:, None], past, padding)
        return self.model.head(hidden[:, -1]), (past, padding)

    def reorder(self, cache: _Past, rows: Tensor) -> _Past:
        """Take the given rows of the cache, in that order, repeats allowed."""
        past, padding = cache
        return self.model.reorder(past, rows), None if padding is None else padding[rows]


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
