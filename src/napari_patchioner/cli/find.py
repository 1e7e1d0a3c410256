"""The sub-command ``find``: what a phrase says, or more like example boxes, over many images."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner import batch
from napari_patchioner.annotations import Notes, format_named
from napari_patchioner.annotations.nouns import listed
from napari_patchioner.errors import FormatError, counted
from napari_patchioner.grids import PHOTOGRAPH

from .outputs import check_outputs
from .running import add_running, follow, keeping, say_again, say_failures, say_tally
from .shared import Bar, add_images, check_folder, say, share_of_one

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner

_DONE, _SOME_FAILED = 0, 1


def add_find(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``find``."""
    add_images(parser)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument(
        "--phrase",
        metavar="TEXT",
        help='what to look for, such as "a red bus"; what follows "not" in it is not wanted; the '
        'images are listed by how likely they show it; of "a bus, a car" any is looked for, and '
        '"and" lists the images that show both',
    )
    wanted.add_argument(
        "--like",
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
        "--not",
        dest="unwanted",
        default="",
        metavar="TEXT",
        help="with --phrase: what is not wanted, parted by commas",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace FOUND if it is there")
    parser.add_argument(
        "--least",
        type=share_of_one,
        metavar="SCORE",
        help="score that a proposal has at least, 0 to 1 (0.2 for a phrase, 0.5 for examples)",
    )
    parser.add_argument(
        "--every-plane",
        action="store_true",
        help="search every plane of a stack, not the first only",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="with --phrase: look at large images in one smaller size only, not part by part as "
        "well, where small things are found",
    )
    add_running(parser.add_argument_group("running"))
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> int:
    """Search images and write what was found; return 0, or 1 if some images failed."""
    out, like = Path(arguments.out), Path(arguments.like) if arguments.like else None
    if like is not None and arguments.unwanted:
        raise FormatError("--not goes with --phrase; leave it out where you give examples")
    if like is not None and arguments.quick:
        raise FormatError("--quick goes with --phrase; leave it out where you give examples")
    format_named(out, None)
    check_folder(out.absolute().parent)
    paths = batch.find_images(arguments.images, recursive=arguments.recursive)
    part = out.with_name(f"{out.name}.part")
    how_much: dict[str, Any] = {"every_plane": arguments.every_plane}
    if arguments.least is not None:
        how_much["least"] = arguments.least
    search = (
        batch.PhraseSearch(
            arguments.phrase, arguments.unwanted, in_parts=not arguments.quick, **how_much
        )
        if like is None
        else batch.Search(batch.Examples.read(like, paths), **how_much)
    )
    jobs = search.jobs(paths)
    is_begun = arguments.resume and part.exists()
    check_outputs(
        batch.files_of_result(jobs, out),
        inputs=paths if like is None else (like, *paths),
        overwrite=arguments.overwrite or is_begun,
    )
    if not arguments.overwrite:
        batch.check_people(jobs, out)
    settings = {"model": arguments.model, "threads": str(arguments.threads), **search.settings}
    journal = batch.Journal(part, settings, resume=arguments.resume, wanted=str(out))
    how = {"workers": arguments.workers, "threads": arguments.threads}

    def run(bar: Bar) -> Iterator[batch.Tally]:
        # Other processes cannot draw here.
        own = jobs if arguments.workers > 1 else replace(search, progress=bar).jobs(paths)
        return batch.caption_folder(own, journal, arguments.model, load=load, **how)

    with keeping(journal):
        tally = follow(run)
        say_tally(tally)
        notes, result = Notes(), batch.Result(jobs, journal)
        if tally.failed < tally.finished:
            count, left_out = result.write(out, notes=notes)
        outcomes = [outcome for _, outcome in result.outcomes()]
        likely = [o.photograph for o in outcomes if o.photograph is not None]
        photographs = sum(chance >= PHOTOGRAPH for chance in likely)
    if tally.failed == tally.finished:
        journal.delete()
        say_failures(tally)
        raise FormatError(f"{out}: was not written, since no image could be searched")
    for line in notes.lines():
        say(line)
    if left_out:
        are = "is" if len(left_out) == 1 else "are"
        say(f"{counted(left_out, 'proposal')} {are} left out, which this format cannot hold")
    searched = counted(tally.finished - tally.failed, "image")
    say(f"{out}: {counted(count, 'proposal')} on {searched}")
    if isinstance(search, batch.PhraseSearch):
        if words := list(dict.fromkeys(word for o in outcomes for word in o.left_out)):
            counts = "counts" if len(words) == 1 else "count"
            say(f"{listed(list(map(repr, words)))} {counts} for nothing with {arguments.model}")
        others = len(likely) - photographs
        if others and search.is_name:
            are = "is no photograph" if others == 1 else "are no photographs"
            say(
                f"{counted(others, 'image')} {are}, and {arguments.model} names nothing there: ask "
                'for what can be measured, such as "dark purple round spots", or give examples'
            )
        _say_ranking(batch.ranked(outcomes, search.together))
    elif photographs:
        looks = "looks" if photographs == 1 else "look"
        say(
            f"{counted(photographs, 'image')} {looks} like a photograph of everyday things, which "
            "seldom come in one size and from one side: most proposals there are wrong unless many "
            "of the same lie side by side"
        )
    if not tally.failed:
        journal.delete()
        return _DONE
    journal.close()
    say_failures(tally)
    say_again(journal)
    return _SOME_FAILED


def _say_ranking(images: Sequence[tuple[str, float, int]]) -> None:
    """Print which images show it most likely, on standard output, for people and programs."""
    for place, (name, score, count) in enumerate(images, start=1):
        print(f"{place}\t{score:.3f}\t{count}\t{name}")
