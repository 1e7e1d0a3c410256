"""The sentences that models without a decoder of their own choose from."""

from __future__ import annotations

import gc
import gzip
import os
import shutil
import tempfile
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

from .parts import open_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .preset import Conversion, Preset

_LARGEST = 2**29
SHIPPED = Path(__file__).parent / "sentences" / "coco_captions.txt.gz"


def read_sentences(path: str | Path = SHIPPED) -> list[str]:
    """Read sentences, one per line."""
    path = Path(path)
    if os.path.exists(path) and check_plain_file(path, ModelError) > _LARGEST:
        raise ModelError(f"{path} is larger than {_LARGEST:,} bytes; split it.")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ModelError(f"{path} unpacks to more than {_LARGEST:,} bytes; split it.")
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ModelError(
            f"{path} cannot be read as text; give a UTF-8 file with one sentence per line."
        ) from error
    sentences = list(dict.fromkeys(" ".join(line.split()) for line in text.splitlines()))
    sentences = [sentence for sentence in sentences if sentence]
    if not sentences:
        raise ModelError(f"{path} holds no sentence; write one per line.")
    return sentences


if TYPE_CHECKING:
    from napari_patchioner.progress import Progress

# Sentences embedded between two reports of progress.
_BATCH = 256


def prepare(
    preset: Preset,
    raw: Mapping[str, Path],
    folder: Path,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Make what a model needs besides the files that were downloaded, and try it on."""
    from .assemble import assemble

    if missing := [role for role in preset.files if role not in raw]:
        raise ModelError(f"The model {preset.id} lacks its files {missing[0]!r}; get it again.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = type(folder)(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        workshop = _Workshop(preset, raw, progress)
        made: dict[str, Path] = {}
        for place, conversion in enumerate(preset.conversions):
            workshop.place = place
            made[conversion.role] = MAKERS[conversion.make].make(workshop, conversion, beside)
        workshop.report(1.0, "putting it together")
        assemble(preset, {**raw, **made})
        # Windows renames no folder while a bank in it is still mapped into memory.
        gc.collect()
        beside.chmod(0o755)
        names = {role: path.relative_to(beside) for role, path in made.items()}
        _take_the_place_of(folder, beside)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return {**raw, **{role: folder / name for role, name in names.items()}}


@dataclass
class _Workshop:
    """What the makers share."""

    preset: Preset
    raw: Mapping[str, Path]
    progress: Progress | None
    place: int = 0
    _backbone: Any = field(default=None, repr=False)

    def report(self, share: float, message: str) -> None:
        """Report the share of the present step as one of all steps."""
        if self.progress is not None:
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
        from napari_patchioner.backbones.projection import Projection

        results = {"projection": Projection.open(self.raw[role]).hash}
        check_provenance([("backbone", results, False)], vouched)
        return vouched | results

    def embedded(self, sentences: list[str]) -> Iterator[tuple[list[str], Any]]:
        """Embed sentences batch by batch."""
        for first in range(0, len(sentences), _BATCH):
            self.report(
                first / len(sentences), f"{first:,} of {len(sentences):,} sentences embedded"
            )
            batch = sentences[first : first + _BATCH]
            yield batch, self.text_tower.embed_text(batch)


def _decoder(workshop: _Workshop, conversion: Conversion, folder: Path) -> Path:
    """Rewrite a published checkpoint as a file of this package that says its projection."""
    from napari_patchioner import decoders
    from napari_patchioner.checkpoints import read_state

    workshop.report(0.0, "converting the decoder")
    source = workshop.raw[conversion.source]
    build = getattr(decoders, f"prefix_gpt_from_{conversion.make}")
    path = folder / f"{conversion.role}.safetensors"
    build(read_state(source), source=source, **conversion.options).save(path, **workshop.stamp)
    return path


def _bank(workshop: _Workshop, conversion: Conversion, folder: Path) -> Path:
    """Rewrite a published HDF5 memory bank as a folder of this package."""
    from napari_patchioner.bridges import convert_hdf5

    target = folder / conversion.role
    convert_hdf5(
        workshop.raw[conversion.source],
        target,
        provenance=workshop.stamp,
        progress=workshop.report,
        **conversion.options,
    )
    return target


def _captions(workshop: _Workshop, conversion: Conversion, folder: Path) -> Path:
    """Rewrite a published MeaCap memory: captions and one tensor of their embeddings."""
    from napari_patchioner.bridges import MemoryBank

    from .parts import read_meacap_memory

    workshop.report(0.0, "converting the memory")
    target = folder / conversion.role
    chunks = read_meacap_memory(workshop.raw[conversion.source])
    MemoryBank.build(target, chunks, provenance=workshop.stamp, **conversion.options)
    return target


def _entities(workshop: _Workshop, conversion: Conversion, folder: Path) -> Path:
    """Embed a list of entity names with the model's own text tower."""
    from napari_patchioner.bridges import EntityTable, coco_names, read_names

    source = workshop.raw.get(conversion.source)
    names = read_names(source) if source else coco_names()
    tower = workshop.text_tower
    table = EntityTable.build(
        names, tower.embed_text, tower.provenance, progress=workshop.report, **conversion.options
    )
    return table.save(folder / f"{conversion.role}.safetensors")


def _sentences(workshop: _Workshop, conversion: Conversion, folder: Path) -> Path:
    """Embed sentences to choose from with the model's own text tower."""
    from napari_patchioner.bridges import MemoryBank

    source = workshop.raw[conversion.source] if conversion.source else SHIPPED
    target = folder / conversion.role
    MemoryBank.build(
        target,
        workshop.embedded(read_sentences(source)),
        provenance=workshop.text_tower.provenance,
        **conversion.options,
    )
    return target


class Maker(NamedTuple):
    """One way of making something."""

    make: Callable[[_Workshop, Conversion, Path], Path]
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


def _take_the_place_of(folder: Path, beside: Path) -> None:
    """Rename a finished folder to its name, putting an older one out of the way first."""
    if not folder.exists():
        beside.rename(folder)
        return
    older = beside.with_name(f"{beside.name}-older")
    folder.rename(older)
    beside.rename(folder)
    shutil.rmtree(older, ignore_errors=True)
