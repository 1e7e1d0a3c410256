"""COCO captions: whole images and what is said about them, any number of captions each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations.table import check_unique
from napari_patchioner.annotations.texts import METADATA, record_texts_with_image
from napari_patchioner.regions import WholeImage

from ._coco import is_captions, read, write_held

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_patchioner.annotations.images import Images
    from napari_patchioner.annotations.record import Annotation

    from ._coco_drawing import Size
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
    held = [one for one in annotations if isinstance(one.region, WholeImage)]
    write_held(path, held, annotations, images, _entry, classed=False)
    return tuple(one for one in annotations if not isinstance(one.region, WholeImage))


def _entry(annotation: Annotation, name: str, size: Size | None) -> dict[str, Any]:
    """Return what the file says about one image."""
    attributes = record_texts_with_image(annotation, name)
    attributes.pop(METADATA, None)
    return {"caption": annotation.caption, "attributes": attributes}
