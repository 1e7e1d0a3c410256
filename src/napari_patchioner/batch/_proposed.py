"""Regions that the grid of an image proposes, in place of those of a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_patchioner.annotations import Annotation
from napari_patchioner.annotations.project.records import OUTLINED, PROPOSED
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridStore
from napari_patchioner.images import StoredImage
from napari_patchioner.regions import Polygon, WholeImage

# Long side, in pixels, of what regions of a large image are proposed on: less than twice this.
_SIDE = 512


@dataclass(frozen=True, slots=True)
class ProposedDrawing:
    """So many regions that may be things, at most, the likeliest first: ``p1``, ``p2``, ...

    What they are the image tells, not its size: see `propose`.
    """

    count: int

    def draw(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return as many triangles, which stand for the regions."""
        corners = np.array([[0, 0], [0, width - 1], [height - 1, 0]], float)
        return tuple(
            Annotation(f"p{number}", image, Polygon(corners)) for number in range(1, self.count + 1)
        )

    def sample(self, image: str, height: int, width: int) -> tuple[Annotation, ...]:
        """Return one of them."""
        return ProposedDrawing(1).draw(image, height, width)

    def propose(
        self,
        captioner: Captioner,
        pixels: npt.NDArray[Any] | StoredImage,
        image: str,
        *,
        store: GridStore,
        big: int,
    ) -> tuple[tuple[Annotation, ...], FeatureGrid]:
        """Return the regions of an image, of a stack of its first plane, and its grid."""
        # It loads torch, as the captioner has done already.
        from napari_patchioner.grounding import propose_outlines

        if isinstance(pixels, np.ndarray):
            grid = captioner.encode(pixels)
        else:
            levels = pixels.levels()
            grid = captioner.pyramid(levels, store=store, big=big).grid(WholeImage())
            pixels = levels.rgb(np.asarray(levels.down_to(_SIDE)[-1].data[:, :]))
        if not isinstance(grid, FeatureGrid):
            raise ModelError(
                "regions are proposed from the patches of an image, which this model does not "
                "make; choose another model, or other regions"
            )
        proposals = propose_outlines(grid, pixels, most=self.count)
        made = [{OUTLINED: {PROPOSED: round(proposal.score, 4)}} for proposal in proposals]
        return tuple(
            Annotation(f"p{number}", image, proposal.region, extra={"origin": json.dumps(origin)})
            for number, (proposal, origin) in enumerate(zip(proposals, made, strict=True), start=1)
        ), grid


def outlined_of(annotation: Annotation) -> dict[str, Any]:
    """Return how a machine had a part in the outline of a region, as its origin says it."""
    try:
        origin = json.loads(annotation.extra.get("origin", "") or "{}")
    except ValueError:
        return {}
    outlined = origin.get(OUTLINED) if isinstance(origin, dict) else None
    return {OUTLINED: outlined} if isinstance(outlined, dict) else {}
