"""The sub-command ``caption``: a run over image files, what is kept of it, what it says."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner import batch
from napari_patchioner.annotations import (
    FORMATS,
    Annotation,
    Format,
    Notes,
    format_again,
    format_named,
)
from napari_patchioner.errors import FormatError, PatchionerError, counted

from .outputs import check_outputs
from .running import (
    AnyJournal,
    add_running,
    follow,
    keeping,
    say_again,
    say_failures,
    say_left_out,
    say_tally,
)
from .shared import (
    above_zero,
    add_images,
    check_folder,
    length,
    print_exactly,
    say,
    share_of_one,
    specificity,
    up_to,
)

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner

STDOUT = "-"
_ENDS_OF_FOLDERS = ("/", os.sep)
_DONE, _SOME_FAILED = 0, 1
_OPTIONS = (
    *("length", "beams", "max_tokens", "pooling", "temperature", "repetition"),
    *("must", "never", "plurals", "union", "zoom", "no_close_up", "pixel_size", "prompt"),
    *("specificity", "context", "tell_apart"),
)


def add_caption(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``caption``."""
    add_images(parser)
    parser.add_argument(
        "--regions",
        required=True,
        metavar="FILE|whole|grid:N|proposed:N|labels:DIR",
        help="a file of regions, in which those without an image go with every image; the word "
        "whole; N by N boxes on each image; up to N regions that the model proposes on each; or a "
        "folder of label images of the same names",
    )
    parser.add_argument(
        "--out",
        default="-",
        metavar="FILE|FOLDER/",
        help="file to write, its format by its ending, or a folder for Parquet files written "
        "as results come; standard output by default",
    )
    parser.add_argument(
        "--lexicon",
        metavar="FOLDER",
        help="what 'teach' has made: regions like its examples get their names, the others "
        "captions of the model",
    )
    parser.add_argument(
        "--memory",
        metavar="NAME|FOLDER",
        help="a vocabulary of your own, see 'memory build', or microscopy, which comes along",
    )
    parser.add_argument(
        "--memory-weight",
        type=share_of_one,
        default=1.0,
        metavar="W",
        help="how much it counts beside the model's own memory, 0 to 1 (1: alone)",
    )
    parser.add_argument(
        "--quote",
        action="store_true",
        help="the nearest sentence of the memory is the caption, word for word",
    )
    parser.add_argument(
        "--join",
        action=argparse.BooleanOptionalAction,
        help="after a name of the lexicon, the model's own caption as well: 'leaf: one green spot' "
        "(in photographs, unless --no-join)",
    )
    for name, text in (
        (
            "--place",
            "say place and size behind each new caption ('a nucleus, the largest of three, 8 µm "
            "across, left of the vessel'), and in the columns place and size of all regions",
        ),
        (
            "--paragraph",
            "make a paragraph about each image of what is said of its regions, as the caption of "
            "the whole image; in a report its phrases are links to them",
        ),
    ):
        parser.add_argument(name, action="store_true", help=text)
    parser.add_argument("--format", metavar="NAME", help="format to write, whatever the ending")
    running = parser.add_argument_group("running")
    add_running(running)
    for name, text in (
        (
            "--only-empty",
            "keep captions that are there, by a model or a person; a person's always stay",
        ),
        (
            "--overwrite",
            "caption what has a caption by a person, or of unknown source, as well; the old text "
            "is kept beside the new one where the format can; locked regions stay; replace --out "
            "though it is no result of an earlier run",
        ),
    ):
        running.add_argument(name, action="store_true", help=text)
    running.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="caption on a dask cluster: the address of its scheduler, or the file it wrote",
    )
    _add_wording(parser.add_argument_group("wording"))
    parser.set_defaults(run=_run)


def _add_wording(group: Any) -> None:
    """Add what `Captioner.caption` offers."""
    group.add_argument("--length", choices=("label", "phrase", "sentence"), help="how long")
    group.add_argument("--beams", type=up_to(64), metavar="N", help="sentences side by side (4)")
    group.add_argument("--max-tokens", type=up_to(1000), metavar="N", help="longest caption")
    poolings = ("mean", "gaussian", "attention", "cls")
    text = "how patches become one vector; the model's own way by default"
    group.add_argument("--pooling", choices=poolings, help=text)
    group.add_argument("--temperature", type=above_zero, metavar="T", help="of the memory")
    text = "no N tokens come twice in a caption"
    group.add_argument("--repetition", type=up_to(1000), metavar="N", help=text)
    words = {"action": "append", "metavar": "WORD", "default": []}
    group.add_argument("--must", **words, help="a word captions have to hold; may be repeated")
    group.add_argument("--never", **words, help="a word captions may not hold; may be repeated")
    text = "0 to 5: how much what a region alone would be called counts more than what is said of "
    text += "anything; 1 prefers rarer names and more details (0: off)"
    group.add_argument("--specificity", type=specificity, metavar="G", help=text)
    text = (
        "what the images are about, with commas between: of the wordings of the model that comes "
    )
    text += "first which suits it; nothing is added"
    group.add_argument("--context", metavar="TEXT", help=text)
    for name, text in (
        (
            "--tell-apart",
            "give regions of an image that are called the same captions that tell them apart, by "
            "what they show, else by their place",
        ),
        ("--plurals", "the plurals of these words count as they do"),
        ("--union", "patches shared by the parts of a set count once"),
        ("--zoom", "enlarge regions smaller than a patch"),
        (
            "--no-close-up",
            "never look closer at what is small, which takes the built-in models about a sixth of "
            "the time of reading the image for each such region",
        ),
    ):
        group.add_argument(name, action="store_true", help=text)
    text = "what a model on a server is asked of each region, in place of what was set up"
    group.add_argument("--prompt", metavar="TEXT", help=text)
    text = "such as 0.65um: sizes in pictures that are no photographs are said in this unit"
    group.add_argument("--pixel-size", type=length, metavar="LENGTH", help=text)


@dataclass(frozen=True, slots=True)
class BatchRun:
    """The arguments of a run; see `find_images`, `Plan`, `local.run` and `cluster.run`.

    ``out`` is the file or folder to write, or ``"-"``; its format, if not named, goes by its
    ending, and is a tidy table on standard output.
    """

    images: Sequence[str]
    regions: str
    model: str
    out: str
    load: Callable[[str], Captioner]
    format: str | None = None
    recursive: bool = False
    resume: bool = False
    only_empty: bool = False
    overwrite: bool = False
    workers: int = 1
    threads: int = 1
    scheduler: str | None = None
    lexicon: str | None = None
    memory: str | None = None
    memory_weight: float = 1.0
    quote: bool = False
    join: bool | None = None
    place: bool = False
    paragraph: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def _run(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> int:
    """Caption and write one file; return the exit status."""
    given = vars(arguments)
    options = {name: given[name] for name in _OPTIONS if given[name]}
    known = {item.name for item in fields(BatchRun)} & given.keys()
    return run_batch(BatchRun(load=load, options=options, **{name: given[name] for name in known}))


def run_batch(run: BatchRun) -> int:
    """Caption images and write one file; return 0, or 1 if images or regions failed."""
    if run.out != STDOUT:
        return _run_into(run, Path(run.out), run.format)
    if run.resume:
        raise FormatError("--resume goes on with a file; name one with --out")
    with tempfile.TemporaryDirectory(prefix="napari-patchioner-") as folder:
        target = Path(folder) / "captions"
        status = _run_into(run, target, "tidy" if run.format is None else run.format)
        print_exactly(target.read_bytes())
    return status


class _Target:
    """What a run writes: ``path``, called ``shown``, in a format that is named or goes by it."""

    def __init__(self, run: BatchRun, path: Path, format_name: str | None) -> None:
        self.shown, self.is_named, self.regions = run.out, run.out != STDOUT, run.regions
        if format_name is None and self.is_named:
            format_name = format_again(Path(run.regions), path)
        is_folder = run.out.endswith(_ENDS_OF_FOLDERS) or (self.is_named and path.is_dir())
        if path.is_symlink() and not is_folder:
            # The file itself is locked and replaced, in the format of the name that was given.
            format_name, path = format_named(path, format_name).name, path.resolve()
        self.path, self.format = path, format_name
        # A folder of Parquet files, written as results come.
        self.is_dataset = is_folder and format_name in (None, "parquet")
        self.in_place = False
        with suppress(OSError, ValueError):
            same = self.is_named and path.exists()
            self.in_place = same and Path(run.regions).resolve() == path.resolve()

    @property
    def form(self) -> Format:
        """The format."""
        return format_named(self.path, self.format)

    def check(self) -> None:
        """Refuse a file or folder that could not be written, before any work is done."""
        path, form = self.path, None if self.is_dataset else self.form
        foldered = form is None or not form.suffixes or form.single or self.format == "labelme"
        if path.is_dir() and not foldered:
            raise FormatError(f"{path}: is a folder; name a file to write")
        if path.exists() and not path.is_file() and not path.is_dir():
            raise FormatError(
                f"{path}: is a device or a pipe and no file; name a file, or leave --out out for "
                "standard output"
            )
        check_folder(path.parent)

    def check_result(self, plan: batch.Plan, *, may_replace: bool) -> None:
        """Refuse, before any work, a format that cannot hold the result, and to lose work.

        What is no result of an earlier run is replaced only if it ``may`` be.
        """
        if self.is_dataset:
            return
        path = self.path
        is_folder = batch.check_format(plan, path, self.format, in_place=self.in_place)
        if is_folder and not self.is_named:
            raise FormatError(f"{self.format} makes a folder; name one with --out")
        ending = path.suffix[1:].isalpha() and not self.shown.endswith(_ENDS_OF_FOLDERS)
        if is_folder and ending and not path.exists():
            raise FormatError(
                f"{path}: {self.format} makes a folder, but the name ends as that of a file; leave "
                "the ending out, or put / behind it"
            )
        if not is_folder and path.is_dir() and not self.form.single:
            raise FormatError(f"{path}: is a folder; name a file to write")
        if is_folder and path.is_file():
            raise FormatError(
                f"{path}: is a file, but {self.format} makes a folder of a name without an ending "
                "of its own; name a folder"
            )
        if self.is_named:
            files = batch.files_of_result(plan, path, self.format)
            inputs = [job.path for job in plan]
            if self.in_place:  # it is read to be written again
                ours = path.resolve()
                files = tuple(f for f in files if ours not in (f.resolve(), *f.resolve().parents))
            else:
                inputs.append(Path(self.regions))
            check_outputs(files, inputs=inputs, overwrite=True)
        how = {"in_place": self.in_place, "overwrite": may_replace}
        batch.check_people(plan, path, self.format, **how)

    def keeps(self, plan: batch.Plan) -> bool:
        """Whether what is in the file and not captioned stays in it when it is written again."""
        source, form = FORMATS.get(plan.source), self.form
        listed = plan.notes.left_out - plan.notes.count("file left out")
        if (form.single or form.file_names is not None) and self.path.is_dir() and not listed:
            return True  # files of other images, and damaged ones, are not written
        return source is not None and form.read is source.read

    def write(self, plan: batch.Plan, journal: AnyJournal, others: Sequence[Annotation]) -> None:
        """Write the result and say what it holds.

        What somebody else has written meanwhile is not replaced.
        """
        notes = Notes()
        if self.in_place and plan.is_outdated:
            old, number = self.path, 1
            while self.path.exists():
                name = f"{old.stem}-captioned{f'-{number}' * (number > 1)}{old.suffix}"
                self.path, number, self.in_place = old.with_name(name), number + 1, False
            say(
                f"{self.shown}: was changed by another program meanwhile and stays as it is now; "
                f"all that it held before, with captions, is in {self.path}"
            )
        if isinstance(journal, batch.Dataset):
            count = journal.finish()
        else:
            if self.shown.endswith(_ENDS_OF_FOLDERS) and self.form.single:
                self.path.mkdir(exist_ok=True)
            count, left_out = batch.Result(plan, journal, others).write(
                self.path, self.format, in_place=self.in_place, notes=notes
            )
            for line in notes.lines():
                say(line)
            if not count and (left_out or not self.path.exists()):
                say(f"{self.shown}: was not written, since no image could be read")
                return
            if left_out:
                verb = "are" if len(left_out) > 1 else "is"
                total = counted(count + len(left_out), "region")
                say(
                    f"{len(left_out)} of {total} {verb} left out, which "
                    f"this format cannot hold, such as {left_out[0].uid!r} of {left_out[0].image} "
                    f"({left_out[0].kind})"
                )
        if self.is_named:
            total = counted(count, "region")
            say(f"{total} in these files" if notes.count("files") else f"{self.path}: {total}")


def _run_into(run: BatchRun, path: Path, format_name: str | None) -> int:
    """Caption images and write the result; what was done is kept until all is."""
    if run.scheduler is not None and run.workers > 1:
        raise PatchionerError("--workers are processes here; with --scheduler, leave it out")
    if run.only_empty and run.overwrite:
        raise PatchionerError(
            "--only-empty keeps captions that are there, --overwrite replaces them; leave one out"
        )
    if run.join is not None and run.lexicon is None:
        option = "--join" if run.join else "--no-join"
        raise PatchionerError(f"{option} is about the names of a lexicon; name one with --lexicon")
    target = _Target(run, path, format_name)
    target.check()
    paths = batch.find_images(run.images, recursive=run.recursive)
    kept: dict[str, Any] = {"only_empty": run.only_empty, "overwrite": run.overwrite}
    kept |= {"place": run.place, "paragraph": run.paragraph}
    if run.lexicon is not None:
        kept["lexicon"] = batch.LexiconFolder.of(Path(run.lexicon), join=run.join)
    plan = batch.Plan(paths, run.regions, options=run.options, **kept)
    for line in plan.notes.lines():
        say(line)
    stays = target.in_place and target.keeps(plan)
    if (lost := plan.notes.left_out) and target.in_place and not stays:
        raise FormatError(
            f"{run.out}: {counted(lost, 'record')} of it could not be read and would be lost; name "
            "another file with --out"
        )
    table = target.in_place and target.form.name in batch.TABLES
    # Files of one image each are left alone.
    alone = not (table or (stays and target.path.is_file()))
    others = plan.others if target.in_place and not alone else []
    if plan.others:
        count = len(plan.others)
        elsewhere = f"{counted(count, 'region')} of other images"
        if target.in_place and not (stays or others):
            raise FormatError(
                f"{run.out}: holds {elsewhere}, which would be lost; name those images too "
                "(perhaps with --recursive), or another file with --out"
            )
        stay = "stays as it is" if count == 1 else "stay as they are"
        say(f"{elsewhere} {stay if target.in_place else 'left out'}")
    part = target.path.parent / f"{target.path.name}.part"
    # Of a run that is gone on with, what it has written so far may lack captions.
    target.check_result(plan, may_replace=run.overwrite or (run.resume and part.exists()))
    settings = {"model": run.model, "threads": str(run.threads), **plan.settings}
    run, memory = _remembering(run)
    settings |= memory
    journal: AnyJournal
    if target.is_dataset:
        journal = batch.Dataset(path, settings, resume=run.resume)
    else:
        wanted = target.shown
        journal = batch.Journal(
            part, settings, resume=run.resume, wanted=wanted if target.is_named else ""
        )
    with keeping(journal, named=target.is_named):
        if target.in_place and plan.is_outdated:
            raise FormatError(f"{run.out}: was changed while it was read; repeat the command")
        how: dict[str, Any] = {"workers": run.workers, "threads": run.threads, "load": run.load}
        tally = follow(
            lambda bar: batch.caption_folder(
                plan, journal, run.model, **how, scheduler=run.scheduler, notify=bar.say
            )
        )
        say_tally(tally)
        if tally.unfamiliar:
            are = "is" if tally.unfamiliar == 1 else "are"
            say(
                f"{tally.unfamiliar:,} of {counted(tally.regions, 'region')} {are} unlike anything "
                f"{run.model} knows: see the column familiarity before you trust what is named"
            )
        if run.lexicon is not None:
            regions = counted(tally.taught, "region")
            say(f"{regions} of {tally.regions:,} got names of the lexicon")
        _say_what_stays(0 if run.only_empty else plan.of_people, plan.locked)
        target.write(plan, journal, others)
    if isinstance(journal, batch.Dataset) or (tally.failed and not target.in_place):
        journal.close()
    else:  # everything is in the result, and the regions in it are others now
        journal.delete()
    say_left_out(tally)
    if not tally.failed:
        return _SOME_FAILED if tally.left_out else _DONE
    say_failures(tally)
    if target.in_place:
        say("to try those again, repeat the command with --only-empty; all else is in the file")
    elif target.is_named:
        say_again(journal)
    return _SOME_FAILED


def _remembering(run: BatchRun) -> tuple[BatchRun, dict[str, str]]:
    """Have a run load its model with a memory; return what that adds to its settings."""
    if run.memory is None:
        if run.quote or run.memory_weight != 1:
            raise PatchionerError("--quote and --memory-weight are about a memory; name --memory")
        return run, {}
    from napari_patchioner.models.memories import MemoryChoice, load_with_memory

    choice = MemoryChoice(run.memory, run.memory_weight, run.quote)
    load = partial(load_with_memory, run.load, choice)
    return replace(run, load=load), {"memory": choice.digest}


def _say_what_stays(of_people: int, locked: int) -> None:
    """Say how many regions were left as they were: with captions of people, and locked ones."""
    if of_people == 1:
        say("1 region has a caption of a person and was left; --overwrite captions it too")
    elif of_people:
        say(
            f"{of_people} regions have captions of people and were left; --overwrite captions them "
            "too"
        )
    if locked == 1:
        say("1 region is locked and stayed as it was")
    elif locked:
        say(f"{locked} regions are locked and stayed as they were")
