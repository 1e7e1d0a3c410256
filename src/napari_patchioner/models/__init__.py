"""Which models there are, and how to get one ready."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._card import ModelCard

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.captioner import Captioner

    from ._add import add_model
    from ._assemble import combine
    from ._install import get_model
    from ._preset import Part
    from ._remove import remove_model

__all__ = [
    "ModelCard",
    "Part",
    "add_model",
    "available_models",
    "combine",
    "get_model",
    "load_model",
    "remove_model",
]

_HOMES = {
    "Part": "._preset",
    "add_model": "._add",
    "combine": "._assemble",
    "get_model": "._install",
    "remove_model": "._remove",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def available_models() -> list[ModelCard]:
    """Cards of all models, the default first; it opens no model and asks no network.

    Those that come inside the package are followed by those of the catalog and by a person's own,
    whose cards tell whether they are installed and how many bytes are still to get.
    """
    from ._embedded import embedded_cards
    from ._listing import known_presets, preset_card

    return [*embedded_cards(), *map(preset_card, known_presets().values())]


def load_model(
    name: str = "mini", progress: Callable[[float, str], object] | None = None
) -> Captioner:
    """Load a model.

    Parameters
    ----------
    name : str
        Its id, one of ``[card.id for card in available_models()]``.
    progress : callable, optional
        Told the fraction done and what is being done; it may raise `Cancelled`.

    Returns
    -------
    Captioner

    Raises
    ------
    ModelError
        There is no such model, it is not installed, or its files are missing or damaged.
    """
    from ._embedded import HEADS, load_embedded

    if progress is not None:
        progress(0.0, f"loading {name}")
    if name in HEADS:
        return load_embedded(name)
    from ._listing import find_preset, installed_files

    preset = find_preset(name)
    files = installed_files(preset)
    from ._assemble import assemble

    return assemble(preset, files, progress)
