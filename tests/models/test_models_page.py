"""The page about models tells what the presets say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from napari_patchioner.models.catalog import parse_preset, presets
from napari_patchioner.models.parts import KINDS
from napari_patchioner.models.prepare import MAKERS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def text():
    return (DOCS / "models.md").read_text(encoding="utf-8")


def test_its_tables_are_those_of_the_presets(text):
    spec = importlib.util.spec_from_file_location("models_table", DOCS / "models_table.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.page(text) == text, "run: python docs/models_table.py"
    assert all(f"| `{name}` |" in text for name in presets())


def test_its_preset_of_ones_own_is_understood(text, tmp_path):
    [example] = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    preset = parse_preset(example, source="models.md", home=tmp_path)
    assert preset.id == "my-cells"


def test_it_names_every_kind_of_part_and_every_role(text):
    for group, kinds in KINDS.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"| {group} |")]
        assert set(kinds) == set(re.findall(r"`([\w-]+)`", line)) - ({"retrieve"} - set(kinds))
        for kind in kinds.values():
            assert all(role in line for role in (*kind.needs, *kind.may))
    assert all(f"`{make}`" in text for make in MAKERS)
