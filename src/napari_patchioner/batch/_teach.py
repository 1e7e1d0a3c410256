"""Learning from the regions of image files: one image in, a lexicon of its examples out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import reduce
from typing import TypeAlias

import numpy as np

from napari_patchioner.annotations import MACHINES, Annotation, other_axes
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import PatchionerError, RegionError
from napari_patchioner.grids import GridStore
from napari_patchioner.images import StoredImage, open_image
from napari_patchioner.regions import Region
from napari_patchioner.teaching import Lexicon, checked_name

from ._job import Job, read_source

Labelled: TypeAlias = tuple[Region, str, str]
"""A region, its name and its uid."""

# Grids of a large image that its background is taken from.
_MOST_BACKGROUNDS = 4
_STORE_BYTES = 256 * 2**20
# Columns that hold the name where there is no caption, as tables of boxes call it.
_NAMES = ("name", "class", "label", "category")
_ACCEPTED = ("true", "1", "yes", "accepted")


def name_of(annotation: Annotation) -> str:
    """Return what a person calls a region: its caption, or a column of a table of boxes.

    Empty where nobody says anything, or only a machine whose words nobody has accepted.
    """
    if annotation.source in MACHINES:
        is_accepted = annotation.extra.get("reviewed", "").lower() in _ACCEPTED
        return annotation.caption if is_accepted else ""
    columns = {name.lower(): text for name, text in annotation.extra.items()}
    texts = (annotation.caption, *(columns.get(name, "") for name in _NAMES))
    return next((text for text in texts if text.strip()), "")


def teach_image(
    captioner: Captioner, job: Job, *, thumbnails: bool = False
) -> tuple[Lexicon | None, list[str]]:
    """Learn the names of the regions of one image, each seen at the resolution it asks for.

    Returns the lexicon of its examples, None where it has none, and what is wrong with regions that
    could not be learned from, a sentence each. An ImageError where the image cannot be read.
    """
    faults: list[str] = []

    def sound(regions: Sequence[Annotation], check: Callable[[Annotation], object]) -> list[int]:
        """Return the rows of regions that pass a check; note what is wrong with the others."""
        rows = []
        for row, annotation in enumerate(regions):
            try:
                check(annotation)
                rows.append(row)
            except PatchionerError as error:
                faults.append(f"region {annotation.uid!r}: {error}")
        return rows

    regions = [region for region in job.regions if name_of(region)]
    regions = [regions[row] for row in sound(regions, lambda r: checked_name(name_of(r)))]
    if not regions:
        return None, faults
    lexicons = []
    with ExitStack() as stack:
        source = read_source(job.path, job.big)
        if isinstance(source, np.ndarray):
            source = StoredImage.of(source, job.path)
        image = stack.enter_context(source or open_image(job.path))
        planes = defaultdict(list)

        def put(annotation: Annotation) -> None:
            """Put a region to those of its plane; a RegionError where there is none."""
            if (axes := other_axes(annotation)) is not None:
                raise RegionError(f"it lies along the axes {axes[0]} and {axes[1]} of the stack")
            index = image.find(annotation.extra.get("plane", ""))
            planes[tuple(index.items())].append(annotation)

        sound(regions, put)
        for index, members in planes.items():
            store = GridStore(ram_bytes=_STORE_BYTES)
            pyramid = captioner.pyramid(image.levels(dict(index)), store=store, big=job.big)
            kept = [
                members[row] for row in sound(members, lambda r, fits=pyramid.plan: fits(r.region))
            ]
            if not kept:
                continue
            plans = pyramid.plans([annotation.region for annotation in kept])
            parts = (
                (pyramid.encode(plan), [_labelled(kept[row]) for row in rows])
                for plan, rows in plans
            )
            taught = Lexicon.teach_parts(
                captioner,
                parts,
                pyramid.levels,
                image_name=job.image,
                share=min(len(plans), _MOST_BACKGROUNDS),
                thumbnails=thumbnails,
            )
            lexicons.append(taught)
    return (reduce(Lexicon.merged, lexicons) if lexicons else None), faults


def _labelled(annotation: Annotation) -> Labelled:
    return annotation.region, name_of(annotation), annotation.uid
