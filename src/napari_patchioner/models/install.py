"""Which models there are; getting, adding and removing them."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from napari_patchioner import __version__
from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

from .fetch import Fetcher
from .hub import Meter, disk_error
from .preset import ModelCard, size_text
from .store import (
    FILES,
    PRESETS,
    RECORD,
    ROLES,
    Kept,
    Record,
    cache_folder,
    cache_name,
    find,
    fingerprint,
    installed,
    locked,
    mirrors,
    need_room,
    placed,
    problem_of,
    read_record,
    records,
    snapshots,
    store_folder,
    stored_name,
    write_record,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_patchioner.progress import Progress

    from .preset import Preset, PresetFile

CONVERTED = "converted, then deleted"


def known_presets() -> dict[str, Preset]:
    """Return the package's presets and those a person added, by id."""
    from .catalog import presets

    return {**added_presets(), **presets()}


def added_presets() -> dict[str, Preset]:
    """Return the presets a person added; one that cannot be read any more is left out."""
    from .catalog import read_preset

    results = {}
    for path in sorted((store_folder() / PRESETS).glob("*/preset.toml")):
        try:
            preset = read_preset(path.parent)
        except ModelError:
            continue
        results[preset.id] = preset
    return results


def find_preset(name: str) -> Preset:
    """Return a preset by its id."""
    from .embedded import HEADS

    if name in HEADS:
        raise ModelError(f"The model {name!r} is part of the package: it is always there.")
    known = known_presets()
    if name not in known:
        choices = ", ".join([*HEADS, *known])
        raise ModelError(f"There is no model {name!r}; choose one of: {choices}.")
    return known[name]


def preset_card(preset: Preset) -> ModelCard:
    """Return what a person reads of a preset; nothing is opened and nobody is asked."""
    ready = installed(preset) is not None
    return ModelCard(
        preset.id,
        preset.title,
        preset.licence,
        preset.size,
        preset.note,
        ram=preset.ram,
        installed=ready,
        to_get=0 if ready else bytes_to_get(preset),
        sources=preset.repos,
        row=preset.row,
    )


def bytes_to_get(preset: Preset) -> int:
    """Return how many bytes of a preset are not on this computer yet, as far as is known."""
    unique = {(file.repo, file.path): file for files in preset.files.values() for file in files}
    return sum(file.bytes for file in unique.values() if _place(preset, file) is None)


def _place(preset: Preset, file: PresetFile) -> Path | None:
    """Return where a file lies already, without looking into it."""
    if not file.repo and preset.home is not None:
        return preset.home / file.path
    own = store_folder() / FILES / preset.id if not file.repo else store_folder() / FILES
    for place in (own, *mirrors(), *([cache_folder()] if file.repo else [])):
        try:
            result = find(place, file)
        except ModelError:
            continue
        if result is not None and file.size in (0, result.stat().st_size):
            return result
    return None


def installed_files(preset: Preset) -> dict[str, Path]:
    """Return what the parts of an installed model read, by role."""
    files = installed(preset)
    if files is not None:
        return files
    how = f"run 'napari-patchioner models get {preset.id}' or choose it in the dock."
    record = read_record(preset.id)
    if record is not None:
        raise ModelError(
            f"The model {preset.id!r} is damaged: {problem_of(preset, record)}; to mend it, {how}"
        )
    size = bytes_to_get(preset)
    amount = f" ({size_text(size)} to get)" if size else ""
    raise ModelError(f"The model {preset.id!r} is not installed{amount}; {how}")


def files_of(name: str) -> list[tuple[str, str, int, Path | None, str]]:
    """Files of a model: role, name, bytes, where each lies, and where to find it if it does not."""
    from .embedded import FOLDER, HEADS, SHARED

    if name in HEADS:
        paths = [FOLDER / file for file in (*SHARED, HEADS[name])]
        return [("", path.name, path.stat().st_size, path, "") for path in paths]
    preset = find_preset(name)
    listed = [
        (role, f"{file.repo}/{file.path}".lstrip("/"), file.bytes, _place(preset, file), file.where)
        for role, files in preset.files.items()
        for file in files
    ]
    ready = installed(preset) or {}
    if ready:
        # What is not there although the model is whole was only needed to make it.
        listed = [(*entry[:4], entry[4] if entry[3] else CONVERTED) for entry in listed]
    raw = {place for *_, place, _ in listed if place is not None}
    made = [
        (role, path.name, 0, path, "")
        for role, path in ready.items()
        if role not in preset.files and path not in raw
    ]
    return listed + made


def free_raw(preset: Preset) -> int:
    """Delete the published files that an installed model was made of and that no part reads.

    Those that lay here before, that another model reads, or that are on no hub stay.
    """
    record = read_record(preset.id)
    if record is None:
        return 0
    raw = {placed(file.at) for file in record.files if not file.read and file.repo}
    used = {placed(file.at) for other in records() for file in other.files if file.read}
    return _delete(raw - used)


def _delete(files: set[Path]) -> int:
    """Delete those of some files that lie in the store, and the folders that this leaves empty.

    Returns the bytes that are free again; what lies in the hub's cache is other programs' too.
    """
    own = {path for path in files if is_ours(path)}
    freed = sum(map(size, own))
    for path in own:
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == store_folder() or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
    return freed


def is_ours(path: Path) -> bool:
    """Whether a path lies in the store, wherever links on its way lead."""
    return path.parent.resolve().is_relative_to(store_folder().resolve())


def remove_folder(folder: Path) -> None:
    """Delete a folder of the store; of a link to one only the link, and nothing elsewhere."""
    if not is_ours(folder):
        return
    if folder.is_symlink():
        folder.unlink(missing_ok=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def size(path: Path) -> int:
    """Return the bytes that deleting a path frees: none if it is only one of several names."""
    try:
        state = path.lstat()
    except OSError:
        return 0
    return state.st_size if state.st_nlink == 1 and not path.is_symlink() else 0


def forget_made(name: str) -> None:
    """Delete what was made for a model, whole or not."""
    forget_half_made(name)
    for folder in (store_folder() / name, store_folder() / ROLES / name):
        remove_folder(folder)


def forget_half_made(name: str) -> None:
    """Delete what a process that was killed left of a model; nobody else may be making one."""
    for ending in ("????????", "????????-older"):
        for folder in store_folder().glob(f".{name}-{ending}"):
            remove_folder(folder)


def remove_model(name: str) -> int:
    """Delete a model: what was made for it, and what this package downloaded for it alone.

    Files in the hub's cache, or that another installed model reads, stay. A model that a person
    added is forgotten as a whole.

    Parameters
    ----------
    name : str
        Its id.

    Returns
    -------
    int
        Bytes that were freed.

    Raises
    ------
    ModelError
        There is no such model, it is part of the package, or nothing of it is here.
    """
    from .embedded import HEADS

    if name in HEADS:
        raise ModelError(f"The model {name!r} is part of the package and cannot be removed.")
    return remove(find_preset(name))


def remove(preset: Preset) -> int:
    """Delete a preset's model, as `remove_model` does."""
    store = store_folder()
    added = preset.id in added_presets()
    with locked(lambda: None):
        gone = _files_alone(preset)
        folders = [store / preset.id, store / ROLES / preset.id]
        folders += [store / PRESETS / preset.id] if added else []
        if not gone and not any(folder.exists() for folder in folders):
            raise ModelError(f"The model {preset.id!r} is not installed; nothing was removed.")
        freed = sum(_room(folder) for folder in folders)
        for folder in folders:
            remove_folder(folder)
        forget_made(preset.id)
        return freed + _delete(gone)


def _files_alone(preset: Preset) -> set[Path]:
    """Return the files in the store that only this model uses, whole or in part."""
    store = store_folder() / FILES
    record = read_record(preset.id)
    mine = {placed(file.at) for file in record.files} if record is not None else set()
    for file in {file for files in preset.files.values() for file in files}:
        folders = [store / (file.repo.replace("/", "--") or preset.id)]
        folders += snapshots(store, file.repo) if file.repo else []
        mine.update(path for folder in folders for path in folder.glob(file.path))
    for repo in preset.repos:
        mine.update((store / cache_name(repo)).glob("*.incomplete"))
    return mine - {
        placed(file.at) for other in records() if other.id != preset.id for file in other.files
    }


def _room(folder: Path) -> int:
    if folder.is_symlink() or not is_ours(folder):
        return 0
    return sum(size(path) for path in folder.rglob("*") if path.is_file())


if TYPE_CHECKING:
    Prepare = Callable[[Preset, Mapping[str, Path], Path, Progress], Mapping[str, Path]]

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
        Given the fraction done and a message such as ``"346 of 604 MB, 4.1 MB/s"``. It may raise
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
    """Get a preset ready, as `get_model` does."""
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


def _make(
    preset: Preset, fetcher: Fetcher, meter: Meter, prepare: Prepare, report: Progress
) -> None:
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
        raise disk_error(error, home) from error
    finally:
        if not (home / RECORD).exists():
            forget_made(preset.id)


def _prepare(
    preset: Preset, raw: Mapping[str, Path], folder: Path, progress: Progress
) -> Mapping[str, Path]:
    """Make what the parts read; loads torch, so it is imported only now."""
    from .prepare import prepare

    return prepare(preset, raw, folder, progress)


def _report(progress: Progress | None, share: float, message: str) -> None:
    """Progress how far the making is, as a part of the whole."""
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
        stored_name(path): path.stat().st_size
        for folder in own
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD
    }
    versions = {"napari-patchioner": __version__, "huggingface-hub": huggingface_hub.__version__}
    places = {
        role: stored_name(path) for role, path in roles.items() if role in _read_roles(preset)
    }
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
        Kept(repo, path, stored_name(file), file.stat().st_size, fingerprint(file, check)[0], read)
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


_MOST_FILES = 10_000


def add_model(folder: str | Path, *, progress: Progress | None = None) -> Preset:
    """Take in a model of a person's own.

    Parameters
    ----------
    folder : path
        Holds ``preset.toml`` and the files it names without a repository. These are copied.
    progress : callable, optional
        As in `get_model`; a preset that needs nothing from a hub is got ready at once.

    Returns
    -------
    Preset

    Raises
    ------
    ModelError
        The preset is not understood, its id is taken, or a file is missing or damaged. Nothing
        was added then.
    """
    from .catalog import NAME, read_preset

    folder = Path(folder)
    if folder.name == NAME and folder.is_file():
        folder = folder.parent
    preset = read_preset(folder)
    _refuse_taken(preset, folder)
    home = store_folder() / PRESETS / preset.id
    meter = Meter(progress)
    with locked(partial(meter.tick, "waiting for another installation")):
        # Another window may have been quicker.
        _refuse_taken(preset, folder)
        # What is there now cannot be read any more.
        remove_folder(home)
        _take_in(folder, preset, home)
    try:
        added = read_preset(home)
        if not preset.repos:
            install(added, progress=progress)
    except BaseException as error:
        remove_folder(home)
        if isinstance(error, OSError):
            raise disk_error(error, home) from error
        raise
    return added


def _refuse_taken(preset: Preset, folder: Path) -> None:
    """Let no model take the place of another."""
    from .embedded import HEADS

    if preset.id in HEADS or preset.id in known_presets():
        raise ModelError(
            f"There is a model {preset.id!r} already; remove it, or write another id in "
            f"{folder / 'preset.toml'}."
        )


def _take_in(folder: Path, preset: Preset, home: Path) -> None:
    """Copy a model of a person's own, whole or not at all."""
    try:
        _copy_preset(folder, preset, home)
    except BaseException as error:
        remove_folder(home)
        if isinstance(error, shutil.Error):
            source, _, reason = error.args[0][0]
            raise ModelError(
                f"{source} cannot be copied ({reason}); mend that and add the model again."
            ) from error
        if isinstance(error, OSError):
            raise disk_error(error, home) from error
        raise


def _copy_preset(folder: Path, preset: Preset, home: Path) -> None:
    """Copy a preset and the files that lie beside it."""
    own = {file.path for files in preset.files.values() for file in files if not file.repo}
    copies = {folder / "preset.toml": home / "preset.toml"}
    for path in sorted(own):
        # All are found before the first is copied: the store may lie in the folder.
        copies |= {file: home / file.relative_to(folder) for file in _files_of(folder / path)}
    need_room(sum(check_plain_file(path, ModelError) for path in copies))
    home.mkdir(parents=True)
    for source, target in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _files_of(path: Path) -> list[Path]:
    """Return a file, or all files of a folder and the folders in it."""
    if not path.is_dir():
        if not path.exists():
            raise ModelError(f"{path} is missing, which the preset names; add it and try again.")
        check_plain_file(path, ModelError)
        return [path]
    results: list[Path] = []
    for place, folders, names in os.walk(path, onerror=_raise):
        for name in folders:
            if Path(place, name).is_symlink():
                raise ModelError(
                    f"{Path(place, name)} is a link to a folder; put the folder itself there and "
                    "add the model again."
                )
        for name in names:
            check_plain_file(Path(place, name), ModelError)
            results.append(Path(place, name))
        if len(results) > _MOST_FILES:
            raise ModelError(
                f"{path} holds more than {_MOST_FILES} files, which is no model; name the folder "
                "of its files alone in the preset."
            )
    return sorted(results)


def _raise(error: OSError) -> None:
    raise error
