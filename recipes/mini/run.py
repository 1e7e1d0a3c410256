"""Caption everything once."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from napari_patchioner.regions import Box, WholeImage

from .trials import Captions, Prediction, Trial, WholePrediction, trials_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy.typing as npt

    from napari_patchioner.grids import FeatureGrid

    from .coco_folders import LabelledImage

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


class _Looks:
    """What was encoded of one image: shared by all models where they share an encoder."""

    def __init__(self, encode: Encode | None) -> None:
        self._encode = encode
        self._kept: dict[str, FeatureGrid] = {}

    def grid(self, captioner: Captions, pixels: npt.NDArray[np.uint8], key: str) -> FeatureGrid:
        if self._encode is None:
            return captioner.encode(pixels)
        if key not in self._kept:
            self._kept[key] = self._encode(pixels, key)
        return self._kept[key]


def run(
    images: Iterable[LabelledImage],
    models: Mapping[str, Callable[[str], Captions]],
    *,
    encode: Encode | None = None,
    crops: int = CROPS,
    seed: int = 0,
    tell: Callable[[str], None] = lambda message: None,
) -> dict[str, Run]:
    """Caption every region of every image; each image is encoded once.

    Parameters
    ----------
    images : iterable of LabelledImage
    models : mapping of name to callable
        ``models[name](file_name)`` gives the captioner for that image, so that a model whose
        head never saw the image can be asked.
    encode : callable, optional
        ``encode(pixels, key)`` makes the grid that all models read, instead of each one's own;
        ``key`` is the file name, with the rank of the box behind it for a crop.
    crops : int
        How many boxes are also cut out and captioned as images, drawn at random.
    seed : int
        Of scribbles and crops.
    tell : callable
        Told about progress.

    Returns
    -------
    dict of str to Run
        One per model.
    """
    images = list(images)
    chosen = _draw_crops(images, crops, seed)
    results = {name: Run() for name in models}
    for number, image in enumerate(images):
        pixels, looks = image.pixels(), _Looks(encode)
        trials = trials_of(image, seed)
        for name, captioner_for in models.items():
            captioner = captioner_for(image.file_name)
            captions = _caption_image(results[name], image, pixels, trials, captioner, looks)
            cut = _caption_crops(image, pixels, trials, captioner, looks, chosen)
            results[name].predictions += [
                replace(one, crop=cut.get(place)) for place, one in enumerate(captions)
            ]
        if number % 20 == 19:
            tell(f"{number + 1} of {len(images)} images")
    return results


def _draw_crops(images: list[LabelledImage], crops: int, seed: int) -> set[tuple[str, int]]:
    boxes = [(image.file_name, rank) for image in images for rank in range(len(image.boxes))]
    picks = np.random.default_rng(seed).permutation(len(boxes))[:crops]
    return {boxes[pick] for pick in picks}


def _caption_image(
    result: Run,
    image: LabelledImage,
    pixels: npt.NDArray[np.uint8],
    trials: list[Trial],
    captioner: Captions,
    looks: _Looks,
) -> list[Prediction]:
    start = time.perf_counter()
    grid = looks.grid(captioner, pixels, image.file_name)
    encoded = time.perf_counter()
    (whole,) = captioner.caption(grid, [WholeImage()])
    result.encode_seconds.append(encoded - start)
    result.caption_seconds.append(time.perf_counter() - encoded)
    result.wholes.append(WholePrediction(image.file_name, whole, image.captions))
    captions = captioner.caption(grid, [trial.region for trial in trials]) if trials else []
    return [
        Prediction(trial, caption, whole.text)
        for trial, caption in zip(trials, captions, strict=True)
    ]


def _caption_crops(
    image: LabelledImage,
    pixels: npt.NDArray[np.uint8],
    trials: list[Trial],
    captioner: Captions,
    looks: _Looks,
    chosen: set[tuple[str, int]],
) -> dict[int, str]:
    """Captions of the cut-out boxes by their place among the trials."""
    boxes = [place for place, trial in enumerate(trials) if trial.kind == "box"]
    texts = {}
    for rank, place in enumerate(boxes):
        if (image.file_name, rank) in chosen:
            cut = crop_of(pixels, trials[place])
            grid = looks.grid(captioner, cut, f"{image.file_name}#{rank}")
            (caption,) = captioner.caption(grid, [WholeImage()])
            texts[place] = caption.text
    return texts


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
