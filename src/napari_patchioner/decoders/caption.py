"""Captions, the evidence for them, and what every decoder can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from .options import CaptionOptions

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
        Which constraint could not be met, in a sentence or two for people.
    familiarity : float, optional
        Share of the regions the model knows that are as unlike the others as this one, 0 to 1;
        None where nobody knows.
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
    familiarity: float | None = None


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that a part of a picture shows.

    Attributes
    ----------
    name : str
        What it is called.
    probability : float
        How likely the picture shows it, calibrated.
    mention : float
        Share of people who would mention it when they describe the picture.
    place : tuple of float
        ``(top, left, bottom, right)`` in shares of the picture, 0 to 1.
    several : float
        How likely there are three or more of them.
    relation : {"", "on", "in front of", "near"}
        How a region lies to it, where that was measured.
    number : int
        How many of them were drawn one by one; 0 where nobody drew any.
    """

    name: str
    probability: float
    mention: float
    place: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    several: float = 0.0
    relation: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was recognised in one region, for decoders that may name nothing else."""

    concepts: tuple[tuple[str, float], ...] = ()  # candidates and their probabilities, best first
    # Measured adjectives ("red", "striped", "plural"...) and their strength, 0 to 1.
    attributes: Mapping[str, float] = field(default_factory=dict)
    score: float = 0.0  # calibrated probability that the first concept is right
    # What the caption may be: a name, a hedge, or a description of the appearance.
    verdict: Verdict = "sure"
    # A ready description that replaces decoding, where words come from measurement alone.
    text: str | None = None
    # What the parts of a whole picture, or the members of a set, show; what people mention first.
    parts: tuple[Thing, ...] = ()
    # What a region shows beside its first concept, the likeliest first; None where nobody looked.
    beside: tuple[Thing, ...] | None = None
    # What a region is on, in front of or near, in any order; each relation is a thing of its own.
    around: tuple[Thing, ...] = ()


class Decoder(Protocol):
    """Generates captions from vectors."""

    def decode(
        self,
        vectors: npt.NDArray[np.float32],
        options: CaptionOptions | None = None,
        *,
        evidence: Sequence[Evidence] | None = None,
        **changes: Any,
    ) -> list[Caption]:
        """Caption every row of ``vectors``, shape (n, d), all rows together.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, d)
            What a bridge made of the pooled embeddings.
        options : CaptionOptions, optional
            Length of the search and constraints on the text; the decoder's own by default. A
            caption that does not hold all of ``must_include`` says so in its ``problem``.
        evidence : sequence of Evidence, optional
            What was recognised in each region, for decoders that read it.
        **changes
            Single options by name, which replace those of ``options``.
        """


@runtime_checkable
class TextRater(Protocol):
    """A decoder that says how likely it finds texts that are given."""

    def log_likelihoods(
        self,
        vectors: npt.NDArray[np.float32],
        texts: Sequence[str],
        *,
        evidence: Sequence[Evidence] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Return log p(text | vector), shape (n, texts), the end of the text included.

        Not a number for a text that the decoder cannot spell.
        """
