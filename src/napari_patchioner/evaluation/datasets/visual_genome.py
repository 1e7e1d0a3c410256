"""Dense captioning in Visual Genome's own ``region_descriptions.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._file import FileDataset
from ._records import Record, box_of
from ._sample import Sample, Task

if TYPE_CHECKING:
    from collections.abc import Iterator


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
