"""Presets of the package that take tiny random weights for the published ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from published.presets import with_own_sentences

from napari_patchioner.models.catalog import presets

if TYPE_CHECKING:
    from napari_patchioner.models.preset import Preset


def tiny(name: str) -> Preset:
    """Return a preset that insists neither on sizes and hashes nor on the published projection."""
    preset = with_own_sentences(presets()[name])
    files = {
        role: tuple(replace(file, size=0, sha256="") for file in group)
        for role, group in preset.files.items()
    }
    provenance = {} if "projection" in preset.backbone.files else preset.provenance
    return replace(preset, files=files, provenance=provenance)
