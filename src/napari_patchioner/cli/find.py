"""The sub-command ``find``: more of what example boxes show, over many images."""

from __future__ import annotations

import argparse
import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner import batch
from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    format_named,
    read_annotations,
    write_annotations,
)
from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.images import StoredImage, open_image
from napari_patchioner.regions import WholeImage
from napari_patchioner.teaching import (
    LONGEST,
    Finder,
    ImageMeasures,
    Sample,
    checked_name,
    overlap,
    peaks,
)

from .shared import Bar, check_folder, say, share_of_one

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.regions import Region

_DONE, _SOME_FAILED = 0, 1
# Images that examples of one name come from; their windows are held together.
_MOST_IMAGES = 20
# Share of the union from which on two boxes show the same thing.
_SAME = 0.3


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
    parser.add_argument(
        "--least",
        type=share_of_one,
        default=0.5,
        metavar="SCORE",
        help="score that a proposal has at least, 0 to 1 (0.5)",
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
    examples = _examples(Path(arguments.like), paths)
    captioner = load(arguments.model)
    known: dict[Path, list[Region]] = defaultdict(list)
    for boxes in examples.values():
        for path, some in boxes.items():
            known[path] += some
    finders = {name: _finder(captioner, name, boxes) for name, boxes in examples.items()}
    proposals: list[Annotation] = []
    infos, failures = {}, []
    with Bar() as bar:
        for done, (path, name) in enumerate(zip(paths, batch.image_names(paths), strict=True)):
            bar(done / len(paths), f"{done} of {len(paths)} images, {len(proposals)} proposals")
            try:
                with open_image(path) as image:
                    sample = _sample(captioner, image, known[path])
                    proposals += _proposals(finders, sample, name, captioner.name, arguments.least)
            except ImageError as error:
                failures.append(str(error) if path.name in str(error) else f"{name}: {error}")
                continue
            infos[name] = ImageInfo(name, *sample.measures.shape, path)
        bar(1.0, f"{len(paths)} images")
    for line in failures:
        say(f"  {line}")
    if not infos:
        raise FormatError(f"{out}: was not written, since no image could be searched")
    left_out = write_annotations(out, proposals, infos)
    if left_out:
        say(f"{len(left_out)} proposals are left out, which this format cannot hold")
    images = f"{len(infos)} image{'s' * (len(infos) != 1)}"
    say(f"{out}: {len(proposals) - len(left_out)} proposals on {images}")
    return _SOME_FAILED if failures else _DONE


def _examples(like: Path, paths: Sequence[Path]) -> dict[str, dict[Path, list[Region]]]:
    """Return the regions of each name, by their image, which is searched or lies beside the file.

    A FormatError where a region has no name or no image that is there.
    """
    annotations = read_annotations(like)
    places = batch.ImageMatcher(paths, like.parent).assign(a.image for a in annotations if a.image)
    examples: dict[str, dict[Path, list[Region]]] = defaultdict(lambda: defaultdict(list))
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
        examples[checked_name(name)][path].append(annotation.region)
    if not examples:
        raise FormatError(f"{like}: holds no examples")
    return examples


def _finder(captioner: Captioner, name: str, regions: Mapping[Path, list[Region]]) -> Finder:
    """Return what finds more of one name."""
    if len(regions) > _MOST_IMAGES:
        raise FormatError(
            f"the examples of {name!r} are from {len(regions)} images; choose those of "
            f"{_MOST_IMAGES} at most"
        )
    with ExitStack() as stack:
        samples = [
            _sample(captioner, stack.enter_context(open_image(path)), own)
            for path, own in regions.items()
        ]
        return Finder(captioner, samples)


def _sample(captioner: Captioner, image: StoredImage, regions: Sequence[Region]) -> Sample:
    """Encode the first plane of an image that is not too large, with examples in it."""
    levels = image.levels()
    measures = ImageMeasures(levels)
    measures.whole(LONGEST)
    return Sample(captioner.pyramid(levels).grid(WholeImage()), measures, regions)


def _proposals(
    finders: Mapping[str, Finder], sample: Sample, image: str, model: str, least: float
) -> list[Annotation]:
    """Return what is found in an image, the likeliest first, but for the examples themselves.

    Of proposals of several names that are much the same box, the likelier one is taken.
    """
    proposals = [
        (proposal, name)
        for name, finder in finders.items()
        for proposal in finder.find(sample.grid, sample.measures, least=least)
    ]
    if not proposals:
        return []
    corners = np.array([dataclasses.astuple(proposal.box) for proposal, _ in proposals])
    scores = np.array([proposal.score for proposal, _ in proposals])
    rows = peaks(corners, scores, most=len(scores), overlapping=_SAME)
    shape = sample.measures.shape
    bounds = [region.for_image(*shape).bounds() for region in sample.regions]
    for box in bounds:
        rows = rows[overlap(np.array(dataclasses.astuple(box)), corners[rows]) <= _SAME]
    return [
        Annotation(
            f"like{number}",
            image,
            proposals[row][0].box,
            proposals[row][1],
            round(proposals[row][0].score, 4),
            "taught",
            model,
        )
        for number, row in enumerate(rows.tolist(), start=1)
    ]
