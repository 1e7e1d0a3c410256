"""Captioning a data set: every image encoded once, every caption kept as it comes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_patchioner.annotations import region_to_text
from napari_patchioner.annotations.wkt import members_cell
from napari_patchioner.backbones import TextTower
from napari_patchioner.bridges import TextSpace
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import FormatError, ModelError, PatchionerError, RegionError
from napari_patchioner.evaluation.crops import crop
from napari_patchioner.evaluation.datasets import Dataset, Sample
from napari_patchioner.evaluation.metrics.diversity import self_retrieval
from napari_patchioner.grids import FeatureGrid, pool
from napari_patchioner.images import read_image
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.regions import Region, WholeImage, cover

from .predictions import Prediction, PredictionFile, Variant

# A picture that is large enough for one patch of any backbone.
_PROBE = (64, 64, 3)


@dataclass(eq=False, slots=True)
class Evaluation:
    """A data set captioned by a model."""

    asked: Mapping[str, Any]  # what was asked of which model
    # Of all variants, in the order of the data set.
    predictions: list[Prediction] = field(default_factory=list)
    encode_seconds: list[float] = field(default_factory=list)  # of each image in this run
    failed: dict[str, str] = field(default_factory=dict)  # images that could not be read, and why
    missing: list[str] = field(default_factory=list)  # images that are not in the folder


def evaluate(
    dataset: Dataset,
    captioner: Captioner,
    file: Path,
    *,
    variants: Sequence[Variant] = ("model",),
    options: Mapping[str, Any] | None = None,
    limit: int | None = None,
    captioner_for: Callable[[str], Captioner] | None = None,
    progress: Progress = no_progress,
) -> Evaluation:
    """Caption every sample of a data set; a run that was stopped goes on where it stopped.

    Predictions are kept in ``file`` (``.jsonl``); ``variants`` are the model's own way and the
    baselines beside it, ``options`` those of `Captioner.caption`. ``limit`` is the number of images
    to take, the first ones of the data set; ``captioner_for`` gives the captioner of an image by
    its id, where one that has never seen it is to be asked: all go by the name of ``captioner``.
    ``progress`` may raise ``Cancelled``.

    A FormatError where the data set is damaged or the file holds predictions of something else; a
    ModelError where the model cannot do what is asked.
    """
    options = dict(options or {})
    by_image: dict[str, list[Sample]] = defaultdict(list)
    seen: set[str] = set()
    for sample in dataset.samples():
        if sample.id in seen:
            raise FormatError(f"two samples are called {sample.id!r}; give each an id of its own")
        seen.add(sample.id)
        by_image[sample.image].append(sample)
    by_image = dict(islice(by_image.items(), limit))
    if not by_image:
        raise FormatError(f"{dataset.name}: has no sample whose image is there; check --images")
    asked = {
        "dataset": dataset.name,
        "task": dataset.task,
        "model": captioner.name,
        "options": options,
    }
    # How many images are taken changes no caption, so another limit goes on with the same file.
    kept = PredictionFile(file, asked)
    known = {(item.sample, item.variant): item for item in kept.done}
    _check_kept(file, kept.done, by_image)
    _check_variants(captioner, variants, options)
    result = Evaluation({**asked, "limit": limit}, missing=list(dataset.missing))
    for place, (image, samples) in enumerate(by_image.items()):
        left = [v for v in variants if any((item.id, v) not in known for item in samples)]
        if left:
            progress(place / len(by_image), f"image {place + 1} of {len(by_image)}: {image}")
            asking = captioner if captioner_for is None else captioner_for(image)
            path = dataset.find(image)
            made = _caption(result, asking, path, samples, left, options)
            fresh = [item for item in made if (item.sample, item.variant) not in known]
            # An image that could not be read is not written down, so that it is tried again.
            kept.add(fresh if path.name not in result.failed else [])
            known |= {(item.sample, item.variant): item for item in fresh}
    progress(1.0, f"{len(by_image)} images captioned")
    wanted = ((item.id, v) for samples in by_image.values() for item in samples for v in variants)
    result.predictions = [known[key] for key in wanted if key in known]
    return result


def _check_kept(
    file: Path, kept: Iterable[Prediction], by_image: Mapping[str, Sequence[Sample]]
) -> None:
    """Refuse captions of another data set: its file may have the same name and the same ids."""
    samples = {item.id: item for own in by_image.values() for item in own}
    for entry in kept:
        now = samples.get(entry.sample)
        before = (entry.references, entry.geometry)
        if now and (now.references, region_to_text(now.region)) != before:
            raise FormatError(
                f"{file}: holds a prediction of another sample {entry.sample!r}; the data set has "
                "changed, so name another folder by --out"
            )


def _check_variants(
    captioner: Captioner, variants: Sequence[Variant], options: Mapping[str, Any]
) -> None:
    """Find out on a gray picture whether a model can caption in these ways."""
    by_class_token = "class-token" in variants
    if by_class_token or options.get("pooling"):
        pixels = np.full(_PROBE, 127, np.uint8)
        image = _Encoded(captioner, pixels, captioner.encode(pixels), options)
        if by_class_token:
            image.check_class_token()
        image.caption([WholeImage()])


def _caption(
    result: Evaluation,
    captioner: Captioner,
    path: Path,
    samples: Sequence[Sample],
    variants: Sequence[Variant],
    options: Mapping[str, Any],
) -> Iterator[Prediction]:
    """Caption the samples of one image in all ways asked for."""
    start = time.perf_counter()
    image, problem = None, ""
    try:
        pixels = read_image(path)
        image = _Encoded(captioner, pixels, captioner.encode(pixels), options)
        result.encode_seconds.append(time.perf_counter() - start)
    except PatchionerError as error:
        result.failed[path.name] = problem = str(error)
    for variant in variants:
        said = [_Said(problem=problem)] * len(samples)
        retrieved: Sequence[float] = [np.nan] * len(samples)
        if image is not None:
            said = image.said(variant, [sample.region for sample in samples])
            retrieved = image.retrieved(samples, said)
        for sample, item, share in zip(samples, said, retrieved, strict=True):
            yield Prediction(
                sample=sample.id,
                image=sample.image,
                variant=variant,
                references=sample.references,
                **item._asdict(),
                kind=sample.region.kind,
                geometry=region_to_text(sample.region),
                members=members_cell(sample.region),
                group=sample.group,
                category=sample.extra.get("category", ""),
                found=None if np.isnan(share) else float(share),
            )


class _Said(NamedTuple):
    """A caption, the seconds it took, and why there is none."""

    caption: str = ""
    score: float = 0.0
    seconds: float = 0.0
    problem: str = ""


class _Encoded(NamedTuple):
    """An image with its grid, and who captions it how."""

    captioner: Captioner
    pixels: npt.NDArray[Any]
    grid: FeatureGrid
    options: Mapping[str, Any]

    def said(self, variant: Variant, regions: Sequence[Region]) -> list[_Said]:
        """Return what is said of each region in one of the ways."""
        if variant == "crop":
            return [_timed(self._of_crop, region, 1, PatchionerError)[0] for region in regions]
        if variant == "model":
            try:
                return _timed(self.caption, regions, len(regions))
            except RegionError:
                # One region at fault must not take the others' captions along.
                return [_timed(self.caption, [region], 1, RegionError)[0] for region in regions]
        image = self
        if variant == "class-token":
            self.check_class_token()
            image = self._replace(options={**self.options, "pooling": "cls"})
        return _timed(image.caption, [WholeImage()], len(regions))

    def check_class_token(self) -> None:
        """Raise a ModelError if the model has no class token."""
        if self.grid.cls is None:
            raise ModelError(
                f"{self.captioner.name} has no class token; leave out --baseline class-token"
            )

    def caption(self, regions: Sequence[Region]) -> list[Caption]:
        """Caption regions of the image."""
        return self.captioner.caption(self.grid, regions, **self.options)

    def _of_crop(self, region: Region) -> list[Caption]:
        """Caption what is left when a region's bounding box is cut out as an image."""
        grid = self.captioner.encode(crop(self.pixels, region))
        return self._replace(grid=grid).caption([WholeImage()])

    def retrieved(self, samples: Sequence[Sample], said: Sequence[_Said]) -> Sequence[float]:
        """Whether captions find their regions again; nan where that cannot be said."""
        backbone, unknown = self.captioner.backbone, [np.nan] * len(samples)
        readable = len(samples) > 1 and not any(item.problem for item in said)
        if not (readable and isinstance(backbone, TextTower)):
            return unknown
        try:
            texts = backbone.embed_text([item.caption for item in said])
        except PatchionerError:
            # The text tower of a preset may be an extra download that nobody asked for.
            return unknown
        regions, images = zip(*((item.region, item.image) for item in samples), strict=True)
        if isinstance(self.captioner.bridge, TextSpace):
            vectors = self.captioner.text_vectors(self.grid, regions)
        else:
            vectors = pool(self.grid, [cover(region, self.grid.transform) for region in regions])
        shares: list[float] = self_retrieval(texts, vectors, images).tolist()
        return shares


def _timed(
    make: Callable[[Any], list[Caption]],
    what: Any,
    count: int,
    fault: type[PatchionerError] | tuple[()] = (),
) -> list[_Said]:
    """Return what is said of so many regions together, or the fault for which nothing is.

    The time is shared evenly, and so is a lone caption.
    """
    start, problem = time.perf_counter(), ""
    captions = [Caption("", 0.0)]
    try:
        captions = make(what)
    except fault as error:
        problem = str(error)
    seconds = (time.perf_counter() - start) / max(1, count)
    said = [_Said(caption.text, float(caption.score), seconds, problem) for caption in captions]
    return said * count if len(said) == 1 else said
