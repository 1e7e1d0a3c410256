"""MAGIC search: contrastive search that also asks which word fits the picture."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from napari_patchioner.decoders import Caption, Hypothesis, caption_of
from napari_patchioner.errors import ModelError

from .guide import Gpt2, Guide

# What the published code shows CLIP of a long text, in tokens.
_SHOWN = 60


class Magic:
    """Writes a caption with MAGIC search (Su et al. 2022, "Language Models Can See").

    Of the ``k`` likeliest next tokens ``v`` it takes the one with the highest

        (1 - alpha) p(v | x) - alpha max_j cos(h_v, h_j) + beta f(v),

    where ``h_j`` are the last states of the tokens so far, so that repeating oneself costs, and
    ``f = softmax(scale cos(CLIP(x v), CLIP(picture)))`` over the ``k`` candidates. ``alpha = 0``
    and ``beta = 0`` is greedy search.

    The published language models are GPT-2 small fine-tuned on captions
    (``cambridgeltl/magic_mscoco``, ``k = 45``; ``cambridgeltl/magic_flickr30k``, ``k = 25`` and
    19 tokens), which begin with a token of their own and know when a caption ends. A plain GPT-2
    needs a prompt and goes on until it is cut. ``k`` texts are embedded per token: about a quarter
    of a minute for a caption, with CLIP ViT-B/32 on one processor core.

    ``scale`` is CLIP's factor for cosines: 100 in every published CLIP. The text begins with the
    ``prompt``, which is neither shown to CLIP nor part of the caption.
    """

    name = "magic"
    max_tokens = 15

    def __init__(
        self,
        language: Gpt2,
        *,
        k: int = 45,
        alpha: float = 0.1,
        beta: float = 2.0,
        scale: float = 100.0,
        prompt: str = "",
    ) -> None:
        if k < 1 or not 0 <= alpha <= 1:
            raise ModelError(f"MAGIC needs k above 0 and alpha from 0 to 1, not {k} and {alpha}.")
        self.language = language
        self.k, self.alpha, self.beta, self.scale = k, alpha, beta, scale
        self.prompt = prompt

    @torch.inference_mode()
    def caption(self, guide: Guide, *, max_tokens: int | None = None) -> Caption:
        """Write one caption of so many tokens at most, the end token included."""
        longest = self.max_tokens if max_tokens is None else max_tokens
        reading = self.language.read(self.language.begin(self.prompt, longest))
        tokens: list[int] = []
        sure: list[float] = []
        states = reading.states
        while len(tokens) < longest and tokens[-1:] != [self.language.end]:
            likely = reading.logits[0].log_softmax(0)
            result = likely.topk(min(self.k, len(likely)))
            # Every candidate is shown the same cache.
            shape = (len(result.indices), -1, -1, -1)
            past = tuple((k.expand(shape), v.expand(shape)) for k, v in reading.past)
            ahead = self.language.read(result.indices[:, None], past)
            scores = (1 - self.alpha) * result.values.exp()
            before, after = (normalize(part, dim=-1) for part in (states[0], ahead.states[:, 0]))
            scores = scores - self.alpha * (after @ before.T).amax(1)
            if self.beta:
                shown = [[*tokens, token][-_SHOWN:] for token in result.indices.tolist()]
                texts = [self.language.tokenizer.decode(some) for some in shown]
                scores = scores + self.beta * (self.scale * guide.cosines(texts)).softmax(0)
            best = int(scores.argmax())
            tokens.append(int(result.indices[best]))
            sure.append(float(result.values[best]))
            states = torch.cat([states, ahead.states[best : best + 1]], dim=1)
            past = tuple((k[best : best + 1], v[best : best + 1]) for k, v in ahead.past)
            reading = ahead._replace(logits=ahead.logits[best : best + 1], past=past)
        ended = tokens[-1] == self.language.end
        hypothesis = Hypothesis(tuple(tokens), tuple(sure), sum(sure) / len(sure), ended)
        return caption_of([hypothesis], self.language.line)
