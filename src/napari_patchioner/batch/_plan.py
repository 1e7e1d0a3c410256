"""What is to be captioned: images, and the regions of each."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations import (
    Annotation,
    Notes,
    read_annotations,
    source_format,
    stated_size,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_plain_file
from napari_patchioner.pyramid import BIG
from napari_patchioner.regions import WholeImage

from ._images import absolute
from ._job import Job, is_locked
from ._known_images import KnownImages
from ._labels import LABEL_SUFFIXES
from ._match import ImageMatcher, common_parts
from ._regions import Drawing, GridDrawing, LabelDrawing
from ._sizes import image_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

WHOLE, GRID, LABELS = "whole", "grid:", "labels:"
_MOST_CELLS = 256
_LONGEST = 80
"""Characters that are shown of a name."""
_MOST_ASKED = 20
"""Regions of an image that are asked how large it is; others say the same."""


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
        Long side, in pixels, up to which an image is looked at in one pass.
    overwrite : bool
        Whether captions by people are written anew as well; see `Job`.

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
        return self._count(lambda one: one.is_human and not is_locked(one))

    @property
    def locked(self) -> int:
        """How many regions are locked, and keep whatever caption they have or lack."""
        return self._count(is_locked)

    def _count(self, counts: Callable[[Annotation], bool]) -> int:
        own = sum(counts(one) for ones in self._own.values() for one in ones)
        return own + sum(map(counts, self._everywhere)) * len(self)

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
            stated = next((size for one in first if (size := stated_size(one))), None)
            size = image_size(self._paths[place]) if stated else (0, 0)
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
        places = matcher.assign(one.image for one in annotations if one.image)
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
        some = next((one for ones in own.values() for one in ones), None)
        for one in [some] if some is not None else self._everywhere[:1]:
            sources.add(source_format(one))
        self.source = sources.pop() if len(sources) == 1 else ""
        if annotations and not own and not self._everywhere:
            named = next(one.image for one in annotations)
            raise FormatError(
                f"{Path(self._regions).name}: no region belongs to "
                f"{' or '.join(self._names[:3])}; its regions are about {_shown(named)}, which has "
                "to be the path, file name or stem of an image that is named on the command line"
            )

    def _job(self, place: int) -> Job:
        name = self._names[place]
        everywhere = (replace(one, image=name) for one in self._everywhere)
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
            one
            for one in self._labels.get(path.stem, [])
            if not one.parts[below:-1] or folders & set(one.parts[below:-1])
        ]
        shared = [common_parts(absolute(path), one) for one in candidates]
        nearest = [one for one, n in zip(candidates, shared, strict=True) if n == max(shared)]
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
    found: dict[str, list[Path]] = defaultdict(list)
    for place, folders, names in os.walk(folder.resolve()):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in LABEL_SUFFIXES and not name.startswith("."):
                found[path.stem].append(path)
    if not found:
        raise FormatError(f"--regions labels:{folder}: holds no label image (.png, .tif, .tiff)")
    return dict(found)


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
    return [_text(path.name if shared[path.name] == 1 else str(path)) for path in paths]


def _text(name: str) -> str:
    """Return a file name as Unicode that any file can hold; bytes that are none are spelled out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
