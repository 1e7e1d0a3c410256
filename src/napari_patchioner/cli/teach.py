"""The sub-command ``teach``: names that people gave to regions become a lexicon."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import FormatError, ImageError

from .shared import Bar, check_folder, counted, say, text_table

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.teaching import Lexicon

_DONE, _SOME_FAILED = 0, 1


def add_teach(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``teach``."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, zarr images, folders, or patterns in quotes such as 'scans/**/*.png'",
    )
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
    parser.add_argument("--model", default="mini", help="id of the model (mini)")
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="search folders within folders as well"
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
    lexicons, failures = [] if before is None else [before], []
    with Bar() as bar:
        for done, job in enumerate(plan):
            bar(done / len(plan), f"{done} of {len(plan)} images")
            try:
                taught, faults = batch.teach_image(captioner, job, thumbnails=arguments.thumbnails)
            except ImageError as error:
                failures.append(str(error) if job.image in str(error) else f"{job.image}: {error}")
                continue
            failures += [f"{job.image}: {fault}" for fault in faults]
            lexicons += [] if taught is None else [taught]
        bar(1.0, f"{counted(len(plan), 'image')}")
    for line in failures:
        say(f"  {line}")
    if len(lexicons) == (before is not None):
        raise FormatError("nothing could be learned, so nothing was written")
    lexicon = reduce(Lexicon.merged, lexicons)
    write_lexicon(out, lexicon)
    print(summary(lexicon))
    say(f"{out}: {counted(len(lexicon), 'example')} of {counted(len(lexicon.counts), 'name')}")
    return _SOME_FAILED if failures else _DONE


def summary(lexicon: Lexicon) -> str:
    """Return a table of the names: how many examples each has, and how they fare left out."""
    confusion = lexicon.classifier.confusion
    rows = []
    for name, count in lexicon.counts.items():
        row = confusion.counts[name]
        total = sum(row.values())
        right = f"{row.get(name, 0)} of {total}" if total else ""
        rows.append([name, str(count), right])
    lines = [text_table(["name", "examples", "right when left out"], rows)]
    lines += filter(None, [confusion.summary()])
    lines += confusion.sentences()
    for names in lexicon.contradictions:
        shown = " and ".join(map(repr, names))
        lines.append(f"the very same region is called {shown}; forget one of both")
    return "\n".join(lines)
