"""What the published decoders share: weights, a GPT that goes on from a prompt, a tokenizer."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from napari_patchioner.checkpoints import fit, read_notes, read_state, rename, unfilled
from napari_patchioner.devices import CPU, Placement, in_parts, settle
from napari_patchioner.errors import ModelError

from .bpe import ClipTokenizer, Gpt2Tokenizer
from .caption import Caption, Evidence
from .gpt import Cache, MapperConfig, PrefixGPT, PrefixGPTConfig
from .options import CaptionOptions
from .search import SearchOptions, Spelling, TokenText, caption_rows, rate

Names: TypeAlias = tuple[tuple[str, str], ...]
"""Published names and ours; ``{n}`` stands for a number, ``{kind}`` for weight or bias."""

_BLOCK = {
    "ln_1": "norm_attn",
    "attn.c_attn": "attn",
    "attn.c_proj": "attn_out",
    "ln_2": "norm_mlp",
    "mlp.c_fc": "mlp",
    "mlp.c_proj": "mlp_out",
}
_MAPPER_LAYER = {
    "norm1.{kind}": "norm_attn.{kind}",
    "attn.to_queries.weight": "query.weight",
    "attn.to_keys_values.weight": "key_value.weight",
    "attn.project.{kind}": "attn_out.{kind}",
    "norm2.{kind}": "norm_mlp.{kind}",
    "mlp.fc1.{kind}": "mlp.{kind}",
    "mlp.fc2.{kind}": "mlp_out.{kind}",
}
_FIELDS = {"{n}": ("n", r"\d+"), "{kind}": ("kind", "weight|bias")}
_MAX_NAMED = 4
# What a GPU may have too little memory to do.
_GENERATE = "generate captions"
# What a decoder does unless it is asked for something else.
DEFAULTS = CaptionOptions(beams=1, alternatives=0)
_Past: TypeAlias = tuple[Cache, Tensor | None]
_GAP = re.compile(r"\s+(?=[,.;:!?)])")


def published_gpt(
    published: Mapping[str, Tensor],
    *,
    gpt: str,
    prefix: Names,
    mapper: Literal["linear", "mlp", "transformer"],
    heads: int,
    mapper_heads: int = 8,
    source: object,
) -> PrefixGPT:
    """Build a decoder from published weights: a GPT-2 under ``gpt``, and what makes its prefix.

    The head is left out, since GPT-2 ties it to the token embedding, and so are the buffers that
    old versions of transformers stored. GPT-2's linear layers, published as (in, out), are
    transposed. ModelError, by the published names, for weights that are missing; ``source`` says
    where they came from.
    """
    trunk = f"{gpt}.transformer"
    names = (
        *prefix,
        (f"{trunk}.wte.weight", "tokens.weight"),
        (f"{trunk}.wpe.weight", "positions.weight"),
        (f"{trunk}.ln_f.{{kind}}", "norm.{kind}"),
        *(
            (f"{trunk}.h.{{n}}.{theirs}.{{kind}}", f"blocks.{{n}}.{ours}.{{kind}}")
            for theirs, ours in _BLOCK.items()
        ),
    )
    stem = re.escape(gpt)
    transposed = re.compile(rf"{stem}\.transformer\.h\.\d+\.\w+\.c_\w+\.weight")
    straight = {
        name: value.T.contiguous() if transposed.fullmatch(name) else value
        for name, value in published.items()
    }
    left_out = [
        (rf"{stem}\.lm_head\.weight", None),
        (rf"{stem}\.transformer\.h\.\d+\.attn\.(masked_)?bias", None),
    ]
    state = rename(straight, [*left_out, *map(_rule, names)])

    def require(wanted: Iterable[str]) -> None:
        absent = {name: torch.empty(0) for name in wanted if name not in state}
        if absent:
            missing = list(rename(absent, backwards))
            more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
            raise ModelError(
                f"{source} does not fit: missing: {', '.join(missing[:_MAX_NAMED])}{more}. "
                "Choose the matching file."
            )

    def shape(name: str) -> tuple[int, int]:
        require([name])
        sides = tuple(state[name].shape)
        if len(sides) != 2:
            (published_name,) = rename({name: state[name]}, backwards)
            raise ModelError(
                f"{source} does not fit: {published_name} has the shape {sides}; "
                "choose the matching file."
            )
        return sides

    def layers(start: str) -> int:
        return len(
            {name.removeprefix(start).split(".")[0] for name in state if name.startswith(start)}
        )

    backwards = [_rule(pair[::-1]) for pair in names]
    config = None
    if mapper == "linear":
        numbers, dim = shape("prefix.weight")
    elif mapper == "mlp":
        hidden, dim = shape("prefix.0.weight")
        numbers, _ = shape("prefix.2.weight")
        config = MapperConfig("mlp", hidden=hidden)
    else:
        tokens, width = shape("prefix.constants")
        projected, dim = shape("prefix.linear.weight")
        numbers = tokens * width
        config = MapperConfig(
            "transformer",
            hidden=shape("prefix.layers.0.mlp.weight")[0],
            layers=layers("prefix.layers."),
            heads=mapper_heads,
            projected=max(1, projected // width),
        )
    vocab_size, width = shape("tokens.weight")
    sizes = PrefixGPTConfig(
        vocab_size=vocab_size,
        width=width,
        layers=layers("blocks."),
        heads=heads,
        positions=shape("positions.weight")[0],
        prefix_dim=dim,
        prefix_tokens=max(1, numbers // width),
        dropout=0.1,
        mapper=config,
    )
    with unfilled():
        model = PrefixGPT(sizes)
    require(model.state_dict())
    return fit(model, state, source=source)


def mapper_names(stem: str) -> Names:
    """Names of a transformer mapper that a checkpoint stores under ``stem``."""
    return (
        (f"{stem}.linear.{{kind}}", "prefix.linear.{kind}"),
        (f"{stem}.prefix_const", "prefix.constants"),
        *(
            (f"{stem}.transformer.layers.{{n}}.{theirs}", f"prefix.layers.{{n}}.{ours}")
            for theirs, ours in _MAPPER_LAYER.items()
        ),
    )


def _rule(names: tuple[str, ...]) -> tuple[str, str]:
    """Turn a pair of names into a rule of `rename`."""
    before, after = names
    pattern = re.escape(before)
    for field, (group, values) in _FIELDS.items():
        pattern = pattern.replace(re.escape(field), f"(?P<{group}>{values})")
        after = after.replace(field, rf"\g<{group}>")
    return pattern, after


class GptDecoder(ABC):
    """Captions vectors with a `PrefixGPT`; subclasses say what is read before the caption.

    ``sentences_at_once`` are under way at the same time. ``tidy=False`` gives the words as
    the published code spells them.
    """

    default_tokens: ClassVar[int] = 30
    sentences_at_once: ClassVar[int] = 2**30
    search = SearchOptions()
    placement: Placement = CPU

    published: ClassVar[Callable[..., PrefixGPT]]

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
        """Run on another device or in another precision, as `Backbone.place` does."""
        settle(self, placement, _GENERATE)

    def move(self, placement: Placement) -> None:
        """Move the model, and leave out what was made of it where it was."""
        placement.put(self.model)
        self.placement = placement
        self.__dict__.pop("_token_text", None)

    @classmethod
    def open(cls, files: Mapping[str, Path], *, heads: int | None = None, **options: Any) -> Self:
        """Open ``weights``, published or from `PrefixGPT.save`, and the tokenizer's files.

        These are ``merges``, CLIP's word pieces, or ``tokenizer``, GPT-2's folder. A published
        checkpoint does not state the attention ``heads``, by default those of the published
        decoders. ModelError if a file is missing, damaged or does not fit.
        """
        return cls._open(files, {"heads": heads}, options)

    @classmethod
    def _open(
        cls, files: Mapping[str, Path], given: Mapping[str, int | None], options: Mapping[str, Any]
    ) -> Self:
        """Open a decoder of the sizes that are given."""
        sizes = {name: number for name, number in given.items() if number is not None}
        path = files["weights"]
        if path.suffix == ".safetensors" and "config" in read_notes(path):
            model = PrefixGPT.open(path)
        else:
            model = cls.published(read_state(path), **sizes, source=path)
        return cls(model, cls._open_tokenizer(files), **options)

    @classmethod
    @abstractmethod
    def _open_tokenizer(cls, files: Mapping[str, Path]) -> Any:
        """Open the tokenizer."""

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
        size = max(1, self.sentences_at_once // options.beams)

        def work(rows: slice) -> list[Caption]:
            weight = self.model.tokens.weight
            inputs = self.placement.put(torch.as_tensor(vectors[rows]))
            inputs = inputs.to(weight.device, weight.dtype)
            return self._decode(inputs, evidence and evidence[rows], options)

        batches = in_parts(self, len(vectors), size, work, _GENERATE)
        return [caption for batch in batches for caption in batch]

    def log_likelihoods(
        self,
        vectors: npt.NDArray[np.float32],
        texts: Sequence[str],
        *,
        evidence: Sequence[Evidence] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Return log p(text | vector), shape (n, texts); see :class:`TextRater`."""
        sentences = [self._spelt(text) for text in texts]
        fitting = [row for row, tokens in enumerate(sentences) if tokens]
        result = np.full((len(vectors), len(texts)), np.nan)
        if not fitting:
            return result
        size = max(1, self.sentences_at_once // len(fitting))

        def work(rows: slice) -> npt.NDArray[np.float64]:
            weight = self.model.tokens.weight
            inputs = self.placement.put(torch.as_tensor(vectors[rows]))
            inputs = inputs.to(weight.device, weight.dtype)
            asked = [sentences[row] for row in fitting]
            return self._rated(inputs, evidence and evidence[rows], asked).double().cpu().numpy()

        result[:, fitting] = np.concatenate(in_parts(self, len(vectors), size, work, _GENERATE))
        return result

    @abstractmethod
    def _rated(
        self, vectors: Tensor, evidence: Sequence[Evidence] | None, sentences: list[list[int]]
    ) -> Tensor:
        """Log-probabilities of sentences after a few rows."""

    @abstractmethod
    def _spelt(self, text: str) -> list[int]:
        """Tokens of a text as captions have them, its end included; none where it is empty."""

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

    The model is a GPT-2 with a mapper; a tokenizer that knows more tokens is a ModelError.
    """

    # GPT-2 small caches 6 MB for each of 86 positions.
    sentences_at_once = 64
    search = SearchOptions(endings="compete")
    tokenizer: Gpt2Tokenizer

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        heads: int | None = None,
        mapper_heads: int | None = None,
        **options: Any,
    ) -> Self:
        """Open as other decoders; ``mapper_heads`` are those of a transformer mapper."""
        return cls._open(files, {"heads": heads, "mapper_heads": mapper_heads}, options)

    @classmethod
    def _open_tokenizer(cls, files: Mapping[str, Path]) -> Gpt2Tokenizer:
        return Gpt2Tokenizer(files["tokenizer"])

    @abstractmethod
    def _prompts(self, vectors: Tensor, evidence: Sequence[Evidence] | None) -> list[Tensor]:
        """Embedded prompts, each of shape (length, width)."""

    @torch.inference_mode()
    def _decode(
        self, vectors: Tensor, evidence: Sequence[Evidence] | None, options: CaptionOptions
    ) -> list[Caption]:
        prompts, text = self._prompts(vectors, evidence), self._token_text
        if options.specificity:
            # What it would say of nothing: a vector of zeros, and no name.
            prompts += self._prompts(torch.zeros_like(vectors[:1]), evidence and [Evidence()])
            text = replace(text, empty=torch.tensor([len(vectors)], device=vectors.device))
        prompted = Prompted(self.model, prompts)
        room = self.model.config.positions - prompted.longest + 1
        if room < 1:
            raise ModelError(
                f"A prompt of {prompted.longest} tokens leaves the decoder no room for a caption; "
                "use a vocabulary of shorter names."
            )
        rows = torch.arange(len(vectors), device=vectors.device)
        max_tokens = min(options.max_tokens or self.default_tokens, room)
        return caption_rows(prompted, rows, text, options, max_tokens)

    def _rated(
        self, vectors: Tensor, evidence: Sequence[Evidence] | None, sentences: list[list[int]]
    ) -> Tensor:
        with torch.inference_mode():
            prompted = Prompted(self.model, self._prompts(vectors, evidence))
        room = max(self.model.config.positions - prompted.longest + 1, 1)
        rows = torch.arange(len(vectors), device=vectors.device)
        return rate(prompted, rows, [tokens[:room] for tokens in sentences])

    def _spelt(self, text: str) -> list[int]:
        plain = text.strip(" .")
        return [*self.tokenizer.encode(plain), self._ends()[0]] if plain else []

    @torch.inference_mode()
    def perplexity(self, texts: Sequence[str]) -> list[float]:
        """How surprising GPT-2 finds texts by themselves, without any prompt; lower is better.

        The exponential of the mean loss of every token but the first; not a number for a text of
        one token. The published code gives this as a score.
        """

        def work(rows: slice) -> float:
            tokens = torch.tensor([self.tokenizer.encode(texts[rows.start])], dtype=torch.long)
            tokens = tokens[:, : self.model.config.positions].to(self.model.tokens.weight.device)
            hidden, _ = self.model.run(self.model.tokens(tokens))
            logits = self.model.head(hidden[0, :-1])
            return float(functional.cross_entropy(logits, tokens[0, 1:]).exp())

        return in_parts(self, len(texts), 1, work, _GENERATE)

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

    >>> tidy_sentence(" A dog on a  beach .")
    'A dog on a beach.'
    >>> tidy_sentence(".")
    ''
    """
    readable = "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
    tidy = _GAP.sub("", readable.replace("\ufffd", ""))
    return tidy if any(letter.isalnum() for letter in tidy) else ""
