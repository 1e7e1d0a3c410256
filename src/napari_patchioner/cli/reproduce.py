"""The sub-command ``reproduce``: a table of the paper beside its published numbers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import FormatError
from napari_patchioner.locking import WriteLock

from .shared import Bar, check_folder, make_folder, positive, say, split_names

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner


def add_reproduce(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``reproduce``."""
    parser.add_argument("table", metavar="TABLE", help="table1, table2, or a TOML file of your own")
    parser.add_argument("--root", required=True, type=Path, metavar="DIR", help="the data")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where results go")
    parser.add_argument("--models", metavar="ID,ID,...", help="rows of these models alone")
    parser.add_argument("--limit", type=positive, metavar="N", help="first N images of each")
    parser.add_argument("--skip-missing", action="store_true", help="leave out images not there")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> int:
    """Run a table and print it; the status is 1 if a cell stayed empty."""
    from napari_patchioner.evaluation.metrics import open_tools
    from napari_patchioner.evaluation.tables import Bench, open_table, print_table, reproduce

    table = open_table(arguments.table)
    models = split_names(arguments.models)
    known = list(dict.fromkeys(row.model for row in table.rows))
    for name in models:
        if name not in known:
            raise FormatError(
                f"--models: the table has no model {name!r}; it has {', '.join(known)}"
            )
    if not arguments.root.is_dir():
        raise FormatError(f"--root {arguments.root}: there is no such folder of data")
    tools = open_tools("", [table.metric], say)
    make_folder(arguments.out)
    check_folder(arguments.out)
    bench = Bench(arguments.root, arguments.out, arguments.limit, arguments.skip_missing, tools)
    lock = WriteLock(arguments.out)
    try:
        with Bar() as bar:
            cells = reproduce(table, bench, load, models=models, progress=bar)
    finally:
        lock.release()
    for why in dict.fromkeys(f"{cell.row}: {cell.why}" for cell in cells if cell.why):
        say(why)
    print(print_table(table, cells))
    return int(any(cell.why for cell in cells))
