"""Beam search over all rows at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

from napari_patchioner.decoders.caption import Caption

Cache = TypeVar("Cache")
Constraint: TypeAlias = Callable[[Tensor, Tensor], "Tensor | None"]
"""``(rows (m,), tokens so far (m, t)) -> (m, vocab)``: True where a token may follow, or a bias."""

# Logits held at once: 128 MB, so that a thousand regions do not need gigabytes.
_MAX_LOGITS = 2**25


class LanguageModel(Protocol[Cache]):
    """What the loop needs of a model; the cache is the model's own."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens to choose from."""

    def start(self, prefix: Tensor) -> tuple[Tensor, Cache]:
        """Logits of the first token, shape (n, vocab_size), and a cache of n rows."""

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Logits after one more token per row, ``tokens`` of shape (n,)."""

    def reorder(self, cache: Cache, rows: Tensor) -> Cache:
        """Take the given rows of the cache, in that order, repeats allowed."""


class Goals(Protocol):
    """What sentences have to reach, so that the search keeps some that are on their way.

    ``banks`` are the steps from nothing to all, plus one.
    """

    banks: int

    def progress(self, tokens: Tensor) -> Tensor:
        """Count the steps that sentences, shape (m, t), have taken; all is ``banks - 1``."""

    def openings(self, tokens: Tensor) -> Tensor:
        """Tokens that would go a step further, shape (m, f); -1 where there are fewer."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A generated sentence in tokens."""

    tokens: tuple[int, ...]  # the end token included, where it was reached
    log_probabilities: tuple[float, ...]  # the model's own, one per token, before any bias
    # What sentences were compared by: the sum of log-probabilities and biases over the length to
    # the power of the length penalty.
    score: float
    ended: bool  # False if the sentence was cut at the longest allowed length


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How sentences are searched for."""

    max_tokens: int = 30  # longest sentence, the end token included
    beams: int = 1  # sentences followed side by side for each row; 1 is greedy search
    keep: int = 1  # stop a row once so many of its sentences cannot be beaten any more
    length_penalty: float = 1.0  # 0 compares sums of log-probabilities, 1 their mean
    # A finished sentence is set aside, and as many beams go on as before; or it keeps its beam for
    # as long as no more than ``beams`` sentences score higher at their present length, and a row
    # stops when all its beams are finished or out of tokens (ClipCap's search, without ``keep``).
    endings: Literal["aside", "compete"] = "aside"
    strict: bool = False  # give up sentences after which nothing may follow, do not end them
    # The most that biases can still add to a sentence, so that the search does not stop short.
    gain: float = 0.0
    # Sentences are compared by ``(1 + g) log p(token | prefix) - g log p(token | no prefix)``,
    # normalised, where `generate` is told what no prefix is; 0 is the model as it is.
    guidance: float = 0.0


@torch.inference_mode()
def generate(
    model: LanguageModel[Cache],
    prefix: Tensor,
    options: SearchOptions | None = None,
    *,
    end: int | Sequence[int],
    bias: Tensor | None = None,
    constrain: Constraint | None = None,
    goals: Goals | None = None,
    empty: Tensor | None = None,
    **changes: Any,
) -> list[list[Hypothesis]]:
    """Generate a sentence for every row of ``prefix``, all rows together.

    Parameters
    ----------
    model : LanguageModel
        Turns prefixes and tokens into logits.
    prefix : Tensor, shape (n, ...)
        What each sentence is generated from.
    options : SearchOptions, optional
        How to search; greedily by default.
    end : int or sequence of int
        The tokens that end a sentence.
    bias : Tensor, shape (n, vocab), (1, vocab) or (vocab,), optional
        Added to log-probabilities before a token is chosen; -inf forbids it.
    constrain : callable, optional
        Given the rows of ``prefix`` and the tokens so far, what may follow: a boolean mask or a
        further bias, shape (m, vocab). Where nothing may follow, the sentence ends.
    goals : Goals, optional
        What sentences have to reach: their next steps are tried even where they are unlikely, and
        beams are shared among sentences that have come equally far (grid beam search, Hokamp and
        Liu 2017, with the beams dealt out as by Post and Vilar 2018). It does not keep sentences
        from ending early; ``constrain`` does.
    empty : Tensor, shape (1, ...), optional
        The prefix that says nothing, for ``guidance`` (Sanchez et al. 2023; of captions, Kornblith
        et al. 2023): it goes through the model in the same batch.
    **changes
        Single options by name, which replace those of ``options``.

    Returns
    -------
    list of list of Hypothesis
        For each row the finished sentences, best first, at least one unless ``strict``.
    """
    options = replace(options or SearchOptions(), **changes)
    ends = (end,) if isinstance(end, int) else tuple(end)
    search = _Search(options, ends, bias, constrain, goals)
    size = max(1, _MAX_LOGITS // (options.beams * model.vocab_size))
    if options.guidance and empty is not None:
        guided = Guided(model, empty)
        return _in_parts(search, guided, prefix, max(1, size // 2))
    return _in_parts(search, model, prefix, size)


def _in_parts(
    search: _Search, model: LanguageModel[Any], prefix: Tensor, size: int
) -> list[list[Hypothesis]]:
    """Search for a few rows at a time."""
    hypotheses: list[list[Hypothesis]] = []
    for start in range(0, len(prefix), size):
        rows = torch.arange(start, min(start + size, len(prefix)), device=prefix.device)
        hypotheses.extend(search.run(model, prefix[rows], rows))
    return hypotheses


class Guided:
    """A language model that says beside every logit what it would be without the prefix.

    Its logits have the shape (n, 2, vocab): with the prefix, and with the ``empty`` one.
    """

    def __init__(self, model: LanguageModel[Any], empty: Tensor) -> None:
        self.model, self.empty = model, empty
        self.vocab_size = model.vocab_size

    def start(self, prefix: Tensor) -> tuple[Tensor, tuple[Any, int]]:
        """Logits of the first token, and a cache of both kinds of rows."""
        nothing = self.empty.expand(len(prefix), *self.empty.shape[1:])
        logits, cache = self.model.start(torch.cat([prefix, nothing]))
        return _side_by_side(logits), (cache, len(prefix))

    def step(self, tokens: Tensor, cache: tuple[Any, int]) -> tuple[Tensor, tuple[Any, int]]:
        """Logits after one more token per row."""
        logits, inner = self.model.step(torch.cat([tokens, tokens]), cache[0])
        return _side_by_side(logits), (inner, len(tokens))

    def reorder(self, cache: tuple[Any, int], rows: Tensor) -> tuple[Any, int]:
        """Take the given rows of the cache with their twins."""
        inner, count = cache
        return self.model.reorder(inner, torch.cat([rows, rows + count])), len(rows)


def _side_by_side(logits: Tensor) -> Tensor:
    """Logits of rows and their twins, (2 n, vocab), as (n, 2, vocab)."""
    return torch.stack(logits.chunk(2), dim=1)


def guided(log_probabilities: Tensor, guidance: float) -> Tensor:
    """Log-probabilities by which tokens are compared, of those with and without the prefix.

    ``log_probabilities`` are of shape (..., 2, vocab), the result (..., vocab).
    """
    own, without = log_probabilities.unbind(-2)
    return torch.log_softmax((1 + guidance) * own - guidance * without, dim=-1)


@torch.inference_mode()
def rate(model: LanguageModel[Cache], prefix: Tensor, sentences: Sequence[Sequence[int]]) -> Tensor:
    """Sum of the log-probabilities of given sentences after each row of ``prefix``.

    Parameters
    ----------
    model : LanguageModel
        As `generate` has it.
    prefix : Tensor, shape (n, ...)
        What the sentences would be generated from.
    sentences : sequence of sequence of int
        Tokens of each, the end token included; none is empty.

    Returns
    -------
    Tensor, shape (n, sentences)
    """
    count, longest = len(sentences), max(map(len, sentences), default=0)
    lengths = torch.tensor([len(sentence) for sentence in sentences], device=prefix.device)
    tokens = torch.zeros((count, longest), dtype=torch.long, device=prefix.device)
    for row, sentence in enumerate(sentences):
        tokens[row, : len(sentence)] = torch.tensor(sentence, device=prefix.device)
    sums = torch.zeros((len(prefix), count), device=prefix.device)
    size = max(1, _MAX_LOGITS // (max(count, 1) * model.vocab_size))
    for first in range(0, len(prefix) if count else 0, size):
        rows = torch.arange(first, min(first + size, len(prefix)), device=prefix.device)
        logits, cache = model.start(prefix[rows])
        spread = torch.arange(len(rows), device=rows.device).repeat_interleave(count)
        logits, cache = logits[spread], model.reorder(cache, spread)
        for place in range(longest):
            column = tokens[:, place].repeat(len(rows))
            chances = torch.log_softmax(logits.float(), dim=-1).gather(1, column[:, None])
            reads = (place < lengths).repeat(len(rows))
            sums[rows] += torch.where(reads, chances[:, 0], 0.0).reshape(len(rows), count)
            if place + 1 < longest:
                logits, cache = model.step(column, cache)
    return sums


def caption_of(
    hypotheses: Sequence[Hypothesis],
    text_of: Callable[[Sequence[int]], str],
    *,
    alternatives: int = 0,
) -> Caption:
    """Make a caption of the sentences generated for one region, best first, at least one.

    It is scored by the geometric mean of its token probabilities. ``text_of`` turns token ids, end
    token included, into clean text. ``alternatives`` counts the others: texts that read the same
    count once, empty ones never.
    """
    best = hypotheses[0]
    mean = sum(best.log_probabilities) / len(best.log_probabilities)
    text, *others = dict.fromkeys(text_of(hypothesis.tokens) for hypothesis in hypotheses)
    return Caption(
        text=text,
        score=math.exp(mean),
        log_probability=mean,
        token_log_probabilities=best.log_probabilities,
        alternatives=tuple(other for other in others if other)[:alternatives],
    )


class _Beams(NamedTuple):
    """Unfinished sentences: ``k`` for each of ``n`` rows, ``t`` tokens long, best first."""

    totals: Tensor  # (n, k): log-probabilities and biases added up
    tokens: Tensor  # (n, k, t)
    log_probabilities: Tensor  # (n, k, t)

    def take(self, order: Tensor) -> _Beams:
        """Reorder the sentences of each row, ``order`` of shape (n, j)."""
        deep = order[:, :, None].expand(-1, -1, self.tokens.shape[2])
        return _Beams(
            self.totals.gather(1, order),
            self.tokens.gather(1, deep),
            self.log_probabilities.gather(1, deep),
        )


@dataclass(slots=True)
class _Search:
    """The loop; ``finished[i]`` holds the sentences of the i-th row of a run."""

    options: SearchOptions
    ends: tuple[int, ...]
    bias: Tensor | None
    constrain: Constraint | None
    goals: Goals | None

    def run(
        self, model: LanguageModel[Cache], prefix: Tensor, rows: Tensor
    ) -> list[list[Hypothesis]]:
        """Beam search over all rows; a row leaves the batch when it is done."""
        finished: list[list[Hypothesis]] = [[] for _ in range(len(rows))]
        active = torch.arange(len(rows), device=rows.device)
        width = self.options.beams
        # All beams start alike, so only the first may be continued.
        totals = torch.full((len(rows), width), -torch.inf, device=rows.device)
        totals[:, 0] = 0.0
        nothing = torch.empty((len(rows), width, 0), device=rows.device)
        beams = _Beams(totals, nothing.long(), nothing)
        logits, cache = model.start(prefix)
        spread = active.repeat_interleave(width)
        logits, cache = logits[spread], model.reorder(cache, spread)
        for length in range(1, self.options.max_tokens + 1):
            candidates, parents = self._extend(beams, logits, rows[active])
            beams, order = self._take_endings(candidates, finished, active)
            if length == self.options.max_tokens:
                self._collect(finished, active, beams, beams.totals.isfinite(), ended=False)
                break
            going = self._going_on(finished, active, beams, length)
            if not len(going):
                break
            active, beams = active[going], _Beams(*(values[going] for values in beams))
            kept = parents.gather(1, order)[going].flatten()
            # Greedy search mostly goes on in place, and copying a cache is a good part of a step.
            if not torch.equal(kept, torch.arange(parents.shape[0] * width, device=kept.device)):
                cache = model.reorder(cache, kept)
            logits, cache = model.step(beams.tokens[:, :, -1].flatten(), cache)
        return [sorted(row, key=lambda hypothesis: -hypothesis.score) for row in finished]

    def _extend(self, beams: _Beams, logits: Tensor, rows: Tensor) -> tuple[_Beams, Tensor]:
        """Find the best one-token continuations of each row, and the flat beam each continues."""
        log_probabilities = torch.log_softmax(logits.float(), dim=-1)
        compared = log_probabilities
        if log_probabilities.dim() == 3:
            compared = guided(log_probabilities, self.options.guidance)
            log_probabilities = log_probabilities[:, 0]
        gains = self._biased(compared, rows, beams.tokens)
        # Each beam ends at most once per end token, so enough remain to go on with.
        wanted = (1 + len(self.ends)) * self.options.beams
        best, tokens = gains.topk(min(wanted, gains.shape[1]))
        totals = beams.totals.reshape(-1, 1)
        best = totals + best
        if self.goals is not None:
            # The tokens that lead towards the goals, too, -inf where they are among the likeliest.
            openings = self.goals.openings(beams.tokens.flatten(0, 1))
            known = (openings[:, :, None] == tokens[:, None]).any(dim=2) | (openings < 0)
            openings = openings.clamp(min=0)
            added = (totals + gains.gather(1, openings)).masked_fill(known, -torch.inf)
            best, tokens = torch.cat([best, added], dim=1), torch.cat([tokens, openings], dim=1)
        width = best.shape[1]
        best = best.reshape(len(rows), -1)
        if self.goals is None:
            best, chosen = best.topk(min(wanted, self.options.beams * width))
        else:
            best, chosen = _deal_beams(self.goals, beams.tokens, best, tokens, wanted)
        tokens = tokens.reshape(len(rows), -1).gather(1, chosen)
        parents = chosen.div(width, rounding_mode="floor")
        before = beams.take(parents)
        parents += torch.arange(len(rows), device=rows.device)[:, None] * self.options.beams
        gained = log_probabilities[parents, tokens]
        candidates = _Beams(
            best,
            torch.cat([before.tokens, tokens[:, :, None]], dim=2),
            torch.cat([before.log_probabilities, gained[:, :, None]], dim=2),
        )
        return candidates, parents

    def _biased(self, log_probabilities: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
        """Log-probabilities plus what the caller prefers and forbids."""
        if self.bias is None and self.constrain is None:
            return log_probabilities
        beam_rows = rows.repeat_interleave(self.options.beams)
        biased = log_probabilities
        if self.bias is not None:
            bias = self.bias if self.bias.dim() == 2 else self.bias[None]
            biased = biased + (bias if len(bias) == 1 else bias[beam_rows])
        if self.constrain is not None:
            allowed = self.constrain(beam_rows, tokens.flatten(0, 1))
            if allowed is not None and allowed.dtype == torch.bool:
                biased = biased.masked_fill(~allowed, -torch.inf)
            elif allowed is not None:
                biased = biased + allowed
        if not self.options.strict:
            stuck = biased.amax(dim=1) == -torch.inf
            biased[stuck, self.ends[0]] = log_probabilities[stuck, self.ends[0]]
        return biased

    def _take_endings(
        self, candidates: _Beams, finished: list[list[Hypothesis]], active: Tensor
    ) -> tuple[_Beams, Tensor]:
        """Collect the sentences that ended; return the others, and which candidates they were."""
        beams = self.options.beams
        ends = torch.isin(candidates.tokens[:, :, -1], active.new_tensor(self.ends))
        # An ending below the best does not count, or beam search could stop where greedy would not.
        good = candidates.totals.isfinite()
        good[:, beams:] = False
        totals = candidates.totals
        if self.options.endings == "compete":
            scores = totals / candidates.tokens.shape[2] ** self.options.length_penalty
            good &= self._compete(finished, scores, active)
            totals = totals.masked_fill(~good, -torch.inf)
        self._collect(finished, active, candidates, good & ends, ended=True)
        # The sort is stable: endings go last, the others keep their order.
        order = ends.to(torch.int8).sort(dim=1, stable=True).indices[:, :beams]
        going = candidates._replace(totals=totals.masked_fill(ends, -torch.inf))
        return going.take(order), order

    def _compete(self, finished: list[list[Hypothesis]], scores: Tensor, active: Tensor) -> Tensor:
        """Which candidates have a beam, shape (n, k); finished sentences that lost theirs go."""
        beams = self.options.beams
        chosen = torch.zeros_like(scores, dtype=torch.bool)
        for row, (index, new) in enumerate(zip(active.tolist(), scores.tolist(), strict=True)):
            old = sorted(finished[index], key=lambda hypothesis: -hypothesis.score)
            better = [sum(hypothesis.score >= score for hypothesis in old) for score in new]
            kept = sum(rank + above < beams for rank, above in enumerate(better))
            chosen[row, :kept] = True
            finished[index] = old[: beams - kept]
        return chosen

    def _collect(
        self,
        finished: list[list[Hypothesis]],
        active: Tensor,
        beams: _Beams,
        chosen: Tensor,
        *,
        ended: bool,
    ) -> None:
        """Add the chosen sentences, a mask of shape (n, k), to their rows."""
        length = beams.tokens.shape[2]
        for row, column in chosen.nonzero().tolist():
            hypothesis = Hypothesis(
                tokens=tuple(beams.tokens[row, column].tolist()),
                log_probabilities=tuple(beams.log_probabilities[row, column].tolist()),
                score=float(beams.totals[row, column]) / length**self.options.length_penalty,
                ended=ended,
            )
            finished[int(active[row])].append(hypothesis)

    def _going_on(
        self, finished: list[list[Hypothesis]], active: Tensor, beams: _Beams, length: int
    ) -> Tensor:
        """Which rows could still reach a sentence better than those they have."""
        options = self.options
        best = beams.totals.amax(dim=1) + options.gain
        # Log-probabilities only fall, so the longest sentence without further loss is the limit.
        shorter, longer = (
            best / end**options.length_penalty for end in (length + 1, options.max_tokens)
        )
        limits = torch.maximum(shorter, longer).tolist()
        keep = 1 if options.beams == 1 else options.keep
        going = []
        for row, (index, limit) in enumerate(zip(active.tolist(), limits, strict=True)):
            scores = sorted((hypothesis.score for hypothesis in finished[index]), reverse=True)
            enough = options.endings == "aside" and len(scores) >= keep
            beaten = enough and (options.beams == 1 or limit <= scores[keep - 1])
            if not beaten and limit > -torch.inf:
                going.append(row)
        return torch.tensor(going, dtype=torch.long, device=active.device)


def _deal_beams(
    goals: Goals, past: Tensor, totals: Tensor, tokens: Tensor, wanted: int
) -> tuple[Tensor, Tensor]:
    """Choose continuations: in turn the best of those that have come farthest, then less far.

    ``past`` (n, k, t) holds the sentences so far, ``totals`` (n, k * w) what each candidate
    scores, ``tokens`` (n * k, w) the candidates' tokens. Returned are the totals (n, wanted) of
    the chosen and their indices; the first ``k`` make the next beams and, like the rest, are best
    first.
    """
    rows, beams, length = past.shape
    width = tokens.shape[1]
    flat = past.reshape(rows * beams, 1, length).expand(-1, width, -1)
    sentences = torch.cat([flat, tokens[:, :, None]], dim=2).reshape(-1, length + 1)
    bank = goals.progress(sentences).reshape(rows, beams * width)
    totals, order = totals.sort(dim=1, descending=True, stable=True)
    bank = bank.gather(1, order)
    turn = torch.zeros_like(bank)
    for number in range(goals.banks):
        own = bank == number
        turn = torch.where(own, own.cumsum(dim=1), turn)
    key = turn * goals.banks - bank
    key = key.masked_fill(totals == -torch.inf, torch.iinfo(key.dtype).max)
    picked = key.sort(dim=1, stable=True).indices[:, :wanted]
    # Indices into ``order`` are ranks: sorted, the best come first again.
    parts = (picked[:, :beams], picked[:, beams:])
    picked = torch.cat([part.sort(dim=1).values for part in parts], dim=1)
    return totals.gather(1, picked), order.gather(1, picked)
