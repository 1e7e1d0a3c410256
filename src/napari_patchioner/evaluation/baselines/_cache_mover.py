"""Gradient steps on GPT-2's memory of what it has said (ZeroCap)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from ._gpt2 import Gpt2, Past
    from ._guide import Guide

# Kept from a division by zero where a gradient vanishes.
_TINY = 1e-15


@dataclass(frozen=True, slots=True)
class ZeroCapSettings:
    """What the published code runs with.

    Attributes
    ----------
    iterations : int
        Gradient steps per token.
    step : float
        Length of a step, apart from the gradient's own.
    gradient_power : float
        Gradients are divided by their length to this power.
    fluency : float
        Weight of staying close to what GPT-2 would say by itself.
    temperature : float
        Of the picture's choice among candidates.
    candidates : int
        How many of the likeliest tokens the picture chooses from.
    fusion : float
        Share of the guided distribution in the final one, in logarithms.
    end_factor, first_end_factor : float
        How much the full stop is favoured, and how much it is held back as the first token.
    held_back : tuple of int
        Tokens that are made unlikelier by ``held_back_factor``. The published code reads some
        from a file of its own, which is not part of this.
    beams : int
        Sentences followed side by side; the one that fits the picture best is taken.
    prompt : str
        What GPT-2 continues; shown to CLIP, not part of the caption.
    """

    iterations: int = 5
    step: float = 0.3
    gradient_power: float = 0.9
    fluency: float = 0.2
    temperature: float = 0.01
    candidates: int = 512
    fusion: float = 0.99
    end_factor: float = 1.01
    first_end_factor: float = 1.6
    held_back: tuple[int, ...] = ()
    held_back_factor: float = 20.0
    beams: int = 5
    prompt: str = "Image of a"

    def __post_init__(self) -> None:
        if self.iterations < 0 or self.candidates < 1 or self.beams < 1:
            raise ModelError("ZeroCap needs a candidate, a beam, and no less than zero iterations.")


class CacheMover:
    """Moves keys and values so that GPT-2 speaks of the picture.

    Parameters
    ----------
    language : Gpt2
        Whose cache it is.
    guide : Guide
        The picture.
    settings : ZeroCapSettings
        How far.
    """

    def __init__(self, language: Gpt2, guide: Guide, settings: ZeroCapSettings) -> None:
        self.language, self.guide, self.settings = language, guide, settings

    def move(self, past: Past, tokens: Tensor, alone: Tensor) -> tuple[Past, list[float]]:
        """Lower the loss by a few steps, every row by itself.

        Parameters
        ----------
        past : Past
            Keys and values of all tokens but the last.
        tokens : Tensor, shape (n, tokens)
            What was said so far, the prompt included.
        alone : Tensor, shape (n, vocabulary)
            GPT-2's own log-probabilities of the next token.

        Returns
        -------
        past : Past
            The moved cache.
        losses : list of float
            The loss before each step, summed over the rows.
        """
        base = [tensor for pair in past for tensor in pair]
        shift = [torch.zeros_like(tensor) for tensor in base]
        losses = []
        for _ in range(self.settings.iterations):
            shift = [tensor.detach().requires_grad_() for tensor in shift]
            with torch.enable_grad():
                moved = _paired([b + s for b, s in zip(base, shift, strict=True)])
                likely = self.language.read(tokens[:, -1:], moved).logits.log_softmax(-1)
                loss = self._loss(likely, tokens, alone)
                slopes = torch.autograd.grad(loss, shift)
            losses.append(float(loss.detach()))
            shift = [s.detach() - self._step(g) for s, g in zip(shift, slopes, strict=True)]
        return _paired([b + s for b, s in zip(base, shift, strict=True)]), losses

    def _loss(self, likely: Tensor, tokens: Tensor, alone: Tensor) -> Tensor:
        """Loss of log-probabilities, summed over the rows."""
        wanted = self._wanted(likely.detach(), tokens)
        picture = -(wanted * likely).sum()
        return picture + self.settings.fluency * (likely.exp() * (likely - alone)).sum()

    def _wanted(self, likely: Tensor, tokens: Tensor) -> Tensor:
        """Find what the picture would choose among the likeliest tokens of each row."""
        wanted = torch.zeros_like(likely)
        tops = likely.topk(min(self.settings.candidates, likely.shape[1])).indices
        for row, (said, top) in enumerate(zip(tokens.tolist(), tops, strict=True)):
            text = self.language.text(said)
            texts = [text + self.language.tokenizer.decode([token]) for token in top.tolist()]
            wanted[row, top] = (self.guide.cosines(texts) / self.settings.temperature).softmax(0)
        return wanted

    def _step(self, slope: Tensor) -> Tensor:
        """Scale the gradient of every row by its own length."""
        length: Tensor = slope.square().sum((1, 2, 3), keepdim=True).sqrt() + _TINY
        return slope * (self.settings.step / length**self.settings.gradient_power)


def _paired(tensors: list[Tensor]) -> Past:
    """Keys and values in turn, as the language model takes them."""
    return tuple(zip(tensors[::2], tensors[1::2], strict=True))
