"""ImageJ: a zip with one region of interest per region, as its ROI Manager saves.

ImageJ keeps coordinates as 32-bit floats and has no captions. The name of a region, which the ROI
Manager lists, is its number and the beginning of its caption; the properties, which ImageJ keeps,
hold caption, exact geometry and all else. Properties are lines of ASCII: all else is written as
percent and two digits per byte of UTF-8, since ImageJ reads properties as Latin-1 and writes what
it has read as UTF-8. The name is ASCII for a like reason.

A region that somebody named keeps its name. Names that are no captions (`_region_names`) are the
extra ``"name"``; QuPath's name and class of an object, which it hands on as properties, and its
measurements are extras, too.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from napari_patchioner.annotations._carried import carried, score_of
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._notes import leaving_out, note
from napari_patchioner.annotations._parts import CLASS, PART, Shape, gather, members_of
from napari_patchioner.annotations._plane import CHANNEL, PLANE, plane_text, time_and_depth
from napari_patchioner.annotations._region_names import NAME, is_name, shared_names
from napari_patchioner.annotations._table import encode_text, write_bytes
from napari_patchioner.errors import FormatError

from ._bundle import read_bundle, zip_names, zipped
from ._imagej_shapes import Size, region_of, roi_of, shown
from ._roi_bytes import Roi, decode_roi, encode_roi

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from napari_patchioner.annotations._annotation import Annotation
    from napari_patchioner.annotations._images import Images

    from ._head import Head

_PREFIX = "patchioner."
# Not about the region: the image, what we called the region, height and width of the image.
_ABOUT = ("patchioner-image", "patchioner-name", "patchioner-size")
# What QuPath says about an object that it sends to ImageJ.
_QUPATH_NAME, _QUPATH_CLASS = "qupath.object.name", "qupath.object.classification"
_COLOR, _FILL, _WIDTH, _GROUP = "color", "fill-color", "line-width", "group"
# The names of those extras that are properties of somebody else.
_PROPERTIES = "imagej-properties"
_ESCAPED = re.compile(r"[^\x21-\x7e]|[:=#!%\\]")
_IN_TEXT = re.compile(r"[^\x20-\x7e]|[%\\]|^[ :=]|[ ]$")
_NO_NAME = re.compile(r'[\x00-\x1f\x7f\x85\u2028\u2029<>:"/\\|?*]+')
_NUMBERED = re.compile(r"\d{4,}( |$)")
_ACCENTS = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "œ": "oe", "ł": "l", "Ł": "L"})
_LONGEST_NAME = 60
_WIDEST = 30_000


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
        Coordinates in ``(row, column)``. What stands in a rectangle with text is its caption; so is
        the name of any other region that is not ours, if it reads like a caption.

    Raises
    ------
    FormatError
        One sentence that names the file and the region.
    """
    path = Path(path)
    files = read_bundle(path, _is_roi)
    _note_others(path)
    shapes: list[Shape] = []
    sizes: dict[str, Size] = {}
    rois: dict[str, Roi] = {}
    for name, data in files.items():
        with leaving_out("region", f"{path.name}: {name!r}"):
            try:
                rois[name] = decode_roi(data)
            except FormatError as error:
                raise FormatError(f"{path.name}: {name!r}: {error}") from error
    shared = shared_names(_called(roi, name) for name, roi in rois.items())
    for name, roi in rois.items():
        with leaving_out("region", f"{path.name}: {name!r}"):
            try:
                shapes.append(_shape(roi, name.removesuffix(".roi"), sizes, shared))
            except FormatError as error:
                raise FormatError(f"{path.name}: {name!r}: {error}") from error
    try:
        return gather(shapes, lambda image, region: shown(region, sizes.get(image)))
    except FormatError as error:
        raise FormatError(f"{path.name}: {error}") from error


def _note_others(path: Path) -> None:
    """Say which members of a zip are no regions."""
    others = [name for name in zip_names(path) if not _is_roi(name) and not name.endswith("/")]
    for name in others:
        note("no region", f"{path.name}: {name!r} is no region of ImageJ; it was not read")


def _called(roi: Roi, file: str) -> str:
    """Return what a region is called by itself, else by its file."""
    return _repaired(roi.name or file.removesuffix(".roi"))


def _shape(roi: Roi, called: str, sizes: dict[str, Size], shared: Collection[str]) -> Shape:
    """Return one shape, and note the size of its image."""
    properties = {key: _unescaped(text) for key, text in _parsed(roi.properties).items()}
    about = {key: text for key, text in properties.items() if key in _ABOUT}
    ours = {
        _unescaped(key.removeprefix(_PREFIX)): text
        for key, text in properties.items()
        if key.startswith(_PREFIX)
    }
    image, named, size = (about.get(key, "") for key in _ABOUT)
    if re.fullmatch(r"\d{1,9} \d{1,9}", size):
        height, width = size.split()
        sizes[image] = (int(height), int(width))
    name = _called(roi, called)
    if ours:
        bare = _NUMBERED.sub("", name, count=1)
        # Without letters it is the number of the region, or a name that ImageJ gave it anew.
        changed = bare if name != named and any(map(str.isalpha, bare)) else None
        return Shape(image, called, region_of(roi), changed, _moved(ours, roi))
    others = {key: text for key, text in properties.items() if key not in _ABOUT and key}
    label = others.get(_QUPATH_CLASS) or None
    is_qupath = any(key.startswith("qupath.") for key in others)
    caption = roi.text or ("" if is_qupath or is_name(name, shared=shared) else name)
    texts = {**others, **_looks(roi)}
    if others:
        texts[_PROPERTIES] = " ".join(_escaped(_ESCAPED, key) for key in others)
    kept = others.get(_QUPATH_NAME) or name
    if kept and kept != caption:
        texts[NAME] = kept
    return Shape(image, called, region_of(roi), caption, _moved(texts, roi), label)


def _looks(roi: Roi) -> dict[str, str]:
    """Return how a region looks in ImageJ and what group it is in, where somebody chose it."""
    looks = {_COLOR: _color(roi.stroke), _FILL: _color(roi.fill)}
    looks |= {_WIDTH: f"{roi.width:g}" if roi.width else "", _GROUP: str(roi.group or "")}
    looks |= {CHANNEL: f"{roi.channel - 1}" if roi.channel > 0 else ""}
    return {key: text for key, text in looks.items() if text}


def _color(number: int) -> str:
    """Return a colour as a page of the web writes it; nothing where there is none."""
    if not number:
        return ""
    alpha = f"{number >> 24:02x}" if number >> 24 < 255 else ""
    return f"#{number & 0xFFFFFF:06x}{alpha}"


def _color_number(text: str) -> int:
    """Return the number of a colour; undoes `_color`."""
    match = re.fullmatch(r"#([0-9a-f]{6})([0-9a-f]{2})?", text.lower())
    return (int(match[2] or "ff", 16) << 24 | int(match[1], 16)) if match else 0


def _moved(texts: dict[str, str], roi: Roi) -> dict[str, str]:
    """Return texts in which the plane is the one that ImageJ shows."""
    depth = roi.depth or roi.place
    if PART in texts or not (roi.time or depth):
        return texts
    time = roi.time - 1 if roi.time > 0 else None
    at = time, (max(depth, 1) - 1 if depth else None)
    return texts if texts.get(PLANE) in _spellings(*at) else {**texts, PLANE: plane_text(*at)}


def _spellings(time: int | None, depth: int | None) -> tuple[str, ...]:
    """Return how a plane may be written."""
    return (plane_text(time or 0, depth), *([] if time else [plane_text(None, depth)]))


def _parsed(properties: str) -> dict[str, str]:
    """Return the lines of properties as pairs."""
    pairs = (line.partition(":") for line in properties.split("\n") if ":" in line)
    return {key.strip(" "): text.removeprefix(" ") for key, _, text in pairs}


def _escaped(pattern: re.Pattern[str], text: str) -> str:
    """Return a text with what properties cannot hold as percent and two digits per byte."""
    encode_text(text)
    return pattern.sub(lambda found: "".join(f"%{one:02X}" for one in found[0].encode()), text)


def _unescaped(text: str) -> str:
    return unquote(_repaired(text), errors="replace")


def _repaired(text: str) -> str:
    """Return a text that ImageJ took for Latin-1 as the UTF-8 it was; any other as it is."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write a zip that ImageJ's ROI Manager opens.

    Parameters
    ----------
    path : Path
        The zip, or a ``.roi`` for a single region; it is replaced if it exists.
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
        made = _rois(annotation, size, len(files) + 1, set(files))
        files |= {f"{roi.name}.roi": encode_roi(roi) for roi in made}
        if not made:
            left_out.append(annotation)
    if annotations and not files:
        return tuple(left_out)
    if Path(path).suffix.lower() == ".roi":
        if len(files) != 1:
            raise FormatError(
                f"{Path(path).name}: a .roi file holds one region, not {len(files)}; write a .zip"
            )
        [data] = files.values()
        write_bytes(path, data)
    else:
        write_bytes(path, zipped({**files, **_others(Path(path))}))
    return tuple(left_out)


def _others(path: Path) -> dict[str, bytes]:
    """Return the members of a zip of regions that are none, which stay in it."""
    if not any(map(_is_roi, zip_names(path))):
        return {}
    try:
        return read_bundle(path, lambda name: not _is_roi(name))
    except FormatError:
        return {}


def _rois(annotation: Annotation, size: Size, number: int, taken: Collection[str]) -> list[Roi]:
    """Return the regions of interest of an annotation: one, or one per member of a set."""
    rois = [roi for one in members_of(annotation.region) if (roi := roi_of(one, size)) is not None]
    texts = carried(annotation)
    found: list[Roi] = []
    for place, roi in enumerate(rois):
        name = _name(annotation, number + place)
        if f"{name}.roi" in taken or any(one.name == name for one in found):
            name = f"{number + place:04d} {name}"
        own = {PART: annotation.uid} if place else texts
        properties = _properties(own, annotation.image, name, size) + _foreign(annotation)
        found.append(_looking(annotation, replace(roi, name=name, properties=properties)))
    return [_in_plane(annotation, roi) for roi in found]


def _foreign(annotation: Annotation) -> str:
    """Return the properties of somebody else that a region came with."""
    keys = annotation.extra.get(_PROPERTIES, "").split()
    texts = {key: annotation.extra.get(_unescaped(key)) for key in keys}
    lines = {key: text for key, text in texts.items() if text is not None}
    return "".join(f"{key}: {_escaped(_IN_TEXT, text)}\n" for key, text in lines.items())


def _looking(annotation: Annotation, roi: Roi) -> Roi:
    """Return a region of interest that looks as it did, and is in its group."""
    extra = annotation.extra
    channel = extra.get(CHANNEL, "")
    group, width = extra.get(_GROUP, ""), score_of(extra.get(_WIDTH, "")) or 0.0
    return replace(
        roi,
        channel=int(channel) + 1 if re.fullmatch(r"\d{1,9}", channel) else 0,
        stroke=_color_number(extra.get(_COLOR, "")),
        fill=_color_number(extra.get(_FILL, "")),
        width=width if 0 < width < _WIDEST else 0.0,
        group=int(group) if re.fullmatch(r"\d{1,3}", group) and int(group) < 256 else 0,
    )


def _in_plane(annotation: Annotation, roi: Roi) -> Roi:
    """Return a region of interest at its place in a stack (z) or a hyperstack (t and z)."""
    plane = time_and_depth(annotation)
    if plane is None:
        return roi
    if " " in annotation.extra[PLANE]:
        return replace(roi, time=plane[0] + 1, depth=plane[1] + 1)
    return replace(roi, place=plane[1] + 1)


def _name(annotation: Annotation, number: int) -> str:
    """Return what the ROI Manager lists: the name it had, or a number and the caption, in ASCII."""
    given = _NO_NAME.sub(" ", annotation.extra.get(NAME, ""))[:_LONGEST_NAME].strip(" .")
    if given and (not annotation.caption or any(map(str.isalpha, given))):
        return given
    text = annotation.caption or annotation.extra.get(CLASS, "") or annotation.uid
    words = _NO_NAME.sub(" ", _ascii(text))[:_LONGEST_NAME]
    return f"{number:04d} {words}".rstrip(" .")


def _ascii(text: str) -> str:
    """Return a text without accents; nothing of a script that has no Latin letters."""
    found = unicodedata.normalize("NFKD", text.translate(_ACCENTS))
    plain = found.encode("ascii", "ignore").decode("ascii")
    letters = sum(map(str.isalpha, plain)), sum(map(str.isalpha, text))
    return plain if 2 * letters[0] >= letters[1] else ""


def _properties(texts: Mapping[str, str], image: str, name: str, size: Size) -> str:
    """Return texts as the lines of properties that ImageJ keeps."""
    sides = f"{size[0]} {size[1]}" if size else ""
    about = dict(zip(_ABOUT, (image, name, sides), strict=True))
    lines = {f"{_PREFIX}{_escaped(_ESCAPED, key)}": text for key, text in texts.items()}
    return "".join(f"{key}: {_escaped(_IN_TEXT, text)}\n" for key, text in (about | lines).items())
