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

import re
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
import yaml

from napari_patchioner.annotations.files import encode_text
from napari_patchioner.annotations.images import Images, image_name, image_size
from napari_patchioner.annotations.metadata import Metadata, metadata_of, with_metadata
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
from napari_patchioner.annotations.xy import from_xy, to_xy
from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.images import image_size as size_of_file
from napari_patchioner.limits import charge_records, check_time, read_file
from napari_patchioner.regions import (
    Polygon,
    Region,
    enclosed,
    is_tangled,
    same_drawing,
    upright_box,
)

from .bundle import file_stems, first_files, is_zip, read_bundle, write_bundle, zip_names
from .head import Format, Head
from .json_arrays import parse_json, to_json, whole_number

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from napari_patchioner.annotations.record import Annotation


_CAPTIONS, _DATA = "captions.jsonl", "data.yaml"
_KIND = "yolo"
_YAMLS = (_DATA, "data.yml", "dataset.yaml", "dataset.yml")
_CLASSES = "classes.txt"
_KEYPOINTS, _CONFIDENCE = "keypoints", "confidence"
_MOST_KEYPOINTS = 1000
_MOST_CLASSES = 100
"""Names of classes that go along with every line of other people."""

_OUR_FIELDS = {"path", "train", "val", "names"}
_LABEL = re.compile(r"([^/\\:]+/)*[^/\\:]+\.txt")
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
    is_text = name.lower().endswith(".txt") and PurePosixPath(name).name != _CLASSES
    return is_text and "labels" in parts[:-1]


def _wanted(name: str) -> bool:
    last = PurePosixPath(name).name
    return _is_label(name) or last in (_CAPTIONS, _CLASSES, *_YAMLS)


def read(path: Path, images: Images | None = None) -> list[Annotation]:
    """Read a data set of YOLO."""
    path = Path(path)
    files = read_bundle(path, _wanted)
    about = _about(files)
    classes, shape = _classes(files, about), _keypoint_shape(about)
    ours = _ours(files)
    labels = sorted({name for name in files if _is_label(name)} | set(ours))
    pictures = _Pictures(path, labels, images or {})
    results: list[tuple[int, Annotation]] = []
    for name in labels:
        records, size = ours.get(name, ([], None))
        lines = parse_lines(name, files.get(name, b""), shape)
        if not lines and not records:
            continue
        with leaving_out("image", name):
            image, size = (PurePosixPath(name).stem, size) if size else pictures.find(name)
            results += _read_image(name, image, lines, records, classes, size)
    return with_unique_uids(item for _, item in sorted(results, key=lambda pair: pair[0]))


def _about(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return what the YAML of a data set says."""
    for name, data in files.items():
        if PurePosixPath(name).suffix in (".yaml", ".yml"):
            try:
                result = yaml.safe_load(data.decode("utf-8-sig"))
            except (yaml.YAMLError, ValueError, RecursionError) as error:
                raise FormatError(f"{name}: is no YAML that can be read") from error
            return result if isinstance(result, dict) else {}
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
    listed = next(
        (data for name, data in files.items() if PurePosixPath(name).name == _CLASSES), b""
    )
    labels = listed.decode("utf-8-sig", "replace").rstrip().splitlines()
    return {number: label.strip() for number, label in enumerate(labels)}


_Records = tuple[list[tuple[int, dict[str, Any]]], tuple[int, int] | None]


def _ours(files: Mapping[str, bytes]) -> dict[str, _Records]:
    """Return what we wrote beside the lines of each text file, and the size of its image."""
    results: dict[str, _Records] = {}
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
                lines = [str(item) for item in list(record["lines"])]
                about = {"image": str(record["image"]), "texts": texts, "lines": lines}
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                raise FormatError(f"{name}: record {place + 1}: lacks fields") from error
            results.setdefault(label, ([], size))[0].append((place, about))
    return results


class _Pictures:
    """The images that text files are about."""

    def __init__(self, path: Path, labels: Sequence[str], images: Images) -> None:
        self._path, self._images = path, images
        self._stems: dict[str, str] = {}
        for name in images:
            self._stems.setdefault(name, name)
            self._stems.setdefault(PurePosixPath(name).stem, name)
        self._by_name: dict[str, str] = {}
        if any(PurePosixPath(label).stem not in self._stems for label in labels):
            named = images.items()
            self._by_name = {PurePosixPath(info.name).stem: name for name, info in named}
        counts = Counter(PurePosixPath(name).stem for name in labels)
        self._twice = {stem for stem, count in counts.items() if count > 1}

    def find(self, label: str) -> tuple[str, tuple[int, int]]:
        """Return the image a text file is about and its size, as given, or as it lies there."""
        stem = PurePosixPath(label).stem
        file = self._beside(label)
        # Of two images with one name, the folder tells which is meant.
        if stem in self._twice and file is not None:
            return file.relative_to(self._path).as_posix(), _size_of(file)
        name = self._stems.get(stem) or self._by_name.get(stem)
        if name is not None:
            return name, image_size(self._images, name)
        if file is not None:
            return file.name, _size_of(file)
        raise FormatError(
            f"{label}: the size of its image is missing; put the image into the folder "
            f"{'/'.join(_picture_parts(label)) or 'images'!r}, or give it along"
        )

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
    results: list[tuple[int, Annotation]] = []
    for (place, record), before, now in zip(records, written, own, strict=True):
        if before and not now:
            continue  # another tool deleted it
        drawn = as_one([line.region(size) for line in now], union=True)
        kept = annotation_from_texts(
            record["texts"],
            drawn=drawn,
            image=record["image"],
            caption=None,
            shown=lambda region: shown(region, size),
        )
        label = classes.get(now[0].number) if now else None
        if len(now) == 1 and metadata_of(kept, _KIND) is not None:
            # Another tool may have written it anew since.
            about = {"names": _named_classes(classes, now[0])}
            kept = with_metadata(kept, _KIND, "", name, now[0].text, about)
        results.append((place, with_class(kept, label)))
    last = records[-1][0] if records else 0
    image = records[0][1]["image"] if records else image
    for line in new:
        label = classes.get(line.number, str(line.number))
        texts = {CLASS: label}
        if line.keypoints:
            texts[_KEYPOINTS] = " ".join(f"{number:g}" for number in line.keypoints)
        if line.confidence is not None:
            texts[_CONFIDENCE] = f"{line.confidence:g}"
        result = annotation_from_texts(
            texts, drawn=line.region(size), image=image, caption=None, uid=f"{line.place}"
        )
        result = with_metadata(
            result, _KIND, "", name, line.text, {"names": _named_classes(classes, line)}
        )
        results.append((last, replace(result, score=line.confidence)))
    return results


def _named_classes(classes: Mapping[int, str], line: Line) -> dict[str, str]:
    """Return the names of classes that go along with a line: of very many, its own."""
    named = {str(number): label for number, label in classes.items()}
    own = str(line.number)
    return named if len(named) <= _MOST_CLASSES else {own: named.get(own, own)}


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write a data set for YOLO."""
    path = Path(path)
    check_unique(annotations)
    known = {id(annotation): metadata_of(annotation, _KIND) for annotation in annotations}
    foreign = {
        annotation.image: known[id(annotation)]
        for annotation in annotations
        if known[id(annotation)] is not None
    }
    stems = file_stems(
        {annotation.image: image_name(images, annotation.image) for annotation in annotations}
    )
    labels = {
        image: result.place
        if (result := foreign.get(image)) is not None
        and _LABEL.fullmatch(result.place)
        and ".." not in result.place.split("/")
        else f"labels/{stem}.txt"
        for image, stem in stems.items()
    }
    value = _files_there(path, set(labels.values()), foreign=bool(foreign))
    names = _numbered(annotations, [item for item in known.values() if item is not None], value)
    numbers = {name: number for number, name in names.items()}
    texts: dict[str, list[Written]] = {label: [] for label in labels.values()}
    records: list[str] = []
    for entry in annotations:
        size, file = image_size(images, entry.image), labels[entry.image]
        read_as, number = known[id(entry)], numbers[class_of(entry)]
        lines = _kept_line(entry, read_as, number, size) or lines_of(entry.region, number, size)
        texts[file].append(Written(tuple(lines), str(read_as.entry) if read_as else None))
        about = {"image": entry.image, "file": file, "height": size[0], "width": size[1]}
        records.append(to_json({**about, "lines": lines, "region": record_texts(entry)}) + "\n")
    old = set() if is_zip(path) or foreign else _leftovers(path) - set(texts)
    if foreign:
        records = [*_records_of_others(value.get(_CAPTIONS, b""), set(texts)), *records]
    files = {
        **_yaml_file(value, names, foreign=bool(foreign)),
        **{name: in_place(value.get(name, b""), lines) for name, lines in texts.items()},
        _CAPTIONS: encode_text("".join(records)),
    }
    write_bundle(path, {**value, **files} if is_zip(path) else files)
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
    annotations: Sequence[Annotation], known: Sequence[Metadata], present: Mapping[str, bytes]
) -> dict[int, str]:
    """Return the names of the classes by number, those of the data set first as they were."""
    results: dict[int, str] = {}
    kept = [metadata.about.get("names") for metadata in known]
    listed = _classes(present, _about(present)) if known else {}
    for given in (listed, *kept):
        for number, name in given.items() if isinstance(given, dict) else ():
            free = whole_number(str(number)) is not None and int(number) not in results
            if free and name not in results.values():
                results[int(number)] = str(name)
    for name in dict.fromkeys(class_of(annotation) for annotation in annotations):
        if name not in results.values():
            # A class without a name is called by its number.
            own = whole_number(name[:9])
            free = own is not None and own not in results
            results[own if free and own is not None else max(results, default=-1) + 1] = name
    return dict(sorted(results.items()))


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
    results = []
    for line in data.decode("utf-8", "replace").split("\n"):
        record = parse_json(line, _CAPTIONS) if line.strip() else None
        if isinstance(record, dict) and record.get("file") not in written:
            results.append(f"{line}\n")
    return results


def _yaml_file(
    present: Mapping[str, bytes], names: dict[int, str], *, foreign: bool
) -> dict[str, bytes]:
    """Return the YAML of a data set; none where what lies there says the same classes."""
    for name, data in present.items():
        if PurePosixPath(name).name in _YAMLS:
            files = {name: data}
            about = _about(files)
            if set(about) <= _OUR_FIELDS and about.get("train") == "images":
                continue
            if _classes(files, about) == names:
                return {}
            text = yaml.safe_dump({**about, "names": names}, allow_unicode=True, sort_keys=False)
            return {name: encode_text(text)}
    lists = any(PurePosixPath(name).name == _CLASSES for name in present)
    if foreign and lists and _classes(present, {}) == names:
        return {}
    ours = {"train": "images", "val": "images", "names": names}
    text = yaml.safe_dump(ours, allow_unicode=True, sort_keys=False)
    return {_DATA: encode_text(text)}


def _leftovers(path: Path) -> set[str]:
    """Return the text files that an earlier export wrote into a folder."""
    if not (path / _CAPTIONS).is_file():
        return set()
    data = next(first_files(path, _CAPTIONS.__eq__), b"")
    try:
        names = _ours({_CAPTIONS: data})
    except FormatError:
        return set()
    return {name for name in names if re.fullmatch(r"labels/[^/\\:]+\.txt", name)}


KeypointShape: TypeAlias = "tuple[int, int] | None"
"""How many keypoints a line has, and how many numbers each."""

_FEWEST_KEYPOINTS = 2
_MOST_PAIRS = 400_000
"""Pairs of lines that are compared by what they enclose."""

_BLOCK = 64
_ROUGHLY = 2000
_OVERLAP = 0.5
"""How much of what two lines enclose together both must enclose, to be the same region."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line of a text file.

    Attributes
    ----------
    place : int
        Which line it is, from 1.
    text : str
        The line.
    number : int
        The class.
    points : ndarray of float, shape (n, 2)
        The outline, ``x y`` in fractions of the image.
    confidence : float or None
        How sure a detector is.
    keypoints : tuple of float
        The numbers of its keypoints, as they stand there.
    """

    place: int
    text: str
    number: int
    points: npt.NDArray[np.float64]
    confidence: float | None = None
    keypoints: tuple[float, ...] = ()

    def region(self, size: tuple[int, int]) -> Region:
        """Return what the line outlines on an image of ``(height, width)``."""
        vertices = from_xy(self.points * size[::-1])
        return upright_box(vertices, tolerance=1e-6) or Polygon(vertices)


def parse_lines(name: str, data: bytes, shape: KeypointShape = None) -> list[Line]:
    """Return the lines of a text file: outlines, or boxes by centre and size."""
    results = []
    text_of_file = data.decode("utf-8", "replace").removeprefix("\ufeff")
    for place, text in enumerate(text_of_file.splitlines(), start=1):
        if not text.strip():
            continue
        with leaving_out("line", f"{name}: line {place}"):
            charge_records()
            try:
                results.append(_line(place, text.strip(), shape))
            except (ValueError, OverflowError) as error:
                raise FormatError(
                    f"{name}: line {place}: must be a class and an outline 'x1 y1 x2 y2 x3 y3 ...' "
                    "or a box 'x y width height', as fractions"
                ) from error
    return results


@dataclass(frozen=True, slots=True)
class Written:
    """What stands for a region in a text file.

    Attributes
    ----------
    lines : tuple of str
        Its lines, each ended by a line feed; there may be none.
    before : str or None
        The line it was read from, if it was read from one of other people.
    """

    lines: tuple[str, ...]
    before: str | None = None


def in_place(data: bytes, written: Sequence[Written]) -> bytes:
    r"""Return a text file with lines in the places where those before them stood.

    Blank lines, lines that cannot be read, ends of lines and a byte order mark stay; lines of
    which no region is left go, and new ones come last.
    """
    # What is no UTF-8 comes back as it was.
    whole = data.decode("utf-8", "surrogateescape")
    mark = whole[: whole.startswith("\ufeff")]
    old = whole[len(mark) :].splitlines(keepends=True)
    end = _end(old[0]) if old else "\n"
    # What has a place of its own: a line that was read, or each line of a region.
    units: list[Written] = []
    for each in written:
        lines = [Written((line,), line.strip()) for line in each.lines]
        units += lines if each.before is None else [each]
    of_line = _places(old, units)
    parts = []
    for place, raw in enumerate(old):
        unit = of_line.get(place)
        if unit is None:
            parts += [raw] if _stays(raw.strip()) else []
        elif [line.strip() for line in unit.lines] == [raw.strip()]:
            parts.append(raw)
        else:
            parts += [line.replace("\n", _end(raw) or end) for line in unit.lines]
    results = set(map(id, of_line.values()))
    new = [
        line.replace("\n", end) for unit in units if id(unit) not in results for line in unit.lines
    ]
    if new and parts and not _end(parts[-1]):
        parts[-1] += end
    return (mark + "".join([*parts, *new])).encode("utf-8", "surrogateescape")


def _places(old: Sequence[str], units: Sequence[Written]) -> dict[int, Written]:
    """Return which lines of a file stand for what: those that are alike, then those read before."""
    unmatched: dict[str, deque[int]] = defaultdict(deque)
    for place, raw in enumerate(old):
        unmatched[raw.strip()].append(place)
    results: dict[int, Written] = {}
    rest = []
    for unit in units:
        same = unmatched.get(unit.lines[0].strip()) if unit.lines else None
        if same:
            results[same.popleft()] = unit
        else:
            rest.append(unit)
    for unit in rest:
        if same := unmatched.get(unit.before or ""):
            results[same.popleft()] = unit
    return results


def _end(line: str) -> str:
    """Return what ends a line."""
    return line[len("".join(line.splitlines())) :]


def _stays(text: str) -> bool:
    """Whether a line stays though no region is written for it: it is blank or was left out."""
    try:
        points = _line(1, text, None).points if text else None
    except (ValueError, OverflowError):
        return True
    return points is None or is_tangled(points)


def _line(place: int, text: str, shape: KeypointShape) -> Line:
    """Return a line, or raise ValueError."""
    first, *rest = text.split()
    numbers = np.array(rest, float)
    number = int(float(first))
    if not np.isfinite(numbers).all() or len(numbers) < 4 or abs(number) > 2**31:
        raise ValueError
    count = shape[0] * shape[1] if shape is not None else 0
    if count and len(numbers) in (4 + count, 5 + count):
        keypoints = numbers[4 : 4 + count]
    else:
        keypoints = _keypoints(numbers)
    bare = numbers[:4] if len(keypoints) or len(numbers) == 5 else numbers
    sure = None
    if len(numbers) == len(bare) + len(keypoints) + 1:
        sure = float(numbers[-1])
    elif len(bare) % 2:
        bare, sure = bare[:-1], float(bare[-1])
    if sure is not None and not 0 <= sure <= 1:
        raise ValueError
    return Line(place, text, number, _points(bare), sure, tuple(keypoints.tolist()))


def _keypoints(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what must be keypoints of three numbers each, though nothing says so; else none."""
    for end in (len(numbers), len(numbers) - 1):
        count, rest = divmod(end - 4, 3)
        if rest or count < _FEWEST_KEYPOINTS:
            continue
        centre, size = numbers[:2], numbers[2:4]
        points = numbers[4:end].reshape(-1, 3)
        seen = points[points[:, 2] > 0, :2]
        within = (abs(seen - centre) <= size / 2 + 0.05).all()
        if np.isin(points[:, 2], (0, 1, 2)).all() and (size > 0).all() and within:
            return numbers[4:end]
    return numbers[:0]


def _points(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the outline that numbers stand for, or raise ValueError."""
    if len(numbers) == 4:
        (x, y), half = numbers[:2], numbers[2:] / 2
        return np.array([x, y]) + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError
    return numbers.reshape(-1, 2)


def lines_of(region: Region, number: int, size: tuple[int, int]) -> list[str]:
    """Return the lines for a region of a class: the parts of its area within the image."""
    lines = []
    for member in region.parts():
        for outline in member.for_image(*size).rings(holes=False):
            for ring in _cut(outline, size):
                fractions = np.clip(to_xy(ring) / size[::-1], 0, 1)
                numbers = map(repr, fractions.ravel().tolist())
                lines.append(" ".join([str(number), *numbers]) + "\n")
    return lines


def _cut(ring: npt.NDArray[np.float64], size: tuple[int, int]) -> list[npt.NDArray[np.float64]]:
    """Return an outline as it is if it lies within the image, else its parts that do."""
    low, high = ring.min(axis=0), ring.max(axis=0)
    if (low >= -0.5).all() and (high <= np.array(size) - 0.5).all():
        return [ring]
    if is_tangled(ring):
        return [ring]  # nobody can tell what it encloses; its corners go to the edge
    image = shapely.box(0, 0, size[1], size[0])
    within = shapely.intersection(enclosed(to_xy(ring)), image)
    parts = [part for get_part in shapely.get_parts(within) for part in shapely.get_parts(get_part)]
    areas = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
    return [from_xy(shapely.get_coordinates(part.exterior)[:-1]) for part in areas]


def shown(region: Region, size: tuple[int, int]) -> Region | None:
    """Return what YOLO's lines show for a region; None if there are none."""
    lines = parse_lines("", "".join(lines_of(region, 0, size)).encode())
    return as_one([line.region(size) for line in lines], union=True)


def match(
    lines: Sequence[Line], written: Sequence[Sequence[Line]]
) -> tuple[list[list[Line]], list[Line]]:
    """Tell which lines are those that were written, though other tools may have changed them."""
    unmatched: dict[str, deque[Line]] = defaultdict(deque)
    for line in lines:
        unmatched[line.text].append(line)
    flat = [(at, line) for at, of in enumerate(written) for line in of]
    results = {id(line): unmatched[line.text].popleft() for _, line in flat if unmatched[line.text]}
    rest = [line for queue in unmatched.values() for line in queue]
    lost = [line for _, line in flat if id(line) not in results]
    results |= _rounded(lost, rest)
    taken = {id(line) for line in results.values()}
    lost = [line for line in lost if id(line) not in results]
    results |= _overlapping(lost, [line for line in rest if id(line) not in taken])
    own: list[list[Line]] = [[] for _ in written]
    for at, line in flat:
        if id(line) in results:
            own[at].append(results[id(line)])
    taken = {id(line) for line in results.values()}
    return own, [line for line in lines if id(line) not in taken]


def _rounded(lost: Sequence[Line], rest: Sequence[Line]) -> dict[int, Line]:
    """Return for lines that were written the lines that differ from them by rounding alone."""
    unmatched: dict[bytes, deque[Line]] = defaultdict(deque)
    for line in rest:
        unmatched[_rough(line)].append(line)
    return {id(line): unmatched[_rough(line)].popleft() for line in lost if unmatched[_rough(line)]}


def _rough(line: Line) -> bytes:
    return (np.rint(line.points * _ROUGHLY) + 0.0).tobytes()


def _overlapping(lost: Sequence[Line], rest: Sequence[Line]) -> dict[int, Line]:
    """Return for lines that were written the lines that enclose nearly the same, best first."""
    if not lost or not rest:
        return {}
    before, after = (_boxes(lines) for lines in (lost, rest))
    pairs = _pairs(before, after)
    ours, theirs = before[pairs[0]], after[pairs[1]]
    both = shapely.area(shapely.intersection(ours, theirs))
    either = shapely.area(ours) + shapely.area(theirs) - both
    shares = np.where(either > 0, both / np.where(either > 0, either, 1), 1.0)
    results: dict[int, Line] = {}
    taken: set[int] = set()
    for place in np.argsort(-shares, kind="stable"):
        result, other = int(pairs[0][place]), int(pairs[1][place])
        if shares[place] < _OVERLAP:
            break
        if id(lost[result]) not in results and other not in taken:
            results[id(lost[result])] = rest[other]
            taken.add(other)
    return results


def _pairs(before: npt.NDArray[np.object_], after: npt.NDArray[np.object_]) -> npt.NDArray[np.intp]:
    """Return which rectangles touch each other, shape (2, n); of very many the first ones."""
    tree = shapely.STRtree(after)
    result, count = [np.zeros((2, 0), np.intp)], 0
    for start in range(0, len(before), _BLOCK):
        check_time()
        block = tree.query(before[start : start + _BLOCK])
        result.append(block + np.array([[start], [0]]))
        count += block.shape[1]
        if count > _MOST_PAIRS:
            break
    return np.concatenate(result, axis=1)[:, :_MOST_PAIRS]


def _boxes(lines: Sequence[Line]) -> npt.NDArray[np.object_]:
    """Return the upright rectangle around each line."""
    corners = [(*line.points.min(axis=0), *line.points.max(axis=0)) for line in lines]
    return np.asarray(shapely.box(*np.array(corners, float).T))


FORMAT = Format("yolo", "YOLO outlines with a file of captions", (), read, write, knows, sized=True)
