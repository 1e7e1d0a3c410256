"""What is to be captioned: images, and the regions of each."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

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

from ._find import absolute, image_names, size_of
from ._job import Drawing, Job, LexiconFolder, is_locked
from ._match import ImageMatcher, KnownImages, common_parts
from ._proposed import ProposedDrawing

WHOLE, GRID, LABELS, PROPOSED = "whole", "grid:", "labels:", "proposed:"
_LABEL_SUFFIXES = (".png", ".tif", ".tiff")
# Pixels of the largest image whose label image is read; 8192 by 8192.
_MOST_LABELLED = 2**26
_MOST_CELLS, _MOST_PROPOSED = 256, 100
# Characters that are shown of a name.
_LONGEST = 80
# Regions of an image that are asked how large it is; others say the same.
_MOST_ASKED = 20


@dataclass(frozen=True, slots=True)
class GridDrawing:
    """Equal boxes side by side, named by row and column from 1: ``r1c1``, ``r1c2``, ...

    >>> [box.uid for box in GridDrawing(2).draw("cat.png", 8, 8)]
    ['r1c1', 'r1c2', 'r2c1', 'r2c2']
    """

    count: int

    def draw(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return ``count * count`` boxes that cover the image."""
        rows, columns = (
            list(pairwise((np.linspace(0, side, self.count + 1) - 0.5).tolist()))
            for side in (height, width)
        )
        return tuple(
            Annotation(f"r{row}c{column}", image, Box(top, left, bottom, right))
            for row, (top, bottom) in enumerate(rows, start=1)
            for column, (left, right) in enumerate(columns, start=1)
        )

    def sample(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return one box."""
        return GridDrawing(1).draw(image, height, width)


@dataclass(frozen=True, slots=True)
class LabelDrawing:
    """The labels of a label image, each a mask named by its number.

    ``paths`` are none or several where the folder does not say which image it is.
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
        labels = read_samples(self.paths[0])
        if labels.ndim != 2 or labels.dtype.kind not in "bui":
            raise ImageError(
                f"{self.paths[0]}: a label image holds one whole number per pixel, but this one "
                f"has the shape {labels.shape} of {labels.dtype}; save the labels and not their "
                "colours"
            )
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
        ``"proposed:N"`` for N regions at most that the grid of each proposes; ``"labels:DIR"`` for
        the labels of the label image of the same name in a folder; or a file of regions. Its
        ``image`` names (path, file name or stem) tell which image a region belongs to; regions
        without one go with every image.
    only_empty : bool
        Whether captions by a model stay as well.
    options : mapping of str to object, optional
        How to caption: keywords of `Captioner.caption`, and ``"zoom"``; see `Job`.
    big : int
        Long side, in pixels, up to which an image is encoded in one pass.
    overwrite : bool
        Whether captions by people are replaced as well; see `Job`.
    lexicon : LexiconFolder, optional
        What names regions that are like its examples; see `Job`.
    place, paragraph : bool
        Whether place and size are said behind captions, and a paragraph about each image is made
        of its regions; see `Job`.

    Attributes
    ----------
    others : list of Annotation
        The regions of the file that belong to images that were not given.
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
        lexicon: LexiconFolder | None = None,
        place: bool = False,
        paragraph: bool = False,
    ) -> None:
        self._paths = paths
        self._regions = regions
        # What all jobs have in common.
        how: dict[str, Any] = {"only_empty": only_empty, "overwrite": overwrite, "big": big}
        how |= {"lexicon": lexicon, "place": place, "paragraph": paragraph}
        self._common = Job("", Path(), options=dict(options or {}), **how)
        self._names = image_names(paths)
        self._own: dict[int, list[Annotation]] = {}
        self._everywhere: list[Annotation] = []
        self._labels: dict[str, list[Path]] | None = None
        self._labels_folder = Path()
        self._grid: GridDrawing | ProposedDrawing | None = None
        self.others: list[Annotation] = []
        self.source = ""
        self.notes = Notes()
        self._digest = self._stamp = ""
        value = regions.partition(":")[2]
        if regions == WHOLE:
            self._everywhere = [Annotation(WHOLE, "", WholeImage())]
        elif regions.startswith(GRID):
            if not _is_count(value, _MOST_CELLS):
                raise FormatError(
                    f"--regions {GRID}{value[:9]}: name 1 to {_MOST_CELLS} boxes along each side, "
                    f"as in {GRID}4"
                )
            self._grid = GridDrawing(int(value))
        elif regions.startswith(PROPOSED):
            if not _is_count(value, _MOST_PROPOSED):
                raise FormatError(
                    f"--regions {PROPOSED}{value[:9]}: name 1 to {_MOST_PROPOSED} regions, as in "
                    f"{PROPOSED}20"
                )
            self._grid = ProposedDrawing(int(value))
        elif regions.startswith(LABELS):
            self._labels = _label_images(Path(value) if value else None)
            self._labels_folder = Path(value).resolve()
        else:
            self._read(Path(regions))

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[Job]:
        return map(self._job, range(len(self._paths)))

    @property
    def settings(self) -> dict[str, str]:
        """What captions depend on besides the images and the model, as texts."""
        common = self._common
        return {
            "regions": " ".join(filter(None, [self._regions, self._digest])),
            "only_empty": str(common.only_empty).lower(),
            "options": json.dumps(common.options, sort_keys=True),
            **({} if common.big == BIG else {"big": str(common.big)}),
            **({"overwrite": "true"} if common.overwrite else {}),
            **({"lexicon": common.lexicon.setting} if common.lexicon else {}),
            **({"place": "true"} if common.place else {}),
            **({"paragraph": "true"} if common.paragraph else {}),
        }

    @property
    def of_people(self) -> int:
        """How many regions that are not locked keep captions by people, or of unknown source."""
        if self._common.overwrite:
            return 0
        return self._count(lambda region: region.is_human and not is_locked(region))

    @property
    def locked(self) -> int:
        """How many regions are locked, and keep whatever caption they have or lack."""
        return self._count(is_locked)

    def _count(self, counts: Callable[[Annotation], bool]) -> int:
        total = sum(counts(region) for own in self._own.values() for region in own)
        return total + sum(map(counts, self._everywhere)) * len(self)

    @property
    def is_outdated(self) -> bool:
        """Whether the file or folder of regions is no longer what it was when it was read."""
        return self._stamp != "" and _stamp(Path(self._regions)) != self._stamp

    def _read(self, path: Path) -> None:
        """Read a file of regions, and give each to its image."""
        self._stamp = _stamp(path)
        self._digest = self._stamp if path.is_file() else ""
        matcher = ImageMatcher(self._paths, path.parent)
        known = KnownImages(self._paths, matcher)
        annotations = read_annotations(self._regions, known, notes=self.notes)
        if not annotations:
            self.notes.add("empty", f"{path.name}: holds no regions")
        own = defaultdict(list)
        sources = set()
        places = matcher.assign(region.image for region in annotations if region.image)
        for annotation in annotations:
            place = places.get(annotation.image)
            if not annotation.image:
                self._everywhere.append(annotation)
            elif place is None:
                self.others.append(annotation)
                sources.add(source_format(annotation))
            else:
                own[place].append(annotation)
        self._own = dict(own)
        first = next(iter(own.values()), self._everywhere)[:1]
        sources.update(map(source_format, first))
        self.source = sources.pop() if len(sources) == 1 else ""
        if annotations and not own and not self._everywhere:
            named = annotations[0].image
            quoted = repr(named if len(named) <= _LONGEST else f"{named[:_LONGEST]}…")
            shown = quoted.replace("\\\\", "\\")
            raise FormatError(
                f"{path.name}: no region belongs to {' or '.join(self._names[:3])}; its regions "
                f"are about {shown}, which has to be the path, file name or stem of an image that "
                "is named on the command line"
            )
        for place, regions in self._own.items():
            asked = map(stated_size, regions[:_MOST_ASKED])
            stated = next((size for size in asked if size), None)
            size = size_of(self._paths[place]) if stated else (0, 0)
            if stated and all(size) and tuple(size) != stated:
                self.notes.add(
                    "other size",
                    f"{path.name}: says that {self._names[place]} has {stated[0]} by {stated[1]} "
                    f"pixels, but it has {size[0]} by {size[1]}; regions are taken as they stand",
                )

    def _job(self, place: int) -> Job:
        name, path = self._names[place], absolute(self._paths[place])
        everywhere = (replace(region, image=name) for region in self._everywhere)
        drawing: Drawing | None = self._grid
        if self._labels is not None:
            folders = set(path.parts[:-1])
            below = len(self._labels_folder.parts)
            # Labels of another folder are those of another image.
            candidates = [
                labels
                for labels in self._labels.get(path.stem, [])
                if not labels.parts[below:-1] or folders & set(labels.parts[below:-1])
            ]
            shared = [common_parts(path, labels) for labels in candidates]
            pairs = zip(candidates, shared, strict=True)
            drawing = LabelDrawing(tuple(labels for labels, n in pairs if n == max(shared)))
        regions = (*self._own.get(place, ()), *everywhere)
        return replace(self._common, image=name, path=path, regions=regions, drawing=drawing)


def _is_count(text: str, most: int) -> bool:
    """Whether a text is a whole number from 1 to so many."""
    # Not more digits than a person counts: Python itself refuses thousands of them.
    return text[:9].isdecimal() and len(text) <= 9 and 1 <= int(text) <= most


def _stamp(path: Path) -> str:
    """Return a hash of a file, or of the sizes and times of what is in a folder; "" of nothing."""
    if path.is_file():
        check_plain_file(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=8)).hexdigest()
    if not path.is_dir():
        return ""
    states = [(file, file.stat()) for file in sorted(path.rglob("*")) if file.is_file()]
    listed = [f"{file} {state.st_size} {state.st_mtime_ns}" for file, state in states]
    return hashlib.blake2b(os.fsencode("\n".join(listed)), digest_size=8).hexdigest()


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
