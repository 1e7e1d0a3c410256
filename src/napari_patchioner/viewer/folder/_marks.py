"""What is noted of the images of one folder: one line a note, the last one counts. Knows no Qt.

What a person ticks lies beside the images, as the projects do, so that it goes along with them
and several people may tick at a time. What this machine has seen of them lies in the user's data
folder.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations import projects_folder, write_bytes
from napari_patchioner.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

BESIDE = "folder.patchioner.jsonl"
# A file of so many lines is written anew when most of them are out of date.
_LONG = 1000


class Marks:
    """Notes on images in one file, by file name.

    Parameters
    ----------
    path : Path
        The file; made, with its folder, when it is first written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, dict[str, Any]]:
        """Return what is noted of each image; torn lines and unreadable files hold nothing."""
        try:
            lines = self.path.read_bytes().splitlines()
        except OSError:
            return {}
        notes: dict[str, dict[str, Any]] = {}
        for line in lines:
            with suppress(ValueError, RecursionError):
                note = json.loads(line)
                if isinstance(note, dict) and isinstance(note.get("image"), str):
                    notes.setdefault(note["image"], {}).update(note)
        if len(lines) > max(_LONG, 4 * len(notes)):
            self._shorten(notes)
        return notes

    def note(self, image: str, **facts: Any) -> None:
        """Note something of an image; what was noted otherwise stays.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"image": image, **facts}).encode() + b"\n"
        # One write at the end of the file: those of several programs do not mix. The line before
        # it may have been torn.
        with self.path.open("ab") as file:
            file.write(line if _ends_well(self.path) else b"\n" + line)

    def _shorten(self, notes: dict[str, dict[str, Any]]) -> None:
        text = "".join(json.dumps(note) + "\n" for note in notes.values())
        with suppress(FormatError):
            write_bytes(self.path, text.encode())


def seen_marks(folder: Path) -> Marks:
    """Return what this machine has seen of the images in a folder."""
    name = blake2b(os.path.realpath(folder).encode(), digest_size=16).hexdigest()
    return Marks(projects_folder().parent / "folders" / f"{name}.jsonl")


def ticks(folder: Path) -> set[str]:
    """Return the file names of the images in a folder that are ticked as done."""
    notes = Marks(folder / BESIDE).read()
    # Of a folder that could not be written to.
    for image, note in seen_marks(folder).read().items():
        if note.get("done") is not None:
            notes[image] = note
    return {image for image, note in notes.items() if note.get("done") is True}


def tick(image: Path, done: bool) -> None:
    """Note that an image is done, or that it is not, beside it if that is possible.

    Raises
    ------
    FormatError
        If it can be noted nowhere.
    """
    seen = seen_marks(image.parent)
    try:
        Marks(image.parent / BESIDE).note(image.name, done=done)
        if seen.read().get(image.name, {}).get("done") is not None:
            seen.note(image.name, done=None)
    except OSError:
        try:
            seen.note(image.name, done=done)
        except OSError as error:
            why = error.strerror or str(error)
            raise FormatError(f"{seen.path}: cannot be written ({why}); make room there") from error


def _ends_well(path: Path) -> bool:
    """Whether the last line of a file is whole."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
