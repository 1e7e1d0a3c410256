"""What is to be captioned: images, and the regions of each."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.annotations import (
    Annotation,
    Notes,
    read_annotations,
    source_format,
    stated_size,
)
from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.images import read_samples
from napari_patchioner.limits import check_plain_file
from napari_patchioner.pyramid import BIG
from napari_patchioner.regions import Box, Mask, WholeImage, label_boxes

from ._find import absolute, size_of
from ._job import Job, is_locked
from ._match import ImageMatcher, KnownImages, common_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from ._job import Drawing

WHOLE, GRID, LABELS = "whole", "grid:", "labels:"
_LABEL_SUFFIXES = (".png", ".tif", ".tiff")
# Pixels of the largest image whose label image is read; 8192 by 8192.
_MOST_LABELLED = 2**26
_MOST_CELLS = 256
# Characters that are shown of a name.
_LONGEST = 80
# Regions of an image that are asked how large it is; others say the same.
_MOST_ASKED = 20


def read_labels(path: Path) -> npt.NDArray[Any]:
    """Read a PNG or TIFF of numbers, shape (height, width); of a palette the indices."""
    labels = read_samples(path)
    if labels.ndim != 2 or labels.dtype.kind not in "bui":
        raise ImageError(
            f"{path}: a label image holds one whole number per pixel, but this one has the shape "
            f"{labels.shape} of {labels.dtype}; save the labels and not their colours"
        )
    return labels


@dataclass(frozen=True, slots=True)
class GridDrawing:
    """Equal boxes side by side, named by row and column from 1: ``r1c1``, ``r1c2``, ...

    Attributes
    ----------
    count : int
        Boxes along each side.

    >>> [box.uid for box in GridDrawing(2).draw("cat.png", 8, 8)]
    ['r1c1', 'r1c2', 'r2c1', 'r2c2']
    """

    count: int

    def draw(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return ``count * count`` boxes that cover the image."""
        rows = (np.linspace(0, height, self.count + 1) - 0.5).tolist()
        columns = (np.linspace(0, width, self.count + 1) - 0.5).tolist()
        return tuple(
            Annotation(
                f"r{row + 1}c{column + 1}",
                image,
                Box(rows[row], columns[column], rows[row + 1], columns[column + 1]),
            )
            for row in range(self.count)
            for column in range(self.count)
        )

    def sample(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return one box."""
        return GridDrawing(1).draw(image, height, width)


@dataclass(frozen=True, slots=True)
class LabelDrawing:
    """The labels of a label image, each a mask named by its number.

    Attributes
    ----------
    paths : tuple of Path
        The label image; none or several where the folder does not say which it is.
    """

    paths: tuple[Path, ...]

    def draw(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return one mask per label, 0 being the background."""
        if not self.paths:
            raise ImageError(
                "there is no label image of the same name (.png, .tif or .tiff), or only in "
                "another folder"
            )
        if len(self.paths) > 1:
            raise ImageError(
                f"the label image may be {self.paths[0]} or {self.paths[1]}; keep one of them"
            )
        if height * width > _MOST_LABELLED:
            raise ImageError(
                f"the image has {height} by {width} pixels, too many for a label image, which is "
                "read whole; give the outlines in a file instead, such as GeoJSON"
            )
        labels = read_labels(self.paths[0])
        if labels.shape != (height, width):
            raise ImageError(
                f"{self.paths[0].name}: the label image has {labels.shape[0]} by "
                f"{labels.shape[1]} pixels but the image {height} by {width}"
            )
        return tuple(
            Annotation(str(value), image, Mask(labels[box] == value, (box[0].start, box[1].start)))
            for value, box in label_boxes(labels).items()
        )

    def sample(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return the mask of one pixel."""
        return (Annotation("1", image, Mask(np.ones((1, 1), bool), (0, 0))),)


class Plan:
    """The jobs of a run, each made when it is asked for.

    Parameters
    ----------
    paths : sequence of Path
        The images, from `find_images`.
    regions : str
        ``"whole"`` for one caption of each image; ``"grid:N"`` for N by N boxes on each;
        ``"labels:DIR"`` for the labels of the label image of the same name in a folder; or a file
        of regions. Its ``image`` names (path, file name or stem) tell which image a region
        belongs to; regions without one go with every image.
    only_empty : bool
        Whether captions by a model stay as well.
    options : mapping of str to object, optional
        How to caption: keywords of `Captioner.caption`, and ``"zoom"``; see `Job`.
    big : int
        Long side, in pixels, up to which an image is encoded in one pass.
    overwrite : bool
        Whether captions by people are replaced as well; see `Job`.

    Attributes
    ----------
    of_people : int
        How many regions have captions by people, or of unknown source, and keep them; those that
        are locked do not count.
    locked : int
        How many regions are locked, and keep whatever caption they have or lack.
    left_out : int
        How many regions of the file belong to images that were not given.
    source : str
        The format in which the file can be written again with all that is not of these images;
        empty where it cannot.
    notes : Notes
        What of the file could not be read, was dropped or guessed.

    Raises
    ------
    FormatError
        The regions cannot be read, or belong to none of the images.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        regions: str,
        *,
        only_empty: bool = False,
        options: Mapping[str, Any] | None = None,
        big: int = BIG,
        overwrite: bool = False,
    ) -> None:
        self._paths = paths
        self._regions = regions
        self._only_empty = only_empty
        self._options = dict(options or {})
        self._big = big
        self._overwrite = overwrite
        self._names = _names(paths)
        self._own: dict[int, list[Annotation]] = {}
        self._everywhere: list[Annotation] = []
        self._labels: dict[str, list[Path]] | None = None
        self._labels_folder = Path()
        self._grid: GridDrawing | None = None
        self.left_out = 0
        self.source = ""
        self.notes = Notes()
        self._digest = ""
        self._prepare()

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[Job]:
        return map(self._job, range(len(self._paths)))

    @property
    def settings(self) -> dict[str, str]:
        """What captions depend on besides the images and the model, as texts."""
        return {
            "regions": " ".join(filter(None, [self._regions, self._digest])),
            "only_empty": str(self._only_empty).lower(),
            "options": json.dumps(self._options, sort_keys=True),
            **({} if self._big == BIG else {"big": str(self._big)}),
            **({"overwrite": "true"} if self._overwrite else {}),
        }

    @property
    def of_people(self) -> int:
        """How many regions that are not locked keep captions by people, or of unknown source."""
        if self._overwrite:
            return 0
        return self._count(lambda region: region.is_human and not is_locked(region))

    @property
    def locked(self) -> int:
        """How many regions are locked, and keep whatever caption they have or lack."""
        return self._count(is_locked)

    def _count(self, counts: Callable[[Annotation], bool]) -> int:
        total = sum(counts(region) for own in self._own.values() for region in own)
        return total + sum(map(counts, self._everywhere)) * len(self)

    def _prepare(self) -> None:
        """Read what there is to read about regions before the first image."""
        kind, value = self._regions, self._regions.partition(":")[2]
        if kind == WHOLE:
            self._everywhere = [Annotation(WHOLE, "", WholeImage())]
        elif kind.startswith(GRID):
            self._grid = GridDrawing(_count(value))
        elif kind.startswith(LABELS):
            self._labels = _label_images(Path(value) if value else None)
            self._labels_folder = Path(value).resolve()
        else:
            self._digest = _digest(Path(kind))
            matcher = ImageMatcher(self._paths, Path(kind).parent)
            known = KnownImages(self._paths, matcher)
            annotations = read_annotations(kind, known, notes=self.notes)
            if not annotations:
                self.notes.add("empty", f"{Path(kind).name}: holds no regions")
            self._assign(annotations, matcher)
            self._note_other_sizes(Path(kind).name)

    def _note_other_sizes(self, file: str) -> None:
        """Note images of another size than the file states, whose regions may lie elsewhere."""
        for place, own in self._own.items():
            first = own[:_MOST_ASKED]
            stated = next((size for region in first if (size := stated_size(region))), None)
            size = size_of(self._paths[place]) if stated else (0, 0)
            if stated and all(size) and tuple(size) != stated:
                self.notes.add(
                    "other size",
                    f"{file}: says that {self._names[place]} has {stated[0]} by {stated[1]} "
                    f"pixels, but it has {size[0]} by {size[1]}; regions are taken as they stand",
                )

    def _assign(self, annotations: Sequence[Annotation], matcher: ImageMatcher) -> None:
        """Give each region of a file to its image."""
        own = defaultdict(list)
        sources = set()
        places = matcher.assign(region.image for region in annotations if region.image)
        for annotation in annotations:
            if not annotation.image:
                self._everywhere.append(annotation)
                continue
            place = places.get(annotation.image)
            if place is None:
                self.left_out += 1
                sources.add(source_format(annotation))
            else:
                own[place].append(annotation)
        self._own = dict(own)
        first = next(iter(own.values()), self._everywhere)[:1]
        sources.update(map(source_format, first))
        self.source = sources.pop() if len(sources) == 1 else ""
        if annotations and not own and not self._everywhere:
            named = annotations[0].image
            raise FormatError(
                f"{Path(self._regions).name}: no region belongs to "
                f"{' or '.join(self._names[:3])}; its regions are about {_shown(named)}, which has "
                "to be the path, file name or stem of an image that is named on the command line"
            )

    def _job(self, place: int) -> Job:
        name = self._names[place]
        everywhere = (replace(region, image=name) for region in self._everywhere)
        return Job(
            name,
            absolute(self._paths[place]),
            (*self._own.get(place, ()), *everywhere),
            self._drawing(self._paths[place]),
            self._only_empty,
            self._options,
            self._big,
            self._overwrite,
        )

    def _drawing(self, path: Path) -> Drawing | None:
        """Return what makes regions of an image, if anything does."""
        if self._labels is None:
            return self._grid
        folders = set(absolute(path).parts[:-1])
        below = len(self._labels_folder.parts)
        # Labels of another folder are those of another image.
        candidates = [
            labels
            for labels in self._labels.get(path.stem, [])
            if not labels.parts[below:-1] or folders & set(labels.parts[below:-1])
        ]
        shared = [common_parts(absolute(path), labels) for labels in candidates]
        nearest = [labels for labels, n in zip(candidates, shared, strict=True) if n == max(shared)]
        return LabelDrawing(tuple(nearest))


def _count(text: str) -> int:
    # Not more digits than a person counts: Python itself refuses thousands of them.
    if not text[:9].isdecimal() or len(text) > 9 or not 1 <= int(text) <= _MOST_CELLS:
        raise FormatError(
            f"--regions {GRID}{text[:9]}: name 1 to {_MOST_CELLS} boxes along each side, as in "
            f"{GRID}4"
        )
    return int(text)


def _label_images(folder: Path | None) -> dict[str, list[Path]]:
    """Return the label images in a folder and the folders in it, by name without the ending."""
    if folder is None or not folder.is_dir():
        raise FormatError(f"--regions labels:{folder or ''}: there is no such folder")
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for parent, folders, names in os.walk(folder.resolve()):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() in _LABEL_SUFFIXES and not name.startswith("."):
                by_stem[path.stem].append(path)
    if not by_stem:
        raise FormatError(f"--regions labels:{folder}: holds no label image (.png, .tif, .tiff)")
    return dict(by_stem)


def _shown(name: str) -> str:
    """Return a name that a file gives an image, short."""
    quoted = repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…")
    return quoted.replace("\\\\", "\\")


def _digest(path: Path) -> str:
    """Return a digest of a file of regions; empty for a folder."""
    if not path.is_file():
        return ""
    check_plain_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=8)).hexdigest()


def _names(paths: Sequence[Path]) -> list[str]:
    """Return what to call each image in a table: its file name, or its path if that is shared."""
    shared = Counter(path.name for path in paths)
    names = [path.name if shared[path.name] == 1 else str(path) for path in paths]
    # Any file can hold Unicode; bytes that are none are spelled out.
    return [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]
