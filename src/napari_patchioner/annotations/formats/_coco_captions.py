"""COCO captions: whole images and what is said about them, any number of captions each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.annotations._carried import carried_with_image
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._images import image_name
from napari_patchioner.regions import WholeImage

from ._coco import document, image_ids, is_captions, read
from ._json_file import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_patchioner.annotations._annotation import Annotation
    from napari_patchioner.annotations._images import Images

    from ._head import Head

__all__ = ["knows", "read", "write"]


def knows(head: Head) -> bool:
    """Whether a file is COCO's, and there are captions in sight and no outline."""
    return is_captions(head)


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write the captions of whole images; return all other regions, which have no place here.

    Raises
    ------
    FormatError
        If two regions of one image share a uid, or the file cannot be written.
    """
    check_unique(annotations)
    ids = image_ids(annotations, images)
    held = [one for one in annotations if isinstance(one.region, WholeImage)]
    entries = [
        {
            "id": number,
            "image_id": ids[one.image],
            "caption": one.caption,
            "attributes": carried_with_image(one, image_name(images, one.image)),
        }
        for number, one in enumerate(held, start=1)
    ]
    write_json(path, document(ids, images, entries))
    return tuple(one for one in annotations if not isinstance(one.region, WholeImage))
