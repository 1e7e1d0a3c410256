"""Label Studio: tasks with results in percent of the image.

A caption is a text about a region: a second result with the same ``id``. Captions of a model are
``predictions``, one per model; all others are ``annotations``. The class of a region is its label;
all Label Studio has no place for goes into the ``meta`` of the result, which it keeps.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations._carried import carried, unique
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._images import image_name, image_size
from napari_patchioner.annotations._parts import PART, class_of, members_of
from napari_patchioner.annotations._table import encode_text, write_bytes

from ._bundle import read_bundle
from ._json_file import parse_json
from ._label_studio_results import read_task
from ._label_studio_shapes import Size, value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.annotations._annotation import Annotation
    from napari_patchioner.annotations._images import Images

    from ._head import Head

_RESULTS = {"annotations", "predictions", "completions"}


def knows(head: Head) -> bool:
    """Return whether a file holds tasks of Label Studio."""
    return (head.is_list or "data" in head.fields) and bool(_RESULTS & set(head.fields))


def read(path: Path) -> list[Annotation]:
    """Read tasks, as Label Studio exports (``JSON``, not ``JSON_MIN``) or imports them.

    Parameters
    ----------
    path : Path
        A JSON with a list of tasks, or one task.

    Returns
    -------
    list of Annotation
        Coordinates in ``(row, column)``, annotations before predictions. Those of ours come in
        the order in which they were written.

    Raises
    ------
    FormatError
        One sentence that names the file, the task and the result.
    """
    path = Path(path)
    found = parse_json(read_bundle(path, lambda _: True)[path.name], path.name)
    tasks = found if isinstance(found, list) else [found]
    return unique(
        one for place, task in enumerate(tasks) for one in read_task(path.name, place, task)
    )


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write tasks that Label Studio imports.

    Parameters
    ----------
    path : Path
        The JSON; it is replaced if it exists.
    annotations : sequence of Annotation
        Regions of any number of images; every image is a task.
    images : mapping of str to ImageInfo
        The images by the name annotations give them; their sizes are needed.

    Returns
    -------
    tuple of Annotation
        Always empty. What Label Studio cannot show (a mask beside the image, the whole image as a
        member of a set) is carried by a text about the image.

    Raises
    ------
    FormatError
        If the size of an image is missing, or a region makes no sense.
    """
    check_unique(annotations)
    own: dict[str, list[tuple[int, Annotation]]] = {}
    for place, one in enumerate(annotations):
        own.setdefault(one.image, []).append((place, one))
    tasks = [_task(image, mine, images) for image, mine in own.items()]
    text = json.dumps(tasks, ensure_ascii=False, allow_nan=False)
    write_bytes(path, encode_text(text + "\n"))
    return ()


def _task(image: str, own: Sequence[tuple[int, Annotation]], images: Images) -> dict[str, Any]:
    """Return the task of one image."""
    size, name = image_size(images, image), image_name(images, image)
    drafts: dict[str, list[dict[str, Any]]] = {}
    done: list[dict[str, Any]] = []
    for place, annotation in own:
        results = _results(annotation, size, place)
        if annotation.source == "model":
            drafts.setdefault(annotation.model, []).extend(results)
        else:
            done.extend(results)
    predictions = [
        {"model_version": model, **_mean_score(results), "result": results}
        for model, results in drafts.items()
    ]
    data = {"image": name} if name == image else {"image": name, "napari_patchioner": image}
    done_by = [{"result": done}] if done else []
    return {"data": data, "annotations": done_by, "predictions": predictions}


def _mean_score(results: Sequence[dict[str, Any]]) -> dict[str, float]:
    scores = [result["score"] for result in results if "score" in result]
    return {"score": sum(scores) / len(scores)} if scores else {}


def _results(annotation: Annotation, size: Size, place: int) -> list[dict[str, Any]]:
    """Return the results of one annotation: region and text, for a set those of every member."""
    texts = carried(annotation)
    results: list[dict[str, Any]] = []
    for member in members_of(annotation.region):
        made = value_of(member, size)
        if made is not None:
            ours = {PART: annotation.uid} if results else texts
            meta = {"napari_patchioner": ours, "napari_patchioner_place": place}
            uid = _part_id(annotation.uid, len(results)) if results else annotation.uid
            results += _pair(annotation, uid, made, meta, size)
    if results:
        return results
    meta = {"napari_patchioner": texts, "napari_patchioner_place": place}
    return [_text(annotation, annotation.uid, {}, meta)]


def _part_id(uid: str, place: int) -> str:
    """Return an id for a member of a set that no other region has."""
    return hashlib.sha256(f"{place} {uid}".encode(errors="replace")).hexdigest()[:32]


def _pair(
    annotation: Annotation,
    uid: str,
    made: tuple[str, dict[str, Any]],
    meta: dict[str, Any],
    size: Size,
) -> list[dict[str, Any]]:
    """Return the result of a region, and that of its text if there is one."""
    kind, value = made
    about = {"original_width": size[1], "original_height": size[0], "image_rotation": 0}
    score = {} if annotation.score is None else {"score": annotation.score}
    region = {
        "id": uid,
        "type": f"{kind}labels",
        "from_name": kind,
        "to_name": "image",
        **about,
        "value": {**value, f"{kind}labels": [class_of(annotation)]},
        "meta": meta,
        **score,
    }
    return [region, *([_text(annotation, uid, about, None)] if annotation.caption else [])]


def _text(
    annotation: Annotation, uid: str, about: dict[str, Any], meta: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the result that holds a caption."""
    score = {} if annotation.score is None else {"score": annotation.score}
    return {
        "id": uid,
        "type": "textarea",
        "from_name": "caption",
        "to_name": "image",
        **about,
        "value": {"text": [annotation.caption] if annotation.caption else []},
        **({"meta": meta} if meta else {}),
        **score,
    }
