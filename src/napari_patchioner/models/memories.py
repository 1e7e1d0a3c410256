"""Memories of a person's own: built from texts, kept by name, and put into a captioner.

``STORE/_memories/NAME/STAMP/`` is the bank of one text tower, a folder of `MemoryBank`; the same
texts may be there for several towers.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from napari_patchioner.backbones import TextTower
from napari_patchioner.bridges import (
    BankWriter,
    MeaCapBridge,
    MemoryBank,
    MemoryBridge,
    MixedBank,
    RetrievalBridge,
    TextSpace,
    ThroughText,
)
from napari_patchioner.bridges.bank_files import CAPTIONS, META
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import QuoteDecoder
from napari_patchioner.devices import Placeable, Placement
from napari_patchioner.errors import ModelError, os_errors, shell_command
from napari_patchioner.locking import PathTaken, WriteLock
from napari_patchioner.progress import Progress, no_progress, part
from napari_patchioner.texts import LONGEST, TextFile, TextReport, TextSource, unique_texts

from .store import store_folder

SENTENCES = Path(__file__).parent / "sentences"
PHOTOGRAPHS = "photographs"
SHIPPED: Mapping[str, tuple[Path, str]] = {
    "microscopy": (SENTENCES / "microscopy.txt", "What is seen in micrographs; BSD-3-Clause."),
    PHOTOGRAPHS: (
        SENTENCES / "coco_captions.txt.gz",
        "Captions of everyday photographs; COCO, CC BY 4.0.",
    ),
}
"""Texts that come with the package, and what a person reads of them."""

MEMORIES = "_memories"
# As the file systems of all systems have it, and as people write it.
_NAME = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)$)\w(?:[\w .()+-]{0,62}[\w)+])?", re.I)
# Sentences embedded at once: what is written is cut here, however often it is interrupted.
_BATCH = 256
_MAX_META = 2**22
_DIGITS = 12
# How long a shipped memory is waited for that another process builds.
_PATIENCE_S, _ASK_S = 900.0, 0.2


@dataclass(frozen=True, slots=True)
class MemoryCard:
    """One line of the list of memories.

    Attributes
    ----------
    name : str
        What a person calls it.
    models : tuple of str
        Ids of the models it was built with so far; those with the same text tower take it as well.
    rows : int
        How many sentences it holds; 0 where nobody knows before it is built.
    size : int
        Bytes of all its files.
    note : str
        What it was made of.
    shipped : bool
        Whether its sentences come with the package: it is built for a model when first used.
    """

    name: str
    models: tuple[str, ...] = ()
    rows: int = 0
    size: int = 0
    note: str = ""
    shipped: bool = False


@dataclass(frozen=True, slots=True)
class MemoryChoice:
    """Which memory a captioner is to have, and how.

    Attributes
    ----------
    memory : str
        The name of one in the store or of a shipped one, or the folder of any.
    weight : float
        How much it counts beside the model's own memory, 0 to 1; at 1 the other does not count.
        A model without one has the shipped captions of photographs instead.
    quote : bool
        Whether the nearest sentence is the caption, word for word, although the model has a decoder
        that reads memories.
    """

    memory: str
    weight: float = 1.0
    quote: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and 0 <= self.weight <= 1):
            raise ModelError(f"The weight of a memory lies between 0 and 1, not at {self.weight}.")
        if _is_path(self.memory):
            # Workers may have other folders at hand.
            whole = str(Path(self.memory).expanduser().absolute())
            object.__setattr__(self, "memory", whole)

    @property
    def digest(self) -> str:
        """What captions depend on: the choice, and which banks are there; a ModelError if none."""
        folders = _folders(self.memory)
        if not folders and self.memory not in SHIPPED:
            raise _unknown(self.memory)
        # What comes along is the same, built already or on first use.
        known = [] if self.memory in SHIPPED else folders
        hashes = [_meta(folder).get("sha256", "") for folder in known]
        return json.dumps([self.memory, self.weight, self.quote, *sorted(hashes)])


def memories() -> list[MemoryCard]:
    """Cards of all memories, the shipped ones first; it opens no model."""
    cards = []
    with suppress(OSError):
        names = {path.name for path in _home().iterdir() if _NAME.fullmatch(path.name)}
        for name in sorted(names - SHIPPED.keys(), key=str.casefold):
            if folders := _folders(name):
                cards.append(_card(name, folders))
    return [_card(name, _folders(name)) for name in SHIPPED] + cards


def memory_card(name: str) -> MemoryCard:
    """Return the card of a memory by its name, or of one by its folder; ModelError if none."""
    folders = _folders(name)
    if not folders and name not in SHIPPED:
        raise _unknown(name)
    return _card(name, folders)


def memory_notes(memory: str) -> list[tuple[Path, int, dict[str, str]]]:
    """Return the folders of a memory, how many sentences each holds, and its provenance."""
    metas = [(folder, _meta(folder)) for folder in _folders(memory)]
    return [
        (folder, int(meta.get("rows", 0)), {str(k): str(v) for k, v in notes.items()})
        for folder, meta in metas
        for notes in [{"sha256": meta.get("sha256", ""), **meta.get("provenance", {})}]
    ]


def check_memory_name(name: str) -> None:
    """Raise a ModelError where a memory cannot be called so."""
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"A memory cannot be called {name[:80]!r}; use up to 64 letters, digits, spaces and "
            "dashes."
        )


def memory_folder(name: str, captioner: Captioner) -> Path:
    """Return where the memory of this name lies, or is to lie, for a captioner's text tower."""
    check_memory_name(name)
    stamp = json.dumps(tower_stamp(captioner), sort_keys=True)
    return _home() / name / hashlib.sha256(stamp.encode()).hexdigest()[:_DIGITS]


def tower_stamp(captioner: Captioner) -> dict[str, str]:
    """Return what says which text tower and projection a captioner's sentences go through.

    A ModelError where it has no text tower.
    """
    backbone = captioner.backbone
    if not isinstance(backbone, TextTower):
        raise ModelError(
            f"{captioner.name} has no text tower, so it can take no memory; choose another model."
        )
    return dict(backbone.provenance) or {"backbone": backbone.name.partition("/")[0]}


def build_memory(
    folder: Path,
    sources: Iterable[TextSource],
    captioner: Captioner,
    *,
    report: TextReport | None = None,
    longest: int = LONGEST,
    provenance: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> MemoryBank:
    """Embed texts with a captioner's text tower, and write them as a memory.

    What was embedded is kept when this is cancelled, killed or out of disk: the same call goes on
    from there, and ends with the same files. The memory taken grows by 12 bytes a sentence.

    Parameters
    ----------
    folder : Path
        To be made; it must not be there yet. See `memory_folder` for those of a name.
    sources : iterable of TextSource
        Files and lists of texts.
    captioner : Captioner
        Of a model with a text tower.
    report : TextReport, optional
        Filled with what was dropped and why, before anything is embedded.
    longest : int
        Characters of the longest text that is kept.
    provenance : mapping of str to str, optional
        What else is to be known of it.
    progress : callable, optional
        Called with the fraction done and a message; may raise ``Cancelled``.

    Returns
    -------
    MemoryBank
        Its ``provenance`` names the text tower, the model and the sources with their SHA-256.

    Raises
    ------
    FormatError
        A source cannot be read, or another process builds the same memory.
    ModelError
        The folder is there, or cannot be written; the model has no text tower; no text is left.
    """
    progress, report = progress or no_progress, report if report is not None else TextReport()
    stamp, sources, tower = tower_stamp(captioner), list(sources), captioner.backbone
    assert isinstance(tower, TextTower)
    with os_errors(folder, "written", ModelError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = WriteLock(folder, f"the memory {_called(folder)}")
        try:
            if folder.exists():
                raise ModelError(
                    f"The memory {_called(folder)} is there already; remove it or choose another "
                    "name."
                )
            progress(0.0, "reading the texts")
            read = part(progress, 0.0, 0.1)
            total = sum(1 for _ in unique_texts(sources, report, longest=longest, progress=read))
            if not total:
                names = ", ".join(source.name for source in sources)
                raise ModelError(f"No text is left of {names}: {'; '.join(report.sentences())}.")
            made_of = {
                "sources": ", ".join(source.name for source in sources),
                "sources_sha256": " ".join(source.digest() for source in sources),
                "texts": f"{report.kept} of {report.read}",
                "longest": str(longest),
            }
            beside = folder.with_name(f".{folder.name}.part")
            notes = {**(provenance or {}), **made_of, "model": captioner.name, **stamp}
            with BankWriter(beside, settings=notes) as writer:
                texts = unique_texts(sources, longest=longest)
                share = part(progress, 0.1, 1.0)
                _embed(writer, texts, total, tower, share)
                writer.finish(folder, notes)
            return MemoryBank.open(folder)
        finally:
            lock.release()


def remove_memory(name: str) -> int:
    """Delete a memory from the store, for all models; return how many bytes that freed."""
    if _is_path(name) and (Path(name).expanduser() / META).is_file():
        raise ModelError(
            f"{name} is no memory of the store but a folder of yours; delete it yourself."
        )
    folders = [] if _is_path(name) else _folders(name)
    if not folders:
        if name in SHIPPED:
            raise ModelError(f"The memory {name} comes with the package and is not built yet.")
        raise _unknown(name)
    freed = sum(map(_size, folders))
    with os_errors(f"the memory {name}", "removed", ModelError):
        shutil.rmtree(_home() / name)
    return freed


def open_memory(memory: str, captioner: Captioner, progress: Progress | None = None) -> MemoryBank:
    """Open a memory by name or folder for a captioner; a shipped one is built when first asked for.

    A ModelError where there is none, or none that was built with this captioner's text tower.
    """
    stamp = tower_stamp(captioner)
    if _is_path(memory):
        folder = Path(memory).expanduser()
        if not (folder / META).is_file():
            raise _unknown(memory)
    else:
        folder = memory_folder(memory, captioner)
        if not (folder / META).is_file():
            if memory in SHIPPED:
                return _built(memory, folder, captioner, progress or no_progress)
            if not (others := _folders(memory)):
                raise _unknown(memory)
            made = ", ".join(_card(memory, others).models)
            own = ("--model", captioner.name, "--name", memory)
            raise ModelError(
                f"The memory {memory} was built with {made} and not with {captioner.name}; build "
                f"it: {shell_command('memory', 'build', others[0] / CAPTIONS, *own)}"
            )
    bank = MemoryBank.open(folder)
    _check(memory, bank, stamp, captioner.name)
    return bank


def with_memory(
    captioner: Captioner, choice: MemoryChoice, progress: Progress | None = None
) -> Captioner:
    """Return a captioner with another memory; the one given stays as it is.

    Where its decoder reads averages of a memory, or what MeaCap makes of one, that goes on with
    sentences of the chosen one. Every other model quotes the nearest sentence.
    """
    known = _with.setdefault(captioner, {})
    key = (choice, *(_written(folder) for folder in _folders(choice.memory)))
    if key not in known:
        known.clear()
        known[key] = _combined(captioner, choice, progress)
    made = known[key]
    _follow(made, captioner.placement)
    return made


def move(captioner: Captioner, placement: Placement) -> None:
    """Move a captioner and what `with_memory` made of it."""
    captioner.place(placement)
    for made in _with.get(captioner, {}).values():
        _follow(made, placement)


def _follow(made: Captioner, placement: Placement) -> None:
    """Move what is not shared with the captioner that something was made of."""
    for own in (made.bridge, made.decoder):
        if isinstance(own, Placeable):
            own.place(placement)
    made.placement = placement


_with: WeakKeyDictionary[Captioner, dict[Any, Captioner]] = WeakKeyDictionary()


def load_with_memory(
    load: Callable[[str], Captioner], choice: MemoryChoice, model: str
) -> Captioner:
    """Load a model by its id, and give it a memory; pickles, for processes and clusters."""
    return with_memory(load(model), choice)


def _combined(captioner: Captioner, choice: MemoryChoice, progress: Progress | None) -> Captioner:
    """Put a captioner with another memory together."""
    bank = open_memory(choice.memory, captioner, progress)
    origin = {**asdict(choice), "sha256": bank.hash}
    bridge = captioner.bridge
    if choice.weight < 1:
        own = getattr(bridge, "bank", None)
        if not isinstance(own, MemoryBank):
            own = open_memory(PHOTOGRAPHS, captioner, progress)
        bank = MixedBank([(bank, choice.weight), (own, 1 - choice.weight)])
    decoder, reads = captioner.decoder, (MemoryBridge, MeaCapBridge)
    if isinstance(bridge, reads) and not choice.quote:
        bridge = copy(bridge)
        bridge.bank = bank
    else:
        decoder, retrieval = QuoteDecoder(), RetrievalBridge(bank)
        bridge = ThroughText(bridge, retrieval) if isinstance(bridge, TextSpace) else retrieval
    made = replace(captioner, bridge=bridge, decoder=decoder)
    made.memory = origin
    return made


def _embed(
    writer: BankWriter, texts: Iterator[str], total: int, tower: TextTower, progress: Progress
) -> None:
    """Embed texts batch by batch, but for those that were embedded before."""
    done, start = 0, writer.texts
    for batch in _batches(texts):
        done += len(batch)
        if done <= start:
            progress(done / total, "going on from where it was stopped")
            continue
        message = f"{done:,} of {total:,} sentences"
        inner = part(progress, (done - len(batch)) / total, done / total, message)
        writer.add(batch, tower.embed_text(batch, progress=inner))


def _batches(texts: Iterator[str]) -> Iterator[Sequence[str]]:
    batch = []
    for text in texts:
        batch.append(text)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _built(name: str, folder: Path, captioner: Captioner, progress: Progress) -> MemoryBank:
    """Build a shipped memory for a captioner, or wait for the process that does."""
    path, note = SHIPPED[name]
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            sources, notes = [TextFile(path)], {"note": note}
            return build_memory(folder, sources, captioner, provenance=notes, progress=progress)
        except PathTaken:
            if time.monotonic() > until:
                raise
            progress(0.0, f"waiting for another process that builds the memory {name}")
            time.sleep(_ASK_S)
        except ModelError:
            if not (folder / META).is_file():
                raise
        if (folder / META).is_file():
            return MemoryBank.open(folder)


def _check(memory: str, bank: MemoryBank, stamp: Mapping[str, str], model: str) -> None:
    """Refuse a bank that was embedded by another text tower, or behind another projection."""
    from .assemble import describe

    for key, wanted in stamp.items():
        said = bank.provenance.get(key)
        if said != wanted:
            made = f"with {describe(str(said))}" if said else "with a text tower it does not name"
            raise ModelError(
                f"The memory {memory} does not belong to {model}: it was built {made}, not with "
                f"{describe(wanted)}; build it again with --model {model}."
            )


def _card(name: str, folders: Sequence[Path]) -> MemoryCard:
    metas = [_meta(folder) for folder in folders]
    said = [meta.get("provenance", {}) for meta in metas]
    note = SHIPPED[name][1] if name in SHIPPED else said[0].get("sources", "") if said else ""
    models = dict.fromkeys(str(notes.get("model", "another model")) for notes in said)
    rows = next((meta["rows"] for meta in metas if type(meta.get("rows")) is int), 0)
    return MemoryCard(name, tuple(models), rows, sum(map(_size, folders)), note, name in SHIPPED)


def _meta(folder: Path) -> dict[str, Any]:
    """Return what a bank says of itself; nothing where it cannot be read."""
    try:
        path = folder / META
        if path.stat().st_size > _MAX_META:
            return {}
        meta = json.loads(path.read_text(encoding="utf-8"))
        return meta if isinstance(meta, dict) and isinstance(meta["provenance"], dict) else {}
    except (OSError, ValueError, KeyError, RecursionError):
        return {}


def _folders(memory: str) -> list[Path]:
    """Return the banks of a memory by name, or the one that a path names."""
    if _is_path(memory):
        folder = Path(memory).expanduser()
        return [folder] if (folder / META).is_file() else []
    if not _NAME.fullmatch(memory):
        return []
    return sorted(path.parent for path in (_home() / memory).glob(f"[!.]*/{META}"))


def _is_path(memory: str) -> bool:
    """Whether a person names a folder; a plain name is one of the store, if there is one."""
    if "/" in memory or "\\" in memory or memory.startswith(("~", ".")):
        return True
    in_store = memory in SHIPPED or (bool(_NAME.fullmatch(memory)) and (_home() / memory).is_dir())
    return not in_store and (Path(memory) / META).is_file()


def _unknown(memory: str) -> ModelError:
    if _is_path(memory):
        return ModelError(f"{memory} holds no memory; give the folder of one, or its name.")
    known = ", ".join(card.name for card in memories())
    return ModelError(f"There is no memory {memory[:80]!r}; there are: {known}.")


def _home() -> Path:
    return store_folder() / MEMORIES


def _called(folder: Path) -> str:
    """Return what a person calls the memory in a folder."""
    return folder.parent.name if folder.parent.parent == _home() else str(folder)


def _size(folder: Path) -> int:
    with suppress(OSError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0


def _written(folder: Path) -> tuple[str, int]:
    """Return a folder and when its bank was written."""
    with suppress(OSError):
        return str(folder), (folder / META).stat().st_mtime_ns
    return str(folder), 0
