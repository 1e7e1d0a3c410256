"""Every region that is tried on an image, and what the model said of it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_patchioner.regions import Mask

from .drawn import outline_of, stroke_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_patchioner.decoders import Caption
    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import Region

    from .coco_folders import LabelledImage

KINDS = ("box", "polygon", "trace", "stuff")


class Captions(Protocol):
    """Anything that captions regions as a `Captioner` does."""

    def encode(self, image: npt.NDArray[np.generic], /) -> FeatureGrid:
        """Encode an image once."""

    def caption(self, grid: FeatureGrid, regions: Sequence[Region], /) -> list[Caption]:
        """Caption its regions."""


@dataclass(frozen=True, eq=False, slots=True)
class Trial:
    """One region to caption.

    Attributes
    ----------
    file_name : str
        The image.
    folder : str
        The part of the data set it comes from.
    kind : {"box", "polygon", "trace", "stuff"}
        What was drawn.
    category : str
        What people say is in it.
    area : float
        Fraction of the image its object takes.
    region : Region
        ``(row, column)`` image pixels.
    """

    file_name: str
    folder: str
    kind: str
    category: str
    area: float
    region: Region


@dataclass(frozen=True, eq=False, slots=True)
class Prediction:
    """What a model said of a trial, and what the baselines said.

    Attributes
    ----------
    trial : Trial
    caption : Caption
        Of the region.
    whole : str
        The model's caption of the whole image.
    crop : str, optional
        The model's caption of the cut-out region, encoded as an image of its own.
    """

    trial: Trial
    caption: Caption
    whole: str
    crop: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class WholePrediction:
    """A caption of a whole image, with people's own.

    Attributes
    ----------
    file_name : str
    caption : Caption
    references : tuple of str
    """

    file_name: str
    caption: Caption
    references: tuple[str, ...]


def trials_of(image: LabelledImage, seed: int = 0) -> list[Trial]:
    """Regions to try on one image: boxes, outlines and scribbles of objects, and stuff masks.

    Parameters
    ----------
    image : LabelledImage
    seed : int
        Of the scribbles; with the file name it fixes them.

    Returns
    -------
    list of Trial
    """
    generator = np.random.default_rng([seed, zlib.crc32(image.file_name.encode())])
    found = [("box", one.category, one.area, one.region) for one in image.boxes]
    for one in image.masks:
        if isinstance(one.region, Mask):
            pixels = one.region.pixels
            found.append(("polygon", one.category, one.area, outline_of(pixels)))
            found.append(("trace", one.category, one.area, stroke_in(pixels, generator)))
    found += [("stuff", one.category, one.area, one.region) for one in image.stuff]
    return [Trial(image.file_name, image.folder, *values) for values in found]
