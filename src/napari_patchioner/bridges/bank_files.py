"""The memory bank on disk: five files in a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

FORMAT = "napari-patchioner memory 1"
EMBEDDINGS, CAPTIONS, OFFSETS, META = "embeddings.npy", "captions.txt", "offsets.npy", "meta.json"
LENGTHS = "lengths.npy"
_MAX_META = 2**22


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


@dataclass(slots=True)
class _Writer:
    """Writes embeddings and captions side by side as they come, hashing both."""

    embeddings: BinaryIO
    captions: BinaryIO
    dtype: np.dtype[Any]
    dim: int | None = None
    offsets: list[int] = field(default_factory=lambda: [0])
    lengths: list[npt.NDArray[np.float32]] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, texts: Sequence[str], vectors: npt.ArrayLike) -> None:
        """Write one chunk, leaving out rows of zeros with their captions."""
        rows, texts = usable_rows(texts, vectors, self.dtype)
        if self.dim is None:
            self.dim = rows.shape[1]
            self._write_header()
        if rows.shape[1] != self.dim:
            raise ModelError(
                f"A chunk of the memory has vectors of length {rows.shape[1]}, "
                f"the ones before {self.dim}; embed all captions with one model."
            )
        self.lengths.append(np.linalg.norm(rows.astype(np.float32), axis=1))
        lines = [(" ".join(text.split()) + "\n").encode() for text in texts]
        for part, file in ((rows.tobytes(), self.embeddings), (b"".join(lines), self.captions)):
            file.write(part)
            self.digest.update(part)
        ends = np.cumsum([len(line) for line in lines], dtype=np.int64) + self.offsets[-1]
        self.offsets.extend(ends.tolist())

    def finish(self) -> None:
        """Put the final number of rows into the header, which numpy pads to allow that."""
        if self.dim is None or len(self.offsets) == 1:
            raise ModelError("The memory has no captions; give at least one with its embedding.")
        self.embeddings.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (len(self.offsets) - 1, self.dim),
        }
        np.lib.format.write_array_header_1_0(self.embeddings, header)


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


def write_bank(
    folder: Path,
    chunks: Iterable[tuple[Sequence[str], npt.ArrayLike]],
    provenance: Mapping[str, str],
    dtype: npt.DTypeLike,
) -> None:
    """Write a bank beside ``folder`` and rename it when it is whole."""
    if folder.exists():
        raise ModelError(f"{folder} already exists; remove it or choose another name.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with (beside / EMBEDDINGS).open("wb+") as rows, (beside / CAPTIONS).open("wb") as lines:
            writer = _Writer(rows, lines, np.dtype(dtype).newbyteorder("<"))
            for texts, vectors in chunks:
                writer.add(texts, vectors)
            writer.finish()
        np.save(beside / OFFSETS, np.asarray(writer.offsets, np.int64))
        np.save(beside / LENGTHS, np.concatenate(writer.lengths))
        meta = {
            "format": FORMAT,
            "rows": len(writer.offsets) - 1,
            "dim": writer.dim,
            "sha256": writer.digest.hexdigest(),
            "provenance": dict(provenance),
        }
        (beside / META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
        beside.chmod(0o755)
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def read_bank(
    folder: Path,
) -> tuple[npt.NDArray[Any], CaptionFile, npt.NDArray[np.float32], dict[str, Any]]:
    """Map a bank into memory: embeddings, captions, lengths and metadata.

    Raises ModelError if a file is missing, cut short, or belongs to another bank.
    """
    try:
        for name in (META, EMBEDDINGS, OFFSETS, CAPTIONS, LENGTHS):
            size = check_plain_file(folder / name, ModelError)
            if name == META and size > _MAX_META:
                raise ValueError(f"{META} is {size:,} bytes long")
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        # Mapped, so that a file is as long as it claims.
        rows, offsets, lengths = (
            np.load(folder / name, mmap_mode="r", allow_pickle=False)
            for name in (EMBEDDINGS, OFFSETS, LENGTHS)
        )
        if any(array.dtype.kind not in "if" for array in (rows, offsets, lengths)):
            raise ValueError("it holds no numbers")
        captions = CaptionFile(folder / CAPTIONS, np.array(offsets))
        lengths = np.array(lengths)
        stated = (meta["format"], meta["rows"], meta["dim"])
    except ModelError:
        raise
    except Exception as error:  # headers may be damaged in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise ModelError(
            f"The memory in {folder} is damaged or incomplete ({reason}); build or copy it again."
        ) from error
    actual = (FORMAT, len(captions), rows.shape[-1])
    together = rows.ndim == 2 and len(rows) == len(captions) and lengths.shape == (len(rows),)
    if not together or stated != actual:
        raise ModelError(
            f"The files in {folder} do not belong together: {META} states {stated[1:]} rows and "
            f"columns, {EMBEDDINGS} has {rows.shape} and {CAPTIONS} {len(captions)} captions; "
            "copy the whole folder again."
        )
    return rows, captions, lengths, meta
