"""What a benchmark says: measured figures, each beside a baseline of the same run."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Row:
    """A figure, and what it is compared with.

    ``value`` and ``baseline`` are in ``unit``; ``note`` says what else has to be known.
    """

    name: str
    value: float
    unit: str = "s"
    against: str = ""
    baseline: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as good as the baseline: less time and memory, or more a second."""
        if self.baseline is None:
            return None
        gain = self.baseline / self.value
        return 1 / gain if self.unit.endswith("/s") else gain

    def as_dict(self) -> dict[str, Any]:
        """Return the row for a JSON file."""
        return {**asdict(self), "ratio": self.ratio}


def as_table(rows: Sequence[Row]) -> str:
    """Return rows as a table in Markdown."""
    lines = ["| | measured | beside it | ratio |", "| --- | --- | --- | --- |"]
    for row in rows:
        beside = "" if row.baseline is None else f"{row.against}: {_figure(row.baseline, row.unit)}"
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}x"
        name = f"{row.name} ({row.note})" if row.note else row.name
        lines.append(f"| {name} | {_figure(row.value, row.unit)} | {beside} | {ratio} |")
    return "\n".join(lines)


def _figure(value: float, unit: str) -> str:
    """Return a figure as a person reads it."""
    if unit == "s" and value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g} {unit}".rstrip()


def fastest(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the fastest of several runs, in seconds."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def in_turn(works: Iterable[Callable[[], object]], repeats: int = 3) -> list[float]:
    """Return the fastest of several runs of each, run by turns so that all see the same machine."""
    works = list(works)
    best = [float("inf")] * len(works)
    for _ in range(repeats):
        for place, work in enumerate(works):
            best[place] = min(best[place], fastest(work, 1))
    return best


def peak() -> float:
    """Return the most memory this process has held so far, in GB, mapped files included."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage tells includes what the process was forked from.
        [line] = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9
