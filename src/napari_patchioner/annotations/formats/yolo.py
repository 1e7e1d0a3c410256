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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import shapely
import yaml

from napari_patchioner import regions
from napari_patchioner.annotations import texts
from napari_patchioner.annotations.files import encode_text
from napari_patchioner.annotations.images import Images, Size, image_name, image_size
from napari_patchioner.annotations.metadata import Metadata, metadata_of, with_metadata
from napari_patchioner.annotations.notes import Notes, leaving_out, naming, noting
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.xy import FloatArray, from_xy, to_xy
from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.images import image_size as size_of_file
from napari_patchioner.limits import charge_records, check_time, read_file

from .bundle import file_stems, first_files, is_zip, read_bundle, write_bundle, zip_names
from .head import Format, Head
from .json_arrays import parse_json, parsed, to_json, whole_number

_CAPTIONS, _DATA, _CLASSES = "captions.jsonl", "data.yaml", "classes.txt"
_KIND = "yolo"
_YAMLS = (_DATA, "data.yml", "dataset.yaml", "dataset.yml")
_KEYPOINTS, _CONFIDENCE = "keypoints", "confidence"
_FEWEST_KEYPOINTS, _MOST_KEYPOINTS = 2, 1000
# Names of classes that go along with every line of other people.
_MOST_CLASSES = 100
_OUR_FIELDS = {"path", "train", "val", "names"}
_LABEL = re.compile(r"([^/\\:]+/)*[^/\\:]+\.txt", re.IGNORECASE)
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
# Pairs of lines that are compared by what they enclose.
_MOST_PAIRS = 400_000
_BLOCK = 64
_ROUGHLY = 2000
# How much of what two lines enclose together both must enclose, to be the same region.
_OVERLAP = 0.5

# How many keypoints a line has, and how many numbers each.
KeypointShape: TypeAlias = "tuple[int, int] | None"
_Other = TypeVar("_Other")


def knows(head: Head) -> bool:
    """Return whether a folder or zip is laid out for YOLO."""
    if head.path.is_dir():
        labels = head.path / "labels"
        return any((head.path / name).is_file() for name in _YAMLS) or (
            labels.is_dir() and any(_is_label(f"labels/{file.name}") for file in labels.rglob("*"))
        )
    names = zip_names(head.path) if head.suffix == ".zip" else []
    return any(_is_label(name) or PurePosixPath(name).name in _YAMLS for name in names)


def _is_label(name: str) -> bool:
    *folders, last = PurePosixPath(name).parts or ("",)
    return name.lower().endswith(".txt") and last != _CLASSES and "labels" in folders


def read(path: Path, images: Images | None = None) -> list[Annotation]:
    """Read a data set of YOLO."""
    images = images or {}
    besides = (_CAPTIONS, _CLASSES, *_YAMLS)
    files = read_bundle(path, lambda name: _is_label(name) or PurePosixPath(name).name in besides)
    about = _about(files)
    classes = _classes(files, about)
    shape: KeypointShape = None
    match about.get("kpt_shape"):
        case [int(count), 2 | 3 as each] if 0 < count < _MOST_KEYPOINTS:
            shape = count, each
    ours = _ours(files)
    labels = sorted({name for name in files if _is_label(name)} | set(ours))
    stems = Counter(PurePosixPath(name).stem for name in labels)
    # The images by what their text files may be called.
    names: dict[str, str] = {}
    for image in images:
        names.setdefault(image, image)
        names.setdefault(PurePosixPath(image).stem, image)
    if not stems.keys() <= names.keys():
        others = {PurePosixPath(info.name).stem: image for image, info in images.items()}
        names = {**others, **names}
    tails = {"/".join(PurePosixPath(image).parts[-2:]): image for image in images}
    levels = zip(*(PurePosixPath(name).parts[:-1] for name in labels), strict=False)
    shared = len(list(takewhile(lambda level: len(set(level)) == 1, levels)))
    results: list[tuple[int, Annotation]] = []
    for name in labels:
        records = ours.get(name, [])
        lines = parse_lines(name, files.get(name, b""), shape)
        if lines or records:
            with leaving_out("image", name):
                if records:
                    image, size = records[0].image, records[0].size
                else:
                    stem = PurePosixPath(name).stem
                    known, twice = names.get(stem), stems[stem] > 1
                    if twice:
                        below = PurePosixPath(*PurePosixPath(name).parts[shared:])
                        known = _in_folder(below, known, images, tails)
                    image, size = _image_of(path, name, known, images, twice)
                results += _read_image(name, image, lines, records, classes, size)
    return texts.with_unique_uids(item for _, item in sorted(results, key=lambda pair: pair[0]))


def _image_of(
    path: Path, label: str, known: str | None, images: Images, twice: bool
) -> tuple[str, Size]:
    """Return the image a text file is about and its size; the folder tells, of two, which one."""
    # The image in the tree of images that runs beside that of text files.
    *parts, last = PurePosixPath(label).parts
    folders = ["images" if part == "labels" else part for part in parts]
    suffixes = () if is_zip(path) else (*_PICTURES, *map(str.upper, _PICTURES))
    stem = PurePosixPath(last).stem
    beside = (path.joinpath(*folders, stem + suffix) for suffix in suffixes)
    file = next((file for file in beside if file.is_file()), None)
    if known is not None and (file is None or not twice):
        return known, image_size(images, known)
    if file is None:
        raise FormatError(
            f"{label}: the size of its image is missing; put the image into the folder "
            f"{'/'.join(folders) or 'images'!r}, or give it along"
        )
    try:
        size = size_of_file(file)
    except ImageError as error:
        raise FormatError(f"{file.name}: is no image whose size can be read") from error
    return file.relative_to(path).as_posix() if twice else file.name, size


def _in_folder(
    label: PurePosixPath, known: str | None, images: Images, tails: Mapping[str, str]
) -> str | None:
    """Return the image in the folder that tells a text file from another of its name.

    ``tails`` are the images by their last folder and name.
    """
    along = ["images" if part == "labels" else part for part in label.parts[:-1]] or ["images"]
    inner = [part for part in label.parts[:-1] if part != "labels"] or along
    for ending in (PurePosixPath(known or "").suffix, *_PICTURES, *map(str.upper, _PICTURES)):
        for folders in (inner, along):
            name = "/".join([*folders, label.stem + ending])
            if name in tails or name in images:
                return tails.get(name, name)
    return None


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


def _classes(files: Mapping[str, bytes], about: Mapping[str, Any]) -> dict[int, str]:
    """Return the names of the classes by number."""
    if not about:
        listed = (data for name, data in files.items() if PurePosixPath(name).name == _CLASSES)
        labels = next(listed, b"").decode("utf-8-sig", "replace").rstrip().splitlines()
        return {number: label.strip() for number, label in enumerate(labels)}
    names = about.get("names")
    named = dict(enumerate(names)) if isinstance(names, list) else names
    # Lists of lists are no names, and could be made to grow without end when written out.
    return {
        number: str(label)
        for key, label in (named.items() if isinstance(named, dict) else ())
        if (number := whole_number(str(key)[:20])) is not None
        and not isinstance(label, list | dict)
    }


class _Record(NamedTuple):
    """What we wrote beside the lines of a text file, and which record of all it is."""

    place: int
    size: Size
    image: str
    texts: dict[str, str]
    lines: list[str]


def _ours(files: Mapping[str, bytes]) -> dict[str, list[_Record]]:
    """Return what we wrote beside the lines of each text file."""
    results: dict[str, list[_Record]] = {}
    for name, data in files.items():
        if PurePosixPath(name).name != _CAPTIONS:
            continue
        for place, line in enumerate(data.split(b"\n")):
            where = f"{name}: record {place + 1}"
            with leaving_out("record", where):
                said = parse_json(line, where) if line.strip() else None
                if said is None:
                    continue
                with naming(where, "lacks fields"):
                    size = (int(said["height"]), int(said["width"]))
                    if min(size) < 1:
                        raise ValueError
                    label = str(PurePosixPath(name).parent / said["file"])
                    held = {str(key): str(text) for key, text in said["region"].items()}
                    lines = [str(item) for item in list(said["lines"])]
                    record = _Record(place, size, str(said["image"]), held, lines)
                results.setdefault(label, []).append(record)
    return results


def _read_image(
    name: str,
    image: str,
    lines: list[Line],
    records: Sequence[_Record],
    classes: Mapping[int, str],
    size: Size,
) -> list[tuple[int, Annotation]]:
    """Return the annotations of one image, each with its place in the file of captions."""

    def with_line(annotation: Annotation, line: Line) -> Annotation:
        named = {str(number): label for number, label in classes.items()}
        if len(named) > _MOST_CLASSES:  # its own alone
            named = {key: named[key] for key in [str(line.number)] if key in named}
        return with_metadata(annotation, _KIND, "", name, line.text, {"names": named})

    written = [parse_lines(_CAPTIONS, "\n".join(record.lines).encode()) for record in records]
    own, new = match(lines, written)
    results: list[tuple[int, Annotation]] = []
    for record, before, now in zip(records, written, own, strict=True):
        if before and not now:
            continue  # another tool deleted it
        kept = texts.annotation_from_texts(
            record.texts,
            drawn=texts.as_one([line.region(size) for line in now], union=True),
            image=record.image,
            caption=None,
            shown=lambda region: shown(region, size),
        )
        if len(now) == 1 and metadata_of(kept, _KIND) is not None:
            kept = with_line(kept, now[0])  # another tool may have written it anew since
        label = classes.get(now[0].number) if now else None
        results.append((record.place, texts.with_class(kept, label)))
    last = records[-1].place if records else 0
    for line in new:
        held = {texts.CLASS: classes.get(line.number, str(line.number))}
        if line.keypoints:
            held[_KEYPOINTS] = " ".join(f"{number:g}" for number in line.keypoints)
        if line.confidence is not None:
            held[_CONFIDENCE] = f"{line.confidence:g}"
        made = texts.annotation_from_texts(
            held, drawn=line.region(size), image=image, caption=None, uid=f"{line.place}"
        )
        results.append((last, replace(with_line(made, line), score=line.confidence)))
    return results


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write a data set for YOLO."""
    origins = [metadata_of(annotation, _KIND) for annotation in annotations]
    known = [origin for origin in origins if origin is not None]
    names = {annotation.image: image_name(images, annotation.image) for annotation in annotations}
    labels = {image: f"labels/{stem}.txt" for image, stem in file_stems(names).items()}
    places = [origin.place if origin is not None else "" for origin in origins]
    for annotation, place in zip(annotations, places, strict=True):
        if _is_place(place):
            labels[annotation.image] = place
    places = [
        place if _is_place(place) else labels[item.image]
        for place, item in zip(places, annotations, strict=True)
    ]
    # What lies there, as far as it matters: of a folder, the files that are written again; of a
    # zip, all that is in it, if records of another program go back into it.
    present: dict[str, bytes] = {}
    if not is_zip(path):
        listed = [*places, *_YAMLS, _CLASSES, f"labels/{_CLASSES}", _CAPTIONS]
        present = {name: read_file(path / name) for name in listed if (path / name).is_file()}
    elif known and not set(places).isdisjoint(zip_names(path)):
        present = read_bundle(path)
    before = [_line_before(*pair) for pair in zip(annotations, origins, strict=True)]
    classes, numbers = _numbered(annotations, before, known, present)
    written: dict[str, list[Written]] = {place: [] for place in places}
    records: list[str] = []
    if known:  # what stands in a file of captions about images that are not written now
        for line in present.get(_CAPTIONS, b"").decode("utf-8", "replace").split("\n"):
            record, error = parsed(line, "") if line.strip() else ({}, None)
            other = isinstance(record, dict) and record.get("file") not in written
            if error is not None or (record and other):
                records.append(f"{line}\n")
    parts = zip(annotations, origins, places, before, numbers, strict=True)
    for entry, origin, file, was, number in parts:
        size = image_size(images, entry.image)
        drawn = was.region(size) if was is not None and was.number == number else None
        stays = drawn is not None and regions.same_drawing(drawn, entry.region)
        lines = [f"{was.text}\n"] if was and stays else lines_of(entry.region, number, size)
        written[file].append(Written(lines, str(origin.entry) if origin else None))
        about = {"image": entry.image, "file": file, "height": size[0], "width": size[1]}
        said = {**about, "lines": lines, "region": texts.record_texts(entry)}
        records.append(to_json(said) + "\n")
    old: set[str] = set()
    if not (is_zip(path) or known) and (path / _CAPTIONS).is_file():
        # The text files that an earlier export wrote into a folder.
        data = next(first_files(path, _CAPTIONS.__eq__), b"")
        with noting(Notes()):
            earlier = set(_ours({_CAPTIONS: data}))
        old = {name for name in earlier if re.fullmatch(r"labels/[^/\\:]+\.txt", name)}
    files = {
        **_yaml_file(present, classes, foreign=bool(known)),
        **{name: in_place(present.get(name, b""), lines) for name, lines in written.items()},
        _CAPTIONS: encode_text("".join(records)),
    }
    write_bundle(path, {**present, **files} if is_zip(path) else files)
    for name in old - set(written):
        (path / name).unlink(missing_ok=True)
    return ()


def _is_place(place: str) -> bool:
    """Whether a place in a data set is a text file within it."""
    return _LABEL.fullmatch(place) is not None and ".." not in place.split("/")


def _numbered(
    annotations: Sequence[Annotation],
    before: Sequence[Line | None],
    known: Sequence[Metadata],
    present: Mapping[str, bytes],
) -> tuple[dict[int, str], list[int]]:
    """Return the names of the classes by number, those of the data set first as they were.

    And the numbers for the annotations: what the line of each had, with a name or without one, as
    long as its class is the same.
    """
    classes = _classes(present, _about(present)) if known else {}
    for names in (origin.about.get("names") for origin in known):
        used = set(classes.values())
        for key, name in names.items() if isinstance(names, dict) else ():
            number = whole_number(str(key))
            if number is not None and number not in classes and name not in used:
                classes[number] = str(name)
    kept = [
        line.number
        if line is not None and classes.get(line.number, f"{line.number}") == texts.class_of(item)
        else None
        for line, item in zip(before, annotations, strict=True)
    ]
    if not any(PurePosixPath(name).name in (*_YAMLS, _CLASSES) for name in present):
        # Nothing there says that a class has no name.
        unnamed = {n: f"{n}" for n in kept if n is not None and n >= 0}
        classes = {**unnamed, **classes}
    numbers = {name: number for number, name in sorted(classes.items(), reverse=True)}
    last = max([-1, *classes, *(number for number in kept if number is not None)])
    for item, number in zip(annotations, kept, strict=True):
        name = texts.class_of(item)
        if number is None and name not in numbers:
            # A class without a name is called by its number.
            own = whole_number(name[:9])
            numbers[name] = last + 1 if own is None or own in classes else own
            last = max(last, numbers[name])
            classes[numbers[name]] = name
    return dict(sorted(classes.items())), [
        numbers[texts.class_of(item)] if number is None else number
        for item, number in zip(annotations, kept, strict=True)
    ]


def _line_before(annotation: Annotation, known: Metadata | None) -> Line | None:
    """Return the line that a record was read from, if it is still known."""
    text = known.entry if known is not None else None
    if not isinstance(text, str) or "\n" in text:
        return None
    points = annotation.extra.get(_KEYPOINTS, "").split()
    shape = (len(points) // 3, 3) if len(points) % 3 == 0 else (len(points) // 2, 2)
    try:
        [line] = parse_lines("", text.encode(), shape if points else None)
    except (FormatError, ValueError):
        return None
    return line


def _yaml_file(
    present: Mapping[str, bytes], names: dict[int, str], *, foreign: bool
) -> dict[str, bytes]:
    """Return the YAML of a data set; none where what lies there says the same classes."""
    target, said = _DATA, {"train": "images", "val": "images", "names": names}
    for name, data in present.items():
        if PurePosixPath(name).name in _YAMLS:
            about = _about({name: data})
            if set(about) <= _OUR_FIELDS and about.get("train") == "images":
                continue
            if _classes({name: data}, about) == names:
                return {}
            target, said = name, {**about, "names": names}
            break
    else:
        lists = any(PurePosixPath(name).name == _CLASSES for name in present)
        if foreign and lists and _classes(present, {}) == names:
            return {}
    return {target: encode_text(yaml.safe_dump(said, allow_unicode=True, sort_keys=False))}


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line of a text file, which is its ``place``, from 1.

    ``number`` is the class; ``points`` the outline, shape (n, 2), ``x y`` in fractions of the
    image; ``confidence`` how sure a detector is; ``keypoints`` the numbers of these as they stand
    there.
    """

    place: int
    text: str
    number: int
    points: FloatArray
    confidence: float | None = None
    keypoints: tuple[float, ...] = ()

    def region(self, size: Size) -> regions.Region:
        """Return what the line outlines on an image of ``(height, width)``."""
        vertices = from_xy(self.points * size[::-1])
        return regions.upright_box(vertices, tolerance=1e-6) or regions.Polygon(vertices)


def parse_lines(name: str, data: bytes, shape: KeypointShape = None) -> list[Line]:
    """Return the lines of a text file: outlines, or boxes by centre and size."""
    results = []
    whole = data.decode("utf-8", "replace").removeprefix("\ufeff")
    for place, text in enumerate(whole.splitlines(), start=1):
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


class Written(NamedTuple):
    """The lines that stand for a region, and the one it was read from, if from other people's."""

    lines: Sequence[str]
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
    # Those that are alike, then those that were read before.
    places = [(line.strip(), place) for place, line in enumerate(old)]
    alike = _paired([(unit.lines[0].strip(), unit) for unit in units if unit.lines], places)
    taken = set(alike.values())
    rest = [(unit.before, unit) for unit in units if id(unit) not in alike]
    alike |= _paired(rest, [pair for pair in places if pair[1] not in taken])
    of_line = {alike[id(unit)]: unit for unit in units if id(unit) in alike}
    parts = []
    for place, raw in enumerate(old):
        unit = of_line.get(place)
        if unit is None:
            parts += [raw] if _stays(raw.strip()) else []
        elif [line.strip() for line in unit.lines] == [raw.strip()]:
            parts.append(raw)
        else:
            parts += [line.replace("\n", _end(raw) or end) for line in unit.lines]
    new = [
        line.replace("\n", end) for unit in units if id(unit) not in alike for line in unit.lines
    ]
    if new and parts and not _end(parts[-1]):
        parts[-1] += end
    return (mark + "".join([*parts, *new])).encode("utf-8", "surrogateescape")


def _paired(
    ours: Iterable[tuple[object, object]], theirs: Iterable[tuple[object, _Other]]
) -> dict[int, _Other]:
    """Return, by the ids of ours, the first of theirs that has the same key, each of them once."""
    free: dict[object, deque[_Other]] = defaultdict(deque)
    for key, other in theirs:
        free[key].append(other)
    return {id(each): alike.popleft() for key, each in ours if (alike := free[key])}


def _end(line: str) -> str:
    """Return what ends a line."""
    return line[len("".join(line.splitlines())) :]


def _stays(text: str) -> bool:
    """Whether a line stays though no region is written for it: it is blank or was left out."""
    try:
        points = _line(1, text, None).points if text else None
    except (ValueError, OverflowError):
        return True
    return points is None or regions.is_tangled(points)


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
    points = bare.reshape(-1, 2)
    if len(points) == 2:  # centre and size
        points = points[0] + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * points[1] / 2
    return Line(place, text, number, points, sure, tuple(keypoints.tolist()))


def _keypoints(numbers: FloatArray) -> FloatArray:
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


def lines_of(region: regions.Region, number: int, size: Size) -> list[str]:
    """Return the lines for a region of a class: the parts of its area within the image."""
    lines = []
    for member in region.parts():
        for outline in member.for_image(*size).rings(holes=False):
            for ring in _cut(outline, size):
                fractions = np.clip(to_xy(ring) / size[::-1], 0, 1)
                numbers = map(repr, fractions.ravel().tolist())
                lines.append(" ".join([str(number), *numbers]) + "\n")
    return lines


def _cut(ring: FloatArray, size: Size) -> list[FloatArray]:
    """Return an outline as it is if it lies within the image, else its parts that do."""
    low, high = ring.min(axis=0), ring.max(axis=0)
    if (low >= -0.5).all() and (high <= np.array(size) - 0.5).all():
        return [ring]
    if regions.is_tangled(ring):
        return [ring]  # nobody can tell what it encloses; its corners go to the edge
    image = shapely.box(0, 0, size[1], size[0])
    within = shapely.intersection(regions.enclosed(to_xy(ring)), image)
    parts = shapely.get_parts(shapely.get_parts(within))
    areas = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
    return [from_xy(shapely.get_coordinates(part.exterior)[:-1]) for part in areas]


def shown(region: regions.Region, size: Size) -> regions.Region | None:
    """Return what YOLO's lines show for a region; None if there are none."""
    lines = parse_lines("", "".join(lines_of(region, 0, size)).encode())
    return texts.as_one([line.region(size) for line in lines], union=True)


def match(
    lines: Sequence[Line], written: Sequence[Sequence[Line]]
) -> tuple[list[list[Line]], list[Line]]:
    """Tell which lines are those that were written, though other tools may have changed them."""
    results: dict[int, Line] = {}

    def unpaired() -> tuple[list[Line], list[Line]]:
        taken = set(map(id, results.values()))
        lost = [line for of_one in written for line in of_one if id(line) not in results]
        return lost, [line for line in lines if id(line) not in taken]

    # The same, then those that differ by rounding alone, then those that enclose nearly the same.
    lost, rest = unpaired()
    results |= _paired([(line.text, line) for line in lost], [(line.text, line) for line in rest])
    before, after = (
        [((np.rint(line.points * _ROUGHLY) + 0.0).tobytes(), line) for line in each]
        for each in unpaired()
    )
    results |= _paired(before, after)
    results |= _overlapping(*unpaired())
    own = [[results[id(line)] for line in of_one if id(line) in results] for of_one in written]
    return own, unpaired()[1]


def _overlapping(lost: Sequence[Line], rest: Sequence[Line]) -> dict[int, Line]:
    """Return for lines that were written the lines that enclose nearly the same, best first."""
    if not lost or not rest:
        return {}
    # The upright rectangles around them.
    corners = [
        [(*line.points.min(axis=0), *line.points.max(axis=0)) for line in lines]
        for lines in (lost, rest)
    ]
    before, after = (np.asarray(shapely.box(*np.array(each, float).T)) for each in corners)
    # Which of them touch each other, shape (2, n); of very many the first ones.
    tree, touching, count = shapely.STRtree(after), [np.zeros((2, 0), np.intp)], 0
    for start in range(0, len(before), _BLOCK):
        check_time()
        touching.append(tree.query(before[start : start + _BLOCK]) + np.array([[start], [0]]))
        count += touching[-1].shape[1]
        if count > _MOST_PAIRS:
            break
    pairs = np.concatenate(touching, axis=1)[:, :_MOST_PAIRS]
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


FORMAT = Format("yolo", "YOLO outlines with a file of captions", (), read, write, knows, sized=True)
