"""Vocabularies in a worker: what is kept of texts, and memories built, found and removed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from napari_patchioner.errors import ModelError
from napari_patchioner.models.memories import (
    SHIPPED,
    build_memory,
    memory_card,
    memory_folder,
    memory_notes,
    open_memory,
    remove_memory,
)
from napari_patchioner.progress import Progress
from napari_patchioner.texts import TextFile, TextReport, TextSource, unique_texts

from .models import ModelRegistry

# Texts that are shown before a vocabulary is built.
SHOWN = 200


class Preview(NamedTuple):
    """What would be kept of texts: the first of them, what was dropped and why, the columns."""

    kept: list[str]
    report: TextReport
    columns: tuple[str, ...] = ()
    column: str = ""


def preview(source: TextSource, progress: Progress) -> Preview:
    """Read texts to their end, as a build would."""
    report = TextReport()
    columns: tuple[tuple[str, ...], str] = ((), "")
    if isinstance(source, TextFile):
        columns = source.columns()
    texts = unique_texts([source], report, progress=progress)
    kept = list(islice(texts, SHOWN))
    for _ in texts:
        pass
    return Preview(kept, report, *columns)


def build(
    registry: ModelRegistry,
    model: str,
    name: str,
    sources: Sequence[TextSource],
    progress: Progress,
) -> tuple[str, str]:
    """Build a memory for a model; return its name and what came of it, in a sentence."""
    report = TextReport()
    with registry.using(model, progress) as captioner:
        folder = memory_folder(name, captioner)
        if name in SHIPPED:
            raise ModelError(f"The vocabulary {name} comes along; choose another name.")
        bank = build_memory(folder, sources, captioner, report=report, progress=progress)
    dropped = report.read - report.kept
    left = f", {dropped:,} left out" if dropped else ""
    plural = "s" * (len(bank) != 1)
    return name, f"The vocabulary {name} has {len(bank):,} sentence{plural}{left}."


def ensure(registry: ModelRegistry, model: str, name: str, progress: Progress) -> tuple[str, str]:
    """Have a memory for a model: built from the sentences that it has for another, if need be."""
    with registry.using(model, progress) as captioner:
        try:
            open_memory(name, captioner, progress)
        except ModelError:
            notes = memory_notes(name)
            folder = memory_folder(name, captioner)
            if not notes or folder.exists():
                raise
            build_memory(
                folder, [TextFile(notes[0][0] / "captions.txt")], captioner, progress=progress
            )
    return name, f"The vocabulary {name} is ready for this model."


def remove(name: str, progress: Progress) -> str:
    """Delete a memory; return what came of it."""
    progress(0.0, "removing")
    rows = memory_card(name).rows
    remove_memory(name)
    return f"The vocabulary {name} with {rows:,} sentence{'s' * (rows != 1)} is removed."
