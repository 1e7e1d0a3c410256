"""The floors of the house: an import never runs up, and looking in loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

from benchmarks import house

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = house.PACKAGE
LIGHT = [
    "",
    ".errors",
    ".limits",
    ".regions",
    ".grids",
    ".decoders",
    ".bridges",
    ".annotations",
    ".backbones",
    ".captioner",
    ".devices",
    ".pyramid",
    ".teaching",
    ".training",
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


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
read = cache(house.read)


@cache
def listed() -> dict[str, list[str]]:
    return house.listed([read(path) for path in sorted(PACKAGE.rglob("*.py"))])


def test_imports_never_run_up():
    assert house.upward([read(path) for path in FILES]) == []


@pytest.mark.parametrize("kind", ["circles", "underscores", "pieces", "words"])
def test_the_house_has_none_of(kind):
    assert listed()[kind] == []


def test_looking_in_loads_neither_torch_nor_qt():
    lines = "\n".join(f"import napari_patchioner{name}" for name in LIGHT)
    code = f"{lines}\nimport sys; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# What opens pictures; `images` alone may, so that every picture passes its allow-list and budget.
OPENERS = {
    "PIL.Image": {"open"},
    "PIL.ImageFile": {"Parser"},
    "tifffile": {"TiffFile", "imread", "memmap", "TiffSequence", "FileHandle"},
}
OTHER_OPENERS = {"imageio", "cv2", "skimage.io", "matplotlib.image"}
# Of Qt, by their first argument: a name of a file, unless it is plainly something else.
QT_OPENERS = {"QPixmap", "QImage", "QIcon", "QMovie", "QImageReader", "QPicture", "QBitmap"}


def called(node: ast.AST, names: dict[str, str]) -> str:
    """The whole name of what is called or looked up, as it is called at home."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (owner := called(node.value, names)):
        return f"{owner}.{node.attr}"
    return ""


@cache
def nodes(tree: ast.AST) -> list[ast.AST]:
    """All nodes of a tree, walked through once for all that look at them."""
    return list(ast.walk(tree))


def named_at_home(tree: ast.AST) -> dict[str, str]:
    """What a file calls modules and what is in them, and what they are called at home."""
    names = {}
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            names |= {one.asname: one.name for one in node.names if one.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return names


def opens_by_qt(node: ast.AST, names: dict[str, str]) -> str:
    """How a call lets Qt open a file; empty if it does not."""
    if not isinstance(node, ast.Call):
        return ""
    last = called(node.func, names).split(".")[-1]
    if last not in QT_OPENERS or not node.args or len(node.args) > 2:
        return ""
    # Sizes and other pictures are no files; nor are empty ones.
    first = node.args[0]
    told = called(first.func, names).split(".")[-1] if isinstance(first, ast.Call) else ""
    known = told in {"QSize", "fromImage", "toImage", "grab", "size", *QT_OPENERS}
    number = isinstance(first, ast.BinOp) or (
        isinstance(first, ast.Constant) and not isinstance(first.value, (str, bytes))
    )
    return "" if known or number else last


def opened_pictures(tree: ast.AST) -> set[str]:
    """Names by which a file opens pictures itself."""
    names = named_at_home(tree)
    imported = set(names.values())
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module)
    openers = {f"{owner}.{name}" for owner, all_ in OPENERS.items() for name in all_}
    used = imported | {called(node, names) for node in nodes(tree)}
    found = {one for one in used if one in openers}
    found |= {one for one in imported if one in OTHER_OPENERS}
    # `import skimage` and the like give all there is in them.
    found |= {one for one in used if one.startswith(tuple(f"{name}." for name in OTHER_OPENERS))}
    return found | set(filter(None, (opens_by_qt(node, names) for node in nodes(tree))))


def for_types_only(path: Path) -> set[str]:
    """Names that a file imports for types alone."""
    tree = read(path).tree
    tests = [n for n in nodes(tree) if isinstance(n, ast.If) and "TYPE_" in ast.dump(n.test)]
    froms = [n for test in tests for n in ast.walk(test) if isinstance(n, ast.ImportFrom)]
    return {alias.name for node in froms for alias in node.names}


def test_pictures_come_in_by_one_door():
    opened = {}
    for path in FILES:
        if room(path) != "images":
            types, named = for_types_only(path), opened_pictures(read(path).tree)
            own = {one for one in named if one.split(".")[-1] not in types}
            opened[str(path.relative_to(PACKAGE))] = own
    assert {name: ways for name, ways in opened.items() if ways} == {}


@pytest.mark.parametrize(
    "code",
    [
        "from PIL import Image as I\nI.open(p)",
        "import PIL.Image\nPIL.Image.open(p)",
        "import PIL.Image as I\nI.open(p)",
        "from PIL.Image import open as look\nlook(p)",
        "def f():\n    from tifffile import imread as look",
        "import tifffile as t\nt.TiffFile(p)",
        "from skimage import io as x\nx.imread(p)",
        "import skimage\nskimage.io.imread(p)",
        "import skimage as s\ns.io.imread(p)",
        "from skimage.io import imread",
        "from imageio import v3",
        "import imageio.v3 as iio",
        "import cv2 as c",
        "import matplotlib.image",
        "from qtpy.QtGui import QPixmap\nQPixmap(path)",
        "from qtpy.QtGui import QPixmap as P\nP(str(path))",
        "from qtpy import QtGui\nQtGui.QImage(path, 'png')",
        "QMovie('a.gif')",
        "QIcon(str(path))",
        "QImageReader(path)",
    ],
)
def test_no_name_hides_what_opens_pictures(code):
    assert opened_pictures(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "from PIL import Image\nImage.fromarray(a)",
        "import tifffile\ntifffile.imwrite(p, a)",
        "from skimage.draw import polygon\npolygon(a)",
        "QPixmap()",
        "QPixmap(8, 8)",
        "QImage(data, 8, 8, 24, form)",
        "QIcon(QPixmap.fromImage(image))",
    ],
)
def test_what_makes_pictures_opens_none(code):
    assert not opened_pictures(ast.parse(code))


def test_the_door_itself_would_be_found():
    inside = [opened_pictures(read(path).tree) for path in FILES if room(path) == "images"]
    assert set().union(*inside) >= {"PIL.Image.open", "tifffile.TiffFile"}


VIEWER_FLOORS = {
    "session": 0,
    "preferences": 0,
    "widgets": 1,
    "layers": 1,
    "workers": 1,
    "io": 2,
    "controller": 3,
    "project": 4,
    "teaching": 5,
    "panels": 6,
    "images": 7,
    "actions": 8,
    "dock": 9,
    "folder": 10,
    "plugin": 11,
    "__init__": 11,
}


def rooms_named(path: Path) -> set[str]:
    """Rooms of the window that a file imports from, for types alone as well."""
    inside = path.relative_to(PACKAGE.parent).with_suffix("").parts
    named = set()
    for node in nodes(read(path).tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        start = inside[: len(inside) - node.level] if node.level else ()
        whole = (*start, *(node.module or "").split("."))
        whole = tuple(part for part in whole if part)
        if whole[:2] == ("napari_patchioner", "viewer"):
            named |= {whole[2]} if len(whole) > 2 else {alias.name for alias in node.names}
    return named & VIEWER_FLOORS.keys()


def test_the_rooms_of_the_window_have_an_order_too():
    upward = []
    for path in FILES:
        if room(path) == "viewer":
            own = path.relative_to(PACKAGE / "viewer").parts[0].removesuffix(".py")
            above = {n for n in rooms_named(path) if VIEWER_FLOORS[n] > VIEWER_FLOORS[own]}
            upward += [f"{path.name} in {own} needs {name}" for name in sorted(above)]
    assert upward == []
