"""How large the package is, how its rooms depend on each other, and which words it uses.

``python benchmarks/house.py [--list KIND]``

Prints one line per figure, beside the limit it is held to. ``--list`` prints what a figure counts:
circles, upward, underscores, pieces, words.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "napari_patchioner"
NAME = PACKAGE.name

# Bottom up; a room may import from its own floor and from those below it.
FLOORS = [
    {"devices", "errors", "limits", "locking", "parts", "products", "progress", "quiet"},
    {"regions", "images", "checkpoints", "texts"},
    {"grids"},
    {"bridges", "decoders"},
    {"backbones"},
    {"captioner", "pyramid", "describers"},
    {"models", "annotations"},
    {"training", "evaluation", "batch", "grounding", "teaching"},
    {"cli", "viewer", "demo", "__main__"},
]
# Words that belong to no field; the vocabulary has one the reader knows for each of them.
BANNED = set(
    re.findall(
        r"\w+",
        "deed deeds scribe sight judging errand errands crew wish wishes pen keeper look looked "
        "looker glance crossing lights trouble troubles regret bury buried manner weighing tell "
        "tells told waiting returning calm shelf shelves desk desks",
    )
)
# Loop variables that say nothing of what they hold.
EMPTY_NAMES = {"one", "found", "there"}


@dataclass
class Module:
    """One file, parsed."""

    path: Path
    tree: ast.Module
    text: str
    imports: list[tuple[tuple[str, ...], str | None]] = field(default_factory=list)

    @property
    def parts(self) -> tuple[str, ...]:
        inner = self.path.relative_to(PACKAGE).with_suffix("").parts
        return inner[:-1] if inner[-1] == "__init__" else inner

    @property
    def room(self) -> str:
        return self.parts[0] if self.parts else "__init__"


def read(path: Path) -> Module:
    """Parse a file and resolve what it imports from this package."""
    text = path.read_text(encoding="utf-8")
    module = Module(path, ast.parse(text), text)
    package = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                dotted = alias.name.split(".")
                if dotted[0] == NAME:
                    module.imports.append((tuple(dotted[1:]), None))
        elif isinstance(node, ast.ImportFrom):
            inner = (node.module or "").split(".") if node.module else []
            if node.level:
                target = [*package[: len(package) - node.level + 1], *inner]
            elif inner and inner[0] == NAME:
                target = inner[1:]
            else:
                continue
            module.imports += [(tuple(target), alias.name) for alias in node.names]
    return module


def imported(module: Module, known: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Modules of this package that a file imports, by their parts."""
    targets = set()
    for target, name in module.imports:
        inner = (*target, name) if name else target
        targets.add(inner if inner in known else target)
    return {t for t in targets if t in known and t != module.parts}


def import_lines(tree: ast.AST) -> int:
    """Lines taken by import statements, wherever they stand."""
    found = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
    return sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in found)


def code_lines(module: Module) -> int:
    """Lines that are neither blank, comment nor docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    taken: set[int] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            taken.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = enumerate(module.text.splitlines(), start=1)
    return sum(
        1 for n, s in lines if n not in taken and s.strip() and not s.strip().startswith("#")
    )


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return groups


def upward(modules: list[Module]) -> list[str]:
    """Imports of a room on a higher floor, and rooms that stand on no floor."""
    floor = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
    lines = []
    for module in modules:
        if module.room == "__init__":
            continue
        if module.room not in floor:
            lines.append(f"{module.path.relative_to(ROOT)}: {module.room} stands on no floor")
            continue
        for target, name in module.imports:
            # ``from napari_patchioner import viewer`` imports a room, too.
            other = target[0] if target else name
            if other in floor and floor[other] > floor[module.room]:
                lines.append(f"{module.path.relative_to(ROOT)}: {module.room} imports {other}")
    return lines


def underscores(modules: list[Module], known: set[tuple[str, ...]]) -> list[str]:
    """Imports of a private module or name of a package that the file does not stand in."""
    lines = []
    for module in modules:
        own = module.path.relative_to(PACKAGE).parent.parts
        for target, name in module.imports:
            whole = (*target, name) if name else target
            home = whole if whole in known and (PACKAGE.joinpath(*whole)).is_dir() else whole[:-1]
            package = home if PACKAGE.joinpath(*home).is_dir() else home[:-1]
            hidden = any(part.startswith("_") and part != "__init__" for part in whole)
            if hidden and own[: len(package)] != package:
                lines.append(f"{module.path.relative_to(ROOT)}: {'.'.join(whole)}")
    return lines


def pieces(modules: list[Module]) -> list[str]:
    """Classes with one subclass, in another file, that nothing else names: a class in pieces."""
    home: dict[str, Module] = {}
    children: dict[str, list[tuple[str, Module]]] = defaultdict(list)
    used: Counter[str] = Counter()
    abstract: set[str] = set()
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                home[node.name] = module
                bases = {_last(base) for base in node.bases}
                for base in bases:
                    children[base].append((node.name, module))
                if bases & {"ABC", "Protocol"}:
                    abstract.add(node.name)
            elif isinstance(node, ast.Name):
                used[node.id] += 1
            elif isinstance(node, ast.Attribute):
                used[node.attr] += 1
    lines = []
    for base, heirs in sorted(children.items()):
        if base not in home or base in abstract or len(heirs) != 1 or used[base] > 1:
            continue
        name, module = heirs[0]
        if module.path != home[base].path:
            lines.append(f"{home[base].path.relative_to(ROOT)}: {base} is a piece of {name}")
    return lines


def _last(node: ast.expr) -> str:
    """The last part of a dotted or subscripted name."""
    if isinstance(node, ast.Subscript):
        return _last(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def names_defined(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Names that a file gives: functions, classes, arguments, variables, attributes."""
    fields = {
        id(item.target)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        # The fields of a record are named as its file has them.
        if id(node) in fields:
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def words_of(name: str) -> list[str]:
    """The words of an identifier, small: ``_look_atWish`` is look, at, wish."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def words(modules: list[Module]) -> list[str]:
    """Where banned words and empty loop variables are given as names."""
    lines = []
    for module in modules:
        where = module.path.relative_to(ROOT)
        lines += [
            f"{where}: {word} (module)"
            for word in words_of("_".join(module.parts))
            if word in BANNED
        ]
        for name, line in names_defined(module.tree):
            bad = BANNED.intersection(words_of(name))
            if bad or name in EMPTY_NAMES:
                lines.append(f"{where}:{line}: {name}")
    return lines


def prose(modules: list[Module]) -> int:
    """How often banned words stand in the text of all files, strings and comments included."""
    pattern = re.compile(rf"\b(?:{'|'.join(sorted(BANNED))})\b", re.IGNORECASE)
    return sum(len(pattern.findall(module.text)) for module in modules)


def named_once(modules: list[Module]) -> tuple[int, int]:
    """Private functions that are named at one place only, and all of them."""
    named: Counter[str] = Counter()
    defined: Counter[str] = Counter()
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef):
                if node.name.startswith("_") and not node.name.startswith("__"):
                    defined[node.name] += 1
            elif isinstance(node, ast.Name):
                named[node.id] += 1
            elif isinstance(node, ast.Attribute):
                named[node.attr] += 1
    single = sum(1 for name, n in defined.items() if n == 1 and named[name] <= 1)
    return single, sum(defined.values())


def private_imports_of_tests() -> int:
    """Private modules or names that tests import from the package."""
    count = 0
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(NAME):
                parts = (node.module or "").split(".")[1:]
                private = any(part.startswith("_") for part in parts)
                count += sum(private or alias.name.startswith("_") for alias in node.names)
    return count


def run(*command: str) -> str:
    """The last line a check prints, or that it was not to be had."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[-1] if lines else "clean"


def listed(modules: list[Module]) -> dict[str, list[str]]:
    """What may not be, by kind; a line for each place."""
    known = {module.parts for module in modules}
    # What the package itself looks up lazily is its public face, not a dependency.
    graph = {
        ".".join(m.parts): {".".join(other) for other in imported(m, known)} - {""}
        for m in modules
        if m.parts
    }
    return {
        "circles": [" ".join(group) for group in circles(graph)],
        "upward": upward(modules),
        "underscores": underscores(modules, known),
        "pieces": pieces(modules),
        "words": words(modules),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--list",
        dest="kind",
        choices=["circles", "upward", "underscores", "pieces", "words"],
        help="print what a figure counts",
    )
    parser.add_argument("--checks", action="store_true", help="run ruff and mypy, too")
    options = parser.parse_args()

    modules = [read(path) for path in sorted(PACKAGE.rglob("*.py"))]
    found = listed(modules)
    if options.kind:
        print(*found[options.kind], sep="\n")
        return

    total = sum(m.text.count("\n") for m in modules)
    code = sum(code_lines(m) for m in modules)
    imports = sum(import_lines(m.tree) for m in modules)
    single, private = named_once(modules)
    print(f"lines                            {total:7,}   at most 50,000")
    print(f"files                            {len(modules):7,}   at most 360")
    print(f"imports, share of code           {imports / code:7.1%}   at most 9 %")
    print(f"import circles                   {len(found['circles']):7,}   none")
    print(f"imports up a floor               {len(found['upward']):7,}   none")
    print(f"imports of another's underscore  {len(found['underscores']):7,}   at most 10")
    print(f"classes in pieces                {len(found['pieces']):7,}   none")
    print(f"names of no field                {len(found['words']):7,}   none")
    print(f"such words in all text           {prose(modules):7,}")
    print(f"private functions named once     {single / max(private, 1):7.1%}   of {private:,}")
    print(f"private imports of the tests     {private_imports_of_tests():7,}   at most 40")
    rooms: dict[str, list[Module]] = defaultdict(list)
    for module in modules:
        rooms[module.room].append(module)
    print()
    for room, members in sorted(rooms.items()):
        size = sum(m.text.count("\n") for m in members)
        print(f"  {room:14s} {size:7,} lines {len(members):4d} files")
    if options.checks:
        print(f"\nruff  {run('ruff', 'check', '.')}\nmypy  {run('mypy')}")


if __name__ == "__main__":
    main()
