"""Constraints on captions: a bias on every next token, goals for the beams, and the fallbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_patchioner.decoders.caption import Caption
from napari_patchioner.decoders.options import CaptionOptions, listed

from .automaton import Finder, Integers, Spelling
from .beam import (
    Cache,
    Constraint,
    Hypothesis,
    LanguageModel,
    SearchOptions,
    caption_of,
    generate,
)

Mask: TypeAlias = npt.NDArray[np.bool_]
# Log-odds against the beginning of a longer word that so far spells an excluded one; given back
# once it goes on. "cat" seldom becomes "cathedral".
DOUBT = 4.0
# Log-odds for ending; a sentence pays until it has some length.
END_BONUS, MIN_TOKENS = {"label": 4.0, "phrase": 1.0, "sentence": -2.0}, 12
# Longest captions, the end token included.
MAX_TOKENS = {"label": 6, "phrase": 12}
# A short caption is chosen among several, however few beams are asked for.
MIN_BEAMS = 4


@dataclass(frozen=True)
class TokenText:
    """How a decoder spells and searches.

    ``encode`` turns a phrase within a sentence to tokens, ``text_of`` tokens to clean text;
    ``search`` sets length penalty and endings, the rest is set for each call. With required words
    the length penalty is at most ``goal_length_penalty``: they cost every sentence, and a mean
    would favour long ones, in which that shows less.
    """

    spelling: Spelling
    ends: Sequence[int]
    encode: Callable[[str], list[int]]
    text_of: Callable[[Sequence[int]], str]
    search: SearchOptions = field(default_factory=SearchOptions)
    goal_length_penalty: float = 0.7
    bias: Tensor | None = None
    empty: Tensor | None = None


def caption_rows(
    model: LanguageModel[Cache],
    prefix: Tensor,
    text: TokenText,
    options: CaptionOptions,
    max_tokens: int,
) -> list[Caption]:
    """Caption every row of ``prefix`` as the options ask.

    Where no caption holds the words it must within ``max_tokens``, the best one without them is
    given and its ``problem`` says so; what is excluded is not generated then either.
    """
    wanted = options.alternatives
    if not options.constrained:
        keep = min(options.beams, 1 + wanted)
        search = replace(
            text.search,
            max_tokens=max_tokens,
            beams=options.beams,
            keep=keep,
            guidance=options.specificity,
        )
        plain = generate(model, prefix, search, end=text.ends, bias=text.bias, empty=text.empty)
        return [caption_of(row, text.text_of, alternatives=wanted) for row in plain]
    nothing = Caption("", 0.0, problem="Nothing can be written without these words.")
    captions = [nothing] * len(prefix)
    missing = list(range(len(prefix)))
    tries: dict[CaptionOptions, str | None] = {options: None}
    if options.must_include:
        tries[replace(options, must_include=())] = missing_words(options)
    exclusions = replace(options, must_include=(), length=None, repetition=None)
    tries.setdefault(
        exclusions, "No caption meets these constraints; this is the best one without."
    )
    for attempt, problem in tries.items():
        if not missing:
            break

        def text_of(tokens: Sequence[int], attempt: CaptionOptions = attempt) -> str:
            return attempt.punctuated(text.text_of(tokens))

        inputs = prefix[torch.tensor(missing, device=prefix.device)]
        results = constrained_search(model, inputs, text, attempt, max_tokens)
        rows, missing = missing, []
        for row, hypotheses in zip(rows, results, strict=True):
            if usable := _distinct(hypotheses, text, attempt):
                caption = caption_of(usable, text_of, alternatives=wanted)
                captions[row] = replace(caption, problem=problem)
            else:
                missing.append(row)
    return captions


def missing_words(options: CaptionOptions) -> str:
    """Return the message that no caption with the required words was possible."""
    return (
        f"No caption with {listed(options.must_include)} fits; this is the best one without. "
        "Allow a longer caption or ask for fewer words."
    )


def constrained_search(
    model: LanguageModel[Cache],
    prefix: Tensor,
    text: TokenText,
    options: CaptionOptions,
    max_tokens: int,
    *,
    grammar: Constraint | None = None,
    keep_all: bool = False,
) -> list[list[Hypothesis]]:
    """Run the loop with the constraints as its bias and goals.

    With a ``grammar`` of its own, which also decides the length, a decoder can search its own way;
    ``keep_all`` keeps as many sentences as there are beams.
    """
    goals, beams = None, max(options.beams, 1)
    if options.must_include:
        goals = PhraseGoals(options, text.spelling, text.encode)
        beams = max(2 * beams, goals.banks)
    if grammar is None and options.length in ("label", "phrase"):
        beams = max(beams, MIN_BEAMS)
    bias = ConstraintBias(options, text.spelling, text.ends, max_tokens, goals, grammar=grammar)
    penalty = text.search.length_penalty
    search = SearchOptions(
        max_tokens=bias.max_tokens,
        beams=beams,
        keep=beams if keep_all else min(beams, 1 + options.alternatives),
        length_penalty=penalty if goals is None else min(penalty, text.goal_length_penalty),
        endings="aside" if goals else text.search.endings,
        strict=True,
        gain=bias.gain,
        guidance=options.specificity,
    )
    return generate(
        model,
        prefix,
        search,
        end=text.ends,
        bias=text.bias,
        constrain=bias,
        goals=goals,
        empty=text.empty,
    )


def _distinct(
    hypotheses: Sequence[Hypothesis], text: TokenText, options: CaptionOptions
) -> list[Hypothesis]:
    """Sentences that satisfy the constraints, no two of which read the same."""
    texts: dict[str, Hypothesis] = {}
    # Who asks for a sentence, or for a word in it, is not served by one that was cut.
    whole = bool(options.length or options.must_include)
    for hypothesis in sorted(hypotheses, key=lambda hypothesis: whole and not hypothesis.ended):
        words = text.text_of(hypothesis.tokens)
        if words and options.satisfied_by(words):
            texts.setdefault(words.casefold().strip(" ."), hypothesis)
    if texts or whole:
        return list(texts.values())
    return [hypothesis for hypothesis in hypotheses if not text.text_of(hypothesis.tokens)][:1]


class PhraseGoals:
    """The words that options require: phrases that a sentence has to hold, in any order.

    Any spelling of a phrase will do, but only its first is proposed; ``encode`` spells a phrase
    within a sentence.
    """

    def __init__(
        self, options: CaptionOptions, spelling: Spelling, encode: Callable[[str], Sequence[int]]
    ) -> None:
        phrases = options.must_include
        self._finders = [Finder(options.spellings(phrase), spelling) for phrase in phrases]
        self._tokens = [np.array(encode(phrase), np.int64) for phrase in phrases]
        # A piece with a gap before it can follow anything, others only where a word may begin.
        self._joins = [not spelling.pieces[phrase[0]][:1].isspace() for phrase in self._tokens]
        self.banks = 1 + sum(map(len, self._tokens))

    def progress(self, tokens: Tensor) -> Tensor:
        """Tokens of phrases that sentences, shape (m, t), hold: whole ones, and one begun."""
        steps, begun = np.zeros((2, len(tokens)), np.int64)
        for phrase, held, _, begins in self._states(tokens):
            steps += held * len(phrase)
            begun = np.maximum(begun, np.where(held, 0, begins))
        return torch.from_numpy(steps + begun).to(tokens.device)

    def reached(self, tokens: Tensor) -> Tensor:
        """Whether sentences, shape (m, t), hold all phrases, shape (m,)."""
        reached = np.logical_and.reduce([held for _, held, _, _ in self._states(tokens)])
        return torch.from_numpy(reached).to(tokens.device)

    def openings(self, tokens: Tensor) -> Tensor:
        """Begin each missing phrase, or go on with it, shape (m, phrases)."""
        openings = []
        for (phrase, held, inside, begun), joins in zip(
            self._states(tokens), self._joins, strict=True
        ):
            possible = ~held & ((begun > 0) | ~(inside & joins))
            openings.append(np.where(possible, phrase[np.minimum(begun, len(phrase) - 1)], -1))
        return torch.from_numpy(np.stack(openings, axis=1)).to(tokens.device)

    def _states(self, tokens: Tensor) -> Iterator[tuple[Integers, Mask, Mask, Integers]]:
        """For each phrase which sentences hold it, are inside a word, and how far it is begun."""
        sentences = tokens.cpu().numpy()
        for finder, phrase in zip(self._finders, self._tokens, strict=True):
            state = finder.run(sentences)
            held = (state == finder.matched) | finder.open[state]
            yield phrase, held, finder.inside[state], _begun(sentences, phrase)


def _begun(sentences: Integers, phrase: Integers) -> Integers:
    """How many tokens of a phrase, but not all, end each sentence of shape (m, t)."""
    begun = np.zeros(len(sentences), np.int64)
    for length in range(1, min(len(phrase), sentences.shape[1] + 1)):
        ending = (sentences[:, -length:] == phrase[:length]).all(axis=1)
        begun[ending] = length
    return begun


class ConstraintBias:
    """A ``constrain`` hook that makes sentences meet the constraints.

    With ``goals`` no sentence ends before it holds all phrases. A ``grammar`` is kept to besides,
    and the length is left to it.
    """

    def __init__(
        self,
        options: CaptionOptions,
        spelling: Spelling,
        ends: Sequence[int],
        max_tokens: int,
        goals: PhraseGoals | None = None,
        *,
        grammar: Constraint | None = None,
    ) -> None:
        self.goals = goals
        self._length = options.length if grammar is None else None
        self.max_tokens = min(max_tokens, MAX_TOKENS.get(self._length or "", max_tokens))
        self.gain = max(END_BONUS.get(self._length or "", 0.0), 0.0)
        self._repetition = options.repetition
        self._ends = torch.tensor(ends)
        self._vocab = len(spelling.pieces)
        self._grammar = grammar
        excluded = [word for phrase in options.must_exclude for word in options.spellings(phrase)]
        self._finder = Finder(excluded, spelling) if excluded else None
        self._biases: dict[tuple[int, bool], Tensor] = {}

    def __call__(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Bias of every next token, shape (m, vocab)."""
        last = tokens.shape[1] == self.max_tokens - 1
        bias = self._exclusions(tokens, last)
        allowed = None if self._grammar is None else self._grammar(rows, tokens)
        if len(bias) == 1:
            # What is cached is not written to, and a row for each sentence is needed seldom.
            each = self.goals is not None or self._repetition is not None or allowed is not None
            bias = bias.repeat(len(tokens) if each else 1, 1)
        if self._length is not None:
            self._steer_length(bias, self._length, tokens.shape[1], last)
        if self.goals is not None:
            short = (~self.goals.reached(tokens)).nonzero()
            bias[short, self._ends] = -torch.inf
        if self._repetition is not None and tokens.shape[1] >= self._repetition:
            # What would make a sequence of so many tokens occur twice.
            passages = tokens.unfold(1, self._repetition, 1)
            tail = tokens[:, tokens.shape[1] - self._repetition + 1 :]
            again = (passages[:, :, :-1] == tail[:, None]).all(dim=2)
            sentences, starts = again.nonzero(as_tuple=True)
            bias[sentences, passages[sentences, starts, -1]] = -torch.inf
        if allowed is None:
            return bias
        if allowed.dtype == torch.bool:
            return bias.masked_fill_(~allowed, -torch.inf)
        return bias + allowed

    def _exclusions(self, tokens: Tensor, last: bool) -> Tensor:
        """Bias against excluded words, a single row for all sentences where that will do."""
        if self._finder is None:
            return torch.zeros(1, self._vocab, device=tokens.device)
        states, inverse = np.unique(self._finder.run(tokens.cpu().numpy()), return_inverse=True)
        table = torch.stack([self._against(self._finder, int(state), last) for state in states])
        table = table.to(tokens.device)
        return table if len(states) == 1 else table[torch.from_numpy(inverse).to(tokens.device)]

    def _against(self, finder: Finder, state: int, last: bool) -> Tensor:
        """Bias of every token in one state of the finder, shape (vocab,)."""
        if (state, last) not in self._biases:
            after = finder.after(state)
            open_now, open_then = finder.open[state], finder.open[after]
            bias = DOUBT * (float(open_now) - open_then)
            bias[after == finder.matched] = -np.inf
            if last:
                bias[open_then] = -np.inf
            if open_now:
                bias[self._ends] = -np.inf
            self._biases[state, last] = torch.from_numpy(bias.astype(np.float32))
        return self._biases[state, last]

    def _steer_length(self, bias: Tensor, wanted: str, length: int, last: bool) -> None:
        """Favour endings, put them off, or allow nothing else."""
        if length == 0:
            bias[:, self._ends] = -torch.inf
        elif wanted != "sentence" or length < MIN_TOKENS:
            bias[:, self._ends] += END_BONUS[wanted]
        if last and wanted != "sentence":
            endings = bias[:, self._ends]
            bias.fill_(-torch.inf)
            bias[:, self._ends] = endings
