"""What a worker does to find what examples show or a phrase says, or to propose regions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_patchioner.batch import PhraseSearch, likeliest
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import ModelError, PatchionerError, RegionError
from napari_patchioner.grids import PHOTOGRAPH, FeatureGrid, GridStore
from napari_patchioner.images import Levels, open_image
from napari_patchioner.progress import Progress, part
from napari_patchioner.regions import Region
from napari_patchioner.teaching import (
    Finder,
    ImageMeasures,
    Proposal,
    Sample,
    box_in,
    mean_size,
    parts_of,
    samples_of,
    search_image,
)
from napari_patchioner.viewer.layers.geometry import (
    untangled,
)
from napari_patchioner.viewer.session.proposals import (
    Outlined,
)
from napari_patchioner.viewer.session.session import Request

from .caption import caption_tasks
from .grow import Picture
from .job import error_message
from .models import ModelRegistry
from .prefetch import ImageFile

# What scores less is proposed to nobody, wherever the threshold is.
LEAST = 0.02
# Regions of an image that are proposed at most.
MOST = 20


@dataclass(frozen=True, eq=False, slots=True)
class Pictured:
    """An encoded plane, with examples that lie on it; the worker outlines them."""

    grid: FeatureGrid
    measures: ImageMeasures
    outlines: Sequence[Callable[[], Region]]


@dataclass(frozen=True, eq=False, slots=True)
class Found:
    """What came of a search: proposals, the likeliest first, and a heat map of the plane.

    And where it was for a phrase, how likely each region there was shows it, by uid.
    """

    proposals: Sequence[Proposal]
    heat: npt.NDArray[np.float32] | None
    matches: Mapping[str, float] = field(default_factory=dict)
    # Words of a phrase that count for nothing
    left_out: Sequence[str] = ()


def find_phrase(
    registry: ModelRegistry,
    model: str,
    grid: FeatureGrid,
    levels: Levels,
    phrase: str,
    outlines: Mapping[str, Callable[[], Region]],
    store: GridStore | None,
    progress: Progress,
) -> Found:
    """Find on one plane what a phrase says, and how likely regions, by uid, show it.

    A large plane is searched part by part as well; the ``store`` keeps the grids of the parts.
    """
    progress(0.0, "loading the model")
    with registry.using(model, part(progress, 0.0, 0.1)) as captioner:
        progress(0.1, "looking for the phrase")
        # It loads torch, as the captioner has done already.
        from napari_patchioner.grounding import PhraseScorer, find_in_levels

        scorer = PhraseScorer(captioner, phrase)
        result = find_in_levels(
            captioner,
            scorer,
            levels,
            grid=grid,
            least=LEAST,
            store=store,
            progress=part(progress, 0.1, 0.9),
        )
        if result.problem:
            raise ModelError(result.problem)
        matches = {}
        for uid, make in outlines.items():
            # One that lies outside the image shows nothing of it.
            with suppress(RegionError):
                [score] = scorer.regions(grid, [untangled(make())])
                matches[uid] = float(score)
    progress(1.0, "done")
    return Found(result.proposals, result.heat, matches, scorer.left_out)


@dataclass(frozen=True, eq=False, slots=True)
class Said:
    """What the model says of proposals, by their places, and with which memory of its own."""

    captions: Mapping[int, Caption]
    memory: Mapping[str, Any]


def propose(
    registry: ModelRegistry,
    model: str,
    picture: Picture,
    grid: FeatureGrid,
    options: Mapping[str, Any],
    progress: Progress,
) -> Iterator[Found | Said]:
    """Yield regions of one plane that may be things, and then what the model says of them."""
    progress(0.0, "proposing regions")
    # It loads torch, as the model that has read the image has done already.
    from napari_patchioner.grounding import propose_outlines

    proposals = propose_outlines(grid, picture.read(), most=MOST)
    yield Found([Outlined(p.region.bounds(), p.score, p.region.coords()) for p in proposals], None)
    tasks = [
        (Request(str(place), "", 0), partial(_same, proposal.region), grid)
        for place, proposal in enumerate(proposals)
    ]
    for answers, made in caption_tasks(registry, model, tasks, options, part(progress, 0.1, 1)):
        said = {int(r.uid): caption for r, caption in answers if isinstance(caption, Caption)}
        yield Said(said, made.get("memory", {}))


def _same(region: Region) -> Region:
    return region


def find_like(
    registry: ModelRegistry,
    model: str,
    pictures: Sequence[Pictured],
    searched: Pictured,
    store: GridStore | None,
    progress: Progress,
) -> Found:
    """Find on one plane what the examples on some planes show.

    A large plane is read, encoded and searched part by part; the ``store`` keeps its grids.
    """
    progress(0.0, "loading the model")
    with registry.using(model, part(progress, 0.0, 0.2)) as captioner:
        progress(0.2, "reading the examples")
        boxes = [
            [box_in(untangled(make()), picture.measures.shape) for make in picture.outlines]
            for picture in pictures
        ]
        size = mean_size(box for own in boxes for box in own)
        samples: list[Sample] = []
        for picture, own in zip(pictures, boxes, strict=True):
            if len(parts_of(picture.measures.shape, size)) == 1:
                samples.append(Sample(picture.grid, picture.measures, own))
            else:
                read = part(progress, 0.2, 0.3)
                levels = picture.measures.levels
                samples += samples_of(captioner, levels, own, size, store=store, progress=read)
        progress(0.3, "learning what they have in common")
        finder = Finder(captioner, samples)
        if len(parts_of(searched.measures.shape, finder.size)) > 1:
            result = search_image(
                captioner,
                {"": finder},
                searched.measures.levels,
                least=LEAST,
                with_heat=True,
                store=store,
                progress=part(progress, 0.4, 1.0),
            )
            assert result.heat is not None
            proposals = [Proposal(box, score) for box, _, score in result.proposals]
            return Found(proposals, result.heat)
        progress(0.6, "finding more")
        inner = part(progress, 0.6, 0.9)
        proposals = finder.find(searched.grid, searched.measures, least=LEAST, progress=inner)
        heat = finder.heat(searched.measures)
    progress(1.0, "done")
    return Found(proposals, heat)


def find_images_by_phrase(
    registry: ModelRegistry,
    model: str,
    phrase: str,
    files: Sequence[ImageFile],
    store: GridStore | None,
    progress: Progress,
) -> Iterator[tuple[str, float, str]]:
    """Yield the name of each image, how likely it shows a phrase, and what went wrong with it."""
    search = PhraseSearch(phrase, least=LEAST, in_parts=False)
    progress(0.0, "loading the model")
    with registry.using(model, part(progress, 0.0, 0.1)) as captioner:
        for number, file in enumerate(files):
            progress(0.1 + 0.9 * number / len(files), f"looking at {file.name}")
            score, problem = 0.0, ""
            try:
                with open_image(file.path) as image:
                    answer = search.find(captioner, image, file.path, file.name, store=store)
                regions, photograph = answer
                score = likeliest(regions, search.together)
                if photograph is not None and photograph < PHOTOGRAPH and search.is_name:
                    problem = f"{file.name} is no photograph, where {captioner.name} names nothing"
            except ModelError:
                raise
            except (PatchionerError, OSError, ValueError) as error:
                problem = error_message(error, f"{file.name} could not be read")
            yield file.name, score, problem
