"""Pictures everybody with scikit-image has: a few photographs, and images that are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import skimage.data

from napari_patchioner.evaluation.metrics.mention import THINGS, named
from napari_patchioner.regions import Box, WholeImage

if TYPE_CHECKING:
    from napari_patchioner.decoders import Caption
    from napari_patchioner.regions import Region

    from .run import Captions

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "camera", "stereo_motorcycle")
OTHERS = (
    "immunohistochemistry",
    "cell",
    "retina",
    "microaneurysms",
    "hubble_deep_field",
    "moon",
    "page",
    "text",
    "coins",
    "brick",
    "gravel",
)
# Photographs after all, or pages that a word like "page" names rightly.
NAMEABLE = frozenset({"brick", "gravel", "coins", "moon", "page", "text"})
OBJECTS = frozenset(THINGS) | {"sky", "tree", "building", "house", "mountain", "sea", "snow"}


@dataclass(frozen=True, eq=False, slots=True)
class SampleCaption:
    """What the model said of a part of a sample picture.

    Attributes
    ----------
    name : str
        Of the picture in `skimage.data`.
    part : str
        What was captioned.
    photograph : bool
        Whether the picture is an everyday photograph.
    region : Region
    caption : Caption
    """

    name: str
    part: str
    photograph: bool
    region: Region
    caption: Caption

    @property
    def judged(self) -> bool:
        """Whether naming anything in the picture would be a bluff."""
        return not self.photograph and self.name not in NAMEABLE

    @property
    def bluffs(self) -> bool:
        """Whether it names a thing in what is no picture of one."""
        names = any(found & OBJECTS for found in named(self.caption.text))
        return self.judged and (names or self.caption.verdict != "appearance")


def sample_pixels(name: str) -> npt.NDArray[np.uint8]:
    """Read a sample picture.

    Parameters
    ----------
    name : str
        A function of `skimage.data`.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
    """
    image = getattr(skimage.data, name)()
    pixels = np.asarray(image[0] if isinstance(image, tuple) else image)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    colours = np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels[..., :3]
    return np.ascontiguousarray(colours.astype(np.uint8))


def caption_samples(captioner: Captions) -> list[SampleCaption]:
    """Caption the whole of each sample picture, its middle and its corner.

    Parameters
    ----------
    captioner : Captioner

    Returns
    -------
    list of SampleCaption
    """
    found = []
    for name in (*PHOTOGRAPHS, *OTHERS):
        pixels = sample_pixels(name)
        grid = captioner.encode(pixels)
        parts = _parts(pixels.shape[:2])
        captions = captioner.caption(grid, list(parts.values()))
        found += [
            SampleCaption(name, part, name in PHOTOGRAPHS, region, caption)
            for (part, region), caption in zip(parts.items(), captions, strict=True)
        ]
    return found


def _parts(size: tuple[int, ...]) -> dict[str, Region]:
    height, width = size
    return {
        "whole": WholeImage(),
        "middle": Box(0.3 * height, 0.3 * width, 0.7 * height, 0.7 * width),
        "corner": Box(-0.5, -0.5, 0.4 * height, 0.4 * width),
    }
