"""Notes of reading and writing: what was left out of a file, dropped from it, or guessed.

`read_annotations` and `write_annotations` hand a `Notes` to whatever reads or writes; the readers
and writers of formats use two functions:

- ``with leaving_out("region"):`` around the work on one record. An error within is noted under
  ``"region"`` and the record left out; the next one goes on. (An exceeded budget is never passed
  over, and a file none of whose records can be read is refused with the first reason.)
- ``note("what kind of thing", "cat.json: annotation 12: its outline crosses itself; filled")``
  for what was dropped or guessed. The kind is a few words that stand for many such sentences.

Whoever asked for the file prints ``notes.lines()``: a few sentences of each kind, and how many
there are besides. Nobody listening, the lines go to the log of ``napari_patchioner``.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from napari_patchioner.errors import Cancelled, FormatError, PatchionerError
from napari_patchioner.limits import BudgetError, check_budget

# Sentences of one kind that are shown.
_SHOWN = 5
_NOT_AS_EXPECTED = (TypeError, ValueError, LookupError, AttributeError, OverflowError, struct.error)
# Characters of one sentence; what stands in a file may be of any length.
_LONGEST = 500


class Notes:
    """What reading or writing a file has to say besides its result.

    Attributes
    ----------
    left_out : int
        Records that could not be read and are missing from the result.

    Examples
    --------
    >>> notes = Notes()
    >>> for number in range(1, 9):
    ...     notes.add("outline filled", f"region {number} crosses itself; it was filled")
    >>> for line in notes.lines(most=2):
    ...     print(line)
    region 1 crosses itself; it was filled
    region 2 crosses itself; it was filled
    and 6 more of this kind
    """

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()
        self.left_out = 0
        self.first_error: Exception | None = None

    def __bool__(self) -> bool:
        return bool(self._counts)

    def __len__(self) -> int:
        return self._counts.total()

    def count(self, kind: str) -> int:
        """Return how many sentences of a kind were added."""
        return self._counts[kind]

    def add(self, kind: str, text: str) -> None:
        """Add a sentence.

        Parameters
        ----------
        kind : str
            A few words that stand for all sentences of this kind; not shown.
        text : str
            The sentence, without a full stop: which record of which file, what is the matter, and
            what was done about it.
        """
        self._counts[kind] += 1
        texts = self._texts.setdefault(kind, [])
        if len(texts) < _SHOWN:
            line = " ".join(text.split())
            texts.append(line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…")

    def leave_out(self, kind: str, error: Exception) -> None:
        """Add a record that was left out because of an error."""
        if self.first_error is None:
            self.first_error = error
        self.left_out += 1
        self.add(f"{kind} left out", f"{error_message(error)}; left out")

    def merge(self, other: Notes) -> None:
        """Add everything that another holds."""
        for kind, count in other._counts.items():
            for text in other._texts[kind]:
                self.add(kind, text)
            self._counts[kind] += count - len(other._texts[kind])
        self.left_out += other.left_out
        self.first_error = self.first_error or other.first_error

    def lines(self, most: int = _SHOWN) -> list[str]:
        """Return the sentences, each on one line, at most so many of each kind (up to 5)."""
        lines = []
        for kind, texts in self._texts.items():
            lines += texts[:most]
            others = self._counts[kind] - len(texts[:most])
            if others:
                lines.append(f"and {others} more of this kind")
        return lines


def error_message(error: BaseException) -> str:
    """Return what an error says, in words where it is no error of ours.

    >>> error_message(FormatError("a.json: is empty")), error_message(KeyError("id"))
    ('a.json: is empty', "holds something unexpected (KeyError: 'id')")
    """
    if isinstance(error, PatchionerError):
        return str(error)
    if isinstance(error, MemoryError):
        return "needs more memory than there is; split it"
    if isinstance(error, RecursionError):
        return "is nested too deeply to be read"
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or error})"
    text = str(error)
    return f"holds something unexpected ({type(error).__name__}{f': {text}' if text else ''})"


_current: ContextVar[Notes | None] = ContextVar("notes", default=None)


@contextmanager
def noting(notes: Notes) -> Iterator[Notes]:
    """Let everything within add to these notes."""
    token = _current.set(notes)
    try:
        yield notes
    finally:
        _current.reset(token)


def note(kind: str, text: str) -> None:
    """Add a sentence to the notes of the file that is read or written; see `Notes.add`."""
    notes = _current.get()
    if notes is not None:
        notes.add(kind, text)


@contextmanager
def leaving_out(kind: str, where: str = "") -> Iterator[None]:
    """Leave out the one record that is read within, if it cannot be read.

    ``kind`` is what it is, such as ``"region"``; ``where`` the file and the record, for errors that
    do not name them. Where nobody takes notes (a reader called by itself), the error goes on.
    """
    notes = _current.get()
    try:
        yield
    except (Cancelled, MemoryError, BudgetError):
        raise
    except Exception as error:
        check_budget()
        if notes is None:
            raise
        if not isinstance(error, PatchionerError):
            message = error_message(error)
            cause, error = error, FormatError(f"{where}: {message}" if where else message)
            error.__cause__ = cause
        notes.leave_out(kind, error)


@contextmanager
def naming(where: str = "", why: str = "") -> Iterator[None]:
    """Name the file and the place in it in every error within; with ``why``, also in others'."""
    place = f"{where}: " if where else ""
    try:
        yield
    except BudgetError:
        raise
    except FormatError as error:
        if not place:
            raise
        raise FormatError(f"{place}{error}") from error
    except _NOT_AS_EXPECTED as error:
        if not why:
            raise
        raise FormatError(f"{place}{why}") from error


def log_notes(notes: Notes) -> None:
    """Write notes that nobody asked for to the log."""
    for line in notes.lines():
        logging.getLogger("napari_patchioner").warning("%s", line)
