"""A bank that was interrupted ends as one that was not, to the byte."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.bridges import BankWriter, MemoryBank
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

DIM = 5
FILES = ("embeddings.npy", "captions.txt", "offsets.npy", "lengths.npy", "meta.json")


def batches(sizes: list[int]):
    """Batches of texts and vectors, of which every seventh row is zeros."""
    rng, start = np.random.default_rng(3), 0
    for size in sizes:
        texts = [f"sentence {start + row} µ" for row in range(size)]
        rows = rng.normal(size=(size, DIM)).astype(np.float32)
        rows[[row for row in range(size) if not (start + row) % 7]] = 0
        start += size
        yield texts, rows


def bytes_of(folder: Path) -> dict[str, bytes]:
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    return {name: (folder / name).read_bytes() for name in FILES}


def written(part: Path, sizes: list[int], stop: int | None = None, commits: set[int] = frozenset()):
    """Write on where it stands, and stop after so many batches as a killed process does."""
    writer = BankWriter(part, settings={"texts": "a"})
    start = writer.texts
    done = 0
    for number, (texts, rows) in enumerate(batches(sizes)):
        done += len(texts)
        if done <= start:
            continue
        if number == stop:
            return writer.close()
        writer.add(texts, rows)
        if number in commits:
            writer.commit()
    writer.finish(part.with_name("bank"), {"text": "tower"})
    return bytes_of(part.with_name("bank"))


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(2, 9), min_size=1, max_size=8),
    stops=st.lists(st.integers(0, 8), max_size=3),
    commits=st.sets(st.integers(0, 8)),
    torn=st.integers(0, 30),
)
def test_however_often_it_is_stopped_the_bank_is_the_same(
    tmp_path_factory, sizes, stops, commits, torn
):
    folder = tmp_path_factory.mktemp("bank")
    whole = written(folder / "whole" / "part", sizes)
    part = folder / "again" / "part"
    for stop in stops:
        if written(part, sizes, stop, commits) is not None:
            break
        # What was not committed may be there in part; the last line of the journal, too.
        for name in ("embeddings.npy", "captions.txt", "journal.jsonl"):
            with (part / name).open("ab") as file:
                file.write(b"x" * torn)
    else:
        assert written(part, sizes, commits=commits) == whole
    shutil.rmtree(folder)


def test_what_was_committed_is_not_embedded_again(tmp_path):
    part = tmp_path / "part"
    written(part, [4, 4, 4], stop=2, commits={0})
    with BankWriter(part, settings={"texts": "a"}) as writer:
        assert writer.texts == 4


def test_other_settings_begin_anew(tmp_path):
    part = tmp_path / "part"
    written(part, [4, 4, 4], stop=2, commits={1})
    with BankWriter(part, settings={"texts": "b"}) as writer:
        assert writer.texts == 0
        writer.add(["one"], np.ones((1, DIM)))
        writer.finish(tmp_path / "bank", {})
    assert list(MemoryBank.open(tmp_path / "bank").captions) == ["one"]


@pytest.mark.parametrize("name", ["embeddings.npy", "captions.txt", "journal.jsonl"])
@pytest.mark.parametrize("harm", ["missing", "short", "scrambled"])
def test_files_that_were_harmed_begin_anew(tmp_path, name, harm):
    part = tmp_path / "part"
    written(part, [4, 4, 4, 4], stop=3, commits={2})
    path, data = part / name, (part / name).read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:20] if harm == "short" else data[::-1])
    with BankWriter(part, settings={"texts": "a"}) as writer:
        assert writer.texts == 0


def test_the_hash_is_that_of_a_bank_built_in_one_go(tmp_path):
    whole = MemoryBank.build(tmp_path / "bank", batches([3, 5]), provenance={"text": "tower"})
    assert bytes_of(tmp_path / "bank") == written(tmp_path / "other" / "part", [3, 5])
    assert json.loads((tmp_path / "bank" / "meta.json").read_text())["sha256"] == whole.hash


def test_nothing_given_is_no_bank(tmp_path):
    with (
        BankWriter(tmp_path / "part") as writer,
        pytest.raises(ModelError, match="has no captions"),
    ):
        writer.finish(tmp_path / "bank", {})
