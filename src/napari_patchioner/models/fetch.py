"""Getting all files of a preset together: found here, copied from a folder, or downloaded."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from napari_patchioner.errors import ModelError

from . import hub, store
from .preset import Preset, PresetFile

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Step:
    """How one file comes: it lies ``here``, perhaps to be copied, or is to be downloaded.

    ``kept`` is an older copy in the store, which gives way to the new one; ``source`` the same
    file in a person's folder, where that is known.
    """

    file: PresetFile
    here: Path | None = None
    copy: bool = False
    kept: Path | None = None
    source: Path | None = None
    remote: hub.Remote | None = None

    @property
    def size(self) -> int:
        """Bytes that have to be moved."""
        if self.remote is not None:
            return self.remote.size
        return self.here.stat().st_size if self.copy and self.here is not None else 0

    @property
    def room(self) -> float:
        """Bytes it needs on the disk."""
        need: float = self.size
        if self.remote is not None and self.remote.unfinished.exists():
            need -= self.remote.unfinished.stat().st_size
        if self.file.path.endswith((".h5", ".hdf5")):
            # A bank is kept in half precision.
            need += (self.size or self.file.bytes) / 2
        return need


class Fetcher:
    """Gets the files of one preset; ``meter`` counts their bytes and may raise to stop."""

    def __init__(self, preset: Preset, folder: Path | None, meter: hub.Meter) -> None:
        self._preset = preset
        self._folder = folder
        self._meter = meter
        self._hub: hub.Hub | None = None
        self._sources: dict[Path, Path] = {}
        self._network = not hub.offline() and (folder is None or bool(preset.elsewhere))
        names = Counter(Path(file.path).name for file in preset.unique)
        self._alone = {file.path for file in preset.unique if names[Path(file.path).name] == 1}

    def fetch(self) -> dict[tuple[str, str], Path]:
        """Return where each file lies now, by repository and path."""
        if self._folder is not None and not self._folder.is_dir():
            raise ModelError(f"{self._folder} is no folder; name the one that holds the files.")
        steps = [self._plan(file) for file in self._preset.unique]
        self._refuse_missing([s.file for s in steps if s.here is None and s.remote is None])
        self._meter.total = sum(step.size for step in steps)
        store.need_room(sum(step.room for step in steps))
        return {(step.file.repo, step.file.path): self._take(step) for step in steps}

    def blame(self, error: ModelError) -> ModelError:
        """Throw away the copies a model cannot be made of, and name the files they are of.

        A second attempt then takes what the folder holds by then, and so do other models.
        """
        message = str(error)
        for copy, source in self._sources.items():
            message = message.replace(str(copy), str(source))
            if not self._in_use(copy):
                copy.unlink(missing_ok=True)
        for copy, source in self._sources.items():
            message = message.replace(str(copy.parent), str(source.parent))
        return ModelError(message)

    def _plan(self, file: PresetFile) -> _Step:
        """Decide where a file comes from; the network is asked last."""
        if not file.repo and self._preset.home is not None:
            result = self._preset.home / file.path
            if not result.exists() or (result.is_file() and not self._is_right(file, result)):
                raise ModelError(
                    f"{result} is missing or was changed; remove the model {self._preset.id} and "
                    "add it again."
                )
            return _Step(file, result)
        kept = store.find(self._own_folder(file), replace(file, repo=""))
        if kept is not None and not self._is_right(file, kept):
            kept = None
        if kept is not None and (file.sha256 or self._in_use(kept)):
            return _Step(file, kept)
        for place in filter(None, [self._folder, *store.mirrors()]):
            if (copied := store.find(place, file, self._alone)) is not None:
                same = kept is not None and kept.stat().st_size == copied.stat().st_size
                if kept is not None and same and self._hashes(kept) == self._hashes(copied):
                    return _Step(file, kept, source=copied)
                return _Step(file, copied, copy=True, kept=kept)
        if kept is not None or not file.repo:
            return _Step(file, kept)
        places = (store.store_folder() / store.FILES, store.cache_folder())
        lying = filter(None, (store.find(place, file) for place in places))
        here = [path for path in lying if self._is_right(file, path)]
        if here and (file.sha256 or not self._network):
            return _Step(file, here[0])
        return self._ask(file, here) if self._network else _Step(file)

    def _ask(self, file: PresetFile, here: list[Path]) -> _Step:
        """Ask the hub; what lies here is taken if it is the same, or if nobody answers."""
        if self._hub is None:
            self._hub = hub.Hub(partial(self._meter.tick, "asking the hub"))
        try:
            remote = self._hub.find(file)
        except hub.Unreachable:
            if not here:
                raise
            return _Step(file, here[0])
        check = partial(self._meter.tick, f"checking {file.path}")
        same = next((path for path in here if remote.fits(path, check)), None)
        return _Step(file, remote=remote) if same is None else _Step(file, same)

    def _hashes(self, path: Path) -> tuple[str, str]:
        """Return the fingerprint of a file, which may take a while."""
        return store.fingerprint(path, partial(self._meter.tick, f"checking {path.name}"))

    def _is_right(self, file: PresetFile, path: Path) -> bool:
        """Whether a file has the contents the preset asks for, as far as it says."""
        if file.sha256:
            return self._hashes(path)[0] == file.sha256
        return not file.size or path.stat().st_size == file.size

    def _in_use(self, path: Path) -> bool:
        """Whether another installed model reads a file as it is."""
        return path.exists() and any(
            store.placed(file.at) == path and file.size == path.stat().st_size
            for other in store.records()
            if other.id != self._preset.id
            for file in other.files
        )

    def _take(self, step: _Step) -> Path:
        """Bring one file to where it is read from."""
        if step.remote is not None and self._hub is not None:
            return self._hub.get(step.remote, self._meter)
        assert step.here is not None, "missing files were refused before"
        if not step.copy:
            if step.source is not None:
                self._sources[step.here] = step.source
            return step.here
        copy = self._copied(step.file, step.here)
        self._sources[copy] = step.here
        if step.kept is not None and step.kept != copy:
            # A glob must not fit both from now on.
            step.kept.unlink(missing_ok=True)
        return copy

    def _copied(self, file: PresetFile, source: Path) -> Path:
        """Bring a file into the store, so that the folder it lies in may be taken away."""
        target = (self._own_folder(file) / file.path).with_name(source.name)
        part = target.with_name(f"{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            try:
                os.link(source.resolve(), part)
                self._meter.add(source.stat().st_size, moved=False)
            except OSError:
                with source.open("rb") as reading, part.open("wb") as writing:
                    while chunk := reading.read(_CHUNK):
                        writing.write(chunk)
                        self._meter.add(len(chunk))
            if not self._is_right(file, part):
                if file.sha256:
                    result, done = self._hashes(part)[0], "nothing was installed"
                    raise hub.other_file(str(source), result, file.sha256, done, file.where)
                raise ModelError(
                    f"{source} has {source.stat().st_size} bytes instead of {file.size}; copy it "
                    "to the folder again."
                )
            part.replace(target)
        except OSError as error:
            raise hub.disk_error(error, target.parent) from error
        finally:
            part.unlink(missing_ok=True)
        return target

    def _own_folder(self, file: PresetFile) -> Path:
        """Return where the store keeps copies of a repository's files."""
        name = file.repo.replace("/", "--") or self._preset.id
        return store.store_folder() / store.FILES / name

    def _refuse_missing(self, files: list[PresetFile]) -> None:
        """Say in one sentence which files are nowhere, and what to do."""
        if not files:
            return
        first, more = files[0], len(files) - 1
        what = f"{first.repo}/{first.path}".lstrip("/") + f" and {more} more" * (more > 0)
        verb = "are" if more else "is"
        if not first.repo:
            raise ModelError(
                f"{what} {verb} on no hub ({first.where}); put it in a folder and get the model "
                f"with 'napari-patchioner models get {self._preset.id} --from FOLDER'."
            )
        if self._folder is not None:
            raise ModelError(
                f"{self._folder} lacks {what}; copy the files there as owner/name/path, or get "
                "the model without a folder to download them."
            )
        raise ModelError(
            f"{what} {verb} not on this computer and HF_HUB_OFFLINE forbids to download; unset "
            "it, or get the model from a folder."
        )
