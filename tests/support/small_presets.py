"""A model of a few files, to get and remove without waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.models.preset import Part, Preset, PresetFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

WEIGHTS, CONFIG, VOCAB, BANK = "model.safetensors", "config.json", "text/vocab.json", "bank-7.h5"


def contents(seed: int = 0, size: int = 300_000) -> dict[str, dict[str, bytes]]:
    """Return what the hub holds, by repository and path."""
    rng = np.random.default_rng(seed)
    return {
        "some/backbone": {
            CONFIG: b'{"hidden_size": 8}',
            WEIGHTS: rng.bytes(size),
            "README.md": b"read me",
            VOCAB: b"{}" * 50,
        },
        "some/decoder": {BANK: rng.bytes(size // 2), f"old/{BANK}": b"x", CONFIG: b"{}"},
    }


def preset(name: str = "small", **changes: Any) -> Preset:
    """Return a preset: a folder of two files, and a bank that is named by a glob."""
    options: dict[str, Any] = {
        "backbone": Part("clip", {"clip": "vision"}),
        "bridge": Part("memory", {"bank": "bank"}),
        "decoder": Part("quote"),
        "files": {
            "vision": (PresetFile("some/backbone", CONFIG), PresetFile("some/backbone", WEIGHTS)),
            "published": (PresetFile("some/decoder", "bank-*.h5"),),
        },
    }
    return Preset(name, f"{name} model", "for tests", "MIT", **(options | changes))


def prepare(
    wanted: Preset, raw: Mapping[str, Path], folder: Path, progress: Callable[[float, str], None]
) -> dict[str, Path]:
    """Make a bank of the published one: its bytes backwards."""
    folder.mkdir(parents=True, exist_ok=True)
    progress(0.5, "converting")
    made = dict(raw)
    if "published" in raw:
        made["bank"] = folder / "bank"
        made["bank"].write_bytes(raw["published"].read_bytes()[::-1])
    return made
