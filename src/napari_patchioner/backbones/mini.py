"""The backbone of the embedded models: deep and middle features of a picture on one grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.bridges.appearance import AXES
from napari_patchioner.checkpoints import file_sha256, own_file_damaged, read_own_arrays
from napari_patchioner.devices import CPU, Placement, in_parts, to_numpy, torch_cores
from napari_patchioner.errors import ModelError, RegionError
from napari_patchioner.grids import PHOTOGRAPH, FeatureGrid, GridTransform, pool
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.regions import Box, Region, RegionSet, WholeImage, cover

from .appearance import Appearance
from .base import ENCODE, Backbone, Features, FloatArray
from .engine import Conversion, try_pictures
from .middle import thing_in_the_middle
from .mini_text import MiniText

Parameters: TypeAlias = Mapping[str, FloatArray]

SIZE = 640
"""Long side, in pixels, at which the network reads a picture."""

GRID_SIDE = 40
"""Patches along the long side of the common grid."""

PICTURE = 1280
"""Long side, in pixels, of what a grid keeps of its picture."""

SMALL = 0.02
"""Regions below this share of the picture are looked at once more."""

MARGIN, CLOSE_UP_SIZE = 0.4, 320
"""Margin of that crop, in sides of the region, and its long side as the network reads it."""

# Of pictures that are no photographs: regions up to this share of the picture may show one thing,
# above the first only a round one, and the share of ground from which its colour is known.
_LARGE, _LARGEST, _LEAST_GROUND = 0.15, 0.3, 0.03
_SHARP, _ROUND = AXES.index("marks_sharp"), AXES.index("marks_round")
_GROUND_AREA = AXES.index("ground_area")
_GROUND = slice(_GROUND_AREA + 1, _GROUND_AREA + 4)

# A line is no smaller than if it were a quarter as broad as long.
_THIN = 4

# What is a photograph with this probability is one whatever else there is to see around it.
_SURELY = 0.95

# Repeats, kernel, stride, expansion and output channels of the stages of EfficientNet-Lite2: those
# of EfficientNet-B0, 1.1 times as wide and 1.2 times as deep.
_STAGES = (
    (1, 3, 1, 1, 16),
    (3, 3, 2, 6, 24),
    (3, 5, 2, 6, 48),
    (4, 3, 2, 6, 88),
    (4, 5, 1, 6, 120),
    (5, 5, 2, 6, 208),
    (1, 3, 1, 6, 352),
)
_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280

STRIDE = 32
"""Pixels of the input per cell of the deep features."""

# EfficientNet-Lite was trained on (pixel - 127) / 128, unlike its larger siblings.
_MEAN, _DEVIATION = 127.0, 128.0

# Of the gate: largest log-odds, distance of one number, and vote of the classifier.
_LIMIT, _FARTHEST, _SUREST = 30.0, 6.0, 8.0
# Colour and texture come first among the axes; marks and lines would be too easy to paint.
_TEXTURE_AXES = AXES.index("clear_squared")
# A blank picture shows nothing: its share of flat pixels, and how far its lightness spreads.
_FLAT, _LIGHTNESS = AXES.index("flat"), AXES.index("lightness")
_BLANK, _BLANK_SPREAD = 0.99, 1.0


class MiniBackbone(Backbone):
    """EfficientNet-Lite2 and measured appearance on one grid.

    Every patch embedding is ``[deep features | middle features | appearance axes]``; all are
    interpolated to the common grid, so that one weighted mean over patches pools them together.
    ``measures`` of a grid has ``"photograph"``, how likely the image is one.

    ``weights`` are the folded float16 weights, ``gate`` what separates photographs from other
    pictures, both safetensors files; raises ``ModelError`` where one is missing or damaged.
    ``text`` embeds sentences; not among the patches, but where `ConceptBridge` takes regions.
    """

    patch_size = 16
    input_size = SIZE
    measured = len(AXES)

    def __init__(self, weights: Path, gate: Path, text: MiniText | None = None) -> None:
        self._text = text
        if text is not None:
            self.provenance = text.provenance
        network = EfficientNetLite()
        state = {name: torch.from_numpy(array) for name, array in read_own_arrays(weights).items()}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise own_file_damaged(weights) from error
        network.eval().requires_grad_(False)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.networks = [self._network]
        self._gate = load_gate(gate)
        self.dim = network.channels + network.middle_channels + len(AXES)
        # Grids of other axes are no grids of this one.
        made_of = "".join([*map(file_sha256, (weights, gate)), *AXES])
        fingerprint = sha256(made_of.encode()).hexdigest()[:8]
        self.name = f"efficientnet-lite2-{fingerprint}/{SIZE}/{GRID_SIDE}"

    def conversion(self) -> Conversion:
        """Return what ONNX Runtime needs to run the network, in single precision.

        Its grids have the keys of torch's: they differ by less than torch's own on other numbers of
        threads may.
        """

        def pictures() -> list[Tensor]:
            photograph, tissue = try_pictures()
            sizes = ((photograph, SIZE), (tissue, SIZE), (photograph, CLOSE_UP_SIZE))
            return [_pixels(picture, size) for picture, size in sizes]

        return Conversion(
            self._network,
            pictures,
            outputs=("deep", "middle"),
            about=self.name,
            channels=1,
            resizable=True,
        )

    def embed_text(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        """Embed sentences, shape (n, 384), of unit length; see `MiniText`."""
        if self._text is None:
            raise ModelError(f"{self.name} came without a text tower, so it embeds no text.")
        return self._text.embed_text(texts, progress=progress)

    def encode_rgb(
        self, rgb: npt.NDArray[np.uint8], progress: Progress
    ) -> tuple[Features, GridTransform]:
        """Read a picture at its working size and measure its appearance."""
        shape = grid_shape(rgb.shape[0], rgb.shape[1])
        progress(0.1, f"encoding {SIZE} pixels")
        deep, middle = dense(self.engine or self._network, rgb, SIZE, self.placement)
        progress(0.6, "measuring colours and textures")
        appearance = Appearance(rgb, shape)
        photograph = photograph_probability(deep.mean((0, 1)), appearance.surface, self._gate)
        # Of photographs no mark is counted. What may be none, or is a part of one, is another case.
        axes = appearance.surface if photograph > _SURELY else appearance.axes()
        patches = np.concatenate([resample(deep, shape), resample(middle, shape), axes], axis=2)
        picture = np.ascontiguousarray(kept(rgb).transpose(2, 0, 1))
        features = Features(patches, measures={"photograph": photograph}, picture=picture)
        return features, GridTransform((rgb.shape[0], rgb.shape[1]), shape)

    def embed_close_ups(
        self,
        grid: FeatureGrid,
        regions: Sequence[Region],
        *,
        progress: Progress | None = None,
    ) -> dict[int, FloatArray]:
        """Look at regions anew, each in a crop of its own; see `CloseUpEncoder`.

        Of a photograph the small ones are read, into pooled ``[deep features | middle features]``.
        Of any other picture the single thing in the middle of a region is measured, where there is
        one, as in `thing_in_the_middle`.
        """
        picture, report = grid.picture, progress or no_progress
        if picture is None:
            return {}
        if grid.measures.get("photograph", 0.0) < PHOTOGRAPH:
            things = {row: _thing(grid, region) for row, region in enumerate(regions)}
            return {row: thing for row, thing in things.items() if thing is not None}
        parts = [_parts_inside(region, grid.transform) for region in regions]
        small = [
            (row, place)
            for row, members in enumerate(parts)
            for place, member in enumerate(members)
            if is_small(member, grid.transform)
        ]
        pixels = picture.transpose(1, 2, 0).astype(np.uint8, copy=False)
        vectors: dict[int, FloatArray] = {}
        for done, (row, place) in enumerate(small):
            report(done / len(small), f"looking closer: {done} of {len(small)} small regions")
            # One by one, so that a caption never depends on what else is asked; a processor gains
            # nothing from batches.
            vector = self._close_up(pixels, parts[row][place], grid.transform)
            if len(parts[row]) == 1:
                vectors[row] = vector
            else:
                unseen = np.full((len(parts[row]), len(vector)), np.nan, np.float32)
                vectors.setdefault(row, unseen)[place] = vector
        return vectors

    def _close_up(
        self, pixels: npt.NDArray[np.uint8], region: Region, transform: GridTransform
    ) -> FloatArray:
        """Read a region in a crop; the picture lies under all of a grid."""
        crop, window = _crop(pixels, region, transform)

        def work(_: object) -> tuple[FloatArray, FloatArray]:
            return dense(self.engine or self._network, crop, CLOSE_UP_SIZE, self.placement)

        with torch_cores():
            [(deep, middle)] = in_parts(self, 1, 1, work, ENCODE)
        shape = (middle.shape[0], middle.shape[1])
        around = GridTransform(transform.image_shape, shape, window)
        patches = np.concatenate([resample(deep, shape), middle], axis=2)
        weights = cover(region, around, weighting="area")
        vector: FloatArray = pool(FeatureGrid(patches, around, ""), [weights])[0]
        return vector


def _parts_inside(region: Region, transform: GridTransform) -> list[Region]:
    """Return the members of a set that a grid reaches, else the region itself."""
    if not isinstance(region, RegionSet) or region.union:
        return [region]
    reached: list[Region] = []
    for member in region.members:
        with suppress(RegionError):
            cover(member, transform)
            reached.append(member)
    return reached


def _crop(
    pixels: npt.NDArray[np.uint8], region: Region, transform: GridTransform
) -> tuple[npt.NDArray[np.uint8], tuple[float, float, float, float]]:
    """Cut a region out with a margin; also the top, left, height and width of what is cut."""
    corners = _corners(region, transform)
    margin = MARGIN * (corners[1] - corners[0])
    # Pixels of the picture, whole ones, for one of the image.
    origin, size = np.reshape(transform.extent, (2, 2))
    scale = pixels.shape[:2] / size
    low = np.floor((corners[0] - margin - origin) * scale).astype(int)
    high = np.ceil((corners[1] + margin - origin) * scale).astype(int)
    top, left = low.clip(0, np.subtract(pixels.shape[:2], 1))
    bottom, right = high.clip((top + 1, left + 1), pixels.shape[:2])
    above, before = (origin + (top, left) / scale).tolist()
    height, width = ((bottom - top, right - left) / scale).tolist()
    return np.ascontiguousarray(pixels[top:bottom, left:right]), (above, before, height, width)


def _thing(grid: FeatureGrid, region: Region) -> FloatArray | None:
    """Measure the single thing in the middle of a region of a picture that is no photograph."""
    area = region.is_area and not isinstance(region, RegionSet | WholeImage)
    if not area or grid.picture is None:
        return None
    transform = grid.transform
    corners = _corners(region, transform)
    extent = np.array(transform.extent[2:])
    sides = corners[1] - corners[0]
    # Where no mark has an outline, no ground is clear.
    sharp = grid.embeddings[..., -len(AXES) :][..., _SHARP].any()
    if not sharp or not 0 < sides.prod() < _LARGEST * extent.prod():
        return None
    pixels = grid.picture.transpose(1, 2, 0).astype(np.uint8, copy=False)
    crop, window = _crop(pixels, region, transform)
    corner = np.array(window[:2])
    around = Box(*(corner - 0.5), *(corner + window[2:] - 0.5))
    ground = _ground(grid, around)
    if ground is None:
        return None
    zoom = np.divide(crop.shape[:2], window[2:])
    (top, left), (bottom, right) = ((corners - corner) * zoom).tolist()
    thing = thing_in_the_middle(
        crop, (top, left, bottom, right), ground, SIZE / float(extent.max() * zoom.mean())
    )
    # In large parts of a picture only what is round is surely one thing.
    large = sides.prod() > _LARGE * extent.prod()
    return None if thing is None or (large and not thing[_ROUND]) else thing


def _ground(grid: FeatureGrid, around: Region) -> FloatArray | None:
    """Colour of the ground around a region, or else of all that there is."""
    axes = grid.embeddings[..., -len(AXES) :].reshape(-1, len(AXES))
    near = axes[cover(around, grid.transform).indices]
    for cells in (near, axes):
        share = cells[:, _GROUND_AREA].mean()
        if share > _LEAST_GROUND:
            return np.asarray(cells[:, _GROUND].mean(0) / share, np.float32)
    return None


def is_small(region: Region, transform: GridTransform) -> bool:
    """Whether a region takes so little of what a grid covers that it is looked at once more."""
    if any(isinstance(part, WholeImage) for part in region.parts()):
        return False
    sides = np.ptp(_corners(region, transform), axis=0)
    area = max(sides) * max(min(sides), max(sides) / _THIN)
    return bool(0 < area < SMALL * transform.extent[2] * transform.extent[3])


def _corners(region: Region, transform: GridTransform) -> npt.NDArray[np.float64]:
    """First and last row and column of a region, cut at the grid, in edge coordinates."""
    top, left, height, width = transform.extent
    corners = region.bounds().coords()[::2] + 0.5
    return np.clip(corners, (top, left), (top + height, left + width))


def kept(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a picture, shape (height, width, 3), as large as a grid keeps it."""
    height, width = rgb.shape[:2]
    scale = PICTURE / max(height, width)
    if scale >= 1:
        return rgb
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


def grid_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the common grid of an image of this many pixels."""
    scale = GRID_SIDE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def dense(
    network: Callable[[Tensor], Iterable[Tensor]],
    image: npt.NDArray[np.uint8],
    long_side: int,
    placement: Placement = CPU,
) -> tuple[FloatArray, FloatArray]:
    """Deep and middle features of an image, shape (height, width, 3), at one size.

    It is resized so that its long side has about so many pixels and both sides are multiples of the
    stride. Returns arrays of shape (rows, columns, 1280), stride 32, and (2 * rows, 2 * columns,
    middle_channels), stride 16.
    """
    batch = placement.put(_pixels(image, long_side))
    with torch.inference_mode():
        deep, middle = (to_numpy(part[0].permute(1, 2, 0)) for part in network(batch))
    return deep, middle


def _pixels(image: npt.NDArray[np.uint8], long_side: int) -> Tensor:
    """Resize and normalise an image, shape (1, 3, height, width)."""
    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    rows, columns = (max(1, round(side * scale / STRIDE)) for side in (height, width))
    size = (columns * STRIDE, rows * STRIDE)
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(resized.astype(np.float32))
    batch = ((pixels - _MEAN) / _DEVIATION).permute(2, 0, 1)[None]
    return batch.contiguous(memory_format=torch.channels_last)


def resample(features: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Interpolate a grid of vectors, shape (rows, columns, dim), linearly to another shape."""
    across = interpolation(features.shape[1], shape[1]) @ features
    down = interpolation(features.shape[0], shape[0]) @ across.reshape(len(features), -1)
    return down.reshape(*shape, features.shape[2])


def interpolation(cells: int, wanted: int) -> FloatArray:
    """Matrix, shape (wanted, cells), that interpolates between cell centres.

    >>> interpolation(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    centres = np.clip((np.arange(wanted) + 0.5) * cells / wanted - 0.5, 0, cells - 1)
    lower = np.floor(centres).astype(int)
    upper = np.minimum(lower + 1, cells - 1)
    share = (centres - lower).astype(np.float32)
    matrix = np.zeros((wanted, cells), np.float32)
    matrix[np.arange(wanted), lower] += 1 - share
    matrix[np.arange(wanted), upper] += share
    return matrix


def photograph_probability(
    features_mean: FloatArray, axes_grid: FloatArray, parameters: Parameters
) -> float:
    """How likely an image is an everyday photograph, from 0 to 1; below 0.5 it is not one.

    A blank picture is none. Otherwise two scores add up: a linear classifier that has seen painted
    microscopy, drawings and noise, and the distance from the photographs the model knows, which
    also counts against pictures nobody thought of.

    ``features_mean``, shape (1280,), is the mean over the grid of the EfficientNet-Lite2 head
    features (long side 640, stride 32); ``axes_grid``, shape (rows, columns, len(AXES)), are the
    appearance axes of the same image, 40 patches along its long side.
    """
    axes = axes_grid.reshape(-1, axes_grid.shape[-1])
    if axes[:, _FLAT].min() > _BLANK and np.ptp(axes[:, _LIGHTNESS]) < _BLANK_SPREAD:
        return 0.0
    log_odds = score(summary(features_mean, axes_grid), parameters)
    return float(1 / (1 + np.exp(-np.clip(log_odds, -_LIMIT, _LIMIT))))


def summary(features_mean: FloatArray, axes_grid: FloatArray) -> FloatArray:
    """Join what the gate reads: deep features, mean and spread of the axes, (1280 + 2 t,)."""
    axes = axes_grid.reshape(-1, axes_grid.shape[-1])[:, :_TEXTURE_AXES]
    return np.concatenate([features_mean, axes.mean(0), axes.std(0)]).astype(np.float32)


def score(vector: FloatArray, parameters: Parameters) -> float:
    """Add both scores of a `summary`, shape (d,); positive for photographs.

    The parameters are ``centre (d,)``, ``spread (d,)``, ``weight (d,)``, ``bias (1,)``,
    ``basis (d, r)``, ``scale (r + 1,)`` and ``distance (2,)`` (a usual distance, and the cost
    beyond it).
    """
    z = (vector - parameters["centre"]) / parameters["spread"]
    z = np.asarray(np.clip(z, -_FARTHEST, _FARTHEST), np.float32)
    usual, cost = parameters["distance"]
    # However sure the classifier is, it cannot vouch for what lies far from all photographs.
    linear = min(_SUREST, float(z @ parameters["weight"] + parameters["bias"][0]))
    return linear - float(cost * max(0.0, distance(z, parameters) - usual))


def distance(z: FloatArray, parameters: Parameters) -> float:
    """Measure the regularised Mahalanobis distance of a summary from the photographs."""
    basis, scale = parameters["basis"].astype(np.float32), parameters["scale"]
    inside = z @ basis
    rest = np.sum(z**2) - np.sum(inside**2)
    return float(np.sqrt((np.sum((inside / scale[:-1]) ** 2) + rest / scale[-1] ** 2) / len(z)))


def load_gate(path: Path) -> Parameters:
    """Read the gate from a safetensors file; raises ``ModelError`` where it is damaged."""
    parameters = read_own_arrays(path)
    basis = parameters.get("basis", np.zeros(0))
    dim, rank = basis.shape if basis.ndim == 2 else (0, 0)
    shapes = {
        **dict.fromkeys(("centre", "spread", "weight"), (dim,)),
        "bias": (1,),
        "basis": (dim, rank),
        "scale": (rank + 1,),
        "distance": (2,),
    }
    if {name: part.shape for name, part in parameters.items()} != shapes:
        raise own_file_damaged(path)
    return parameters


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite2 without its classifier: an image in, feature maps out.

    Batch normalisation is folded into the convolutions, padding is TensorFlow's "same",
    activations are ReLU6, and there is no squeeze-and-excitation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM_CHANNELS, 3, stride=2)
        blocks: list[InvertedBottleneck] = []
        starts: list[int] = []
        channels = _STEM_CHANNELS
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            starts.append(len(blocks))
            for step in (stride, *[1] * (repeats - 1)):
                blocks.append(InvertedBottleneck(channels, outputs, kernel, step, expansion))
                channels = outputs
        self.blocks = nn.ModuleList(blocks)
        self._late = tuple(starts[-2:])
        first, second = (blocks[start].depthwise.in_channels for start in self._late)
        expansion = _STAGES[-1][3]
        self.middle_channels = first // expansion + first + second // expansion + channels
        self.head = SameConv(channels, _HEAD_CHANNELS, 1)
        self.channels = _HEAD_CHANNELS

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute deep and middle features of normalised images, (batch, 3, height, width).

        Sides are multiples of 32. Deep features, (batch, 1280, height / 32, width / 32), are what
        the published network averages and classifies; middle ones, (batch, middle_channels,
        height / 16, width / 16), what enters the last two stages, the first of these expanded (as
        square roots, which keep a few strong channels from ruling), and what leaves them.
        """
        features = functional.relu6(self.stem(images))
        kept: list[Tensor] = []
        for index, block in enumerate(cast("Iterable[InvertedBottleneck]", self.blocks)):
            hidden = block.widen(features)
            if index in self._late:
                kept.append(features)
            if index == self._late[0]:
                kept.append(hidden.sqrt())
            features = block.narrow(features, hidden)
        kept.append(features)
        # All at the finest of their strides.
        size = kept[0].shape[-2:]
        middle = [functional.interpolate(plane, size=size, mode="nearest") for plane in kept]
        return functional.relu6(self.head(features)), torch.cat(middle, 1)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's asymmetric "same" padding."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups)

    def forward(self, features: Tensor) -> Tensor:
        """Pad and convolve."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride > 1:
            padding = []
            # Whole numbers for an exporter, too: the sizes it may meet later are as even.
            for length in map(int, (features.shape[-1], features.shape[-2])):
                total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
                padding += [total // 2, total - total // 2]
            features = functional.pad(features, padding)
        return super().forward(features)


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project; add the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = SameConv(inputs, hidden, 1) if expansion != 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride=stride, groups=hidden)
        self.project = SameConv(hidden, outputs, 1)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Widen and narrow."""
        return self.narrow(features, self.widen(features))

    def widen(self, features: Tensor) -> Tensor:
        """Expand to the hidden channels."""
        return features if self.expand is None else functional.relu6(self.expand(features))

    def narrow(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Filter each hidden channel and project; add the input where shapes allow."""
        output = self.project(functional.relu6(self.depthwise(hidden)))
        result: Tensor = features + output if self.skip else output
        return result
