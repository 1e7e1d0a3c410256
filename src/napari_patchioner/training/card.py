"""The card of what was trained: from what, how, how well, and which files belong together."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from napari_patchioner import __version__
from napari_patchioner.checkpoints import file_sha256
from napari_patchioner.models.catalog import CARD, PAGE

_UNKNOWN = "not stated"


@dataclass(frozen=True, slots=True)
class DataSource:
    """A file that was learned from: its name without the folder, its SHA-256, what was in it."""

    name: str
    sha256: str
    examples: int = 0
    licence: str = ""


@dataclass(frozen=True, slots=True)
class TrainingCard:
    """All that is worth knowing of a trained part, for people and for programs.

    Attributes
    ----------
    id, title : str
        What programs and people call it.
    kind : str
        What was trained, as on the command line.
    method : str
        In a sentence, with the paper.
    licence : str
        Of what came out; people may have to decide that themselves.
    tower : str
        What texts were embedded with.
    provenance : mapping of str to str
        The stamp of tower or projection that its files carry.
    data : sequence of DataSource
        What it was trained on.
    settings : mapping of str to object
        Sizes, seed, steps and all else that can be chosen.
    scores : mapping of str to number
        Measured on what was held out.
    limits : sequence of str
        What it was not made for, a sentence each.
    """

    id: str
    title: str
    kind: str
    method: str
    licence: str = ""
    tower: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
    data: Sequence[DataSource] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float | int | str] = field(default_factory=dict)
    limits: Sequence[str] = ()

    def write(self, folder: str | Path) -> None:
        """Write ``card.json`` and ``CARD.md`` into a folder, with the hashes of its other files."""
        folder = Path(folder)
        hashes = {
            path.relative_to(folder).as_posix(): file_sha256(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in (CARD, PAGE)
        }
        versions = {
            "napari-patchioner": __version__,
            "torch": _version("torch"),
            "python": platform.python_version(),
        }
        content = asdict(self) | {"files": hashes, "made_with": versions}
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (folder / CARD).write_text(text, encoding="utf-8")
        (folder / PAGE).write_text(self._page(hashes, versions), encoding="utf-8")

    def _page(self, hashes: Mapping[str, str], versions: Mapping[str, str]) -> str:
        """Return the card as people read it."""
        lines = [f"# {self.title}", "", self.method, ""]
        facts = {
            "id": self.id,
            "kind": self.kind,
            "licence": self.licence or _UNKNOWN,
            "text tower": self.tower,
            **self.provenance,
        }
        lines += [f"- {name}: {value}" for name, value in facts.items() if value]
        if self.data:
            lines += ["", "## Data", ""]
            lines += ["| file | examples | licence | sha256 |", "| --- | --- | --- | --- |"]
            lines += [
                f"| {_cell(item.name)} | {item.examples or ''} | "
                f"{_cell(item.licence) or _UNKNOWN} | `{item.sha256}` |"
                for item in self.data
            ]
        if self.scores:
            lines += ["", "## Scores on what was held out", "", "| what | score |", "| --- | --- |"]
            lines += [f"| {_cell(name)} | {value} |" for name, value in self.scores.items()]
        if self.settings:
            lines += ["", "## Settings", "", "| what | value |", "| --- | --- |"]
            lines += [f"| {_cell(name)} | {value} |" for name, value in self.settings.items()]
        if self.limits:
            lines += ["", "## Limits", "", *(f"- {limit}" for limit in self.limits)]
        lines += ["", "## Files", "", "| file | sha256 |", "| --- | --- |"]
        lines += [f"| {_cell(name)} | `{digest}` |" for name, digest in hashes.items()]
        made = ", ".join(f"{name} {version}" for name, version in versions.items())
        return "\n".join([*lines, "", f"Made with {made}.", ""])


def _cell(text: str) -> str:
    """Return a text that stays in its cell of a table."""
    return " ".join(text.replace("|", "/").split())


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
