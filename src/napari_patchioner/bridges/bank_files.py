"""The files of a memory bank: how they are written batch by batch, and gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import time
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ModelError

# The five files of a bank, and the one that is there while it is written.
FORMAT = "napari-patchioner memory 1"
EMBEDDINGS, CAPTIONS, OFFSETS, META = "embeddings.npy", "captions.txt", "offsets.npy", "meta.json"
LENGTHS, JOURNAL = "lengths.npy", "journal.jsonl"
NO_CAPTIONS = "The memory has no captions; give at least one with its embedding."
# As often as this, at most, the disk is waited for.
_COMMIT_S = 2.0


class BankWriter:
    """Writes the files of a bank into a folder, batch by batch.

    A process that is killed loses the last seconds at most: the same writer on the same folder,
    with the same ``settings``, goes on where it stood, and ends with the very files that it would
    have written undisturbed if the batches are cut as before. Settings that differ, or a folder
    that is damaged, begin anew. To be used in a ``with``; what is written stays on leaving.

    Attributes
    ----------
    texts : int
        How many texts were given so far, by this writer and by those before it.
    """

    def __init__(
        self,
        folder: Path,
        dtype: Literal["float16", "float32"] = "float16",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder, self._dtype = folder, np.dtype(dtype).newbyteorder("<")
        self._head = json.dumps([FORMAT, dtype, dict(settings or {})], sort_keys=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.texts, self._dim = 0, 0
        self._digest = hashlib.sha256()
        # 12 bytes for each row.
        self._ends, self._lengths = array("q", [0]), array("f")
        self._open: list[tuple[int, int, int]] = []
        self._rows_file, self._lines_file, self._journal = (
            _opened(folder / name) for name in (EMBEDDINGS, CAPTIONS, JOURNAL)
        )
        if not self._restored():
            self._begin()
        self._committed = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, texts: Sequence[str], vectors: npt.ArrayLike) -> None:
        """Write texts and their vectors, shape (k, dim); rows of zeros are left out.

        A ModelError where they do not fit together, or are not finite; nothing is written then.
        """
        rows, kept = usable_rows(texts, vectors, self._dtype)
        if not self._dim:
            self._dim = rows.shape[1]
            _write_header(self._rows_file, self._dtype, (0, self._dim))
        if rows.shape[1] != self._dim:
            raise ModelError(
                f"A chunk of the memory has vectors of length {rows.shape[1]}, "
                f"the ones before {self._dim}; embed all captions with one model."
            )
        lines = [(" ".join(text.split()) + "\n").encode() for text in kept]
        self._rows_file.write(rows.tobytes())
        self._lines_file.write(b"".join(lines))
        self._note(rows, lines)
        self.texts += len(texts)
        self._open.append((len(texts), len(rows), sum(map(len, lines))))
        if time.monotonic() - self._committed > _COMMIT_S:
            self.commit()

    def commit(self) -> None:
        """Have the disk hold all that was written, and note that it does."""
        for file in (self._rows_file, self._lines_file):
            file.flush()
            os.fsync(file.fileno())
        if self._open:
            noted = [self._dim, self._open, self._digest.hexdigest()]
            self._journal.write(json.dumps(noted).encode() + b"\n")
            self._journal.flush()
            self._open = []
        self._committed = time.monotonic()

    def finish(self, folder: Path, provenance: Mapping[str, str]) -> None:
        """Write what is left, and give the folder its name."""
        count = len(self._lengths)
        if not count:
            raise ModelError(NO_CAPTIONS)
        # The final number of rows goes into the header, which numpy pads to allow that.
        self._rows_file.seek(0)
        _write_header(self._rows_file, self._dtype, (count, self._dim))
        self._rows_file.seek(0, os.SEEK_END)
        self.commit()
        self.close()
        np.save(self._folder / OFFSETS, np.frombuffer(self._ends, np.int64))
        np.save(self._folder / LENGTHS, np.frombuffer(self._lengths, np.float32))
        meta = {"format": FORMAT, "rows": count, "dim": self._dim}
        meta |= {"sha256": self._digest.hexdigest(), "provenance": dict(provenance)}
        (self._folder / META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
        (self._folder / JOURNAL).unlink()
        self._folder.chmod(0o755)
        self._folder.rename(folder)

    def close(self) -> None:
        """Close the files; what is written stays."""
        for file in (self._rows_file, self._lines_file, self._journal):
            file.close()

    def _begin(self) -> None:
        """Start with empty files."""
        self.texts, self._dim, self._digest = 0, 0, hashlib.sha256()
        self._ends, self._lengths = array("q", [0]), array("f")
        for name in (META, OFFSETS, LENGTHS):
            (self._folder / name).unlink(missing_ok=True)
        for file in (self._journal, self._rows_file, self._lines_file):
            file.seek(0)
            file.truncate()
        self._journal.write(self._head.encode() + b"\n")
        self._journal.flush()

    def _restored(self) -> bool:
        """Go on with what a writer before this one has left; False where that cannot be."""
        try:
            noted = self._journal.read()
            head, *lines = noted[: noted.rindex(b"\n")].split(b"\n")
            if head.decode() != self._head:
                return False
            for line in lines:
                self._dim, batches, digest = json.loads(line)
                if not self._rows_file.tell():
                    _write_header(self._rows_file, self._dtype, (0, self._dim))
                for texts, count, size in batches:
                    self._replay(count, size)
                    self.texts += texts
                if self._digest.hexdigest() != digest:
                    return False
        except (OSError, ValueError, TypeError):
            return False
        for file, end in (
            (self._journal, noted.rindex(b"\n") + 1),
            (self._rows_file, self._rows_file.tell()),
            (self._lines_file, self._lines_file.tell()),
        ):
            file.seek(end)
            file.truncate()
        return True

    def _replay(self, count: int, size: int) -> None:
        """Read a batch again; ValueError where it is not all there."""
        data = self._rows_file.read(count * self._dim * self._dtype.itemsize)
        lines = self._lines_file.read(size).splitlines(keepends=True)
        rows = np.frombuffer(data, self._dtype).reshape(count, self._dim)
        if len(lines) != count or sum(map(len, lines)) != size:
            raise ValueError("lines are missing")
        self._note(rows, lines)

    def _note(self, rows: npt.NDArray[Any], lines: Sequence[bytes]) -> None:
        """Take a batch into the digest, the lengths and the ends of lines."""
        for part in (rows.tobytes(), b"".join(lines)):
            self._digest.update(part)
        with np.errstate(all="ignore"):  # what is read again is checked by its digest
            self._lengths.extend(np.linalg.norm(rows.astype(np.float32), axis=1).tolist())
        ends = np.cumsum([len(line) for line in lines], dtype=np.int64) + self._ends[-1]
        self._ends.extend(ends.tolist())


class CaptionFile(Sequence[str]):
    """Lines of a UTF-8 file, mapped into memory rather than read.

    ``offsets``, shape (n + 1,), says where each line begins, in bytes, and where the last ends.
    """

    def __init__(self, path: Path, offsets: npt.NDArray[np.int64]) -> None:
        self._bytes = np.memmap(path, np.uint8, mode="r")
        self._offsets = offsets
        fits = offsets.ndim == 1 and offsets.size > 1 and offsets[0] == 0
        if not fits or offsets[-1] != len(self._bytes) or (np.diff(offsets) < 1).any():
            raise ValueError(
                f"{path.name} is {len(self._bytes)} bytes long, which was not expected"
            )

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Read one line, or several, without the line ends."""
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        line = self._bytes[self._offsets[row] : self._offsets[row + 1] - 1]
        return line.tobytes().decode("utf-8")


def usable_rows(
    texts: Sequence[str], vectors: npt.ArrayLike, dtype: npt.DTypeLike
) -> tuple[npt.NDArray[Any], list[str]]:
    """Check embeddings, shape (n, d), against their captions and drop rows of zeros from both."""
    with np.errstate(over="ignore"):
        rows = np.asarray(vectors).astype(dtype)
    if rows.ndim != 2 or len(rows) != len(texts):
        raise ModelError(
            f"A memory of {len(texts)} captions came with embeddings of shape {rows.shape}; "
            "give one row per caption."
        )
    if not np.isfinite(rows).all():
        raise ModelError(
            f"An embedding of the memory is not finite in {rows.dtype}; "
            "check the model that made it, or store float32."
        )
    used = np.any(rows != 0, axis=1)
    return rows[used], [text for text, kept in zip(texts, used.tolist(), strict=True) if kept]


def _opened(path: Path) -> BinaryIO:
    """Open a file to be read and written, made empty where there is none."""
    path.touch()
    return path.open("rb+")


def _write_header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, int]) -> None:
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
