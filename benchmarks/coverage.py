"""Which patches 10,000 shapes cover, beside rasterising each with napari's masks.

Boxes, ellipses, polygons and lassos of 10 to 200 pixels on an image of 2000 x 2000, on a grid of
40 x 40; napari's `Shapes.to_masks` is timed on a few of them, since each mask is as large as the
image.
"""

from __future__ import annotations

import numpy as np

from .rows import Row, fastest

SIDE, GRID, COUNT, MASKS = 2000, 40, 10_000, 40


def rows(threads: int, quick: bool) -> list[Row]:
    """Measure both ways on the same shapes."""
    from napari.layers import Shapes

    from napari_patchioner.regions import GridTransform, Polygon, cover_all

    outlines = shapes(COUNT // (10 if quick else 1))
    transform = GridTransform((SIDE, SIDE), (GRID, GRID))
    regions = [Polygon(outline) for outline in outlines]
    ours = fastest(lambda: cover_all(regions, transform), 2)
    layer = Shapes(outlines[:MASKS], shape_type="polygon")
    masks = fastest(lambda: layer.to_masks((SIDE, SIDE)), 2) * len(outlines) / MASKS
    return [
        Row(
            f"{len(outlines):,} polygons",
            ours,
            against=f"napari's masks, reckoned from {MASKS}",
            baseline=masks,
        )
    ]


def shapes(count: int) -> list[np.ndarray]:
    """Return outlines, each (corners, 2), that are the same in every run."""
    generator = np.random.default_rng(0)
    outlines = []
    for number in range(count):
        corners = (4, 12, 30)[number % 3]
        angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        radii = generator.uniform(5, 100) * generator.uniform(0.7, 1, corners)
        centre = generator.uniform(100, SIDE - 100, 2)
        outlines.append(centre + radii[:, None] * np.stack([np.sin(angles), np.cos(angles)], 1))
    return outlines
