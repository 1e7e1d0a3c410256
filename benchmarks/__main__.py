"""How fast everything is, as ratios to baselines measured in the same run.

``./dev bench [PART ...] [--quick] [--threads 2] [--json FILE] [--table docs/performance.md]``

Each part runs in a process of its own, one after the other; what each measures is said at the top
of its module. ``--quick`` takes small sizes, to see that it runs; its figures mean little.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from .rows import Row, as_table

PARTS = {
    "models": "The paper's model at full size, random weights",
    "bank": "Memory banks",
    "embedded": "The embedded model",
    "coverage": "Patches under 10,000 shapes",
    "start": "Importing and loading",
    "window": "In the window",
    "folder": "Folders",
    "slide": "A slide",
    "gpu": "On a GPU",
}
BEGIN, END = "<!-- begin performance -->", "<!-- end performance -->"


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; or all")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--table", type=Path, help="put the tables into this page")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; give {', '.join(PARTS)}")
    if options.into:
        [part] = options.parts
        rows = importlib.import_module(f"benchmarks.{part}").rows(options.threads, options.quick)
        options.into.write_text(json.dumps([row.as_dict() for row in rows]), encoding="utf-8")
        return
    figures: dict[str, list[dict[str, Any]]] = {}
    failed = []
    for part in options.parts or PARTS:
        print(f"## {PARTS[part]}", flush=True)
        try:
            figures[part] = _apart(part, options)
        except subprocess.CalledProcessError:
            failed.append(part)
            continue
        if figures[part]:
            print(as_table(_rows(figures[part])), flush=True)
    told = {"machine": machine(options.threads), "quick": options.quick, "parts": figures}
    if options.json:
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if options.table:
        _write_table(options.table, told)
    if failed:
        raise SystemExit(f"These parts failed: {', '.join(failed)}.")


def _apart(part: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run a part in a process of its own, so that memory and imports are its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        into = Path(place) / "rows.json"
        command = [sys.executable, "-m", "benchmarks", part, "--into", str(into)]
        command += ["--threads", str(options.threads), *["--quick"] * options.quick]
        if part == "window" and sys.platform == "linux" and not os.environ.get("DISPLAY"):
            command = ["xvfb-run", "-a", "-s", "-screen 0 1440x960x24", *command]
        subprocess.run(command, check=True)
        rows: list[dict[str, Any]] = json.loads(into.read_text(encoding="utf-8"))
        return rows


def _rows(figures: list[dict[str, Any]]) -> list[Row]:
    return [Row(**{key: row[key] for key in row if key != "ratio"}) for row in figures]


def machine(threads: int) -> str:
    """Say what the figures were measured on."""
    import torch

    name = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text(encoding="utf-8"))
        name = found[1] if found else name
    return (
        f"{name}, {os.cpu_count()} cores, {threads} threads, {platform.system()}, Python "
        f"{platform.python_version()}, torch {torch.__version__}, {date.today()}"
    )


def _write_table(page: Path, told: dict[str, Any]) -> None:
    """Put all tables between the marks of a page."""
    tables = [f"Measured on {told['machine']}."]
    tables += [
        f"### {PARTS[part]}\n\n{as_table(_rows(rows))}"
        for part, rows in told["parts"].items()
        if rows
    ]
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    block = "\n\n".join([BEGIN, *tables, END])
    page.write_text(before + block + after, encoding="utf-8")


if __name__ == "__main__":
    main()
