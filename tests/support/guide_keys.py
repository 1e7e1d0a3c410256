"""The keys that the guide promises, table by table, to be pressed by tests."""

from __future__ import annotations

from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"


def guide_keys(heading: str) -> list[str]:
    """Return the first cells of the table of keys that follows a line of the guide."""
    text = GUIDE.read_text(encoding="utf-8").split("\n## Keys\n", 1)[1]
    lines = iter(text.splitlines())
    next(line for line in lines if line.startswith(heading))
    table: list[str] = []
    for line in lines:
        if line.startswith("| "):
            table.append(line.split(" | ")[0].removeprefix("| "))
        elif table and not line.startswith("|"):
            break
    return table[1:]
