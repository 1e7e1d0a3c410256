"""ImageJ: a zip with one region of interest per region, as its ROI Manager saves.

ImageJ keeps coordinates as 32-bit floats and has no captions. The name of a region, which the ROI
Manager lists, is its number and the beginning of its caption; the properties, which ImageJ keeps,
hold caption, exact geometry and all else. Properties are lines; ends of lines and backslashes in
them are written as ``%0A`` and ``%5C``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from napari_patchioner.annotations._carried import carried
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._parts import CLASS, PART, Shape, gather, members_of
from napari_patchioner.annotations._plane import PLANE, plane_text, time_and_depth
from napari_patchioner.annotations._table import encode_text, write_bytes
from napari_patchioner.errors import FormatError

from ._bundle import read_bundle, zip_names, zipped
from ._imagej_shapes import Size, region_of, roi_of, shown
from ._roi_bytes import Roi, decode_roi, encode_roi

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_patchioner.annotations._annotation import Annotation
    from napari_patchioner.annotations._images import Images

    from ._head import Head

_PREFIX = "patchioner."
# Not about the region: the image, what we called the region, height and width of the image.
_ABOUT = ("patchioner-image", "patchioner-name", "patchioner-size")
_ESCAPED = re.compile(r"[\x00-\x20\x7f\x85\xa0\u2028\u2029:=#!%\\]")
_IN_TEXT = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029%\\]|^[ :=]|[ ]$")
_NO_NAME = re.compile(r'[\x00-\x1f\x7f\x85\u2028\u2029<>:"/\\|?*]+')
_LONGEST_NAME = 60


def knows(head: Head) -> bool:
    """Return whether a file is one of ImageJ's regions, or a zip of them."""
    if head.start.startswith(b"Iout"):
        return True
    return head.suffix == ".zip" and any(map(_is_roi, zip_names(head.path)))


def _is_roi(name: str) -> bool:
    return name.lower().endswith(".roi")


def read(path: Path) -> list[Annotation]:
    """Read regions of interest of ImageJ.

    Parameters
    ----------
    path : Path
        A zip of ``.roi`` files, or one of them.

    Returns
    -------
    list of Annotation
        Coordinates in ``(row, column)``. The name of a region that is not ours is its caption,
        unless ImageJ made it up from numbers.

    Raises
    ------
    FormatError
        One sentence that names the file and the region.
    """
    files = read_bundle(Path(path), _is_roi)
    shapes: list[Shape] = []
    sizes: dict[str, Size] = {}
    for name, data in files.items():
        try:
            roi = decode_roi(data)
            shapes.append(_shape(roi, name.removesuffix(".roi"), sizes))
        except FormatError as error:
            raise FormatError(f"{Path(path).name}: {name!r}: {error}") from error
    try:
        return gather(shapes, lambda image, region: shown(region, sizes.get(image)))
    except FormatError as error:
        raise FormatError(f"{Path(path).name}: {error}") from error


def _shape(roi: Roi, called: str, sizes: dict[str, Size]) -> Shape:
    """Return one shape, and note the size of its image."""
    properties = _parsed(roi.properties)
    about = {key: _unescaped(text) for key, text in properties.items() if key in _ABOUT}
    ours = {
        _unescaped(key.removeprefix(_PREFIX)): _unescaped(text)
        for key, text in properties.items()
        if key.startswith(_PREFIX)
    }
    image, named, size = (about.get(key, "") for key in _ABOUT)
    if re.fullmatch(r"\d+ \d+", size):
        height, width = size.split()
        sizes[image] = (int(height), int(width))
    name = roi.name or called
    if ours:
        changed = None if name == named else re.sub(r"^\d{4,} ", "", name)
        return Shape(image, called, region_of(roi), changed, _moved(ours, roi))
    texts = {key: _unescaped(text) for key, text in properties.items() if key not in _ABOUT}
    caption = "" if re.fullmatch(r"[\d-]*", name) else name
    return Shape(image, called, region_of(roi), caption, _moved(texts, roi))


def _moved(texts: dict[str, str], roi: Roi) -> dict[str, str]:
    """Return texts in which the plane is the one that ImageJ shows."""
    depth = roi.depth or roi.place
    if PART in texts or not (roi.time or depth):
        return texts
    at = max(roi.time, 1) - 1, max(depth, 1) - 1
    return texts if texts.get(PLANE) in _spellings(*at) else {**texts, PLANE: plane_text(*at)}


def _spellings(time: int, depth: int) -> tuple[str, ...]:
    """Return how a plane may be written."""
    return (f"{time} {depth}", *([f"{depth}"] if time == 0 else []))


def _parsed(properties: str) -> dict[str, str]:
    """Return the lines of properties as pairs."""
    pairs = (line.partition(":") for line in properties.split("\n") if ":" in line)
    return {key.strip(" "): text.removeprefix(" ") for key, _, text in pairs}


def _escaped(pattern: re.Pattern[str], text: str) -> str:
    """Return a text with what properties cannot hold as percent and two digits per byte."""
    return pattern.sub(lambda found: "".join(f"%{one:02X}" for one in found[0].encode()), text)


def _unescaped(text: str) -> str:
    return unquote(text, errors="replace")


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write a zip that ImageJ's ROI Manager opens.

    Parameters
    ----------
    path : Path
        The zip; it is replaced if it exists.
    annotations : sequence of Annotation
        Regions of any number of images; ImageJ shows them all on the image it is asked to.
    images : mapping of str to ImageInfo
        The images by the name annotations give them; their sizes are needed for whole images.

    Returns
    -------
    tuple of Annotation
        Whole images whose size nobody told.

    Raises
    ------
    FormatError
        If a region makes no sense.
    """
    check_unique(annotations)
    left_out: list[Annotation] = []
    files: dict[str, bytes] = {}
    for annotation in annotations:
        info = images.get(annotation.image)
        size = (info.height, info.width) if info else None
        made = _rois(annotation, size, len(files) + 1)
        files |= {f"{roi.name}.roi": encode_roi(roi) for roi in made}
        if not made:
            left_out.append(annotation)
    write_bytes(path, zipped(files))
    return tuple(left_out)


def _rois(annotation: Annotation, size: Size, number: int) -> list[Roi]:
    """Return the regions of interest of an annotation: one, or one per member of a set."""
    rois = [roi for one in members_of(annotation.region) if (roi := roi_of(one, size)) is not None]
    texts = carried(annotation)
    return [
        _in_plane(annotation, replace(roi, name=name, properties=properties))
        for place, roi in enumerate(rois)
        for name in [_name(annotation, number + place)]
        for properties in [
            _properties({PART: annotation.uid} if place else texts, annotation.image, name, size)
        ]
    ]


def _in_plane(annotation: Annotation, roi: Roi) -> Roi:
    """Return a region of interest at its place in a stack (z) or a hyperstack (t and z)."""
    plane = time_and_depth(annotation)
    if plane is None:
        return roi
    if " " in annotation.extra[PLANE]:
        return replace(roi, time=plane[0] + 1, depth=plane[1] + 1)
    return replace(roi, place=plane[1] + 1)


def _name(annotation: Annotation, number: int) -> str:
    """Return what the ROI Manager lists: a number and the beginning of the caption."""
    text = annotation.caption or annotation.extra.get(CLASS, "") or annotation.uid
    words = _NO_NAME.sub(" ", text)[:_LONGEST_NAME]
    return f"{number:04d} {words}".rstrip(" .")


def _properties(texts: Mapping[str, str], image: str, name: str, size: Size) -> str:
    """Return texts as the lines of properties that ImageJ keeps."""
    sides = f"{size[0]} {size[1]}" if size else ""
    about = dict(zip(_ABOUT, (image, name, sides), strict=True))
    lines = {f"{_PREFIX}{_escaped(_ESCAPED, key)}": text for key, text in texts.items()}
    found = "".join(f"{key}: {_escaped(_IN_TEXT, text)}\n" for key, text in (about | lines).items())
    encode_text(found)
    return found
