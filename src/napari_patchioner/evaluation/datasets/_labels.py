"""What a dataset yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_patchioner.images import read_picture

if TYPE_CHECKING:
    from pathlib import Path

    from napari_patchioner.regions._shapes import Region


@dataclass(frozen=True, eq=False, slots=True)
class LabelledRegion:
    """A region and the name people gave to what is in it.

    Attributes
    ----------
    category : str
        Plain name of an object or stuff class.
    region : Region
        ``(row, column)`` image pixels, pixel centres at integers.
    area : float
        Fraction of the image it takes, 0 to 1.
    """

    category: str
    region: Region
    area: float


@dataclass(frozen=True, eq=False, slots=True)
class LabelledImage:
    """An image file with everything known about it.

    Attributes
    ----------
    file_name : str
        Name without a folder; it identifies the image.
    path : Path
        Where the pixels are.
    folder : str
        The part of the data set it comes from.
    size : tuple of int
        ``(height, width)`` in pixels.
    boxes : tuple of LabelledRegion
        Object boxes, crowds left out.
    masks : tuple of LabelledRegion
        Object masks, crowds left out.
    stuff : tuple of LabelledRegion
        Masks of background classes.
    captions : tuple of str
        What people wrote about the whole image.
    licence : int, optional
        COCO's licence number of the photograph (4 to 8 allow commercial use).
    """

    file_name: str
    path: Path
    folder: str
    size: tuple[int, int]
    boxes: tuple[LabelledRegion, ...]
    masks: tuple[LabelledRegion, ...]
    stuff: tuple[LabelledRegion, ...]
    captions: tuple[str, ...]
    licence: int | None

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Read the photograph.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
        """
        return np.asarray(read_picture(self.path).convert("RGB"))
