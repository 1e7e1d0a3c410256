"""Published memory banks, HDF5 files of embeddings and texts, converted to our own."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from napari_patchioner.errors import ModelError, reason
from napari_patchioner.limits import check_plain_file
from napari_patchioner.progress import Progress, no_progress

from .memory import MemoryBank

_EMBEDDINGS, _TEXT = "-embeddings", "-text"
_PREFERRED = "coco_captions"
# Rows read at once: 13 MB of float32 at 768 columns.
_CHUNK = 4096
# deflate, shuffle, fletcher32, szip, nbit, scale-offset, lzf: what comes with HDF5 and h5py.
_OWN_FILTERS = frozenset((1, 2, 3, 4, 5, 6, 32000))
# Bytes that are unpacked at once; that may come from nothing; and from one that is stored.
_MAX_PIECE, _FREE, _DENSEST = 2**28, 2**26, 1100
# Bytes of vectors, and of texts, that are read at once, and letters of the texts of one step.
_MAX_VECTORS, _MAX_TEXTS, _MAX_LETTERS = 2**28, 2**29, 2**26
# Names of what a file holds that a message lists, and how much of each.
_NAMED, _LONG = 5, 40


def convert_hdf5(
    source: str | Path,
    folder: str | Path,
    *,
    provenance: Mapping[str, str],
    dtype: Literal["float16", "float32"] = "float16",
    dim: int | None = None,
    progress: Progress | None = None,
) -> MemoryBank:
    """Convert a published bank to a `MemoryBank`, a few thousand rows at a time.

    The file holds two datasets, ``NAME-embeddings``, shape (rows, dim), and ``NAME-text``, the
    captions in UTF-8; published ones are named ``coco_captions``. Rows of zeros are left out
    together with their captions (the published code forgets the captions, which shifts every text
    after them).

    The bank goes to a ``folder`` that must not exist yet; nothing is left there if anything fails.
    ``provenance`` and ``dtype`` are as of `MemoryBank.build`; ``dim`` is the length the embeddings
    must have. ``progress`` hears how many captions are done, and may raise `Cancelled`.
    """
    source = Path(source)
    with _opened(source) as (embeddings, texts):
        if dim is not None and embeddings.shape[1] != dim:
            raise ModelError(
                f"{source} holds vectors of length {embeddings.shape[1]}, not {dim}; "
                "choose the bank of this model's text encoder."
            )
        chunks = _chunks(embeddings, texts, source, progress or no_progress)
        return MemoryBank.build(folder, chunks, provenance=provenance, dtype=dtype)


@contextmanager
def _opened(source: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file and yield its embeddings and its texts, both checked but not read."""
    import h5py

    if not os.path.exists(source):
        raise ModelError(f"{source} does not exist; get the model again.")
    check_plain_file(source, ModelError)
    if not h5py.is_hdf5(source):
        raise ModelError(f"{source} is not an HDF5 file, or not all of it came; get it again.")
    with _damage_named(source):
        file = h5py.File(source, "r")
    with file:
        with _damage_named(source):
            pair = _pair(file, source)
        yield pair


def _pair(file: Any, source: Path) -> tuple[Any, Any]:
    """Find the two datasets that belong together."""
    import h5py

    # Asked for single names, h5py would follow links, and open what they point to.
    held = sorted(map(str, file))
    names = {key.removesuffix(_EMBEDDINGS) for key in held if key.endswith(_EMBEDDINGS)}
    names &= {key.removesuffix(_TEXT) for key in held if key.endswith(_TEXT)}
    names = names & {_PREFERRED} or names
    if len(names) != 1:
        content = ", ".join(" ".join(key.split())[:_LONG] for key in held[:_NAMED]) or "nothing"
        content += f" and {len(held) - _NAMED} more" if len(held) > _NAMED else ""
        raise ModelError(
            f"{source} must hold one pair of datasets NAME{_EMBEDDINGS} and NAME{_TEXT} but holds "
            f"{content}; choose a published memory bank."
        )
    (name,) = names
    embeddings, texts = (_dataset(file, name + end, source) for end in (_EMBEDDINGS, _TEXT))
    shape = getattr(embeddings, "shape", None)
    lengths = getattr(texts, "shape", None)
    if not shape or len(shape) != 2 or not all(shape) or embeddings.dtype.kind != "f":
        raise ModelError(
            f"{source}: {name}{_EMBEDDINGS} must be rows of numbers but has shape {shape}; "
            "choose a published memory bank."
        )
    # Objects may be references as well, or lists of numbers.
    is_text = getattr(texts, "dtype", None) is not None and h5py.check_string_dtype(texts.dtype)
    if lengths != shape[:1] or not is_text:
        raise ModelError(
            f"{source}: {shape[0]} embeddings came with texts of shape {lengths}; "
            "they do not belong together: get the bank again."
        )
    return embeddings, texts


def _dataset(file: Any, name: str, source: Path) -> Any:
    """Return what lies in the file itself under a name, and is unpacked by h5py alone."""
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ModelError(f"{source}: {name} only points to another place; get the bank again.")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        return dataset
    if dataset.external or dataset.is_virtual:
        raise ModelError(f"{source}: {name} lies in other files; get the bank again.")
    layout = dataset.id.get_create_plist()
    filters = {layout.get_filter(number)[0] for number in range(layout.get_nfilters())}
    if not filters <= _OWN_FILTERS:
        # HDF5 would look for a library that does it, and run that.
        raise ModelError(f"{source}: {name} is packed in a way of its own; get the bank again.")
    piece = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    if piece > _MAX_PIECE or dataset.size * dataset.dtype.itemsize > _FREE + _DENSEST * stored:
        raise ModelError(
            f"{source}: {name} claims to hold more than there is in it; get the bank again."
        )
    return dataset


def _chunks(
    embeddings: Any, texts: Any, source: Path, progress: Progress
) -> Iterator[tuple[list[str], npt.NDArray[Any]]]:
    """Read captions and their vectors side by side."""
    import h5py

    # A text of any length lies somewhere in the file, and any number of rows may point to it.
    fixed = h5py.check_string_dtype(texts.dtype).length
    longest = fixed or max(1, os.path.getsize(source) - embeddings.id.get_storage_size())
    row = embeddings.shape[1] * embeddings.dtype.itemsize + (fixed or 0)
    if row > _MAX_VECTORS:
        raise ModelError(f"{source}: its rows are no embeddings; choose a published memory bank.")
    rows = len(embeddings)
    step = max(1, min(_CHUNK, _MAX_VECTORS // row))
    texts_step = max(1, min(_CHUNK, _MAX_TEXTS // longest))
    for first in range(0, rows, step):
        progress(first / rows, f"{first:,} of {rows:,} captions")
        last = min(first + step, rows)
        captions: list[str] = []
        with _damage_named(source):
            for start in range(first, last, texts_step):
                for text in texts[start : min(start + texts_step, last)]:
                    captions.append(text if isinstance(text, str) else text.decode("utf-8"))
                if sum(map(len, captions)) > _MAX_LETTERS:
                    raise ModelError(
                        f"{source}: its texts are no captions; choose a published memory bank."
                    )
            vectors = embeddings[first:last]
        yield captions, vectors
    progress(1.0, f"{rows:,} captions")


@contextmanager
def _damage_named(source: Path) -> Iterator[None]:
    """Turn whatever h5py raises for damaged contents, which is almost anything, to one error."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        problem = f"{source} is damaged or cut short ({reason(error)}); get it again."
        raise ModelError(problem) from error
