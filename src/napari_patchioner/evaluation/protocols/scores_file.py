"""Scores on disk: one JSON file a run, and a row of a table for every variant of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations import encode_text, write_bytes
from napari_patchioner.annotations._cells import guard_extra_cell, unguard_cell
from napari_patchioner.annotations._table import format_table, read_table, write_text
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FIRST = ("run", "task", "dataset", "model", "variant", "group", "images", "samples", "silent")


def write_scores(path: Path, scores: Mapping[str, Any]) -> None:
    """Write the scores of a run, whole or not at all.

    Parameters
    ----------
    path : Path
    scores : mapping
        ``asked``, ``scores[variant][group]`` and whatever else belongs to the run.
    """
    text = json.dumps(scores, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, encode_text(f"{text}\n"))


def read_scores(path: Path) -> dict[str, Any]:
    """Read the scores of a run.

    Raises
    ------
    FormatError
        The file is missing or does not hold scores.
    """
    if os.path.exists(path):
        check_plain_file(path)
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"{path}: holds no scores ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: holds no scores ({error})") from error
    if not isinstance(scores, dict) or not isinstance(scores.get("scores"), dict):
        raise FormatError(f"{path}: holds no scores; name a folder that 'evaluate' wrote")
    return scores


def append_row(path: Path, run: str, scores: Mapping[str, Any]) -> None:
    """Add the rows of a run to a table of runs; rows of an earlier run of that name are replaced.

    Parameters
    ----------
    path : Path
        A CSV file; made where it is not there, with columns added where they are new.
        Texts that a spreadsheet would take for a formula get an apostrophe in front.
    run : str
        Name of the run.
    scores : mapping
        As for `write_scores`.

    Raises
    ------
    FormatError
        The file is there and no table of runs, or cannot be written.
    """
    before = _rows(path)
    rows = [row for row in before if row.get("run") != run] + list(_new_rows(run, scores))
    columns = list(dict.fromkeys([*FIRST, *(name for row in rows for name in row)]))
    # Names of runs, models and files are other people's, and a spreadsheet would run some.
    cells = ([guard_extra_cell(row.get(name, "")) for name in columns] for row in rows)
    write_text(path, format_table(columns, cells))


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return []
    table = read_table(path)
    table.require(("run",), "a table of runs")
    return [
        dict(zip(table.columns, map(unguard_cell, cells), strict=True)) for _, cells in table.rows
    ]


def _new_rows(run: str, scores: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    asked = scores["asked"]
    for variant, groups in scores["scores"].items():
        for group, found in groups.items():
            row = {
                "run": run,
                "task": asked["task"],
                "dataset": asked["dataset"],
                "model": asked["model"],
                "variant": variant,
                "group": group,
                "images": str(found["images"]),
                "samples": str(found["count"]),
                "silent": str(found["silent"]),
                "seconds": "" if found["seconds"] is None else f"{found['seconds']:.6g}",
            }
            for name, value in found["metrics"].items():
                row |= {name: f"{value['value']:.6g}"}
                row |= {
                    f"{name}_{end}": f"{value[end]:.6g}" for end in ("low", "high") if end in value
                }
            yield row
