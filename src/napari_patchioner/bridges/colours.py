"""Plain names for colours: eleven basic terms with soft borders in Oklab (Ottosson 2020)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

COLOURS = (
    *("black", "white", "gray", "red", "orange", "yellow"),
    *("green", "blue", "purple", "pink", "brown"),
)
"""The basic colour terms, in the order of the ``share_*`` axes."""

# Hue angle (degrees) up to which a name reaches, and the half-width of the border there.
_BORDERS = ((50.0, 8.0), (84.0, 6.0), (113.0, 5.0), (208.0, 10.0), (291.0, 6.0), (343.0, 6.0))
_RING = ("red", "orange", "yellow", "green", "blue", "purple", "rose")


# Below the first the colour is dark, above the second light; each name has its own middle.
_LIGHTNESS = {
    "yellow": (65.0, 101.0),
    "pink": (60.0, 84.0),
    "orange": (50.0, 84.0),
    "red": (45.0, 75.0),
    "brown": (42.0, 66.0),
}

TINTS = {
    "red": "reddish",
    "orange": "brownish",
    "yellow": "yellowish",
    "green": "greenish",
    "blue": "bluish",
    "purple": "purplish",
    "rose": "pinkish",
}
"""What a gray with a little of a hue is called."""

_PALE = dict(
    zip(TINTS, ("pink", "orange", "yellow", "green", "blue", "purple", "pink"), strict=True)
)
_TINTED = 2.0


def colour_shares(lab: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Memberships of colours, Oklab times 100, shape (..., 3), in the basic terms, shape (..., 11).

    They are in the order of ``COLOURS`` and sum to one.
    """
    light, green_red, blue_yellow = np.moveaxis(np.asarray(lab, np.float32), -1, 0)
    chroma = np.hypot(green_red, blue_yellow)
    hue = np.degrees(np.arctan2(blue_yellow, green_red)) % 360.0
    # Near black, and in the pale greys of cameras with a cast, a little chroma is no colour yet.
    faint = 2.2 + 2.5 * ramp(light, 30.0, 12.0)
    colourful = ramp(chroma - faint, 0.0, 2.6) * ramp(light, 8.0, 20.0)
    black, white = ramp(light, 34.0, 24.0), ramp(light, 87.0, 93.0)
    grays = {"black": black, "white": white, "gray": 1 - black - white}
    memberships = {name: (1 - colourful) * part for name, part in grays.items()}
    for name, part in _chromatic(light, chroma, hue).items():
        memberships[name] = colourful * part
    return np.stack([memberships[name] for name in COLOURS], -1).astype(np.float32)


def colour_name(lab: npt.ArrayLike) -> str:
    """Name one colour with a basic term and, where it applies, ``dark``, ``light`` or ``pale``.

    Examples
    --------
    >>> colour_name((43, 6, -11)), colour_name((100, 0, 0)), colour_name((80, -5.7, -5.9))
    ('dark purple', 'white', 'light blue')
    """
    light, green_red, blue_yellow = np.asarray(lab, float)
    chroma = float(np.hypot(green_red, blue_yellow))
    base = COLOURS[int(np.argmax(colour_shares(lab)))]
    tint = ""
    if chroma >= _TINTED:
        hue = np.degrees(np.arctan2(blue_yellow, green_red)) % 360.0
        parts = _ring(np.array(hue, np.float32))
        tint = max(parts, key=lambda part: float(parts[part]))
    if base == "black":
        return base
    if base == "white":
        return f"pale {_PALE[tint]}" if tint else base
    if base == "gray":
        return _shaded(f"{TINTS[tint]} gray" if tint else "gray", light, dark=46.0, pale=76.0)
    if chroma < 7.5 and light > 76.0:
        return f"pale {base}"
    low, high = _LIGHTNESS.get(base, (48.0, 76.0))
    return _shaded(base, light, dark=low, pale=high)


def _shaded(base: str, light: float, *, dark: float, pale: float) -> str:
    if light < dark:
        return f"dark {base}"
    return f"light {base}" if light > pale else base


def ramp(values: npt.NDArray[np.float32], low: float, high: float) -> npt.NDArray[np.float32]:
    """Rise from 0 at ``low`` to 1 at ``high``."""
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0), np.float32)


def _chromatic(
    light: npt.NDArray[np.float32],
    chroma: npt.NDArray[np.float32],
    hue: npt.NDArray[np.float32],
) -> dict[str, npt.NDArray[np.float32]]:
    """Split the hue circle, then move dull warm hues to brown and light reds to pink."""
    parts = _ring(hue)
    rose = parts.pop("rose")
    reds = parts["red"] + rose
    pale_red = ramp(light, 58.0, 68.0) * ramp(chroma, 22.0, 16.0)
    pink = np.maximum(
        pale_red * ramp(_hue_distance(hue, 8.0), 34.0, 26.0),
        ramp(light, 50.0, 60.0) * np.minimum(1.0, 2 * rose),
    )
    dull = np.maximum(ramp(light, 72.0, 62.0) * ramp(chroma, 16.0, 12.5), ramp(chroma, 10.5, 8.0))
    brown_red = dull * ramp(_hue_distance(hue, 60.0), 32.0, 22.0)
    parts["pink"] = reds * pink
    parts["brown"] = reds * (1 - pink) * brown_red + parts["orange"] * dull
    parts["red"] = reds * (1 - pink) * (1 - brown_red)
    parts["orange"] = parts["orange"] * (1 - dull)
    return parts


def _ring(hue: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """Soft sectors of the hue circle, starting in the reds at 0 degrees."""
    reached = [ramp(hue, border - half, border + half) for border, half in _BORDERS]
    edges = [np.ones_like(hue), *reached, np.zeros_like(hue)]
    return {
        part: before - after
        for part, before, after in zip(_RING, edges[:-1], edges[1:], strict=True)
    }


def _hue_distance(hue: npt.NDArray[np.float32], centre: float) -> npt.NDArray[np.float32]:
    """Distance on the hue circle in degrees, 0 to 180."""
    return np.asarray(np.abs((hue - centre + 180.0) % 360.0 - 180.0), np.float32)
