"""Caption every region of the development images, as `evaluation.protocols` captions a data set."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import ImageError
from napari_patchioner.evaluation.datasets import Dataset, Sample
from napari_patchioner.evaluation.protocols import Evaluation, Variant, evaluate
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.regions import Mask, Region, WholeImage

from .coco_folders import LabelledImage
from .development import phrase
from .drawn import outline_of, stroke_in
from .kept_grids import key_of

CROPS = 300
WHOLE = "image"
Encode: TypeAlias = Callable[[npt.NDArray[np.uint8], str], FeatureGrid]


class Captions(Protocol):
    """Anything that captions regions as a `Captioner` does."""

    def encode(self, image: npt.NDArray[np.generic], /) -> FeatureGrid:
        """Encode an image once."""

    def caption(self, grid: FeatureGrid, regions: Sequence[Region], /) -> list[Caption]:
        """Caption its regions."""


@dataclass(frozen=True, eq=False, slots=True)
class Trial:
    """A region, what a model said of it, and what it said of the whole image and of a crop."""

    sample: Sample
    caption: Caption
    whole: str
    crop: str | None = None  # of the cut-out box, encoded as an image of its own

    @property
    def kind(self) -> str:
        """What was drawn: a box, polygon, trace or stuff."""
        return self.sample.group

    @property
    def category(self) -> str:
        """What people say is in it."""
        return self.sample.extra["category"]

    @property
    def area(self) -> float:
        """Fraction of the image its object takes."""
        return float(self.sample.extra["area"])


@dataclass(eq=False, slots=True)
class Run:
    """All that one model said: of each region, and of each whole image."""

    trials: list[Trial] = field(default_factory=list)
    wholes: list[Trial] = field(default_factory=list)
    encode_seconds: list[float] = field(default_factory=list)
    caption_seconds: list[float] = field(default_factory=list)  # of one region alone


@dataclass(frozen=True, eq=False, slots=True)
class Drawn:
    """Samples drawn from one image, as a data set of the protocols."""

    drawn: Sequence[Sample]
    path: Path
    name: str = "development images"
    task: str = "dense"
    missing: tuple[str, ...] = ()

    def samples(self) -> Iterator[Sample]:
        """Return the samples in their order."""
        return iter(self.drawn)

    def find(self, _: str) -> Path:
        """Return the path of the image."""
        return self.path


@dataclass(frozen=True, eq=False, slots=True)
class Heard:
    """A captioner as the protocols ask it, which keeps captions whole and grids of one image."""

    name: str
    captioner: Captions
    encoder: Encode | None  # shared by all models, with their grids of the image
    grids: dict[str, FeatureGrid]
    calls: list[list[Caption]] = field(default_factory=list)  # the captions of each call
    backbone: None = None

    def encode(self, pixels: npt.NDArray[np.uint8]) -> FeatureGrid:
        """Encode a picture, or find its grid by its pixels."""
        key = key_of(pixels)
        if key not in self.grids:
            encoder = self.encoder
            self.grids[key] = encoder(pixels, key) if encoder else self.captioner.encode(pixels)
        return self.grids[key]

    def caption(self, grid: FeatureGrid, regions: Sequence[Region]) -> list[Caption]:
        """Caption regions."""
        self.calls.append(self.captioner.caption(grid, regions))
        return self.calls[-1]

    def evaluated(self, data: Drawn, *variants: Variant) -> Evaluation:
        """Caption samples, if there are any, and keep no file of it."""
        if not data.drawn:
            return Evaluation({})
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, "predictions.jsonl")
            done = evaluate(cast("Dataset", data), cast("Captioner", self), file, variants=variants)
        problems = [*done.failed.values(), *(one.problem for one in done.predictions)]
        if any(problems):
            raise ImageError(next(filter(None, problems)))
        return done


def samples_of(image: LabelledImage, seed: int = 0) -> list[Sample]:
    """Regions to try on one image: boxes, outlines and scribbles of objects, and stuff masks.

    The whole image comes last, with what people wrote of it. With the file name, the seed fixes the
    scribbles.
    """
    generator = np.random.default_rng([seed, zlib.crc32(image.file_name.encode())])
    found: list[tuple[str, str, float, Region]]
    found = [("box", one.category, one.area, one.region) for one in image.boxes]
    for one in image.masks:
        if isinstance(one.region, Mask):
            pixels = one.region.pixels
            found.append(("polygon", one.category, one.area, outline_of(pixels)))
            found.append(("trace", one.category, one.area, stroke_in(pixels, generator)))
    found += [("stuff", one.category, one.area, one.region) for one in image.stuff]
    samples = []
    for number, (kind, category, area, region) in enumerate(found):
        extra = {"category": category, "area": str(area), "folder": image.folder}
        name, references = f"{image.file_name}/{number}", (phrase(category),)
        samples.append(Sample(name, image.file_name, region, references, kind, extra))
    whole = (image.file_name, image.file_name, WholeImage(), image.captions, WHOLE)
    return [*samples, Sample(*whole)]


def run(
    images: Iterable[LabelledImage],
    models: Mapping[str, Callable[[str], Captions]],
    *,
    encode: Encode | None = None,
    crops: int = CROPS,
    seed: int = 0,
    progress: Progress = no_progress,
) -> dict[str, Run]:
    """Caption every region of every image.

    Parameters
    ----------
    images : iterable of LabelledImage
    models : mapping of name to callable
        ``models[name](file_name)`` gives the captioner for that image, so that a model whose
        head never saw the image can be asked.
    encode : callable, optional
        ``encode(pixels, key)`` makes the grid that all models read, instead of each one's own;
        the key stands for the pixels.
    crops : int
        How many boxes are also cut out and captioned as images, drawn at random.
    seed : int
        Of scribbles and crops.
    progress : callable
        Given the fraction of the images that are done, and a message.

    Returns
    -------
    dict of str to Run
        One per model.
    """
    drawn = [(image, samples_of(image, seed)) for image in images]
    boxes = [one.id for _, samples in drawn for one in samples if one.group == "box"]
    picks = np.random.default_rng(seed).permutation(len(boxes))[:crops]
    chosen = {boxes[pick] for pick in picks}
    results = {name: Run() for name in models}
    for number, (image, samples) in enumerate(drawn, start=1):
        shared: dict[str, FeatureGrid] = {}
        for name, captioner_for in models.items():
            captioner = captioner_for(image.file_name)
            heard = Heard(name, captioner, encode, {} if encode is None else shared)
            add_image(results[name], heard, image, samples, chosen)
        progress(number / len(drawn), f"{number} of {len(drawn)} images")
    return results


def add_image(
    result: Run, heard: Heard, image: LabelledImage, samples: Sequence[Sample], chosen: set[str]
) -> None:
    """Add what a model says of the samples of an image, and of those that are also cut out."""
    done = heard.evaluated(Drawn(samples, image.path), "model", "whole-image")
    # All that was said beside the texts is in the captions: of the regions, then of the whole.
    captions, (whole,) = heard.calls
    crops = [one for one in samples if one.id in chosen]
    cut = heard.evaluated(Drawn(crops, image.path), "crop")
    crop_texts = {one.sample: one.caption for one in cut.predictions}
    for sample, caption in zip(samples[:-1], captions, strict=False):
        result.trials.append(Trial(sample, caption, whole.text, crop_texts.get(sample.id)))
    result.wholes.append(Trial(samples[-1], whole, whole.text))
    result.encode_seconds += done.encode_seconds
    # Each region has its share of the time that the one caption took.
    wholes = [one.seconds for one in done.predictions if one.variant == "whole-image"]
    result.caption_seconds.append(sum(wholes))
