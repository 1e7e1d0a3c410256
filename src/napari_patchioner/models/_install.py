"""Getting a model ready: its files, what is made of them, and the record that says so."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from napari_patchioner import __version__
from napari_patchioner.errors import ModelError

from ._fetch import Fetcher
from ._free import forget_half_made, forget_made, free_raw
from ._listing import find_preset
from ._local import fingerprint
from ._meter import Meter
from ._store import (
    HOME,
    RECORD,
    ROLES,
    Kept,
    Record,
    installed,
    locked,
    store_folder,
    told,
    write_record,
)
from ._trouble import disk_trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._meter import Progress
    from ._preset import Preset

    Report = Callable[[float, str], None]
    Prepare = Callable[[Preset, Mapping[str, Path], Path, Report], Mapping[str, Path]]

# The part of the whole that the files take, where something is made of them afterwards.
_FILES_SHARE = 0.9


def get_model(
    name: str,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    keep: bool = False,
) -> int:
    """Download a model and get it ready; afterwards it never needs a network.

    Files that are in the hub's cache on this computer already are used, not downloaded again. An
    interrupted download goes on where it stopped.

    Parameters
    ----------
    name : str
        Its id.
    folder : path, optional
        Holds the files, so that no network is needed: as ``owner/name/path``, as a copy of a hub
        cache, or side by side. They are copied, so the folder may be taken away.
    progress : callable, optional
        Told the fraction done and a message such as ``"346 of 604 MB, 4.1 MB/s"``. It may raise
        `Cancelled`, which leaves nothing installed and keeps what was downloaded.
    keep : bool
        Whether published files that were converted, and that nothing reads any more, are kept.

    Returns
    -------
    int
        Bytes of such files that were deleted.

    Raises
    ------
    ModelError
        In one sentence: there is no such model, a file cannot be had or is not what it should
        be, or the disk is full. Nothing is half-installed.
    """
    return install(find_preset(name), folder=folder, progress=progress, keep=keep)


def install(
    preset: Preset,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    prepare: Prepare | None = None,
    keep: bool = False,
) -> int:
    """Get a preset ready, as `get_model` does.

    Parameters
    ----------
    preset : Preset
        Which.
    folder, progress, keep
        As in `get_model`.
    prepare : callable, optional
        Makes what the parts read out of the files; ``_prepare.prepare`` by default.

    Returns
    -------
    int
        As in `get_model`.
    """
    meter = Meter(progress, _FILES_SHARE)
    with locked(partial(meter.tick, "waiting for another installation")):
        if installed(preset) is not None:
            return 0
        forget_half_made(preset.id)
        fetcher = Fetcher(preset, None if folder is None else Path(folder), meter)
        _make(preset, fetcher, meter, prepare or _prepare, partial(_report, progress))
        freed = 0 if keep else free_raw(preset)
    if progress is not None:
        progress(1.0, "installed")
    return freed


def _make(preset: Preset, fetcher: Fetcher, meter: Meter, prepare: Prepare, report: Report) -> None:
    """Get the files, make of them what the parts read, and write it all down."""
    files = fetcher.fetch()
    read = _read_files(preset)
    kept = [item for key, path in files.items() for item in _kept(*key, path, key in read, meter)]
    raw = {role: _handed_on(preset, role, files) for role in preset.files}
    home = store_folder() / preset.id
    try:
        roles = prepare(preset, raw, home, report)
        _forget_raw_roles(preset)
        _record(preset, roles, kept)
    except ModelError as error:
        raise fetcher.blame(error) from error
    except OSError as error:
        raise disk_trouble(error, home, HOME) from error
    finally:
        if not (home / RECORD).exists():
            forget_made(preset.id)


def _prepare(
    preset: Preset, raw: Mapping[str, Path], folder: Path, progress: Report
) -> Mapping[str, Path]:
    """Make what the parts read; loads torch, so it is imported only now."""
    from ._prepare import prepare

    return prepare(preset, raw, folder, progress)


def _report(progress: Progress | None, share: float, message: str) -> None:
    """Tell how far the making is, as a part of the whole."""
    if progress is not None:
        progress(_FILES_SHARE + (1 - _FILES_SHARE) * share, message)


def _forget_raw_roles(preset: Preset) -> None:
    """Delete the folders that files were put together in to be converted."""
    for role in preset.files.keys() - _read_roles(preset):
        shutil.rmtree(store_folder() / ROLES / preset.id / role, ignore_errors=True)


def _record(preset: Preset, roles: Mapping[str, Path], kept: list[Kept]) -> None:
    """Write down that a model is installed, and what belongs to it."""
    import huggingface_hub

    own = [store_folder() / preset.id, store_folder() / ROLES / preset.id]
    made = {
        told(path): path.stat().st_size
        for folder in own
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD
    }
    versions = {"napari-patchioner": __version__, "huggingface-hub": huggingface_hub.__version__}
    places = {role: told(path) for role, path in roles.items() if role in _read_roles(preset)}
    write_record(Record(preset.id, places, tuple(kept), made, versions))


def _read_roles(preset: Preset) -> set[str]:
    """Return the roles that parts of a model read."""
    return {role for part in preset.parts.values() for role in part.files.values()}


def _read_files(preset: Preset) -> set[tuple[str, str]]:
    """Return the files that parts of a model read, by repository and path."""
    roles = _read_roles(preset) & preset.files.keys()
    return {(file.repo, file.path) for role in roles for file in preset.files[role]}


def _kept(repo: str, path: str, at: Path, read: bool, meter: Meter) -> list[Kept]:
    """Return what is written down of a file, or of every file of a folder."""
    files = sorted(at.rglob("*")) if at.is_dir() else [at]
    check = partial(meter.tick, f"checking {path}")
    return [
        Kept(repo, path, told(file), file.stat().st_size, fingerprint(file, check)[0], read)
        for file in files
        if file.is_file()
    ]


def _handed_on(preset: Preset, role: str, files: Mapping[tuple[str, str], Path]) -> Path:
    """Return a role's file, or the folder that holds its files."""
    places = {file.path: files[file.repo, file.path] for file in preset.files[role]}
    if len(places) == 1:
        return next(iter(places.values()))
    # Files keep their order among each other below what their paths share.
    parts = [PurePosixPath(path).parent.parts for path in places]
    levels = [len(set(level)) for level in zip(*parts, strict=False)]
    depth = next((place for place, names in enumerate(levels) if names > 1), len(levels))
    roots = {at.parents[len(PurePosixPath(path).parts) - 1 - depth] for path, at in places.items()}
    if len(roots) == 1:
        return roots.pop()
    folder = store_folder() / ROLES / preset.id / role
    shutil.rmtree(folder, ignore_errors=True)
    for path, at in places.items():
        target = folder.joinpath(*PurePosixPath(path).parts[depth:]).with_name(at.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(at.resolve(), target)
    return folder


def _link(source: Path, target: Path) -> None:
    """Let a file appear in a second place, without taking its room twice if that can be."""
    for way in (os.link, os.symlink, shutil.copyfile):
        try:
            way(source, target)
        except OSError:
            continue
        return
    raise ModelError(f"{target} cannot be written; make room on the disk and try again.")
