"""Dense captioning in ControlCap's files (Visual Genome 1.2 and VG-COCO).

COCO's layout, but a ``bbox`` is ``[x1, y1, x2, y2]``, and every annotation has a ``caption``; where
it has a category as well, captions are also judged by whether they name it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._coco import category_names, image_names, is_coco
from ._file import FileDataset
from ._records import Record, box_of
from ._sample import Sample, Task

if TYPE_CHECKING:
    from collections.abc import Iterator


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
