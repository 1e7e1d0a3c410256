"""The sub-command ``check``: captions compared with their images, and better ones suggested."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner import batch
from napari_patchioner.annotations import Notes, format_named
from napari_patchioner.errors import FormatError, counted

from .outputs import check_outputs
from .running import (
    add_running,
    follow,
    keeping,
    say_again,
    say_failures,
    say_left_out,
    say_tally,
)
from .shared import add_images, check_folder, say

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
        "agreement, judged, contradicted, account and suggestion; no caption is changed",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it is there")
    add_running(parser.add_argument_group("running"))
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> int:
    """Check captions and write what was found; return 0, or 1 if images or regions failed."""
    out, regions = Path(arguments.out), Path(arguments.regions)
    form = format_named(out, None)
    check_folder(out.absolute().parent)
    paths = batch.find_images(arguments.images, recursive=arguments.recursive)
    plan = batch.Plan(paths, str(regions))
    part = out.with_name(f"{out.name}.part")
    is_begun = arguments.resume and part.exists()
    files = batch.files_of_result(plan, out)
    check_outputs(files, inputs=(regions, *paths), overwrite=arguments.overwrite or is_begun)
    if not arguments.overwrite:
        batch.check_people(plan, out)
    for line in plan.notes.lines():
        say(line)
    if plan.others:
        say(f"{counted(len(plan.others), 'region')} of other images left out")
    jobs = batch.Checking.jobs(plan)
    # What is said of one caption depends on all captions of its image.
    settings = {"model": arguments.model, "threads": str(arguments.threads), "checked": "true"}
    settings["regions"] = plan.settings["regions"]
    journal = batch.Journal(part, settings, resume=arguments.resume, wanted=str(out))
    how = {"workers": arguments.workers, "threads": arguments.threads}
    with keeping(journal):
        tally = follow(
            lambda _: batch.caption_folder(jobs, journal, arguments.model, load=load, **how)
        )
        say_tally(tally)
        notes, result = Notes(), batch.Result(jobs, journal)
        if tally.failed < tally.finished:
            _, left_out = result.write(out, form.name, notes=notes)
        said = [item for item in result if item.caption]
    if tally.failed == tally.finished:
        journal.delete()
        say_failures(tally)
        raise FormatError(f"{out}: was not written, since no image could be read")
    for line in notes.lines():
        say(line)
    if left_out:
        are = "is" if len(left_out) == 1 else "are"
        say(f"{counted(left_out, 'region')} {are} left out, which this format cannot hold")
    wrong = sum(bool(item.extra.get(batch.CONTRADICTED)) for item in said)
    better = sum(bool(item.extra.get(batch.SUGGESTION)) for item in said)
    mute = sum(not item.extra.get(batch.JUDGED) for item in said)
    unjudged = f"; of {mute:,} nothing could be judged, see the column account" if mute else ""
    images = counted(tally.finished - tally.failed, "image")
    say(
        f"{out}: {counted(said, 'caption')} on {images}, {wrong:,} with a word that the image "
        f"contradicts, {counted(better, 'suggestion')}{unjudged}"
    )
    say_left_out(tally)
    if not tally.failed:
        journal.delete()
        return _SOME_FAILED if tally.left_out else _DONE
    journal.close()
    say_failures(tally)
    say_again(journal)
    return _SOME_FAILED
