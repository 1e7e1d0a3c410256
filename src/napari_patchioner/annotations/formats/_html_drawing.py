"""Regions drawn as SVG over their picture, in ``x y`` pixels with pixel corners at integers."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.annotations.xy import ellipse_axes, to_xy
from napari_patchioner.regions import (
    Ellipse,
    Mask,
    Point,
    Region,
    Trace,
    WholeImage,
)

from ._xml import legal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_patchioner.annotations.record import Annotation

# Told apart by most people who see few colours; light, because a shadow sets them off.
_COLOURS = ("#e69f00", "#56b4e9", "#2ecc9a", "#f0e442", "#8f9bff", "#ff7a3d", "#f29ad0")
# Shadows take time; many regions are drawn without.
_FEW = 300


def drawing(
    annotations: Sequence[tuple[int, Annotation]], size: tuple[int, int] | None, picture: str | None
) -> str:
    """Return an SVG of the regions of one image over its picture, each with its number.

    Parameters
    ----------
    annotations : sequence of (int, Annotation)
        Their numbers in the report, and the regions.
    size : tuple of int or None
        ``(height, width)`` of the image; what the regions span where nobody told.
    picture : str or None
        A ``data:`` address.
    """
    left, top, width, height = _frame(annotations, size)
    unit = max(width, height) / 100
    image = f'<image href="{picture}" width="{width:g}" height="{height:g}" '
    image += 'preserveAspectRatio="none"/>'
    blank = f'<rect class="blank" x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}"/>'
    few = ' class="few"' if len(annotations) <= _FEW else ""
    groups = [_group(number, one, (left, top, width, height), unit) for number, one in annotations]
    return (
        f'<svg{few} viewBox="{left:g} {top:g} {width:g} {height:g}" role="img" '
        f'style="aspect-ratio:{width:g}/{height:g}">\n'
        + "\n".join([image if picture and size else blank, *groups])
        + "\n</svg>"
    )


_Frame = tuple[float, float, float, float]


def _frame(annotations: Sequence[tuple[int, Annotation]], size: tuple[int, int] | None) -> _Frame:
    """Return left, top, width and height of what is shown."""
    if size is not None:
        return 0.0, 0.0, float(size[1]), float(size[0])
    points = [_points(part) for _, one in annotations for part in one.region.parts()]
    known = np.concatenate([np.array([[0.0, 0], [1, 1]]), *points])
    (left, top), (right, bottom) = np.floor(known.min(axis=0)), np.ceil(known.max(axis=0)) + 1
    return float(left), float(top), float(right - left), float(bottom - top)


def _points(region: Region) -> npt.NDArray[np.float64]:
    """Return points that span a region that is no set, ``x y``; none of the whole image."""
    if isinstance(region, Ellipse):
        centre, along, across = ellipse_axes(region)
        reach = np.hypot(along, across)
        return np.array([centre - reach, centre + reach])
    if isinstance(region, Mask):
        (row, column), shape = region.offset, region.pixels.shape
        return np.array([[column, row], [column + shape[1], row + shape[0]]], float)
    return to_xy(region.coords())


def _group(number: int, annotation: Annotation, frame: _Frame, unit: float) -> str:
    """Return the drawing of one region with its number."""
    members = annotation.region.parts()
    shapes = shapes_of(annotation.region, frame, unit)
    spans = [points for part in members if len(points := _points(part))]
    known = (
        np.concatenate(spans) if spans else np.array([[frame[0] + 2 * unit, frame[1] + 2 * unit]])
    )
    low = np.array(frame[:2]) + unit
    middle = (known.min(axis=0) + known.max(axis=0)) / 2
    if spans and (np.ptp(known, axis=0) < unit).all():
        middle[1] -= 2 * unit  # beside a dot, not upon it
    x, y = np.clip(middle, low, low + np.array(frame[2:]) - 2 * unit).tolist()
    return (
        f'<g class="region" id="r{number}" style="--c:{_COLOURS[number % len(_COLOURS)]}">'
        f"<title>{number}. {escape(legal(annotation.caption))}</title>{shapes}"
        f'<text x="{x:.2f}" y="{y:.2f}" font-size="{2.2 * unit:.3g}">{number}</text></g>'
    )


def shapes_of(region: Region, frame: _Frame, unit: float) -> str:
    """Return the drawing of a region as SVG elements.

    Parameters
    ----------
    region : Region
        In ``(row, column)`` image pixels.
    frame : tuple of float
        Left, top, width and height of the picture, pixel corners at integers.
    unit : float
        Twice the radius of a dot.
    """
    return "".join(_shape(part, frame, unit) for part in region.parts())


def _shape(region: Region, frame: _Frame, unit: float) -> str:
    """Return the drawing of a region that is no set."""
    if isinstance(region, WholeImage):
        left, top, width, height = frame
        sides = f'width="{width - unit / 2:g}" height="{height - unit / 2:g}"'
        return f'<rect x="{left + unit / 4:g}" y="{top + unit / 4:g}" {sides}/>'
    if isinstance(region, Ellipse):
        centre, along, across = ellipse_axes(region)
        numbers = " ".join(
            f"{one:.4f}" for axis in (along, across, centre) for one in axis.tolist()
        )
        return f'<circle r="1" transform="matrix({numbers})"/>'
    if isinstance(region, Mask):
        path = "".join(f"{_path(to_xy(ring))}Z" for ring in region.rings())
        return f'<path fill-rule="evenodd" d="{path}"/>'
    if isinstance(region, Point) or (
        isinstance(region, Trace) and (not region.connected or len(region.points) == 1)
    ):
        dots = [f'cx="{x:.2f}" cy="{y:.2f}"' for x, y in _points(region).tolist()]
        return "".join(f'<circle {dot} r="{unit / 2:.3g}"/>' for dot in dots)
    line = isinstance(region, Trace)
    return (
        f'<path{" class=line" if line else ""} d="{_path(_points(region))}{"" if line else "Z"}"/>'
    )


def _path(points: npt.NDArray[np.float64]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points.tolist())
