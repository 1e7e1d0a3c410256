"""Wishes as the generation loop understands them: a bias on every next token, and goals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ._wish_spelling import Finder, Spelling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from torch import Tensor

    from ._language_model import Constraint
    from ._wishes import Wishes

    Integers = npt.NDArray[np.integer]
    Mask = npt.NDArray[np.bool_]

DOUBT = 4.0
"""Log-odds against the beginning of a longer word that spells an unwanted one so far; given back
once it goes on. "cat" seldom becomes "cathedral"."""

END_BONUS = {"label": 4.0, "phrase": 1.0, "sentence": -2.0}
"""Log-odds for ending; a sentence pays until it has some length."""

MOST_TOKENS = {"label": 6, "phrase": 12}
"""Longest captions, the end token included."""

LEAST_TOKENS = 12
"""Before this length ending a sentence costs."""


class MustGoals:
    """Phrases that a sentence has to hold, in any order.

    Parameters
    ----------
    phrases : sequence of sequence of str
        Spellings of each phrase, any of which will do.
    tokens : sequence of sequence of int
        How each phrase is written; only its first spelling is proposed.
    spelling : Spelling
        Of the vocabulary.
    """

    def __init__(
        self,
        phrases: Sequence[Sequence[str]],
        tokens: Sequence[Sequence[int]],
        spelling: Spelling,
    ) -> None:
        self._finders = [Finder(spellings, spelling) for spellings in phrases]
        self._tokens = [np.array(one, np.int64) for one in tokens]
        # A piece with a gap before it can follow anything, others only where a word may begin.
        self._joins = [not spelling.pieces[one[0]][:1].isspace() for one in tokens]

    @classmethod
    def of(
        cls, wishes: Wishes, spelling: Spelling, encode: Callable[[str], Sequence[int]]
    ) -> MustGoals:
        """Take the words that wishes name; ``encode`` writes one within a sentence."""
        return cls(
            [wishes.spellings(phrase) for phrase in wishes.must],
            [encode(phrase) for phrase in wishes.must],
            spelling,
        )

    @property
    def banks(self) -> int:
        """Tokens of all phrases, and one."""
        return 1 + sum(map(len, self._tokens))

    def progress(self, tokens: Tensor) -> Tensor:
        """Tokens of phrases that sentences, shape (m, t), hold: whole ones, and one begun."""
        written = tokens.cpu().numpy()
        steps = np.zeros(len(written), np.int64)
        begun = np.zeros(len(written), np.int64)
        for phrase, (held, _) in zip(self._tokens, self._held(written), strict=True):
            steps += held * len(phrase)
            begun = np.maximum(begun, np.where(held, 0, _begun(written, phrase)))
        return torch.from_numpy(steps + begun).to(tokens.device)

    def reached(self, tokens: Tensor) -> Tensor:
        """Whether sentences, shape (m, t), hold all phrases, shape (m,)."""
        written = tokens.cpu().numpy()
        reached = np.ones(len(written), bool)
        for held, _ in self._held(written):
            reached &= held
        return torch.from_numpy(reached).to(tokens.device)

    def openings(self, tokens: Tensor) -> Tensor:
        """Begin each missing phrase, or go on with it, shape (m, phrases)."""
        written = tokens.cpu().numpy()
        found = np.full((len(written), len(self._tokens)), -1, np.int64)
        for column, (phrase, (held, inside)) in enumerate(
            zip(self._tokens, self._held(written), strict=True)
        ):
            begun = _begun(written, phrase)
            possible = ~held & ((begun > 0) | ~(inside & self._joins[column]))
            found[:, column] = np.where(possible, phrase[np.minimum(begun, len(phrase) - 1)], -1)
        return torch.from_numpy(found).to(tokens.device)

    def _held(self, written: Integers) -> list[tuple[Mask, Mask]]:
        """For each phrase which sentences hold it, and which are inside a word."""
        states = [finder.run(written) for finder in self._finders]
        return [
            ((state == finder.found) | finder.open[state], finder.inside[state])
            for finder, state in zip(self._finders, states, strict=True)
        ]


def _begun(written: Integers, phrase: Integers) -> Integers:
    """How many tokens of a phrase, but not all, end each sentence of shape (m, t)."""
    begun = np.zeros(len(written), np.int64)
    for length in range(1, min(len(phrase), written.shape[1] + 1)):
        ending = (written[:, -length:] == phrase[:length]).all(axis=1)
        begun[ending] = length
    return begun


class Steering:
    """A ``constrain`` hook that makes sentences as they are wished for.

    Parameters
    ----------
    wishes : Wishes
        What is wished.
    spelling : Spelling
        Of the vocabulary.
    ends : sequence of int
        Tokens that end a sentence.
    max_tokens : int
        Longest sentence.
    goals : MustGoals, optional
        The words that must be there: without all of them no sentence ends.
    inner : Constraint, optional
        What else has to be kept to.
    length : bool
        Whether a length is brought about by the search.
    """

    def __init__(
        self,
        wishes: Wishes,
        spelling: Spelling,
        ends: Sequence[int],
        max_tokens: int,
        goals: MustGoals | None = None,
        *,
        inner: Constraint | None = None,
        length: bool = True,
    ) -> None:
        self.goals = goals
        self._length = wishes.length if length else None
        self.max_tokens = min(max_tokens, MOST_TOKENS.get(self._length or "", max_tokens))
        self.gain = max(END_BONUS.get(self._length or "", 0.0), 0.0)
        self._repetition = wishes.repetition
        self._ends = torch.tensor(ends)
        self._vocab = len(spelling)
        self._inner = inner
        never = [one for phrase in wishes.never for one in wishes.spellings(phrase)]
        self._finder = Finder(never, spelling) if never else None
        self._biases: dict[tuple[int, bool], Tensor] = {}

    def __call__(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Bias of every next token, shape (m, vocab)."""
        last = tokens.shape[1] == self.max_tokens - 1
        bias = self._words(tokens, last)
        allowed = None if self._inner is None else self._inner(rows, tokens)
        if len(bias) == 1:
            # What the finder keeps is not written to, and a row of one's own is needed seldom.
            each = self.goals is not None or self._repetition is not None or allowed is not None
            bias = bias.repeat(len(tokens) if each else 1, 1)
        self._end(bias, tokens.shape[1], last)
        if self.goals is not None:
            short = (~self.goals.reached(tokens)).nonzero()
            bias[short, self._ends] = -torch.inf
        if self._repetition is not None:
            self._forbid_repeats(bias, tokens, self._repetition)
        if allowed is None:
            return bias
        if allowed.dtype == torch.bool:
            return bias.masked_fill_(~allowed, -torch.inf)
        return bias + allowed

    def _words(self, tokens: Tensor, last: bool) -> Tensor:
        """Bias against unwanted words, one row for all sentences where that will do."""
        if self._finder is None:
            return torch.zeros(1, self._vocab, device=tokens.device)
        states, places = np.unique(self._finder.run(tokens.cpu().numpy()), return_inverse=True)
        table = torch.stack([self._against(int(state), last) for state in states])
        table = table.to(tokens.device)
        return table if len(states) == 1 else table[torch.from_numpy(places).to(tokens.device)]

    def _against(self, state: int, last: bool) -> Tensor:
        """Bias of every token in one state of the finder, shape (vocab,)."""
        if (state, last) not in self._biases:
            assert self._finder is not None
            after = self._finder.after(state)
            open_now, open_then = self._finder.open[state], self._finder.open[after]
            bias = DOUBT * (float(open_now) - open_then)
            bias[after == self._finder.found] = -np.inf
            if last:
                bias[open_then] = -np.inf
            if open_now:
                bias[self._ends] = -np.inf
            self._biases[state, last] = torch.from_numpy(bias.astype(np.float32))
        return self._biases[state, last]

    def _end(self, bias: Tensor, written: int, last: bool) -> None:
        """Bring about the length: endings are welcome, put off, or all that is left."""
        if self._length is None:
            return
        if written == 0:
            bias[:, self._ends] = -torch.inf
        elif self._length != "sentence" or written < LEAST_TOKENS:
            bias[:, self._ends] += END_BONUS[self._length]
        if last and self._length != "sentence":
            endings = bias[:, self._ends]
            bias.fill_(-torch.inf)
            bias[:, self._ends] = endings

    def _forbid_repeats(self, bias: Tensor, tokens: Tensor, length: int) -> None:
        """Forbid what would make a sequence of ``length`` tokens come twice."""
        if tokens.shape[1] < length:
            return
        passages = tokens.unfold(1, length, 1)
        tail = tokens[:, tokens.shape[1] - length + 1 :]
        again = (passages[:, :, :-1] == tail[:, None]).all(dim=2)
        rows, places = again.nonzero(as_tuple=True)
        bias[rows, passages[rows, places, -1]] = -torch.inf
