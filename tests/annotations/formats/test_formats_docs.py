"""The examples in the documentation are files that read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from napari_patchioner.annotations import FORMATS, read_annotations

DOCS = Path(__file__).parents[3] / "docs" / "formats.md"
TEXT = DOCS.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"<!-- example: (\S+) -->\n```\w*\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_every_example_is_a_file_with_one_caption(tmp_path: Path, place: int) -> None:
    name, text = EXAMPLES[place]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    [found] = read_annotations(path)
    assert found.caption == "a cat, asleep"


def test_every_format_has_a_row_and_a_section() -> None:
    rows = re.findall(r"^\| \[.*?\]\((#[^)]*)\) \| `([\w-]+)` \|", TEXT, re.MULTILINE)
    assert {name for _, name in rows} == set(FORMATS)
    titles = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert {anchor for anchor, _ in rows} <= anchors
    assert len(EXAMPLES) >= 7
