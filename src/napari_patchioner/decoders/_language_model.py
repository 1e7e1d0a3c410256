"""What the generation loop asks of a model, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from torch import Tensor

Cache = TypeVar("Cache")
Constraint: TypeAlias = Callable[[Tensor, Tensor], "Tensor | None"]
"""``(rows (m,), tokens so far (m, t)) -> (m, vocab)``: True where a token may follow, or a bias."""


class LanguageModel(Protocol[Cache]):
    """What the loop needs of a model; the cache is the model's own business."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens to choose from."""

    def start(self, prefix: Tensor) -> tuple[Tensor, Cache]:
        """Logits of the first token, shape (n, vocab_size), and a cache of n rows."""

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Logits after one more token per row, ``tokens`` of shape (n,)."""

    def reorder(self, cache: Cache, rows: Tensor) -> Cache:
        """Take the given rows of the cache, in that order, repeats allowed."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One sentence in tokens.

    Attributes
    ----------
    tokens : tuple of int
        The end token included, where it was reached.
    log_probabilities : tuple of float
        The model's own, one per token, before any bias.
    score : float
        What sentences were compared by: the sum of log-probabilities and biases over the
        length to the power of the length penalty.
    ended : bool
        False if the sentence was cut at the longest allowed length.
    """

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    score: float
    ended: bool


class Goals(Protocol):
    """What sentences have to reach, so that the search keeps some that are on their way."""

    @property
    def banks(self) -> int:
        """Steps from nothing to all, and one."""

    def progress(self, tokens: Tensor) -> Tensor:
        """Count the steps that sentences, shape (m, t), have taken; all is ``banks - 1``."""

    def openings(self, tokens: Tensor) -> Tensor:
        """Tokens that would go a step further, shape (m, f); -1 where there are fewer."""
