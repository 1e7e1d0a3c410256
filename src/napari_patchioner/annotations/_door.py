"""The door that every file of annotations comes in by: one budget, and every error one sentence."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.errors import Cancelled, FormatError
from napari_patchioner.limits import BudgetError, check_budget, file_budget

from ._notes import sentence

if TYPE_CHECKING:
    from collections.abc import Iterator


_LONGEST = 600
"""Characters of a sentence; what it names may come from the file, and be of any length."""


@contextmanager
def reading_door(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold reading within to the budget of one file, and tell every error in one sentence.

    Raises
    ------
    FormatError
        Names the file; an error that is none of ours is its cause.
    """
    shown = os.fsdecode(path)
    name = Path(shown).name or shown
    try:
        # Numbers that no float holds are found by looking at them; a warning tells nobody anything.
        with file_budget(path), np.errstate(all="ignore"):
            try:
                yield
            except FormatError:
                check_budget()  # what was too much, rather than where that was met
                raise
    except (Cancelled, BudgetError):
        raise
    except Exception as error:
        told = " ".join(sentence(error).split())
        told = told if len(told) <= _LONGEST else f"{told[: _LONGEST - 1]}…"
        if isinstance(error, FormatError) and name in told and told == str(error):
            raise
        kind = type(error) if isinstance(error, FormatError) else FormatError
        raise kind(told if name in told else f"{name}: {told}") from error


@contextmanager
def writing_door(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell errors of writing within that are none of ours in one sentence.

    Raises
    ------
    FormatError
        If the drive or the memory is full, or the file may not be written.
    """
    shown = os.fsdecode(path)
    try:
        yield
    except OSError as error:
        raise FormatError(f"{shown}: cannot be written ({error.strerror or error})") from error
    except (MemoryError, RecursionError, OverflowError, UnicodeError) as error:
        raise FormatError(f"{shown}: cannot be written; it {sentence(error)}") from error
