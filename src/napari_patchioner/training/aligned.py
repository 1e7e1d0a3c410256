"""From a fitted map or a trained projection to a folder that ``models add`` takes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_patchioner.bridges import MemoryBank
from napari_patchioner.errors import ModelError
from napari_patchioner.models.assemble import check_provenance
from napari_patchioner.models.catalog import NAME, check_id, preset_text, read_preset
from napari_patchioner.models.parts import open_part
from napari_patchioner.models.preset import Conversion, Part, Preset, PresetFile

from .bridge import MAP
from .projection import WEIGHTS
from .towers import Tower

Files = dict[str, tuple[PresetFile, ...]]


@dataclass(frozen=True, slots=True)
class Named:
    """What people call a new model, and its licence."""

    id: str
    title: str
    note: str
    licence: str

    def __post_init__(self) -> None:
        check_id(self.id)


def check_decoder(decoder: Preset, target: Tower) -> None:
    """Refuse the decoder of a model that answers no vectors, or was not made behind a tower."""
    from napari_patchioner.models.install import installed_files

    if not decoder.decoder.files:
        raise ModelError(
            f"The model {decoder.id} has no decoder of its own ({decoder.decoder.kind}), which "
            "could serve another encoder; name one that has, such as a trained one."
        )
    opened = open_part("decoder", decoder.decoder, installed_files(decoder))
    notes: Mapping[str, str] = getattr(getattr(opened, "model", None), "notes", {})
    stamps = [
        ("text tower", target.provenance, False),
        (f"decoder of {decoder.id}", notes, True),
    ]
    check_provenance(stamps, decoder.provenance)


def write_bridged(
    folder: Path, named: Named, encoder: Preset, decoder: Preset, bank: Path | None = None
) -> Preset:
    """Write the model whose backbone is an encoder's and whose decoder is another model's.

    ``map.safetensors`` lies in the folder; the ``bank``, the folder of a `MemoryBank` that the
    encoder embedded, is copied into it.
    """
    files: Files = {"map": (PresetFile("", MAP),)}
    roles = {"map": "map"}
    if bank is not None:
        MemoryBank.open(bank)
        shutil.copytree(bank, folder / "bank")
        files["bank"], roles["bank"] = (PresetFile("", "bank"),), "bank"
    backbone, taken = _taken(encoder, encoder.backbone, "encoder-", folder)
    text, own = _taken(decoder, decoder.decoder, "decoder-", folder)
    options = {name: value for name, value in encoder.options.items() if name != "max_tokens"}
    if "max_tokens" in decoder.options:
        options["max_tokens"] = decoder.options["max_tokens"]
    preset = _preset(named, backbone, Part("linear", roles), text, files | taken | own)
    return _written(
        folder, replace(preset, provenance=decoder.provenance, options=options, ram=encoder.ram)
    )


def write_projected(
    folder: Path, named: Named, vision: Preset | Path, text: Tower
) -> Preset | None:
    """Write the Talk2DINO that has a trained projection, with sentences to choose from.

    ``vision`` is the model whose DINO it was trained for, or the folder or file of one, which is
    copied. None where the tower is no CLIP, which Talk2DINO cannot open.
    """
    files: Files = {"projection": (PresetFile("", WEIGHTS),)}
    roles = {"projection": "projection", "vision": "vision", "text": "text"}
    options: dict[str, Any] = {}
    if isinstance(vision, Path):
        files["vision"] = (_copied(vision, folder, "vision"),)
    else:
        part = Part("dino", {"vision": vision.backbone.files["vision"]})
        taken, own = _taken(vision, part, "vision-", folder)
        files |= own
        roles["vision"] = taken.files["vision"]
        options = {k: v for k, v in vision.backbone.options.items() if k != "head"}
    if text.preset is None:
        source = Path(text.name)
        if not (source / "merges.txt").is_file():
            return None
        files["text"] = (_copied(source, folder, "text"),)
    else:
        role = text.preset.backbone.files.get("clip")
        if role is None:
            return None
        taken, own = _taken(text.preset, Part("clip", {"clip": role}), "text-", folder)
        files |= own
        roles["text"] = taken.files["clip"]
    preset = _preset(
        named,
        Part("talk2dino", roles, options),
        Part("retrieve", {"bank": "bank"}),
        Part("quote"),
        files,
    )
    return _written(folder, replace(preset, conversions=(Conversion("bank", "sentences"),)))


def _preset(named: Named, backbone: Part, bridge: Part, decoder: Part, files: Files) -> Preset:
    return Preset(
        named.id,
        named.title,
        named.note,
        named.licence,
        backbone=backbone,
        bridge=bridge,
        decoder=decoder,
        files=files,
    )


def _written(folder: Path, preset: Preset) -> Preset:
    """Write a preset and read it again, so that one that makes no sense is refused."""
    (folder / NAME).write_text(preset_text(preset), encoding="utf-8")
    return read_preset(folder)


def _taken(preset: Preset, part: Part, prefix: str, folder: Path) -> tuple[Part, Files]:
    """Take a part into another model: files of the hub by their names, others as copies."""
    from napari_patchioner.models.install import installed_files

    files: Files = {}
    roles: dict[str, str] = {}
    for role, name in part.files.items():
        own = roles[role] = f"{prefix}{name}"
        listed = preset.files.get(name, ())
        if listed and all(file.repo for file in listed):
            files[own] = listed
        else:
            files[own] = (_copied(installed_files(preset)[name], folder, own),)
    return Part(part.kind, roles, part.options), files


def _copied(source: Path, folder: Path, name: str) -> PresetFile:
    """Copy a file or a folder into the folder of a model."""
    target = folder / name
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.mkdir()
        target /= source.name
        shutil.copyfile(source, target)
    return PresetFile("", target.relative_to(folder).as_posix())
