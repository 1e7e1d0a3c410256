"""Pictures to try it on; all ship inside scikit-image, so no network is needed."""

from __future__ import annotations

from typing import Any


def astronaut() -> list[tuple[Any, dict[str, Any], str]]:
    """Return a photograph: Eileen Collins, by NASA, in the public domain."""
    from skimage import data

    return [(data.astronaut(), {"name": "astronaut"}, "image")]


def immunohistochemistry() -> list[tuple[Any, dict[str, Any], str]]:
    """Return a stained tissue under the microscope, in the public domain (CC0)."""
    from skimage import data

    return [(data.immunohistochemistry(), {"name": "immunohistochemistry"}, "image")]
