"""A small GPT-2 that reads vectors first and words after.

Written out here because importing ``transformers`` takes more than ten seconds on a laptop, and
this is all of it that a caption decoder needs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.checkpoints import write_state
from napari_patchioner.errors import ModelError

from ._gpt_block import Block, LayerCache, visible_places
from ._mapping import MapperConfig, mapper_from, soft_prompt

if TYPE_CHECKING:
    from pathlib import Path

Cache: TypeAlias = tuple[LayerCache, ...]


@dataclass(frozen=True, slots=True)
class PrefixGPTConfig:
    """The sizes of a :class:`PrefixGPT`.

    Attributes
    ----------
    vocab_size : int
        Number of tokens the head can choose from.
    width, layers, heads : int
        Size of the transformer; ``heads`` divides ``width``.
    positions : int
        Longest sequence, prefix tokens included.
    prefix_dim : int
        Length of the vector a caption is written from.
    prefix_tokens : int
        How many soft tokens that vector becomes.
    dropout : float
        Used in training only.
    mapper : MapperConfig, optional
        How the vector becomes soft tokens; through one linear layer by default.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    positions: int
    prefix_dim: int
    prefix_tokens: int = 1
    dropout: float = 0.0
    mapper: MapperConfig | None = None

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ModelError(
                f"A decoder {self.width} wide cannot be split into {self.heads} heads; "
                "choose a number of heads that divides the width."
            )


class PrefixGPT(nn.Module):
    """GPT-2 over the soft tokens of one vector followed by token embeddings.

    Pre-layer-norm blocks, tanh GELU, absolute positions and a head tied to the token embedding,
    as in GPT-2; the vector goes through one linear layer, as in DeCap, or a mapper, as in ClipCap
    and ViECap.

    Parameters
    ----------
    config : PrefixGPTConfig
        Sizes.

    Attributes
    ----------
    notes : dict of str to str
        What the file it came from says of it, such as the hash of the projection it was
        trained behind.
    """

    def __init__(self, config: PrefixGPTConfig) -> None:
        super().__init__()
        self.config = config
        self.notes: dict[str, str] = {}
        self.prefix = soft_prompt(
            config.prefix_dim, config.prefix_tokens, config.width, config.mapper
        )
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.positions, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=1e-5)
        self._initialise()

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2 or name.startswith("prefix."):
                continue
            # GPT-2 shrinks what is added to the residual stream by the number of additions.
            shrink = (2 * self.config.layers) ** -0.5 if name.endswith("out.weight") else 1.0
            nn.init.normal_(parameter, std=0.02 * shrink)
        for block in self.blocks:
            assert isinstance(block, Block)
            for linear in (block.mix, block.mix_out, block.think, block.think_out):
                nn.init.zeros_(linear.bias)

    @property
    def vocab_size(self) -> int:
        """Number of tokens the head can choose from."""
        return self.config.vocab_size

    @property
    def longest(self) -> int:
        """Most tokens that can be written after the prefix."""
        return self.config.positions - self.config.prefix_tokens + 1

    def forward(self, prefix_vectors: Tensor, tokens: Tensor) -> Tensor:
        """Logits at every place of given captions, for training.

        Parameters
        ----------
        prefix_vectors : Tensor, shape (n, prefix_dim)
            What the captions are written from.
        tokens : Tensor of int64, shape (n, t)
            The captions.

        Returns
        -------
        Tensor, shape (n, t + 1, vocab_size)
            Place 0 (the last prefix token) predicts token 0; the last place what would follow.
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
        return functional.linear(hidden, self.tokens.weight)

    def run(
        self, embedded: Tensor, cache: Cache | None = None, padding: Tensor | None = None
    ) -> tuple[Tensor, Cache]:
        """Hidden states of embedded tokens that follow what the cache holds.

        Parameters
        ----------
        embedded : Tensor, shape (n, t, width)
            Soft or token embeddings, positions not yet added.
        cache : tuple of (keys, values), optional
            What an earlier call returned, each of shape (n, heads, past, width / heads).
        padding : Tensor of int64, shape (n,), optional
            How many places at the start of each row hold nothing: no other place sees them, and
            positions count from behind them.

        Returns
        -------
        hidden : Tensor, shape (n, t, width)
            After the last layer norm.
        cache : tuple of (keys, values)
            The same with these tokens added.
        """
        past = cache[0][0].shape[2] if cache else 0
        places = torch.arange(past, past + embedded.shape[1], device=embedded.device)
        visible = None
        if padding is not None:
            visible = visible_places(places, padding)
            places = (places - padding[:, None]).clamp(min=0)
        hidden = self.dropout(embedded + self.positions(places))
        layers: list[LayerCache] = []
        for index, block in enumerate(self.blocks):
            hidden, kept = block(hidden, cache[index] if cache else None, visible)
            layers.append(kept)
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
        """Read what :meth:`save` wrote, ready to decode; half precision becomes single.

        Raises
        ------
        ModelError
            If the file is missing, damaged or not such a decoder.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="pt") as file:
                notes = dict(file.metadata() or {})
                model = cls(_config_from(json.loads(notes.pop("config"))))
                model.notes = notes
                model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"{path} is missing, damaged or not a decoder of this package; get it again."
            ) from error
        if not all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()):
            raise ModelError(f"{path} holds numbers that are not finite; get it again.")
        return model.eval()


def _config_from(told: dict[str, Any]) -> PrefixGPTConfig:
    return PrefixGPTConfig(**told | {"mapper": mapper_from(told.get("mapper"))})
