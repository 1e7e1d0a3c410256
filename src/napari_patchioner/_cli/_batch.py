"""A run over many images on the command line: how far it is, what is kept, what it says."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations import FORMATS, format_again, format_named
from napari_patchioner.batch import Plan, Tally, caption_folder, find_images
from napari_patchioner.errors import FormatError, PatchionerError

from ._bar import Bar
from ._keeping import (
    STDOUT,
    check_result,
    check_target,
    keep_what_is_done,
    keeper_of,
    let_go,
    write_result,
)
from ._telling import print_exactly, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_patchioner.captioner import Captioner

    from ._keeping import AnyKeeper

_DONE, _SOME_FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class BatchRun:
    """What a person asked for.

    Attributes
    ----------
    images, recursive
        See `find_images`.
    regions, only_empty, overwrite, options
        See `Plan`.
    model, load, workers, threads
        See `local.run`.
    scheduler : str, optional
        See `cluster.run`.
    out : str
        The file or folder to write, or ``"-"``.
    format_name : str, optional
        Its format; by its ending by default, and a tidy table on standard output.
    resume : bool
        Whether to go on with an earlier run.
    """

    images: Sequence[str]
    regions: str
    model: str
    out: str
    load: Callable[[str], Captioner]
    recursive: bool = False
    format_name: str | None = None
    resume: bool = False
    only_empty: bool = False
    overwrite: bool = False
    workers: int = 1
    threads: int = 1
    scheduler: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def run_batch(asked: BatchRun) -> int:
    """Caption images and write one file.

    Returns
    -------
    int
        0, or 1 if some images failed.

    Raises
    ------
    PatchionerError
        In one sentence, if nothing can be done, or not all.
    KeyboardInterrupt
        After what is done has been kept.
    """
    if asked.out != STDOUT:
        return _run_into(asked, Path(asked.out), asked.format_name)
    if asked.resume:
        raise FormatError("--resume goes on with a file; name one with --out")
    with tempfile.TemporaryDirectory(prefix="napari-patchioner-") as folder:
        target = Path(folder) / "captions"
        named = "tidy" if asked.format_name is None else asked.format_name
        status = _run_into(asked, target, named)
        print_exactly(target.read_bytes())
    return status


def _run_into(asked: BatchRun, target: Path, format_name: str | None) -> int:
    """Caption images and write the result; what was done is kept until all is."""
    if asked.scheduler is not None and asked.workers > 1:
        raise PatchionerError("--workers are processes here; with --scheduler, leave it out")
    if asked.only_empty and asked.overwrite:
        raise PatchionerError(
            "--only-empty keeps captions that are there, --overwrite replaces them; leave one out"
        )
    if format_name is None and asked.out != STDOUT:
        format_name = format_again(Path(asked.regions), target)
    check_target(asked.out, target, format_name)
    paths = find_images(asked.images, recursive=asked.recursive)
    plan = Plan(
        paths,
        asked.regions,
        only_empty=asked.only_empty,
        options=asked.options,
        overwrite=asked.overwrite,
    )
    for line in plan.notes.lines():
        say(line)
    in_place = asked.out != STDOUT and _same_file(asked.regions, target)
    stays = in_place and _is_kept(plan, target, format_name)
    if plan.notes.left_out and in_place and not stays:
        lost = plan.notes.left_out
        raise FormatError(
            f"{asked.out}: {lost} record{'s' * (lost > 1)} of it could not be read and would be "
            "lost; name another file with --out"
        )
    if plan.left_out:
        others = f"{plan.left_out} region{'s' * (plan.left_out > 1)} of other images"
        if in_place and not stays:
            raise FormatError(
                f"{asked.out}: holds {others}, which would be lost; name those images too "
                "(perhaps with --recursive), or another file with --out"
            )
        say(f"{others} {'stay as they are' if stays else 'left out'}")
    check_result(plan, asked.out, target, format_name, in_place=in_place)
    settings = {"model": asked.model, "threads": str(asked.threads), **plan.settings}
    keeper = keeper_of(asked.out, target, format_name, settings, asked.resume)
    try:
        tally = _caption(asked, plan, keeper)
        say(_summary(tally))
        if plan.of_people and not asked.only_empty:
            say(_left_to_people(plan.of_people))
        if plan.locked:
            one = plan.locked == 1
            say(
                f"{plan.locked} region{' is' if one else 's are'} locked and stayed as "
                f"{'it was' if one else 'they were'}"
            )
        write_result(plan, keeper, target, format_name, shown=asked.out, in_place=in_place)
    except (PatchionerError, KeyboardInterrupt):
        keep_what_is_done(keeper, shown=asked.out)
        raise
    if tally.failed:
        keeper.close()
        _tell_trouble(tally, keeper, asked)
        return _SOME_FAILED
    let_go(keeper)
    return _DONE


def _left_to_people(count: int) -> str:
    """Say how many captions by people stay.

    >>> _left_to_people(1)
    '1 region has a caption of a person and was left; --overwrite captions it too'
    """
    if count == 1:
        return "1 region has a caption of a person and was left; --overwrite captions it too"
    return f"{count} regions have captions of people and were left; --overwrite captions them too"


def _same_file(regions: str, target: Path) -> bool:
    """Whether the regions are read from what is to be written."""
    try:
        return target.exists() and Path(regions).resolve() == target.resolve()
    except (OSError, ValueError):
        return False


def _is_kept(plan: Plan, target: Path, format_name: str | None) -> bool:
    """Whether what is in the file and not captioned stays in it when it is written again."""
    source, form = FORMATS.get(plan.source), format_named(target, format_name)
    if form.single and target.is_dir() and not plan.notes.left_out:
        return True  # files of other images are not written
    return source is not None and form.read is source.read


def _caption(asked: BatchRun, plan: Plan, keeper: AnyKeeper) -> Tally:
    """Caption what is left, and show how far it is."""
    tally = Tally(len(plan))
    with Bar() as bar:
        for tally in caption_folder(
            plan,
            keeper,
            asked.model,
            workers=asked.workers,
            threads=asked.threads,
            load=asked.load,
            scheduler=asked.scheduler,
            tell=bar.tell,
        ):
            bar(tally.finished / tally.total, _progress(tally))
    return tally


def _progress(tally: Tally) -> str:
    """Return how far a run is, in a few words."""
    parts = [f"{tally.finished} of {tally.total} images"]
    if tally.failed:
        parts.append(f"{tally.failed} failed")
    if tally.done:
        parts.append(f"{tally.rate:.3g} per second")
        left = (tally.total - tally.finished) * tally.seconds / (tally.finished - tally.kept)
        parts.append(f"{_duration(left)} left")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    """Return a time in hours, minutes and seconds.

    >>> _duration(3725)
    '1:02:05'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _summary(tally: Tally) -> str:
    """Return what was done, in one line."""
    kept = f", {tally.kept} from before" if tally.kept else ""
    return (
        f"{tally.done} done{kept}, {tally.skipped} skipped, {tally.failed} failed; "
        f"{_duration(tally.seconds)}, {tally.rate:.3g} images per second"
    )


def _tell_trouble(tally: Tally, keeper: AnyKeeper, asked: BatchRun) -> None:
    """Say which images failed, and how to try them again."""
    for image, why in tally.trouble:
        say(f"  {why}" if image in why else f"  {image}: {why}")
    if tally.failed > len(tally.trouble):
        say(f"  and {tally.failed - len(tally.trouble)} more")
    if asked.out != STDOUT:
        say(
            "to try those again, repeat the command with --resume; all else is kept in "
            f"{keeper.path}"
        )
