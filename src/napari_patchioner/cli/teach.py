"""The sub-command ``teach``: names that people gave to regions become a lexicon."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import FormatError, ImageError, counted, shell_command

from .shared import Bar, add_images, check_folder, say, text_table

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.teaching import Lexicon

_DONE, _SOME_FAILED = 0, 1
# Lines of what is taken for what, and columns of a name in the table.
_MOST_WRONG, _WIDEST = 10, 60


def add_teach(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``teach``."""
    add_images(parser)
    parser.add_argument(
        "--regions",
        required=True,
        metavar="FILE",
        help="a file of regions whose captions are the names, in any format that is read",
    )
    parser.add_argument("--out", required=True, metavar="LEXICON", help="folder to write")
    parser.add_argument(
        "--add",
        action="store_true",
        help="add to the lexicon that is there; a region taught again gets its new name",
    )
    parser.add_argument(
        "--thumbnails", action="store_true", help="keep a small picture of each example"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> int:
    """Learn from images and write a lexicon; return 0, or 1 if some images failed."""
    from napari_patchioner import batch
    from napari_patchioner.teaching import Lexicon, is_lexicon, read_lexicon, write_lexicon

    out = Path(arguments.out)
    check_folder(out.absolute().parent)
    before: Lexicon | None = None
    if arguments.add:
        before = read_lexicon(out)
    elif is_lexicon(out):
        raise FormatError(f"{out}: is there; add to it with --add, or choose another name")
    elif out.exists():
        raise FormatError(f"{out}: is there and no lexicon; choose another name")
    if arguments.regions == "whole" or arguments.regions.startswith(("grid:", "labels:")):
        raise FormatError("--regions: name a file of regions whose captions are the names")
    plan = batch.Plan(
        batch.find_images(arguments.images, recursive=arguments.recursive), arguments.regions
    )
    if not plan.others and not any(job.regions for job in plan):
        raise FormatError(f"{arguments.regions}: holds no regions, so nothing can be learned")
    for line in plan.notes.lines():
        say(line)
    if plan.others:
        say(f"{counted(len(plan.others), 'region')} of other images left out")
    regions = [region for job in plan for region in job.regions]
    unnamed = sum(not batch.name_of(region) for region in regions)
    if unnamed == len(regions):
        raise FormatError(
            f"{arguments.regions}: no region has a name by a person, which is its caption"
        )
    if unnamed:
        say(f"{counted(unnamed, 'region')} without a name by a person left out")
    captioner = load(arguments.model)
    if before is not None:
        before.check(captioner)
    lexicons, failures, left_out = [] if before is None else [before], [], []
    jobs = [job for job in plan if any(map(batch.name_of, job.regions))]
    with Bar() as bar:
        for done, job in enumerate(jobs):
            bar(done / len(jobs), f"{done} of {counted(jobs, 'image')} with examples")
            try:
                taught, faults = batch.teach_image(captioner, job, thumbnails=arguments.thumbnails)
            except ImageError as error:
                failures.append(str(error) if job.image in str(error) else f"{job.image}: {error}")
                continue
            left_out += [f"{job.image}: {fault}" for fault in faults]
            lexicons += [] if taught is None else [taught]
        bar(1.0, f"{counted(jobs, 'image')} with examples")
    if left_out:
        say(f"{counted(left_out, 'region')} left out, from which nothing can be learned:")
    for line in (*left_out, *failures):
        say(f"  {line}")
    if len(lexicons) == (before is not None):
        raise FormatError("nothing could be learned, so nothing was written")
    lexicon = reduce(Lexicon.merged, lexicons)
    write_lexicon(out, lexicon)
    print(summary(lexicon, out))
    if before is not None:
        say_renamed(lexicons, lexicon)
    say(f"{out}: {counted(lexicon, 'example')} of {counted(lexicon.counts, 'name')}")
    return _SOME_FAILED if failures else _DONE


def summary(lexicon: Lexicon, folder: Path, *, whole: bool = False) -> str:
    """Return a table of the names: how many examples each has, and how they fare left out.

    The ``folder`` of the lexicon is for advice; ``whole`` is for all that is taken for another.
    """
    confusion = lexicon.classifier.confusion
    totals = {name: sum(row.values()) for name, row in confusion.counts.items()}
    rows = [
        [
            _cut(name),
            str(count),
            f"{confusion.counts[name].get(name, 0)} of {total}" if total else "",
        ]
        for name, count in lexicon.counts.items()
        for total in [totals[name]]
    ]
    lines = [text_table(["name", "examples", "right when left out"], rows)]
    lines += filter(None, [confusion.summary()])
    if any(0 < total < lexicon.counts[name] for name, total in totals.items()):
        lines.append(
            f"only {sum(totals.values()):,} of {counted(lexicon, 'example')} were left out in "
            "turn, about as many of each name"
        )
    wrong = confusion.sentences()
    shown = len(wrong) if whole else _MOST_WRONG
    lines += wrong[:shown]
    if len(wrong) > shown:
        all_of_it = shell_command("lexicon", "info", folder, "--examples")
        lines.append(f"and {len(wrong) - shown:,} more: {all_of_it}")
    for names in lexicon.contradictions:
        same = " and ".join(map(repr, names))
        lines.append(f"the very same region is called {same}; forget one of both")
    for first, second in lexicon.lookalikes:
        join = shell_command("lexicon", "rename", folder, second, first)
        lines.append(f"{first!r} and {second!r} differ in capitals alone; to join them: {join}")
    return "\n".join(lines)


def _cut(name: str) -> str:
    """Return a name of a sentence's length cut to what a table has room for."""
    return name if len(name) <= _WIDEST else f"{name[: _WIDEST - 1].rstrip()}…"


def say_renamed(lexicons: Sequence[Lexicon], merged: Lexicon) -> None:
    """Say how many examples of lexicons have another name once merged, and which names are gone."""
    names = {example.key: example.name for example in merged.examples}
    renamed = {e.key for own in lexicons for e in own.examples if e.name != names[e.key]}
    if renamed:
        say(f"{counted(renamed, 'example')} got the name that the later examples have")
    gone = sorted({name for own in lexicons for name in own.counts} - merged.counts.keys())
    if gone:
        say(f"no example has these names any more: {', '.join(map(repr, gone))}")
