"""The sub-command ``check``: captions compared with their images, and better ones suggested."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner import batch
from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    Notes,
    format_named,
    write_annotations,
)
from napari_patchioner.errors import FormatError, ModelError, PatchionerError, counted
from napari_patchioner.images import open_image

from .outputs import check_outputs
from .shared import Bar, add_images, check_folder, say

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner

_DONE, _SOME_FAILED = 0, 1


def add_check(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``check``."""
    add_images(parser)
    parser.add_argument(
        "--regions",
        required=True,
        metavar="FILE",
        help="a file of regions with captions, by people or by a model",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="file to write, its format by its ending: the same regions with the columns "
        "agreement, contradicted and suggestion; no caption is changed",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it is there")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> int:
    """Check captions and write what was found; return 0, or 1 if some images failed."""
    out, regions = Path(arguments.out), Path(arguments.regions)
    format_named(out, None)
    check_folder(out.absolute().parent)
    paths = batch.find_images(arguments.images, recursive=arguments.recursive)
    plan = batch.Plan(paths, str(regions))
    files = batch.files_of_result(plan, out)
    check_outputs(files, inputs=(regions, *paths), overwrite=arguments.overwrite)
    for line in plan.notes.lines():
        say(line)
    captioner = load(arguments.model)
    checked: list[Annotation] = []
    images: dict[str, ImageInfo] = {}
    problems: list[str] = []
    jobs = [job for job in plan if job.regions]
    with Bar() as progress:
        for number, job in enumerate(jobs):
            progress(number / len(jobs), f"checking {job.image}")
            try:
                with open_image(job.path) as image:
                    own, faults = batch.check_image(captioner, image, job.regions)
                    height, width = image.shape
            except ModelError:
                raise
            except (PatchionerError, OSError, ValueError) as error:
                problems.append(f"{job.image}: {error}")
                continue
            images[job.image] = ImageInfo(job.image, height, width, job.path)
            checked += own
            problems += [f"{job.image}: {fault}" for fault in faults]
    if not checked:
        for problem in problems:
            say(f"  {problem}")
        raise FormatError(f"{out}: was not written, since no image could be read")
    notes = Notes()
    left_out = write_annotations(out, checked, images, notes=notes)
    for line in notes.lines():
        say(line)
    if left_out:
        are = "is" if len(left_out) == 1 else "are"
        say(f"{counted(left_out, 'region')} {are} left out, which this format cannot hold")
    said = [annotation for annotation in checked if annotation.caption]
    wrong = sum(bool(annotation.extra.get(batch.CONTRADICTED)) for annotation in said)
    better = sum(bool(annotation.extra.get(batch.SUGGESTION)) for annotation in said)
    say(
        f"{out}: {counted(said, 'caption')} on {counted(images, 'image')}, {wrong:,} with a word "
        f"that the image contradicts, {counted(better, 'suggestion')}"
    )
    for problem in problems:
        say(f"  {problem}")
    return _SOME_FAILED if problems else _DONE
