"""What all backbones have in common: a picture prepared, encoded and laid out as a grid; text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import get_ident
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from napari_patchioner.devices import (
    CPU,
    DTYPES,
    IN_8_BITS,
    Placement,
    in_parts,
    settle,
    to_numpy,
    torch_cores,
)
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform, grid_key
from napari_patchioner.images import as_rgb
from napari_patchioner.parts import Part
from napari_patchioner.progress import Progress, no_progress

from .engine import Conversion, Engine, prepared

Layout: TypeAlias = Literal["square", "aspect", "crop"]
Triple: TypeAlias = tuple[float, float, float]
FloatArray: TypeAlias = npt.NDArray[np.float32]

IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP: tuple[Triple, Triple] = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
HALF: tuple[Triple, Triple] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_TRANSFORMS = {
    "square": GridTransform.squashed,
    "aspect": GridTransform.keeping_aspect,
    "crop": GridTransform.centre_cropped,
}
# What a GPU may have too little memory to do.
ENCODE, EMBED = "encode images", "embed texts"
# From this aspect ratio on, a picture is cut and resized at once.
_STRIP = 16


class Prepared(NamedTuple):
    """A picture resized and normalised, (1, 3, height, width), and where its patches lie."""

    pixels: Tensor
    transform: GridTransform


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture is resized and normalised.

    ``size`` is the side of the square, long side (``"aspect"``) or short side (``"crop"``) in input
    pixels. The layout squashes the whole picture into a ``"square"``, as in the paper's
    evaluation; keeps its ``"aspect"`` ratio, in whole patches; or cuts out the middle square
    (``"crop"``), as in the published demo. ``normalisation`` holds mean and standard deviation of
    each channel, for values from 0 to 1.
    """

    size: int
    patch_size: int
    layout: Layout = "square"
    normalisation: tuple[Triple, Triple] = IMAGENET

    def __post_init__(self) -> None:
        if self.layout not in _TRANSFORMS:
            raise ModelError(f"The layout must be square, aspect or crop, not {self.layout!r}.")
        if self.size < self.patch_size:
            raise ModelError(
                f"An input of {self.size} pixels has no room for a patch of {self.patch_size}; "
                f"choose a larger size."
            )

    def __call__(self, image: npt.ArrayLike) -> Prepared:
        """Prepare an image, gray, RGB or RGBA; raises ``ImageError`` where it is no picture."""
        rgb = as_rgb(image)
        shape = (rgb.shape[0], rgb.shape[1])
        transform = _TRANSFORMS[self.layout](shape, self.size, self.patch_size)
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
    """What a network makes of one picture; the fields are those of a `FeatureGrid`.

    ``patches``, (rows * columns, dim) or (rows, columns, dim), and ``attention``, one number for
    each, are row-major; ``picture``, shape (3, height, width), is what is encoded again.
    """

    patches: Tensor | FloatArray
    attention: FloatArray | None = None
    cls: Tensor | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    picture: Tensor | npt.NDArray[np.uint8] | None = None


class Backbone(Part):
    """Turns an image into a grid of patch embeddings, in one pass.

    A subclass defines :meth:`read` and :meth:`forward`, and sets the attributes below in its
    ``__init__``, which takes what :meth:`read` returns and the options of :meth:`open`; how a
    picture is prepared, where the network runs, progress and the grid with its key are done here.

    The ``name`` goes into every grid it makes and its key; two backbones whose grids differ have
    different names. An embedding has ``dim`` numbers, a patch ``patch_size`` and the long side
    ``input_size`` pixels of the resized image.
    """

    name: str
    dim: int
    patch_size: int
    input_size: int
    provenance: Mapping[str, str] = {}
    """What memories and decoders of this space share, such as ``"projection"`` or ``"text"``."""
    measured: int = 0
    """So many numbers at the end of an embedding are measured on the picture, none of a network."""
    networks: Sequence[nn.Module] = ()
    """What moves to another device."""
    blocks: Sequence[nn.Module] = ()
    """Passed one after another in :meth:`forward`; progress is reported after each."""
    placement: Placement = CPU
    engine: Engine | None = None
    """What runs the network in place of torch, see :meth:`use_engine`."""

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How pictures are prepared: squashed, in ImageNet's colours, or as a subclass sets it."""
        return Preprocessing(self.input_size, self.patch_size)

    def forward(self, pixels: Tensor) -> Features:
        """Encode one prepared picture, shape (1, 3, height, width), without gradients."""
        raise NotImplementedError

    def encode(
        self, image: npt.ArrayLike, *, progress: Progress | None = None, key: str = ""
    ) -> FeatureGrid:
        """Encode an image, as `Captioner.encode` does.

        ``key`` is ``grid_key(as_rgb(image), self.name)``, where it is known already; it is the same
        for the same image, so that a grid can be found without encoding.
        """
        progress = progress or no_progress
        progress(0.0, "reading the image")
        rgb = as_rgb(image)

        def work(_: object) -> FeatureGrid:
            features, transform = self.encode_rgb(rgb, progress)
            shape = transform.grid_shape
            attention, picture = features.attention, features.picture
            return FeatureGrid(
                embeddings=to_numpy(features.patches).reshape(*shape, self.dim),
                transform=transform,
                key=key or grid_key(rgb, self.name),
                attention=None if attention is None else attention.reshape(shape),
                cls=None if features.cls is None else to_numpy(features.cls),
                measures=features.measures,
                backbone=self.name,
                picture=None if picture is None else to_numpy(picture),
            )

        with torch_cores(), torch.inference_mode():
            [grid] = in_parts(self, 1, 1, work, ENCODE)
        progress(1.0, "done")
        return grid

    def encode_rgb(
        self, rgb: npt.NDArray[np.uint8], progress: Progress
    ) -> tuple[Features, GridTransform]:
        """Prepare a picture, shape (height, width, 3), and pass it through the network."""
        pixels, transform = self.preprocessing(rgb)
        height, width = pixels.shape[2:]
        with block_progress(self.blocks, progress, f"encoding {width} by {height} pixels"):
            return self.forward(self.placement.put(pixels)), transform

    def place(self, placement: Placement) -> None:
        """Move to another device or precision; grids of half precision have keys of their own.

        It is torch that runs there, see :meth:`use_engine`. Where the device has too little memory,
        the network stays on the processor, and `devices.notify` says so.
        """
        self.engine = None
        for ending in (IN_8_BITS, *(f"/{dtype}" for dtype in DTYPES)):
            self.name = self.name.removesuffix(ending)
        settle(self, placement, ENCODE)
        if self.placement.dtype != CPU.dtype:
            self.name += f"/{self.placement.dtype}"

    def move(self, placement: Placement) -> None:
        """Move the networks alone."""
        for network in self.networks:
            placement.put(network)
        self.placement = placement

    def use_engine(self, progress: Progress | None = None) -> None:
        """Have ONNX Runtime run the network if it is quicker and makes the same of pictures.

        A network in 8 bits makes about the same: its grids have keys of their own. Whatever has no
        such network stays as it is. ``progress`` may raise ``Cancelled``.
        """
        conversion = self.conversion()
        if conversion is None:
            return
        with torch_cores():
            self.engine = prepared(conversion, progress)
        if self.engine is not None and conversion.in_8_bits:
            self.name += IN_8_BITS

    def conversion(self) -> Conversion | None:
        """Return what another engine needs to run the network; None if none can."""
        return None


class TextEncoder:
    """A text tower with its tokenizer: sentences to vectors, in batches.

    A subclass defines :meth:`forward` and sets ``dim``, the ``network`` that moves to another
    device, its ``blocks``, and ``frame``, which gives the token ids of a text with its end token,
    cut to the longest the tower reads.
    """

    dim: int
    network: Any
    blocks: Sequence[nn.Module]
    frame: Callable[[str], list[int]]
    batch = 64
    placement: Placement = CPU

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token ids, shape (n, length), padded with 0, to (n, dim)."""
        raise NotImplementedError

    def place(self, placement: Placement) -> None:
        """Move to another device or precision, as `Backbone.place` does."""
        settle(self, placement, EMBED)

    def move(self, placement: Placement) -> None:
        """Move the network."""
        placement.put(self.network)
        self.placement = placement

    @torch.inference_mode()
    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Embed token ids, shape (n, length), padded with ids lower than the end token's."""
        with torch_cores():
            return self.forward(self.placement.put(tokens))

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        """Embed sentences, shape (n, dim), not normalised; ``progress`` may raise ``Cancelled``."""
        total, report = len(texts), progress or no_progress

        def work(batch: slice) -> FloatArray:
            framed = [self.frame(text) for text in texts[batch]]
            length = max(map(len, framed))
            tokens = torch.tensor([[*ids, *[0] * (length - len(ids))] for ids in framed])
            message = f"{batch.start} of {total} sentences"
            report(batch.start / total, message)
            span = (batch.start / total, batch.stop / total)
            with block_progress(self.blocks, progress, message, span):
                return to_numpy(self.embed_tokens(tokens))

        rows = in_parts(self, total, self.batch, work, EMBED)
        report(1.0, f"{total} sentences")
        return np.concatenate([np.empty((0, self.dim), np.float32), *rows])


class LazyText:
    """A text tower that is opened when text is embedded for the first time.

    ``name`` and ``dim`` are the tower's, where they are known before.
    """

    def __init__(
        self, load: Callable[[], TextEncoder], *, name: str = "", dim: int | None = None
    ) -> None:
        self.name, self.dim, self.placement = name, dim, CPU
        self._load = load
        self._tower: TextEncoder | None = None

    def embed(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        """Embed sentences, see `TextEncoder.embed`."""
        if self._tower is None:
            self._tower = self._load()
            self._tower.place(self.placement)
        return self._tower.embed(texts, progress=progress)

    def place(self, placement: Placement) -> None:
        """Move to another device or precision, once the tower is open."""
        self.placement = placement
        if self._tower is not None:
            self._tower.place(placement)


class TextBackbone(Backbone):
    """A backbone that embeds sentences too, with a text tower that is opened when it is needed."""

    no_text = ""
    """What to say where there is no text tower."""

    def set_text(self, text: LazyText | None) -> None:
        """Take a text tower, once ``dim`` is known; where it has a name, that is the provenance."""
        if text is not None and text.dim not in (None, self.dim):
            raise ModelError(
                f"The text tower gives {text.dim} numbers where the pictures have {self.dim}; "
                f"choose the CLIP that belongs to them."
            )
        self.text = text
        if text is not None and text.name:
            self.provenance = {"text": text.name}

    def embed_text(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        """Embed sentences, shape (n, dim), not normalised; ``progress`` may raise ``Cancelled``."""
        if self.text is None:
            raise ModelError(
                self.no_text or f"{self.name} came without a text tower, so it embeds no text."
            )
        return self.text.embed(texts, progress=progress)

    def place(self, placement: Placement) -> None:
        """Move to another device or precision, the text tower too."""
        super().place(placement)
        if self.text is not None:
            self.text.place(placement)


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

    with hooked({block: after(count) for count, block in enumerate(passed, 1)}):
        yield


@contextmanager
def hooked(hooks: Mapping[nn.Module, Callable[..., None]]) -> Iterator[None]:
    """Call each module's hook with module, inputs and output of every pass inside the ``with``."""
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def class_attention(
    qkv: npt.NDArray[np.floating],
    heads: int,
    global_tokens: int = 1,
    *,
    scale: float | None = None,
    per_head: bool = False,
) -> FloatArray:
    """Attention of the class token over the patches, from the last block's projections.

    ``qkv``, shape (tokens, 3 * dim), are queries, keys and values side by side; the class token
    comes first, ``global_tokens`` with the registers are no patches. The logits, with a factor of
    ``1 / sqrt(dim / heads)`` by default, are averaged over the heads first and the softmax runs
    over the patches alone, as in the published code (which splits ViT-B in 16 heads, not its 12).
    Returns one map, shape (patches,), or one ``per_head``, (heads, patches); each sums to one.
    """
    dim = qkv.shape[1] // 3
    query = qkv[0, :dim].reshape(heads, -1).astype(np.float64)
    keys = qkv[global_tokens:, dim : 2 * dim].reshape(-1, heads, dim // heads).astype(np.float64)
    if scale is None:
        scale = (dim // heads) ** -0.5
    logits = scale * np.einsum("hd,phd->hp", query, keys)
    if not per_head:
        logits = logits.mean(axis=0)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)


def layer_count(state: Mapping[str, Tensor], start: str) -> int:
    """Count the layers among weights whose names start like that, before the number."""
    numbers = (name.removeprefix(start).split(".")[0] for name in state if name.startswith(start))
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)


def shape_of(state: Mapping[str, Tensor], name: str, axes: int, problem: str) -> tuple[int, ...]:
    """Return the shape of a weight that there must be; else a ModelError of that problem."""
    if name not in state or state[name].ndim != axes:
        raise ModelError(problem)
    return tuple(state[name].shape)


def resized_grid(
    grid: Tensor,
    shape: tuple[int, int],
    mode: str,
    *,
    antialias: bool = False,
    offset: float = 0.0,
) -> Tensor:
    """Interpolate a square grid of vectors, (n * n, width), to (rows * columns, width).

    An ``offset`` scales by ``(rows + offset) / n`` instead of to the exact size.
    """
    side = math.isqrt(len(grid))
    rows, columns = shape
    if (rows, columns) == (side, side):
        return grid
    # PyTorch antialiases in single precision only.
    plane = grid.float().T.reshape(1, -1, side, side).contiguous()
    if offset:
        factors = ((rows + offset) / side, (columns + offset) / side)
        new = nn.functional.interpolate(plane, scale_factor=factors, mode=mode)
    elif antialias and columns == 1:
        # On a CPU torch repeats the first row where it antialiases to a single column.
        turned = plane.transpose(2, 3).contiguous()
        new = nn.functional.interpolate(turned, (1, rows), mode=mode, antialias=True)
    else:
        new = nn.functional.interpolate(plane, (rows, columns), mode=mode, antialias=antialias)
    return new.flatten(2)[0].T.to(grid.dtype)
