"""Caption everything once."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from napari_patchioner.regions._shapes import Box, WholeImage

from ._trials import Captions, Prediction, Trial, WholePrediction, trials_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from napari_patchioner.grids._grid import FeatureGrid

    from .datasets import LabelledImage

    Encode: TypeAlias = "Callable[[npt.NDArray[np.uint8], str], FeatureGrid]"

CROPS = 300


@dataclass(eq=False, slots=True)
class Run:
    """All that one model said.

    Attributes
    ----------
    predictions : list of Prediction
        One per region.
    wholes : list of WholePrediction
        One per image.
    encode_seconds, caption_seconds : list of float
        Time of each encoding, and of captioning one region alone.
    """

    predictions: list[Prediction] = field(default_factory=list)
    wholes: list[WholePrediction] = field(default_factory=list)
    encode_seconds: list[float] = field(default_factory=list)
    caption_seconds: list[float] = field(default_factory=list)


def run(
    images: Iterable[LabelledImage],
    captioner_for: Callable[[str], Captions],
    *,
    encode: Encode | None = None,
    crops: int = CROPS,
    seed: int = 0,
    tell: Callable[[str], None] = lambda message: None,
) -> Run:
    """Caption every region of every image; each image is encoded once.

    Parameters
    ----------
    images : iterable of LabelledImage
    captioner_for : callable
        ``captioner_for(file_name)`` gives the captioner for that image, so that a model whose
        head never saw the image can be asked.
    encode : callable, optional
        ``encode(pixels, key)`` replaces the captioner's own encoding, to share or keep grids;
        ``key`` is the file name, with the rank of the box behind it for a crop.
    crops : int
        How many boxes are also cut out and captioned as images, drawn at random.
    seed : int
        Of scribbles and crops.
    tell : callable
        Told about progress.

    Returns
    -------
    Run
    """
    images = list(images)
    chosen = _draw_crops(images, crops, seed)
    result = Run()
    for number, image in enumerate(images):
        captioner = captioner_for(image.file_name)
        pixels = image.pixels()
        first = len(result.predictions)
        _caption_image(result, image, pixels, captioner, encode, seed)
        places = range(first, len(result.predictions))
        _caption_crops(result, places, image, pixels, captioner, encode, chosen)
        if number % 20 == 19:
            tell(f"{number + 1} of {len(images)} images")
    return result


def _draw_crops(images: list[LabelledImage], crops: int, seed: int) -> set[tuple[str, int]]:
    boxes = [(image.file_name, rank) for image in images for rank in range(len(image.boxes))]
    picks = np.random.default_rng(seed).permutation(len(boxes))[:crops]
    return {boxes[pick] for pick in picks}


def _caption_image(
    result: Run,
    image: LabelledImage,
    pixels: npt.NDArray[np.uint8],
    captioner: Captions,
    encode: Encode | None,
    seed: int,
) -> None:
    start = time.perf_counter()
    grid = encode(pixels, image.file_name) if encode else captioner.encode(pixels)
    encoded = time.perf_counter()
    (whole,) = captioner.caption(grid, [WholeImage()])
    result.encode_seconds.append(encoded - start)
    result.caption_seconds.append(time.perf_counter() - encoded)
    result.wholes.append(WholePrediction(image.file_name, whole, image.captions))
    trials = trials_of(image, seed)
    captions = captioner.caption(grid, [trial.region for trial in trials]) if trials else []
    result.predictions += [
        Prediction(trial, caption, whole.text)
        for trial, caption in zip(trials, captions, strict=True)
    ]


def _caption_crops(
    result: Run,
    places: range,
    image: LabelledImage,
    pixels: npt.NDArray[np.uint8],
    captioner: Captions,
    encode: Encode | None,
    chosen: set[tuple[str, int]],
) -> None:
    boxes = [place for place in places if result.predictions[place].trial.kind == "box"]
    for rank, place in enumerate(boxes):
        if (image.file_name, rank) not in chosen:
            continue
        prediction = result.predictions[place]
        cut = crop_of(pixels, prediction.trial)
        grid = encode(cut, f"{image.file_name}#{rank}") if encode else captioner.encode(cut)
        (caption,) = captioner.caption(grid, [WholeImage()])
        result.predictions[place] = replace(prediction, crop=caption.text)


def crop_of(pixels: npt.NDArray[np.uint8], trial: Trial) -> npt.NDArray[np.uint8]:
    """Cut a box out of an image: every pixel it touches.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    trial : Trial
        Its region is a `Box`.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
    """
    box = trial.region
    if not isinstance(box, Box):
        raise TypeError(f"only boxes are cut out, not {type(box).__name__}")
    top, left = (max(0, math.floor(edge + 0.5)) for edge in (box.top, box.left))
    bottom, right = (math.ceil(edge + 0.5) for edge in (box.bottom, box.right))
    return np.ascontiguousarray(pixels[top : max(bottom, top + 1), left : max(right, left + 1)])
