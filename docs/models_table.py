"""Write the tables of models.md from the presets: python docs/models_table.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.models.catalog import presets
from napari_patchioner.models.preset import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_patchioner.models.preset import Preset

PAGE = Path(__file__).with_name("models.md")


def models_table() -> str:
    """Return one line for every preset."""
    rows = [
        [
            f"`{preset.id}`",
            preset.title,
            f"{size} px" if (size := preset.backbone.options.get("size")) else "its own",
            _amount(preset.size),
            _amount(preset.ram),
            preset.licence,
            preset.row or "none",
        ]
        for preset in presets().values()
    ]
    head = ["id", "what", "input", "to get", "memory", "licence of the weights", "row of the paper"]
    return _table(head, rows)


def sources_table() -> str:
    """Return where the files of every preset come from."""
    rows = [
        [f"`{preset.id}`", _joined(f"`{repo}`" for repo in preset.repos), _elsewhere(preset)]
        for preset in presets().values()
    ]
    return _table(["id", "repositories on the Hugging Face hub", "on no hub"], rows)


def page(text: str) -> str:
    """Return a page with its tables made anew."""
    for name, table in (("models", models_table()), ("sources", sources_table())):
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        text = re.sub(f"{begin}.*?{end}", f"{begin}{table}{end}", text, flags=re.DOTALL)
    return text


def _elsewhere(preset: Preset) -> str:
    files = [file for files in preset.elsewhere.values() for file in files]
    return _joined(f"`{file.path}`: {file.where}" for file in files)


def _joined(texts: Iterable[str]) -> str:
    return "<br>".join(texts)


def _amount(size: int) -> str:
    return f"about {size_text(size)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
