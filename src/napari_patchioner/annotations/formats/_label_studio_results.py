"""Label Studio's tasks, read: which results belong together, on which image, and what they say."""

from __future__ import annotations

import base64
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

from napari_patchioner.annotations.metadata import OURS as _OURS
from napari_patchioner.annotations.metadata import with_our_texts
from napari_patchioner.annotations.notes import leaving_out
from napari_patchioner.annotations.texts import PART, Shape, gather
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records
from napari_patchioner.regions import Region, WholeImage

from ._label_studio_shapes import TYPES, Size, region_of, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_patchioner.annotations.images import Images
    from napari_patchioner.annotations.record import Annotation

_PLACE = "napari_patchioner_place"
# What says something about a region, or about several, and is none itself.
_BESIDE = ("labels", "choices", "rating", "number", "datetime", "taxonomy", "relation", "pairwise")
_PICTURE = re.compile(r"\.(png|jpe?g|tiff?|bmp|webp|gif|svg|dcm)$", re.IGNORECASE)
_UPLOADED = re.compile(r"/data/upload/(\d+/)?[0-9a-f]{8}-(?P<name>[^/]+)$")
_USUAL = ("image", "img", "image_url", "url", "picture", "photo")


# All results with one id: a region, its texts, and what else is said about it.
_Item: TypeAlias = "list[Mapping[str, Any]]"


@dataclass(frozen=True, slots=True)
class Found:
    """A record in a task, and where it stands there.

    Attributes
    ----------
    annotation : Annotation
        The record.
    place : str
        The list of the task, which of its items, and the id of the result, apart by spaces.
    order : int
        Which of our annotations it was when it was written.
    """

    annotation: Annotation
    place: str
    order: int


def read_task(
    where: str, task: Any, images: Images | None = None, *, ours: bool = True
) -> list[Found]:
    """Return the annotations of one task.

    Parameters
    ----------
    where : str
        The file and the task, for messages.
    task : object
        What the file holds there.
    images : mapping of str to ImageInfo, optional
        The images by any of their names, for results that tell no size.
    ours : bool
        Whether to read what entries of other people hold of ours.

    Raises
    ------
    FormatError
        If it is no task.
    """
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise FormatError(f"{where}: has no 'data'; it is no task of Label Studio")
    pictures = _Pictures(task["data"], images or {})
    found: list[Found] = []
    seen: set[str] = set()
    for list_name, number, of in results_of(task, where):
        is_model = list_name == "predictions"
        version = str(of.get("model_version") or "") if is_model else None
        known = seen if is_model else set()
        before = len(found)
        items = _items(of["result"], where)
        made = _records(items, pictures, where, ours=ours)
        for one, uid, order in made:
            if one.uid in known:
                continue
            if version is not None and not _holds_ours(items.get(uid, [])):
                one = _by(version, one, items.get(uid, []), of)
            found.append(Found(one, f"{list_name} {number} {uid}", order))
        seen |= {one.annotation.uid for one in found[before:]}
    return sorted(found, key=lambda one: one.order)


def results_of(task: Mapping[str, Any], where: str) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Yield each item of a task that holds results: the list it is in, which it is, and itself."""
    people = "annotations" if "annotations" in task else "completions"
    for name in (people, "predictions"):
        listed = task.get(name)
        for number, one in enumerate(listed if isinstance(listed, list) else []):
            # Exports may name the predictions they leave out by their numbers.
            if isinstance(one, int):
                continue
            with leaving_out("annotation", where):
                if not isinstance(one, dict) or not isinstance(one.get("result"), list):
                    raise FormatError(f"{where}: an item of {name!r} has no list of results")
                if not one.get("was_cancelled"):
                    yield name, number, one


class _Pictures:
    """The images of a task, and their sizes as far as they are known.

    Parameters
    ----------
    data : mapping
        The data of the task.
    images : mapping of str to ImageInfo
        The images by any of their names.
    """

    def __init__(self, data: Mapping[str, Any], images: Images) -> None:
        self._data, self._images = data, images
        self.sizes: dict[str, Size] = {}
        texts = {name: one for name, one in data.items() if isinstance(one, str) and name != _OURS}
        usual = {name: texts[name] for name in _USUAL if name in texts}
        shown = {name: one for name, one in texts.items() if _PICTURE.search(_path_of(one))}
        self._single = shown or dict(list((usual or texts).items())[:1])
        if not isinstance(data.get(_OURS), str) and len(usual) == 1 and len(shown) < 2:
            self._single = usual
        self._lists = {
            name: one
            for name, one in data.items()
            if isinstance(one, list) and one and all(isinstance(path, str) for path in one)
        }

    def of(self, item: _Item) -> str:
        """Return the image that results are about.

        Raises
        ------
        FormatError
            If the task shows several, and nothing tells which is meant.
        """
        if isinstance(self._data.get(_OURS), str):
            return str(self._data[_OURS])
        return self._called(self._written(item))

    def _written(self, item: _Item) -> str:
        """Return the image as the task writes it."""
        index = next((one["item_index"] for one in item if _is_index(one.get("item_index"))), None)
        lists = [one for one in self._lists.values() if _PICTURE.search(_path_of(one[0]))]
        lists = lists or list(self._lists.values())
        if index is not None and lists:
            if index < len(lists[0]):
                return str(lists[0][index])
            raise FormatError(f"is on image {index + 1} of a task that shows {len(lists[0])}")
        if not self._single and len(lists) == 1 and len(lists[0]) == 1:
            return str(lists[0][0])
        if len(self._single) > 1 or (lists and not self._single):
            return self._named(item)
        return next(iter(self._single.values()), "")

    def _named(self, item: _Item) -> str:
        """Return the one of several images whose element the results name."""
        sources = [str(one.get("source", "")).removeprefix("$") for one in item]
        targets = [str(one.get("to_name", "")) for one in item]
        found = next((self._single[one] for one in (*sources, *targets) if one in self._single), "")
        if found:
            return found
        for target in targets:
            digits = re.findall(r"\d+", target)
            alike = [
                one for name, one in self._single.items() if re.findall(r"\d+", name) == digits
            ]
            if len(alike) == 1:
                return alike[0]
        raise FormatError(
            "is in a task that shows several images, and nothing tells on which of them it is; "
            "export each image as a task of its own"
        )

    def _called(self, written: str) -> str:
        """Return what an image is called here: as an image that is known, else by its own name."""
        plain = image_of(written)
        names = [written, _path_of(written), plain]
        return next((name for name in names if name and self._info(name) is not None), plain)

    def _info(self, name: str) -> Any:
        try:
            return self._images.get(name)
        except FormatError:  # it may be one of several
            return None

    def size(self, image: str) -> Size | None:
        """Return ``(height, width)`` of an image, as other results or the images say."""
        info = None if image in self.sizes else self._info(image)
        if info is not None and min(info.height, info.width) > 0:
            self.sizes[image] = (info.height, info.width)
        return self.sizes.get(image)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _path_of(url: str) -> str:
    """Return the path in an address: without what asks, and its signs as they are."""
    if url.startswith("data:"):
        return ""
    try:
        parts = urlsplit(url)
        asked = parse_qs(parts.query)
    except ValueError:
        return url
    if "fileuri" in asked:
        try:
            return _path_of(base64.b64decode(asked["fileuri"][0], validate=True).decode())
        except ValueError:
            return unquote(parts.path)
    if "d" in asked and parts.path.rstrip("/").endswith("local-files"):
        return asked["d"][0]
    if len(parts.scheme) > 1:  # a drive is no scheme
        return unquote(f"{parts.scheme}://{parts.netloc}{parts.path}")
    return unquote(parts.path) if url.startswith("/data/") else url


def image_of(url: str) -> str:
    """Return what the image at an address of Label Studio was called before it came there.

    >>> image_of("/data/upload/7/1b8e0dc9-cat.jpg"), image_of("/data/local-files/?d=a/cat%20b.jpg")
    ('cat.jpg', 'a/cat b.jpg')
    >>> image_of("https://host/a/cat.jpg?token=1"), image_of("cat.jpg")
    ('https://host/a/cat.jpg', 'cat.jpg')
    >>> image_of("data:image/png;base64,iVBORw0K")  # a picture within the file is one of its own
    'data-fc9d5eb7'
    """
    if url.startswith("data:"):
        return f"data-{hashlib.sha256(url.encode(errors='replace')).hexdigest()[:8]}"
    path = _path_of(url)
    uploaded = _UPLOADED.search(path)
    return uploaded["name"] if uploaded else path


def _items(results: list[Any], where: str) -> dict[str, _Item]:
    """Return the results by their ids."""
    items: dict[str, _Item] = {}
    for place, result in enumerate(results):
        with leaving_out("result", where):
            if not isinstance(result, dict):
                raise FormatError(f"{where}: result {place + 1} is no object")
            items.setdefault(id_of(result, place), []).append(result)
    return items


def id_of(result: Mapping[str, Any], place: int) -> str:
    """Return the id of a result; one without gets that of its place."""
    return str(result.get("id") or f"result {place + 1}")


def _records(
    items: Mapping[str, _Item], pictures: _Pictures, where: str, *, ours: bool
) -> list[tuple[Annotation, str, int]]:
    """Return the annotations in a list of results, with their ids and places in what we wrote."""
    shapes: list[Shape] = []
    places: dict[str, tuple[str, int]] = {}
    partly: dict[str, Mapping[str, str]] = {}
    # Sizes first: what tells none takes them from others on the same image.
    for item in items.values():
        for result in item:
            size = _told_size(result)
            if size is not None:
                with suppress(FormatError):  # it is told with the region
                    pictures.sizes.setdefault(pictures.of(item), size)
    for uid, item in items.items():
        with leaving_out("region", f"{where}: result {uid!r}"):
            charge_records()
            try:
                made = _shape(item, pictures, uid)
            except FormatError as error:
                raise FormatError(f"{where}: result {uid!r}: {error}") from error
            if made is not None:
                shapes.append(made)
                places.setdefault(made.texts.get("uid", uid), (uid, _place(item)))
                texts = _our_texts(item)
                if ours and texts and "uid" not in texts and PART not in texts:
                    partly[uid] = texts
    try:
        found = gather(shapes, lambda image, region: shown(region, pictures.size(image) or (1, 1)))
        made_whole = [
            with_our_texts(one, partly[one.uid], _shown_on(one, pictures))
            if one.uid in partly
            else one
            for one in found
        ]
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    return [(one, *places.get(one.uid, (one.uid, 0))) for one in made_whole]


def _shown_on(annotation: Annotation, pictures: _Pictures) -> Callable[[Region], Region | None]:
    size = pictures.size(annotation.image) or (1, 1)
    return lambda region: shown(region, size)


def _by(version: str, annotation: Annotation, item: _Item, of: Mapping[str, Any]) -> Annotation:
    """Return an annotation whose caption, if any, a model in Label Studio wrote."""
    if not annotation.caption:
        return replace(annotation, source="", model=version)
    score = None
    for value in [one.get("score") for one in (*item, of)]:
        if score is None and isinstance(value, float | int) and 0 <= value <= 1:
            score = float(value)
    return replace(annotation, source="model", model=version, score=score)


def _holds_ours(item: _Item) -> bool:
    """Whether we wrote a region."""
    return bool(_our_texts(item))


def _our_texts(item: _Item) -> dict[str, str]:
    """Return what the results hold of ours."""
    for result in item:
        meta = result.get("meta")
        ours = meta.get(_OURS) if isinstance(meta, dict) else None
        if isinstance(ours, dict):
            return {str(key): str(text) for key, text in ours.items()}
    return {}


def _place(item: _Item) -> int:
    """Return which of our annotations this was when it was written."""
    metas = [meta for one in item if isinstance(meta := one.get("meta"), dict)]
    found = next((meta[_PLACE] for meta in metas if _PLACE in meta), 0)
    return found if isinstance(found, int) else 0


def _shape(item: _Item, pictures: _Pictures, uid: str) -> Shape | None:
    """Return what the results with one id say; None if it is nothing about a region."""
    drawn: Region | None = None
    label: str | None = None
    said: list[str] = []
    if all(result.get("type") in _BESIDE for result in item) and not _our_texts(item):
        return None
    image = pictures.of(item)
    for result in item:
        kind, value = str(result.get("type", "")), result.get("value")
        value = value if isinstance(value, dict) else {}
        bare = kind.removesuffix("labels")
        if bare in TYPES:
            drawn = region_of(bare, value, _size(result, image, pictures))
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


def _told_size(result: Mapping[str, Any]) -> Size | None:
    """Return ``(height, width)`` of the image as a result tells it; None if it does not."""
    sides = [result.get("original_height"), result.get("original_width")]
    known = [round(one) for one in sides if isinstance(one, int | float) and 1 <= one < 2**31]
    return (known[0], known[1]) if len(known) == 2 else None


def _size(result: Mapping[str, Any], image: str, pictures: _Pictures) -> Size:
    """Return ``(height, width)`` of the image that a result is about."""
    if result.get("image_rotation"):
        raise FormatError("was drawn on a turned image; turn the image back in Label Studio")
    size = _told_size(result) or pictures.size(image)
    if size is None:
        raise FormatError(
            "lacks 'original_width' and 'original_height', so percent mean nothing; give its image "
            "along"
        )
    return size


def _texts(item: _Item) -> dict[str, str]:
    """Return what the results carry: ours, or choices, ratings and notes of other people."""
    ours = _our_texts(item)
    if "uid" in ours or PART in ours:
        return ours
    texts = {}
    for result in item:
        kind, meta, value = result.get("type"), result.get("meta"), result.get("value")
        notes = meta.get("text") if isinstance(meta, dict) else None
        if isinstance(notes, list | str) and notes:
            texts["notes"] = notes if isinstance(notes, str) else "\n".join(map(str, notes))
        chosen = value.get(kind) if isinstance(value, dict) and kind in _SAID else None
        if chosen not in (None, [], ""):
            texts[str(result.get("from_name") or kind)] = _told(chosen)
    return texts


_SAID = ("choices", "rating", "number", "datetime", "taxonomy")


def _told(value: Any) -> str:
    """Return what somebody chose as a text."""
    if isinstance(value, list):
        parts = [" / ".join(map(str, one)) if isinstance(one, list) else str(one) for one in value]
        return ", ".join(parts)
    return str(value)
