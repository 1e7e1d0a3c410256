"""Captioning a data set: every image looked at once, every caption kept as it comes."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.annotations import region_to_text
from napari_patchioner.annotations._wkt import members_cell
from napari_patchioner.backbones import read_image
from napari_patchioner.errors import FormatError, PatchionerError
from napari_patchioner.evaluation.metrics.diversity import self_retrieval
from napari_patchioner.grids import pool
from napari_patchioner.regions import cover

from ._predictions import Prediction, PredictionFile, Variant
from ._variants import WAYS, Looked, Said, check_ways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.evaluation.datasets import Dataset, Sample


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
        Time of each look at an image in this run.
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
    tell: Callable[[float, str], None] = lambda _fraction, _message: None,
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
    tell : callable
        Told the share done and what is being done; may raise ``Cancelled``.

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
    known = {(one.sample, one.variant): one for one in kept.done}
    _check_kept(file, kept.done, by_image)
    check_ways(captioner, variants, options or {})
    result = Evaluation({**asked, "limit": limit}, missing=list(dataset.missing))
    for place, (image, samples) in enumerate(by_image.items()):
        left = [v for v in variants if any((one.id, v) not in known for one in samples)]
        if left:
            tell(place / len(by_image), f"image {place + 1} of {len(by_image)}: {image}")
            asking = captioner if captioner_for is None else captioner_for(image)
            path = dataset.find(image)
            made = _caption(result, asking, path, samples, left, options or {})
            fresh = [one for one in made if (one.sample, one.variant) not in known]
            # An image that could not be read is not written down, so that it is tried again.
            kept.add(fresh if path.name not in result.failed else [])
            known |= {(one.sample, one.variant): one for one in fresh}
    tell(1.0, f"{len(by_image)} images captioned")
    wanted = ((one.id, v) for samples in by_image.values() for one in samples for v in variants)
    result.predictions = [known[key] for key in wanted if key in known]
    return result


def _gather(samples: Iterable[Sample], limit: int | None) -> dict[str, list[Sample]]:
    """Gather samples by image, in the order in which the file names the images first."""
    by_image: dict[str, list[Sample]] = defaultdict(list)
    seen: set[str] = set()
    for one in samples:
        if one.id in seen:
            raise FormatError(f"two samples are called {one.id!r}; give each an id of its own")
        seen.add(one.id)
        by_image[one.image].append(one)
    return dict(islice(by_image.items(), limit))


def _check_kept(
    file: Path, kept: Sequence[Prediction], by_image: Mapping[str, Sequence[Sample]]
) -> None:
    """Refuse captions of another data set: its file may have the same name and the same ids."""
    samples = {one.id: one for own in by_image.values() for one in own}
    for one in kept:
        now = samples.get(one.sample)
        if now and (now.references, region_to_text(now.region)) != (one.references, one.geometry):
            raise FormatError(
                f"{file}: holds a prediction of another sample {one.sample!r}; the data set has "
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
        looked = Looked(captioner, pixels, captioner.encode(pixels), options)
    except PatchionerError as error:
        result.failed[path.name] = str(error)
        silence = [Said("", 0.0, 0.0, str(error))] * len(samples)
        return [p for v in variants for p in _predictions(samples, v, silence, None)]
    result.encode_seconds.append(time.perf_counter() - start)
    found: list[Prediction] = []
    for variant in variants:
        said = WAYS[variant](looked, [one.region for one in samples])
        found += _predictions(samples, variant, said, _retrieved(looked, samples, said))
    return found


def _predictions(
    samples: Sequence[Sample],
    variant: Variant,
    said: Sequence[Said],
    found: npt.NDArray[np.float64] | None,
) -> Iterable[Prediction]:
    for place, (sample, one) in enumerate(zip(samples, said, strict=True)):
        retrieved = None if found is None or np.isnan(found[place]) else float(found[place])
        yield Prediction(
            sample=sample.id,
            image=sample.image,
            variant=variant,
            references=sample.references,
            caption=one.caption,
            score=one.score,
            seconds=one.seconds,
            kind=sample.region.kind,
            geometry=region_to_text(sample.region),
            members=members_cell(sample.region),
            group=sample.group,
            category=sample.extra.get("category", ""),
            found=retrieved,
            problem=one.problem,
        )


def _retrieved(
    looked: Looked, samples: Sequence[Sample], said: Sequence[Said]
) -> npt.NDArray[np.float64] | None:
    """Whether captions find their regions again; None where the model cannot read text."""
    embed = getattr(looked.captioner.backbone, "embed_text", None)
    if embed is None or len(samples) < 2 or any(one.problem for one in said):
        return None
    try:
        texts = embed([one.caption for one in said])
    except PatchionerError:
        # The text tower of a preset may be an extra download that nobody asked for.
        return None
    weights = [cover(one.region, looked.grid.transform) for one in samples]
    return self_retrieval(texts, pool(looked.grid, weights), [one.image for one in samples])
