"""The floors of the house: an import never runs up, and looking in loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import napari_patchioner

PACKAGE = Path(napari_patchioner.__file__).parent
FLOORS = {
    "viewer": 5,
    "cli": 5,
    "_cli": 5,
    "demo": 5,
    "__main__": 5,
    "evaluation": 4,
    "training": 4,
    "models": 4,
    "backbones": 3,
    "captioner": 3,
    "annotations": 2,
    "grids": 2,
    "regions": 1,
    "bridges": 1,
    "decoders": 1,
    "checkpoints": 1,
    "errors": 0,
}
LIGHT = [
    "",
    ".errors",
    ".regions",
    ".grids",
    ".decoders",
    ".bridges",
    ".annotations",
    ".captioner",
    ".checkpoints",
]
HEAVY = ["torch", "transformers", "napari", "qtpy", "PySide6", "PyQt5", "PyQt6"]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of this package that a file imports from, for types or within functions as well."""
    parents = ["napari_patchioner", *path.relative_to(PACKAGE).parent.parts]
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            stem = ".".join([*base, *filter(None, [node.module])])
            modules = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        inside = [m.split(".") for m in modules if m.startswith("napari_patchioner.")]
        rooms |= {parts[1] for parts in inside}
    return rooms & FLOORS.keys()


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_room_has_a_floor():
    assert {room(path) for path in FILES} <= FLOORS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_never_run_up(path):
    above = {name for name in imported_rooms(path) if FLOORS[name] > FLOORS[room(path)]}
    assert not above, f"{path.name} on floor {FLOORS[room(path)]} imports from {above}"


def test_looking_in_loads_neither_torch_nor_qt():
    lines = "\n".join(f"import napari_patchioner{name}" for name in LIGHT)
    code = f"{lines}\nimport sys; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
