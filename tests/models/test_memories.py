"""Memories of a person's own: built, interrupted, named, refused, mixed, put into captioners."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import skimage.data
from small_gpu import SmallGpu

from napari_patchioner.bridges import MemoryBank, MemoryBridge, RetrievalBridge, ThroughText
from napari_patchioner.decoders import QuoteDecoder
from napari_patchioner.devices import CPU, Placement
from napari_patchioner.errors import Cancelled, FormatError, ModelError
from napari_patchioner.locking import WriteLock
from napari_patchioner.models import load_model
from napari_patchioner.models.memories import (
    SHIPPED,
    MemoryChoice,
    build_memory,
    memories,
    memory_card,
    memory_folder,
    memory_notes,
    move,
    open_memory,
    remove_memory,
    with_memory,
)
from napari_patchioner.regions import Box
from napari_patchioner.texts import TextFile, TextList, TextReport, unique_texts

CELLS = TextList("cells", ("a purple cell", "a red cell", "gray background", "a purple cell"))
FILES = ("embeddings.npy", "captions.txt", "offsets.npy", "lengths.npy", "meta.json")


@pytest.fixture(scope="module")
def captioner():
    return load_model("mini")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def grid(mini):
    return mini.encode(skimage.data.cat())


def named(captioner, name="cells", texts=CELLS):
    return build_memory(memory_folder(name, captioner), [texts], captioner)


def bytes_of(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def test_a_memory_knows_what_it_was_made_of(captioner):
    report = TextReport()
    bank = build_memory(memory_folder("cells", captioner), [CELLS], captioner, report=report)
    assert list(bank.captions) == list(CELLS.texts[:3])
    assert report.dropped["there already"].count == 1
    assert bank.provenance["text"] == captioner.backbone.provenance["text"]
    assert bank.provenance["sources_sha256"] == CELLS.digest()
    card = memory_card("cells")
    assert (card.models, card.rows, card.note, card.shipped) == (("mini",), 3, "cells", False)
    [(folder, rows, notes)] = memory_notes("cells")
    assert (folder, rows, notes["sha256"]) == (memory_folder("cells", captioner), 3, bank.hash)
    assert [card.name for card in memories()] == [*SHIPPED, "cells"]
    assert remove_memory("cells") == card.size > 0
    assert [card.name for card in memories()] == [*SHIPPED]


def test_a_memory_is_not_overwritten(captioner):
    bank = named(captioner)
    with pytest.raises(ModelError, match="memory cells is there already; remove it or choose"):
        named(captioner, texts=TextList("other", ("another cell",)))
    assert open_memory("cells", captioner).hash == bank.hash


def test_one_build_at_a_time(captioner):
    folder = memory_folder("cells", captioner)
    folder.parent.mkdir(parents=True)
    lock = WriteLock(folder)
    try:
        with pytest.raises(FormatError, match="memory cells: another process is writing it"):
            named(captioner)
    finally:
        lock.release()
    named(captioner)


def test_no_text_left_says_why(captioner, tmp_path):
    path = tmp_path / "empty.txt"
    path.write_text("\n12\n")
    with pytest.raises(ModelError, match=r"No text is left of \S+: 0 of 2 texts kept; 1 empty"):
        build_memory(tmp_path / "bank", [TextFile(path)], captioner)
    path.write_text("")
    with pytest.raises(ModelError, match=r"No text is left of \S*: there is nothing to read"):
        build_memory(tmp_path / "bank", [TextFile(path)], captioner)
    assert sorted(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_one_sentence(captioner, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="cannot be written"):
        build_memory(tmp_path / "file" / "bank", [CELLS], captioner)


def test_a_disk_that_is_full_leaves_what_can_be_gone_on_with(captioner, tmp_path, monkeypatch):
    texts = TextList("many", tuple(f"cell of kind {n}" for n in range(1000)))
    whole = build_memory(tmp_path / "whole", [texts], captioner)
    real, calls = os.fsync, itertools.count()

    def full(number):
        if next(calls) == 0:
            raise OSError(28, "No space left on device")
        return real(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match=r"bank: cannot be written \(No space left on device\)"):
        build_memory(tmp_path / "bank", [texts], captioner)
    assert not (tmp_path / "bank").exists()
    build_memory(tmp_path / "bank", [texts], captioner)
    assert bytes_of(tmp_path / "bank") == bytes_of(tmp_path / "whole")
    assert len(whole) == 1000


def test_a_cancelled_build_goes_on_where_it_stood(captioner, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_patchioner.bridges.bank_files._COMMIT_S", -1.0)
    texts = TextList("many", tuple(f"cell of kind {n}" for n in range(1500)))
    build_memory(tmp_path / "whole", [texts], captioner)
    embedded = []

    class Counted:
        provenance = captioner.backbone.provenance
        name = captioner.backbone.name

        def embed_text(self, batch, *, progress=None):
            if len(embedded) == 3:
                embedded.append("stop")
                raise Cancelled
            embedded.append(batch[0])
            return captioner.backbone.embed_text(batch)

    counting = replace(captioner, backbone=Counted())
    with pytest.raises(Cancelled):
        build_memory(tmp_path / "bank", [texts], counting)
    build_memory(tmp_path / "bank", [texts], counting)
    assert embedded == [f"cell of kind {n}" if n >= 0 else "stop" for n in KINDS]
    assert bytes_of(tmp_path / "bank") == bytes_of(tmp_path / "whole")


KINDS = [0, 256, 512, -1, 768, 1024, 1280]

KILLED = """
import os, sys, itertools
from napari_patchioner.bridges import bank_files
from napari_patchioner.models import load_model
from napari_patchioner.models.memories import build_memory
from napari_patchioner.texts import TextFile
from pathlib import Path
bank_files._COMMIT_S = -1.0
captioner = load_model("mini")
real, calls = captioner.backbone.embed_text, itertools.count()
def embed(texts, progress=None):
    if next(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), 9)
    return real(texts)
captioner.backbone.embed_text = embed
build_memory(Path(sys.argv[2]), [TextFile(Path(sys.argv[1]))], captioner)
print(next(calls))
"""


def test_a_killed_build_ends_as_one_that_was_not(tmp_path):
    path = tmp_path / "many.txt"
    path.write_text("\n".join(f"cell of kind {n % 1100}" for n in range(1300)))

    def build(name, killed_at):
        """Return how a process of its own ended, and how many batches it embedded."""
        command = [sys.executable, "-c", KILLED, str(path), str(tmp_path / name), str(killed_at)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.strip() or done.stderr

    assert build("whole", -1) == (0, "5")
    assert build("bank", 2) == (-9, "")
    assert (tmp_path / ".bank.part" / "journal.jsonl").is_file()
    # Of five batches two were embedded before.
    assert build("bank", -1) == (0, "3")
    assert bytes_of(tmp_path / "bank") == bytes_of(tmp_path / "whole")
    assert not (tmp_path / ".bank.part").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "con", "x" * 65, "a\nb", ".hidden", "_x "])
def test_names_that_no_folder_can_have_are_refused(captioner, name):
    with pytest.raises(ModelError, match="cannot be called"):
        memory_folder(name, captioner)


@pytest.mark.parametrize("memory", ["nothing", "./nothing", "../home"])
def test_a_memory_that_is_not_there(captioner, memory):
    with pytest.raises(ModelError, match=r"no memory|holds no memory"):
        open_memory(memory, captioner)
    with pytest.raises(ModelError, match=r"no memory|holds no memory"):
        MemoryChoice(memory).digest  # noqa: B018
    with pytest.raises(ModelError, match=r"no memory|holds no memory"):
        remove_memory(memory)


def of_other_tower(captioner):
    class Other:
        name = "other"

        def __init__(self):
            self.provenance = {"text": "another tower"}

        def embed_text(self, texts, *, progress=None):
            return np.ones((len(texts), 8), np.float32)

    return replace(captioner, backbone=Other(), name="other")


def test_a_memory_of_another_text_tower_is_refused(captioner, tmp_path):
    other = of_other_tower(captioner)
    build_memory(tmp_path / "bank", [CELLS], other)
    with pytest.raises(ModelError, match=r"does not belong to mini: it was built with another"):
        open_memory(str(tmp_path / "bank"), captioner)
    named(other)
    with pytest.raises(ModelError, match=r"built with other and not with mini; build it: napari-"):
        open_memory("cells", captioner)
    # As the message says.
    texts = TextFile(memory_folder("cells", other) / "captions.txt")
    assert list(named(captioner, texts=texts).captions) == list(CELLS.texts[:3])
    assert sorted(memory_card("cells").models) == ["mini", "other"]


def test_a_model_without_a_text_tower_takes_none(captioner):
    class Blind:
        name = "blind"

    with pytest.raises(ModelError, match="mini has no text tower, so it can take no memory"):
        named(replace(captioner, backbone=Blind()))


def test_the_embedded_model_quotes_the_memory(captioner, grid):
    named(captioner, "pets", TextList("pets", ("a tabby cat", "a sailing boat", "a red bus")))
    regions = [Box(30, 100, 250, 350)]
    made = with_memory(captioner, MemoryChoice("pets"))
    assert isinstance(made.bridge, ThroughText)
    [caption] = made.caption(grid, regions)
    assert caption.text == "a tabby cat"
    assert {text for text, _ in caption.neighbours} == {
        "a tabby cat",
        "a sailing boat",
        "a red bus",
    }
    # The captioner itself stays as it is, and what was combined is kept.
    assert captioner.caption(grid, regions)[0].text not in ("a tabby cat", "")
    assert with_memory(captioner, MemoryChoice("pets")) is made


def test_a_memory_that_was_built_anew_is_read_anew(captioner):
    named(captioner)
    made = with_memory(captioner, MemoryChoice("cells"))
    remove_memory("cells")
    named(captioner, texts=TextList("others", ("a green cell",)))
    assert with_memory(captioner, MemoryChoice("cells")) is not made


def test_weights_mix_it_with_what_the_model_has(captioner, grid):
    named(captioner, "pets", TextList("pets", ("a tabby cat",)))
    regions = [Box(30, 100, 250, 350)]
    near = {
        weight: with_memory(captioner, MemoryChoice("pets", weight)).caption(grid, regions)[0]
        for weight in (0.0, 0.5, 0.999, 1.0)
    }
    assert near[1.0].text == near[0.999].text == "a tabby cat"
    assert "a tabby cat" not in [text for text, _ in near[0.0].neighbours]
    assert len(near[0.5].neighbours) == 5 > len(near[1.0].neighbours)
    with pytest.raises(ModelError, match="lies between 0 and 1"):
        MemoryChoice("pets", 1.5)


def test_a_decoder_that_reads_memories_goes_on_reading(captioner, tmp_path):
    other = of_other_tower(captioner)
    named(other)
    bank = MemoryBank.from_arrays(["its own"], np.ones((1, 8)))
    decap = replace(other, bridge=MemoryBridge(bank, temperature=0.02, neighbours=3))
    made = with_memory(decap, MemoryChoice("cells"))
    assert isinstance(made.bridge, MemoryBridge)
    assert made.decoder is decap.decoder
    assert (made.bridge.temperature, made.bridge.neighbours) == (0.02, 3)
    assert list(made.bridge.bank.captions) == list(CELLS.texts[:3])
    assert list(decap.bridge.bank.captions) == ["its own"]
    mixed = with_memory(decap, MemoryChoice("cells", 0.5)).bridge.bank
    assert list(mixed.captions) == [*CELLS.texts[:3], "its own"]
    quoting = with_memory(decap, MemoryChoice("cells", quote=True))
    assert isinstance(quoting.bridge, RetrievalBridge)
    assert isinstance(quoting.decoder, QuoteDecoder)


def test_a_memory_goes_where_the_model_is(captioner, grid):
    named(captioner)
    choice, gpu, boxes = MemoryChoice("cells", weight=0.5), SmallGpu(), [Box(0, 0, 90, 90)]
    model = load_model("mini", engine="torch")
    model.place(gpu)
    chosen = with_memory(model, choice)
    assert (chosen.placement, chosen.bridge.then.bank.placement) == (gpu, gpu)
    there = chosen.caption(grid, boxes)
    assert gpu.counts["empty"] == 2  # the bank and the one it is mixed with
    move(model, CPU)
    assert with_memory(model, choice) is chosen
    assert (chosen.placement, chosen.bridge.then.bank.placement) == (CPU, CPU)
    assert [caption.text for caption in chosen.caption(grid, boxes)] == [c.text for c in there]
    model.place(gpu)
    assert with_memory(model, choice).bridge.then.bank.placement is gpu


def test_a_memory_leaves_the_engine_to_the_model(captioner):
    named(captioner)
    captioner = load_model("mini", engine="torch")
    captioner.placement = Placement(engine="onnxruntime")
    captioner.backbone.engine = engine = object()
    assert with_memory(captioner, MemoryChoice("cells")).backbone.engine is engine


def test_the_digest_of_a_choice_follows_what_captions_depend_on(captioner):
    named(captioner)
    first = MemoryChoice("cells").digest
    assert first == MemoryChoice("cells").digest
    others = {MemoryChoice("cells", 0.5).digest, MemoryChoice("cells", quote=True).digest}
    remove_memory("cells")
    named(captioner, texts=TextList("others", ("a green cell",)))
    assert len({first, MemoryChoice("cells").digest, *others}) == 4


def test_the_shipped_vocabularies_are_built_when_they_are_first_used(captioner):
    with pytest.raises(ModelError, match="comes with the package and is not built yet"):
        remove_memory("microscopy")
    bank = open_memory("microscopy", captioner)
    assert len(bank) >= 400
    assert memory_card("microscopy").models == ("mini",)
    assert open_memory("microscopy", captioner).hash == bank.hash


SMALL = set(re.findall(r"\w+", "a an the of with in on and to by from its their that is are at as"))


def words(text: str) -> frozenset[str]:
    """What a sentence is about: its words without endings and small words."""
    found = set(re.findall(r"[a-z]+", text.lower())) - SMALL
    return frozenset(re.sub("(ies|y|es|s|ing|ed)$", "", word) for word in found)


def test_the_sentences_of_microscopy_are_many_plain_and_different():
    path = SHIPPED["microscopy"][0]
    sentences = path.read_text(encoding="utf-8").splitlines()
    report = TextReport()
    assert list(unique_texts([TextFile(path)], report)) == sentences
    assert report.read == len(sentences) >= 400
    for text in sentences:
        assert text.isascii()
        assert text[0].isupper()
        assert text[-1].isalpha()
        assert 3 <= len(text.split()) <= 14
    known = [words(text) for text in sentences]
    alike = [
        (sentences[first], sentences[second])
        for first, second in itertools.combinations(range(len(known)), 2)
        if len(known[first] & known[second]) / len(known[first] | known[second]) > 0.65
    ]
    assert alike == []
