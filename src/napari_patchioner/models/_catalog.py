"""The models this package knows how to get."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from ._parse import read_preset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._preset import Preset

FOLDER = Path(__file__).parent / "presets"
# The paper's own models, then one for every backbone, in the order people read them.
ORDER = (
    "talk2dino-b-decap",
    "talk2dino-b-capdec",
    "talk2dino-b-viecap",
    "talk2dino-b-meacap",
    "talk2dino-b",
    "talk2dino-l",
    "talk2dino-dinov3-b",
    "talk2dino-dinov3-l",
    "dinotxt-l",
    "siglip2-b16",
    "proxyclip-b16",
    "proxyclip-b16-dino",
    "invite-b16",
    "maskclip-b16",
    "clip-b32",
    "clip-b16",
    "clip-l14",
    "denseclip-b16",
    "alphaclip-b16",
    "regionclip-rn50",
)


@cache
def presets() -> Mapping[str, Preset]:
    """Return every preset of this package by its id, the paper's own first.

    Raises
    ------
    ModelError
        A preset of the package is damaged.
    """
    read = {name: read_preset(FOLDER / f"{name}.toml") for name in ORDER}
    for name, preset in read.items():
        if preset.id != name:
            raise ModelError(f"{name}.toml says its id is {preset.id!r}; reinstall the package.")
    return MappingProxyType(read)
