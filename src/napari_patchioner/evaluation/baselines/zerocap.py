"""Gradient steps on GPT-2's keys and values (ZeroCap)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_patchioner.decoders import Caption, caption_of, generate
from napari_patchioner.errors import ModelError
from napari_patchioner.progress import Progress

from .guide import Gpt2, Guide, Past

# Kept from a division by zero where a gradient vanishes.
_TINY = 1e-15


@dataclass(frozen=True, slots=True)
class ZeroCapSettings:
    """What the published code runs with."""

    iterations: int = 5  # gradient steps per token
    step: float = 0.3  # length of a step, apart from the gradient's own
    gradient_power: float = 0.9  # gradients are divided by their length to this power
    fluency: float = 0.2  # weight of staying close to what GPT-2 would say by itself
    temperature: float = 0.01  # of the picture's choice among candidates
    candidates: int = 512  # how many of the likeliest tokens the picture chooses from
    fusion: float = 0.99  # share of the guided distribution in the final one, in logarithms
    # How much the full stop is favoured, and how much it is held back as the first token.
    end_factor: float = 1.01
    first_end_factor: float = 1.6
    # Tokens that are made unlikelier. The published code reads some from a file of its own, which
    # is not part of this.
    held_back: tuple[int, ...] = ()
    held_back_factor: float = 20.0
    beams: int = 5  # sentences followed side by side; the one that fits the picture best is taken
    prompt: str = "Image of a"  # what GPT-2 continues; shown to CLIP, not part of the caption

    def __post_init__(self) -> None:
        if self.iterations < 0 or self.candidates < 1 or self.beams < 1:
            raise ModelError("ZeroCap needs a candidate, a beam, and no less than zero iterations.")


def move_cache(
    language: Gpt2,
    guide: Guide,
    settings: ZeroCapSettings,
    past: Past,
    tokens: Tensor,
    alone: Tensor,
) -> tuple[Past, list[float]]:
    """Move keys and values so that GPT-2 speaks of the picture, every row by itself.

    ``tokens``, (n, tokens), were said so far, the prompt included; ``alone``, (n, vocabulary), are
    GPT-2's own log-probabilities of the next token. Returns the loss before each step, too.
    """
    base = [tensor for pair in past for tensor in pair]
    shift = [torch.zeros_like(tensor) for tensor in base]
    losses = []
    for _ in range(settings.iterations):
        shift = [tensor.detach().requires_grad_() for tensor in shift]
        with torch.enable_grad():
            likely = language.read(tokens[:, -1:], _moved(base, shift)).logits.log_softmax(-1)
            # What the picture would choose among the likeliest tokens of each row.
            wanted = torch.zeros_like(likely)
            tops = likely.detach().topk(min(settings.candidates, likely.shape[1])).indices
            for row, (said, top) in enumerate(zip(tokens.tolist(), tops, strict=True)):
                text = language.text(said)
                texts = [text + language.tokenizer.decode([token]) for token in top.tolist()]
                wanted[row, top] = (guide.cosines(texts) / settings.temperature).softmax(0)
            picture = -(wanted * likely).sum()
            loss = picture + settings.fluency * (likely.exp() * (likely - alone)).sum()
            slopes = torch.autograd.grad(loss, shift)
        losses.append(float(loss.detach()))
        # The gradient of every row is scaled by its own length.
        lengths = [slope.square().sum((1, 2, 3), keepdim=True).sqrt() + _TINY for slope in slopes]
        steps = [settings.step / length**settings.gradient_power for length in lengths]
        moves = zip(shift, slopes, steps, strict=True)
        shift = [tensor.detach() - slope * step for tensor, slope, step in moves]
    return _moved(base, shift), losses


def _moved(base: list[Tensor], shift: list[Tensor]) -> Past:
    """Keys and values of every layer, moved."""
    tensors = [tensor + by for tensor, by in zip(base, shift, strict=True)]
    return tuple(zip(tensors[::2], tensors[1::2], strict=True))


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

    The ``settings`` are the published ones by default.
    """

    name = "zerocap"
    max_tokens = 15

    def __init__(self, language: Gpt2, settings: ZeroCapSettings | None = None) -> None:
        self.language = language
        self.settings = settings or ZeroCapSettings()

    def caption(
        self, guide: Guide, *, max_tokens: int | None = None, progress: Progress | None = None
    ) -> Caption:
        """Write one caption of so many tokens at most, the full stop included.

        ``progress`` is called before every token with the share done and the text so far, and may
        raise ``Cancelled``.
        """
        longest = self.max_tokens if max_tokens is None else max_tokens
        prefix = self.language.begin(self.settings.prompt, longest)
        writer = _Guided(self, guide, prefix.shape[1], longest, progress)
        (result,) = generate(
            writer,
            prefix,
            end=self.language.tokenizer.stop,
            max_tokens=longest,
            beams=self.settings.beams,
            endings="compete",
        )
        text_of = self.language.line
        cosines = guide.cosines([text_of(hypothesis.tokens) for hypothesis in result])
        order = cosines.argsort(descending=True, stable=True).tolist()
        return caption_of([result[place] for place in order], text_of, alternatives=len(order) - 1)

    def logits(self, tokens: Tensor, guide: Guide, *, first: bool) -> Tensor:
        """Guide the next token: logits, (n, tokens) to (n, vocabulary)."""
        with torch.no_grad():
            past = self.language.read(tokens[:, :-1]).past if tokens.shape[1] > 1 else ()
            alone = self.language.read(tokens[:, -1:], past).logits.log_softmax(-1)
        # A lone start token has nothing behind it that could be moved.
        if past:
            past, _ = move_cache(self.language, guide, self.settings, past, tokens, alone)
        with torch.no_grad():
            logits = self.language.read(tokens[:, -1:], past).logits
        settings = self.settings
        stop = 1 / settings.first_end_factor if first else settings.end_factor
        _favour(logits, [self.language.tokenizer.stop], stop)
        _favour(logits, list(settings.held_back), 1 / settings.held_back_factor)
        return settings.fusion * logits.log_softmax(-1) + (1 - settings.fusion) * alone


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
