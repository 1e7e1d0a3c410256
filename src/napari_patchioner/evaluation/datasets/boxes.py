"""Dense captioning in ControlCap's files (Visual Genome 1.2 and VG-COCO).

COCO's layout, but a ``bbox`` is ``[x1, y1, x2, y2]``, and every annotation has a ``caption``; where
it has a category as well, captions are also judged by whether they name it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_patchioner.regions import Box, RegionSet

from .records import FileDataset, Record, Sample, Task, box_of, category_names, image_names, is_coco

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class DenseCaptions(FileDataset):
    """Every box with its phrase is a sample; boxes are given, none is detected."""

    form = "controlcap"
    task: Task = "dense"

    @classmethod
    def fits(cls, data: Any) -> bool:
        """Whether a file's contents are of this form, judged by their first record."""
        return is_coco(data) and {"bbox", "caption"} <= data["annotations"][0].keys()

    def samples(self) -> Iterator[Sample]:
        """Draw one sample per box."""
        names = image_names(self.data, self.path.name)
        categories = category_names(self.data, self.path.name)
        for place, values in enumerate(self.data["annotations"]):
            record = Record(self.path.name, f"annotation {place + 1}", values)
            image = names.get(record.identity("image_id"), record.identity("image_id"))
            if not self.images.wanted(image):
                continue
            box, caption = box_of(record.records("bbox"), record), record.text("caption")
            name = str(values.get("id", place + 1))
            category = categories.get(str(values.get("category_id")))
            extra = {"category": category} if category else {}
            yield Sample(f"{image}/{name}", image, box, (caption,), extra=extra)


class RegionSets(FileDataset):
    """Sets of boxes, each described by one or several sentences."""

    form = "region-sets"
    task: Task = "region-set"

    @classmethod
    def fits(cls, data: Any) -> bool:
        """Whether a file's contents are of this form, judged by their first record."""
        if not isinstance(data, dict) or not data:
            return False
        first = next((sets for sets in data.values() if sets), None)
        return (
            isinstance(first, dict)
            and all(isinstance(boxes, list) for boxes in first.values())
            and "traces" not in first
        )

    def samples(self) -> Iterator[Sample]:
        """Draw one sample per set of boxes."""
        for image, sets in self.data.items():
            record = Record(self.path.name, f"image {image}", sets)
            if self.images.wanted(image):
                yield from self._of_image(image, record)

    def _of_image(self, image: str, record: Record) -> Iterator[Sample]:
        for position, (captions, corners) in enumerate(record.values.items()):
            if not isinstance(corners, list) or not corners:
                record.fail(f"set {position + 1} must be a list of at least one box")
            boxes = tuple(box_of(corner, record) for corner in corners)
            references = tuple(line for line in captions.split("\n") if line.strip())
            if not references:
                record.fail(f"set {position + 1} has no caption")
            group = overlap_group(boxes)
            yield Sample(f"{image}/{position}", image, RegionSet(boxes), references, group)


def overlap_group(boxes: Sequence[Box]) -> str:
    """Whether the members of a set share pixels.

    Parameters
    ----------
    boxes : sequence of Box

    Returns
    -------
    {"single", "disjoint", "overlapping"}
        One box; several of which no two share an area; any other.

    Examples
    --------
    >>> overlap_group([Box(0, 0, 2, 2), Box(0, 2, 2, 4)])
    'disjoint'
    """
    if len(boxes) == 1:
        return "single"
    for place, item in enumerate(boxes):
        for other in boxes[place + 1 :]:
            high = min(item.bottom, other.bottom) - max(item.top, other.top)
            wide = min(item.right, other.right) - max(item.left, other.left)
            if high > 0 and wide > 0:
                return "overlapping"
    return "disjoint"


class VisualGenome(FileDataset):
    """Every region with its phrase is a sample."""

    form = "visual-genome"
    task: Task = "dense"

    @classmethod
    def fits(cls, data: Any) -> bool:
        """Whether a file's contents are of this form, judged by their first record."""
        return (
            isinstance(data, list)
            and bool(data)
            and isinstance(data[0], dict)
            and "regions" in data[0]
        )

    def samples(self) -> Iterator[Sample]:
        """Draw one sample per region; regions without a phrase are left out."""
        for place, values in enumerate(self.data):
            record = Record(self.path.name, f"image {place + 1}", values)
            image = record.identity("image_id", "id")
            if not self.images.wanted(image):
                continue
            for number, region in enumerate(record.records("regions")):
                inner = Record(self.path.name, f"image {image}, region {number + 1}", region)
                left, top = inner.number("x"), inner.number("y")
                right, bottom = left + inner.number("width"), top + inner.number("height")
                phrase = inner.text("phrase")
                if phrase.strip():
                    name = str(region.get("region_id", number + 1))
                    box = box_of([left, top, right, bottom], inner)
                    yield Sample(f"{image}/{name}", image, box, (phrase,))
