"""A run over many images on the command line: how far it is, what is kept, what it says."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations import format_named
from napari_patchioner.batch import Journal, Plan, Result, Tally, caption_folder, find_images
from napari_patchioner.errors import FormatError, PatchionerError

from ._bar import Bar
from ._telling import print_exactly, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_patchioner.captioner import Captioner

STDOUT = "-"
_DONE, _SOME_FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class BatchRun:
    """What a person asked for.

    Attributes
    ----------
    images, recursive
        See `find_images`.
    regions, only_empty, options
        See `Plan`.
    model, load, workers, threads
        See `run`.
    out : str
        The file to write, or ``"-"``.
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
    workers: int = 1
    threads: int = 1
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
        status = _run_into(asked, target, asked.format_name or "tidy")
        if target.is_dir():
            raise FormatError(f"{asked.format_name} makes a folder; name one with --out")
        print_exactly(target.read_bytes())
    return status


def _run_into(asked: BatchRun, target: Path, format_name: str | None) -> int:
    """Caption images and write one file; what was done is kept beside it until all is."""
    check_target(target, format_name)
    paths = find_images(asked.images, recursive=asked.recursive)
    plan = Plan(paths, asked.regions, only_empty=asked.only_empty, options=asked.options)
    if plan.left_out:
        say(f"{plan.left_out} region{'s' * (plan.left_out > 1)} of other images left out")
    settings = {"model": asked.model, "threads": str(asked.threads), **plan.settings}
    journal = Journal(target.with_name(f"{target.name}.part"), settings, resume=asked.resume)
    try:
        tally = _caption(asked, plan, journal)
        say(_summary(tally))
        _write(plan, journal, target, format_name, shown=asked.out)
    except (PatchionerError, KeyboardInterrupt):
        _keep(journal, asked)
        raise
    if tally.failed:
        journal.close()
        _tell_trouble(tally, journal, asked)
        return _SOME_FAILED
    journal.delete()
    return _DONE


def check_target(path: Path, format_name: str | None) -> None:
    """Refuse a file that could not be written, before any work is done."""
    form = format_named(path, format_name)
    if path.is_dir() and form.suffixes:
        raise FormatError(f"{path}: is a folder; name a file to write")
    if not path.parent.is_dir():
        raise FormatError(f"{path.parent}: there is no such folder to write into")


def _caption(asked: BatchRun, plan: Plan, journal: Journal) -> Tally:
    """Caption what is left, and show how far it is."""
    tally = Tally(len(plan))
    with Bar() as bar:
        for tally in caption_folder(
            plan,
            journal,
            asked.model,
            workers=asked.workers,
            threads=asked.threads,
            load=asked.load,
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


def _write(plan: Plan, journal: Journal, target: Path, format_name: str | None, shown: str) -> None:
    """Write the result and say what it holds."""
    count, left_out = Result(plan, journal).write(target, format_name)
    if left_out:
        say(
            f"{len(left_out)} of {count + len(left_out)} regions are left out, which this format "
            f"cannot hold, such as {left_out[0].uid!r} of {left_out[0].image} "
            f"({left_out[0].kind})"
        )
    if shown != STDOUT:
        say(f"{target}: {count} region{'s' * (count != 1)}")


def _tell_trouble(tally: Tally, journal: Journal, asked: BatchRun) -> None:
    """Say which images failed, and how to try them again."""
    for image, why in tally.trouble:
        say(f"  {why}" if image in why else f"  {image}: {why}")
    if tally.failed > len(tally.trouble):
        say(f"  and {tally.failed - len(tally.trouble)} more")
    if asked.out != STDOUT:
        say(
            "to try those again, repeat the command with --resume; all else is kept in "
            f"{journal.path}"
        )


def _keep(journal: Journal, asked: BatchRun) -> None:
    """Keep what is done and say how to go on, after something has stopped the run."""
    if not len(journal):
        journal.delete()
        return
    journal.close()
    if asked.out != STDOUT:
        say(
            f"stopped: {len(journal)} images are kept in {journal.path}; the same command with "
            "--resume goes on from there"
        )
