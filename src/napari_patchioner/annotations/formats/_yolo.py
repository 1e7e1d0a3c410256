"""YOLO-seg: one text file of outlines per image, and beside them all that YOLO has no place for.

A folder (or a zip) as Ultralytics trains from: ``data.yaml`` with the names of the classes, and
``labels/STEM.txt`` with a line ``class x1 y1 x2 y2 ...`` per outline, in fractions of the image. It
holds classes and areas only, no captions, points or traces. Hence ``captions.jsonl`` beside them:
one JSON per region with its caption, exact geometry and all else, and the lines of YOLO that stand
for it. Images are not copied; put them into ``images/`` under the names of the text files.

What becomes of the lines: an outline is cut to the image, since YOLO takes no other; one region may
have several lines (a set, a mask of several parts) or none; holes are filled. Lines that other
tools changed are recognised by the text, else by what they enclose.
"""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from napari_patchioner.annotations._carried import CLASS, annotation_from, carried, unique
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._images import image_name, image_size
from napari_patchioner.annotations._parts import as_one, class_of, with_class
from napari_patchioner.annotations._table import encode_text
from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.images import image_size as size_of_file

from ._bundle import (
    file_stems,
    first_file,
    is_zip,
    read_bundle,
    write_bundle,
    zip_names,
)
from ._json_file import parse_json, whole_number
from ._yolo_lines import Line, lines_of, match, parse_lines, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_patchioner.annotations._annotation import Annotation
    from napari_patchioner.annotations._images import Images

    from ._head import Head

_CAPTIONS, _DATA = "captions.jsonl", "data.yaml"
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")


def knows(head: Head) -> bool:
    """Return whether a folder or zip is laid out for YOLO."""
    if head.path.is_dir():
        labels = head.path / "labels"
        return (head.path / _DATA).is_file() or (labels.is_dir() and any(labels.rglob("*.txt")))
    names = zip_names(head.path) if head.suffix == ".zip" else []
    return any(_is_label(name) or PurePosixPath(name).name == _DATA for name in names)


def _is_label(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.lower().endswith(".txt") and "labels" in parts[:-1]


def _wanted(name: str) -> bool:
    last = PurePosixPath(name).name
    return _is_label(name) or last in (_CAPTIONS, _DATA, "data.yml", "dataset.yaml")


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
    classes = _classes(files)
    ours = _ours(files)
    found: list[tuple[int, Annotation]] = []
    for name in sorted({name for name in files if _is_label(name)} | set(ours)):
        records, size = ours.get(name, ([], None))
        stem = PurePosixPath(name).stem
        lines = parse_lines(name, files.get(name, b""))
        if not lines and not records:
            continue
        image, size = (stem, size) if size else _picture(path, name, images or {})
        found += _read_image(name, image, lines, records, classes, size)
    return unique(one for _, one in sorted(found, key=lambda pair: pair[0]))


def _classes(files: Mapping[str, bytes]) -> dict[int, str]:
    """Return the names of the classes by number."""
    for name, data in files.items():
        if PurePosixPath(name).suffix in (".yaml", ".yml"):
            try:
                found = yaml.safe_load(data.decode("utf-8-sig"))
            except (yaml.YAMLError, ValueError, RecursionError) as error:
                raise FormatError(f"{name}: is no YAML that can be read") from error
            names = found.get("names") if isinstance(found, dict) else None
            named = names if isinstance(names, dict) else {}
            pairs = enumerate(names) if isinstance(names, list) else named.items()
            # Lists of lists are no names, and could be made to grow without end when written out.
            return {
                number: str(label)
                for key, label in pairs
                if (number := whole_number(str(key)[:20])) is not None
                and not isinstance(label, list | dict)
            }
    return {}


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


def _picture(path: Path, label: str, images: Images) -> tuple[str, tuple[int, int]]:
    """Return the image a text file is about and its size, as told, or as it lies there."""
    stem = PurePosixPath(label).stem
    for image, info in images.items():
        if stem in (image, PurePosixPath(info.name).stem, PurePosixPath(image).stem):
            return image, image_size(images, image)
    parts = ["images" if part == "labels" else part for part in PurePosixPath(label).parts[:-1]]
    for suffix in () if is_zip(path) else (*_PICTURES, *map(str.upper, _PICTURES)):
        file = path.joinpath(*parts, stem + suffix)
        if file.is_file():
            return file.name, _size_of(file)
    raise FormatError(
        f"{label}: the size of its image is missing; put the image into the folder "
        f"{'/'.join(parts) or 'images'!r}, or give it along"
    )


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
        kept = annotation_from(
            about["texts"],
            drawn=drawn,
            image=about["image"],
            caption=None,
            shown=lambda region: shown(region, size),
        )
        label = classes.get(now[0].number) if now else None
        found.append((place, with_class(kept, label)))
    last = records[-1][0] if records else 0
    image = records[0][1]["image"] if records else image
    for line in new:
        label = classes.get(line.number, str(line.number))
        one = annotation_from(
            {CLASS: label}, drawn=line.region(size), image=image, caption=None, uid=f"{line.place}"
        )
        found.append((last, one))
    return found


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
    names = list(dict.fromkeys(class_of(one) for one in annotations))
    numbers = {name: number for number, name in enumerate(names)}
    stems = file_stems({one.image: image_name(images, one.image) for one in annotations})
    texts: dict[str, list[str]] = {f"labels/{stem}.txt": [] for stem in stems.values()}
    records: list[str] = []
    for one in annotations:
        size, file = image_size(images, one.image), f"labels/{stems[one.image]}.txt"
        lines = lines_of(one.region, numbers[class_of(one)], size)
        texts[file] += lines
        about = {"image": one.image, "file": file, "height": size[0], "width": size[1]}
        records.append(_json({**about, "lines": lines, "region": carried(one)}))
    old = set() if is_zip(path) else _leftovers(path) - set(texts)
    data = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(names))}
    write_bundle(
        path,
        {
            _DATA: encode_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False)),
            **{name: encode_text("".join(lines)) for name, lines in texts.items()},
            _CAPTIONS: encode_text("".join(records)),
        },
    )
    for name in old:
        (path / name).unlink(missing_ok=True)
    return ()


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
