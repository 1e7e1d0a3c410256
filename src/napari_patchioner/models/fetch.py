"""Getting all files of a preset together: found here, copied from a folder, or downloaded."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from .hub import Hub, Remote, Unreachable, disk_error, offline, other_file
from .store import (
    FILES,
    cache_folder,
    find,
    fingerprint,
    mirrors,
    need_room,
    placed,
    records,
    store_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .hub import Meter
    from .preset import Preset, PresetFile

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Step:
    """How one file comes.

    Attributes
    ----------
    file : PresetFile
        Which.
    here : Path, optional
        Where it lies already.
    copy : bool
        Whether it has to be copied from there.
    kept : Path, optional
        An older copy in the store, which gives way to the new one.
    source : Path, optional
        The same file in a person's folder, where that is known.
    remote : Remote, optional
        What to download if it lies nowhere.
    """

    file: PresetFile
    here: Path | None = None
    copy: bool = False
    kept: Path | None = None
    source: Path | None = None
    remote: Remote | None = None

    @property
    def nowhere(self) -> bool:
        """Whether the file cannot be had."""
        return self.here is None and self.remote is None

    @property
    def size(self) -> int:
        """Bytes that have to be moved."""
        if self.remote is not None:
            return self.remote.size
        return self.here.stat().st_size if self.copy and self.here is not None else 0


class Fetcher:
    """Gets the files of one preset; ``meter`` counts their bytes and may raise to stop."""

    def __init__(self, preset: Preset, folder: Path | None, meter: Meter) -> None:
        self._preset = preset
        self._folder = folder
        self._meter = meter
        self._hub: Hub | None = None
        self._sources: dict[Path, Path] = {}
        self._network = not offline() and (folder is None or bool(preset.elsewhere))
        listed = {(file.repo, file.path): file for files in preset.files.values() for file in files}
        self._files = list(listed.values())
        names = Counter(Path(file.path).name for file in self._files)
        self._alone = {file.path for file in self._files if names[Path(file.path).name] == 1}

    def fetch(self) -> dict[tuple[str, str], Path]:
        """Return where each file lies now, by repository and path."""
        if self._folder is not None and not self._folder.is_dir():
            raise ModelError(f"{self._folder} is no folder; name the one that holds the files.")
        steps = [self._plan(file) for file in self._files]
        self._refuse_missing([step.file for step in steps if step.nowhere])
        self._meter.total = sum(step.size for step in steps)
        self._need_room(steps)
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

    def _plan(self, file: PresetFile) -> Step:
        """Decide where a file comes from; the network is asked last."""
        if not file.repo and self._preset.home is not None:
            return self._beside(file, self._preset.home)
        kept = find(self._own_folder(file), replace(file, repo=""))
        if kept is not None and not self._is_right(file, kept):
            kept = None
        if kept is not None and (file.sha256 or self._in_use(kept)):
            return Step(file, kept)
        for place in filter(None, [self._folder, *mirrors()]):
            if (result := find(place, file, self._alone)) is not None:
                if kept is not None and self._same(kept, result):
                    return Step(file, kept, source=result)
                return Step(file, result, copy=True, kept=kept)
        if kept is not None or not file.repo:
            return Step(file, kept)
        lying = (find(place, file) for place in (store_folder() / FILES, cache_folder()))
        here = [path for path in lying if path is not None and self._is_right(file, path)]
        if here and (file.sha256 or not self._network):
            return Step(file, here[0])
        return self._ask(file, here) if self._network else Step(file)

    def _beside(self, file: PresetFile, home: Path) -> Step:
        """Find a file that came with a preset of a person's own."""
        result = home / file.path
        if not result.exists() or (result.is_file() and not self._is_right(file, result)):
            raise ModelError(
                f"{result} is missing or was changed; remove the model {self._preset.id} and add "
                "it again."
            )
        return Step(file, result)

    def _ask(self, file: PresetFile, here: list[Path]) -> Step:
        """Ask the hub; what lies here is taken if it is the same, or if nobody answers."""
        if self._hub is None:
            self._hub = Hub(partial(self._meter.tick, "asking the hub"))
        try:
            remote = self._hub.find(file)
        except Unreachable:
            if not here:
                raise
            return Step(file, here[0])
        check = partial(self._meter.tick, f"checking {file.path}")
        same = next((path for path in here if remote.fits(path, check)), None)
        return Step(file, remote=remote) if same is None else Step(file, same)

    def _is_right(self, file: PresetFile, path: Path) -> bool:
        """Whether a file has the contents the preset asks for, as far as it says."""
        if file.sha256:
            check = partial(self._meter.tick, f"checking {file.path}")
            return fingerprint(path, check)[0] == file.sha256
        return not file.size or path.stat().st_size == file.size

    def _same(self, first: Path, other: Path) -> bool:
        """Whether two files have the same contents."""
        if first.stat().st_size != other.stat().st_size:
            return False
        check = partial(self._meter.tick, f"checking {other.name}")
        return fingerprint(first, check) == fingerprint(other, check)

    def _in_use(self, path: Path) -> bool:
        """Whether another installed model reads a file as it is."""
        return path.exists() and any(
            placed(file.at) == path and file.size == path.stat().st_size
            for other in records()
            if other.id != self._preset.id
            for file in other.files
        )

    def _take(self, step: Step) -> Path:
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
            self._link_or_copy(source.resolve(), part)
            if not self._is_right(file, part):
                raise self._not_right(file, source, part)
            part.replace(target)
        except OSError as error:
            raise disk_error(error, target.parent) from error
        finally:
            part.unlink(missing_ok=True)
        return target

    def _link_or_copy(self, source: Path, target: Path) -> None:
        try:
            os.link(source, target)
            self._meter.add(source.stat().st_size, moved=False)
        except OSError:
            with source.open("rb") as reading, target.open("wb") as writing:
                while chunk := reading.read(_CHUNK):
                    writing.write(chunk)
                    self._meter.add(len(chunk))

    def _not_right(self, file: PresetFile, source: Path, part: Path) -> ModelError:
        if not file.sha256:
            return ModelError(
                f"{source} has {source.stat().st_size} bytes instead of {file.size}; copy it to "
                "the folder again."
            )
        result, _ = fingerprint(part, self._meter.tick)
        done = "nothing was installed"
        return other_file(str(source), result, file.sha256, done, where=file.where)

    def _own_folder(self, file: PresetFile) -> Path:
        """Return where the store keeps copies of a repository's files."""
        return store_folder() / FILES / (file.repo.replace("/", "--") or self._preset.id)

    def _refuse_missing(self, files: list[PresetFile]) -> None:
        """Say in one sentence which files are nowhere, and what to do."""
        if not files:
            return
        first = files[0]
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        verb = "are" if others else "is"
        what = f"{first.repo}/{first.path}" if first.repo else first.path
        if not first.repo:
            raise ModelError(
                f"{what}{others} {verb} on no hub ({first.where}); put it in a folder and get the "
                f"model with 'napari-patchioner models get {self._preset.id} --from FOLDER'."
            )
        if self._folder is not None:
            raise ModelError(
                f"{self._folder} lacks {what}{others}; copy the files there as owner/name/path, "
                "or get the model without a folder to download them."
            )
        raise ModelError(
            f"{what}{others} {verb} not on this computer and HF_HUB_OFFLINE forbids to download; "
            "unset it, or get the model from a folder."
        )

    def _need_room(self, steps: Iterable[Step]) -> None:
        """Refuse before anything is moved if a disk is too full."""
        need = 0.0
        for step in steps:
            need += step.size
            if step.remote is not None:
                part = step.remote.unfinished
                need -= part.stat().st_size if part.exists() else 0
            if step.file.path.endswith((".h5", ".hdf5")):
                # A bank is kept in half precision.
                need += (step.size or step.file.bytes) / 2
        need_room(need)
