"""The sub-command ``find``: more of what example boxes show, over many images."""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from napari_patchioner import batch
from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    format_named,
    other_axes,
    read_annotations,
    write_annotations,
)
from napari_patchioner.errors import FormatError, ImageError, RegionError
from napari_patchioner.images import StoredImage, open_image
from napari_patchioner.progress import Progress, part
from napari_patchioner.teaching import (
    Finder,
    box_in,
    checked_name,
    mean_size,
    samples_of,
    search_image,
)

from .shared import Bar, check_folder, counted, say, share_of_one

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.regions import Box

Index: TypeAlias = tuple[tuple[str, int], ...]
"""Position along the axes of a stack; empty for an image of one plane."""
Examples: TypeAlias = dict[Path, dict[Index, list["Box"]]]

_DONE, _SOME_FAILED = 0, 1
# Images that examples of one name come from; their windows are held together.
_MOST_IMAGES = 20


def add_find(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``find``."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="images to search: files, folders, or patterns in quotes such as 'scans/**/*.png'",
    )
    parser.add_argument(
        "--like",
        required=True,
        metavar="FILE",
        help="a file of example regions with their images and names, such as a tidy table; images "
        "that are not searched are looked for beside it",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FOUND",
        help="file to write, its format by its ending: a row per proposal with its score",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FOUND if it is there")
    parser.add_argument(
        "--least",
        type=share_of_one,
        default=0.5,
        metavar="SCORE",
        help="score that a proposal has at least, 0 to 1 (0.5)",
    )
    parser.add_argument(
        "--every-plane",
        action="store_true",
        help="search every plane of a stack, not the first only",
    )
    parser.add_argument("--model", default="mini", help="id of the model (mini)")
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="search folders within folders as well"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> int:
    """Search images and write what was found; return 0, or 1 if some images failed."""
    out = Path(arguments.out)
    format_named(out, None)
    check_folder(out.absolute().parent)
    paths = batch.find_images(arguments.images, recursive=arguments.recursive)
    if out.exists() and any(out.samefile(path) for path in (Path(arguments.like), *paths)):
        raise FormatError(f"{out}: holds what is searched or looked for; choose another --out")
    if out.exists() and not arguments.overwrite:
        raise FormatError(f"{out}: is there; choose another name, or replace it with --overwrite")
    examples = _examples(Path(arguments.like), paths)
    captioner = load(arguments.model)
    known: dict[Path, dict[Index, list[Box]]] = defaultdict(lambda: defaultdict(list))
    for by_path in examples.values():
        for path, by_plane in by_path.items():
            for index, boxes in by_plane.items():
                known[path][index] += boxes
    finders = {name: _finder(captioner, name, own) for name, own in examples.items()}
    proposals: list[Annotation] = []
    infos: dict[str, ImageInfo] = {}
    failures, photographs = [], 0
    with Bar() as bar:
        for done, (path, name) in enumerate(zip(paths, batch.image_names(paths), strict=True)):
            start = done / len(paths)
            step = part(bar, start, start + 1 / len(paths))
            bar(start, f"{done} of {len(paths)} images, {len(proposals)} proposals")
            try:
                with open_image(path) as image:
                    own, photograph = _searched(
                        captioner, finders, image, name, known[path], arguments, step
                    )
            except ImageError as error:
                failures.append(str(error) if path.name in str(error) else f"{name}: {error}")
                continue
            proposals += own
            photographs += photograph
            infos[name] = ImageInfo(name, *image.shape, path)
        bar(1.0, f"{len(paths)} images")
    for line in failures:
        say(f"  {line}")
    if not infos:
        raise FormatError(f"{out}: was not written, since no image could be searched")
    left_out = write_annotations(out, proposals, infos)
    if left_out:
        say(f"{len(left_out)} proposals are left out, which this format cannot hold")
    say(f"{out}: {len(proposals) - len(left_out)} proposals on {counted(len(infos), 'image')}")
    if photographs:
        some = "1 image looks" if photographs == 1 else f"{photographs} images look"
        say(
            f"{some} like a photograph of everyday things, which seldom come in one size and from "
            "one side: most proposals there are wrong unless many of the same lie side by side"
        )
    return _SOME_FAILED if failures else _DONE


def _examples(like: Path, paths: Sequence[Path]) -> dict[str, Examples]:
    """Return the boxes of each name, by their image, which is searched or lies beside the file.

    A FormatError where a region has no name, no image that is there, or does not lie in it.
    """
    annotations = read_annotations(like)
    places = batch.ImageMatcher(paths, like.parent).assign(a.image for a in annotations if a.image)
    by_path: dict[Path, list[tuple[str, Annotation]]] = defaultdict(list)
    for annotation in annotations:
        name, shown = batch.name_of(annotation), f"{like.name}: region {annotation.uid!r}"
        if not name:
            raise FormatError(f"{shown} has no name by a person; put it in the column caption")
        place = places.get(annotation.image)
        path = like.parent / annotation.image if place is None else paths[place]
        if not annotation.image or not path.exists():
            raise FormatError(
                f"{shown} is of the image {annotation.image!r}, which is neither searched nor "
                "beside the file"
            )
        by_path[path].append((checked_name(name), annotation))
    if not by_path:
        raise FormatError(f"{like}: holds no examples")
    examples: dict[str, Examples] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for path, named in by_path.items():
        with open_image(path) as image:
            for name, annotation in named:
                try:
                    if other_axes(annotation) is not None:
                        raise RegionError("it does not lie on a plane of rows and columns")
                    plane = image.find(annotation.extra.get("plane", ""))
                    box = box_in(annotation.region, image.shape)
                except RegionError as error:
                    raise FormatError(f"{like.name}: region {annotation.uid!r}: {error}") from error
                examples[name][path][tuple(plane.items())].append(box)
    return examples


def _finder(captioner: Captioner, name: str, examples: Examples) -> Finder:
    """Return what finds more of one name."""
    if len(examples) > _MOST_IMAGES:
        raise FormatError(
            f"the examples of {name!r} are from {len(examples)} images; choose those of "
            f"{_MOST_IMAGES} at most"
        )
    planes = [
        (path, index, boxes) for path, own in examples.items() for index, boxes in own.items()
    ]
    size = mean_size(box for _, _, boxes in planes for box in boxes)
    samples = []
    for path, index, boxes in planes:
        with open_image(path) as image:
            samples += samples_of(captioner, image.levels(dict(index)), boxes, size)
        if len(samples) > _MOST_IMAGES:
            raise FormatError(
                f"the examples of {name!r} are from more than {_MOST_IMAGES} planes or parts of "
                "images; choose some that lie closer together"
            )
    return Finder(captioner, samples)


def _searched(
    captioner: Captioner,
    finders: Mapping[str, Finder],
    image: StoredImage,
    name: str,
    known: Mapping[Index, Sequence[Box]],
    arguments: argparse.Namespace,
    progress: Progress,
) -> tuple[list[Annotation], bool]:
    """Return what is found in an image, but for the examples, and whether it is a photograph."""
    proposals: list[Annotation] = []
    likely: list[float] = []
    planes = list(_planes(image, arguments.every_plane))
    for row, index in enumerate(planes):
        result = search_image(
            captioner,
            finders,
            image.levels(dict(index)),
            least=arguments.least,
            known=known.get(index, ()),
            progress=part(progress, row / len(planes), (row + 1) / len(planes)),
        )
        likely += [] if result.photograph is None else [result.photograph]
        extra = {"plane": " ".join(str(position) for _, position in index)} if index else {}
        proposals += [
            Annotation(
                f"like{len(proposals) + number}",
                name,
                box,
                caption,
                round(score, 4),
                "taught",
                captioner.name,
                extra,
            )
            for number, (box, caption, score) in enumerate(result.proposals, start=1)
        ]
    return proposals, bool(likely) and sum(likely) > 0.5 * len(likely)


def _planes(image: StoredImage, every: bool) -> Iterator[Index]:
    """Yield the first plane of an image, or all there are."""
    first, lengths = image.find(""), image.lengths
    if not every:
        yield tuple(first.items())
        return
    for places in itertools.product(*(range(lengths[axis]) for axis in first)):
        yield tuple(zip(first, places, strict=True))
