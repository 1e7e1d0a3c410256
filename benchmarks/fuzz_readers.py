"""Read thousands of damaged files in every format, in little memory and time, and count what came.

``python -m benchmarks.fuzz_readers [--files 20000] [--seed 0] [--workers 1] [--keep FOLDER]``

A file of every format of the registry, and a project, is written by the package itself, then
damaged: bytes turned, cut out, doubled or cut off; values of JSON, cells of tables, attributes of
XML, members of zips and columns of Parquet replaced by odd ones. It is read in a process that may
take 1.5 GB of memory and ten seconds for each. Whatever is not read has to be refused in one
sentence that names the file.

It prints how many files were read and refused, and every traceback, kill and time-out with the
number of its file; the exit status is 1 if there was any. A number makes the same file again with
``--only NUMBER``; ``--keep`` leaves the files that failed in a folder.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import json
import logging
import random
import re
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.annotations import (
    FORMATS,
    Annotation,
    ImageInfo,
    Notes,
    Project,
    ProjectImage,
    Record,
    Seen,
    format_tidy_csv,
    read_annotations,
    read_project,
    write_annotations,
    write_project,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY = 3 * 2**29
SECONDS = 10.0
PROJECT = "project"

RING = np.array([[1.0, 2], [3, 9], [9, 7]])
HOLED = np.ones((5, 5), bool)
HOLED[1:3, 2] = False
REGIONS = (
    Box(1, 2, 3, 4),
    Polygon(RING),
    Ellipse(np.array([[0.0, 0], [0, 4], [2, 4], [2, 0]])),
    Mask(HOLED, (1, 1)),
    Point(4, 5),
    Trace(RING),
    WholeImage(),
    RegionSet((Trace(RING), Trace(RING + 1))),
    RegionSet((Box(1, 2, 3, 4), Polygon(RING)), union=True),
    RegionSet((Mask(HOLED, (2, 3)), Box(0, 0, 2, 2))),
)
NUMBERS = (0, -1, 1, 2, 0.5, 1e308, -1e308, 10**9, 2**31, 2**63, -(2**63), 10**25, 10**400)
JUNK: tuple[Any, ...] = (
    *NUMBERS,
    None,
    True,
    "",
    "x",
    "\0",
    "\ud800",
    "NaN",
    "9" * 5000,
    "(" * 500,
    [],
    {},
    [[]],
    [1],
    ["a", None],
    {"a": 1},
    [[1, 2], [3]],
    float("nan"),
    float("inf"),
)


def seeds(folder: Path) -> dict[str, bytes]:
    """Return a whole file of every format, and of a project, by a name with its ending."""
    images = {"cat.png": ImageInfo("cat.png", 48, 64)}
    extra = {"plane": "3", "class": "cat", "color": "#c80010", "locked": "true"}
    found = {}
    for form in FORMATS.values():
        path = folder / f"{form.name}{form.suffixes[0] if form.suffixes else '.zip'}"
        if form.name == "labelme":
            write_annotations(path.with_suffix(".zip"), _records(extra), images, form.name)
            found["labelme.zip"] = path.with_suffix(".zip").read_bytes()
        write_annotations(path, _records(extra), images, form.name, notes=Notes())
        found[path.name] = path.read_bytes()
    records = tuple(
        Record(f"u{n}", seen=Seen("polygon", RING + n), caption="a cat") for n in range(4)
    )
    path = folder / PROJECT
    write_project(path, Project(ProjectImage("cat.png", (48, 64), "uint8", "0" * 64), records))
    return {**found, PROJECT: path.read_bytes()}


def _records(extra: dict[str, str]) -> list[Annotation]:
    return [
        Annotation(f"u{n}", "cat.png", region, "a cat, asleep", 0.5, "model", "mini", extra)
        for n, region in enumerate(REGIONS)
    ]


def damaged(name: str, data: bytes, chance: random.Random) -> bytes:
    """Return a file damaged once or a few times, in a way that fits its kind or in any."""
    ways = [_bytes, _bytes, _numbers]
    ways += [way for ending, way in WAYS.items() if name.endswith(ending)] * 4
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        try:
            data = chance.choice(ways)(data, chance)
        except Exception:
            data = _bytes(data, chance)  # it is too damaged already for anything finer
    return data


def _bytes(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return bytes(chance.randrange(256) for _ in range(8))
    start = chance.randrange(len(data))
    end = min(len(data), start + chance.choice((1, 2, 4, 16, 256, len(data))))
    new = bytes(chance.randrange(256) for _ in range(min(end - start, 16)))
    return chance.choice(
        (
            data[:start] + new + data[start + len(new) :],
            data[:start] + data[end:],
            data[:end] + data[start:end] + data[end:],
            data[:start],
            data[:start] + chance.choice((b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff")) + data[end:],
            data[start:],
        )
    )


def _numbers(data: bytes, chance: random.Random) -> bytes:
    """Replace a number that stands there as text."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not found:
        return _bytes(data, chance)
    one = chance.choice(found)
    return data[: one.start()] + str(chance.choice(NUMBERS)).encode() + data[one.end() :]


def _json(data: bytes, chance: random.Random) -> bytes:
    value = json.loads(data)
    return json.dumps(_value(value, chance), ensure_ascii=chance.random() < 0.5).encode(
        "utf-8", "surrogatepass"
    )


def _value(value: Any, chance: random.Random) -> Any:
    """Return a JSON value with one of the values within replaced, taken away, doubled or deeper."""
    value, places = copy.deepcopy(value), []

    def walk(inner: Any) -> None:
        if isinstance(inner, dict | list):
            keys = list(inner) if isinstance(inner, dict) else range(len(inner))
            for key in keys:
                places.append((inner, key))
                walk(inner[key])

    walk(value)
    if not places:
        return chance.choice(JUNK)
    inner, key = chance.choice(places)
    how = chance.randrange(5)
    if how == 0:
        del inner[key]
    elif how == 1 and isinstance(inner, list):
        inner.extend([inner[key]] * chance.choice((1, 3, 50)))
    elif how == 2:
        inner[key] = copy.deepcopy(chance.choice(places)[0])
    elif how == 3:
        for _ in range(chance.choice((1, 5, 200))):
            inner[key] = [inner[key]]
    else:
        inner[key] = chance.choice(JUNK)
    return value


def _lines(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    place = chance.randrange(len(lines))
    lines[place] = _json(lines[place], chance)
    return b"\n".join(lines)


def _table(data: bytes, chance: random.Random) -> bytes:
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")))
    row = chance.choice(rows)
    place = chance.randrange(len(row))
    how = chance.randrange(4)
    if how == 0:
        row[place] = str(chance.choice(JUNK))
    elif how == 1:
        del row[place]
    elif how == 2:
        row.insert(
            place, chance.choice(("", "POLYGON EMPTY", "POINT (1 nan)", "RLE (0 0, 9 9, 1)"))
        )
    else:
        rows.insert(chance.randrange(len(rows)), list(row))
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=chance.choice(",,,;\t")).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _xml(data: bytes, chance: random.Random) -> bytes:
    found = list(re.finditer(rb'"[^"<>]*"', data))
    one = chance.choice(found)
    text = str(chance.choice(JUNK)).encode("utf-8", "surrogatepass").replace(b'"', b"")
    if chance.random() < 0.2:
        return data.replace(b"UTF-8", chance.choice((b"nonsense", b"utf-7", b"cp037", b"base64")))
    return data[: one.start() + 1] + text + data[one.end() - 1 :]


def _zip(data: bytes, chance: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    name = chance.choice(list(members))
    way = next((way for end, way in INNER.items() if name.endswith(end)), _bytes)
    members[name] = way(members[name], chance)
    if chance.random() < 0.2:
        odd = chance.choice(
            (".", "..", "/a.roi", "a\0.roi", "\\a.json", "__MACOSX/._a.roi", "labels/")
        )
        members[odd] = members.pop(name)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", chance.choice((0, 8, 8, 12, 14))) as archive:
        for one, inner in members.items():
            archive.writestr(one, inner)
    return buffer.getvalue()


def _parquet(data: bytes, chance: random.Random) -> bytes:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(io.BytesIO(data))
        place, count = chance.randrange(table.num_columns), table.num_rows
        junk: list[Any] = [
            arrow.array([None] * count, arrow.string()),
            arrow.array([chance.choice(("", "x", "nan", "POINT (1 1)"))] * count),
            arrow.array([b"\xff\xfe"] * count),
            arrow.array([2**62] * count),
            arrow.array([[1, 2]] * count),
            arrow.array([{"a": 1}] * count),
            arrow.array([10**17] * count, arrow.timestamp("ns")),
            arrow.array([2**62] * count, arrow.timestamp("s")),
            arrow.array([float("nan")] * count),
        ]
        how = chance.randrange(4)
        if how == 0:
            table = table.remove_column(place)
        elif how == 1:
            table = arrow.concat_tables([table] * chance.choice((2, 20)))
        else:
            table = table.set_column(place, table.column_names[place], chance.choice(junk))
        buffer = io.BytesIO()
        parquet.write_table(table, buffer)
        return buffer.getvalue()
    except (arrow.ArrowException, OSError) as error:
        raise ValueError from error


def _project(data: bytes, chance: random.Random) -> bytes:
    """Damage a record and put the checksum right, so that what is within is looked at."""
    from napari_patchioner.annotations.project.file import checksum

    damaged_ = chance.choice((_bytes, _numbers, _json))(data, chance)
    found = re.search(rb'"checksum": "([0-9a-f]{32})"', damaged_)
    if found is None:
        return damaged_
    start, end = found.span(1)
    right = checksum(damaged_[:start], damaged_[end:]).encode()
    return damaged_[:start] + right + damaged_[end:]


WAYS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    ".json": _json,
    ".geojson": _json,
    ".jsonl": _lines,
    ".csv": _table,
    ".xml": _xml,
    ".zip": _zip,
    ".parquet": _parquet,
    PROJECT: _project,
}
INNER = {".json": _json, ".jsonl": _lines}


def work(folder: Path, seed: int) -> None:
    """Read the numbers of files from standard input, and tell what came of each, a line each."""
    logging.disable()
    warnings.simplefilter("ignore")
    whole = seeds(folder)
    _limit_memory()
    print("ready", flush=True)
    for line in sys.stdin:
        path, outcome, told = attempt(whole, int(line), seed, folder)
        print(json.dumps([int(line), path.name, outcome, told]), flush=True)


def _limit_memory() -> None:
    """Let this process take so much memory; what libraries only reserve does not count."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    reserved, taken = (int(count) * resource.getpagesize() for count in pages[:2])
    most = reserved - taken + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def attempt(whole: dict[str, bytes], number: int, seed: int, folder: Path) -> tuple[Path, str, str]:
    """Damage one file and read it; return its path, what came of it, and what was told."""
    chance = random.Random(f"{seed} {number}")
    names = list(whole)
    name = names[number % len(names)]
    path = folder / f"damaged-{name}"
    path.write_bytes(damaged(name, whole[name], chance))
    try:
        if name == PROJECT:
            read_project(path)
        else:
            format_tidy_csv(read_annotations(path, notes=Notes()))
    except FormatError as error:
        told = str(error)
        one = "\n" not in told and len(told) < 1000 and ("damaged-" in told or "region" in told)
        return path, "refused" if one else "no sentence", told[:2000]
    except BaseException:
        return path, "traceback", traceback.format_exc()[-3000:]
    return path, "read", ""


class Worker:
    """A process that reads damaged files, started again when it had to be ended."""

    def __init__(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
        self._seed = seed
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "benchmarks.fuzz_readers", "--work", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, "--seed", str(self._seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the process that reads did not start")

    def ask(self, number: int) -> None:
        """Have a file read."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.number, self.since = number, time.monotonic()

    def answer(self) -> tuple[str, str, str] | None:
        """Return the file, what came of it and what was told; None as long as it is read."""
        assert self.process.stdout is not None
        if select.select([self.process.stdout], [], [], 0.0)[0]:
            line = self.process.stdout.readline()
            if line:
                _, name, outcome, told = json.loads(line)
                return name, outcome, told
            outcome = f"killed ({self.process.wait()})"
        elif time.monotonic() - self.since > SECONDS:
            outcome = "time-out"
        else:
            return None
        self.close()
        names = sorted(self.folder.glob("damaged-*"), key=lambda path: path.stat().st_mtime)
        self._start()
        return names[-1].name if names else "", outcome, ""

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work is not None:
        work(asked.work, asked.seed)
        return 0
    numbers = iter(range(asked.files) if asked.only is None else [asked.only])
    counts: Counter[str] = Counter()
    by_file: dict[str, Counter[str]] = {}
    bad = 0
    workers = [Worker(asked.seed) for _ in range(asked.workers)]
    busy: set[Worker] = set()
    try:
        for worker in workers:
            if (number := next(numbers, None)) is not None:
                worker.ask(number)
                busy.add(worker)
        while busy:
            streams = [one.process.stdout for one in busy]
            select.select(streams, [], [], 0.1)
            for worker in list(busy):
                answer = worker.answer()
                if answer is None:
                    continue
                name, outcome, told = answer
                counts[outcome] += 1
                by_file.setdefault(name.removeprefix("damaged-"), Counter())[outcome] += 1
                if outcome not in ("read", "refused"):
                    bad += 1
                    print(f"{worker.number}: {name}: {outcome}\n{told}", flush=True)
                    if asked.keep is not None:
                        asked.keep.mkdir(parents=True, exist_ok=True)
                        shutil.copy(worker.folder / name, asked.keep / f"{worker.number}-{name}")
                if (number := next(numbers, None)) is None:
                    busy.discard(worker)
                else:
                    worker.ask(number)
                done = sum(counts.values())
                if done % 2000 == 0:
                    print(f"{done} files: {dict(counts)}", file=sys.stderr, flush=True)
    finally:
        for worker in workers:
            worker.close()
            shutil.rmtree(worker.folder, ignore_errors=True)
    for name, of in sorted(by_file.items()):
        print(f"{name:28} " + ", ".join(f"{count} {what}" for what, count in of.items()))
    print(f"{counts.total()} files: {counts['read']} read, {counts['refused']} refused, {bad} bad")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
