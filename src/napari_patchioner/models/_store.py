"""Where models are kept, and the record of each: what it reads and where that lies.

``STORE/ID/installed.json`` is written last, so a model without one is not installed, whatever
else lies there.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ._preset import Preset

FORMAT = "napari-patchioner install 1"
HOME = "NAPARI_PATCHIONER_HOME"
RECORD = "installed.json"
# Names that no model can have.
FILES, ROLES, PRESETS, LEDGER, LOCK = "_files", "_roles", "_presets", "_ours.json", "_lock"


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that a model was made from or reads.

    Attributes
    ----------
    repo, path : str
        Where it comes from; ``path`` as the preset writes it, even where that is a glob.
    at : str
        Where it lies; relative to the store if inside it.
    size : int
        Bytes.
    sha256 : str
        Of its contents.
    read : bool
        Whether a part of the model reads it; otherwise something was made of it.
    """

    repo: str
    path: str
    at: str
    size: int
    sha256: str
    read: bool


@dataclass(frozen=True, slots=True)
class Record:
    """What is written of an installed model.

    Attributes
    ----------
    id : str
        Of its preset.
    roles : mapping of str to str
        What the model reads: files or folders, relative to the store if inside it.
    files : tuple of Kept
        What was got for it.
    made : mapping of str to int
        Files converted for it, relative to the store, and their bytes.
    versions : mapping of str to str
        Of the packages that made it.
    """

    id: str
    roles: Mapping[str, str]
    files: tuple[Kept, ...]
    made: Mapping[str, int]
    versions: Mapping[str, str]

    @property
    def needed(self) -> dict[str, int]:
        """Files that have to be there to load it, and their bytes."""
        reads = {Path(place) for place in self.roles.values()}
        raw = {
            file.at: file.size
            for file in self.files
            if file.read and not reads.isdisjoint([Path(file.at), *Path(file.at).parents])
        }
        return raw | dict(self.made)


def store_folder() -> Path:
    """Return the folder models are kept in: $NAPARI_PATCHIONER_HOME or the user's data folder."""
    if home := os.environ.get(HOME):
        return Path(home).expanduser().resolve()
    from platformdirs import user_data_path

    return user_data_path("napari-patchioner", appauthor=False)


def placed(place: str) -> Path:
    """Return the path that a record tells."""
    return store_folder() / place


def told(path: Path) -> str:
    """Return a path as records tell it: relative to the store if inside it."""
    store = store_folder()
    return path.relative_to(store).as_posix() if path.is_relative_to(store) else str(path)


def installed(preset: Preset) -> dict[str, Path] | None:
    """Return what the parts of a model read, by role; None unless all of it is there.

    Only existence and sizes are looked at: contents were checked when the model was got.
    """
    record = read_record(preset.id)
    if record is None or trouble(preset, record):
        return None
    return {role: placed(place) for role, place in record.roles.items()}


def trouble(preset: Preset, record: Record) -> str:
    """Say what is wrong with an installed model, in half a sentence; empty if nothing is."""
    wanted = {(file.repo, file.path) for files in preset.files.values() for file in files}
    if {(file.repo, file.path) for file in record.files} != wanted:
        return "it was made from other files than are asked for now"
    for place, size in record.needed.items():
        try:
            found = placed(place).stat().st_size
        except OSError:
            return f"{placed(place)} is missing"
        if found != size:
            return f"{placed(place)} has {found} bytes instead of {size}"
    return ""


def read_record(name: str) -> Record | None:
    """Return the record of a model; None if there is none that can be read."""
    try:
        content = json.loads((store_folder() / name / RECORD).read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            return None
        content["files"] = tuple(Kept(**file) for file in content["files"])
        record = Record(**content)
        return record if _makes_sense(record) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _makes_sense(record: Record) -> bool:
    """Whether all values of a record are of their types."""
    files = [(file.repo, file.path, file.at, file.sha256) for file in record.files]
    texts = [record.id, *record.roles.keys(), *record.roles.values(), *record.made.keys()]
    texts += [text for four in files for text in four]
    sizes = [*record.made.values(), *(file.size for file in record.files)]
    return all(isinstance(text, str) and "\0" not in text for text in texts) and all(
        isinstance(size, int) for size in sizes
    )


def records() -> list[Record]:
    """Return the records of all models in the store."""
    names = sorted(path.parent.name for path in store_folder().glob(f"[!_.]*/{RECORD}"))
    return [record for record in map(read_record, names) if record is not None]


def write_record(record: Record) -> None:
    """Write the record of a model, which makes it an installed one."""
    content = {"format": FORMAT, **asdict(record)}
    _write_json(store_folder() / record.id / RECORD, content)


def ours() -> set[Path]:
    """Return the files that this package brought here, and that it may delete again."""
    try:
        return {Path(path) for path in json.loads((store_folder() / LEDGER).read_text("utf-8"))}
    except (OSError, ValueError, TypeError):
        return set()


def claim(path: Path) -> None:
    """Remember that this package brought a file here."""
    if path not in ours():
        _write_json(store_folder() / LEDGER, sorted(map(str, {*ours(), path})))


def disclaim(gone: set[Path]) -> None:
    """Forget files that were deleted."""
    _write_json(store_folder() / LEDGER, sorted(map(str, ours() - gone)))


def _write_json(path: Path, content: object) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, indent=1), encoding="utf-8")
    beside.replace(path)


@contextmanager
def locked(tick: Callable[[], object]) -> Iterator[None]:
    """Keep other windows and programs from changing the store; ``tick`` is called while waiting.

    Raises
    ------
    ModelError
        The store cannot be written.
    """
    from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

    folder = store_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock: BaseFileLock = FileLock(folder / LOCK)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0.2)
            except Timeout:
                tick()
            except NotImplementedError:
                # Some network drives cannot lock; a file that is there or not has to do.
                lock = SoftFileLock(folder / f"{LOCK}.soft")
    except OSError as error:
        raise ModelError(
            f"{folder} cannot be written ({error.strerror}); set {HOME} to a folder of your own."
        ) from error
    try:
        yield
    finally:
        lock.release()
