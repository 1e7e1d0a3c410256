"""The one loop that writes sentences, whatever the decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from ._banks import share_out, with_openings
from ._language_model import Cache, Constraint, Goals, Hypothesis, LanguageModel

if TYPE_CHECKING:
    from collections.abc import Sequence

# Logits held at once: 128 MB, so that a thousand regions do not need gigabytes.
_LOGITS_AT_ONCE = 2**25


@torch.inference_mode()
def generate(
    model: LanguageModel[Cache],
    prefix: Tensor,
    *,
    end: int | Sequence[int],
    max_tokens: int = 30,
    beams: int = 1,
    keep: int = 1,
    length_penalty: float = 1.0,
    endings: Literal["aside", "compete"] = "aside",
    bias: Tensor | None = None,
    constrain: Constraint | None = None,
    goals: Goals | None = None,
    strict: bool = False,
    gain: float = 0.0,
) -> list[list[Hypothesis]]:
    """Write a sentence for every row of ``prefix``, all rows together.

    Parameters
    ----------
    model : LanguageModel
        Turns prefixes and tokens into logits.
    prefix : Tensor, shape (n, ...)
        One row per sentence.
    end : int or sequence of int
        The tokens that end a sentence.
    max_tokens : int
        Longest sentence, the end token included.
    beams : int
        Sentences followed side by side for each row; 1 is greedy search.
    keep : int
        Stop a row once this many of its sentences cannot be beaten any more.
    length_penalty : float
        0 compares sums of log-probabilities, 1 their mean.
    endings : {"aside", "compete"}
        What becomes of a finished sentence. It is set aside, and as many beams go on as before;
        or it keeps its beam for as long as no more than ``beams`` sentences score higher at their
        present length, and a row stops when all its beams are finished or out of tokens
        (ClipCap's search; ``keep`` is not read).
    bias : Tensor, shape (n, vocab), (1, vocab) or (vocab,), optional
        Added to log-probabilities before a token is chosen; -inf forbids it.
    constrain : callable, optional
        Given the rows of ``prefix`` and the tokens written so far, what may follow: a boolean
        mask or a further bias, shape (m, vocab). Where nothing may follow, the sentence ends.
    goals : Goals, optional
        What sentences have to reach: their next steps are tried even where they are unlikely, and
        beams are shared among sentences that have come equally far (grid beam search, Hokamp and
        Liu 2017, with the beams dealt out as by Post and Vilar 2018). It does not keep sentences
        from ending early; ``constrain`` does.
    strict : bool
        Give up sentences after which nothing may follow, rather than ending them.
    gain : float
        The most that biases can still add to a sentence, so that the search does not stop short.

    Returns
    -------
    list of list of Hypothesis
        For each row the finished sentences, best first, at least one unless ``strict``.
    """
    at_once = max(1, _LOGITS_AT_ONCE // (beams * model.vocab_size))
    ends = (end,) if isinstance(end, int) else tuple(end)
    rules = _Rules(
        ends,
        max_tokens,
        beams,
        keep,
        length_penalty,
        endings,
        bias,
        constrain,
        goals,
        strict,
        gain,
    )
    finished: list[list[Hypothesis]] = []
    for first in range(0, len(prefix), at_once):
        rows = torch.arange(first, min(first + at_once, len(prefix)), device=prefix.device)
        finished.extend(_search(model, prefix[rows], rows, rules))
    return finished


class _Rules(NamedTuple):
    """The options of one call."""

    ends: tuple[int, ...]
    max_tokens: int
    beams: int
    keep: int
    length_penalty: float
    endings: Literal["aside", "compete"]
    bias: Tensor | None
    constrain: Constraint | None
    goals: Goals | None
    strict: bool
    gain: float


class _Beams(NamedTuple):
    """Sentences under way: ``k`` for each of ``n`` rows, ``t`` tokens long, best first."""

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

    def rows(self, chosen: Tensor) -> _Beams:
        """Keep the chosen rows only."""
        return _Beams(*(values[chosen] for values in self))


def _search(
    model: LanguageModel[Cache], prefix: Tensor, rows: Tensor, rules: _Rules
) -> list[list[Hypothesis]]:
    """Beam search over all rows; a row leaves the batch when it is done."""
    finished: list[list[Hypothesis]] = [[] for _ in range(len(rows))]
    places = torch.arange(len(rows), device=rows.device)
    beams = _seed(len(rows), rules.beams, rows.device)
    logits, cache = model.start(prefix)
    spread = places.repeat_interleave(rules.beams)
    logits, cache = logits[spread], model.reorder(cache, spread)
    for length in range(1, rules.max_tokens + 1):
        candidates, parents = _extend(beams, logits, rows[places], rules)
        beams, order = _part_endings(candidates, finished, places, rules)
        if length == rules.max_tokens:
            _collect(finished, places, beams, beams.totals.isfinite(), rules, ended=False)
            break
        going = _going_on(finished, places, beams, length, rules)
        if not len(going):
            break
        places, beams = places[going], beams.rows(going)
        kept = parents.gather(1, order)[going].flatten()
        # Greedy search mostly goes on in place, and copying a cache is a good part of a step.
        if not torch.equal(kept, torch.arange(parents.shape[0] * rules.beams, device=kept.device)):
            cache = model.reorder(cache, kept)
        logits, cache = model.step(beams.tokens[:, :, -1].flatten(), cache)
    return [sorted(found, key=lambda hypothesis: -hypothesis.score) for found in finished]


def _seed(rows: int, beams: int, device: torch.device) -> _Beams:
    """Empty sentences; all beams start alike, so only the first may be continued."""
    totals = torch.full((rows, beams), -torch.inf, device=device)
    totals[:, 0] = 0.0
    nothing = torch.empty((rows, beams, 0), device=device)
    return _Beams(totals, nothing.long(), nothing)


def _extend(beams: _Beams, logits: Tensor, rows: Tensor, rules: _Rules) -> tuple[_Beams, Tensor]:
    """Find the best one-token continuations of each row, and the flat beam each continues."""
    log_probabilities = torch.log_softmax(logits.float(), dim=-1)
    biased = _biased(log_probabilities, rows, beams.tokens, rules)
    # Each beam ends at most once per end token, so enough remain to go on with.
    wanted = (1 + len(rules.ends)) * rules.beams
    biased = beams.totals.reshape(-1, 1) + biased
    best, tokens = biased.topk(min(wanted, biased.shape[1]))
    if rules.goals is not None:
        best, tokens = with_openings(rules.goals, beams.tokens.flatten(0, 1), biased, best, tokens)
    width = best.shape[1]
    best = best.reshape(len(rows), -1)
    if rules.goals is None:
        totals, chosen = best.topk(min(wanted, rules.beams * width))
    else:
        totals, chosen = share_out(rules.goals, beams.tokens, best, tokens, wanted)
    tokens = tokens.reshape(len(rows), -1).gather(1, chosen)
    parents = chosen.div(width, rounding_mode="floor")
    parents_flat = parents + torch.arange(len(rows), device=rows.device)[:, None] * rules.beams
    past = beams.take(parents)
    added = log_probabilities[parents_flat, tokens]
    candidates = _Beams(
        totals,
        torch.cat([past.tokens, tokens[:, :, None]], dim=2),
        torch.cat([past.log_probabilities, added[:, :, None]], dim=2),
    )
    return candidates, parents_flat


def _biased(log_probabilities: Tensor, rows: Tensor, tokens: Tensor, rules: _Rules) -> Tensor:
    """Log-probabilities plus what the caller wants and forbids."""
    if rules.bias is None and rules.constrain is None:
        return log_probabilities
    beam_rows = rows.repeat_interleave(rules.beams)
    biased = log_probabilities
    if rules.bias is not None:
        bias = rules.bias if rules.bias.dim() == 2 else rules.bias[None]
        biased = biased + (bias if len(bias) == 1 else bias[beam_rows])
    if rules.constrain is not None:
        wish = rules.constrain(beam_rows, tokens.flatten(0, 1))
        if wish is not None and wish.dtype == torch.bool:
            biased = biased.masked_fill(~wish, -torch.inf)
        elif wish is not None:
            biased = biased + wish
    if rules.strict:
        return biased
    stuck = biased.amax(dim=1) == -torch.inf
    biased[stuck, rules.ends[0]] = log_probabilities[stuck, rules.ends[0]]
    return biased


def _part_endings(
    candidates: _Beams, finished: list[list[Hypothesis]], places: Tensor, rules: _Rules
) -> tuple[_Beams, Tensor]:
    """Collect the sentences that ended; return the others, and which candidates they were."""
    ends = torch.isin(candidates.tokens[:, :, -1], places.new_tensor(rules.ends))
    # An ending below the best does not count, or beam search could stop where greedy would not.
    good = candidates.totals.isfinite()
    good[:, rules.beams :] = False
    totals = candidates.totals
    if rules.endings == "compete":
        good &= _stand_up_to(finished, candidates, places, rules)
        totals = totals.masked_fill(~good, -torch.inf)
    _collect(finished, places, candidates, good & ends, rules, ended=True)
    # The sort is stable: endings go last, the others keep their order.
    order = ends.to(torch.int8).sort(dim=1, stable=True).indices[:, : rules.beams]
    going = candidates._replace(totals=totals.masked_fill(ends, -torch.inf))
    return going.take(order), order


def _stand_up_to(
    finished: list[list[Hypothesis]], candidates: _Beams, places: Tensor, rules: _Rules
) -> Tensor:
    """Which candidates have a beam, shape (n, k), after finished sentences took theirs.

    A finished sentence that lost its beam is dropped.
    """
    scores = candidates.totals / candidates.tokens.shape[2] ** rules.length_penalty
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    for row, (place, new) in enumerate(zip(places.tolist(), scores.tolist(), strict=True)):
        old = sorted(finished[place], key=lambda hypothesis: -hypothesis.score)
        better = [sum(one.score >= score for one in old) for score in new]
        kept = sum(rank + above < rules.beams for rank, above in enumerate(better))
        chosen[row, :kept] = True
        finished[place] = old[: rules.beams - kept]
    return chosen


def _collect(
    finished: list[list[Hypothesis]],
    places: Tensor,
    beams: _Beams,
    chosen: Tensor,
    rules: _Rules,
    *,
    ended: bool,
) -> None:
    """Add the chosen sentences, a mask of shape (n, k), to their rows."""
    length = beams.tokens.shape[2]
    for row, column in chosen.nonzero().tolist():
        hypothesis = Hypothesis(
            tokens=tuple(beams.tokens[row, column].tolist()),
            log_probabilities=tuple(beams.log_probabilities[row, column].tolist()),
            score=float(beams.totals[row, column]) / length**rules.length_penalty,
            ended=ended,
        )
        finished[int(places[row])].append(hypothesis)


def _going_on(
    finished: list[list[Hypothesis]], places: Tensor, beams: _Beams, length: int, rules: _Rules
) -> Tensor:
    """Which rows could still find a sentence better than those they have."""
    best = beams.totals.amax(dim=1) + rules.gain
    # Log-probabilities only fall, so the longest sentence without further loss is the limit.
    shorter, longer = (best / end**rules.length_penalty for end in (length + 1, rules.max_tokens))
    limits = torch.maximum(shorter, longer).tolist()
    going = []
    for row, (place, limit) in enumerate(zip(places.tolist(), limits, strict=True)):
        scores = sorted((hypothesis.score for hypothesis in finished[place]), reverse=True)
        enough = rules.endings == "aside" and len(scores) >= (1 if rules.beams == 1 else rules.keep)
        beaten = enough and (rules.beams == 1 or limit <= scores[rules.keep - 1])
        if not beaten and limit > -torch.inf:
            going.append(row)
    return torch.tensor(going, dtype=torch.long, device=places.device)
