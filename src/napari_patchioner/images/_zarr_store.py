"""Zarr folders for reading: plain files within the folder, whose pieces unpack to their size."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import json
import math
import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)

from napari_patchioner.errors import ImageError
from napari_patchioner.limits import check_plain_file

if TYPE_CHECKING:
    from zarr import Array
    from zarr.core.buffer import Buffer, BufferPrototype

# Files that say what is in the folder, and how large each may be.
_METADATA = frozenset(("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"))
_MOST_METADATA = 2**23
# Entries of a folder in which images are looked for.
_MOST_ENTRIES = 2**12
# Bytes of a piece, unpacked; several are held at the same time.
_MOST_PIECE = 2**29
# Pieces of one file of a sharded array.
_MOST_INNER = 2**18
# How many bytes are held at once of what is unpacked only to count it.
_COUNTED = 2**20
# Pieces that can only unpack to so many bytes are let through without a check.
_HARMLESS = 2**26
_DEFLATED = 1032

_PACKERS = frozenset(("blosc", "zstd", "gzip", "zlib", "bz2", "lz4"))
_CHECKSUMS = ("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3")
_FILTERS = frozenset(
    (*_CHECKSUMS, "delta", "fixedscaleoffset", "quantize", "bitround", "shuffle")
) | {"packbits", "astype", "transpose"}
_TYPES = ("dtype", "astype", "encode_dtype", "decode_dtype")
# The widest value that a filter makes.
_WIDEST = 16


@dataclass(frozen=True, slots=True)
class _Packing:
    """How the pieces of an array are packed, and how large they are when they are not.

    ``most`` bytes come out of a piece at most, by ``packer`` if there is one. Where a file is a
    shard, it holds ``inner`` pieces and begins or ends with their places.
    """

    most: int
    packer: str
    inner: int = 0
    index_first: bool = False

    @property
    def index_bytes(self) -> int:
        """Bytes of the places of all pieces in a shard, and of their checksum."""
        return 16 * self.inner + 4

    @property
    def stored(self) -> int:
        """Bytes of a file."""
        piece = self.most + self.most // 8 + 2**16
        return piece * self.inner + self.index_bytes if self.inner else piece


class ZarrFolder(Store):
    """A zarr folder from which nothing is read but plain files that lie within it.

    What describes the folder may be read at once, pieces only of arrays that were given to
    `admit`. Whatever is wrong with a file is raised as an ImageError that names it.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(read_only=True)
        self._root = os.path.realpath(root)
        self._packings: dict[str, _Packing] = {}
        self._sound: set[str] = set()

    def admit(self, array: Array[Any]) -> None:
        """Let pieces of an array be read, if it is a picture and packed in a known way."""
        path = os.path.join(self._root, array.path) if array.path else self._root
        self._packings[f"{array.path}/" if array.path else ""] = _packing(array, path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZarrFolder) and self._root == other._root

    def __hash__(self) -> int:
        return hash(self._root)

    def __str__(self) -> str:
        return self._root

    supports_writes = supports_deletes = False
    # Only of what lies directly in a folder; and each array speaks for itself.
    supports_listing, supports_consolidated_metadata = True, False

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the bytes of a file or of a part of it; None if there is none."""
        data = await asyncio.to_thread(self._read, key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of several files."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is a file."""
        return await asyncio.to_thread(self._find, key) is not None

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names of what lies in a folder."""
        for name in await asyncio.to_thread(self._names, prefix):
            yield name

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse."""
        raise PermissionError(f"{self._root}: is only read")

    async def delete(self, key: str) -> None:
        """Refuse."""
        raise PermissionError(f"{self._root}: is only read")

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Refuse, as there may be no end to it."""
        raise NotImplementedError
        yield prefix

    async def list(self) -> AsyncIterator[str]:
        """Refuse, as there may be no end to it."""
        raise NotImplementedError
        yield ""

    def _find(self, key: str) -> str | None:
        """Return the path of a plain file within the folder; None if there is none."""
        path = os.path.join(self._root, *key.split("/"))
        try:
            real = os.path.realpath(path)
            if os.path.isdir(real) or not os.path.lexists(real):
                return None
        except ValueError as error:
            raise ImageError(f"{self._root}: names a file {key!r} ({error})") from error
        if os.path.commonpath((self._root, real)) != self._root:
            raise ImageError(
                f"{path}: is a link to {real}, which is not in the folder; copy it there"
            )
        check_plain_file(path, ImageError)
        return path

    def _names(self, prefix: str) -> tuple[str, ...]:
        names: list[str] = []
        try:
            with os.scandir(os.path.join(self._root, *prefix.split("/"))) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if len(names) > _MOST_ENTRIES:
                        raise ImageError(
                            f"{self._root}: holds more than {_MOST_ENTRIES:,} files and folders "
                            "side by side; name the one that is an image"
                        )
        except (FileNotFoundError, NotADirectoryError):
            pass
        return tuple(names)

    def _read(self, key: str, part: ByteRequest | None) -> bytes | None:
        path = self._find(key)
        if path is None:
            return None
        if key.rpartition("/")[2] in _METADATA:
            return _read_metadata(path, part)
        prefix = max(filter(key.startswith, self._packings), key=len, default=None)
        if prefix is None:
            raise ImageError(f"{self._root}: {key!r} belongs to no array in it")
        packing = self._packings[prefix]
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size > packing.stored:
                raise ImageError(f"{path}: is larger than a piece of its array can be")
            if path not in self._sound:
                _check_pieces(path, file, size, packing)
            if packing.inner:
                self._sound.add(path)
            start, stop = _span(part, size)
            return _read_at(file, start, stop - start)


def _read_at(file: io.BufferedReader, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def _span(part: ByteRequest | None, size: int) -> tuple[int, int]:
    """Return where a part of a file of so many bytes starts and stops."""
    match part:
        case RangeByteRequest(start, stop):
            pass
        case OffsetByteRequest(start):
            stop = size
        case SuffixByteRequest(count):
            start, stop = size - count, size
        case _:
            start, stop = 0, size
    start = min(max(0, start), size)
    return start, min(max(start, stop), size)


def _read_metadata(path: str, part: ByteRequest | None) -> bytes:
    """Return what a file says of an array or group, without what it repeats of others."""
    with open(path, "rb") as file:
        data = file.read(_MOST_METADATA + 1)
    if len(data) > _MOST_METADATA:
        raise ImageError(f"{path}: is larger than {_MOST_METADATA:,} bytes, which is no image's")
    if b'"consolidated_metadata"' in data:
        about = json.loads(data)
        about.pop("consolidated_metadata", None)
        data = json.dumps(about).encode()
    return data[slice(*_span(part, len(data)))]


def _packing(array: Array[Any], path: str) -> _Packing:
    """Return how the pieces of an array are packed."""
    if np.dtype(array.dtype).kind not in "buif":
        raise ImageError(f"{path}: holds values of the type {array.dtype}, which are no pixels")
    about: dict[str, Any] = dict(array.metadata.to_dict())
    if about["zarr_format"] == 2:
        codecs = [(codec["id"], codec) for codec in about.get("filters") or ()]
        codecs += [(codec["id"], codec) for codec in [about.get("compressor")] if codec]
    else:
        codecs = _named(about["codecs"])
    size = math.prod(array.chunks) * np.dtype(array.dtype).itemsize
    if size > _MOST_PIECE:
        raise ImageError(
            f"{path}: lies in pieces of {size:,} bytes, more than {_MOST_PIECE:,}; "
            "save it in smaller ones"
        )
    shards = [about for name, about in codecs if name == "sharding_indexed"]
    if not shards:
        return _Packing(*_unpacked(path, codecs, size))
    outside = {name for name, _ in codecs if name != "sharding_indexed"}
    index = {name for name, _ in _named(shards[0].get("index_codecs", ()))}
    inner = math.prod(array.shards or (0,)) // max(1, math.prod(array.chunks))
    if len(shards) > 1 or outside - {"transpose"} or index - {"bytes", "crc32c"} or not inner:
        raise ImageError(f"{path}: its pieces are packed in packed ones; save it anew")
    if inner > _MOST_INNER:
        raise ImageError(
            f"{path}: has {inner:,} pieces in each file, more than {_MOST_INNER:,}; "
            "save it in larger pieces"
        )
    first = str(shards[0].get("index_location", "end")).endswith("start")
    most, packer = _unpacked(path, _named(shards[0]["codecs"]), size)
    return _Packing(most, packer, inner, first)


def _named(codecs: Iterable[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return codecs of zarr 3 by their names, with their settings."""
    return [
        (str(codec["name"]).removeprefix("numcodecs."), dict(codec.get("configuration") or {}))
        for codec in codecs
    ]


def _unpacked(path: str, codecs: list[tuple[str, dict[str, Any]]], size: int) -> tuple[int, str]:
    """Return to how many bytes a piece unpacks, and by what."""
    codecs = [(name, about) for name, about in codecs if name not in ("bytes", "endian")]
    # Only a checksum may come after what packs, and only at the end, where nothing is checked.
    while codecs and codecs[-1][0] == "crc32c" and codecs[-1][1].get("location") in (None, "end"):
        codecs.pop()
    packer = codecs.pop()[0] if codecs and codecs[-1][0] in _PACKERS else ""
    for name, about in codecs:
        if name not in _FILTERS:
            raise ImageError(
                f"{path}: is packed by {name!r}, which is not read here; save it anew with blosc, "
                "zstd or gzip alone"
            )
        kinds = [np.dtype(about[key]) for key in _TYPES if about.get(key) is not None]
        if any(kind.kind not in "buif" or kind.itemsize > _WIDEST for kind in kinds):
            raise ImageError(f"{path}: is filtered by way of values that are no pixels")
    wider = _WIDEST if {name for name, _ in codecs} - {"transpose", "shuffle"} else 1
    return min(size * wider, max(size, _MOST_PIECE)) + 64, packer


def _check_pieces(path: str, file: io.BufferedReader, size: int, packing: _Packing) -> None:
    """Raise an ImageError unless all pieces in a file of so many bytes unpack to their size."""
    places = [(0, size)]
    if packing.inner:
        start = 0 if packing.index_first else size - packing.index_bytes
        data = _read_at(file, max(0, start), packing.index_bytes)
        if len(data) < 16 * packing.inner:
            raise ImageError(f"{path}: is cut off")
        index = np.frombuffer(data, "<u8", 2 * packing.inner).reshape(-1, 2)
        used = index[(index != np.iinfo(np.uint64).max).any(axis=1)]
        places = np.unique(used, axis=0).tolist()
    for begin, length in places:
        if begin + length > size:
            raise ImageError(f"{path}: is cut off")

        def read(count: int, begin: int = begin, length: int = length) -> bytes:
            return _read_at(file, begin, min(count, length))

        if _unpacked_bytes(packing.packer, read, length, packing.most) > packing.most:
            raise ImageError(f"{path}: unpacks to more than its size; it is damaged")


def _unpacked_bytes(packer: str, read: Callable[[int], bytes], size: int, most: int) -> int:
    """Return to how many bytes something unpacks, without unpacking it if it says so itself."""
    if not packer:
        return 0
    if packer == "blosc":
        return int.from_bytes(read(8)[4:8], "little")
    if packer == "lz4":
        return int.from_bytes(read(4), "little")
    if packer == "zstd":
        return _zstd_bytes(read, size, most)
    if packer != "bz2" and size * _DEFLATED <= max(_HARMLESS, most):
        return 0
    if packer == "zlib":
        unpacker, left, count = zlib.decompressobj(), read(size), 0
        while left and count <= most and not unpacker.eof:
            count += len(unpacker.decompress(left, _COUNTED))
            left = unpacker.unconsumed_tail
        return count
    data, count = io.BytesIO(read(size)), 0
    with gzip.open(data) if packer == "gzip" else bz2.open(data) as file:
        while count <= most and (length := len(file.read(_COUNTED))):
            count += length
    return count


_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK = 2**17
_REPEATED, _PACKED = 1, 2
_CHECKSUM = 4


def _zstd_bytes(read: Callable[[int], bytes], size: int, most: int) -> int:
    """Return to how many bytes a frame of Zstandard unpacks (RFC 8878, section 3.1.1)."""
    head = read(18)
    if head[:4] != _ZSTD or len(head) < 6:
        raise ImageError("a piece is not packed as Zstandard; it is damaged")
    single, long = head[4] >> 5 & 1, head[4] >> 6
    at = 6 - single + (0, 1, 2, 4)[head[4] & 3]
    length = (single, 2, 4, 8)[long]
    if length:
        return int.from_bytes(head[at : at + length], "little") + 256 * (length == 2)
    # What was packed as it came does not say: each block counts for what comes out of it at most,
    # though that be less where blocks are short.
    data, count, bound = read(size), 0, max(4 * most, _HARMLESS)
    while at + 3 <= len(data) and count <= bound:
        block = int.from_bytes(data[at : at + 3], "little")
        kind, length = block >> 1 & 3, block >> 3
        count += _ZSTD_BLOCK if kind == _PACKED else length
        at += 3 + (1 if kind == _REPEATED else length)
        if block & 1:
            # A checksum may follow, but no second frame.
            return 0 if count <= bound and len(data) - at <= _CHECKSUM else most + 1
    return most + 1
