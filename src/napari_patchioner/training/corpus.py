"""Texts to learn from: read once, some held out, embedded; all on disk, so any number will do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from itertools import islice
from pathlib import Path
from typing import Any

from napari_patchioner.annotations.files import reading_file
from napari_patchioner.annotations.table import read_table, unguard_cell
from napari_patchioner.bridges import MemoryBank
from napari_patchioner.bridges.bank_files import BankWriter
from napari_patchioner.errors import FormatError, ModelError, counted, os_errors
from napari_patchioner.progress import Progress, no_progress, part
from napari_patchioner.texts import TextReport, TextSource, unique_texts

from .towers import Tower

TRAINING, HELD_OUT = "training", "held-out"
NEITHER = (
    "is neither COCO captions (.json) nor a table (.csv, .tsv) with the columns image and caption"
)
"""What is wrong with a file that is to say what is on images, in words."""
_REPORT, _REQUEST = "texts.json", "request.json"
# Texts embedded at once, between two reports of progress.
_BATCH = 256
# The share of time that reading takes before embedding.
_READING = 0.1


@dataclass(frozen=True, slots=True)
class Split:
    """How many texts are held out: a ``share``, ``most`` at most, chosen by the ``seed``."""

    share: float = 0.05
    most: int = 2000
    seed: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Corpus:
    """Texts with their embeddings: those to learn from, and those held out.

    ``notes`` say what was dropped and why.
    """

    training: MemoryBank
    held_out: MemoryBank
    notes: tuple[str, ...]

    @property
    def digest(self) -> str:
        """A hash of both parts."""
        return sha256(f"{self.training.hash} {self.held_out.hash}".encode()).hexdigest()


def claim(folder: str | Path, request: Mapping[str, Any]) -> None:
    """Note in a folder what is made there, or make sure that it is the same as before.

    A ModelError that names the first thing that differs.
    """
    path = Path(folder) / _REQUEST
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = json.loads(json.dumps(dict(request)))
    if not path.is_file():
        write_beside(path, json.dumps(wanted, indent=1))
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        other = next((key for key in wanted if before.get(key) != wanted[key]), None)
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} is damaged; start the training afresh.") from error
    if other is not None:
        inner = before.get(other), wanted[other]
        if other == "held out" and all(isinstance(item, dict) for item in inner):
            other = next(name for name in wanted[other] if inner[0].get(name) != inner[1][name])
            other = other if other == "seed" else f"{other} held out"
        raise ModelError(
            f"{folder} holds an interrupted training with other {other}; go on with the same, "
            "start afresh (--fresh), or choose another name."
        )


def read_caption_table(path: Path) -> list[tuple[str, str]]:
    """Read a table with the columns ``image`` and ``caption``; a FormatError where it is none."""
    try:
        with reading_file(path):
            table = read_table(path)
    except FormatError as error:
        if path.suffix.lower() in (".csv", ".tsv"):
            raise
        raise FormatError(f"{path}: {NEITHER}") from error
    names = [name.lower() for name in table.columns]
    if not {"image", "caption"} <= set(names):
        raise FormatError(f"{path}: {NEITHER}")
    image, caption = names.index("image"), names.index("caption")
    return [(unguard_cell(row[image]), unguard_cell(row[caption])) for _, row in table.rows]


def read_corpus(
    sources: Sequence[TextSource],
    tower: Tower,
    folder: str | Path,
    *,
    held_out: Sequence[TextSource] = (),
    split: Split | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Read texts, hold some out and embed them; interrupted, it goes on when it is called again.

    No more than a few hundred texts are in memory at any time.

    Parameters
    ----------
    sources : sequence of TextSource
        What to learn from; cleaned, each text once.
    tower : Tower
        What embeds them.
    folder : path
        Gets the texts and two memory banks, ``training`` and ``held-out``.
    held_out : sequence of TextSource
        What to hold out, where it is separate; texts that are in both are held out.
    split : Split, optional
        How much to hold out otherwise. A text is held out or not by its own hash and the seed,
        whatever stands around it.
    progress : callable, optional
        Called with the fraction done; may raise ``Cancelled``.

    Raises
    ------
    FormatError
        A source cannot be read, or too little is left of it.
    """
    folder, progress = Path(folder), progress or no_progress
    split = split or Split()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / _REPORT).is_file():
        _write_texts(sources, held_out, split, folder, part(progress, 0, _READING))
    counts, notes = _read_report(folder)
    banks, done = {}, 0
    for name in (TRAINING, HELD_OUT):
        span = (done, done + counts[name])
        start, stop = (_READING + (1 - _READING) * count / sum(counts.values()) for count in span)
        banks[name] = _bank(folder, name, counts[name], tower, part(progress, start, stop))
        done = span[1]
    return Corpus(banks[TRAINING], banks[HELD_OUT], tuple(notes))


def _bank(folder: Path, name: str, count: int, tower: Tower, progress: Progress) -> MemoryBank:
    """Embed the texts of one part, or open what is there."""
    target = folder / name
    if target.exists():
        return MemoryBank.open(target)

    beside = folder / f"{name}.part"
    with BankWriter(beside, settings=tower.provenance) as writer:
        texts = islice(_lines(folder / f"{name}.txt"), writer.texts, None)
        while batch := list(islice(texts, _BATCH)):
            progress(writer.texts / count, f"{writer.texts:,} of {count:,} texts embedded")
            writer.add(batch, tower.embed(batch))
        writer.finish(target, tower.provenance)
    return MemoryBank.open(target)


def _write_texts(
    sources: Sequence[TextSource],
    held_out: Sequence[TextSource],
    split: Split,
    folder: Path,
    progress: Progress,
) -> None:
    """Write the texts of both parts, one per line, and what was dropped."""
    report = TextReport()
    apart = {_key(text): text for text in unique_texts(held_out)} if held_out else {}
    everything = folder / "texts.txt"
    texts = unique_texts(sources, report, progress=progress)
    count = _write_lines(everything, (text for text in texts if _key(text) not in apart))
    share = 0.0 if apart else min(split.share, split.most / max(count, 1))
    counts = {
        TRAINING: _write_lines(
            folder / f"{TRAINING}.txt",
            (text for text in _lines(everything) if _lot(text, split.seed) >= share),
        ),
        HELD_OUT: _write_lines(
            folder / f"{HELD_OUT}.txt",
            apart.values()
            if apart
            else (text for text in _lines(everything) if _lot(text, split.seed) < share),
        ),
    }
    everything.unlink()
    for name, number in counts.items():
        if not number:
            what = "to learn from" if name == TRAINING else "to hold out"
            raise FormatError(
                f"nothing is left {what} of {counted(count, 'text')} "
                f"({'; '.join(report.sentences())}); give more texts"
            )
    notes = report.sentences()
    content = {"counts": counts, "notes": notes}
    write_beside(folder / _REPORT, json.dumps(content, indent=1, ensure_ascii=False))


def _read_report(folder: Path) -> tuple[dict[str, int], list[str]]:
    """Read how many texts each part has, and what was dropped."""
    try:
        content = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
        counts = {name: int(content["counts"][name]) for name in (TRAINING, HELD_OUT)}
        return counts, [str(note) for note in content["notes"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / _REPORT} is damaged; start the training afresh.") from error


def _lot(text: str, seed: int) -> float:
    """Draw a number from 0 to 1 for a text, the same one whenever it is asked for."""
    digest = blake2b(f"{seed} {_key(text)}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _key(text: str) -> str:
    return text.casefold()


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a file that was written here."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.removesuffix("\n")


def _write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write lines to a file beside the old one, and return how many there are."""
    beside, count = path.with_name(f".{path.name}.part"), 0
    with os_errors(path, "written"):
        with beside.open("w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(f"{line}\n")
                count += 1
        beside.replace(path)
    return count


def write_beside(path: Path, text: str) -> None:
    """Write a text to a file, whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with os_errors(path, "written"):
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
