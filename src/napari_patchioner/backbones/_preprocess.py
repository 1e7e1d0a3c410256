"""A picture as a network wants it, and the grid that comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from napari_patchioner.errors import ModelError
from napari_patchioner.grids import GridTransform
from napari_patchioner.images import as_rgb

if TYPE_CHECKING:
    import numpy.typing as npt

Layout: TypeAlias = Literal["square", "aspect", "crop"]
Triple: TypeAlias = tuple[float, float, float]

IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP: tuple[Triple, Triple] = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
# From this aspect ratio on, a picture is cut and resized at once.
_STRIP = 16

HALF: tuple[Triple, Triple] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture ready for a network.

    Attributes
    ----------
    rgb : ndarray of uint8, shape (height, width, 3)
        The whole picture, for the grid's key.
    pixels : Tensor of float32, shape (1, 3, rows * patch_size, columns * patch_size)
        Resized and normalised.
    transform : GridTransform
        Image pixels to patches.
    """

    rgb: npt.NDArray[np.uint8]
    pixels: Tensor
    transform: GridTransform


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture is resized and normalised.

    Attributes
    ----------
    size : int
        Side of the square, long side (``"aspect"``) or short side (``"crop"``), in input pixels.
    patch_size : int
        Side of a patch in input pixels.
    layout : {"square", "aspect", "crop"}
        Squash the whole picture into a square, as in the paper's evaluation; keep its aspect
        ratio, in whole patches; or cut out the middle square, as in the published demo.
    normalisation : (mean, std)
        Of each channel, for values from 0 to 1.
    """

    size: int
    patch_size: int
    layout: Layout = "square"
    normalisation: tuple[Triple, Triple] = IMAGENET

    def __post_init__(self) -> None:
        if self.layout not in ("square", "aspect", "crop"):
            raise ModelError(f"The layout must be square, aspect or crop, not {self.layout!r}.")
        if self.size < self.patch_size:
            raise ModelError(
                f"An input of {self.size} pixels has no room for a patch of {self.patch_size}; "
                f"choose a larger size."
            )

    def __call__(self, image: npt.ArrayLike) -> Prepared:
        """Prepare an image, gray, RGB or RGBA; raises ``ImageError`` where it is no picture."""
        rgb = as_rgb(image)
        height, width = rgb.shape[:2]
        make = {
            "square": GridTransform.squashed,
            "aspect": GridTransform.keeping_aspect,
            "crop": GridTransform.centre_cropped,
        }[self.layout]
        transform = make((height, width), self.size, self.patch_size)
        return Prepared(rgb, self._normalised(self._resized(rgb, transform)), transform)

    def _resized(
        self, rgb: npt.NDArray[np.uint8], transform: GridTransform
    ) -> npt.NDArray[np.uint8]:
        rows, columns = (cells * self.patch_size for cells in transform.grid_shape)
        picture = Image.fromarray(rgb)
        if self.layout == "crop" and max(picture.size) < _STRIP * min(picture.size):
            return np.asarray(self._cropped(picture))[:rows, :columns]
        # Of a strip only what is seen is made: all of it, resized, may be larger than memory.
        top, left, height, width = transform.extent
        right, bottom = min(left + width, picture.width), min(top + height, picture.height)
        box = (left, top, right, bottom)
        return np.asarray(picture.resize((columns, rows), Image.Resampling.BICUBIC, box=box))

    def _cropped(self, picture: Image.Image) -> Image.Image:
        """Resize the short side, then cut whole pixels, as torchvision does."""
        shortest = min(picture.size)
        width, height = (int(self.size * side / shortest) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        return picture.crop((left, top, left + self.size, top + self.size))

    def _normalised(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        mean, std = (np.array(part, np.float32) for part in self.normalisation)
        values = (pixels.astype(np.float32) / 255 - mean) / std
        return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
