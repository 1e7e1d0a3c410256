"""Regions that are made from the image they belong to: boxes side by side, painted labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_patchioner.annotations import Annotation
from napari_patchioner.errors import ImageError
from napari_patchioner.regions import Box, Mask

from ._labels import read_labels

if TYPE_CHECKING:
    from pathlib import Path

MOST_LABELLED = 2**26
"""Pixels of the largest image whose label image is read; 8192 by 8192."""


class Drawing(Protocol):
    """Makes the regions of an image once its size is known; picklable."""

    def draw(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return the regions of the image of this name and size."""

    def sample(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return a region of the kind that `draw` makes, without reading anything."""


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
        The label image; none or several where the folder does not tell which it is.
    """

    paths: tuple[Path, ...]

    def draw(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return one mask per label, 0 being the background.

        Raises
        ------
        ImageError
            If there is not exactly one label image, or it is none, or it has another size, or the
            image is so large that its labels should not be read whole.
        """
        from napari_patchioner.regions import label_boxes

        if not self.paths:
            raise ImageError(
                "there is no label image of the same name (.png, .tif or .tiff), or only in "
                "another folder"
            )
        if len(self.paths) > 1:
            raise ImageError(
                f"the label image may be {self.paths[0]} or {self.paths[1]}; keep one of them"
            )
        if height * width > MOST_LABELLED:
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
