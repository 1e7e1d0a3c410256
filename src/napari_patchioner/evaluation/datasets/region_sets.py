r"""Region-set captioning: COCO Entities and Flickr30k Entities as published with Patch-ioner.

``{image id: {"caption\ncaption": [[x1, y1, x2, y2], ...]}}``: every set of boxes has the captions
that speak of exactly these boxes as its references.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_patchioner.regions import Box, RegionSet

from ._file import FileDataset
from ._records import Record, box_of
from ._sample import Sample, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
            boxes = tuple(box_of(one, record) for one in corners)
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
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            high = min(one.bottom, other.bottom) - max(one.top, other.top)
            wide = min(one.right, other.right) - max(one.left, other.left)
            if high > 0 and wide > 0:
                return "overlapping"
    return "disjoint"
