"""Tiny weights for any preset, laid out like the repositories they are published in."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import h5py
import numpy as np
import torch
from safetensors.torch import load_file

from napari_patchioner.models.preset import Conversion, PresetFile

from . import (
    alphaclip,
    clip,
    decap,
    denseclip,
    dino,
    dinotxt,
    gpt2,
    meacap,
    openclip,
    regionclip,
    siglip2,
    talk2dino,
    viecap,
)

if TYPE_CHECKING:
    from napari_patchioner.models.preset import Preset

DIM, TEXT_DIM = 32, 24
OWN = "own_sentences"
_PATCHES = {"patch32": 32, "patch14": 14, "patch16": 16, "plip": 32}
_SENTENCES = """A dog runs on the grass
A black dog catches a ball
A red bus drives down the street
Two people ride on a bus
A man holds a surfboard
A woman in an orange suit smiles
A flag hangs behind a person
A small rocket on a table
A girl blows out a candle
A wave breaks near the beach
A white plate with a sandwich
A cat sleeps on a sofa
A train stands in a station
A bird sits on a branch
A bowl of fruit on a table
A clock on a tall building
A boat on calm water
A child flies a kite
A field of yellow flowers
A helmet held in two hands
"""


def write_preset_files(preset: Preset, folder: Path, *, seed: int = 0) -> dict[str, Path]:
    """Write every file of a preset as ``folder/owner/name/path``; files of no hub as ``path``.

    Returns
    -------
    dict of str to Path
        Role to file, or to the folder that holds a role's files: what ``prepare`` is given.
    """
    scratch = folder / ".parts"
    raw = {}
    for role, files in preset.files.items():
        if role == OWN:
            raw[role] = write_sentences(folder / files[0].path)
            continue
        source = _write(preset, role, scratch / role, seed)
        places = [_place(file, source, folder) for file in files]
        raw[role] = places[0] if len(places) == 1 else places[0].parent
    shutil.rmtree(scratch)
    return raw


def write_sentences(path: Path) -> Path:
    """Write twenty sentences, one per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_SENTENCES, encoding="utf-8")
    return path


def with_own_sentences(preset: Preset) -> Preset:
    """Let a preset choose from a person's own sentences instead of the package's 5,000."""
    if not any(conversion.make == "sentences" for conversion in preset.conversions):
        return preset
    files = {**preset.files, OWN: (PresetFile("", "sentences.txt", where="here"),)}
    made = tuple(Conversion(conversion.role, "sentences", OWN) for conversion in preset.conversions)
    return replace(preset, files=files, conversions=made)


def _place(file: PresetFile, source: Path, folder: Path) -> Path:
    """Copy one file to where its repository has it, in the form it is published in."""
    found = source
    name = PurePosixPath(file.path).name
    if source.is_dir() and "*" in name:
        [found] = source.glob(name)
    elif source.is_dir():
        found = source / name.replace("pytorch_model.bin", "model.safetensors")
    path = PurePosixPath(file.path)
    target = folder / file.repo / (path.with_name(found.name) if "*" in file.path else path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".bin"):
        torch.save(load_file(found), target)
    else:
        shutil.copyfile(found, target)
    return target


def _write(preset: Preset, role: str, folder: Path, seed: int) -> Path:
    """Write what one role of a preset stands for; a file, or a folder of files by their names."""
    repo, kind = preset.files[role][0].repo, preset.backbone.kind
    if preset.files[role][0].path == "open_clip_config.json":
        return openclip.write(folder, seed=seed, bert="BiomedCLIP" in repo)["clip"]
    if role in ("clip", "text") and repo:
        return _clip(repo, folder, seed)
    if role in ("vision", "guide"):
        return dino.write(folder, seed=seed, kind=_dino_kind(repo), dim=DIM)["vision"]
    if role in ("head", "text"):
        return dinotxt.write(folder, seed=seed, dim=DIM)[role]
    if role == "weights":
        written = {"denseclip": denseclip, "regionclip": regionclip}[kind].write(folder, seed=seed)
        return written["weights"]
    if role == "checkpoint":
        # Concepts a random parser makes up are long.
        sizes = {"positions": 512} if preset.decoder.kind == "viecap" else {}
        return {"decap": decap, "viecap": viecap}[preset.decoder.kind].write(
            folder, seed=seed, dim=DIM, **sizes
        )["weights"]
    if role == "projection" and repo:
        return talk2dino.write_whole(folder, seed=seed, dim=DIM, text_dim=TEXT_DIM)["vision"]
    return _WRITERS[role](folder, seed)


def _clip(repo: str, folder: Path, seed: int) -> Path:
    patch = next(size for name, size in _PATCHES.items() if name in repo)
    sizes = {"dim": TEXT_DIM, "patch": patch, "size": 4 * patch}
    return clip.write(folder, seed=seed, **sizes)["clip"]


def _dino_kind(repo: str) -> str:
    kinds = {"dinov3": "dinov3_vit", "dinov2": "dinov2_with_registers", "dino-vit": "vit"}
    return next(kind for name, kind in kinds.items() if name in repo)


def _merges(folder: Path, seed: int) -> Path:
    clip.write_tokenizer(folder)
    return folder / "merges.txt"


def _projection(folder: Path, seed: int) -> Path:
    return talk2dino.write_projection(
        folder / "vitb_mlp_infonce.pth", seed=seed, dim=DIM, text_dim=TEXT_DIM
    )


def _memory(folder: Path, seed: int) -> Path:
    """Write both published forms of a memory; its repository tells which is asked for."""
    folder.mkdir(parents=True)
    captions = _SENTENCES.splitlines()
    vectors = np.random.default_rng(seed).normal(size=(len(captions), DIM)).astype(np.float32)
    with h5py.File(folder / "coco_captions_text_embeddings-B16-ViT-B.16-20.h5", "w") as file:
        file["coco_captions-embeddings"] = vectors
        file.create_dataset("coco_captions-text", data=captions, dtype=h5py.string_dtype())
    (folder / "memory_captions.json").write_text(json.dumps(captions), encoding="utf-8")
    torch.save(torch.from_numpy(vectors), folder / "memory_clip_embeddings.pt")
    return folder


_WRITERS = {
    "merges": _merges,
    "projection": _projection,
    "memory": _memory,
    "tokenizer": lambda folder, seed: gpt2.write(folder, seed=seed)["tokenizer"],
    "parser": lambda folder, seed: meacap.write_parser(folder, seed=seed),
    "sentences": lambda folder, seed: meacap.write_sentences(folder, seed=seed),
    "talk2dino": lambda folder, seed: talk2dino.write_whole(folder, seed=seed)["vision"],
    "siglip2": lambda folder, seed: siglip2.write(folder, seed=seed)["folder"],
    "alpha": lambda folder, seed: alphaclip.write(folder, seed=seed)["alpha"],
}
