"""Published memory banks, HDF5 files of embeddings and texts, made into our own."""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

from ._memory import MemoryBank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

_EMBEDDINGS, _TEXT = "-embeddings", "-text"
_PREFERRED = "coco_captions"
# Rows read at once: 13 MB of float32 at 768 columns.
_CHUNK = 4096
# deflate, shuffle, fletcher32, szip, nbit, scale-offset, lzf: what comes with HDF5 and h5py.
_OWN_FILTERS = frozenset((1, 2, 3, 4, 5, 6, 32000))
# Bytes that are unpacked at once; that may come from nothing; and from one that is stored.
_MOST_PIECE, _FREE, _DENSEST = 2**28, 2**26, 1100


def convert_hdf5(
    source: str | Path,
    folder: str | Path,
    *,
    provenance: Mapping[str, str],
    dtype: Literal["float16", "float32"] = "float16",
    dim: int | None = None,
    progress: Callable[[float, str], object] | None = None,
) -> MemoryBank:
    """Write a published bank as a `MemoryBank`, a few thousand rows at a time.

    The file holds two datasets, ``NAME-embeddings``, shape (rows, dim), and ``NAME-text``, the
    captions in UTF-8; published ones are named ``coco_captions``. Rows of zeros are left out
    together with their captions (the published code forgets the captions, which shifts every text
    after them).

    Parameters
    ----------
    source : path
        The HDF5 file; it is not changed.
    folder : path
        Where the bank goes; must not exist yet. Nothing is left there if anything fails.
    provenance : mapping of str to str
        What made the embeddings, such as the hash of a projection.
    dtype : {"float16", "float32"}
        Precision on disk.
    dim : int, optional
        Length the embeddings must have.
    progress : callable, optional
        Told the fraction done and how many captions that is; it may raise `Cancelled`.

    Returns
    -------
    MemoryBank

    Raises
    ------
    ModelError
        The file is not HDF5, is cut short, holds no such pair of datasets, or they do not fit
        each other or ``dim``.
    """
    source = Path(source)
    with _opened(source) as (embeddings, texts):
        if dim is not None and embeddings.shape[1] != dim:
            raise ModelError(
                f"{source} holds vectors of length {embeddings.shape[1]}, not {dim}; "
                "choose the bank of this model's text encoder."
            )
        chunks = _chunks(embeddings, texts, source, progress)
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
    try:
        file = h5py.File(source, "r")
    except OSError as error:
        raise _damaged(source, error) from error
    with file:
        yield _pair(file, source)


def _pair(file: Any, source: Path) -> tuple[Any, Any]:
    """Find the two datasets that belong together."""
    names = [str(key).removesuffix(_EMBEDDINGS) for key in file if key.endswith(_EMBEDDINGS)]
    names = [name for name in names if name + _TEXT in file]
    if _PREFERRED in names:
        names = [_PREFERRED]
    if len(names) != 1:
        found = ", ".join(sorted(map(str, file))) or "nothing"
        raise ModelError(
            f"{source} must hold one pair of datasets NAME{_EMBEDDINGS} and NAME{_TEXT} but holds "
            f"{found}; choose a published memory bank."
        )
    embeddings, texts = (_dataset(file, names[0] + end, source) for end in (_EMBEDDINGS, _TEXT))
    shape = getattr(embeddings, "shape", None)
    lengths = getattr(texts, "shape", None)
    if not shape or len(shape) != 2 or not all(shape) or embeddings.dtype.kind != "f":
        raise ModelError(
            f"{source}: {names[0]}{_EMBEDDINGS} must be rows of numbers but has shape {shape}; "
            "choose a published memory bank."
        )
    if lengths != shape[:1] or texts.dtype.kind not in "OS":
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
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        return found
    if found.external or found.is_virtual:
        raise ModelError(f"{source}: {name} lies in other files; get the bank again.")
    layout = found.id.get_create_plist()
    filters = {layout.get_filter(number)[0] for number in range(layout.get_nfilters())}
    if not filters <= _OWN_FILTERS:
        # HDF5 would look for a library that does it, and run that.
        raise ModelError(f"{source}: {name} is packed in a way of its own; get the bank again.")
    piece = math.prod(found.chunks or ()) * found.dtype.itemsize
    stored = found.id.get_storage_size()
    if piece > _MOST_PIECE or found.size * found.dtype.itemsize > _FREE + _DENSEST * stored:
        raise ModelError(
            f"{source}: {name} claims to hold more than there is in it; get the bank again."
        )
    return found


def _chunks(
    embeddings: Any, texts: Any, source: Path, progress: Callable[[float, str], object] | None
) -> Iterator[tuple[list[str], npt.NDArray[Any]]]:
    """Read captions and their vectors side by side."""
    rows = len(embeddings)
    for first in range(0, rows, _CHUNK):
        if progress is not None:
            progress(first / rows, f"{first:,} of {rows:,} captions")
        part = slice(first, first + _CHUNK)
        try:
            yield [_decoded(text) for text in texts[part]], embeddings[part]
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(source, error) from error
    if progress is not None:
        progress(1.0, f"{rows:,} captions")


def _decoded(text: bytes | str) -> str:
    return text if isinstance(text, str) else text.decode("utf-8")


def _damaged(source: Path, error: Exception) -> ModelError:
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return ModelError(f"{source} is damaged or cut short ({reason}); get it again.")
