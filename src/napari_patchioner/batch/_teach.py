"""Learning from the regions of image files: one image in, a lexicon of its examples out."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import reduce
from typing import Any

import numpy as np

from napari_patchioner.annotations import MACHINES, Annotation, other_axes
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import PatchionerError, RegionError
from napari_patchioner.grids import GridStore
from napari_patchioner.images import Levels, StoredImage, open_image
from napari_patchioner.regions import Region
from napari_patchioner.teaching import Lexicon, check_example, checked_name, places_of

from ._job import OWN, Job, read_source

# Grids of a large image that its background is taken from.
_MOST_BACKGROUNDS = 4
_STORE_BYTES = 256 * 2**20
# Columns that hold the name where there is no caption, as tables of boxes call it.
_NAMES = ("name", "class", "label", "category")
# Uids that are unique everywhere: those that the window gives to what is drawn.
_UNIQUE = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ACCEPTED = ("true", "1", "yes", "accepted")


def name_of(annotation: Annotation) -> str:
    """Return what a person calls a region: its caption, or a column of a table of boxes.

    Without the model's own caption where that is joined to a name. Empty where nobody says
    anything, or only a machine whose words nobody has accepted.
    """
    if annotation.source in MACHINES:
        is_accepted = annotation.extra.get("reviewed", "").lower() in _ACCEPTED
        joined = f": {annotation.extra.get(OWN, '')}"
        return annotation.caption.removesuffix(joined) if is_accepted else ""
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
    named = [region for region in job.regions if name_of(region)]

    def check(annotation: Annotation) -> None:
        """Raise an error where a region teaches nothing."""
        checked_name(name_of(annotation))
        check_example(annotation.region)

    regions = _sound(named, check, faults)
    if not regions:
        return None, faults
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

        _sound(regions, put, faults)
        lexicons = []
        for index, members in planes.items():
            levels = image.levels(dict(index))
            taught = _teach_plane(captioner, job, levels, members, faults, thumbnails)
            lexicons += [] if taught is None else [taught]
    return (reduce(Lexicon.merged, lexicons) if lexicons else None), faults


def _teach_plane(
    captioner: Captioner,
    job: Job,
    levels: Levels,
    regions: Sequence[Annotation],
    faults: list[str],
    thumbnails: bool,
) -> Lexicon | None:
    """Learn from one plane of an image; None where all its regions are at fault."""
    pyramid = captioner.pyramid(levels, store=GridStore(ram_bytes=_STORE_BYTES), big=job.big)
    sound = _sound(regions, lambda annotation: pyramid.plan(annotation.region), faults)
    sound = _once(sound, faults)
    plans = pyramid.plans([annotation.region for annotation in sound])
    if not plans:
        return None
    labelled = _labelled(sound)
    parts = ((pyramid.encode(plan), [labelled[row] for row in rows]) for plan, rows in plans)
    how: dict[str, Any] = {"image_name": job.image, "thumbnails": thumbnails}
    share = min(len(plans), _MOST_BACKGROUNDS)
    return Lexicon.teach_parts(captioner, parts, levels, share=share, **how)


def _sound(
    regions: Sequence[Annotation], check: Callable[[Annotation], object], faults: list[str]
) -> list[Annotation]:
    """Return the regions that pass a check; what is wrong with the others is noted."""
    sound = []
    for annotation in regions:
        try:
            check(annotation)
            sound.append(annotation)
        except PatchionerError as error:
            faults.append(f"region {annotation.uid!r}: {error}")
    return sound


def _once(regions: Sequence[Annotation], faults: list[str]) -> list[Annotation]:
    """Return regions of a plane without those given before with the same name, which are noted."""
    first: dict[tuple[str, str], Annotation] = {}
    for annotation in regions:
        [place] = places_of([annotation.region])
        before = first.setdefault((place, checked_name(name_of(annotation))), annotation)
        if before is not annotation:
            faults.append(f"region {annotation.uid!r}: is the same as region {before.uid!r}")
    return list(first.values())


def _labelled(regions: Sequence[Annotation]) -> list[tuple[Region, str, str]]:
    """Return regions of a plane, their names and their uids.

    A uid that is unique in its table alone, such as the number of a row, is another region's in the
    next one: where the region lies stands for it.
    """
    pairs = zip(regions, places_of([annotation.region for annotation in regions]), strict=True)
    return [
        (each.region, name_of(each), each.uid if _UNIQUE.fullmatch(each.uid) else place)
        for each, place in pairs
    ]
