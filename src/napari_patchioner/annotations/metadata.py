"""What a foreign file says beside regions and captions, kept so that it is written back as it was.

Every record read from a file of another program holds, in the extra `METADATA`, the entry it was
read from, word for word. The whole files are held in memory (packed) as long as there is room, so
that a file written again is the file that was read, with what changed in it and nothing else.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from napari_patchioner.regions import Mask, Point, Polygon, is_tangled, same_drawing

from .napari_shapes import shape_from_region
from .record import with_human_caption
from .texts import METADATA, annotation_from_texts, record_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
    from pathlib import Path

    from napari_patchioner.regions import Region

    from .record import Annotation

OURS = "napari_patchioner"
"""The key under which an entry of another program holds what is ours: who wrote its caption."""

# Bytes of the packed files together; the oldest go first.
_ROOM = 2**28
# Characters of what stands around an entry, if it is to travel with each.
_LONGEST_ABOUT = 4096
_GEOMETRY = ("kind", "wkt", "members")
# No extra has that name.
_WITHOUT = ""


@dataclass(frozen=True, slots=True)
class _File:
    """A file that was read or written, packed, and where entries of its forerunner went."""

    packed: bytes
    parent: str = ""
    places: Mapping[str, str] | None = None


_files: OrderedDict[str, _File] = OrderedDict()


def remember_file(data: bytes, parent: str = "", places: Mapping[str, str] | None = None) -> str:
    """Keep the bytes of a file for writing it again, and return its digest.

    Parameters
    ----------
    data : bytes
        The whole file.
    parent : str
        Digest of the file it was made from.
    places : mapping of str to str, optional
        Where the entries of the parent are in it.
    """
    digest = _digest(data)
    known = _files.pop(digest, None)
    if known is None or (parent and parent != digest):
        known = _File(zlib.compress(data, 1), parent, places)
    _files[digest] = known
    while len(_files) > 1 and sum(len(one.packed) for one in _files.values()) > _ROOM:
        _files.popitem(last=False)
    return digest


def is_file(data: bytes, files: Collection[str]) -> bool:
    """Whether these are the bytes of one of the files of these digests, or made from it."""
    return any(one in files for one in _line(_digest(data)))


def forget_files() -> None:
    """Let go of all files; records still hold the entries they were read from."""
    _files.clear()


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where a record was read, and the entry it was read from.

    Attributes
    ----------
    file : str
        Digest of the file.
    place : str
        Where the entry is in it, as its format counts.
    entry : object
        The entry as it was.
    about : mapping
        What stands around the entry: its image, its category, the fields of the file.
    """

    file: str
    place: str
    entry: Any
    about: Mapping[str, Any]


def with_metadata(
    annotation: Annotation, kind: str, file: str, place: object, entry: Any, about: Any = None
) -> Annotation:
    """Return a record with the entry it was read from.

    Parameters
    ----------
    annotation : Annotation
        The record.
    kind : str
        The format, in one word.
    file, place, entry, about
        See `Metadata`; an ``about`` that is long is left to the file itself.
    """
    told = {"format": kind, "file": file, "place": str(place), "entry": entry}
    around = json.dumps(about or {}, ensure_ascii=False)
    if about and len(around) <= _LONGEST_ABOUT:
        told["about"] = about
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
    return replace(annotation, extra={**annotation.extra, METADATA: text})


def metadata_of(annotation: Annotation, kind: str) -> Metadata | None:
    """Return what a record holds of the entry it was read from; None if of no file of the format.

    A text that somebody spoiled is none.
    """
    text = annotation.extra.get(METADATA, "")
    if not text.startswith("{"):
        return None
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if told.get("format") != kind or "entry" not in told:
        return None
    about = told.get("about")
    return Metadata(
        str(told.get("file", "")),
        str(told.get("place", "")),
        told["entry"],
        about if isinstance(about, dict) else {},
    )


def source_format(annotation: Annotation) -> str:
    """Return the name of the format a record was read from with its entry; empty for others.

    Written in that format again, the file it was read from is kept around it.
    """
    text = annotation.extra.get(METADATA, "")
    try:
        told = json.loads(text) if text.startswith("{") else {}
    except (ValueError, RecursionError):
        return ""
    return str(told.get("format", ""))


def stated_size(annotation: Annotation) -> tuple[int, int] | None:
    """Return ``(height, width)`` of its image as the file a record was read from states it."""
    found = metadata_of(annotation, source_format(annotation))
    about = found.about if found is not None else {}
    for key, names in (("image", ("height", "width")), ("fields", ("imageHeight", "imageWidth"))):
        fields = about.get(key)
        height, width = (fields.get(n) if isinstance(fields, dict) else None for n in names)
        if isinstance(height, int) and isinstance(width, int):
            return height, width
    # Label Studio says it of each result.
    results = found.entry if found is not None and isinstance(found.entry, list) else []
    for one in results:
        height, width = (
            one.get(f"original_{side}") if isinstance(one, dict) else None
            for side in ("height", "width")
        )
        if isinstance(height, int) and isinstance(width, int):
            return height, width
    return None


_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True)
class Base(Generic[_Parsed]):
    """The file that records go back into.

    Attributes
    ----------
    file : str
        Its digest.
    content : object, optional
        What it holds; None where it is no longer known, and only the entries are.
    in_place : bool
        Whether it is the file to be written over, so that all in it stays which is not of the
        records.
    records : dict of str to Annotation
        The records by the place of their entries in it.
    rest : list of Annotation
        Records that are new in it.
    data : bytes
        Its bytes, if they are still known: it may be laid out in lines.
    """

    file: str
    content: _Parsed | None
    in_place: bool
    records: dict[str, Annotation]
    rest: list[Annotation]
    data: bytes = b""


def base_of(
    annotations: Sequence[Annotation],
    kind: str,
    path: Path | None,
    parse: Callable[[bytes], _Parsed],
) -> Base[_Parsed] | None:
    """Return the file that most of the records were read from; None where there is none.

    Parameters
    ----------
    annotations : sequence of Annotation
        What is to be written.
    kind : str
        The format, in one word.
    path : Path, optional
        Where to: if a file made from theirs lies there, it is the one.
    parse : callable
        Turns the bytes of a file into what it holds.
    """
    known = [metadata_of(one, kind) for one in annotations]
    files = Counter(one.file for one in known if one is not None)
    if not files:
        return None
    file, data = files.most_common(1)[0][0], None
    there = _bytes_at(path)
    line = _line(_digest(there)) if there is not None else []
    in_place = any(one in files for one in line)
    if in_place:
        file, data = line[0], there
    elif file in _files:
        data = zlib.decompress(_files[file].packed)
    records: dict[str, Annotation] = {}
    rest = []
    for annotation, one in zip(annotations, known, strict=True):
        place = None if one is None else _place_in(file, one)
        if place is None or place in records:
            rest.append(annotation)
        else:
            records[place] = annotation
    content = None if data is None else parse(data)
    return Base(file, content, in_place, records, rest, data or b"")


def _bytes_at(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path is not None and path.is_file() else None
    except OSError:
        return None


def _line(digest: str) -> list[str]:
    """Return a file and those it was made from, the youngest first."""
    line: list[str] = [digest]
    while digest in _files and _files[digest].parent not in ("", *line):
        digest = _files[digest].parent
        line.append(digest)
    return line


def _place_in(file: str, metadata: Metadata) -> str | None:
    """Return where an entry is in a file, which may be made from the one it was read in."""
    line = _line(file)
    if metadata.file not in line:
        return None
    place: str | None = metadata.place
    for one in reversed(line[: line.index(metadata.file)]):
        places = _files[one].places or {}
        place = None if place is None else places.get(place)
    return place


def is_deleted(region: Region) -> bool:
    """Whether a region that is no longer among the records was taken out by a person.

    What napari has no shape for was never in its layers, so that its absence means nothing.
    """
    if isinstance(region, Mask | Point):
        return True
    outlines = [one for one in region.parts() if isinstance(one, Polygon)]
    # What crosses itself that often was left out in reading.
    tangled = any(is_tangled(one.vertices) for one in outlines)
    return shape_from_region(region) is not None and not tangled


def same_record(one: Annotation, other: Annotation) -> bool:
    """Whether two records say the same, wherever they came from."""
    return (
        (one.caption, one.source, one.model, one.score)
        == (other.caption, other.source, other.model, other.score)
        and not news(one, other)
        and not news(other, one)
        and same_drawing(one.region, other.region)
    )


def news(was: Annotation, now: Annotation) -> dict[str, str]:
    """Return the extras of a record that are not in another, or other there."""
    return {
        name: text
        for name, text in now.extra.items()
        if name != METADATA and text != was.extra.get(name, "")
    }


def our_texts(was: Annotation, now: Annotation) -> dict[str, str]:
    """Return what an entry of another program holds under `OURS`; nothing if nothing is new.

    Parameters
    ----------
    was : Annotation
        What the entry says without it.
    now : Annotation
        What it is to say.
    """
    bare = replace(now, extra=news(was, now))
    texts = record_texts(bare)
    gone = [name for name in was.extra if name != METADATA and not now.extra.get(name, "")]
    gone = [name for name in gone if was.extra[name]]
    if same_drawing(was.region, now.region):
        for name in _GEOMETRY:
            texts.pop(name, None)
    if now.caption == was.caption and now.source == was.source:
        for name in ("caption", "source"):
            texts.pop(name, None)
    if now.score == was.score:
        texts.pop("score", None)
    texts.pop("uid")
    if gone:
        texts[_WITHOUT] = json.dumps(gone)
    return texts


def with_our_texts(
    annotation: Annotation, texts: Mapping[str, Any], shown: Callable[[Region], Region | None]
) -> Annotation:
    """Return what an entry of another program says with what it holds under `OURS`.

    Parameters
    ----------
    annotation : Annotation
        What the entry says without it.
    texts : mapping
        What `our_texts` returned.
    shown : callable
        What the format shows of a region.

    Raises
    ------
    FormatError
        If the texts are broken.
    """
    known = {str(name): text for name, text in texts.items() if isinstance(text, str)}
    if not known:
        return annotation
    gone = _names(known.pop(_WITHOUT, ""))
    region = annotation.region
    if "wkt" in known and "kind" in known:
        exact = {name: known[name] for name in _GEOMETRY if name in known}
        region = annotation_from_texts(
            {"uid": annotation.uid, **exact},
            drawn=region,
            image=annotation.image,
            caption=None,
            shown=shown,
        ).region
    record = annotation_from_texts(
        {"kind": "image", "wkt": "POLYGON EMPTY", "caption": annotation.caption}
        | {name: text for name, text in known.items() if name not in (*_GEOMETRY, "image")}
        | {"uid": annotation.uid or "?"},
        drawn=None,
        image=annotation.image,
        caption=None,
    )
    extra = {name: text for name, text in annotation.extra.items() if name not in gone}
    score = record.score if "score" in known or record.source else annotation.score
    record = replace(
        record,
        uid=annotation.uid,
        region=region,
        score=score,
        extra={**extra, **record.extra},
    )
    return with_human_caption(record, annotation.caption)


def _names(text: str) -> Iterable[Hashable]:
    try:
        names = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return ()
    return [one for one in names if isinstance(one, str)] if isinstance(names, list) else ()
