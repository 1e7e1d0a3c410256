"""What comes back up: a sentence and the grounds for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Verdict: TypeAlias = Literal["sure", "unsure", "appearance"]


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption of one region.

    Attributes
    ----------
    text : str
        The sentence or phrase.
    score : float
        How far to trust it, 0 to 1: a calibrated probability where the model has one, else
        the geometric mean of the token probabilities.
    log_probability : float
        Mean log-probability of the tokens, the end token included.
    token_log_probabilities : tuple of float
        One per token.
    alternatives : tuple of str
        Other captions, best first.
    neighbours : tuple of (str, float)
        Nearest memory sentences and their cosine similarity, best first.
    concepts : tuple of (str, float)
        Names the model considered for the region and their weights, best first.
    verdict : {"sure", "unsure", "appearance"}
        Whether the text names something, hedges, or only describes what can be measured.
    problem : str, optional
        Which wish could not be granted, in a sentence or two for people.
    """

    text: str
    score: float
    log_probability: float = 0.0
    token_log_probabilities: tuple[float, ...] = ()
    alternatives: tuple[str, ...] = ()
    neighbours: tuple[tuple[str, float], ...] = ()
    concepts: tuple[tuple[str, float], ...] = ()
    verdict: Verdict = "sure"
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen in one region, for a decoder that may say no more than that.

    Attributes
    ----------
    concepts : tuple of (str, float)
        Candidate names and their probabilities, best first.
    attributes : mapping of str to float
        Measured adjectives (``"red"``, ``"striped"``, ``"plural"``...) and their strength, 0 to 1.
    score : float
        Calibrated probability that the first concept is right.
    verdict : {"sure", "unsure", "appearance"}
        What may be said: a name, a hedge, or only appearance.
    text : str, optional
        A ready description that replaces decoding, where words come from measurement alone.
    """

    concepts: tuple[tuple[str, float], ...] = ()
    attributes: Mapping[str, float] = field(default_factory=dict)
    score: float = 0.0
    verdict: Verdict = "sure"
    text: str | None = None
