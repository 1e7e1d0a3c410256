"""Searching images for more of what examples show: what a job looks for, and how it is done."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias

from napari_patchioner.annotations import Annotation, other_axes, read_annotations
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import FormatError, ImageError, ModelError, RegionError, counted
from napari_patchioner.images import StoredImage, open_image
from napari_patchioner.progress import Progress, no_progress, part
from napari_patchioner.regions import Box
from napari_patchioner.teaching import (
    Finder,
    box_in,
    checked_name,
    mean_size,
    samples_of,
    search_image,
)

from ._find import absolute, image_names
from ._folder import file_stamp
from ._job import Job, Searching
from ._match import ImageMatcher
from ._teach import name_of

Index: TypeAlias = tuple[tuple[str, int], ...]
"""Position along the axes of a stack; empty for an image of one plane."""
Places: TypeAlias = dict[Path, dict[Index, list[Box]]]
"""Boxes by image and plane."""

# Images that examples of one name come from; their windows are held together.
_MOST_IMAGES = 20


@dataclass(frozen=True, eq=False, slots=True)
class Examples:
    """Example boxes by name, and a digest of them and of the versions of their images."""

    boxes: Mapping[str, Places]
    digest: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Examples) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def read(cls, like: Path, paths: Sequence[Path]) -> Examples:
        """Read examples from a file; their images are searched, or lie beside the file.

        Or beside one that is searched. A FormatError where a region has no name, no image that is
        there, or does not lie in it, or those of a name are from too many images.
        """
        boxes = _boxes_of(like, paths)
        listed = sorted(
            (name, str(path), file_stamp(path), index, repr(own))
            for name, by_path in boxes.items()
            for path, by_plane in by_path.items()
            for index, own in by_plane.items()
        )
        return cls(boxes, blake2b(repr(listed).encode(), digest_size=8).hexdigest())


def jobs_of(
    paths: Sequence[Path], progress: Progress, searching: Callable[[Progress], Searching]
) -> list[Job]:
    """Return a job for each image, whose search reports its share of the ``progress`` of all."""
    count, jobs = len(paths), []
    for number, (name, path) in enumerate(zip(image_names(paths), paths, strict=True)):
        # What reports a share does not pickle.
        inner = progress
        if progress is not no_progress:
            inner = part(progress, number / count, (number + 1) / count)
        jobs.append(Job(name, absolute(path), search=searching(inner)))
    return jobs


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, in place of captions; it pickles, and needs the images of its examples.

    Attributes
    ----------
    examples : Examples
        What is looked for.
    least : float
        The score that a proposal has at least.
    every_plane : bool
        Whether every plane of a stack is searched, not the first only.
    progress : callable
        Called with how far all images are while one is searched; nothing that pickles.
    """

    examples: Examples
    least: float = 0.5
    every_plane: bool = False
    progress: Progress = no_progress

    @property
    def settings(self) -> dict[str, str]:
        """What proposals depend on besides the images and the model, as texts."""
        every = {"every_plane": "true"} if self.every_plane else {}
        return {"examples": self.examples.digest, "least": f"{self.least:g}", **every}

    def jobs(self, paths: Sequence[Path]) -> list[Job]:
        """Return a job for each image."""
        return jobs_of(paths, self.progress, lambda progress: replace(self, progress=progress))

    def find(
        self, captioner: Captioner, image: StoredImage, path: Path, name: str
    ) -> tuple[list[Annotation], float | None]:
        """Return proposals on an image but for the examples, and how likely it is a photograph.

        A ModelError where the examples cannot be looked for, on whatever image.
        """
        finders, made_by = _finders(captioner, self.examples), captioner.name
        proposals: list[Annotation] = []
        likely: list[float] = []
        planes = list(planes_of(image, every=self.every_plane))

        def report(fraction: float, message: str) -> None:
            self.progress(fraction, f"{name}: {message}")

        for row, index in enumerate(planes):
            known = [
                box
                for by_path in self.examples.boxes.values()
                for box in by_path.get(path, {}).get(index, ())
            ]
            levels = image.levels(dict(index))
            result = search_image(
                captioner,
                finders,
                levels,
                least=self.least,
                known=known,
                progress=part(report, row / len(planes), (row + 1) / len(planes)),
            )
            likely += [] if result.photograph is None else [result.photograph]
            extra = {"plane": " ".join(str(place) for _, place in index)} if index else {}
            start = len(proposals) + 1
            proposals += [
                Annotation(
                    f"like{number}", name, box, caption, round(score, 4), "taught", made_by, extra
                )
                for number, (box, caption, score) in enumerate(result.proposals, start)
            ]
        return proposals, sum(likely) / len(likely) if likely else None

    def left_out(self, captioner: Captioner) -> tuple[str, ...]:
        """Examples count as they are."""
        return ()


def planes_of(image: StoredImage, *, every: bool) -> Iterator[Index]:
    """Yield the first plane of an image, or all there are."""
    first, lengths = image.find(""), image.lengths
    if not every:
        yield tuple(first.items())
        return
    for places in itertools.product(*(range(lengths[axis]) for axis in first)):
        yield tuple(zip(first, places, strict=True))


def _boxes_of(like: Path, paths: Sequence[Path]) -> dict[str, Places]:
    """Return the boxes of each name, in the images that are searched or lie beside the file."""
    annotations = read_annotations(like)
    places = ImageMatcher(paths, like.parent).assign(a.image for a in annotations if a.image)
    by_path: dict[Path, list[tuple[str, Annotation]]] = defaultdict(list)
    folders = dict.fromkeys((like.parent, *(path.parent for path in paths)))
    beside: dict[str, Path | None] = {}
    for annotation in annotations:
        name, shown = name_of(annotation), f"{like.name}: region {annotation.uid!r}"
        if not name:
            raise FormatError(f"{shown} has no name by a person; put it in the column caption")
        place = places.get(annotation.image)
        if place is None and annotation.image not in beside:
            candidates = (folder / annotation.image for folder in folders)
            is_file = bool(annotation.image)
            beside[annotation.image] = next((c for c in candidates if is_file and c.exists()), None)
        path = beside[annotation.image] if place is None else paths[place]
        if path is None:
            raise FormatError(
                f"{shown} is of the image {annotation.image!r}, which is neither searched nor "
                "beside the file or an image that is searched"
            )
        by_path[absolute(path)].append((checked_name(name), annotation))
    if not by_path:
        raise FormatError(f"{like}: holds no examples")
    examples: dict[str, Places] = {}
    for path, named in by_path.items():
        with open_image(path) as image:
            for name, annotation in named:
                try:
                    if other_axes(annotation) is not None:
                        raise RegionError("it does not lie on a plane of rows and columns")
                    plane = image.find(annotation.extra.get("plane", ""))
                    box = box_in(annotation.region, image.shape)
                except RegionError as error:
                    raise FormatError(f"{like.name}: region {annotation.uid!r}: {error}") from error
                by_plane = examples.setdefault(name, {}).setdefault(path, {})
                by_plane.setdefault(tuple(plane.items()), []).append(box)
    for name, own in examples.items():
        if len(own) > _MOST_IMAGES:
            raise FormatError(
                f"the examples of {name!r} are from {counted(own, 'image')}; choose those of "
                f"{_MOST_IMAGES} at most"
            )
    return examples


@lru_cache(maxsize=1)
def _finders(captioner: Captioner, examples: Examples) -> dict[str, Finder]:
    """Return what finds more of each name; a ModelError where there can be none."""
    try:
        return {name: _finder(captioner, name, own) for name, own in examples.boxes.items()}
    except ImageError as error:
        raise ModelError(str(error)) from error


def _finder(captioner: Captioner, name: str, examples: Places) -> Finder:
    """Return what finds more of one name."""
    planes = [
        (path, index, boxes) for path, own in examples.items() for index, boxes in own.items()
    ]
    size = mean_size(box for _, _, boxes in planes for box in boxes)
    samples = []
    for path, index, boxes in planes:
        with open_image(path) as image:
            samples += samples_of(captioner, image.levels(dict(index)), boxes, size)
        if len(samples) > _MOST_IMAGES:
            raise ModelError(
                f"the examples of {name!r} are from more than {_MOST_IMAGES} planes or parts of "
                "images; choose some that lie closer together"
            )
    return Finder(captioner, samples)
