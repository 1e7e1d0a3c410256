"""Which models there are, and how to get one ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from ._card import ModelCard

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner

__all__ = ["ModelCard", "available_models", "load_model"]


def available_models() -> list[ModelCard]:
    """Cards of all models that can be loaded, the default first."""
    from ._embedded import embedded_cards

    return embedded_cards()


def load_model(name: str = "mini") -> Captioner:
    """Load a model.

    Parameters
    ----------
    name : str
        Its id, one of ``[card.id for card in available_models()]``.

    Returns
    -------
    Captioner

    Raises
    ------
    ModelError
        There is no such model, or its files are missing or damaged.
    """
    from ._embedded import HEADS, load_embedded

    if name not in HEADS:
        known = ", ".join(HEADS)
        raise ModelError(f"There is no model {name!r}; choose one of: {known}.")
    return load_embedded(name)
