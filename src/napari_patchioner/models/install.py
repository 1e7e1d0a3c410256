"""Which models there are; getting, adding and removing them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from napari_patchioner import __version__
from napari_patchioner.errors import ModelError, shell_command
from napari_patchioner.limits import check_plain_file
from napari_patchioner.progress import Progress, no_progress, part

from . import catalog, embedded, store
from .familiar import familiar_path
from .fetch import Fetcher
from .hub import Meter, disk_error
from .preset import ModelCard, Preset, PresetFile, size_text

Prepare: TypeAlias = Callable[[Preset, Mapping[str, Path], Path, Progress], Mapping[str, Path]]
CONVERTED = "converted, then deleted"
# The part of the whole that the files take, where something is made of them afterwards.
_FILES_SHARE = 0.9
_MOST_FILES = 10_000


def known_presets() -> dict[str, Preset]:
    """Return the package's presets and those a person added, by id."""
    return {**added_presets(), **catalog.presets()}


def added_presets() -> dict[str, Preset]:
    """Return the presets a person added; one that cannot be read any more is left out."""
    results = {}
    for path in sorted((store.store_folder() / store.PRESETS).glob("*/preset.toml")):
        try:
            preset = catalog.read_preset(path.parent)
        except ModelError:
            continue
        results[preset.id] = preset
    return results


def find_preset(name: str) -> Preset:
    """Return a preset by its id."""
    if name in embedded.HEADS:
        raise ModelError(
            f"The model {name!r} is part of the package: always there, without parts of its own."
        )
    known = known_presets()
    if name in catalog.SEGMENTERS:
        return catalog.SEGMENTERS[name]
    if name not in known:
        choices = ", ".join([*embedded.HEADS, *known])
        raise ModelError(f"There is no model {name!r}; choose one of: {choices}.")
    return known[name]


def trained_card(name: str) -> tuple[dict[str, Any], Path | None]:
    """Return what the card of an added model says, and the page of it for people.

    Nothing where it has no card. A ModelError where there is no such model, or its card is damaged.
    """
    home = None if name in embedded.HEADS else find_preset(name).home
    if home is None:
        return {}, None
    page = home / catalog.PAGE
    return catalog.read_card(home), page if page.is_file() else None


def preset_card(preset: Preset) -> ModelCard:
    """Return what a person reads of a preset; nothing is opened and nobody is asked."""
    ready = store.installed(preset) is not None
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
    places = _places()
    return sum(file.bytes for file in preset.unique if _place(preset, file, places) is None)


def _places() -> tuple[Path, list[Path], Path]:
    """Return where files may lie: in the store, in mirrors, in the hub's cache."""
    return store.store_folder() / store.FILES, store.mirrors(), store.cache_folder()


def _place(preset: Preset, file: PresetFile, places: tuple[Path, list[Path], Path]) -> Path | None:
    """Return where a file lies already, without looking into it."""
    if not file.repo and preset.home is not None:
        return preset.home / file.path
    own, mirrors, cache = places
    folders = [own, *mirrors, cache] if file.repo else [own / preset.id, *mirrors]
    for place in folders:
        try:
            result = store.find(place, file)
        except ModelError:
            continue
        if result is not None and file.size in (0, result.stat().st_size):
            return result
    return None


def installed_files(preset: Preset) -> dict[str, Path]:
    """Return what the parts of an installed model read, by role."""
    files = store.installed(preset)
    if files is not None:
        return files
    how = f"run '{shell_command('models', 'get', preset.id)}' or choose it in the dock."
    record = store.read_record(preset.id)
    if record is not None:
        problem = store.problem_of(preset, record)
        raise ModelError(f"The model {preset.id!r} is damaged: {problem}; to mend it, {how}")
    size = bytes_to_get(preset)
    amount = f" ({size_text(size)} to get)" if size else ""
    raise ModelError(f"The model {preset.id!r} is not installed{amount}; {how}")


def files_of(name: str) -> list[tuple[str, str, int, Path | None, str]]:
    """Files of a model: role, name, bytes, where each lies, and where to find it if it does not."""
    if name in embedded.HEADS:
        paths = [embedded.FOLDER / file for file in (*embedded.SHARED, embedded.HEADS[name])]
        return [("", path.name, path.stat().st_size, path, "") for path in paths]
    preset = find_preset(name)
    ready = store.installed(preset) or {}
    listed: list[tuple[str, str, int, Path | None, str]] = []
    raw: set[Path | None] = set()
    places = _places()
    for role, files in preset.files.items():
        for file in files:
            place, shown = _place(preset, file, places), f"{file.repo}/{file.path}".lstrip("/")
            raw.add(place)
            # What is not there although the model is whole was only needed to make it.
            where = CONVERTED if ready and place is None else file.where
            listed.append((role, shown, file.bytes, place, where))
    for role, path in ready.items():
        if role not in preset.files and path not in raw:
            listed.append((role, path.name, 0, path, ""))
    return listed


def _delete(files: set[Path]) -> int:
    """Delete those of some files that lie in the store, and the folders that this leaves empty.

    Returns the bytes that are free again; what lies in the hub's cache is other programs' too.
    """
    own = set(filter(_is_ours, files))
    freed = sum(map(_size, own))
    for path in own:
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == store.store_folder() or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
    return freed


def _is_ours(path: Path) -> bool:
    """Whether a path lies in the store, wherever links on its way lead."""
    return path.parent.resolve().is_relative_to(store.store_folder().resolve())


def _remove_folder(folder: Path) -> int:
    """Delete a folder of the store, of a link to one only the link; return what that frees."""
    freed = 0
    if _is_ours(folder) and folder.is_symlink():
        folder.unlink(missing_ok=True)
    elif _is_ours(folder):
        freed = sum(_size(path) for path in folder.rglob("*") if path.is_file())
        shutil.rmtree(folder, ignore_errors=True)
    return freed


def _size(path: Path) -> int:
    """Return the bytes that deleting a path frees: none if it is only one of several names."""
    try:
        state = path.lstat()
    except OSError:
        return 0
    return state.st_size if state.st_nlink == 1 and not path.is_symlink() else 0


def forget_half_made(name: str) -> None:
    """Delete what a process that was killed left of a model; nobody else may be making one."""
    for ending in ("????????", "????????-older"):
        for folder in store.store_folder().glob(f".{name}-{ending}"):
            _remove_folder(folder)


def _made(name: str) -> list[Path]:
    """Return the folders in which things are made for a model."""
    return [store.store_folder() / name, store.store_folder() / store.ROLES / name]


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
    if name in embedded.HEADS:
        raise ModelError(f"The model {name!r} is part of the package and cannot be removed.")
    return remove(find_preset(name))


def remove(preset: Preset) -> int:
    """Delete a preset's model, as `remove_model` does."""
    folders = _made(preset.id)
    if preset.id in added_presets():
        folders.append(store.store_folder() / store.PRESETS / preset.id)
    with store.locked(lambda: None):
        gone = _files_alone(preset)
        if not gone and not any(folder.exists() for folder in folders):
            raise ModelError(f"The model {preset.id!r} is not installed; nothing was removed.")
        freed = sum(map(_remove_folder, folders))
        forget_half_made(preset.id)
        familiar_path(preset.id).unlink(missing_ok=True)
        return freed + _delete(gone)


def _files_alone(preset: Preset) -> set[Path]:
    """Return the files in the store that only this model uses, whole or in part."""
    own = store.store_folder() / store.FILES
    record = store.read_record(preset.id)
    mine = {store.placed(file.at) for file in record.files} if record is not None else set()
    for file in preset.unique:
        folders = [own / (file.repo.replace("/", "--") or preset.id)]
        folders += store.snapshots(own, file.repo) if file.repo else []
        mine.update(path for folder in folders for path in folder.glob(file.path))
    for repo in preset.repos:
        mine.update((own / store.cache_name(repo)).glob("*.incomplete"))
    others = [other for other in store.records() if other.id != preset.id]
    return mine - {store.placed(file.at) for other in others for file in other.files}


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
    """Get a preset ready, as `get_model` does; ``prepare`` makes what its parts read."""
    from .prepare import prepare as usual

    prepare = prepare or usual
    progress = progress or no_progress
    meter = Meter(progress, _FILES_SHARE)
    with store.locked(partial(meter.tick, "waiting for another installation")):
        if store.installed(preset) is not None:
            return 0
        forget_half_made(preset.id)
        fetcher = Fetcher(preset, None if folder is None else Path(folder), meter)
        files = fetcher.fetch()
        reads = {role for item in preset.parts.values() for role in item.files.values()}
        kept = _kept(preset, files, reads, meter)
        raw = {role: _handed_on(preset, role, files) for role in preset.files}
        home = store.store_folder() / preset.id
        try:
            roles = prepare(preset, raw, home, part(progress, _FILES_SHARE, 1.0))
            for role in preset.files.keys() - reads:
                # Files that were put together in a folder to be converted.
                together = store.store_folder() / store.ROLES / preset.id / role
                shutil.rmtree(together, ignore_errors=True)
            read = {role: path for role, path in roles.items() if role in reads}
            _write_record(preset, read, kept)
        except ModelError as error:
            raise fetcher.blame(error) from error
        except OSError as error:
            raise disk_error(error, home) from error
        finally:
            if not (home / store.RECORD).exists():
                forget_half_made(preset.id)
                for made in _made(preset.id):
                    _remove_folder(made)
        # Published files that no part of any model reads; those that lay here before, or that are
        # on no hub, stay.
        raw_files = {store.placed(file.at) for file in kept if not file.read and file.repo}
        still_read = [file for other in store.records() for file in other.files if file.read]
        unread = raw_files - {store.placed(file.at) for file in still_read}
        freed = 0 if keep else _delete(unread)
    progress(1.0, "installed")
    return freed


def _kept(
    preset: Preset, files: Mapping[tuple[str, str], Path], reads: set[str], meter: Meter
) -> list[store.Kept]:
    """Return what is written down of every file, or of every file of a folder."""
    roles = reads & preset.files.keys()
    read = {(file.repo, file.path) for role in roles for file in preset.files[role]}
    kept = []
    for (repo, path), at in files.items():
        check = partial(meter.tick, f"checking {path}")
        for file in sorted(at.rglob("*")) if at.is_dir() else [at]:
            if file.is_file():
                sha256, _ = store.fingerprint(file, check)
                name, size = store.stored_name(file), file.stat().st_size
                kept.append(store.Kept(repo, path, name, size, sha256, (repo, path) in read))
    return kept


def _write_record(preset: Preset, roles: Mapping[str, Path], kept: list[store.Kept]) -> None:
    """Write down that a model is installed, and what belongs to it."""
    import huggingface_hub

    made = {
        store.stored_name(path): path.stat().st_size
        for folder in _made(preset.id)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != store.RECORD
    }
    versions = {"napari-patchioner": __version__, "huggingface-hub": huggingface_hub.__version__}
    places = {role: store.stored_name(path) for role, path in roles.items()}
    store.write_record(store.Record(preset.id, places, tuple(kept), made, versions))


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
    folder = store.store_folder() / store.ROLES / preset.id / role
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


def add_model(folder: str | Path, *, progress: Progress | None = None) -> Preset:
    """Take in a model of a person's own.

    Parameters
    ----------
    folder : path
        Holds ``preset.toml`` and the files it names without a repository. These are copied, and the
        card of a model that was trained here.
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
    folder = Path(folder)
    if folder.name == catalog.NAME and folder.is_file():
        folder = folder.parent
    if (folder / catalog.CARD).is_file() and not (folder / catalog.NAME).exists():
        raise ModelError(
            f"{folder} holds a trained part without a backbone for pictures ({catalog.NAME} is "
            "missing), so it is no model; train it with the id of a model in place of a folder."
        )
    preset = catalog.read_preset(folder)
    _refuse_taken(preset, folder)
    home = store.store_folder() / store.PRESETS / preset.id
    meter = Meter(progress)
    with store.locked(partial(meter.tick, "waiting for another installation")):
        # Another window may have been quicker.
        _refuse_taken(preset, folder)
        # What is there now cannot be read any more.
        _remove_folder(home)
        with _whole_or_not_at_all(home):
            copies = {folder / catalog.NAME: home / catalog.NAME}
            cards = [name for name in (catalog.CARD, catalog.PAGE) if (folder / name).is_file()]
            copies |= {folder / name: home / name for name in cards}
            for path in sorted({file.path for file in preset.unique if not file.repo}):
                # All are found before the first is copied: the store may lie in the folder.
                own = _files_of(folder / path)
                copies |= {file: home / file.relative_to(folder) for file in own}
            store.need_room(sum(check_plain_file(path, ModelError) for path in copies))
            home.mkdir(parents=True)
            for source, target in copies.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
    with _whole_or_not_at_all(home):
        added = catalog.read_preset(home)
        if not preset.repos:
            install(added, progress=progress)
    return added


@contextmanager
def _whole_or_not_at_all(home: Path) -> Iterator[None]:
    """Delete a folder if what is done with it fails."""
    try:
        yield
    except BaseException as error:
        _remove_folder(home)
        if isinstance(error, OSError):
            raise disk_error(error, home) from error
        raise


def _refuse_taken(preset: Preset, folder: Path) -> None:
    """Let no model take the place of another."""
    taken = {*embedded.HEADS, *catalog.SEGMENTERS, *known_presets()}
    if preset.id in taken:
        raise ModelError(
            f"There is a model {preset.id!r} already; remove it, or write another id in "
            f"{folder / catalog.NAME}."
        )


def _files_of(path: Path) -> list[Path]:
    """Return a file, or all files of a folder and the folders in it."""
    if not path.exists():
        raise ModelError(f"{path} is missing, which the preset names; add it and try again.")
    if not path.is_dir():
        return [path]
    results: list[Path] = []
    for place, folders, names in os.walk(path, onerror=_raise):
        if links := [name for name in folders if Path(place, name).is_symlink()]:
            raise ModelError(
                f"{Path(place, links[0])} is a link to a folder; put the folder itself there and "
                "add the model again."
            )
        results += [Path(place, name) for name in names]
        if len(results) > _MOST_FILES:
            raise ModelError(
                f"{path} holds more than {_MOST_FILES} files, which is no model; name the folder "
                "of its files alone in the preset."
            )
    return sorted(results)


def _raise(error: OSError) -> None:
    raise error
