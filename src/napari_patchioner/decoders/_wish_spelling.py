"""Phrases looked for in sentences that are still being written, whatever tokens spell them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._wishes import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    Integers = npt.NDArray[np.integer]

_SPACE, _MARK = 32, 0
_SPACES = frozenset(b" \t\n\r\v\f\x1c\x1d\x1e\x1f")
# Bytes above belong to letters of other scripts; the odd mark among them is found in the end,
# when whole texts are read.
_LETTERS = frozenset({*b"abcdefghijklmnopqrstuvwxyz0123456789_", *range(128, 256)})


class Spelling:
    """What every token of a vocabulary adds to a text.

    Parameters
    ----------
    pieces : sequence of bytes
        UTF-8 of each token, gaps between words included; empty for special tokens.
    size : int, optional
        Number of tokens; those that have no piece add nothing.
    """

    def __init__(self, pieces: Sequence[bytes], size: int | None = None) -> None:
        unspelt = 0 if size is None else size - len(pieces)
        self.pieces = (*pieces, *(b"" for _ in range(unspelt)))

    def __len__(self) -> int:
        return len(self.pieces)

    @cached_property
    def by_place(self) -> list[tuple[Integers, npt.NDArray[np.uint8]]]:
        """For each place in a piece the tokens that reach so far and their bytes there."""
        lengths = np.array([len(piece) for piece in self.pieces])
        places: list[tuple[Integers, npt.NDArray[np.uint8]]] = []
        for place in range(int(lengths.max(initial=0))):
            tokens = np.flatnonzero(lengths > place)
            places.append((tokens, np.array([self.pieces[t][place] for t in tokens], np.uint8)))
        return places


class _State(NamedTuple):
    """Where in its phrases a text is: places reached, and whether it is inside a word."""

    reached: frozenset[tuple[int, int]]
    inside: bool


class _Part(NamedTuple):
    """One byte of a phrase, and whether white space before it does not count."""

    byte: int
    loose: bool


class Finder:
    """A finite automaton that finds any of some phrases, as words, in a text given in tokens.

    A phrase is found when it is over: "cat" only with the space, mark or end after it, for it may
    still become "cathedral".

    Parameters
    ----------
    phrases : iterable of str
        In small letters, words one space apart; at least one.
    spelling : Spelling
        Of the tokens.

    Attributes
    ----------
    found : int
        The state that is never left.
    open : ndarray of bool, shape (states,)
        Whether a phrase is found if nothing more is written.
    inside : ndarray of bool, shape (states,)
        Whether the text so far ends within a word.
    """

    start = 1
    found = 0

    def __init__(self, phrases: Iterable[str], spelling: Spelling) -> None:
        self._phrases = [_parts(phrase) for phrase in phrases]
        self._spelling = spelling
        states = self._build()
        lengths = [len(phrase) for phrase in self._phrases]
        self.open = np.array(
            [any(place == lengths[phrase] for phrase, place in s.reached) for s in states]
        )
        self.inside = np.array([state.inside for state in states])
        self._table = np.empty((len(states), len(spelling)), np.int32)
        self._known = np.zeros(len(states), bool)

    def after(self, state: int) -> Integers:
        """States that every token leads to from here, shape (vocab,)."""
        if not self._known[state]:
            row = np.full(len(self._spelling), state, np.int32)
            for tokens, letters in self._spelling.by_place:
                row[tokens] = self._steps[row[tokens], letters]
            self._table[state] = row
            self._known[state] = True
        found: Integers = self._table[state]
        return found

    def run(self, tokens: Integers) -> Integers:
        """States after token sequences, shape (m, t) to (m,)."""
        states = np.full(len(tokens), self.start, np.int32)
        for column in tokens.T:
            for state in np.unique(states):
                self.after(int(state))
            states = self._table[states, column]
        return states

    def _build(self) -> list[_State]:
        """Follow all bytes from all states there are; the first state stands for "found"."""
        told, stand_ins = _classes({part.byte for phrase in self._phrases for part in phrase})
        states = [_State(frozenset(), True), _State(frozenset(), False)]
        numbers = {states[1]: 1}
        rows = [np.zeros(256, np.int32)]
        while len(rows) < len(states):
            leads: dict[int, int] = {}
            for byte in told:
                after = self._step(states[len(rows)], byte)
                if after is not None and after not in numbers:
                    numbers[after] = len(states)
                    states.append(after)
                leads[byte] = self.found if after is None else numbers[after]
            rows.append(np.array([leads[byte] for byte in stand_ins], np.int32))
        self._steps = np.array(rows)
        return states

    def _step(self, state: _State, byte: int) -> _State | None:
        """Read one byte; None where a phrase has come to its end."""
        letter = byte in _LETTERS
        reached = set(state.reached)
        if not letter and any(place == len(self._phrases[one]) for one, place in reached):
            return None
        if not state.inside:
            reached |= {(one, 0) for one in range(len(self._phrases))}
        after = set()
        for one, place in reached:
            if place == len(self._phrases[one]):
                continue
            part = self._phrases[one][place]
            if byte == part.byte:
                after.add((one, place + 1))
            if byte == _SPACE and part.loose:
                after.add((one, place))
        return _State(frozenset(after), letter)


def _parts(phrase: str) -> tuple[_Part, ...]:
    """Spell a phrase; a gap between words is one part, more of it does not count."""
    parts: list[_Part] = []
    for word, apart in parts_of(phrase):
        if apart:
            parts.append(_Part(_SPACE, loose=False))
        first, *others = word.encode()
        parts.append(_Part(first, loose=bool(parts)))
        parts += [_Part(byte, loose=False) for byte in others]
    return tuple(parts)


def _classes(told: set[int]) -> tuple[list[int], list[int]]:
    """Bytes that phrases can tell apart, and for each of the 256 the one it is read as."""
    letter = next(byte for byte in sorted(_LETTERS, reverse=True) if byte not in told)
    told = told | {letter, _SPACE, _MARK}
    stand_ins = []
    for byte in bytes(range(256)).lower():
        if byte in _SPACES:
            stand_ins.append(_SPACE)
        elif byte in told:
            stand_ins.append(byte)
        else:
            stand_ins.append(letter if byte in _LETTERS else _MARK)
    return sorted(told), stand_ins
