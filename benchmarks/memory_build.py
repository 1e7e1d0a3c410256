"""A memory of hundreds of thousands of sentences: how much memory it takes, and a killed build.

``python benchmarks/memory_build.py CAPTIONS.json [--lines N] [--folder DIR]``

Captions are varied by a program until there are N of them, each another. The memory is built by
processes of their own: once undisturbed, and once killed twice on the way and gone on with. Printed
are the largest resident size of each process above that of a build of a thousand lines, seconds,
and whether the files of both memories are the same.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LINES = 591_753  # captions of COCO's training images
WORDS = ("red", "blue", "green", "old", "small", "large", "bright", "dark", "striped", "wooden")
SWAPS = ("man", "woman", "child", "dog", "cat", "horse", "table", "street", "bus", "train")
BUILD = """
import resource, sys
from pathlib import Path
from napari_patchioner.models import load_model
from napari_patchioner.models.memories import build_memory
from napari_patchioner.texts import TextFile
bank = build_memory(Path(sys.argv[2]), [TextFile(Path(sys.argv[1]))], load_model("mini"))
print(len(bank), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def varied(captions: list[str], count: int) -> itertools.islice[str]:
    """Captions, and the same with a noun exchanged or an adjective more, each once."""

    def endless():
        yield from captions
        for word, swap in itertools.product(WORDS, SWAPS):
            for place, text in enumerate(captions):
                changed = re.sub(r"\b(man|woman|dog|cat|table|street)\b", f"{word} {swap}", text)
                yield changed if changed != text else f"{text} with a {word} {swap} {place}"

    seen: set[str] = set()
    fresh = (
        text for text in endless() if not (text.casefold() in seen or seen.add(text.casefold()))
    )
    return itertools.islice(fresh, count)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder."""
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def build(lines: Path, bank: Path, kill_after: float | None = None) -> tuple[int, float, float]:
    """Sentences, largest resident size in MB and seconds of a build, which may be killed."""
    start = time.monotonic()
    command = [sys.executable, "-c", BUILD, str(lines), str(bank)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if kill_after is not None:
        journal = bank.with_name(f".{bank.name}.part") / "journal.jsonl"
        embedded = 0
        while process.poll() is None and embedded < kill_after:
            time.sleep(0.2)
            if journal.exists():
                noted = journal.read_bytes().split(b"\n")[1:-1]
                embedded = sum(batch[0] for line in noted for batch in json.loads(line)[1])
        process.kill()
        process.communicate()
        return embedded, 0.0, time.monotonic() - start
    out, _ = process.communicate()
    rows, size = out.split()
    return int(rows), float(size), time.monotonic() - start


def main() -> None:
    """Build, kill, go on, compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("captions", type=Path)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    given = json.loads(arguments.captions.read_text(encoding="utf-8"))["annotations"]
    captions = [" ".join(item["caption"].split()) for item in given]
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    os.environ["NAPARI_PATCHIONER_HOME"] = str(folder / "home")
    try:
        for name, count in (("few", 1000), ("many", arguments.lines)):
            with (folder / f"{name}.txt").open("w", encoding="utf-8") as file:
                file.writelines(f"{text}\n" for text in varied(captions, count))
        _, small, _ = build(folder / "few.txt", folder / "few")
        many = folder / "many.txt"
        rows, size, seconds = build(many, folder / "whole")
        print(f"{rows:,} sentences, {many.stat().st_size / 1e6:.1f} MB of text")
        print(
            f"undisturbed: {seconds:.0f} s, {size:.0f} MB, {size - small:.0f} MB above 1,000 lines"
        )
        for share in (0.3, 0.7):
            done, _, _ = build(many, folder / "killed", share * rows)
            print(f"killed at {done:,}")
        _, size, seconds = build(many, folder / "killed")
        print(f"the rest: {seconds:.0f} s, {size:.0f} MB, {size - small:.0f} MB above them")
        same = digests(folder / "whole") == digests(folder / "killed")
        print(f"files are {'the same' if same else 'NOT the same'}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
