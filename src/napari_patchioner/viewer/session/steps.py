"""What a step was, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sized

    from .seen import Seen


def counted(number: int | Sized, noun: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "shape"), counted(3, "shape"), counted(2, "caption of a plane", "captions")
    ('1 shape', '3 shapes', '2 captions')
    """
    count = number if isinstance(number, int) else len(number)
    return f"{count} {noun}" if count == 1 else f"{count} {many or noun + 's'}"


@dataclass(slots=True)
class Changes:
    """What has happened on a layer since it was last seen, each as a set of uids.

    Attributes
    ----------
    added, pasted, removed, moved, reshaped : set of str
        Shapes; a pasted one is not among the added ones.
    written, reviewed : set of str
        Captions that were changed or accepted in the table.
    reordered : bool
        Whether the shapes that stayed have changed places.
    """

    added: set[str] = field(default_factory=set)
    pasted: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)
    reshaped: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    reviewed: set[str] = field(default_factory=set)
    reordered: bool = False

    def note(self, uid: str, before: Seen, after: Seen) -> None:
        """Tell a move from a new outline."""
        if not before.same_outline(after):
            (self.moved if _is_shift(before, after) else self.reshaped).add(uid)

    @property
    def label(self) -> str:
        """The step as a noun; empty where a person has done nothing."""
        words = {
            "drawing of {}": self.added,
            "paste of {}": self.pasted,
            "deletion of {}": self.removed,
            "move of {}": self.moved,
            "reshaping of {}": self.reshaped,
        }
        done = {text: uids for text, uids in words.items() if uids}
        if len(done) > 1:
            return f"change of {counted(set().union(*done.values()), 'shape')}"
        for text, uids in done.items():
            return text.format(counted(uids, "shape"))
        return self.words or ("reordering of shapes" if self.reordered else "")

    @property
    def words(self) -> str:
        """What was done to captions alone, as a noun; empty where nothing was."""
        if self.written:
            return f"edit of {counted(self.written, 'caption')}"
        return f"review of {counted(self.reviewed, 'caption')}" if self.reviewed else ""


def _is_shift(before: Seen, after: Seen) -> bool:
    """Whether a shape is the same elsewhere, as far as napari's single precision tells."""
    one, other = before.outline, after.outline
    if before.shape_type != after.shape_type or one.shape != other.shape:
        return False
    steps = np.asarray(other, float) - np.asarray(one, float)
    return bool(np.allclose(steps, steps[0], rtol=0, atol=1e-6 * (1 + np.abs(other).max())))
