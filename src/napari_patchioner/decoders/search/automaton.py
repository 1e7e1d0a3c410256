"""Phrases found in sentences that are still being generated, whatever tokens spell them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders.options import split_phrase

Integers: TypeAlias = npt.NDArray[np.integer]
_SPACE, _MARK = 32, 0
_SPACES = frozenset(b" \t\n\r\v\f\x1c\x1d\x1e\x1f")
# Bytes above belong to letters of other scripts; the odd mark among them is detected in the end,
# when whole texts are checked.
_LETTERS = frozenset({*b"abcdefghijklmnopqrstuvwxyz0123456789_", *range(128, 256)})


class Spelling:
    """What every token of a vocabulary adds to a text.

    ``pieces`` is the UTF-8 of each token, gaps between words included, empty for special tokens;
    of ``size`` tokens those beyond the pieces add nothing.
    """

    def __init__(self, pieces: Sequence[bytes], size: int | None = None) -> None:
        self.pieces = (*pieces, *(b"" for _ in range(0 if size is None else size - len(pieces))))

    @cached_property
    def columns(self) -> list[tuple[Integers, npt.NDArray[np.uint8]]]:
        """For each position in a piece the tokens that are long enough and their bytes there."""
        lengths = np.array([len(piece) for piece in self.pieces])
        columns: list[tuple[Integers, npt.NDArray[np.uint8]]] = []
        for position in range(int(lengths.max(initial=0))):
            tokens = np.flatnonzero(lengths > position)
            letters = np.array([self.pieces[token][position] for token in tokens], np.uint8)
            columns.append((tokens, letters))
        return columns


class _State(NamedTuple):
    """How far a text has come: ``(phrase, position)`` reached, and whether it is in a word."""

    reached: frozenset[tuple[int, int]]
    inside: bool


class _Part(NamedTuple):
    """A byte of a phrase, and whether white space before it does not count."""

    byte: int
    loose: bool


class Finder:
    """A finite automaton that detects any of some phrases, as words, in a text given in tokens.

    A phrase is detected when it is over: "cat" only with the space, mark or end after it, for it
    may still become "cathedral". Phrases are in lower case, words one space apart. ``open``
    (states,) says whether a phrase is there if nothing more follows, ``inside`` (states,) whether
    the text so far ends within a word; the state ``matched`` is never left.
    """

    start = 1
    matched = 0

    def __init__(self, phrases: Iterable[str], spelling: Spelling) -> None:
        self._phrases = [_parts(phrase) for phrase in phrases]
        self._spelling = spelling
        states = self._build()
        lengths = [len(phrase) for phrase in self._phrases]
        self.open = np.array(
            [any(at == lengths[phrase] for phrase, at in state.reached) for state in states]
        )
        self.inside = np.array([state.inside for state in states])
        self._table = np.empty((len(states), len(spelling.pieces)), np.int32)
        self._known = np.zeros(len(states), bool)

    def after(self, state: int) -> Integers:
        """States that every token leads to from this one, shape (vocab,)."""
        if not self._known[state]:
            row = np.full(len(self._spelling.pieces), state, np.int32)
            for tokens, letters in self._spelling.columns:
                row[tokens] = self._steps[row[tokens], letters]
            self._table[state] = row
            self._known[state] = True
        following: Integers = self._table[state]
        return following

    def run(self, tokens: Integers) -> Integers:
        """States after token sequences, shape (m, t) to (m,)."""
        states = np.full(len(tokens), self.start, np.int32)
        for column in tokens.T:
            for state in np.unique(states):
                self.after(int(state))
            states = self._table[states, column]
        return states

    def _build(self) -> list[_State]:
        """Follow all bytes from all states; the first state stands for a detected phrase."""
        distinct, stand_ins = _classes({part.byte for phrase in self._phrases for part in phrase})
        states = [_State(frozenset(), True), _State(frozenset(), False)]
        numbers = {states[1]: 1}
        rows = [np.zeros(256, np.int32)]
        while len(rows) < len(states):
            targets: dict[int, int] = {}
            for byte in distinct:
                after = self._step(states[len(rows)], byte)
                if after is not None and after not in numbers:
                    numbers[after] = len(states)
                    states.append(after)
                targets[byte] = self.matched if after is None else numbers[after]
            rows.append(np.array([targets[byte] for byte in stand_ins], np.int32))
        self._steps = np.array(rows)
        return states

    def _step(self, state: _State, byte: int) -> _State | None:
        """Consume a byte; None where a phrase has come to its end."""
        letter = byte in _LETTERS
        reached = set(state.reached)
        if not letter and any(at == len(self._phrases[phrase]) for phrase, at in reached):
            return None
        if not state.inside:
            reached |= {(phrase, 0) for phrase in range(len(self._phrases))}
        after = set()
        for phrase, at in reached:
            if at == len(self._phrases[phrase]):
                continue
            part = self._phrases[phrase][at]
            if byte == part.byte:
                after.add((phrase, at + 1))
            if byte == _SPACE and part.loose:
                after.add((phrase, at))
        return _State(frozenset(after), letter)


def _parts(phrase: str) -> tuple[_Part, ...]:
    """Spell a phrase; a gap between words is one part, more of it does not count."""
    parts: list[_Part] = []
    for word, apart in split_phrase(phrase):
        if apart:
            parts.append(_Part(_SPACE, loose=False))
        first, *others = word.encode()
        parts.append(_Part(first, loose=bool(parts)))
        parts += [_Part(byte, loose=False) for byte in others]
    return tuple(parts)


def _classes(used: set[int]) -> tuple[list[int], list[int]]:
    """Bytes that phrases distinguish, and for each of the 256 the one it counts as."""
    letter = next(byte for byte in sorted(_LETTERS, reverse=True) if byte not in used)
    used = used | {letter, _SPACE, _MARK}
    stand_ins = []
    for byte in bytes(range(256)).lower():
        if byte in _SPACES:
            stand_ins.append(_SPACE)
        elif byte in used:
            stand_ins.append(byte)
        else:
            stand_ins.append(letter if byte in _LETTERS else _MARK)
    return sorted(used), stand_ins
