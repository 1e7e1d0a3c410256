"""What a person should know before choosing a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One line of the list of models.

    Attributes
    ----------
    id : str
        What `load_model` is given.
    title : str
        What a person reads.
    licence : str
        Licence of the weights.
    size : int
        Bytes of all files the model reads.
    note : str
        How it was made and what it is good for, one sentence.
    """

    id: str
    title: str
    licence: str
    size: int
    note: str
