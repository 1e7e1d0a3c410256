"""What every command asks before it writes a file: that nothing is lost which nobody named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from napari_patchioner.errors import FormatError
from napari_patchioner.images import IMAGE_SUFFIXES

# How files of pictures begin, whatever they are called.
_PICTURES = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM"),
    *(b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
)
_LONGEST_START = 12


def check_outputs(
    files: Iterable[Path], *, inputs: Iterable[Path] = (), overwrite: bool = False
) -> None:
    """Refuse, before any work, to replace files that are there; a FormatError names the first.

    Parameters
    ----------
    files : iterable of Path
        The files that a command is to write; folders among them are left to who writes into them.
    inputs : iterable of Path
        What the same run reads, none of which is ever replaced.
    overwrite : bool
        Whether other files may be replaced; a picture never is.
    """
    present = [file for file in files if file.exists() and not file.is_dir()]
    if not present:
        return
    read = {_identity(path) for path in inputs if path.exists()}
    for file in present:
        if _identity(file) in read:
            raise FormatError(f"{file}: is read by this very run; choose another --out")
        if not file.is_file():
            raise FormatError(f"{file}: is a device or a pipe and no file; name a file with --out")
        if _is_picture(file):
            raise FormatError(f"{file}: is an image, which is never replaced; choose another --out")
        if not overwrite:
            raise FormatError(
                f"{file}: is there; choose another name, or replace it with --overwrite"
            )


def check_ending(path: Path, endings: Iterable[str], what: str) -> None:
    """Refuse a file whose ending says that it holds something else than is written."""
    known = tuple(endings)
    if path.suffix.lower() not in known:
        raise FormatError(
            f"{path}: {what} is written as {' or '.join(known)}; name a file that ends so"
        )


def _identity(path: Path) -> tuple[int, int]:
    """Return what a file is known by, whatever its name."""
    state = path.stat()
    return state.st_dev, state.st_ino


def _is_picture(file: Path) -> bool:
    """Whether a file is a picture, by its ending or by how it begins."""
    if file.suffix.lower() in IMAGE_SUFFIXES:
        return True
    try:
        with file.open("rb") as opened:
            start = opened.read(_LONGEST_START)
    except OSError:
        return False
    return start.startswith(_PICTURES) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")
