"""Models that make outlines instead of captions: SAM 2.1, got and removed as captioners are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError, shell_command

from . import store
from .catalog import SEGMENTERS
from .install import installed_files, preset_card
from .preset import ModelCard, size_text

if TYPE_CHECKING:
    from napari_patchioner.backbones.sam2 import Sam2


def segmenter_cards() -> list[ModelCard]:
    """Return what a person reads of the models for outlines."""
    return list(map(preset_card, SEGMENTERS.values()))


def installed_segmenter() -> str:
    """Return the id of the best model for outlines that is here; empty where none is."""
    here = [name for name, preset in SEGMENTERS.items() if store.installed(preset) is not None]
    return here[-1] if here else ""


def load_segmenter(name: str = "") -> Sam2:
    """Load a model for outlines by its id, by default the best that is here.

    A ModelError in one sentence where it is not installed, or its files are damaged.
    """
    from napari_patchioner.backbones.sam2 import Sam2

    name = name or installed_segmenter()
    if not name:
        first = next(iter(SEGMENTERS.values()))
        raise ModelError(
            f"No model for sharp outlines is here; get one ({size_text(first.size)}) with "
            f"'{shell_command('models', 'get', first.id)}'."
        )
    if name not in SEGMENTERS:
        raise ModelError(
            f"There is no model for outlines {name!r}; choose one of: {', '.join(SEGMENTERS)}."
        )
    return Sam2.open(installed_files(SEGMENTERS[name]))
