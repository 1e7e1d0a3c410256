"""Image captioning: COCO's caption files, Karpathy's splits, Flickr30k in either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import WholeImage

from .records import FileDataset, Record, Sample, Task, image_names, is_coco

if TYPE_CHECKING:
    from collections.abc import Iterator


class CocoCaptions(FileDataset):
    """Every image is a sample, all its captions are its references."""

    form = "coco-captions"
    task: Task = "image"

    @classmethod
    def fits(cls, data: Any) -> bool:
        """Whether a file's contents are of this form, judged by their first record."""
        return is_coco(data) and "caption" in data["annotations"][0]

    def samples(self) -> Iterator[Sample]:
        """Draw one sample per image, in the order in which the captions name them."""
        captions: dict[str, list[str]] = {}
        for place, values in enumerate(self.data["annotations"]):
            record = Record(self.path.name, f"annotation {place + 1}", values)
            captions.setdefault(record.identity("image_id"), []).append(record.text("caption"))
        names = image_names(self.data, self.path.name)
        for identity, references in captions.items():
            image = names.get(identity, identity)
            if self.images.wanted(image):
                yield Sample(identity, image, WholeImage(), tuple(references))


class KarpathySplit(FileDataset):
    """``dataset_coco.json`` and ``dataset_flickr30k.json``; the split is ``test`` unless named."""

    form = "karpathy"
    task: Task = "image"

    @classmethod
    def fits(cls, data: Any) -> bool:
        """Whether a file's contents are of this form, judged by their first record."""
        images = data.get("images") if isinstance(data, dict) else None
        first = images[0] if isinstance(images, list) and images else None
        return isinstance(first, dict) and "sentences" in first

    def samples(self) -> Iterator[Sample]:
        """Draw one sample per image of the split."""
        wanted, splits = self.split or "test", set()
        for place, values in enumerate(self.data["images"]):
            record = Record(self.path.name, f"image {place + 1}", values)
            splits.add(record.text("split"))
            image = record.text("filename")
            if record.text("split") == wanted and self.images.wanted(image):
                yield Sample(image, image, WholeImage(), self._sentences(record, image))
        if wanted not in splits:
            known = ", ".join(sorted(splits))
            raise FormatError(f"{self.path.name}: has no split {wanted!r}; it has {known}")

    def _sentences(self, record: Record, image: str) -> tuple[str, ...]:
        name = f"image {image}"
        sentences = record.records("sentences")
        if not sentences:
            record.fail("has no sentence")
        return tuple(Record(self.path.name, name, sentence).text("raw") for sentence in sentences)
