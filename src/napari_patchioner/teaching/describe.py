"""Regions as numbers: their pooled vector, and what is measured of their pixels."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely
from PIL import Image

from napari_patchioner.backbones import RegionEncoder
from napari_patchioner.errors import ImageError, RegionError
from napari_patchioner.images import Levels
from napari_patchioner.regions import Box, Region

from .measures import (
    AROUND,
    CELLS,
    COLOURS,
    MARGIN,
    PROFILE,
    Boxes,
    BoxMeans,
    FloatArray,
    colour_statistics,
    measured_planes,
    ring_profile,
)

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import FeatureGrid

GRID, RING, COLOUR, SIZE = "grid", "profile", "colour", "size"
BLOCKS = (GRID, RING, COLOUR, SIZE)
"""What is known of a region, in this order."""
WIDTHS = {RING: PROFILE, COLOUR: COLOURS, SIZE: 1}
"""Numbers of each block but the pooled vector, whose length is the backbone's."""

# Long side, in pixels, of what is measured in one piece.
_LONGEST = 1024
# Long side of a small picture, in pixels.
_THUMBNAIL = 96
_BACKGROUND, _BACKGROUND_ONE_BY_ONE = 40, 8
# Sides of boxes that stand for what nobody named.
_SMALLEST, _LARGEST = 25.0, 250.0
# Square pixels below which an area shows nothing.
_NO_AREA = 1e-6


@dataclass(frozen=True, eq=False, slots=True)
class Descriptions:
    """What is known of n regions.

    Attributes
    ----------
    blocks : mapping of str to ndarray of float32, shape (n, width)
        By the names in `BLOCKS`: the pooled vector, rings, colours, and the logarithm of the size.
    """

    blocks: Mapping[str, FloatArray]

    def __len__(self) -> int:
        return len(self.blocks[GRID])

    @property
    def dim(self) -> int:
        """Length of the pooled vectors."""
        return int(self.blocks[GRID].shape[1])

    def take(self, rows: Sequence[int] | npt.NDArray[np.intp]) -> Descriptions:
        """Return some of them, in this order."""
        index = np.asarray(rows, np.intp)
        return Descriptions({name: block[index] for name, block in self.blocks.items()})

    @classmethod
    def none(cls, dim: int) -> Descriptions:
        """Return those of no region."""
        widths = {GRID: dim, **WIDTHS}
        return cls({name: np.zeros((0, widths[name]), np.float32) for name in BLOCKS})

    @classmethod
    def joined(cls, parts: Sequence[Descriptions]) -> Descriptions:
        """Return those of several images, one after another; there is at least one part."""
        return cls({name: np.concatenate([part.blocks[name] for part in parts]) for name in BLOCKS})


class ImageMeasures:
    """The pixels of an image, measured once; a large one only where it is asked about.

    Parameters
    ----------
    levels : Levels or array_like
        The image, gray or in colours, in one size or several.
    """

    def __init__(self, levels: Levels | npt.ArrayLike) -> None:
        self.levels = levels if isinstance(levels, Levels) else Levels(np.asarray(levels))
        self._sizes = self.levels.down_to(_LONGEST // 2)
        self._whole: BoxMeans | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` in pixels of the full resolution."""
        return self.levels.shape

    @cached_property
    def content(self) -> str:
        """Digest of the size of the image and of the pixels in its middle."""
        sides = np.minimum(self.shape, _LONGEST)
        top, left = ((np.array(self.shape) - sides) // 2).tolist()
        pixels = self.levels.rgb(self.levels.given[0].read(top, left, *sides.tolist()))
        digest = hashlib.blake2b(repr(self.shape).encode(), digest_size=8)
        digest.update(np.ascontiguousarray(pixels).tobytes())
        return digest.hexdigest()

    def thumbnail(self, region: Region) -> bytes:
        """Return a small picture of a region with its surroundings, as PNG."""
        bounds = region.for_image(*self.shape).bounds()
        box = np.array([bounds.top, bounds.left, bounds.bottom, bounds.right]) + 0.5
        pixels, _ = self._around(np.clip(box, 0, np.tile(self.shape, 2)))
        picture = Image.fromarray(pixels)
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        data = io.BytesIO()
        picture.save(data, "PNG")
        return data.getvalue()

    def whole(self, longest: int = _LONGEST) -> BoxMeans:
        """Return what is measured of all pixels; an ImageError where a side is longer than this."""
        if max(self.shape) > longest:
            raise ImageError(
                f"the image has {self.shape[0]} by {self.shape[1]} pixels, more than {longest} "
                "along a side; search in parts of it, or in a smaller copy"
            )
        if self._whole is None:
            level = self.levels.given[0]
            pixels = self.levels.rgb(level.read(0, 0, *level.shape))
            self._whole = BoxMeans(measured_planes(pixels))
        return self._whole

    def cells(self, boxes: Boxes) -> FloatArray:
        """Return what is measured in the cells in and around boxes, shape (n, cells, planes).

        A box with its surroundings is read at full resolution where it has no more than 1024
        pixels along each side, else at the finest level at which it has no more.
        """
        if max(self.shape) <= _LONGEST:
            return self.whole().cells(boxes)
        return np.concatenate([self._cells_of(box) for box in boxes])

    def _cells_of(self, box: Boxes) -> FloatArray:
        """Return those of one box, read with its surroundings."""
        pixels, inner = self._around(box)
        return BoxMeans(measured_planes(pixels)).cells(inner[None])

    def _around(self, box: Boxes) -> tuple[npt.NDArray[np.uint8], Boxes]:
        """Read a box with its surroundings; return them in colours, and the box within them."""
        sides = box[2:] - box[:2]
        around = np.concatenate([-sides, sides]) * (AROUND / CELLS)
        outer = np.clip(box + around, 0, np.tile(self.shape, 2))
        longest = float((outer[2:] - outer[:2]).max())
        fine = (size for size in self._sizes if longest / max(size.scale) <= _LONGEST)
        level = next(fine, self._sizes[-1])
        scale = np.tile(level.scale, 2)
        first = np.floor(outer[:2] / level.scale).astype(int) - MARGIN
        last = np.ceil(outer[2:] / level.scale).astype(int) + MARGIN
        first, last = (np.clip(corner, 0, level.shape) for corner in (first, last))
        first = np.minimum(first, np.array(level.shape) - 1)
        (top, left), (height, width) = first.tolist(), np.maximum(last - first, 1).tolist()
        pixels = self.levels.rgb(level.read(top, left, height, width))
        return pixels, box / scale - np.tile(first, 2)


def describe(
    captioner: Captioner, grid: FeatureGrid, measures: ImageMeasures, regions: Sequence[Region]
) -> Descriptions:
    """Describe regions of an encoded image by their vectors and by the pixels in their bounds.

    Parameters
    ----------
    captioner : Captioner
        Of any backbone; its own pooling is taken.
    grid : FeatureGrid
        From its ``encode``; it need not cover all of the image.
    measures : ImageMeasures
        The pixels of the same image.
    regions : sequence of Region
        Of any kind. A RegionError where one lies outside the grid or makes no sense; an ImageError
        where the grid is of an image of another size.
    """
    if grid.transform.image_shape != measures.shape:
        (height, width), (rows, columns) = grid.transform.image_shape, measures.shape
        raise ImageError(
            f"the grid is of an image of {height} by {width} pixels, but this one has {rows} by "
            f"{columns}; encode this very image"
        )
    if not regions:
        return Descriptions.none(grid.dim)
    vectors = captioner.embed(grid, regions)
    boxes = np.stack([box_of(region, grid, measures.shape) for region in regions])
    cells = measures.cells(boxes)
    size = 0.5 * np.log(np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)).sum(axis=1, keepdims=True)
    return Descriptions(
        {
            GRID: vectors,
            RING: ring_profile(cells),
            COLOUR: colour_statistics(cells),
            SIZE: size.astype(np.float32),
        }
    )


def background(
    captioner: Captioner, grid: FeatureGrid, measures: ImageMeasures, share: int = 1
) -> Descriptions:
    """Describe boxes anywhere in what a grid covers, which nobody named; always the same ones.

    Where an image has several grids, ``share`` of them, each gives its part.
    """
    top, left, height, width = grid.transform.extent
    sides = np.minimum([height, width], np.subtract(measures.shape, [top, left]))
    # A backbone that encodes every region anew takes long for each.
    most = _BACKGROUND_ONE_BY_ONE if isinstance(captioner.backbone, RegionEncoder) else _BACKGROUND
    count = math.ceil(most / share)
    rng = np.random.default_rng(0)
    least, largest = np.log(np.minimum((_SMALLEST, _LARGEST), 0.9 * sides.min())).tolist()
    side = np.exp(rng.uniform(least, largest, count))
    down, across = (rng.uniform(0, 1, count) * (end - side) for end in sides)
    down, across = down + top - 0.5, across + left - 0.5
    corners = np.stack([down, across, down + side, across + side], axis=1)
    return describe(captioner, grid, measures, [Box(*corner) for corner in corners.tolist()])


def check_example(region: Region) -> None:
    """Raise a RegionError for an area that encloses nothing, such as a click with the box tool.

    Points and lines have no area by nature, and show the patches they lie in.
    """
    outlined = [part.kind in ("box", "ellipse", "polygon") for part in region.parts()]
    if all(outlined) and all(shapely.area(part.inside()) < _NO_AREA for part in region.parts()):
        raise RegionError(f"the {region.kind} has no area; draw it around what it shows")


def box_of(region: Region, grid: FeatureGrid, shape: tuple[int, int]) -> Boxes:
    """Return the box around a region, shape (4,), pixel corners at integers."""
    bounds = region.for_image(*shape).bounds()
    box = np.array([bounds.top, bounds.left, bounds.bottom, bounds.right]) + 0.5
    if not region.is_area:
        # Points and lines have no size of their own: they show the patches they lie in.
        _, _, height, width = grid.transform.extent
        patch = np.divide((height, width), grid.shape)
        missing = np.maximum(patch - (box[2:] - box[:2]), 0) / 2
        box += np.concatenate([-missing, missing])
    # No more than the image, but for a pixel at least.
    box = np.clip(box, 0, np.tile(shape, 2))
    box[:2] = np.minimum(box[:2], np.array(shape) - 1.0)
    box[2:] = np.maximum(box[2:], box[:2] + 1.0)
    return box
