"""From an image to a grid of a DINO's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.grids import FeatureGrid, grid_key

from ._progress import silent

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from torch import Tensor

    from ._dino import Attention, DinoVision, Looked
    from ._preprocess import Preprocessing
    from ._progress import Progress

    Refine = Callable[[Looked, Progress], tuple[Tensor, Tensor]]

_NATIVE = {14: 518, 16: 512}


def native_size(patch_size: int) -> int:
    """Side of the square input: 37 patches of 14 pixels as in the paper, else 32 patches."""
    return _NATIVE.get(patch_size, 32 * patch_size)


def encode(
    image: npt.ArrayLike,
    vision: DinoVision,
    preprocessing: Preprocessing,
    name: str,
    *,
    attention: Attention,
    refine: Refine | None = None,
    progress: Progress | None = None,
) -> FeatureGrid:
    """Look at an image once.

    Parameters
    ----------
    image : array_like, shape (height, width) or (height, width, channels)
        Gray, RGB or RGBA.
    vision : DinoVision
        Looks.
    preprocessing : Preprocessing
        How the image is resized.
    name : str
        Of the backbone, for the grid.
    attention : {"paper", "reference"}
        See :meth:`DinoVision.attention`.
    refine : callable, optional
        From what was seen, and whom to tell of the last tenth of the work, to patches, shape
        (rows, columns, dim), and class token, shape (dim,).
    progress : callable, optional
        Called with the share done and a message; may raise ``Cancelled``.

    Raises
    ------
    ImageError
        The array is not a picture.
    """
    tell = progress or silent
    tell(0.0, "resizing the image")
    prepared = preprocessing(image)
    share = 0.9 if refine else 1.0
    message = f"looking at {prepared.pixels.shape[-1]} by {prepared.pixels.shape[-2]} pixels"
    looked = vision.look(prepared.pixels, tell=lambda done: tell(share * done, message))
    patches, cls = refine(looked, tell) if refine else (looked.patches, looked.cls)
    tell(1.0, "done")
    return FeatureGrid(
        embeddings=patches.numpy(),
        transform=prepared.transform,
        key=grid_key(prepared.rgb, name),
        attention=vision.attention(looked, attention),
        cls=cls.numpy(),
        backbone=name,
    )
