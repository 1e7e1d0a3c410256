"""Captioning a data set: every image encoded once, every caption kept as it comes."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.annotations import region_to_text
from napari_patchioner.annotations.wkt import members_cell
from napari_patchioner.errors import FormatError, ModelError, PatchionerError, RegionError
from napari_patchioner.evaluation.baselines import crop
from napari_patchioner.evaluation.metrics.diversity import self_retrieval
from napari_patchioner.grids import pool
from napari_patchioner.images import read_image
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.regions import WholeImage, cover

from .predictions import Prediction, PredictionFile, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.decoders import Caption
    from napari_patchioner.evaluation.datasets import Dataset, Sample
    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.regions import Region

    from .predictions import Variant


@dataclass(eq=False, slots=True)
class Evaluation:
    """A data set captioned by a model.

    Attributes
    ----------
    asked : mapping
        What was asked of which model.
    predictions : list of Prediction
        Of all variants, in the order of the data set.
    encode_seconds : list of float
        Time of each encoding of an image in this run.
    failed : dict of str to str
        Images that could not be read, and why.
    missing : list of str
        Images that are not in the folder.
    """

    asked: Mapping[str, Any]
    predictions: list[Prediction] = field(default_factory=list)
    encode_seconds: list[float] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


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

    Parameters
    ----------
    dataset : Dataset
    captioner : Captioner
        The model.
    file : Path
        Where predictions are kept (``.jsonl``).
    variants : sequence of {"model", "crop", "whole-image", "class-token"}
        The model's own way and the baselines beside it.
    options : mapping, optional
        For `Captioner.caption`.
    limit : int, optional
        How many images to take, the first ones of the file.
    captioner_for : callable, optional
        Captioner of each image by its id, where one that has never seen the image is to be asked;
        all go by the name of ``captioner``.
    progress : callable
        Given the fraction done and a message; may raise ``Cancelled``.

    Returns
    -------
    Evaluation

    Raises
    ------
    FormatError
        The data set is damaged, or the file holds predictions of something else.
    ModelError
        The model cannot do what is asked.
    """
    by_image = _gather(dataset.samples(), limit)
    if not by_image:
        raise FormatError(f"{dataset.name}: has no sample whose image is there; check --images")
    asked = {
        "dataset": dataset.name,
        "task": dataset.task,
        "model": captioner.name,
        "options": dict(options or {}),
    }
    # How many images are taken changes no caption, so another limit goes on with the same file.
    kept = PredictionFile(file, asked)
    known = {(item.sample, item.variant): item for item in kept.done}
    _check_kept(file, kept.done, by_image)
    check_ways(captioner, variants, options or {})
    result = Evaluation({**asked, "limit": limit}, missing=list(dataset.missing))
    for place, (image, samples) in enumerate(by_image.items()):
        left = [v for v in variants if any((item.id, v) not in known for item in samples)]
        if left:
            progress(place / len(by_image), f"image {place + 1} of {len(by_image)}: {image}")
            asking = captioner if captioner_for is None else captioner_for(image)
            path = dataset.find(image)
            made = _caption(result, asking, path, samples, left, options or {})
            fresh = [item for item in made if (item.sample, item.variant) not in known]
            # An image that could not be read is not written down, so that it is tried again.
            kept.add(fresh if path.name not in result.failed else [])
            known |= {(item.sample, item.variant): item for item in fresh}
    progress(1.0, f"{len(by_image)} images captioned")
    wanted = ((item.id, v) for samples in by_image.values() for item in samples for v in variants)
    result.predictions = [known[key] for key in wanted if key in known]
    return result


def _gather(samples: Iterable[Sample], limit: int | None) -> dict[str, list[Sample]]:
    """Gather samples by image, in the order in which the file names the images first."""
    by_image: dict[str, list[Sample]] = defaultdict(list)
    seen: set[str] = set()
    for item in samples:
        if item.id in seen:
            raise FormatError(f"two samples are called {item.id!r}; give each an id of its own")
        seen.add(item.id)
        by_image[item.image].append(item)
    return dict(islice(by_image.items(), limit))


def _check_kept(
    file: Path, kept: Sequence[Prediction], by_image: Mapping[str, Sequence[Sample]]
) -> None:
    """Refuse captions of another data set: its file may have the same name and the same ids."""
    samples = {item.id: item for own in by_image.values() for item in own}
    for entry in kept:
        now = samples.get(entry.sample)
        if now and (now.references, region_to_text(now.region)) != (
            entry.references,
            entry.geometry,
        ):
            raise FormatError(
                f"{file}: holds a prediction of another sample {entry.sample!r}; the data set has "
                "changed, so name another folder by --out"
            )


def _caption(
    result: Evaluation,
    captioner: Captioner,
    path: Path,
    samples: Sequence[Sample],
    variants: Sequence[Variant],
    options: Mapping[str, Any],
) -> list[Prediction]:
    """Caption the samples of one image in all ways asked for."""
    start = time.perf_counter()
    try:
        pixels = read_image(path)
        encoded = EncodedImage(captioner, pixels, captioner.encode(pixels), options)
    except PatchionerError as error:
        result.failed[path.name] = str(error)
        silence = [Said("", 0.0, 0.0, str(error))] * len(samples)
        return [p for v in variants for p in _predictions(samples, v, silence, None)]
    result.encode_seconds.append(time.perf_counter() - start)
    results: list[Prediction] = []
    for variant in variants:
        said = WAYS[variant](encoded, [item.region for item in samples])
        results += _predictions(samples, variant, said, _retrieved(encoded, samples, said))
    return results


def _predictions(
    samples: Sequence[Sample],
    variant: Variant,
    said: Sequence[Said],
    results: npt.NDArray[np.float64] | None,
) -> Iterable[Prediction]:
    for place, (sample, item) in enumerate(zip(samples, said, strict=True)):
        retrieved = None if results is None or np.isnan(results[place]) else float(results[place])
        yield Prediction(
            sample=sample.id,
            image=sample.image,
            variant=variant,
            references=sample.references,
            caption=item.caption,
            score=item.score,
            seconds=item.seconds,
            kind=sample.region.kind,
            geometry=region_to_text(sample.region),
            members=members_cell(sample.region),
            group=sample.group,
            category=sample.extra.get("category", ""),
            found=retrieved,
            problem=item.problem,
        )


def _retrieved(
    encoded: EncodedImage, samples: Sequence[Sample], said: Sequence[Said]
) -> npt.NDArray[np.float64] | None:
    """Whether captions find their regions again; None where the model cannot read text."""
    embed = getattr(encoded.captioner.backbone, "embed_text", None)
    if embed is None or len(samples) < 2 or any(item.problem for item in said):
        return None
    try:
        texts = embed([item.caption for item in said])
    except PatchionerError:
        # The text tower of a preset may be an extra download that nobody asked for.
        return None
    weights = [cover(item.region, encoded.grid.transform) for item in samples]
    return self_retrieval(texts, pool(encoded.grid, weights), [item.image for item in samples])


@dataclass(frozen=True, eq=False, slots=True)
class Said:
    """A caption, the seconds it took, and why there is none."""

    caption: str
    score: float
    seconds: float
    problem: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class EncodedImage:
    """An image with its grid."""

    captioner: Captioner
    pixels: npt.NDArray[np.generic]
    grid: FeatureGrid
    options: Mapping[str, Any]


# Large enough for one patch of any backbone.
_PROBE = (64, 64, 3)


def check_ways(
    captioner: Captioner, variants: Sequence[Variant], options: Mapping[str, Any]
) -> None:
    """Find out on a gray picture whether a model can caption in these ways."""
    if "class-token" not in variants and not options.get("pooling"):
        return
    pixels = np.full(_PROBE, 127, np.uint8)
    encoded = EncodedImage(captioner, pixels, captioner.encode(pixels), options)
    if "class-token" in variants:
        _refuse_no_class_token(encoded)
    by_whole(encoded, [WholeImage()])


def by_region(encoded: EncodedImage, regions: Sequence[Region]) -> list[Said]:
    """Captions from the patches of each region."""
    start = time.perf_counter()
    try:
        captions = encoded.captioner.caption(encoded.grid, regions, **encoded.options)
    except RegionError:
        # One region at fault must not take the others' captions along.
        return [_alone(encoded, region) for region in regions]
    seconds = (time.perf_counter() - start) / max(1, len(regions))
    return [_said(caption, seconds) for caption in captions]


def by_crop(encoded: EncodedImage, regions: Sequence[Region]) -> list[Said]:
    """Captions of what is left when the bounding box of each region is cut out as an image."""
    said = []
    for region in regions:
        start = time.perf_counter()
        try:
            grid = encoded.captioner.encode(crop(encoded.pixels, region))
            (caption,) = encoded.captioner.caption(grid, [WholeImage()], **encoded.options)
        except PatchionerError as error:
            said.append(Said("", 0.0, time.perf_counter() - start, str(error)))
        else:
            said.append(_said(caption, time.perf_counter() - start))
    return said


def by_whole(encoded: EncodedImage, regions: Sequence[Region]) -> list[Said]:
    """Give every region the caption of the whole image."""
    return _one_for_all(encoded, regions, encoded.options)


def by_class_token(encoded: EncodedImage, regions: Sequence[Region]) -> list[Said]:
    """Give every region the caption of the class token."""
    _refuse_no_class_token(encoded)
    return _one_for_all(encoded, regions, {**encoded.options, "pooling": "cls"})


WAYS: dict[Variant, Callable[[EncodedImage, Sequence[Region]], list[Said]]] = {
    "model": by_region,
    "crop": by_crop,
    "whole-image": by_whole,
    "class-token": by_class_token,
}


def _refuse_no_class_token(encoded: EncodedImage) -> None:
    """Say that a model has no class token."""
    if encoded.grid.cls is None:
        raise ModelError(
            f"{encoded.captioner.name} has no class token; leave out --baseline class-token"
        )


def _one_for_all(
    encoded: EncodedImage, regions: Sequence[Region], options: Mapping[str, Any]
) -> list[Said]:
    start = time.perf_counter()
    (caption,) = encoded.captioner.caption(encoded.grid, [WholeImage()], **options)
    return [_said(caption, (time.perf_counter() - start) / max(1, len(regions)))] * len(regions)


def _alone(encoded: EncodedImage, region: Region) -> Said:
    start = time.perf_counter()
    try:
        (caption,) = encoded.captioner.caption(encoded.grid, [region], **encoded.options)
    except RegionError as error:
        return Said("", 0.0, time.perf_counter() - start, str(error))
    return _said(caption, time.perf_counter() - start)


def _said(caption: Caption, seconds: float) -> Said:
    return Said(caption.text, float(caption.score), seconds)
