"""What a person waits for in the window; see `latency` and `stall`, which print more."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import latency
from .rows import Row


def rows(threads: int, quick: bool) -> list[Row]:
    """Measure the start, captions of drawn boxes, and changes among thousands of shapes."""
    at_once = _at_once()
    results = latency.measure(boxes=10 if quick else 100, shapes=500 if quick else 5000)
    return list(_rows({**results, "start to ready, at once": at_once}))


def _at_once() -> dict[str, Any]:
    """Press *Start* as soon as there is a button, in a process that has loaded nothing yet."""
    with tempfile.TemporaryDirectory() as place:
        into = Path(place) / "at_once.json"
        options = ["--look", "0", "--boxes", "0", "--shapes", "0", "--json", str(into)]
        subprocess.run([sys.executable, "benchmarks/latency.py", *options], check=True)
        told: dict[str, Any] = json.loads(into.read_text(encoding="utf-8"))
    started: dict[str, Any] = told["start to ready"]
    return started


def _rows(results: dict[str, Any], before: str = "") -> Iterator[Row]:
    for name, value in results.items():
        if not isinstance(value, dict):
            continue
        if "wall" not in value:
            yield from _rows(value, f"{name}: ")
            continue
        clock, own, ours, asked = (value[name] for name in ("wall", "own", "ours", "asked"))
        note = (
            f"worst {clock['worst']:.0f} ms; the window's own thread {own['median']:.0f} ms, of "
            f"it ours {ours['median']:.0f} ms, napari in calls of ours {asked['median']:.0f} ms"
        )
        yield Row(f"{before}{name}", clock["median"] / 1000, note=note)
