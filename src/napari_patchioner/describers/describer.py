"""A server in the place of a captioner, for the command line, folders and the window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_patchioner.backbones.base import Backbone
from napari_patchioner.bridges import Bridge
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import Caption, CaptionOptions, QuoteDecoder
from napari_patchioner.decoders.options import as_length, listed
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, grid_key
from napari_patchioner.images import as_rgb
from napari_patchioner.progress import Progress, no_progress, part
from napari_patchioner.regions import GridTransform, PatchWeights, Region, WholeImage, cover_all

from .picture import BACKBONE, RegionPicture, crop_window, draw_region
from .prompt import check_template
from .server import NOT_SAID, Server, cleaned_answer, cut_off_sentence, is_cut_off

# Pixels of the long side of what is kept of an image to crop from.
_KEPT = 2048
_PATCH = 16
# What is asked of the length of a caption.
_LENGTHS = {
    "label": " Answer with nothing but its name.",
    "phrase": " Answer with one short phrase.",
    "sentence": " Answer with one sentence.",
}
_SIDE = 1024


class PictureBackbone(Backbone):
    """Keeps the picture itself in place of embeddings; regions are cropped from it."""

    def __init__(self) -> None:
        self.name, self.dim = BACKBONE, 1
        self.patch_size, self.input_size = _PATCH, _SIDE

    def encode(
        self, image: npt.ArrayLike, *, progress: Progress | None = None, key: str = ""
    ) -> FeatureGrid:
        """Return a grid that holds the picture, reduced where it is large."""
        rgb = as_rgb(image)
        height, width = rgb.shape[:2]
        transform = GridTransform.keeping_aspect((height, width), self.input_size, _PATCH)
        kept = Image.fromarray(rgb)
        if max(kept.size) > _KEPT:
            across, down = (max(2, round(s * _KEPT / max(kept.size))) for s in kept.size)
            kept = kept.resize((across, down), Image.Resampling.BICUBIC)
        (progress or no_progress)(1.0, "done")
        return FeatureGrid(
            np.zeros((*transform.grid_shape, self.dim), np.float32),
            transform,
            key or grid_key(rgb, self.name),
            backbone=self.name,
            picture=np.ascontiguousarray(np.asarray(kept, np.uint8).transpose(2, 0, 1)),
        )

    def embed_regions(
        self,
        grid: FeatureGrid,
        weights: Sequence[PatchWeights],
        *,
        progress: Progress | None = None,
    ) -> NoReturn:
        """Refuse: a server gives no embeddings."""
        raise ModelError(
            "A server describes regions but gives nothing to compare them by; choose another model."
        )


class Describer(Captioner):
    """Captions regions by asking a server about each, one after another.

    Its grids hold the picture in place of embeddings. The options that make sense for it are
    ``length``, ``max_tokens``, words that a caption must or may not hold, and ``prompt``, which
    replaces that of the server. ``origin`` says what was asked last.

    Parameters
    ----------
    server : Server
        Which model, where, and what it is asked.

    Examples
    --------
    >>> from napari_patchioner.describers import Describer, Endpoint, Server
    >>> describer = Describer(Server(Endpoint("http://127.0.0.1:11434/v1"), "llava"))
    >>> [caption] = describer.caption(describer.encode(image), [box])  # doctest: +SKIP
    """

    def __init__(self, server: Server) -> None:
        super().__init__(PictureBackbone(), Bridge(), QuoteDecoder(), name=server.model or "server")
        self.server = server
        self.origin = server.origin()

    def caption(
        self,
        grid: FeatureGrid,
        regions: Sequence[Region],
        options: CaptionOptions | None = None,
        *,
        progress: Progress | None = None,
        **changes: Any,
    ) -> list[Caption]:
        """Ask about regions one after another, as `Captioner.caption` does.

        Closing the connection, ``progress`` may raise ``Cancelled`` at any moment.
        """
        options = (options or CaptionOptions()).changed(changes)
        self._check(grid)
        cover_all(regions, grid.transform)
        progress = progress or no_progress
        if regions and not self.server.model:
            self._choose(self.server.named())
        server = self.server
        if options.prompt:
            server = replace(server, prompt=options.prompt)
        check_template(server.prompt)
        server = replace(server, prompt=server.prompt + _LENGTHS.get(options.length or "", ""))
        self.origin = server.origin()
        captions = []
        for index, region in enumerate(regions):
            message = f"asking {server.model}: {index + 1} of {len(regions)}"
            share = part(progress, index / len(regions), (index + 1) / len(regions), message)
            captions.append(self._ask(server, grid, region, options, share))
        progress(1.0, "done")
        return captions

    def _choose(self, server: Server) -> None:
        """Go on with the model that the server has."""
        self.server, self.name, self.origin = server, server.model, server.origin()

    def _ask(
        self,
        server: Server,
        grid: FeatureGrid,
        region: Region,
        options: CaptionOptions,
        progress: Progress,
    ) -> Caption:
        """Return what the server says of one region."""
        size = size_in_words(region, grid.transform.image_shape, options.pixel_size)
        text, is_cut, picture = "", False, picture_on(grid, region)
        most = options.max_tokens or server.most_tokens
        with closing(server.stream(picture, {"size": size}, most_tokens=most)) as pieces:
            for piece in pieces:
                text += piece
                is_cut = is_cut or is_cut_off(piece)
                progress(min(len(text) / (4 * most), 0.99), "")
        said, problem = options.punctuated(cleaned_answer(text)), None
        if not said:
            problem = NOT_SAID
        elif is_cut:
            problem = cut_off_sentence(server.model, most, "allow it more (Longest, --max-tokens)")
        elif missing := options.missing(said):
            problem = f"The answer of the server lacks {listed(missing)}."
        elif options.excludes(said):
            problem = f"The answer of the server holds {listed(options.must_exclude)}."
        return Caption(said, math.nan, problem=problem)


def picture_on(grid: FeatureGrid, region: Region) -> RegionPicture:
    """Return a crop of a region, outlined, from the picture that a grid keeps."""
    if grid.picture is None:
        raise ModelError("The image was encoded without its picture; encode it again.")
    picture = np.asarray(grid.picture, np.uint8).transpose(1, 2, 0)
    rows, columns = picture.shape[:2]
    top, left, height, width = grid.transform.extent
    first_row, first_column, down, across = crop_window(region, grid.transform.image_shape)
    # Where the crop lies on the picture, in whole pixels of it.
    scale_down, scale_across = rows / height, columns / width
    start = (
        max(0, math.floor((first_row - top) * scale_down)),
        max(0, math.floor((first_column - left) * scale_across)),
    )
    stop = (
        min(rows, math.ceil((first_row + down - top) * scale_down)),
        min(columns, math.ceil((first_column + across - left) * scale_across)),
    )
    crop = picture[start[0] : max(stop[0], start[0] + 2), start[1] : max(stop[1], start[1] + 2)]
    window = (
        top + start[0] / scale_down,
        left + start[1] / scale_across,
        crop.shape[0] / scale_down,
        crop.shape[1] / scale_across,
    )
    return draw_region(crop, region, window)


def size_in_words(
    region: Region,
    shape: tuple[int, int],
    pixel_size: str | None = None,
    *,
    sides: tuple[tuple[float, float], str] | None = None,
) -> str:
    """Return how large a region is, width first, in the unit of the pixel size if there is one.

    ``sides`` are height and width of a pixel, and their unit, where it is no square.

    >>> from napari_patchioner.regions import Box
    >>> size_in_words(Box(0, 0, 20, 40), (100, 100))
    '40 by 20 pixels'
    >>> size_in_words(Box(0, 0, 20, 40), (100, 100), "0.65 µm")
    '26 by 13 µm'
    >>> size_in_words(Box(0, 0, 20, 40), (100, 100), sides=((0.5, 0.25), "µm"))
    '10 by 10 µm'
    """
    if any(isinstance(member, WholeImage) for member in region.parts()):
        height, width = map(float, shape)
    else:
        box = region.bounds()
        height, width = box.bottom - box.top, box.right - box.left
    if sides is not None:
        (tall, wide), unit = sides
        return f"{width * wide:.3g} by {height * tall:.3g} {unit}"
    side, unit = as_length(pixel_size) if pixel_size else (1.0, "pixels")
    return f"{width * side:.3g} by {height * side:.3g} {unit}"
