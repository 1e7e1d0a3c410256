"""ZeroCap: the picture pulls at GPT-2's memory of what it has said."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch

from napari_patchioner.decoders import Caption, generate, tell

from ._cache_mover import CacheMover, ZeroCapSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from ._gpt2 import Gpt2
    from ._guide import Guide

Progress: TypeAlias = Callable[[float, str], None]


class ZeroCap:
    """Writes a caption with ZeroCap (Tewel et al., CVPR 2022).

    Before each token the keys and values ``C`` that GPT-2 keeps of the tokens so far are moved by
    a few gradient steps that lower

        L(C) = CE(q, p(C)) + fluency * KL(p(C) || p(C_0)),

    where ``p(C)`` is the distribution of the next token, ``C_0`` the cache as GPT-2 made it, and
    ``q = softmax(cos(CLIP(text + token), CLIP(picture)) / temperature)`` over the likeliest
    tokens. Each tensor of the cache moves by ``step * g / |g|^gradient_power`` against its
    gradient. The cache is made anew for every token; a full stop ends the sentence.

    The published code uses GPT-2 medium and CLIP ViT-B/32, and holds a list of tokens back that
    is not part of this (``ZeroCapSettings.held_back``). Probabilities are normalised for each
    sentence here, where it divides by their sum over all beams.

    Every token embeds ``candidates`` texts per beam, and more where a step changed which they
    are: 36,000 for a caption at the published settings, some ten minutes with CLIP ViT-B/32 on
    one processor core. Fewer candidates and beams are faster.

    Parameters
    ----------
    language : Gpt2
        Writes.
    settings : ZeroCapSettings, optional
        The published ones by default.
    """

    name = "zerocap"
    max_tokens = 15

    def __init__(self, language: Gpt2, settings: ZeroCapSettings | None = None) -> None:
        self.language = language
        self.settings = settings or ZeroCapSettings()

    def caption(
        self, guide: Guide, *, max_tokens: int | None = None, progress: Progress | None = None
    ) -> Caption:
        """Write one caption.

        Parameters
        ----------
        guide : Guide
            The picture.
        max_tokens : int, optional
            Longest caption, the full stop included.
        progress : callable, optional
            Called before every token with the share done and the text so far; may raise
            ``Cancelled``.

        Raises
        ------
        ModelError
            If the language model has no room for that many tokens.
        """
        longest = self.max_tokens if max_tokens is None else max_tokens
        prefix = self.language.begin(self.settings.prompt, longest)
        writer = _Guided(self, guide, prefix.shape[1], longest, progress)
        (found,) = generate(
            writer,
            prefix,
            end=self.language.tokenizer.stop,
            max_tokens=longest,
            beams=self.settings.beams,
            endings="compete",
        )
        cosines = guide.cosines([self._text(hypothesis.tokens) for hypothesis in found])
        order = cosines.argsort(descending=True, stable=True).tolist()
        return tell([found[place] for place in order], self._text, alternatives=len(order) - 1)

    def logits(self, tokens: Tensor, guide: Guide, *, first: bool) -> Tensor:
        """Guide the next token: logits, (n, tokens) to (n, vocabulary)."""
        with torch.no_grad():
            past = self.language.read(tokens[:, :-1]).past if tokens.shape[1] > 1 else ()
            alone = self.language.read(tokens[:, -1:], past).logits.log_softmax(-1)
        # A lone start token has nothing behind it that could be moved.
        if past:
            past, _ = CacheMover(self.language, guide, self.settings).move(past, tokens, alone)
        with torch.no_grad():
            logits = self.language.read(tokens[:, -1:], past).logits
        settings = self.settings
        stop = 1 / settings.first_end_factor if first else settings.end_factor
        _favour(logits, [self.language.tokenizer.stop], stop)
        _favour(logits, list(settings.held_back), 1 / settings.held_back_factor)
        return settings.fusion * logits.log_softmax(-1) + (1 - settings.fusion) * alone

    def _text(self, tokens: Sequence[int]) -> str:
        return " ".join(self.language.text(list(tokens)).split())


def _favour(logits: Tensor, tokens: list[int], factor: float) -> None:
    """Make tokens likelier, or less likely by a factor below one, whatever their sign."""
    some = logits[:, tokens]
    logits[:, tokens] = torch.where(some > 0, some * factor, some / factor)


class _Guided:
    """ZeroCap as the generation loop sees it; its cache is what was said so far."""

    def __init__(
        self, owner: ZeroCap, guide: Guide, prompt: int, longest: int, progress: Progress | None
    ) -> None:
        self._owner, self._guide = owner, guide
        self._prompt, self._longest = prompt, longest
        self._progress = progress
        self.vocab_size = owner.language.tokenizer.size

    def start(self, prefix: Tensor) -> tuple[Tensor, Tensor]:
        """Guide the first token."""
        return self._logits(prefix), prefix

    def step(self, tokens: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Guide the next token."""
        said = torch.cat([cache, tokens[:, None]], dim=1)
        return self._logits(said), said

    def reorder(self, cache: Tensor, rows: Tensor) -> Tensor:
        """Take rows."""
        return cache[rows]

    def _logits(self, said: Tensor) -> Tensor:
        length = said.shape[1] - self._prompt
        if self._progress:
            text = self._owner.language.text(said[0].tolist())
            self._progress(length / self._longest, text)
        # The loop runs without gradients; guiding needs them.
        with torch.inference_mode(False):
            return self._owner.logits(said.clone(), self._guide, first=length == 0)
