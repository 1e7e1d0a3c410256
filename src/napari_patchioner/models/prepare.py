"""What is made once of a preset's files before its parts can read them."""

from __future__ import annotations

import gc
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import FormatError, ModelError
from napari_patchioner.limits import check_plain_file
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.texts import TextFile, TextReport, unique_texts

from .parts import open_part
from .preset import Conversion, Preset

SHIPPED = Path(__file__).parent / "sentences" / "coco_captions.txt.gz"
CAPTIONS, EMBEDDINGS = "memory_captions.json", "memory_clip_embeddings.pt"
# Rows of a memory handed on at once: 25 MB of float32 at 768 columns.
_CHUNK = 8192
# Sentences embedded between two reports of progress.
_BATCH = 256


def read_meacap_memory(folder: Path) -> Iterator[tuple[list[str], npt.NDArray[np.float32]]]:
    """Read a published memory in chunks of captions and their embeddings, shape (k, dim).

    ``folder`` holds ``memory_captions.json``, a list of texts, and ``memory_clip_embeddings.pt``,
    one tensor of shape (captions, dim).
    """
    from napari_patchioner.checkpoints import read_state

    path = folder / CAPTIONS
    if os.path.exists(path):
        check_plain_file(path, ModelError)
    try:
        captions = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is missing or damaged; get it again.") from error
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise ModelError(f"{path} must be a list of captions; get it again.")
    tensors = list(read_state(folder / EMBEDDINGS).values())
    if len(tensors) != 1 or tensors[0].ndim != 2 or len(tensors[0]) != len(captions):
        shapes = [tuple(tensor.shape) for tensor in tensors[:3]]
        raise ModelError(
            f"{folder / EMBEDDINGS} must hold one vector for each of the {len(captions)} captions "
            f"beside it but holds {shapes}; get both files again."
        )
    for first in range(0, len(captions), _CHUNK):
        rows = slice(first, first + _CHUNK)
        yield captions[rows], tensors[0][rows].float().numpy()


def prepare(
    preset: Preset, raw: Mapping[str, Path], folder: Path, progress: Progress | None = None
) -> dict[str, Path]:
    """Make what a model needs besides the files that were downloaded, and try it on."""
    from napari_patchioner.backbones.sam2 import Sam2

    from .assemble import assemble

    if missing := [role for role in preset.files if role not in raw]:
        raise ModelError(f"The model {preset.id} lacks its files {missing[0]!r}; get it again.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = type(folder)(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        workshop = _Workshop(preset, raw, beside, progress or no_progress)
        made = {}
        for workshop.place, conversion in enumerate(preset.conversions):
            made[conversion.role] = MAKERS[conversion.make].make(workshop, conversion)
        workshop.report(1.0, "putting it together")
        if preset.backbone.kind == "sam2":  # no captioner
            Sam2.open(raw)
        else:
            assemble(preset, {**raw, **made})
        # Windows renames no folder while a bank in it is still mapped into memory.
        gc.collect()
        beside.chmod(0o755)
        older = beside.with_name(f"{beside.name}-older")
        if folder.exists():
            folder.rename(older)
        beside.rename(folder)
        shutil.rmtree(older, ignore_errors=True)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return {**raw, **{role: folder / path.relative_to(beside) for role, path in made.items()}}


@dataclass
class _Workshop:
    """What the makers share; ``place`` counts the steps that were made."""

    preset: Preset
    raw: Mapping[str, Path]
    folder: Path
    progress: Progress
    place: int = field(default=0, init=False)

    def report(self, share: float, message: str) -> None:
        """Report the share of the present step as one of all steps."""
        steps = max(len(self.preset.conversions), 1)
        self.progress(min((self.place + share) / steps, 1.0), message)

    @cached_property
    def text_tower(self) -> Any:
        """The backbone, which embeds sentences where it has a text tower."""
        from napari_patchioner.backbones import TextTower

        backbone = open_part("backbone", self.preset.backbone, self.raw)
        if not isinstance(backbone, TextTower):
            raise ModelError(f"The backbone of {self.preset.id} has no text tower to embed with.")
        return backbone

    @cached_property
    def stamp(self) -> dict[str, str]:
        """The projection that the published files of this model were made behind."""
        from .assemble import check_provenance

        vouched = dict(self.preset.provenance)
        role = self.preset.backbone.files.get("projection")
        if role is None:
            return vouched
        from napari_patchioner.backbones.talk2dino import Projection

        results = {"projection": Projection.open(self.raw[role]).hash}
        check_provenance([("backbone", results, False)], vouched)
        return vouched | results

    def embedded(self, path: Path) -> Iterator[tuple[list[str], Any]]:
        """Embed the sentences of a file batch by batch."""
        source, report = TextFile(path), TextReport()
        try:
            total = sum(1 for _ in unique_texts([source], report))
            if not total:
                raise ModelError(f"{path} holds no sentence: {'; '.join(report.sentences())}.")
            texts, done = unique_texts([source]), 0
            while batch := list(itertools.islice(texts, _BATCH)):
                self.report(done / total, f"{done:,} of {total:,} sentences embedded")
                yield batch, self.text_tower.embed_text(batch)
                done += len(batch)
        except FormatError as error:
            raise ModelError(f"{error}.") from error


def _decoder(workshop: _Workshop, conversion: Conversion) -> Path:
    """Rewrite a published checkpoint as a file of this package that says its projection."""
    from napari_patchioner import decoders
    from napari_patchioner.checkpoints import read_state

    workshop.report(0.0, "converting the decoder")
    source = workshop.raw[conversion.source]
    build = getattr(decoders, f"prefix_gpt_from_{conversion.make}")
    path = workshop.folder / f"{conversion.role}.safetensors"
    build(read_state(source), source=source, **conversion.options).save(path, **workshop.stamp)
    return path


def _bank(workshop: _Workshop, conversion: Conversion) -> Path:
    """Rewrite a published HDF5 memory bank as a folder of this package."""
    from napari_patchioner.bridges import convert_hdf5

    target = workshop.folder / conversion.role
    source, options = workshop.raw[conversion.source], conversion.options
    convert_hdf5(source, target, provenance=workshop.stamp, progress=workshop.report, **options)
    return target


def _captions(workshop: _Workshop, conversion: Conversion) -> Path:
    """Rewrite a published MeaCap memory: captions and one tensor of their embeddings."""
    workshop.report(0.0, "converting the memory")
    chunks = read_meacap_memory(workshop.raw[conversion.source])
    return _build_bank(workshop, conversion, chunks, workshop.stamp)


def _sentences(workshop: _Workshop, conversion: Conversion) -> Path:
    """Embed sentences to choose from with the model's own text tower."""
    source = workshop.raw[conversion.source] if conversion.source else SHIPPED
    chunks = workshop.embedded(source)
    return _build_bank(workshop, conversion, chunks, workshop.text_tower.provenance)


def _build_bank(
    workshop: _Workshop, conversion: Conversion, chunks: Iterator[Any], stamp: Mapping[str, str]
) -> Path:
    from napari_patchioner.bridges import MemoryBank

    target = workshop.folder / conversion.role
    MemoryBank.build(target, chunks, provenance=stamp, **conversion.options)
    return target


def _entities(workshop: _Workshop, conversion: Conversion) -> Path:
    """Embed a list of entity names with the model's own text tower."""
    from napari_patchioner.bridges import EntityTable, coco_names, read_names

    source = workshop.raw.get(conversion.source)
    names = read_names(source) if source else coco_names()
    tower = workshop.text_tower
    table = EntityTable.build(names, tower.embed_text, tower.provenance, progress=workshop.report)
    return table.save(workshop.folder / f"{conversion.role}.safetensors")


class Maker(NamedTuple):
    """One way of making something."""

    make: Callable[[_Workshop, Conversion], Path]
    needs_source: bool
    options: tuple[str, ...]


MAKERS = {
    "decap": Maker(_decoder, True, ("heads",)),
    "viecap": Maker(_decoder, True, ("heads", "mapper_heads")),
    "clipcap": Maker(_decoder, True, ("heads", "mapper_heads")),
    "bank": Maker(_bank, True, ("dtype",)),
    "captions": Maker(_captions, True, ("dtype",)),
    "entities": Maker(_entities, False, ()),
    "sentences": Maker(_sentences, False, ("dtype",)),
}
