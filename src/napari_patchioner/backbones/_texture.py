"""Contrast, grain, direction and thin lines of an image, pixel by pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    import numpy.typing as npt

    Plane: TypeAlias = npt.NDArray[np.float32]

LAB = ("lightness", "green_red", "blue_yellow")
_BANDS = {"fine": (0.0, 1.4), "medium": (1.4, 5.0), "coarse": (5.0, 20.0)}
_LINE_SIGMAS = (1.5, 3.0, 6.0)
_FLAT = 1.0
_EDGE = 8.0


def patch_means(plane: Plane, grid_shape: tuple[int, int]) -> Plane:
    """Average a plane over the patches of a grid that divides it evenly."""
    rows, columns = grid_shape
    height, width = plane.shape
    blocks = plane.reshape(rows, height // rows, columns, width // columns)
    return np.asarray(blocks.mean((1, 3)), np.float32)


def texture(lab: npt.NDArray[np.float32]) -> tuple[dict[str, Plane], Plane, float]:
    """Measure lightness, contrast per scale, edges and their direction.

    Parameters
    ----------
    lab : ndarray, shape (height, width, 3)
        Oklab times 100.

    Returns
    -------
    maps : dict of str to ndarray
        One plane per axis.
    lightness : ndarray, shape (height, width)
        What spots and lines are sought in.
    noise : float
        Typical pixel-to-pixel noise, in units of lightness.
    """
    planes = [np.ascontiguousarray(lab[..., channel]) for channel in range(3)]
    maps = dict(zip(LAB, planes, strict=True))
    maps |= {f"{name}_squared": plane**2 for name, plane in zip(LAB, planes, strict=True)}
    lightness = planes[0]
    blurred = {
        sigma: lightness if sigma == 0 else blur(lightness, sigma)
        for sigma in sorted({edge for band in _BANDS.values() for edge in band})
    }
    for band, (low, high) in _BANDS.items():
        maps[f"{band}_energy"] = np.abs(blurred[low] - blurred[high])
    busy = ndimage.uniform_filter(maps["fine_energy"] + maps["medium_energy"], 5)
    maps["flat"] = (busy < _FLAT).astype(np.float32)
    maps |= _directions(blurred[1.4])
    noise = 1.8 * float(np.median(maps["fine_energy"]))
    return maps, lightness, noise


def blur(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur, on a coarser copy of the plane where the blur is wide."""
    return np.asarray(ndimage.gaussian_filter(plane, sigma, mode="nearest", truncate=3.0))


def _directions(plane: Plane) -> dict[str, Plane]:
    """Structure tensor: strength of edges and the double angle of their direction."""
    down, right = np.gradient(plane)
    strength: Plane = np.asarray(np.hypot(down, right))
    # The double angle: edges of opposite sign add up, directions at right angles cancel.
    along: Plane = np.asarray(right**2 - down**2)
    across: Plane = np.asarray(2 * right * down)
    energy = blur(np.asarray(strength**2), 4.0) + np.float32(0.25)
    return {
        "gradient": strength,
        "edge": (strength > _EDGE / 2).astype(np.float32),
        "gradient_along": along,
        "gradient_across": across,
        "coherence": strength * np.hypot(blur(along, 4.0), blur(across, 4.0)) / energy,
    }


def find_lines(
    lightness: Plane, noise: float, spots: npt.NDArray[np.bool_]
) -> dict[str, tuple[Plane, dict[str, Plane]]]:
    """Find thin dark and bright lines: ridges, by the eigenvalues of the Hessian.

    Parameters
    ----------
    lightness : ndarray, shape (height, width)
    noise : float
        Typical pixel noise.
    spots : ndarray of bool, shape (height, width)
        Where round spots were found; a spot is no line.

    Returns
    -------
    dict of str to (ndarray, dict)
        For ``dark`` and ``bright``: soft membership 0 to 1, and the planes ``width``,
        ``along`` and ``across`` weighted by it.
    """
    found = {"dark": np.zeros((4, *lightness.shape), np.float32)}
    found["bright"] = found["dark"].copy()
    for sigma in _LINE_SIGMAS:
        large, small, cosine, sine = _hessian(lightness, sigma)
        threshold = 2.5 + 1.5 * noise / sigma
        for polarity, sign in (("dark", 1.0), ("bright", -1.0)):
            bend = sign * large
            straight = np.abs(small) < 0.4 * bend
            member = np.clip(bend / threshold - 1, 0, 1) * straight * ~spots
            better = member > found[polarity][0]
            planes = (member, member * 2 * sigma, member * cosine, member * sine)
            found[polarity] = np.where(better, np.stack(planes), found[polarity])
    names = ("width", "along", "across")
    return {
        polarity: (planes[0], dict(zip(names, planes[1:], strict=True)))
        for polarity, planes in found.items()
    }


def _hessian(plane: Plane, sigma: float) -> tuple[Plane, Plane, Plane, Plane]:
    """Scale-normalised eigenvalues (larger, smaller in size) and the double angle across."""
    smooth = blur(plane, sigma)
    down, right = np.gradient(smooth)
    vertical, mixed = np.gradient(down)
    horizontal = np.gradient(right, axis=1)
    half, mean = (horizontal - vertical) / 2, (horizontal + vertical) / 2
    spread = np.hypot(half, mixed)
    sign = np.where(mean >= 0, np.float32(1), np.float32(-1))
    norm = spread + np.float32(1e-6)
    scale = np.float32(sigma**2)
    large, small = scale * (mean + sign * spread), scale * (mean - sign * spread)
    return large, small, sign * half / norm, sign * mixed / norm
