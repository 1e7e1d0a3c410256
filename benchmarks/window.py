"""What a person waits for in the window; see `latency` and `stall`, which print more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import latency
from .rows import Row


def rows(threads: int, quick: bool) -> list[Row]:
    """Measure the start, captions of drawn boxes, and changes among thousands of shapes."""
    results = latency.measure(boxes=10 if quick else 100, shapes=500 if quick else 5000)
    return list(_rows(results))


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
