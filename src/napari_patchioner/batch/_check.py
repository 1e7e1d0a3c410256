"""Checking captions against their images: how well they agree, and what would be better."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.annotations import Annotation, other_axes
from napari_patchioner.annotations.place import without_place
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import RegionError
from napari_patchioner.grids import FeatureGrid, GridStore
from napari_patchioner.images import StoredImage
from napari_patchioner.regions import Region

from ._job import Found, Job
from ._teach import name_of

if TYPE_CHECKING:
    from napari_patchioner.grounding import Realigner

AGREEMENT, CONTRADICTED, SUGGESTION = "agreement", "contradicted", "suggestion"
"""Extras that hold how well a caption agrees, the words that do not, and a better caption."""
JUDGED, ACCOUNT = "judged", "account"
"""Extras that hold the words that could be judged at all, and a sentence on these and the rest."""

_STORE_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Checking:
    """Compares the captions of an image's regions with it, in place of captioning; it pickles.

    Attributes
    ----------
    regions : tuple of Annotation
        The regions of the image.
    """

    regions: tuple[Annotation, ...]

    @classmethod
    def jobs(cls, jobs: Iterable[Job]) -> list[Job]:
        """Return a job of comparing for each of those that have regions."""
        return [
            Job(job.image, job.path, search=cls(job.regions), big=job.big)
            for job in jobs
            if job.regions
        ]

    def find(self, captioner: Captioner, image: StoredImage, path: Path, name: str) -> Found:
        """Return the regions as `check_image` does."""
        checked, faults = check_image(captioner, image, self.regions)
        return Found(checked, faults=tuple(faults))

    def left_out(self, captioner: Captioner) -> tuple[str, ...]:
        """Nothing is looked for."""
        return ()


def check_image(
    captioner: Captioner, image: StoredImage, annotations: Sequence[Annotation]
) -> tuple[list[Annotation], list[str]]:
    """Compare the captions of an image's regions with it; none of them is changed.

    Parameters
    ----------
    captioner : Captioner
        A model with a text tower; a ModelError otherwise.
    image : StoredImage
        The image, of any size.
    annotations : sequence of Annotation
        Its regions. What people call single things by name among them is used in the sentences of
        others that these lie in, see `grounding.Realigner`.

    Returns
    -------
    annotations : list of Annotation
        The same in the same order, with `AGREEMENT`, 0 to 1, the `JUDGED` and the `CONTRADICTED`
        words with commas between them, an `ACCOUNT` of them, and a `SUGGESTION` among their extras,
        as far as there is something to say.
    faults : list of str
        What is wrong with regions, each named by its uid.
    """
    # It loads torch, as whatever reads images with the model does as well.
    from napari_patchioner.grounding import Realigner
    from napari_patchioner.grounding.realign import is_given_name, lies_in

    realigner = Realigner(captioner)
    checked, faults = list(annotations), []
    planes: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
    for row, annotation in enumerate(annotations):
        try:
            if other_axes(annotation) is not None:
                raise RegionError("it does not lie on a plane of rows and columns")
            index = image.find(annotation.extra.get("plane", ""))
            planes[tuple(index.items())].append(row)
        except RegionError as error:
            faults.append(f"region {annotation.uid!r}: {error}")
    for plane, rows in planes.items():
        store = GridStore(ram_bytes=_STORE_BYTES)
        pyramid = captioner.pyramid(image.levels(dict(plane)), store=store)
        names = [
            (name, annotations[row].region)
            for row in rows
            if is_given_name(name := name_of(annotations[row]))
        ]
        for row in rows:
            annotation = annotations[row]
            if not annotation.caption.strip():
                continue
            try:
                grid = pyramid.grid(annotation.region)
                own = [
                    (name, region)
                    for name, region in names
                    if region is not annotation.region and lies_in(region, annotation.region)
                ]
                checked[row] = _checked(realigner, grid, annotation, own)
            except RegionError as error:
                faults.append(f"region {annotation.uid!r}: {error}")
    return checked, faults


def _checked(
    realigner: Realigner,
    grid: FeatureGrid,
    annotation: Annotation,
    names: Sequence[tuple[str, Region]],
) -> Annotation:
    """Return a region with what its image says to its caption."""
    # It loads torch, as whatever reads images with the model does as well.
    from napari_patchioner.grounding.words import account_of, judged_words

    region = annotation.region
    # Place and size, which were measured, stay behind what is suggested.
    text = without_place(annotation.caption)
    stays = annotation.caption.startswith(text)
    place = annotation.caption.removeprefix(text) if stays else ""
    result = realigner.check(grid, region, text, names)
    [agreement] = realigner.grounder.agreement(grid, [region], [text])
    wrong = [word.word.text for word in result.words if word.verdict == "contradicted"]
    extra = {
        AGREEMENT: "" if math.isnan(agreement) else f"{agreement:.4f}",
        JUDGED: ", ".join(dict.fromkeys(word.word.text for word in judged_words(result.words))),
        CONTRADICTED: ", ".join(wrong),
        ACCOUNT: account_of(result.words),
        SUGGESTION: result.text + place if result.changes else "",
    }
    return replace(annotation, extra={**annotation.extra, **extra})
