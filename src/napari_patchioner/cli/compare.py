"""The sub-command ``compare``: regions with each other, or each over the slices of a stack."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import FormatError, RegionError

from .outputs import check_ending, check_outputs
from .shared import Bar, check_folder, print_exactly, say

if TYPE_CHECKING:
    from napari_patchioner.annotations import Annotation
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.images import StoredImage

_DONE, _SOME_FAILED = 0, 1
_STDOUT = "-"
_ENDINGS = (".csv",)
_LONGEST = 60


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``compare``."""
    parser.add_argument("image", metavar="IMAGE", help="an image file, or a stack")
    parser.add_argument(
        "--regions",
        required=True,
        metavar="FILE",
        help="a file with two regions or more of the image, or with one where --slices is given; "
        "captions in it count as they are, except over slices",
    )
    parser.add_argument("--model", default="mini", help="id of the model (mini)")
    parser.add_argument(
        "--slices",
        metavar="AXIS",
        nargs="?",
        const="",
        help="compare each region over the slices of the stack, along this axis, such as z or t "
        "(the last one that is neither rows nor columns)",
    )
    parser.add_argument(
        "--out", default=_STDOUT, metavar="FILE", help="a CSV file; standard output by default"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it is there")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> int:
    """Compare, write a table, and say it in a sentence; return 0, or 1 if regions are left out."""
    from napari_patchioner.annotations import write_bytes
    from napari_patchioner.annotations.table import format_table, guard_cell
    from napari_patchioner.images import open_image

    path = Path(arguments.image)
    if arguments.out != _STDOUT:
        out = Path(arguments.out)
        check_ending(out, _ENDINGS, "the table")
        check_folder(out.absolute().parent)
        inputs = (path, Path(arguments.regions))
        check_outputs([out], inputs=inputs, overwrite=arguments.overwrite)
    with open_image(path) as image:
        listed = _regions(Path(arguments.regions), path)
        axis = _axis(image, arguments.slices, path) if arguments.slices is not None else ""
        regions, faults = _sound(image, listed)
        for fault in faults:
            say(f"{fault}; it is left out")
        if len(regions) < (1 if axis else 2):
            raise FormatError(
                f"{arguments.regions}: holds {len(regions) or 'no'} region"
                f"{' that lies on' if faults else ' of'} {path.name}; two or more can be "
                "compared, or one with --slices"
            )
        captioner = load(arguments.model)
        with Bar() as bar:
            compare = _over_slices if axis else _with_each_other
            rows, sentences = compare(captioner, image, regions, axis, bar)
    header, *lines = rows
    text = format_table(header, [[guard_cell(cell) for cell in line] for line in lines])
    if arguments.out == _STDOUT:
        print_exactly(text.encode("utf-8"))
    else:
        write_bytes(arguments.out, text.encode("utf-8"))
    for sentence in sentences:
        say(sentence)
    return _SOME_FAILED if faults else _DONE


def _regions(file: Path, image: Path) -> list[Annotation]:
    """Return the regions in a file that go with an image."""
    from napari_patchioner.annotations import read_annotations

    names = {"", image.name, image.stem, str(image)}
    regions = [item for item in read_annotations(file) if Path(item.image).name in names]
    if not regions:
        raise FormatError(f"{file}: holds no region of {image.name}")
    return regions


def _sound(image: StoredImage, listed: Sequence[Annotation]) -> tuple[list[Annotation], list[str]]:
    """Return the regions that lie on a plane of the image, and what is wrong with the others."""
    from napari_patchioner.annotations import other_axes
    from napari_patchioner.regions import GridTransform, cover

    regions, faults = [], []
    for item in listed:
        try:
            if other_axes(item) is not None:
                raise RegionError("it does not lie on a plane of rows and columns")
            image.find(item.extra.get("plane", ""))
            cover(item.region, GridTransform(image.shape, (1, 1)))
            regions.append(item)
        except RegionError as error:
            faults.append(f"region {item.uid!r}: {str(error).rstrip('.')}")
    return regions, faults


def _axis(image: StoredImage, wanted: str, path: Path) -> str:
    """Return the axis along which slices are compared."""
    others = [axis for axis in image.find("") if image.lengths[axis] > 1]
    if not others:
        raise FormatError(f"{path}: is a single plane, and has no slices to compare")
    if wanted and wanted not in others:
        raise FormatError(f"{path}: has slices along {', '.join(others)}, but not along {wanted}")
    return wanted or others[-1]


def _called(region: Annotation) -> str:
    """Return what to call a region in a table."""
    return f"{region.uid}: {region.caption[:_LONGEST]}" if region.caption else region.uid


def _with_each_other(
    captioner: Captioner, image: StoredImage, regions: Sequence[Annotation], _axis: str, bar: Bar
) -> tuple[list[list[str]], list[str]]:
    """Compare regions with each other; what has no caption in the file is captioned."""
    from napari_patchioner.decoders import Caption
    from napari_patchioner.grounding import compare_regions
    from napari_patchioner.progress import part
    from napari_patchioner.regions import WholeImage

    grids: dict[tuple[Any, ...], Any] = {}
    places, captions = [], []
    for number, item in enumerate(regions):
        bar(0.7 * number / len(regions), f"region {number + 1} of {len(regions)}")
        index = image.find(item.extra.get("plane", ""))
        key = tuple(index.items())
        if key not in grids:
            pyramid = captioner.pyramid(image.levels(index))
            grids[key] = pyramid, pyramid.grid(WholeImage())
        pyramid, grid = grids[key]
        if item.caption.strip():
            score = math.nan if item.score is None else item.score
            captions.append(Caption(item.caption, score))
        else:
            captions += pyramid.caption([item.region])
        places.append((grid, item.region))
    watched = part(bar, 0.7, 1.0)
    compared = compare_regions(captioner, places, captions=captions, progress=watched)
    names = [item.uid for item in regions]
    return compared.table(names), [compared.sentence(names)]


def _over_slices(
    captioner: Captioner, image: StoredImage, regions: Sequence[Annotation], axis: str, bar: Bar
) -> tuple[list[list[str]], list[str]]:
    """Compare each region over the slices of a stack; each plane is encoded once."""
    from napari_patchioner.grounding import compare_slices
    from napari_patchioner.grounding.compare import learned_part
    from napari_patchioner.regions import WholeImage

    numbers = range(image.lengths[axis])
    indices = [image.find(item.extra.get("plane", "")) for item in regions]
    if len({tuple({**index, axis: 0}.items()) for index in indices}) > 1:
        raise FormatError(
            "the regions lie at several places along the other axes; compare them one by one"
        )
    captions: list[list[Any]] = [[] for _ in regions]
    vectors: list[list[Any]] = [[] for _ in regions]
    for number in numbers:
        bar(number / len(numbers), f"slice {number + 1} of {len(numbers)}")
        pyramid = captioner.pyramid(image.levels({**indices[0], axis: number}))
        grid = pyramid.grid(WholeImage())
        shapes = [item.region for item in regions]
        said = pyramid.caption(shapes)
        known = learned_part(captioner, captioner.embed(grid, shapes))
        for place, (caption, vector) in enumerate(zip(said, known, strict=True)):
            captions[place].append(caption)
            vectors[place].append(vector)
    rows: list[list[str]] = []
    sentences = []
    for item, own, made in zip(regions, captions, vectors, strict=True):
        compared = compare_slices(own, np.array(made, np.float32))
        header, *lines = compared.table(numbers)
        rows = rows or [["uid", *header]]
        rows += [[item.uid, *line] for line in lines]
        sentences.append(f"{_called(item)}: {compared.sentence(numbers)}")
    return rows, sentences
