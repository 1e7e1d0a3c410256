"""What all backbones have in common: a picture prepared, encoded and laid out as a grid."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from napari_patchioner.devices import CPU, Placement, to_numpy
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform, grid_key
from napari_patchioner.images import as_rgb
from napari_patchioner.progress import Progress, no_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Layout: TypeAlias = Literal["square", "aspect", "crop"]
Triple: TypeAlias = tuple[float, float, float]

IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP: tuple[Triple, Triple] = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
HALF: tuple[Triple, Triple] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# From this aspect ratio on, a picture is cut and resized at once.
_STRIP = 16


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture ready for a network.

    ``pixels`` is a float32 tensor, shape (1, 3, rows * patch_size, columns * patch_size), resized
    and normalised; ``transform`` maps image pixels to patches.
    """

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
        make = {
            "square": GridTransform.squashed,
            "aspect": GridTransform.keeping_aspect,
            "crop": GridTransform.centre_cropped,
        }[self.layout]
        transform = make((rgb.shape[0], rgb.shape[1]), self.size, self.patch_size)
        mean, std = (np.array(part, np.float32) for part in self.normalisation)
        values = (self._resized(rgb, transform).astype(np.float32) / 255 - mean) / std
        pixels = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
        return Prepared(pixels, transform)

    def _resized(
        self, rgb: npt.NDArray[np.uint8], transform: GridTransform
    ) -> npt.NDArray[np.uint8]:
        """Return the pixels that the grid covers, shape (rows * patch_size, ..., 3)."""
        rows, columns = (cells * self.patch_size for cells in transform.grid_shape)
        picture = Image.fromarray(rgb)
        if self.layout == "crop" and max(picture.size) < _STRIP * min(picture.size):
            # Resize the short side, then cut whole pixels, as torchvision does.
            shortest = min(picture.size)
            width, height = (int(self.size * side / shortest) for side in picture.size)
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
            left, top = round((width - self.size) / 2), round((height - self.size) / 2)
            cropped = picture.crop((left, top, left + self.size, top + self.size))
            return np.asarray(cropped)[:rows, :columns]
        # Of a strip only what is covered is made: all of it, resized, may be larger than memory.
        y, x, high, wide = transform.extent
        box = (x, y, min(x + wide, picture.width), min(y + high, picture.height))
        return np.asarray(picture.resize((columns, rows), Image.Resampling.BICUBIC, box=box))


@dataclass(frozen=True, slots=True)
class Features:
    """What a network makes of one picture.

    Attributes
    ----------
    patches : Tensor, shape (rows * columns, dim) or (rows, columns, dim)
        Patch embeddings, row-major.
    attention : ndarray, shape (rows * columns,) or (rows, columns), optional
        Attention over the patches, summing to one.
    cls : Tensor, shape (dim,), optional
        The class token.
    measures : mapping of str to float
        Facts about the whole picture.
    picture : Tensor, shape (3, height, width), optional
        The prepared picture, for backbones that encode it again for every region.
    """

    patches: Tensor | npt.NDArray[np.float32]
    attention: npt.NDArray[np.float32] | None = None
    cls: Tensor | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    picture: Tensor | None = None


class Backbone:
    """Turns an image into a grid of patch embeddings, in one pass.

    A subclass sets the attributes below in its ``__init__`` and defines :meth:`forward`; how a
    picture is prepared, where the network runs, progress and the grid with its key are done here.

    Attributes
    ----------
    name : str
        Goes into every grid it makes and its key; two backbones whose grids differ have
        different names.
    dim : int
        Length of one embedding.
    patch_size : int
        Pixels of the resized image along one side of a patch.
    input_size : int
        Pixels along the long side of the resized image.
    preprocessing : Preprocessing
        How an image is resized and normalised.
    provenance : mapping of str to str
        What memories and decoders of this space must share, such as ``"projection"`` or
        ``"text"``.
    networks : sequence of Module
        What moves to another device.
    blocks : sequence of Module
        Passed one after another in :meth:`forward`; progress is reported after each.
    """

    name: str
    dim: int
    patch_size: int
    input_size: int
    preprocessing: Preprocessing
    provenance: Mapping[str, str] = {}
    networks: Sequence[nn.Module] = ()
    blocks: Sequence[nn.Module] = ()
    placement: Placement = CPU

    def forward(self, pixels: Tensor) -> Features:
        """Encode one prepared picture, shape (1, 3, height, width), without gradients."""
        raise NotImplementedError

    def encode(
        self, image: npt.ArrayLike, *, progress: Progress | None = None, key: str = ""
    ) -> FeatureGrid:
        """Encode an image: the one slow step, the same for any number of regions.

        Parameters
        ----------
        image : array_like, shape (height, width) or (height, width, channels)
            Gray, RGB or RGBA.
        progress : callable, optional
            Called with the fraction done and a message; may raise ``Cancelled``.
        key : str
            ``grid_key(as_rgb(image), self.name)``, where it is known already.

        Returns
        -------
        FeatureGrid
            Its key is the same for the same image, so that it can be found without encoding.

        Raises
        ------
        ImageError
            The array is not a picture.
        """
        progress = progress or no_progress
        progress(0.0, "reading the image")
        rgb = as_rgb(image)
        with spare_core(), torch.inference_mode():
            features, transform = self.encode_rgb(rgb, progress)
        progress(1.0, "done")
        shape = transform.grid_shape
        return FeatureGrid(
            embeddings=to_numpy(features.patches).reshape(*shape, self.dim),
            transform=transform,
            key=key or grid_key(rgb, self.name),
            attention=None if features.attention is None else features.attention.reshape(shape),
            cls=None if features.cls is None else to_numpy(features.cls),
            measures=features.measures,
            backbone=self.name,
            picture=None if features.picture is None else to_numpy(features.picture),
        )

    def encode_rgb(
        self, rgb: npt.NDArray[np.uint8], progress: Progress
    ) -> tuple[Features, GridTransform]:
        """Prepare a picture, shape (height, width, 3), and pass it through the network."""
        prepared = self.preprocessing(rgb)
        height, width = prepared.pixels.shape[2:]
        message = f"encoding {width} by {height} pixels"
        with block_progress(self.blocks, progress, message):
            features = self.forward(self.placement.put(prepared.pixels))
        return features, prepared.transform

    def place(self, placement: Placement) -> None:
        """Move to another device or precision; grids of half precision have keys of their own."""
        for network in self.networks:
            placement.put(network)
        self.placement = placement
        if placement.dtype != "float32":
            self.name += f"/{placement.dtype}"


@contextmanager
def block_progress(
    blocks: Iterable[nn.Module],
    progress: Progress | None,
    message: str,
    span: tuple[float, float] | None = None,
) -> Iterator[None]:
    """Report after every block that this thread passes inside the ``with``.

    ``span`` holds the fractions of the whole work at the start and at the end of the blocks; by
    default something is left to do after the last of them. What ``progress`` raises goes through
    the network and ends the pass.
    """
    if progress is None or progress is no_progress:
        yield
        return
    passed, thread, report = list(blocks), get_ident(), progress
    low, high = span or (0.0, len(passed) / (len(passed) + 1))

    def after(count: int) -> Callable[..., None]:
        fraction = low + (high - low) * count / len(passed)
        # Another thread in the same network has a progress of its own.
        return lambda *_: report(fraction, message) if get_ident() == thread else None

    handles = [block.register_forward_hook(after(count)) for count, block in enumerate(passed, 1)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def spare_core() -> Iterator[None]:
    """Leave one core to the window, and never use more threads than the process may run on.

    A limit that is lower already, such as ``OMP_NUM_THREADS=1``, stays.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, available_cores() - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def available_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
