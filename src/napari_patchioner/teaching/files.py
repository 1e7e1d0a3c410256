"""A lexicon as a folder: text, vectors and small pictures; nothing in it is ever executed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_patchioner.annotations.fields import Fields
from napari_patchioner.annotations.files import decode_text, reading_file, writing_file
from napari_patchioner.annotations.formats.json_arrays import parse_json
from napari_patchioner.checkpoints import arrays_as_bytes, read_arrays
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records, read_file

from .describe import BLOCKS, WIDTHS, Descriptions
from .lexicon import Example, Lexicon, Origin, TaughtImage, checked_name

FORMAT = "napari-patchioner lexicon 1"
TEXT, VECTORS, THUMBNAILS = "lexicon.json", "vectors.safetensors", "thumbnails"
_EXAMPLES, _BACKGROUND = "examples", "background"
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_DIM = 2**16


def is_lexicon(folder: str | Path) -> bool:
    """Whether a folder holds a lexicon."""
    return Path(folder, TEXT).is_file()


def write_lexicon(folder: str | Path, lexicon: Lexicon) -> None:
    """Write a lexicon as a folder, or in place of one that is there; whole or not at all.

    A FormatError where a file or another folder is in the way, or it cannot be written.
    """
    folder = Path(folder)
    with writing_file(folder):
        if folder.is_symlink() or folder.exists():
            folder = folder.resolve()
        if folder.exists() and not is_lexicon(folder) and not _is_empty(folder):
            raise FormatError(f"{folder}: is there and no lexicon; choose another name")
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name[:80]}.", dir=folder.parent))
        try:
            _fill(beside, lexicon)
            beside.chmod(0o777 & ~_mask())
            if folder.exists():
                old = beside.with_name(f"{beside.name}.old")
                folder.rename(old)
                try:
                    beside.rename(folder)
                except OSError:
                    old.rename(folder)
                    raise
                shutil.rmtree(old, ignore_errors=True)
            else:
                beside.rename(folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise


def read_lexicon(folder: str | Path) -> Lexicon:
    """Read a lexicon; a FormatError in one sentence where it is missing, damaged or too large."""
    folder = Path(folder)
    with reading_file(folder):
        if not folder.is_dir():
            raise FormatError(f"{folder}: there is no such folder; name that of a lexicon")
        if not is_lexicon(folder):
            raise FormatError(f"{folder}: is no lexicon, since it holds no {TEXT}")
        text = decode_text(read_file(folder / TEXT), TEXT)
        fields = Fields(parse_json(text, TEXT), TEXT)
        if fields.take("format", str, "") != FORMAT:
            raise FormatError(f"{folder}: is no lexicon of this version")
        return _lexicon(folder, fields, read_arrays(folder / VECTORS))


def _lexicon(folder: Path, fields: Fields, arrays: Mapping[str, Any]) -> Lexicon:
    """Put together what the files hold."""
    origin = Origin(*(fields.take(name, str) for name in ("backbone", "preprocessing", "pooling")))
    described, backgrounds = _described(arrays, _EXAMPLES), _described(arrays, _BACKGROUND)
    if described.dim != backgrounds.dim:
        raise FormatError("its vectors do not belong together")
    images, start = [], 0
    for entry in _entries(fields, "images"):
        stop = start + entry.take("background", int)
        if not start <= stop <= len(backgrounds):
            raise FormatError(f"{VECTORS} does not hold what {TEXT} says; copy both again")
        about = entry.take("name", str), entry.take("content", str)
        photograph = entry.take("photograph", float, None)
        if photograph is not None and not 0 <= photograph <= 1:
            raise FormatError(f"{TEXT}: a probability of {photograph} makes no sense")
        images.append(TaughtImage(*about, backgrounds.take(range(start, stop)), photograph))
        start = stop
    examples = []
    for row, entry in enumerate(_entries(fields, "examples")):
        charge_records()
        number = entry.take("image", int)
        if not 0 <= number < len(images):
            raise FormatError(f"{TEXT}: example {row + 1} is of an image that is not listed")
        image, name = images[number], checked_name(entry.take("name", str))
        picture = _thumbnail(folder, row) if entry.take("thumbnail", bool, False) else b""
        examples.append(Example(name, image.name, entry.take("uid", str), image.content, picture))
    is_whole = len(examples) == len(described) and start == len(backgrounds)
    if not is_whole or len({example.key for example in examples}) < len(examples):
        raise FormatError(f"{VECTORS} does not hold what {TEXT} says; copy both again")
    return Lexicon(origin, examples, described, images)


def _entries(fields: Fields, name: str) -> list[Fields]:
    """Return the objects of a list."""
    return [
        Fields(entry, f"{TEXT}: {name} {number}")
        for number, entry in enumerate(fields.take(name, list), start=1)
    ]


def _described(arrays: Mapping[str, Any], what: str) -> Descriptions:
    """Return vectors of one kind, once their shapes and numbers are checked."""
    blocks = {}
    for name in BLOCKS:
        array = arrays.get(f"{what}.{name}")
        if array is None or array.ndim != 2 or array.dtype.kind != "f":
            raise FormatError(f"{VECTORS}: {what}.{name} is missing or no table of numbers")
        width = array.shape[1]
        if width != WIDTHS.get(name, width) or not 1 <= width <= _MOST_DIM:
            raise FormatError(f"{VECTORS}: {what}.{name} has {width} columns")
        blocks[name] = array.astype(np.float32)
        if not np.isfinite(blocks[name]).all():
            raise FormatError(f"{VECTORS}: {what}.{name} holds numbers that are not finite")
    if len({len(block) for block in blocks.values()}) > 1:
        raise FormatError(f"{VECTORS}: {what} do not belong together")
    return Descriptions(blocks)


def _thumbnail(folder: Path, row: int) -> bytes:
    """Read a small picture, which is not decoded here."""
    data = read_file(folder / THUMBNAILS / _picture_name(row))
    if not data.startswith(_PNG):
        raise FormatError(f"{THUMBNAILS}/{_picture_name(row)} is no PNG picture")
    return data


def _picture_name(row: int) -> str:
    return f"{row + 1:06}.png"


def _fill(folder: Path, lexicon: Lexicon) -> None:
    """Write the files of a lexicon."""
    numbers = {image.key: number for number, image in enumerate(lexicon.images)}
    content = {
        "format": FORMAT,
        "backbone": lexicon.origin.backbone,
        "preprocessing": lexicon.origin.preprocessing,
        "pooling": lexicon.origin.pooling,
        "images": [
            {
                "name": image.name,
                "content": image.content,
                "background": len(image.background),
                "photograph": image.photograph,
            }
            for image in lexicon.images
        ],
        "examples": [
            {
                "name": example.name,
                "image": numbers[example.key[:2]],
                "uid": example.uid,
                **({"thumbnail": True} if example.thumbnail else {}),
            }
            for example in lexicon.examples
        ],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    _write(folder / TEXT, text.encode("utf-8"))
    backgrounds = Descriptions.joined([image.background for image in lexicon.images])
    parts = {_EXAMPLES: lexicon.described, _BACKGROUND: backgrounds}
    arrays = {
        f"{what}.{name}": part.blocks[name] for what, part in parts.items() for name in BLOCKS
    }
    _write(folder / VECTORS, arrays_as_bytes(arrays))
    pictures = {row: e.thumbnail for row, e in enumerate(lexicon.examples) if e.thumbnail}
    if pictures:
        (folder / THUMBNAILS).mkdir()
    for row, picture in pictures.items():
        (folder / THUMBNAILS / _picture_name(row)).write_bytes(picture)


def _write(path: Path, data: bytes) -> None:
    """Write a file and make sure that all of it is on the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
