"""A small GPT-2 that reads soft tokens made of a vector first and words after.

Written out here because importing ``transformers`` takes more than ten seconds on a laptop, and
this is all of it that a caption decoder needs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.checkpoints import fit, read_notes, read_state, unfilled, write_state
from napari_patchioner.errors import ModelError
from napari_patchioner.products import linear

LayerCache: TypeAlias = tuple[Tensor, Tensor]
Cache: TypeAlias = tuple[LayerCache, ...]


@dataclass(frozen=True, slots=True)
class MapperConfig:
    """The sizes of what maps a vector to soft tokens, where one linear layer is not all.

    An ``"mlp"`` is two layers with tanh between (ClipCap), a ``"transformer"`` a `MappingNetwork`
    (ViECap and ClipCap).
    """

    kind: Literal["mlp", "transformer"]
    hidden: int  # width of the layer between, in the MLP or in each block of the transformer
    layers: int = 8  # of the transformer, as the rest
    heads: int = 8
    projected: int = 10  # how many tokens the vector becomes inside


def check_heads(width: int, heads: int) -> None:
    """Raise a ModelError where the heads of a decoder do not divide its width."""
    if width % heads:
        raise ModelError(
            f"A decoder {width} wide cannot be split into {heads} heads; "
            "choose a number of heads that divides the width."
        )


@dataclass(frozen=True, slots=True)
class PrefixGPTConfig:
    """The sizes of a :class:`PrefixGPT`."""

    vocab_size: int  # tokens that the head can choose from
    width: int
    layers: int
    heads: int  # divides the width
    positions: int  # longest sequence, prefix tokens included
    prefix_dim: int  # length of the vector that a caption is generated from
    prefix_tokens: int = 1  # how many soft tokens that vector becomes
    dropout: float = 0.0  # in training only
    mapper: MapperConfig | None = None  # how it becomes them; by one linear layer where None

    def __post_init__(self) -> None:
        check_heads(self.width, self.heads)


class PrefixGPT(nn.Module):
    """GPT-2 over the soft tokens of one vector followed by token embeddings.

    Pre-layer-norm blocks, tanh GELU, absolute positions and a head tied to the token embedding,
    as in GPT-2; the vector goes through one linear layer, as in DeCap, or a mapper, as in ClipCap
    and ViECap.

    ``notes`` is what the file it came from says of it, such as the hash of the projection it was
    trained behind.
    """

    def __init__(self, config: PrefixGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.notes: dict[str, str] = {}
        self.prefix = _prefix(config)
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.positions, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=1e-5)
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2 or name.startswith("prefix."):
                continue
            # GPT-2 shrinks what is added to the residual stream by the number of additions.
            shrink = (2 * config.layers) ** -0.5 if name.endswith("out.weight") else 1.0
            nn.init.normal_(parameter, std=0.02 * shrink)
        for name, parameter in self.blocks.named_parameters():
            if name.endswith("bias") and ".norm_" not in name:
                nn.init.zeros_(parameter)

    @property
    def vocab_size(self) -> int:
        """Number of tokens the head can choose from."""
        return self.config.vocab_size

    @property
    def longest(self) -> int:
        """Most tokens that can be generated after the prefix."""
        return self.config.positions - self.config.prefix_tokens + 1

    def forward(self, prefix_vectors: Tensor, tokens: Tensor) -> Tensor:
        """Logits at every position of given captions, for training.

        ``prefix_vectors`` (n, prefix_dim) and ``tokens`` (n, t) become (n, t + 1, vocab_size):
        position 0 (the last prefix token) predicts token 0; the last what would follow.
        """
        embedded = torch.cat([self.embed_prefix(prefix_vectors), self.tokens(tokens)], dim=1)
        hidden, _ = self.run(embedded)
        return self.head(hidden[:, self.config.prefix_tokens - 1 :])

    def embed_prefix(self, vectors: Tensor) -> Tensor:
        """Turn vectors, shape (n, prefix_dim), into soft tokens, (n, prefix_tokens, width)."""
        if vectors.dim() != 2 or vectors.shape[1] != self.config.prefix_dim:
            raise ModelError(
                f"The decoder reads vectors of length {self.config.prefix_dim} but was given an "
                f"array of shape {tuple(vectors.shape)}; use the bridge and backbone it was "
                "trained with."
            )
        soft: Tensor = self.prefix(vectors)
        return soft.reshape(len(vectors), self.config.prefix_tokens, self.config.width)

    def head(self, hidden: Tensor) -> Tensor:
        """Logits of hidden states, shape (..., width), over the vocabulary."""
        return linear(hidden, self.tokens.weight)

    def run(
        self, embedded: Tensor, cache: Cache | None = None, padding: Tensor | None = None
    ) -> tuple[Tensor, Cache]:
        """Hidden states of embedded tokens that follow what the cache holds.

        ``embedded`` (n, t, width) are soft or token embeddings without positions; ``cache`` is what
        an earlier call returned, keys and values (n, heads, past, width / heads) of every layer;
        ``padding`` (n,) says how many positions at the start of each row hold nothing: no other
        position attends to them, and positions count from behind them. Returned are the states
        after the last layer norm, of the same shape, and the cache with these tokens added.
        """
        past = cache[0][0].shape[2] if cache else 0
        positions = torch.arange(past, past + embedded.shape[1], device=embedded.device)
        mask = None
        if padding is not None:
            # Padding attends to itself: a position that attends to nothing has no average.
            before = torch.arange(int(positions[-1]) + 1, device=positions.device)
            real = before >= padding[:, None, None]
            mask = (_causal(positions) & (real | (before == positions[:, None])))[:, None]
            positions = (positions - padding[:, None]).clamp(min=0)
        hidden = self.dropout(embedded + self.positions(positions))
        layers: list[LayerCache] = []
        for index, block in enumerate(self.blocks):
            hidden, layer = block(hidden, cache[index] if cache else None, mask)
            layers.append(layer)
        return self.norm(hidden), tuple(layers)

    def start(self, prefix: Tensor) -> tuple[Tensor, Cache]:
        """Logits of the first token, shape (n, vocab_size), and the cache to go on from."""
        hidden, cache = self.run(self.embed_prefix(prefix))
        return self.head(hidden[:, -1]), cache

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Logits after one more token each, ``tokens`` of shape (n,)."""
        hidden, cache = self.run(self.tokens(tokens)[:, None], cache)
        return self.head(hidden[:, -1]), cache

    def reorder(self, cache: Cache, rows: Tensor) -> Cache:
        """Take the given rows of the cache, in that order, repeats allowed."""
        return tuple((keys[rows], values[rows]) for keys, values in cache)

    def save(self, path: str | Path, **notes: str) -> None:
        """Write weights, sizes and notes, its own and these, to one safetensors file."""
        sizes = asdict(self.config)
        if self.config.mapper is None:
            del sizes["mapper"]
        write_state(path, self.state_dict(), **self.notes | notes | {"config": json.dumps(sizes)})

    @classmethod
    def open(cls, path: str | Path) -> PrefixGPT:
        """Read what :meth:`save` wrote, ready to decode; half precision becomes single."""
        notes = read_notes(path)
        try:
            sizes = json.loads(notes.pop("config"))
            if (mapper := sizes.get("mapper")) is not None:
                sizes["mapper"] = MapperConfig(**mapper)
            with unfilled():
                model = cls(PrefixGPTConfig(**sizes))
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"{path} is missing, damaged or not a decoder of this package; get it again."
            ) from error
        model.notes = notes
        # Version 0.1 wrote other names of the layers.
        state = {
            name.replace("mix", "attn").replace("think", "mlp"): value
            for name, value in read_state(path).items()
        }
        return fit(model, state, source=path).requires_grad_()


def caption_loss(
    logits: Tensor, tokens: Tensor, *, padding: int = 0, label_smoothing: float = 0.1
) -> Tensor:
    """Cross-entropy of captions under teacher forcing, as DeCap is trained.

    ``logits`` (n, t + 1, vocab) are those of ``PrefixGPT.forward`` for ``tokens`` (n, t), padded
    with ``padding``, which does not count; ``label_smoothing`` is the share of probability spread
    over all tokens. The result is a scalar, the mean over the tokens that count.
    """
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1),
        tokens.flatten(),
        ignore_index=padding,
        label_smoothing=label_smoothing,
    )


class Block(nn.Module):
    """A pre-layer-norm transformer block of GPT-2, with its cache."""

    def __init__(self, config: PrefixGPTConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.rate = config.dropout
        self.norm_attn = nn.LayerNorm(width, eps=1e-5)
        self.attn = nn.Linear(width, 3 * width)
        self.attn_out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width, eps=1e-5)
        self.mlp = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, hidden: Tensor, cache: LayerCache | None, mask: Tensor | None = None
    ) -> tuple[Tensor, LayerCache]:
        """Hidden states and the cache with them; ``mask`` (n, 1, t, positions so far)."""
        rows, length, width = hidden.shape
        parts = self.attn(self.norm_attn(hidden))
        parts = parts.reshape(rows, length, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        if cache is not None:
            past = cache[0].shape[2]
            keys = torch.cat([cache[0], keys], dim=2)
            values = torch.cat([cache[1], values], dim=2)
            if mask is None and past and length > 1:
                mask = _causal(torch.arange(past, past + length, device=hidden.device))
        attended = functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            is_causal=mask is None and length > 1,
            dropout_p=self.rate if self.training else 0.0,
        )
        attended = attended.transpose(1, 2).reshape(rows, length, width)
        hidden = hidden + self.dropout(self.attn_out(attended))
        inner = functional.gelu(self.mlp(self.norm_mlp(hidden)), approximate="tanh")
        return hidden + self.dropout(self.mlp_out(inner)), (keys, values)


def _causal(positions: Tensor) -> Tensor:
    """Which of all positions up to the last each of these may attend to."""
    return torch.arange(int(positions[-1]) + 1, device=positions.device) <= positions[:, None]


def _prefix(config: PrefixGPTConfig) -> nn.Module:
    """Make what turns vectors, shape (n, dim), into ``n * tokens * width`` numbers."""
    dim, tokens, mapper = config.prefix_dim, config.prefix_tokens, config.mapper
    numbers = tokens * config.width
    if mapper is None:
        return nn.Linear(dim, numbers)
    if mapper.kind == "mlp":
        hidden = mapper.hidden
        return nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, numbers))
    if mapper.kind != "transformer":
        raise ModelError(f"A prefix mapper is an mlp or a transformer, not {mapper.kind!r}.")
    return MappingNetwork(dim, tokens, config.width, mapper)


class MappingNetwork(nn.Module):
    """ClipCap's transformer mapper, as ViECap uses it.

    A vector of length ``dim`` becomes ``projected`` tokens, learned constants are put behind them,
    and what the transformer makes of the constants is the soft prompt, shape (tokens, width).
    """

    def __init__(self, dim: int, tokens: int, width: int, config: MapperConfig) -> None:
        super().__init__()
        if width % config.heads:
            raise ModelError(
                f"A prefix mapper {width} wide cannot be split into {config.heads} heads; "
                "give the number it was trained with."
            )
        self.projected = config.projected
        self.linear = nn.Linear(dim, config.projected * width)
        self.constants = nn.Parameter(torch.randn(tokens, width))
        self.layers = nn.ModuleList(
            _MapperLayer(width, config.hidden, config.heads) for _ in range(config.layers)
        )

    def forward(self, vectors: Tensor) -> Tensor:
        """Soft tokens, shape (n, tokens, width), of vectors, shape (n, dim)."""
        projected = self.linear(vectors).reshape(len(vectors), self.projected, -1)
        constants = self.constants.expand(len(vectors), -1, -1)
        hidden = torch.cat([projected, constants], dim=1)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden[:, self.projected :]


class _MapperLayer(nn.Module):
    """A pre-layer-norm block in which every position attends to all others."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attn = nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.attn_out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Linear(width, hidden)
        self.mlp_out = nn.Linear(hidden, width)

    def forward(self, hidden: Tensor) -> Tensor:
        rows, length, width = hidden.shape
        normed, each = self.norm_attn(hidden), width // self.heads
        queries = self.query(normed).reshape(rows, length, self.heads, each).transpose(1, 2)
        pairs = self.key_value(normed).reshape(rows, length, 2, self.heads, each)
        keys, values = pairs.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(queries, keys, values)
        hidden = hidden + self.attn_out(attended.transpose(1, 2).reshape(rows, length, width))
        inner: Tensor = self.mlp_out(functional.relu(self.mlp(self.norm_mlp(hidden))))
        return hidden + inner
