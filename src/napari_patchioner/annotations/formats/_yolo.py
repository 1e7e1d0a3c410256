"""YOLO-seg: one text file of outlines per image, and beside them all that YOLO has no place for.

A folder (or a zip) as Ultralytics trains from: ``data.yaml`` with the names of the classes, and
``labels/STEM.txt`` with a line ``class x1 y1 x2 y2 ...`` per outline, in fractions of the image. It
holds classes and areas only, no captions, points or traces. Hence ``captions.jsonl`` beside them:
one JSON per region with its caption, exact geometry and all else, and the lines of YOLO that stand
for it. Images are not copied; put them into ``images/`` under the names of the text files.

``data.yaml`` says no ``path``: Ultralytics takes a data set that says none to lie beside it, and
a relative one to lie in a folder of its own.

A data set of other people is captioned in place: regions that nobody changed keep their lines
(boxes with keypoints among them) and their files, classes their numbers.

What becomes of the lines: an outline is cut to the image, since YOLO takes no other; one region may
have several lines (a set, a mask of several parts) or none; holes are filled. Lines that other
tools changed are recognised by the text, else by what they enclose.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from napari_patchioner.annotations.files import encode_text
from napari_patchioner.annotations.images import image_name, image_size
from napari_patchioner.annotations.metadata import metadata_of, with_metadata
from napari_patchioner.annotations.notes import leaving_out
from napari_patchioner.annotations.table import check_unique
from napari_patchioner.annotations.texts import (
    CLASS,
    annotation_from_texts,
    as_one,
    class_of,
    record_texts,
    with_class,
    with_unique_uids,
)
from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.images import image_size as size_of_file
from napari_patchioner.limits import read_file
from napari_patchioner.regions import same_drawing

from ._bundle import (
    file_stems,
    first_file,
    is_zip,
    read_bundle,
    write_bundle,
    zip_names,
)
from ._json_file import parse_json, whole_number
from ._yolo_lines import (
    KeypointShape,
    Line,
    Written,
    in_place,
    lines_of,
    match,
    parse_lines,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from napari_patchioner.annotations.images import Images
    from napari_patchioner.annotations.metadata import Metadata
    from napari_patchioner.annotations.record import Annotation

    from ._head import Head

_CAPTIONS, _DATA = "captions.jsonl", "data.yaml"
_KIND = "yolo"
_YAMLS = (_DATA, "data.yml", "dataset.yaml", "dataset.yml")
_CLASSES = "classes.txt"
_KEYPOINTS, _CONFIDENCE = "keypoints", "confidence"
_MOST_KEYPOINTS = 1000
_MOST_CLASSES = 100
"""Names of classes that go along with every line of other people."""

_OUR_FIELDS = {"path", "train", "val", "names"}
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def knows(head: Head) -> bool:
    """Return whether a folder or zip is laid out for YOLO."""
    if head.path.is_dir():
        labels = head.path / "labels"
        return any((head.path / name).is_file() for name in _YAMLS) or (
            labels.is_dir() and any(labels.rglob("*.txt"))
        )
    names = zip_names(head.path) if head.suffix == ".zip" else []
    return any(_is_label(name) or PurePosixPath(name).name in _YAMLS for name in names)


def _is_label(name: str) -> bool:
    parts = PurePosixPath(name).parts
    is_text = name.lower().endswith(".txt") and not _is_list_of_classes(name)
    return is_text and "labels" in parts[:-1]


def _wanted(name: str) -> bool:
    last = PurePosixPath(name).name
    return _is_label(name) or last in (_CAPTIONS, _CLASSES, *_YAMLS)


def read(path: Path, images: Images | None = None) -> list[Annotation]:
    """Read a data set of YOLO.

    Parameters
    ----------
    path : Path
        The folder, or a zip of it.
    images : mapping of str to ImageInfo, optional
        Sizes of images by file name or stem. They are not needed for what we wrote, nor where the
        images lie in the folder.

    Returns
    -------
    list of Annotation
        Coordinates in ``(row, column)``; lines of other people have a class and no caption.

    Raises
    ------
    FormatError
        One sentence that names the file and the line, or the image whose size is missing.
    """
    path = Path(path)
    files = read_bundle(path, _wanted)
    about = _about(files)
    classes, shape = _classes(files, about), _keypoint_shape(about)
    ours = _ours(files)
    labels = sorted({name for name in files if _is_label(name)} | set(ours))
    pictures = _Pictures(path, labels, images or {})
    found: list[tuple[int, Annotation]] = []
    for name in labels:
        records, size = ours.get(name, ([], None))
        lines = parse_lines(name, files.get(name, b""), shape)
        if not lines and not records:
            continue
        with leaving_out("image", name):
            image, size = (PurePosixPath(name).stem, size) if size else pictures.find(name)
            found += _read_image(name, image, lines, records, classes, size)
    return with_unique_uids(one for _, one in sorted(found, key=lambda pair: pair[0]))


def _about(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return what the YAML of a data set says."""
    for name, data in files.items():
        if PurePosixPath(name).suffix in (".yaml", ".yml"):
            try:
                found = yaml.safe_load(data.decode("utf-8-sig"))
            except (yaml.YAMLError, ValueError, RecursionError) as error:
                raise FormatError(f"{name}: is no YAML that can be read") from error
            return found if isinstance(found, dict) else {}
    return {}


def _keypoint_shape(about: Mapping[str, Any]) -> KeypointShape:
    """Return how many keypoints a data set has, and of how many numbers; None if of none."""
    match about.get("kpt_shape"):
        case [int(count), 2 | 3 as each] if 0 < count < _MOST_KEYPOINTS:
            return count, each
    return None


def _classes(files: Mapping[str, bytes], about: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of the classes by number."""
    if about:
        names = about.get("names")
        named = dict(enumerate(names)) if isinstance(names, list) else names
        # Lists of lists are no names, and could be made to grow without end when written out.
        return {
            number: str(label)
            for key, label in (named.items() if isinstance(named, dict) else ())
            if (number := whole_number(str(key)[:20])) is not None
            and not isinstance(label, list | dict)
        }
    listed = next((data for name, data in files.items() if _is_list_of_classes(name)), b"")
    labels = listed.decode("utf-8-sig", "replace").rstrip().splitlines()
    return {number: label.strip() for number, label in enumerate(labels)}


def _is_list_of_classes(name: str) -> bool:
    return PurePosixPath(name).name == _CLASSES


_Records = tuple[list[tuple[int, dict[str, Any]]], tuple[int, int] | None]


def _ours(files: Mapping[str, bytes]) -> dict[str, _Records]:
    """Return what we wrote beside the lines of each text file, and the size of its image."""
    found: dict[str, _Records] = {}
    for name, data in files.items():
        if PurePosixPath(name).name != _CAPTIONS:
            continue
        for place, line in enumerate(data.split(b"\n")):
            record = parse_json(line, f"{name}: record {place + 1}") if line.strip() else None
            if record is None:
                continue
            try:
                size = (int(record["height"]), int(record["width"]))
                if min(size) < 1:
                    raise ValueError
                label = str(PurePosixPath(name).parent / record["file"])
                texts = {str(key): str(text) for key, text in record["region"].items()}
                lines = [str(one) for one in list(record["lines"])]
                about = {"image": str(record["image"]), "texts": texts, "lines": lines}
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise FormatError(f"{name}: record {place + 1}: lacks fields") from error
            found.setdefault(label, ([], size))[0].append((place, about))
    return found


class _Pictures:
    """The images that text files are about.

    Parameters
    ----------
    path : Path
        The data set.
    labels : sequence of str
        Its text files.
    images : mapping of str to ImageInfo
        Images by file name or stem.
    """

    def __init__(self, path: Path, labels: Sequence[str], images: Images) -> None:
        self._path, self._images = path, images
        self._stems: dict[str, str] = {}
        for name in images:
            self._stems.setdefault(name, name)
            self._stems.setdefault(PurePosixPath(name).stem, name)
        self._told: dict[str, str] | None = None
        counts = Counter(PurePosixPath(name).stem for name in labels)
        self._twice = {stem for stem, count in counts.items() if count > 1}

    def find(self, label: str) -> tuple[str, tuple[int, int]]:
        """Return the image a text file is about and its size, as told, or as it lies there."""
        stem = PurePosixPath(label).stem
        file = self._beside(label)
        # Of two images with one name, the folder tells which is meant.
        if stem in self._twice and file is not None:
            return file.relative_to(self._path).as_posix(), _size_of(file)
        name = self._stems.get(stem) or self._by_told_name(stem)
        if name is not None:
            return name, image_size(self._images, name)
        if file is not None:
            return file.name, _size_of(file)
        raise FormatError(
            f"{label}: the size of its image is missing; put the image into the folder "
            f"{'/'.join(_picture_parts(label)) or 'images'!r}, or give it along"
        )

    def _by_told_name(self, stem: str) -> str | None:
        if self._told is None:
            self._told = {PurePosixPath(one.name).stem: key for key, one in self._images.items()}
        return self._told.get(stem)

    def _beside(self, label: str) -> Path | None:
        """Return the image in the tree of images that runs beside that of text files."""
        stem, parts = PurePosixPath(label).stem, _picture_parts(label)
        for suffix in () if is_zip(self._path) else (*_PICTURES, *map(str.upper, _PICTURES)):
            file = self._path.joinpath(*parts, stem + suffix)
            if file.is_file():
                return file
        return None


def _picture_parts(label: str) -> list[str]:
    """Return the folders of the image that a text file is about."""
    return ["images" if part == "labels" else part for part in PurePosixPath(label).parts[:-1]]


def _size_of(file: Path) -> tuple[int, int]:
    """Return ``(height, width)`` of an image file without reading its pixels."""
    try:
        return size_of_file(file)
    except ImageError as error:
        raise FormatError(f"{file.name}: is no image whose size can be read") from error


def _read_image(
    name: str,
    image: str,
    lines: list[Line],
    records: Sequence[tuple[int, dict[str, Any]]],
    classes: Mapping[int, str],
    size: tuple[int, int],
) -> list[tuple[int, Annotation]]:
    """Return the annotations of one image, each with its place in the file of captions."""
    written = [parse_lines(_CAPTIONS, "\n".join(about["lines"]).encode()) for _, about in records]
    own, new = match(lines, written)
    found: list[tuple[int, Annotation]] = []
    for (place, about), before, now in zip(records, written, own, strict=True):
        if before and not now:
            continue  # another tool deleted it
        drawn = as_one([line.region(size) for line in now], union=True)
        kept = annotation_from_texts(
            about["texts"],
            drawn=drawn,
            image=about["image"],
            caption=None,
            shown=lambda region: shown(region, size),
        )
        label = classes.get(now[0].number) if now else None
        if len(now) == 1 and metadata_of(kept, _KIND) is not None:
            # Another tool may have written it anew since.
            told = {"names": _told(classes, now[0])}
            kept = with_metadata(kept, _KIND, "", name, now[0].text, told)
        found.append((place, with_class(kept, label)))
    last = records[-1][0] if records else 0
    image = records[0][1]["image"] if records else image
    for line in new:
        label = classes.get(line.number, str(line.number))
        texts = {CLASS: label}
        if line.keypoints:
            texts[_KEYPOINTS] = " ".join(f"{number:g}" for number in line.keypoints)
        if line.confidence is not None:
            texts[_CONFIDENCE] = f"{line.confidence:g}"
        one = annotation_from_texts(
            texts, drawn=line.region(size), image=image, caption=None, uid=f"{line.place}"
        )
        one = with_metadata(one, _KIND, "", name, line.text, {"names": _told(classes, line)})
        found.append((last, replace(one, score=line.confidence)))
    return found


def _told(classes: Mapping[int, str], line: Line) -> dict[str, str]:
    """Return the names of classes that go along with a line: of very many, its own."""
    named = {str(number): label for number, label in classes.items()}
    own = str(line.number)
    return named if len(named) <= _MOST_CLASSES else {own: named.get(own, own)}


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write a data set for YOLO.

    Parameters
    ----------
    path : Path
        A ``.zip``, or the folder; text files of an earlier export into it that are no longer needed
        are removed.
    annotations : sequence of Annotation
        Regions of any number of images. The extra ``"class"`` is their class.
    images : mapping of str to ImageInfo
        The images by the name annotations give them; their sizes are needed.

    Returns
    -------
    tuple of Annotation
        Always empty: what YOLO has no lines for stands in ``captions.jsonl``.

    Raises
    ------
    FormatError
        If the size of an image is missing, or a region makes no sense.
    """
    path = Path(path)
    check_unique(annotations)
    known = {id(one): metadata_of(one, _KIND) for one in annotations}
    foreign = {one.image: known[id(one)] for one in annotations if known[id(one)] is not None}
    stems = file_stems({one.image: image_name(images, one.image) for one in annotations})
    labels = {
        image: found.place
        if (found := foreign.get(image)) is not None and _is_safe_label(found.place)
        else f"labels/{stem}.txt"
        for image, stem in stems.items()
    }
    there = _files_there(path, set(labels.values()), foreign=bool(foreign))
    names = _numbered(annotations, [one for one in known.values() if one is not None], there)
    numbers = {name: number for number, name in names.items()}
    texts: dict[str, list[Written]] = {label: [] for label in labels.values()}
    records: list[str] = []
    for one in annotations:
        size, file = image_size(images, one.image), labels[one.image]
        read_as, number = known[id(one)], numbers[class_of(one)]
        lines = _kept_line(one, read_as, number, size) or lines_of(one.region, number, size)
        texts[file].append(Written(tuple(lines), str(read_as.entry) if read_as else None))
        about = {"image": one.image, "file": file, "height": size[0], "width": size[1]}
        records.append(_json({**about, "lines": lines, "region": record_texts(one)}))
    old = set() if is_zip(path) or foreign else _leftovers(path) - set(texts)
    if foreign:
        records = [*_records_of_others(there.get(_CAPTIONS, b""), set(texts)), *records]
    files = {
        **_yaml_file(there, names, foreign=bool(foreign)),
        **{name: in_place(there.get(name, b""), lines) for name, lines in texts.items()},
        _CAPTIONS: encode_text("".join(records)),
    }
    write_bundle(path, {**there, **files} if is_zip(path) else files)
    for name in old:
        (path / name).unlink(missing_ok=True)
    return ()


def _files_there(path: Path, labels: Collection[str], *, foreign: bool) -> dict[str, bytes]:
    """Return what lies where a data set is written, as far as it matters.

    Of a folder, the files that are written again; of a zip, all that is in it, if records of
    another program go back into it.
    """
    if is_zip(path):
        again = foreign and not set(labels).isdisjoint(zip_names(path))
        return read_bundle(path, lambda name: True) if again else {}
    names = [*labels, *_YAMLS, _CLASSES, f"labels/{_CLASSES}", _CAPTIONS]
    return {name: read_file(path / name) for name in names if (path / name).is_file()}


def _numbered(
    annotations: Sequence[Annotation], known: Sequence[Metadata], there: Mapping[str, bytes]
) -> dict[int, str]:
    """Return the names of the classes by number, those of the data set first as they were."""
    found: dict[int, str] = {}
    told = [one.about.get("names") for one in known]
    listed = _classes(there, _about(there)) if known else {}
    for given in (listed, *told):
        for number, name in given.items() if isinstance(given, dict) else ():
            free = whole_number(str(number)) is not None and int(number) not in found
            if free and name not in found.values():
                found[int(number)] = str(name)
    for name in dict.fromkeys(class_of(one) for one in annotations):
        if name not in found.values():
            # A class without a name is called by its number.
            own = whole_number(name[:9])
            free = own is not None and own not in found
            found[own if free and own is not None else max(found, default=-1) + 1] = name
    return dict(sorted(found.items()))


def _kept_line(
    annotation: Annotation, known: Metadata | None, number: int, size: tuple[int, int]
) -> list[str]:
    """Return the line a region was read from, if nobody changed the region or its class."""
    text = known.entry if known is not None else None
    if not isinstance(text, str) or "\n" in text:
        return []
    points = annotation.extra.get(_KEYPOINTS, "").split()
    shape = (len(points) // 3, 3) if len(points) % 3 == 0 else (len(points) // 2, 2)
    try:
        [line] = parse_lines("", text.encode(), shape if points else None)
    except (FormatError, ValueError):
        return []
    same = line.number == number and same_drawing(line.region(size), annotation.region)
    return [f"{text}\n"] if same else []


def _records_of_others(data: bytes, written: Collection[str]) -> list[str]:
    """Return what stands in a file of captions about images that are not written now."""
    found = []
    for line in data.decode("utf-8", "replace").split("\n"):
        record = parse_json(line, _CAPTIONS) if line.strip() else None
        if isinstance(record, dict) and record.get("file") not in written:
            found.append(f"{line}\n")
    return found


def _is_safe_label(name: str) -> bool:
    """Return whether a text file lies within a data set."""
    return bool(re.fullmatch(r"([^/\\:]+/)*[^/\\:]+\.txt", name)) and ".." not in name.split("/")


def _yaml_file(
    there: Mapping[str, bytes], names: dict[int, str], *, foreign: bool
) -> dict[str, bytes]:
    """Return the YAML of a data set; none where what lies there says the same classes."""
    for name, data in there.items():
        if PurePosixPath(name).name in _YAMLS:
            files = {name: data}
            about = _about(files)
            if set(about) <= _OUR_FIELDS and about.get("train") == "images":
                continue
            if _classes(files, about) == names:
                return {}
            text = yaml.safe_dump({**about, "names": names}, allow_unicode=True, sort_keys=False)
            return {name: encode_text(text)}
    if foreign and any(map(_is_list_of_classes, there)) and _classes(there, {}) == names:
        return {}
    ours = {"train": "images", "val": "images", "names": names}
    text = yaml.safe_dump(ours, allow_unicode=True, sort_keys=False)
    return {_DATA: encode_text(text)}


def _leftovers(path: Path) -> set[str]:
    """Return the text files that an earlier export wrote into a folder."""
    if not (path / _CAPTIONS).is_file():
        return set()
    data = first_file(path, lambda name: name == _CAPTIONS)
    try:
        names = _ours({_CAPTIONS: data})
    except FormatError:
        return set()
    return {name for name in names if re.fullmatch(r"labels/[^/\\:]+\.txt", name)}


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
