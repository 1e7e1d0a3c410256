"""What a foreign file says beside regions and captions, kept so that it is written back as it was.

Every record read from a file of another program holds, in the extra `METADATA`, the entry it was
read from, word for word. The whole files are held in memory (packed) as long as there is room, so
that a file written again is the file that was read, with what changed in it and nothing else.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Polygon, Region, is_tangled, same_drawing

from .napari_shapes import shape_from_region
from .record import Annotation, with_human_caption
from .texts import METADATA, annotation_from_texts, record_texts

OURS = "napari_patchioner"
"""The key under which an entry of another program holds what is ours: who wrote its caption."""

# Bytes of the packed files together; the oldest go first.
_MOST_BYTES = 2**28
# Characters of what stands around an entry, if it is to travel with each.
_LONGEST_ABOUT = 4096
_GEOMETRY = ("kind", "wkt", "members")
# The name of the list of extras that are gone: no extra has it.
_WITHOUT = ""


@dataclass(frozen=True, slots=True)
class _File:
    """A file that was read or written, packed, and where entries of its forerunner went."""

    packed: bytes
    parent: str = ""
    places: Mapping[str, str] | None = None


_files: OrderedDict[str, _File] = OrderedDict()


def remember_file(data: bytes, parent: str = "", places: Mapping[str, str] | None = None) -> str:
    """Keep the bytes of a file, and where entries of its parent went; return its digest."""
    digest = _digest(data)
    known = _files.pop(digest, None)
    if known is None or (parent and parent != digest):
        known = _File(zlib.compress(data, 1), parent, places)
    _files[digest] = known
    while len(_files) > 1 and sum(len(file.packed) for file in _files.values()) > _MOST_BYTES:
        _files.popitem(last=False)
    return digest


def is_file(data: bytes, files: Collection[str]) -> bool:
    """Whether these are the bytes of one of the files of these digests, or made from it."""
    return not set(files).isdisjoint(_ancestors(_digest(data)))


def are_of(path: Path, annotations: Sequence[Annotation]) -> bool:
    """Whether a file is the one that records were read from, each of them from another entry."""
    known = [_fields_of(annotation) for annotation in annotations]
    read = [(fields["file"], fields["place"]) for fields in known if fields]
    try:
        data = path.read_bytes() if read and path.is_file() else b""
    except OSError:
        return False
    return len(set(read)) == len(read) and is_file(data, {file for file, _ in read})


def forget_files() -> None:
    """Let go of all files; records still hold the entries they were read from."""
    _files.clear()


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Metadata:
    """Where a record was read (digest of the file, place as its format counts) and from what.

    ``about`` is what stands around the entry: its image, its category, the fields of the file.
    """

    file: str
    place: str
    entry: Any
    about: Mapping[str, Any]


def with_metadata(
    annotation: Annotation, kind: str, file: str, place: object, entry: Any, about: Any = None
) -> Annotation:
    """Return a record with the entry it was read from, see `Metadata`, and no long ``about``."""
    fields = {"format": kind, "file": file, "place": str(place), "entry": entry}
    if about and len(json.dumps(about, ensure_ascii=False)) <= _LONGEST_ABOUT:
        fields["about"] = about
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return replace(annotation, extra={**annotation.extra, METADATA: text})


def _fields_of(annotation: Annotation) -> dict[str, Any]:
    """Return what `with_metadata` wrote; nothing of a text that somebody spoiled."""
    text = annotation.extra.get(METADATA, "")
    if not text.startswith("{"):
        return {}
    try:
        return dict(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def metadata_of(annotation: Annotation, kind: str) -> Metadata | None:
    """Return the entry a record was read from; None if it is of no file of the format."""
    fields = _fields_of(annotation)
    if fields.get("format") != kind or "entry" not in fields:
        return None
    about = fields.get("about")
    return Metadata(
        str(fields.get("file", "")),
        str(fields.get("place", "")),
        fields["entry"],
        about if isinstance(about, dict) else {},
    )


def source_format(annotation: Annotation) -> str:
    """Return the name of the format a record was read from with its entry; empty for others.

    Written in that format again, the file it was read from is kept around it.
    """
    return str(_fields_of(annotation).get("format", ""))


def stated_size(annotation: Annotation) -> tuple[int, int] | None:
    """Return ``(height, width)`` of its image as the file a record was read from states it."""
    metadata = metadata_of(annotation, source_format(annotation))
    if metadata is None:
        return None
    # Label Studio says it of each result, COCO of runs of pixels, too.
    entry = metadata.entry
    results = entry if isinstance(entry, list) else []
    runs = entry.get("segmentation") if isinstance(entry, dict) else None
    sides = runs.get("size") if isinstance(runs, dict) else None
    stated = [
        (metadata.about.get("image"), ("height", "width")),
        (metadata.about.get("fields"), ("imageHeight", "imageWidth")),
        *((result, ("original_height", "original_width")) for result in results),
        (dict(enumerate(sides)) if isinstance(sides, list) else None, (0, 1)),
    ]
    for fields, names in stated:
        height, width = (fields.get(n) if isinstance(fields, dict) else None for n in names)
        if isinstance(height, int) and isinstance(width, int):
            return height, width
    return None


_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True)
class Base(Generic[_Parsed]):
    """The file that records go back into.

    ``content`` is what it holds; None where it is no longer known, and only the entries are.
    ``in_place`` says that it is the file to be written over, so that all in it stays which is not
    of the records; ``records`` are by the place of their entries, ``rest`` is new in it; ``data``
    are its bytes, if they are still known: it may be laid out in lines.
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
    """Return the file of a format that most of the records were read from; None if there is none.

    The file at ``path``, where to they are written, if it was made from theirs; ``parse`` turns
    the bytes of a file into what it holds.
    """
    known = [metadata_of(annotation, kind) for annotation in annotations]
    files = Counter(metadata.file for metadata in known if metadata is not None)
    if not files:
        return None
    file, data = files.most_common(1)[0][0], None
    try:
        replaced = path.read_bytes() if path is not None and path.is_file() else None
    except OSError:
        replaced = None
    in_place = replaced is not None and is_file(replaced, files)
    if replaced is not None and in_place:
        file, data = _digest(replaced), replaced
    elif file in _files:
        data = zlib.decompress(_files[file].packed)
    records: dict[str, Annotation] = {}
    rest = []
    digests = _ancestors(file)
    for annotation, metadata in zip(annotations, known, strict=True):
        place: str | None = None
        if metadata is not None and metadata.file in digests:
            place = metadata.place
            for digest in reversed(digests[: digests.index(metadata.file)]):
                place = None if place is None else (_files[digest].places or {}).get(place)
        if place is None or place in records:
            rest.append(annotation)
        else:
            records[place] = annotation
    content = None if data is None else parse(data)
    return Base(file, content, in_place, records, rest, data or b"")


def _ancestors(digest: str) -> list[str]:
    """Return a file and those it was made from, the youngest first."""
    digests = [digest]
    while digest in _files and _files[digest].parent not in ("", *digests):
        digest = _files[digest].parent
        digests.append(digest)
    return digests


def is_deleted(region: Region) -> bool:
    """Whether a region that is no longer among the records was taken out by a person.

    What napari has no shape for was never in its layers, so that its absence means nothing; what
    crosses itself too often was left out in reading.
    """
    if region.kind in ("mask", "point"):
        return True
    tangled = any(
        isinstance(part, Polygon) and is_tangled(part.vertices) for part in region.parts()
    )
    return shape_from_region(region) is not None and not tangled


def same_record(record: Annotation, other: Annotation) -> bool:
    """Whether two records say the same, wherever they came from."""
    return (
        (record.caption, record.source, record.model, record.score)
        == (other.caption, other.source, other.model, other.score)
        and not new_extras(record, other)
        and not new_extras(other, record)
        and same_drawing(record.region, other.region)
    )


def new_extras(before: Annotation, after: Annotation) -> dict[str, str]:
    """Return the extras of a record that are not in another, or other there."""
    return {
        name: text
        for name, text in after.extra.items()
        if name != METADATA and text != before.extra.get(name, "")
    }


def our_texts(before: Annotation, after: Annotation) -> dict[str, str]:
    """Return what an entry holds under `OURS` to say ``after`` where it else says ``before``."""
    texts = record_texts(replace(after, extra=new_extras(before, after)))
    unchanged = ["uid"]
    if same_drawing(before.region, after.region):
        unchanged += _GEOMETRY
    if after.caption == before.caption and after.source == before.source:
        unchanged += ["caption", "source"]
    if after.score == before.score:
        unchanged.append("score")
    texts = {name: text for name, text in texts.items() if name not in unchanged}
    gone = [
        name
        for name, text in before.extra.items()
        if text and name != METADATA and not after.extra.get(name, "")
    ]
    if gone:
        texts[_WITHOUT] = json.dumps(gone)
    return texts


def with_our_texts(
    annotation: Annotation, texts: Mapping[str, Any], shown: Callable[[Region], Region | None]
) -> Annotation:
    """Return what an entry of another program says together with its texts under `OURS`."""
    known = {str(name): text for name, text in texts.items() if isinstance(text, str)}
    if not known:
        return annotation
    gone: Any = ()
    with suppress(ValueError, RecursionError):
        gone = json.loads(known.pop(_WITHOUT, "[]"))
    gone = gone if isinstance(gone, list) else ()
    geometry = {name: known.pop(name) for name in _GEOMETRY if name in known}
    known.pop("image", None)
    region = annotation.region
    bare = {"uid": annotation.uid or "?", "kind": "image", "wkt": "POLYGON EMPTY"}
    if "wkt" in geometry and "kind" in geometry:
        region = annotation_from_texts(
            bare | geometry, drawn=region, image="", caption=None, shown=shown
        ).region
    record = annotation_from_texts(
        {"caption": annotation.caption} | known | bare,
        drawn=None,
        image=annotation.image,
        caption=None,
    )
    extra = {name: text for name, text in annotation.extra.items() if name not in gone}
    record = replace(
        record,
        uid=annotation.uid,
        region=region,
        score=record.score if "score" in known or record.source else annotation.score,
        extra={**extra, **record.extra},
    )
    return with_human_caption(record, annotation.caption)


def without_metadata(annotation: Annotation) -> Annotation:
    """Return a record without the entry it was read from."""
    extra = {name: text for name, text in annotation.extra.items() if name != METADATA}
    return replace(annotation, extra=extra)


class Said(NamedTuple):
    """What an entry says: by itself, and together with what it holds of ours."""

    bare: Annotation
    record: Annotation


def said(bare: Annotation, ours: Any, shown: Callable[[Region], Region | None]) -> Said:
    """Return what an entry says that says ``bare`` by itself and may hold texts of ours."""
    known = ours if isinstance(ours, dict) else {}
    return Said(bare, with_our_texts(bare, known, shown))


def with_ours(entry: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return an entry of another program that holds these texts of ours, and no others."""
    rest = {name: value for name, value in entry.items() if name != OURS}
    return {**rest, OURS: texts} if texts else rest


def origins(annotations: Sequence[Annotation], kind: str) -> list[Metadata]:
    """Return the entries that records were read from in files of a format."""
    known = (metadata_of(annotation, kind) for annotation in annotations)
    return [origin for origin in known if origin is not None]


def known_entries(
    records: Mapping[str, Annotation], kind: str
) -> list[tuple[str, Annotation, Metadata]]:
    """Return place, record and entry of those that still hold the entry they were read from."""
    known = [(place, item, metadata_of(item, kind)) for place, item in records.items()]
    return [(place, item, origin) for place, item, origin in known if origin is not None]


def entry_from_elsewhere(
    annotation: Annotation, kind: str, updated: Callable[[Any, Annotation], Any]
) -> dict[str, Any] | None:
    """Return the entry, updated, that a record has from another file of a format, if from any."""
    origin = metadata_of(annotation, kind)
    if origin is not None and isinstance(origin.entry, dict):
        with suppress(FormatError):
            return dict(updated(origin.entry, annotation))
    return None


def was_deleted(read: Callable[[], Said | None]) -> bool:
    """Whether an entry without a record, as it reads, was deleted by a person."""
    try:
        was = read()
    except FormatError:
        return False
    return was is not None and is_deleted(was.record.region)
