"""The layout that COCO's files share."""

from __future__ import annotations

from typing import Any

from ._records import Record


def is_coco(data: Any) -> bool:
    """Whether contents have COCO's layout, with at least one annotation."""
    if not isinstance(data, dict) or not isinstance(data.get("annotations"), list):
        return False
    annotations = data["annotations"]
    return bool(annotations) and isinstance(annotations[0], dict) and "image_id" in annotations[0]


def image_names(data: Any, file: str) -> dict[str, str]:
    """File name of every image that the file lists, by its id; ids of others stand for themselves.

    Raises
    ------
    FormatError
        A record of an image is none.
    """
    names = {}
    for record in _listed(data, file, "images", "image"):
        if "file_name" in record.values:
            names[record.identity("id")] = record.text("file_name")
    return names


def category_names(data: Any, file: str) -> dict[str, str]:
    """Name of every category that the file lists, by its id.

    Raises
    ------
    FormatError
        A record of a category is none.
    """
    categories = _listed(data, file, "categories", "category")
    return {one.identity("id"): one.text("name") for one in categories}


def _listed(data: Any, file: str, key: str, name: str) -> list[Record]:
    """Return the records of a list that may be missing."""
    if data.get(key) is None:
        return []
    listed = Record(file, "the file", data).records(key)
    return [Record(file, f"{name} {place}", one) for place, one in enumerate(listed, start=1)]
