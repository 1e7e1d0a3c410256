"""The folder and the image somebody was at last. Knows no Qt."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from napari_patchioner.annotations import projects_folder, write_bytes
from napari_patchioner.errors import FormatError


def _place() -> Path:
    return projects_folder().parent / "folders" / "last.json"


def remember(folder: Path, image: str) -> None:
    """Note where somebody is; a disk that cannot be written to is no error."""
    text = json.dumps({"folder": str(folder), "image": image})
    with suppress(FormatError, OSError):
        _place().parent.mkdir(parents=True, exist_ok=True)
        write_bytes(_place(), text.encode())


def last() -> tuple[Path, str] | None:
    """Return the folder and the name of the image in it; None where there is none any more."""
    try:
        value = json.loads(_place().read_bytes())
        folder, image = Path(value["folder"]), str(value["image"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (folder, image) if folder.is_dir() else None
