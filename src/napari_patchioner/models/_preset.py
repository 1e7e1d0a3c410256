"""A model of the catalog, as its TOML file tells it: data, not code."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class PresetFile:
    """One file a model needs, or several of one folder.

    Attributes
    ----------
    repo : str
        Hub id, ``owner/name``; empty for a file that lies beside a local preset.
    path : str
        Its place in the repository; a glob names the one file that matches it.
    size : int
        Bytes; 0 where nobody knows before asking the hub.
    sha256 : str
        Of the file; empty where nobody knows before asking the hub.
    """

    repo: str
    path: str
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A backbone, a bridge or a decoder of a preset.

    Attributes
    ----------
    kind : str
        Which one, a key of its registry.
    files : mapping of str to str
        Role in the part's ``open`` to role in the preset's ``files``.
    options : mapping of str to object
        The other arguments of ``open``.
    """

    kind: str
    files: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Preset:
    """A model that can be put together from files.

    Attributes
    ----------
    id, title, note, licence, row : str
        As on a `ModelCard`.
    ram : int
        Bytes of memory it needs while captioning.
    files : mapping of str to tuple of PresetFile
        By role. A role of several files is handed on as the folder that holds them.
    backbone, bridge, decoder : Part
        What it is made of.
    options : mapping of str to object
        Further arguments of `Captioner`: pooling, whole, variance, convention.
    home : Path, optional
        Folder of a preset that was added by a person, whose local files lie there.
    """

    id: str
    title: str
    note: str
    licence: str
    backbone: Part
    bridge: Part
    decoder: Part
    files: Mapping[str, tuple[PresetFile, ...]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    row: str = ""
    ram: int = 0
    home: Path | None = None

    @property
    def size(self) -> int:
        """Bytes of all files, as far as they are known."""
        unique = {(file.repo, file.path): file for part in self.files.values() for file in part}
        return sum(file.size for file in unique.values())

    @property
    def repos(self) -> tuple[str, ...]:
        """Hub ids, each once, in the order of the files."""
        named = (file.repo for part in self.files.values() for file in part)
        return tuple(dict.fromkeys(repo for repo in named if repo))
