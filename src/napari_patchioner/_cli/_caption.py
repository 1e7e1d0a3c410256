"""Captioning image files: one model, one look at each image."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.annotations import Annotation, read_annotations, with_model_caption
from napari_patchioner.backbones._files import read_image
from napari_patchioner.errors import FormatError, ImageError, RegionError
from napari_patchioner.regions import WholeImage, cover

from ._match import assign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import FeatureGrid

WHOLE = "whole"


def caption_image(
    captioner: Captioner, image: npt.ArrayLike, annotations: Sequence[Annotation]
) -> list[Annotation]:
    """Caption regions of one image with one look at it.

    Parameters
    ----------
    captioner : Captioner
        The model.
    image : array_like, shape (height, width) or (height, width, channels)
        The picture.
    annotations : sequence of Annotation
        Its regions. What a person wrote stays as it is.

    Returns
    -------
    list of Annotation
        In the same order. The image is not even looked at if nothing is left to caption.

    Raises
    ------
    ImageError, RegionError
        In one sentence; a region is named by its uid.
    """
    todo = [annotation for annotation in annotations if not annotation.is_human]
    if not todo:
        return list(annotations)
    grid = captioner.encode(image)
    try:
        captions = captioner.caption(grid, [annotation.region for annotation in todo])
    except RegionError as error:
        raise _named(error, grid, todo) from error
    done = {
        id(annotation): with_model_caption(annotation, caption, model=captioner.name)
        for annotation, caption in zip(todo, captions, strict=True)
    }
    return [done.get(id(annotation), annotation) for annotation in annotations]


def _named(error: RegionError, grid: FeatureGrid, annotations: Sequence[Annotation]) -> RegionError:
    """Return the error of the first region at fault, with its uid."""
    for annotation in annotations:
        try:
            cover(annotation.region, grid.transform)
        except RegionError as own:
            return RegionError(f"region {annotation.uid!r}: {own}")
    return error


def caption_files(
    paths: Sequence[Path],
    regions: str,
    load: Callable[[], Captioner],
    say: Callable[[str], None],
) -> list[Annotation]:
    """Caption regions of image files; nothing is written.

    Parameters
    ----------
    paths : sequence of Path
        The images.
    regions : str
        ``"whole"`` for one caption of each image, or a table of regions. Its ``image`` column
        (path, file name or stem) tells which image a row belongs to; rows without one, such as
        those of a table saved by napari, go with every image given.
    load : callable
        Loads the model; called at most once.
    say : callable
        Told what is going on, one line at a time.

    Returns
    -------
    list of Annotation
        In the order of the table, without the rows of images that were not given.

    Raises
    ------
    PatchionerError
        In one sentence, if anything is wrong with an image, the table, a region or the model.
    """
    paths = list({path.resolve(): path for path in paths}.values())
    for path in paths:
        if not path.exists():
            raise ImageError(f"{path}: there is no such image")
    pairs = _pairs(paths, regions, say)
    results: list[Annotation] = [annotation for _, annotation in pairs]
    places_of: dict[int, list[int]] = {}
    for place, (position, _) in enumerate(pairs):
        places_of.setdefault(position, []).append(place)
    captioner: Captioner | None = None
    for position, path in enumerate(paths):
        places = places_of.get(position, [])
        todo = sum(not results[place].is_human for place in places)
        say(f"[{position + 1}/{len(paths)}] {path.name}: {_count(todo, len(places))}")
        if not todo:
            continue
        if captioner is None:
            captioner = load()
        try:
            done = caption_image(captioner, read_image(path), [results[place] for place in places])
        except RegionError as error:
            raise RegionError(f"{path.name}: {error}") from error
        for place, annotation in zip(places, done, strict=True):
            results[place] = annotation
    return results


def _count(todo: int, total: int) -> str:
    """Return how many regions an image has, in words."""
    if total == 0:
        return "no regions"
    kept = f", {total - todo} kept as a person wrote them" if todo < total else ""
    return f"{total} region{'s' * (total > 1)}{kept}"


def _pairs(
    paths: Sequence[Path], regions: str, say: Callable[[str], None]
) -> list[tuple[int, Annotation]]:
    """Return every region to caption with the position of its image."""
    names = _names(paths)
    if regions == WHOLE:
        return [
            (place, Annotation(f"whole-{place + 1}", name, WholeImage()))
            for place, name in enumerate(names)
        ]
    annotations = read_annotations(regions)
    pairs, left_out = assign(paths, annotations)
    if annotations and not pairs:
        raise FormatError(
            f"{Path(regions).name}: no row belongs to {' or '.join(names[:3])}; the column "
            "'image' must hold the path, file name or stem of an image"
        )
    if left_out:
        say(f"{left_out} row{'s' * (left_out > 1)} of other images left out")
    return [
        (place, annotation if annotation.image else replace(annotation, image=names[place]))
        for place, annotation in pairs
    ]


def _names(paths: Sequence[Path]) -> list[str]:
    """Return what to call each image in a table: its file name, or its path if that is shared."""
    shared = Counter(path.name for path in paths)
    return [path.name if shared[path.name] == 1 else str(path) for path in paths]
