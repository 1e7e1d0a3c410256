"""The result of a run, read from its journal and written as one file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import overload

from napari_patchioner.annotations import (
    MACHINES,
    Annotation,
    ImageInfo,
    Notes,
    files_to_write,
    format_named,
    is_image,
    read_annotations,
    write_annotations,
)
from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.limits import BudgetError
from napari_patchioner.regions import WholeImage

from ._find import size_of
from ._job import Job, Outcome
from ._journal import Journal
from ._match import ImageMatcher, KnownImages

# Formats that go through the regions and hold none of them.
_STREAMED = ("tidy", "parquet")
TABLES = (*_STREAMED, "napari")
"""Formats that hold each region by itself, whatever is known of its image."""

# So much is written to find out before the work whether the format can hold it.
_MOST_IMAGES, _MOST_REGIONS = 200, 2000
# Characters that are shown of a caption.
_LONGEST = 40
_PLURALS = {"box": "boxes", "image": "whole images"}


class Result(Sequence[Annotation]):
    """Every region of a run, in the order of its images, ``others`` of other images behind them.

    Nothing is held: whoever goes through it reads it from disk, image by image. It is meant for
    that; a single region is found by going through all before it. The jobs are all those of the
    run, gone through each time; the journal holds what came of them.
    """

    def __init__(
        self, jobs: Iterable[Job], journal: Journal, others: Sequence[Annotation] = ()
    ) -> None:
        self._jobs, self._journal, self._others = jobs, journal, others
        # How many there were when they were last gone through.
        self._last_count = 0

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        """Yield what came of each job, in the order of the jobs."""
        for job in self._jobs:
            outcome = self._journal.outcome(job)
            if outcome is not None:
                yield job, outcome

    def __iter__(self) -> Iterator[Annotation]:
        count = 0
        for _, outcome in self.outcomes():
            yield from outcome.annotations
            count += len(outcome.annotations)
        yield from self._others
        self._last_count = count + len(self._others)

    def __len__(self) -> int:
        return sum(map(self._journal.regions, self._jobs)) + len(self._others)

    @overload
    def __getitem__(self, place: int) -> Annotation: ...
    @overload
    def __getitem__(self, place: slice) -> list[Annotation]: ...
    def __getitem__(self, place: int | slice) -> Annotation | list[Annotation]:
        if isinstance(place, slice):
            return list(self)[place]
        place += len(self) if place < 0 else 0
        if place < 0 or (region := next(islice(self, place, None), None)) is None:
            raise IndexError("there are not so many regions")
        return region

    def images(self) -> dict[str, ImageInfo]:
        """Return all images of known size, by every name that regions give them."""
        images: dict[str, ImageInfo] = {}
        for job, outcome in self.outcomes():
            if outcome.height and outcome.width:
                size = (outcome.height, outcome.width)
                images |= _infos(job.image, outcome.annotations, *size, job.path)
        return images

    def write(
        self,
        path: Path,
        format_name: str | None = None,
        *,
        in_place: bool = False,
        notes: Notes | None = None,
    ) -> tuple[int, tuple[Annotation, ...]]:
        """Write all regions into one file, whole or not at all, as `write_annotations` does.

        A format that needs to know how large images are gets no regions of an image of which
        nobody knows, since it cannot be read: one bad image never stops the rest. Where no other
        image is left, nothing is written. With ``in_place`` the regions come from this very file,
        so that none of them may be left out.

        Returns how many regions are in the file, and those that the format cannot hold. A
        FormatError also where what came of an image is no longer in the journal.
        """
        form = format_named(path, format_name)
        if in_place and not len(self):
            # Files are known by their records; without any, all else in them would be gone.
            if notes is not None:
                notes.add("as it was", f"{path}: stays as it is, since there is nothing to caption")
            return 0, ()
        if form.name in _STREAMED:
            write_annotations(path, self, {}, form.name, notes=notes)
            count = self._last_count
            self._check(path, count)
            return count, ()
        held = list(self)
        self._check(path, len(held))
        images = self.images()
        if not held and not images and len(self._journal):
            return 0, ()  # no image could be read: an empty file would say that they hold nothing
        if in_place:
            with tempfile.TemporaryDirectory(prefix="napari-patchioner-") as folder:
                trial = Path(folder) / path.name
                lost = write_annotations(trial, held, images, form.name, notes=Notes())
                _refuse_loss(path, lost)
        try:
            left_out = write_annotations(path, held, images, form.name, notes=notes)
        except FormatError:
            sized = [region for region in held if region.image in images]
            if in_place or len(sized) == len(held):
                raise
            if sized:
                left_out = write_annotations(path, sized, images, form.name, notes=notes)
            else:
                left_out = ()
            left_out += tuple(region for region in held if region.image not in images)
        return len(held) - len(left_out), left_out

    def _check(self, path: Path, count: int) -> None:
        """Refuse to let go of the journal where not all of it has been gone through."""
        if count != len(self):
            raise FormatError(
                f"{path}: {count} of {len(self)} regions could be written; another program has "
                "changed the journal, so repeat the command with --resume"
            )


def check_format(
    jobs: Iterable[Job], path: Path, format_name: str | None = None, *, in_place: bool = False
) -> bool:
    """Find out before the work what would keep its result from being written.

    The first regions are written, without captions, to a folder that is deleted again. Arguments
    are those of `Result` and `Result.write`. Returns whether the format makes a folder of that
    path.

    A FormatError where the format or its ending is unknown, its library is missing, it holds none
    of these regions or not all of them in place, or not so many images in one file.
    """
    form = format_named(path, format_name)
    regions: list[Annotation] = []
    images: dict[str, ImageInfo] = {}
    # Where files hold one region each, the number of regions on each image matters.
    alone = path.suffix.lower() == ".roi"
    for job in islice(jobs, _MOST_IMAGES):
        height, width = size_of(job.path)
        if not height or not width:
            continue
        own = list(job.regions)
        if job.drawing is not None:
            draw = job.drawing.draw if alone else job.drawing.sample
            with suppress(ImageError):
                own += draw(job.image, height, width)
        # A report would show the pictures themselves.
        shown = None if form.name == "html" else job.path
        images |= _infos(job.image, own, height, width, shown)
        regions += own
        alike = bool(own) and job.drawing is not None and len(images) > 1
        if len(regions) >= _MOST_REGIONS or (alike and not alone):
            break
    with tempfile.TemporaryDirectory(prefix="napari-patchioner-") as folder:
        trial = Path(folder) / path.name
        if path.is_dir():
            trial.mkdir()
        left_out = write_annotations(trial, regions, images, form.name, notes=Notes())
        is_folder = trial.is_dir()
    if in_place:
        _refuse_loss(path, left_out)
    if regions and len(left_out) == len(regions):
        kinds = {_PLURALS.get(region.kind, f"{region.kind}s") for region in left_out}
        raise FormatError(
            f"{path.name}: the format {form.title!r} has no place for what is to be captioned "
            f"({', '.join(sorted(kinds))}); choose another with --format or by the ending of --out"
        )
    return is_folder


def _infos(
    image: str, regions: Iterable[Annotation], height: int, width: int, path: Path | None
) -> dict[str, ImageInfo]:
    """Return what is known of an image by every name that its regions give it."""
    names = {image, *(region.image for region in regions)}
    return {name: ImageInfo(name, height, width, path) for name in names}


def files_of_result(
    jobs: Iterable[Job], path: Path, format_name: str | None = None
) -> tuple[Path, ...]:
    """Return the files that the result of a run may be written to, the one that was named first.

    Arguments are those of `Result` and `Result.write`. Where a format is about one image a file,
    all images of the run count, since nobody knows yet which of them will have regions.
    """
    regions: list[Annotation] = []
    images: dict[str, ImageInfo] = {}
    for job in jobs:
        own = list(job.regions)
        if job.drawing is not None or job.search is not None:  # in place of what will be made
            own.append(Annotation("", job.image, WholeImage()))
        regions += own
        images |= _infos(job.image, own, 1, 1, job.path)
    # Where few of the images turn out to have regions, one file is written after all.
    return tuple(dict.fromkeys((path, *files_to_write(path, regions, images, format_name))))


def check_people(
    jobs: Iterable[Job],
    path: Path,
    format_name: str | None = None,
    *,
    in_place: bool = False,
    overwrite: bool = True,
) -> None:
    """Refuse to replace files that hold what people made, before any work is done.

    Captions of people are never replaced, except those that the run brings along: of its own
    regions. Without ``overwrite`` nothing is but the result of an earlier run: a file whose regions
    all have captions by a model or are regions of this run. Other arguments are those of `Result`
    and `Result.write`; a FormatError names the file and what it holds.
    """
    jobs = list(jobs)
    regions = [region for job in jobs for region in job.regions]
    paths = [job.path for job in jobs]
    files = files_of_result(jobs, path, format_name)
    form = format_named(path, format_name)
    if in_place and path.is_dir() and form.single:
        # Files of one image each, written again where they would get other names.
        others = [
            file.name
            for file in sorted(path.iterdir())
            if file.name.lower().endswith(form.suffixes)
            and not all(is_image(r.image or file.name, file.name) for r in _held(file, []) or ())
        ]
        others += [file.name for file in files[1:] if not file.exists()]
        if others:
            raise FormatError(
                f"{path}: its files are not named like the images that their regions belong to "
                f"({others[0]}), and would be doubled under other names; name another folder with "
                "--out"
            )
    ours = path.resolve() if in_place else None
    kept = {(region.uid, region.caption) for region in regions if region.is_human}
    own = {_known_by(region) for region in regions}
    whole = _held(path, paths) if path.is_dir() and len(files) > 1 else None
    for file in files:
        if not file.exists() or (ours and ours in (file.resolve(), *file.resolve().parents)):
            continue
        if file.is_dir() and len(files) > 1:  # its files are read one by one
            continue
        held = _held(file, paths)
        lost = [
            region.caption
            for region in held or ()
            if region.is_human and region.caption and (region.uid, region.caption) not in kept
        ]
        if lost:
            count = f"{len(lost)} caption{'s' * (len(lost) > 1)} of people"
            shown = lost[0] if len(lost[0]) <= _LONGEST else f"{lost[0][:_LONGEST]}…"
            raise FormatError(
                f"{file}: is there already and holds {count}, such as {shown!r}, which "
                "would be lost; move it away, or name another file with --out"
            )
        if overwrite or (file.is_file() and not file.stat().st_size):
            continue
        # A file of a folder that makes sense only with the others.
        held = whole if held is None and file.is_file() else held
        if held is None and file.is_dir() and not any(file.iterdir()):
            continue
        if held is None:
            raise FormatError(
                f"{file}: is there and no result of an earlier run; choose another name, or "
                "replace it with --overwrite"
            )
        foreign = (r for r in held if r.source not in MACHINES and _known_by(r) not in own)
        if (region := next(foreign, None)) is not None:
            raise FormatError(
                f"{file}: is there and holds regions that are neither of this run nor made by a "
                f"model, such as {region.uid!r}; choose another name, or replace it with "
                "--overwrite"
            )


def _known_by(region: Annotation) -> tuple[str, str]:
    """Return by what a region is known in several files: formats may leave out endings."""
    return region.uid, Path(region.image).stem


def _held(file: Path, paths: Sequence[Path]) -> list[Annotation] | None:
    """Return the regions in a file that is there; None where it is no file of regions."""
    known = KnownImages(paths, ImageMatcher(paths, file.parent))
    try:
        return read_annotations(file, known, notes=Notes())
    except BudgetError as error:
        raise FormatError(
            f"{error} and cannot be searched for captions of people; move it away, or name "
            "another file with --out"
        ) from error
    except FormatError:
        return None


def _refuse_loss(path: Path, left_out: Sequence[Annotation]) -> None:
    """Refuse to write a file over itself without all of its regions."""
    if left_out:
        raise FormatError(
            f"{path}: {len(left_out)} of its regions would be lost, such as {left_out[0].uid!r} of "
            f"{left_out[0].image} ({left_out[0].kind}), since this format cannot hold them; name "
            "another file with --out"
        )
