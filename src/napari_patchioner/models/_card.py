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
    ram : int
        Bytes of memory it needs while captioning; 0 where nobody has measured.
    installed : bool
        Whether it can be loaded right now, without a network.
    to_get : int
        Bytes still to be downloaded; 0 once installed.
    sources : tuple of str
        Where its files come from, hub ids; empty for the models inside the package.
    row : str
        The row of the paper's tables it reproduces, if any.
    """

    id: str
    title: str
    licence: str
    size: int
    note: str
    ram: int = 0
    installed: bool = True
    to_get: int = 0
    sources: tuple[str, ...] = ()
    row: str = ""


def size_text(size: float, unit: str = "") -> str:
    """Return a number of bytes as a person reads it.

    Parameters
    ----------
    size : float
        Bytes.
    unit : {"", "kB", "MB", "GB"}
        The one to use; what suits the size by default.

    >>> size_text(1_936_000_000), size_text(604_200_000), size_text(3_940_664), size_text(900)
    ('1.9 GB', '604 MB', '3.9 MB', '0.9 kB')
    """
    steps = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
    unit = unit or next((name for name in ("GB", "MB") if size >= 0.9995 * steps[name]), "kB")
    value = size / steps[unit]
    return f"{value:.0f} {unit}" if value >= 99.95 or not size else f"{value:.1f} {unit}"
