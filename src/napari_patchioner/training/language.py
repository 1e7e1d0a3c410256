"""Prefix language modelling: a decoder learns to write a text from the embedding of that text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from napari_patchioner.bridges import MemoryBank, unit_rows
from napari_patchioner.checkpoints import read_settings, read_state
from napari_patchioner.decoders import (
    MapperConfig,
    MappingNetwork,
    PrefixGPT,
    PrefixGPTConfig,
    caption_loss,
    check_heads,
    hard_prompt,
    prefix_gpt_from_viecap,
)
from napari_patchioner.errors import ModelError

from .entities import EntityFinder
from .loop import Rows, seeded
from .noise import Noise
from .pieces import IGNORED, Framing, padded

ROOM = 64
"""Tokens of the longest prompt in words; what is longer is cut."""
_HELD_OUT_BATCH, _PARTS = 64, 4
# GPT-2's names are published with and without this in front.
_TRUNK = "transformer."
# Of ViECap's mapping network, by the names it is published with.
_MAPPER_NAMES = (
    (r"linear\.(.*)", r"linear.\1"),
    (r"constants", "prefix_const"),
    (r"layers\.(\d+)\.norm_attn\.(.*)", r"transformer.layers.\1.norm1.\2"),
    (r"layers\.(\d+)\.query\.(.*)", r"transformer.layers.\1.attn.to_queries.\2"),
    (r"layers\.(\d+)\.key_value\.(.*)", r"transformer.layers.\1.attn.to_keys_values.\2"),
    (r"layers\.(\d+)\.attn_out\.(.*)", r"transformer.layers.\1.attn.project.\2"),
    (r"layers\.(\d+)\.norm_mlp\.(.*)", r"transformer.layers.\1.norm2.\2"),
    (r"layers\.(\d+)\.mlp\.(.*)", r"transformer.layers.\1.mlp.fc1.\2"),
    (r"layers\.(\d+)\.mlp_out\.(.*)", r"transformer.layers.\1.mlp.fc2.\2"),
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a decoder is.

    Attributes
    ----------
    width, layers, heads : int
        Of the GPT; the heads divide the width.
    prefix_tokens : int
        Soft tokens that the embedding becomes.
    mapper_layers : int
        Layers of the network that makes them (ViECap); 0 for one linear layer (DeCap).
    mapper_tokens : int
        Tokens that the embedding becomes inside that network.
    dropout : float
        In training.
    longest : int
        Tokens of the longest caption; what is longer is cut.
    """

    width: int = 256
    layers: int = 3
    heads: int = 4
    prefix_tokens: int = 1
    mapper_layers: int = 0
    mapper_tokens: int = 10
    dropout: float = 0.1
    longest: int = 40

    def __post_init__(self) -> None:
        check_heads(self.width, self.heads)


@dataclass(frozen=True, slots=True)
class Objective:
    """What a decoder is trained to do.

    Attributes
    ----------
    noise : Noise
        On the embeddings; none by default, as in DeCap.
    label_smoothing : float
        Share of the probability that is spread over all tokens in training.
    finder : EntityFinder, optional
        Finds the names that go in front of a caption as words (ViECap).
    masking : float
        Probability that a name is left out of these words, drawn anew for every step.
    """

    noise: Noise = field(default_factory=lambda: Noise(0.0))
    label_smoothing: float = 0.1
    finder: EntityFinder | None = None
    masking: float = 0.4


class PrefixTask:
    """The losses of a decoder on a corpus, to be minimised by `train`.

    The loss of a batch is DeCap's: cross-entropy of the tokens of each caption, given the ones
    before and, as soft tokens in front, its own embedding of length one (with noise, if any).
    """

    def __init__(
        self,
        network: PrefixGPT,
        framing: Framing,
        training: MemoryBank,
        held_out: MemoryBank,
        objective: Objective,
    ) -> None:
        self.network, self.framing, self.objective = network, framing, objective
        self._training, self._held_out = training, held_out

    def loss(self, rows: Rows) -> Tensor:
        """Return the loss of a batch of training captions, a scalar."""
        vectors, inputs, targets = self._batch(self._training, rows, self.objective.masking)
        total = vectors.new_zeros(())
        for part in _by_length(targets):
            longest = int((targets[part] != IGNORED).nonzero()[:, 1].max()) + 1
            loss = caption_loss(
                self._logits(vectors[part], inputs[part, :longest]),
                targets[part, :longest],
                padding=IGNORED,
                label_smoothing=self.objective.label_smoothing,
            )
            total = total + loss * (targets[part] != IGNORED).sum()
        return total / (targets != IGNORED).sum()

    def held_out(self) -> float:
        """Return the loss of the held-out captions in nats per token, all names given."""
        total = count = 0.0
        for vectors, inputs, targets in self._held_out_batches():
            tokens = float((targets != IGNORED).sum())
            loss = caption_loss(
                self._logits(vectors, inputs), targets, padding=IGNORED, label_smoothing=0.0
            )
            total, count = total + float(loss) * tokens, count + tokens
        return total / count

    @torch.inference_mode()
    def token_accuracy(self) -> float:
        """Return how often the next token of a held-out caption is the likeliest, 0 to 1."""
        right = count = 0
        for vectors, inputs, targets in self._held_out_batches():
            guesses = self._logits(vectors, inputs)[:, :-1].argmax(-1)
            right += int((guesses == targets).sum())
            count += int((targets != IGNORED).sum())
        return right / count

    def _logits(self, vectors: Tensor, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(vectors, inputs)
        return logits

    def _held_out_batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for start in range(0, len(self._held_out), _HELD_OUT_BATCH):
            stop = min(start + _HELD_OUT_BATCH, len(self._held_out))
            yield self._batch(self._held_out, np.arange(start, stop), 0.0)

    def _batch(self, bank: MemoryBank, rows: Rows, masking: float) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings with noise, tokens, and targets of the same shape, where the network is."""
        device = self.network.tokens.weight.device
        vectors = torch.from_numpy(unit_rows(bank.take(rows)))
        captions = [bank.captions[row] for row in rows.tolist()]
        finder, prompts = self.objective.finder, None
        if finder is not None:
            encode = self.framing.tokenizer.encode
            named = [masked(finder.names_in(caption), masking) for caption in captions]
            prompts = [encode(hard_prompt(names))[:ROOM] for names in named]
        inputs, targets = padded([self.framing.tokens(text) for text in captions], prompts)
        noisy = self.objective.noise(vectors)
        return noisy.to(device), inputs.to(device), targets.to(device)


def _by_length(targets: Tensor) -> list[Tensor]:
    """Split a batch into rows of about one length, so that a processor computes less padding."""
    if targets.device.type != "cpu" or len(targets) < 2 * _PARTS:
        return [torch.arange(len(targets), device=targets.device)]
    columns = torch.arange(targets.shape[1])
    ends = torch.where(targets != IGNORED, columns, 0).amax(1)
    return list(ends.argsort(stable=True).chunk(_PARTS))


def masked(names: Sequence[str], probability: float) -> list[str]:
    """Leave out each name with a probability, drawn from torch's generator."""
    kept = torch.rand(len(names)) >= probability
    return [name for name, keep in zip(names, kept.tolist(), strict=True) if keep]


def new_network(sizes: Sizes, vocab_size: int, dim: int, seed: int) -> PrefixGPT:
    """Make a decoder with random weights that depend on the seed alone.

    ``dim`` is the length of the embeddings that it reads.
    """
    mapper = None
    if sizes.mapper_layers:
        mapper = MapperConfig(
            "transformer",
            hidden=2 * sizes.width,
            layers=sizes.mapper_layers,
            heads=sizes.heads,
            projected=sizes.mapper_tokens,
        )
    config = PrefixGPTConfig(
        vocab_size=vocab_size,
        width=sizes.width,
        layers=sizes.layers,
        heads=sizes.heads,
        positions=sizes.prefix_tokens + (ROOM if mapper else 0) + sizes.longest,
        prefix_dim=dim,
        prefix_tokens=sizes.prefix_tokens,
        dropout=sizes.dropout,
        mapper=mapper,
    )
    return seeded(lambda: PrefixGPT(config), seed)


def network_on_gpt2(folder: str | Path, sizes: Sizes, dim: int, seed: int) -> PrefixGPT:
    """Make a decoder of a published GPT-2, with a new mapping network in front (ViECap).

    ``folder`` is in the form of the Hugging Face hub; width, layers and heads are its own.
    """
    folder = Path(folder)
    settings = read_settings(folder / "config.json")
    if settings.get("model_type") != "gpt2":
        raise ModelError(f"{folder} holds no GPT-2; name the folder of one.")
    width, heads = int(settings.get("n_embd", 768)), int(settings.get("n_head", 12))
    config = MapperConfig(
        "transformer",
        hidden=2 * width,
        layers=max(sizes.mapper_layers, 1),
        heads=8 if width % 8 == 0 else heads,
        projected=sizes.mapper_tokens,
    )
    mapper = seeded(lambda: MappingNetwork(dim, sizes.prefix_tokens, width, config), seed)
    state = {
        f"gpt.{_TRUNK}{name.removeprefix(_TRUNK)}": value
        for name, value in read_state(folder).items()
        if not name.startswith("lm_head")
    }
    for name, value in mapper.state_dict().items():
        pattern, published = next(pair for pair in _MAPPER_NAMES if re.fullmatch(pair[0], name))
        state[f"mapping_network.{re.sub(pattern, published, name)}"] = value
    network = prefix_gpt_from_viecap(state, heads=heads, mapper_heads=config.heads, source=folder)
    return network.requires_grad_()


def count_weights(network: nn.Module) -> int:
    """Return how many numbers a network has."""
    return sum(weight.numel() for weight in network.parameters())
