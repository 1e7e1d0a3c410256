"""A run over many images: its options, how far it is, what is kept of it, and what failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from napari_patchioner import batch
from napari_patchioner.errors import counted

from .shared import Bar, say, up_to

AnyJournal: TypeAlias = batch.Journal | batch.Dataset

# As many processes, and threads in each, as any computer has.
_MOST = 256


def add_running(group: Any) -> None:
    """Add how a run is gone on with, and how many processes and threads it has."""
    group.add_argument(
        "--resume", action="store_true", help="go on with a run that was stopped, if there is one"
    )
    count: dict[str, Any] = {"type": up_to(_MOST), "default": 1, "metavar": "N"}
    group.add_argument("--workers", **count, help="processes, a model in each (1)")
    group.add_argument("--threads", **count, help="threads of each process (1)")


@contextmanager
def keeping(journal: AnyJournal, *, named: bool = True) -> Iterator[None]:
    """Keep what is done where a run is stopped; if it writes a ``named`` file, say how to go on."""
    try:
        yield
    except BaseException:
        if not len(journal):
            journal.delete()
            raise
        journal.close()
        if named:
            are = "is" if len(journal) == 1 else "are"
            say(
                f"stopped: {counted(len(journal), 'image')} {are} kept in {journal.path}; the same "
                "command with --resume goes on from there"
            )
        raise


def follow(run: Callable[[Bar], Iterator[batch.Tally]]) -> batch.Tally:
    """Go through a run, which is given the bar that shows how far it is."""
    with Bar() as bar:
        for tally in run(bar):
            parts = [f"{tally.finished} of {counted(tally.total, 'image')}"]
            if tally.failed:
                parts.append(f"{tally.failed} failed")
            if tally.done:
                pace = tally.seconds / (tally.finished - tally.kept)
                left = duration((tally.total - tally.finished) * pace)
                parts += [f"{tally.rate:.3g} per second", f"{left} left"]
            bar(tally.finished / max(tally.total, 1), ", ".join(parts))
    return tally


def say_tally(tally: batch.Tally) -> None:
    """Say how many images were done, and how fast."""
    before = f", {tally.kept} from before" if tally.kept else ""
    say(
        f"{tally.done} done{before}, {tally.skipped} skipped, {tally.failed} failed; "
        f"{duration(tally.seconds)}, {tally.rate:.3g} images per second"
    )
    if tally.pages_left_out:
        are = "is" if tally.pages_left_out == 1 else "are"
        say(
            f"{counted(tally.pages_left_out, 'page')} behind the first {are} no part of a stack "
            f"with it and not read, such as in {tally.with_pages}; save each as a file of its own"
        )


def say_failures(tally: batch.Tally) -> None:
    """Say which images failed, and why."""
    for image, why in tally.failures:
        say(f"  {why}" if image in why else f"  {image}: {why}")
    if tally.failed > len(tally.failures):
        say(f"  and {tally.failed - len(tally.failures)} more")


def say_left_out(tally: batch.Tally) -> None:
    """Say which regions can never be captioned, and why."""
    if not tally.left_out:
        return
    how = "is left as it was" if tally.left_out == 1 else "are left as they were"
    say(f"{counted(tally.left_out, 'region')} {how}:")
    for image, why in tally.faults:
        say(f"  {image}: {why}")
    if tally.left_out > len(tally.faults):
        say(f"  and {tally.left_out - len(tally.faults)} more")


def say_again(journal: AnyJournal) -> None:
    """Say how to try images again that failed, when a file was written without them."""
    say(f"to try those again, repeat the command with --resume; all else is kept in {journal.path}")


def duration(seconds: float) -> str:
    """Return a time in hours, minutes and seconds.

    >>> duration(3725)
    '1:02:05'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
