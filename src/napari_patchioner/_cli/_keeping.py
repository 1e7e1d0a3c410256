"""Where the captions of a run go, and what is kept of one that was stopped."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from napari_patchioner.annotations import Notes, format_named
from napari_patchioner.batch import Dataset, Journal, Result, check_format, check_people
from napari_patchioner.errors import FormatError

from ._telling import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_patchioner.batch import Plan

AnyKeeper: TypeAlias = Journal | Dataset
STDOUT = "-"
_ENDS_OF_FOLDERS = ("/", os.sep)


def check_target(out: str, path: Path, format_name: str | None) -> None:
    """Refuse a file or folder that could not be written, before any work is done."""
    form = format_named(path, format_name) if not _is_dataset(out, format_name) else None
    foldered = form is None or not form.suffixes or form.single or format_name == "labelme"
    if path.is_dir() and not foldered:
        raise FormatError(f"{path}: is a folder; name a file to write")
    if path.exists() and not path.is_file() and not path.is_dir():
        raise FormatError(
            f"{path}: is a device or a pipe and no file; name a file, or leave --out out for "
            "standard output"
        )
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Refuse a folder in which no file can be made.

    Raises
    ------
    FormatError
        In one sentence.
    """
    if not folder.is_dir():
        raise FormatError(f"{folder}: there is no such folder to write into")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FormatError(f"{folder}: cannot be written ({error.strerror or error})") from error


def check_result(
    plan: Plan, out: str, path: Path, format_name: str | None, *, in_place: bool
) -> None:
    """Refuse a format that could not hold the result, and to replace what people wrote.

    That is told before any work is done.
    """
    if _is_dataset(out, format_name):
        return
    is_folder = check_format(plan, path, format_name, in_place=in_place)
    if is_folder and out == STDOUT:
        raise FormatError(f"{format_name} makes a folder; name one with --out")
    many = format_named(path, format_name).single
    if not is_folder and path.is_dir() and not many:
        raise FormatError(f"{path}: is a folder; name a file to write")
    if is_folder and path.is_file():
        raise FormatError(
            f"{path}: is a file, but {format_name} makes a folder of a name without an ending of "
            "its own; name a folder"
        )
    check_people(plan, path, format_name, in_place=in_place)


def _is_dataset(out: str, format_name: str | None) -> bool:
    """Whether a folder of Parquet files is asked for."""
    is_folder = out.endswith(_ENDS_OF_FOLDERS) or (out != STDOUT and Path(out).is_dir())
    return is_folder and format_name in (None, "parquet")


def keeper_of(
    out: str, path: Path, format_name: str | None, settings: Mapping[str, str], resume: bool
) -> AnyKeeper:
    """Return what keeps the outcomes: the result itself if it is a folder, or else a journal."""
    if _is_dataset(out, format_name):
        return Dataset(path, settings, resume=resume)
    journal = path.with_name(f"{path.name}.part")
    return Journal(journal, settings, resume=resume, wanted="" if out == STDOUT else str(path))


def write_result(
    plan: Plan,
    keeper: AnyKeeper,
    target: Path,
    format_name: str | None,
    *,
    shown: str,
    in_place: bool,
) -> None:
    """Write the result and say what it holds."""
    notes = Notes()
    if isinstance(keeper, Dataset):
        count = keeper.finish()
    else:
        if shown.endswith(_ENDS_OF_FOLDERS) and format_named(target, format_name).single:
            target.mkdir(exist_ok=True)
        count, left_out = Result(plan, keeper).write(
            target, format_name, in_place=in_place, notes=notes
        )
        for line in notes.lines():
            say(line)
        if not count and (left_out or not target.exists()):
            say(f"{shown}: was not written, since no image could be read")
            return
        if left_out:
            verb = "are" if len(left_out) > 1 else "is"
            say(
                f"{len(left_out)} of {count + len(left_out)} regions {verb} left out, which this "
                f"format cannot hold, such as {left_out[0].uid!r} of {left_out[0].image} "
                f"({left_out[0].kind})"
            )
    if shown != STDOUT:
        total = f"{count} region{'s' * (count != 1)}"
        say(f"{total} in these files" if notes.count("files") else f"{target}: {total}")


def let_go(keeper: AnyKeeper) -> None:
    """Tidy up after a run of which everything is in its result."""
    if isinstance(keeper, Dataset):
        keeper.close()
    else:
        keeper.delete()


def keep_what_is_done(keeper: AnyKeeper, shown: str) -> None:
    """Keep what is done and say how to go on, after something has stopped the run."""
    if not len(keeper):
        keeper.delete()
        return
    keeper.close()
    if shown != STDOUT:
        say(
            f"stopped: {len(keeper)} images are kept in {keeper.path}; the same command with "
            "--resume goes on from there"
        )
