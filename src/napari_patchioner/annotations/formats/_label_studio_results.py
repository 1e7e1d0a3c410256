"""Label Studio's tasks, read: which results belong together, and what they say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_patchioner.annotations._parts import Shape, gather
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Region, WholeImage

from ._label_studio_shapes import TYPES, Size, region_of, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_patchioner.annotations._annotation import Annotation

_OURS, _PLACE = "napari_patchioner", "napari_patchioner_place"
# What says something about a region, or about several, and is none itself.
_BESIDE = ("labels", "choices", "rating", "number", "datetime", "taxonomy", "relation", "pairwise")


# All results with one id: a region, its texts, and what else is said about it.
_Item: TypeAlias = "list[Mapping[str, Any]]"


def read_task(name: str, place: int, task: Any) -> list[Annotation]:
    """Return the annotations of one task.

    Parameters
    ----------
    name : str
        The file, for messages.
    place : int
        Which task of the file it is, from 0.
    task : object
        What the file holds there.

    Raises
    ------
    FormatError
        One sentence that names the file, the task and the result.
    """
    where = f"{name}: task {place + 1}"
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise FormatError(f"{where}: has no 'data'; it is no task of Label Studio")
    image = _image(task["data"])
    found: list[tuple[int, Annotation]] = []
    for list_name, model in _lists(task):
        for of in _objects(task.get(list_name), where, list_name):
            version = str(of.get("model_version") or "") if model else None
            known = {one.uid for _, one in found} if model else set()
            made = _records(_items(of["result"], where), image, where, version)
            found += [(at, one) for at, one in made if one.uid not in known]
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _lists(task: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Return the names of the lists of results, and whether a model made them."""
    people = "annotations" if "annotations" in task else "completions"
    return [(people, False), ("predictions", True)]


def _objects(value: Any, where: str, name: str) -> list[Mapping[str, Any]]:
    """Return a list of objects that hold results, or say what is wrong with it."""
    # Exports may name the predictions they leave out by their numbers.
    listed = value if isinstance(value, list) else []
    items = [one for one in listed if not isinstance(one, int)]
    if not all(isinstance(one, dict) and isinstance(one.get("result"), list) for one in items):
        raise FormatError(f"{where}: an item of {name!r} has no list of results")
    return [one for one in items if not one.get("was_cancelled")]


def _image(data: Mapping[str, Any]) -> str:
    """Return the image a task is about."""
    if isinstance(data.get(_OURS), str):
        return str(data[_OURS])
    names = ["image", "img", "image_url", *data]
    return next((data[name] for name in names if isinstance(data.get(name), str)), "")


def _items(results: list[Any], where: str) -> dict[str, _Item]:
    """Return the results by their ids."""
    items: dict[str, _Item] = {}
    for place, result in enumerate(results):
        if not isinstance(result, dict):
            raise FormatError(f"{where}: result {place + 1} is no object")
        uid = str(result.get("id") or f"result {place + 1}")
        items.setdefault(uid, []).append(result)
    return items


def _records(
    items: Mapping[str, _Item], image: str, where: str, version: str | None
) -> list[tuple[int, Annotation]]:
    """Return the annotations in a list of results, each with its place in what we wrote."""
    shapes: list[Shape] = []
    sizes: list[Size] = []
    places: dict[str, int] = {}
    for uid, item in items.items():
        try:
            made = _shape(item, image, uid, sizes)
        except FormatError as error:
            raise FormatError(f"{where}: result {uid!r}: {error}") from error
        if made is not None:
            shapes.append(made)
            places.setdefault(made.texts.get("uid", uid), _place(item))
    size = sizes[0] if sizes else (1, 1)
    ours = {one.texts["uid"] for one in shapes if "wkt" in one.texts and "uid" in one.texts}
    try:
        found = gather(shapes, lambda _, region: shown(region, size))
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    return [
        (places.get(one.uid, 0), one if version is None or one.uid in ours else _by(version, one))
        for one in found
    ]


def _by(version: str, annotation: Annotation) -> Annotation:
    """Return an annotation whose caption, if any, a model in Label Studio wrote."""
    source = "model" if annotation.caption else ""
    return replace(annotation, source=source, model=version)  # type: ignore[arg-type]


def _place(item: _Item) -> int:
    """Return which of our annotations this was when it was written."""
    metas = [meta for one in item if isinstance(meta := one.get("meta"), dict)]
    found = next((meta[_PLACE] for meta in metas if _PLACE in meta), 0)
    return found if isinstance(found, int) else 0


def _shape(item: _Item, image: str, uid: str, sizes: list[Size]) -> Shape | None:
    """Return what the results with one id say; None if it is nothing about a region."""
    drawn: Region | None = None
    label: str | None = None
    said: list[str] = []
    for result in item:
        kind, value = str(result.get("type", "")), result.get("value")
        value = value if isinstance(value, dict) else {}
        bare = kind.removesuffix("labels")
        if bare in TYPES:
            sizes.append(_size(result))
            drawn = region_of(bare, value, sizes[-1])
        elif kind == "textarea":
            text = value.get("text", [])
            said += map(str, text if isinstance(text, list) else [text or ""])
        elif kind not in _BESIDE:
            raise FormatError(f"the type {kind!r} is about no region of an image")
        label = _label(value, kind) or label
    texts = _texts(item)
    if drawn is None and texts.get("kind", "image") == "image":
        drawn = WholeImage() if said or "wkt" in texts else None
    if drawn is None and "wkt" not in texts:
        return None
    return Shape(image, uid, drawn, "\n".join(said), texts, label)


def _label(value: Mapping[str, Any], kind: str) -> str | None:
    """Return the first label of a result."""
    labels = value.get(kind, []) if kind.endswith("labels") else []
    return str(labels[0]) if isinstance(labels, list) and labels else None


def _size(result: Mapping[str, Any]) -> Size:
    """Return ``(height, width)`` of the image, which a result must tell."""
    size = (result.get("original_height"), result.get("original_width"))
    if not all(isinstance(one, int) and one > 0 for one in size):
        raise FormatError("lacks 'original_width' and 'original_height', so percent mean nothing")
    if result.get("image_rotation"):
        raise FormatError("was drawn on a turned image; turn the image back in Label Studio")
    return size  # type: ignore[return-value]


def _texts(item: _Item) -> dict[str, str]:
    """Return what the results carry: ours, or choices and notes of other people."""
    for result in item:
        meta = result.get("meta")
        ours = meta.get(_OURS) if isinstance(meta, dict) else None
        if isinstance(ours, dict):
            return {str(key): str(text) for key, text in ours.items()}
    texts = {}
    for result in item:
        meta, value = result.get("meta"), result.get("value")
        notes = meta.get("text") if isinstance(meta, dict) else None
        if isinstance(notes, list) and notes:
            texts["notes"] = "\n".join(map(str, notes))
        chosen = value.get("choices") if isinstance(value, dict) else None
        if isinstance(chosen, list):
            texts[str(result.get("from_name") or "choices")] = ", ".join(map(str, chosen))
    return texts
