"""What is passed to functions of this package: a wrong kind of thing is one clear sentence."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from napari_patchioner.errors import ModelError


def check_captioner(captioner: object) -> None:
    """Raise a TypeError unless it is a model that was loaded."""
    if not (hasattr(captioner, "backbone") and hasattr(captioner, "bridge")):
        raise TypeError(
            f"A captioner is wanted, as load_model returns it, not {_shown(captioner)}."
        )


def check_grid(grid: object) -> None:
    """Raise a TypeError unless it is an image that was encoded."""
    if not (hasattr(grid, "transform") and hasattr(grid, "embeddings")):
        raise TypeError(
            f"A grid is wanted, as captioner.encode(image) returns it, not {_shown(grid)}."
        )


def check_text(text: object, what: str) -> None:
    """Raise a TypeError unless it is a text."""
    if not isinstance(text, str):
        raise TypeError(f"The {what} is a text, not {_shown(text)}.")


def check_whole(number: object, what: str) -> None:
    """Raise a TypeError unless it is a whole number."""
    if not isinstance(number, Integral):
        raise TypeError(f"The {what} is a whole number, not {_shown(number)}.")


def check_region(region: object) -> None:
    """Raise a TypeError unless it is a region."""
    if not hasattr(region, "bounds"):
        raise TypeError(f"A region is wanted, such as a Box, not {_shown(region)}.")


def check_regions(regions: object) -> None:
    """Raise a TypeError unless it is a list of regions."""
    if not isinstance(regions, Sequence) or isinstance(regions, str):
        raise TypeError(f"A list of regions is wanted, not {_shown(regions)}.")
    for region in regions:
        check_region(region)


def check_as_many(things: Sequence[object], regions: Sequence[object], what: str) -> None:
    """Raise a ModelError unless there is one thing for each region."""
    if isinstance(things, str):
        raise TypeError(f"A list of {what}s is wanted, one for each region, not a text.")
    if len(things) != len(regions):
        raise ModelError(
            f"There is one {what} for each region, but {len(things)} for {len(regions)} of them."
        )


def _shown(value: object) -> str:
    """Return what somebody passed, short."""
    return f"{value!r}" if isinstance(value, int | float | str | None) else type(value).__name__
