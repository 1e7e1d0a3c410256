"""Models as they are written down: what a person reads of one, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One line of the list of models.

    Attributes
    ----------
    id : str
        What `load_model` is given.
    title : str
        What a person reads.
    licence : str
        Licence of the weights.
    size : int
        Bytes of all files the model reads.
    note : str
        How it was made and what it is good for, one sentence.
    ram : int
        Bytes of memory it needs while captioning; 0 where nobody has measured.
    installed : bool
        Whether it can be loaded right now, without a network.
    to_get : int
        Bytes still to be downloaded; 0 once installed.
    sources : tuple of str
        Where its files come from, hub ids; empty for the models inside the package.
    row : str
        The row of the paper's tables it reproduces, if any.
    """

    id: str
    title: str
    licence: str
    size: int
    note: str
    ram: int = 0
    installed: bool = True
    to_get: int = 0
    sources: tuple[str, ...] = ()
    row: str = ""


def size_text(size: float, unit: str = "") -> str:
    """Return bytes as a person reads them, in kB, MB or GB: what suits the size by default."""
    steps = {"kB": 1e3, "MB": 1e6, "GB": 1e9}
    unit = unit or next((name for name in ("GB", "MB") if size >= 0.9995 * steps[name]), "kB")
    value = size / steps[unit]
    return f"{value:.0f} {unit}" if value >= 99.95 or not size else f"{value:.1f} {unit}"


@dataclass(frozen=True, slots=True)
class PresetFile:
    """One file a model needs, or several of one folder.

    ``repo`` is the hub id, empty for a file that lies beside a local preset, or that is on no hub
    and has to be given from a folder; ``where`` says where a person finds that. ``path`` may be a
    glob, which names the one file that matches it, and beside a local preset a folder. ``size``
    are its bytes exactly, so that a file of another size is refused, ``about`` roughly, both 0
    where nobody knows; so is ``sha256`` empty where nobody knows before asking the hub.
    """

    repo: str
    path: str
    size: int = 0
    sha256: str = ""
    where: str = ""
    about: int = 0

    @property
    def bytes(self) -> int:
        """Bytes, as well as they are known."""
        return self.size or self.about


@dataclass(frozen=True, slots=True)
class Part:
    """A backbone, a bridge or a decoder of a preset.

    Attributes
    ----------
    kind : str
        Which one, a key of its registry.
    files : mapping of str to str
        Role in the part's ``open`` to role in the preset's ``files`` or ``prepare``.
    options : mapping of str to object
        The other arguments of ``open``.
    """

    kind: str
    files: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is made once, after the files are there, for parts to ask for as ``role``.

    ``make`` is a key of `prepare.MAKERS`, ``source`` the role of the files it is made from, empty
    where the package brings them along.
    """

    role: str
    make: str
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Preset:
    """A model that can be put together from files; see `ModelCard` for what a person reads.

    ``files`` are listed by role, of which one with several files is handed on as the folder that
    holds them; ``conversions`` are made of them once, in this order. ``provenance`` is what the
    preset vouches for where files do not say so themselves: under ``"projection"`` the hash of the
    projection that banks and decoders were made behind. ``options`` are those of `Captioner`;
    ``home`` is the folder of a preset that a person added, where its local files lie.

    A model on a server has no parts: ``server`` says at which ``address`` and under which name,
    ``model``, it is asked with which ``prompt``.
    """

    id: str
    title: str
    note: str
    licence: str
    backbone: Part
    bridge: Part
    decoder: Part
    files: Mapping[str, tuple[PresetFile, ...]] = field(default_factory=dict)
    conversions: tuple[Conversion, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    row: str = ""
    ram: int = 0
    home: Path | None = None
    server: Mapping[str, str] = field(default_factory=dict)

    @property
    def unique(self) -> list[PresetFile]:
        """All files, each once whatever the roles that read it."""
        named = {(file.repo, file.path): file for files in self.files.values() for file in files}
        return list(named.values())

    @property
    def size(self) -> int:
        """Bytes of all files, as far as they are known."""
        return sum(file.bytes for file in self.unique)

    @property
    def repos(self) -> tuple[str, ...]:
        """Hub ids, each once, in the order of the files."""
        return tuple(dict.fromkeys(file.repo for file in self.unique if file.repo))

    @property
    def parts(self) -> Mapping[str, Part]:
        """Its three parts, by what they are; none of a model on a server."""
        if self.server:
            return {}
        return {"backbone": self.backbone, "bridge": self.bridge, "decoder": self.decoder}

    @property
    def elsewhere(self) -> Mapping[str, tuple[PresetFile, ...]]:
        """Roles with files that no hub holds: a person brings them along in a folder."""
        return {
            role: files
            for role, files in self.files.items()
            if self.home is None and any(not file.repo for file in files)
        }
