"""The development folders: parts of COCO 2017, and photographs labelled the same way."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from skimage.draw import polygon2mask

from napari_patchioner.annotations.rle import runs_mask
from napari_patchioner.errors import FormatError
from napari_patchioner.evaluation.metrics.mention import plain_name
from napari_patchioner.images import image_size, read_picture
from napari_patchioner.regions import Box, Mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_patchioner.regions import Region

FOLDERS = ("mini_train", "tiny_train", "coco128_train", "coco128_val")
"""Parts of COCO that heads are fitted on and reports are made of."""

MORE_FOLDERS = ("tiny_masks", "val2017_extra", "val2017_people", "voc2012", "openimages")
"""More photographs that heads are fitted on; most show persons, and most have boxes only."""

_INCOMPLETE = ("voc2012", "openimages")
_ROOTS = ("coco", "coco_more", "")


@dataclass(frozen=True, eq=False, slots=True)
class LabelledRegion:
    """A region and the name people gave to what is in it.

    Attributes
    ----------
    category : str
        Plain name of an object or stuff class.
    region : Region
        ``(row, column)`` image pixels, pixel centres at integers.
    area : float
        Fraction of the image it takes, 0 to 1.
    """

    category: str
    region: Region
    area: float


@dataclass(frozen=True, eq=False, slots=True)
class LabelledImage:
    """An image file with everything known about it.

    Attributes
    ----------
    file_name : str
        Name without a folder; it identifies the image.
    path : Path
        Where the pixels are.
    folder : str
        The part of the data set it comes from.
    size : tuple of int
        ``(height, width)`` in pixels.
    boxes : tuple of LabelledRegion
        Object boxes, crowds left out.
    masks : tuple of LabelledRegion
        Object masks, crowds left out.
    stuff : tuple of LabelledRegion
        Masks of background classes.
    captions : tuple of str
        What people wrote about the whole image.
    licence : int, optional
        COCO's licence number of the photograph (4 to 8 allow commercial use).
    complete : bool
        Whether everything that has a COCO category is labelled; otherwise a thing without a label
        may be there all the same.
    """

    file_name: str
    path: Path
    folder: str
    size: tuple[int, int]
    boxes: tuple[LabelledRegion, ...]
    masks: tuple[LabelledRegion, ...]
    stuff: tuple[LabelledRegion, ...]
    captions: tuple[str, ...]
    licence: int | None
    complete: bool = True

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Read the photograph.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
        """
        return np.asarray(read_picture(self.path).convert("RGB"))


Labels = tuple[list[LabelledRegion], list[LabelledRegion], list[LabelledRegion]]


def development_images(
    data: Path, folders: Sequence[str] = FOLDERS, *, smallest: float = 0.02
) -> Iterator[LabelledImage]:
    """Development images of the folders, each file name once.

    Parameters
    ----------
    data : Path
        The data folder (it holds ``coco``, ``coco_more`` and ``vocab``).
    folders : sequence of str
        Which parts, in this order; a name seen before is skipped.
    smallest : float
        Regions that take a smaller fraction of the image are left out.

    Yields
    ------
    LabelledImage

    Raises
    ------
    FormatError
        A folder or annotation file is missing or damaged.
    """
    captions = _captions(data / "coco")
    seen: set[str] = set()
    for folder in folders:
        root = _root(data, folder)
        if (root / "captions.json").exists():
            _add_captions(captions, root / "captions.json")
        records = _read_instances(root) or _read_panoptic(root, data)
        for path in sorted((root / "images").glob("*.jpg")):
            if path.name in seen:
                continue
            seen.add(path.name)
            size = image_size(path)
            boxes, masks, stuff = records.labels(path.name, size)
            yield LabelledImage(
                file_name=path.name,
                path=path,
                folder=folder,
                size=size,
                boxes=_large(boxes, smallest),
                masks=_large(masks, smallest),
                stuff=_large(stuff, smallest),
                captions=tuple(captions[path.stem.lstrip("0")]),
                licence=records.licences.get(path.name),
                complete=folder not in _INCOMPLETE,
            )


def _root(data: Path, folder: str) -> Path:
    """Return where a folder lies."""
    places = [data / root / folder for root in _ROOTS]
    return next((place for place in places if place.is_dir()), places[0])


def _large(regions: list[LabelledRegion], smallest: float) -> tuple[LabelledRegion, ...]:
    return tuple(region for region in regions if region.area > smallest)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot read the annotations {path}: {error}") from error


def _captions(coco: Path) -> defaultdict[str, list[str]]:
    """Captions by image number, as it is written in file names, from two files that hold some."""
    captions: defaultdict[str, list[str]] = defaultdict(list)
    for name in ("captions_of_development_images.json", "mini_train/captions_train2017.json"):
        _add_captions(captions, coco / name)
    return captions


def _add_captions(captions: defaultdict[str, list[str]], path: Path) -> None:
    for record in _json(path)["annotations"]:
        captions[str(record["image_id"])].append(" ".join(record["caption"].split()))


class _Instances:
    """Boxes, and polygons where there are any, of an ``instances*.json``."""

    def __init__(self, path: Path) -> None:
        document = _json(path)
        self._names = {record["id"]: record["name"] for record in document["categories"]}
        files = {record["id"]: record["file_name"] for record in document["images"]}
        self.licences = {
            record["file_name"]: record.get("license") for record in document["images"]
        }
        self._objects: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for record in document["annotations"]:
            if not record["iscrowd"]:
                self._objects[files[record["image_id"]]].append(record)

    def labels(self, file_name: str, size: tuple[int, int]) -> Labels:
        boxes, masks = [], []
        for record in self._objects[file_name]:
            name = self._names[record["category_id"]]
            boxes.append(_box(name, record["bbox"], size))
            if record.get("segmentation"):
                masks.append(_mask(name, _rasterise(record["segmentation"], size)))
        return boxes, masks, []


class _Panoptic:
    """YOLO boxes and panoptic segments; some images have boxes only."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        document = _json(path)
        self._root = path.parent
        self._names = names
        self._categories = {record["id"]: record for record in document["categories"]}
        files = {record["id"]: record["file_name"] for record in document["images"]}
        self.licences = {record["file_name"]: record["license"] for record in document["images"]}
        self._segments = {
            files[record["image_id"]]: record["segments_info"] for record in document["annotations"]
        }

    def labels(self, file_name: str, size: tuple[int, int]) -> Labels:
        boxes = self._boxes(file_name, size)
        if file_name not in self._segments:
            return boxes, [], []
        path = self._root / "panoptic_masks" / file_name.replace(".jpg", ".png")
        colours = np.asarray(read_picture(path).convert("RGB")).astype(np.int64)
        numbers = colours @ np.array([1, 256, 65536])
        masks: list[LabelledRegion] = []
        stuff: list[LabelledRegion] = []
        for segment in self._segments[file_name]:
            category = self._categories[segment["category_id"]]
            if segment["iscrowd"]:
                continue
            kind = masks if category["isthing"] else stuff
            kind.append(_mask(plain_name(category["name"]), numbers == segment["id"]))
        return boxes, masks, stuff

    def _boxes(self, file_name: str, size: tuple[int, int]) -> list[LabelledRegion]:
        path = self._root / "yolo_labels" / file_name.replace(".jpg", ".txt")
        height, width = size
        boxes = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            number, *values = line.split()
            x, y, w, h = (float(value) for value in values)
            corner = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
            boxes.append(_box(self._names[int(number)], corner, size))
        return boxes


def _read_instances(root: Path) -> _Instances | None:
    found = sorted(root.glob("instances*.json"))
    return _Instances(found[0]) if found else None


def _read_panoptic(root: Path, data: Path) -> _Panoptic:
    found = sorted(root.glob("panoptic_*.json"))
    if not found:
        raise FormatError(f"the folder {root} holds neither instances nor panoptic annotations.")
    return _Panoptic(found[0], _json(data / "vocab" / "coco_categories.json"))


def _box(name: str, xywh: Sequence[float], size: tuple[int, int]) -> LabelledRegion:
    """Take a COCO box, whose (x, y) count from the corner of the first pixel, cut at the image."""
    x, y, w, h = xywh
    top, left = max(y, 0.0), max(x, 0.0)
    bottom, right = min(y + h, size[0]), min(x + w, size[1])
    area = max(bottom - top, 0) * max(right - left, 0) / (size[0] * size[1])
    return LabelledRegion(name, Box(top - 0.5, left - 0.5, bottom - 0.5, right - 0.5), area)


def _mask(name: str, pixels: npt.NDArray[np.bool_]) -> LabelledRegion:
    return LabelledRegion(name, Mask(pixels), float(pixels.mean()))


def _rasterise(segmentation: Any, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Mask of COCO polygons (rings of x, y with pixel corners at integers) or run lengths."""
    if isinstance(segmentation, dict):
        return runs_mask(segmentation["counts"], *size)
    pixels = np.zeros(size, dtype=bool)
    for ring in segmentation:
        vertices = np.reshape(ring, (-1, 2))[:, ::-1] - 0.5
        pixels |= polygon2mask(size, vertices)
    return pixels
