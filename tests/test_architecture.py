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
    "batch": 4,
    "evaluation": 4,
    "training": 4,
    "models": 4,
    "backbones": 3,
    "captioner": 3,
    "pyramid": 3,
    "annotations": 2,
    "grids": 2,
    "regions": 1,
    "images": 1,
    "bridges": 1,
    "decoders": 1,
    "checkpoints": 1,
    "limits": 0,
    "errors": 0,
    "locking": 0,
}
LIGHT = [
    "",
    ".errors",
    ".limits",
    ".regions",
    ".grids",
    ".decoders",
    ".bridges",
    ".annotations",
    ".captioner",
    ".pyramid",
    ".checkpoints",
    ".batch",
    ".viewer",
    ".viewer.session.session",
    ".viewer.session.history",
    ".viewer.session.review",
]
HEAVY = ["torch", "transformers", "napari", "qtpy", "PySide6", "PyQt5", "PyQt6"]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of this package that a file imports from, for types or within functions as well."""
    return {parts[1] for parts in imported_modules(path) if len(parts) > 1} & FLOORS.keys()


def imported_modules(path: Path) -> list[list[str]]:
    """Modules of this package that a file imports, each as the list of its parts."""
    parents = ["napari_patchioner", *path.relative_to(PACKAGE).parent.parts]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            stem = ".".join([*base, *filter(None, [node.module])])
            modules = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [m.split(".") for m in modules if m.startswith("napari_patchioner.")]
    return found


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


# What opens pictures; `images` alone may, so that every picture passes its allow-list and budget.
OPENERS = {
    "Image": {"open"},
    "tifffile": {"TiffFile", "imread", "memmap", "TiffSequence", "FileHandle"},
    "ImageFile": {"Parser"},
}
OTHER_OPENERS = {"imageio", "cv2", "skimage.io", "matplotlib.image"}


def opened_pictures(path: Path) -> set[str]:
    """Names by which a file opens pictures itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, (ast.Name, ast.Attribute)):
            owner = getattr(node.value, "id", getattr(node.value, "attr", ""))
            if node.attr in OPENERS.get(owner, ()):
                found.add(f"{owner}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module:
            last = node.module.split(".")[-1]
            found |= {alias.name for alias in node.names if alias.name in OPENERS.get(last, ())}
            names = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            found |= names & OTHER_OPENERS
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & OTHER_OPENERS
    return found


def for_types_only(path: Path) -> set[str]:
    """Names that a file imports for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tests = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_" in ast.dump(n.test)]
    froms = [n for test in tests for n in ast.walk(test) if isinstance(n, ast.ImportFrom)]
    return {alias.name for node in froms for alias in node.names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pictures_come_in_by_one_door(path):
    if room(path) != "images":
        assert not opened_pictures(path) - for_types_only(path)


def test_the_door_itself_would_be_found():
    inside = [opened_pictures(path) for path in FILES if room(path) == "images"]
    assert set().union(*inside) >= {"Image.open", "tifffile.TiffFile"}


VIEWER_FLOORS = {
    "session": 0,
    "preferences": 0,
    "canvas": 1,
    "widgets": 2,
    "reading": 2,
    "export": 2,
    "sources": 3,
    "sight": 4,
    "listing": 4,
    "models": 4,
    "keeping": 4,
    "desk": 5,
    "folder": 5,
    "commands": 6,
    "opening": 6,
    "samples": 6,
    "__init__": 6,
}


def needed_at_import(path: Path) -> list[str]:
    """Rooms of the window that a file needs to run, those named for types alone left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_" in ast.dump(n.test)]
    skipped = {id(inner) for node in for_types for inner in ast.walk(node)}
    froms = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and id(n) not in skipped]
    inside = [n.module.split(".") for n in froms if n.module and "_patchioner.viewer." in n.module]
    return [parts[2] for parts in inside]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room(path) == "viewer"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_the_rooms_of_the_window_have_an_order_too(path):
    own = path.relative_to(PACKAGE / "viewer").parts[0].removesuffix(".py")
    above = {n for n in needed_at_import(path) if VIEWER_FLOORS[n] > VIEWER_FLOORS[own]}
    assert not above, f"{path.name} in {own} needs {above}"
