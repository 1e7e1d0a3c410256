"""Two pictures, encoded by the embedded model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from taught_pictures import Drawn, drawn

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner


@pytest.fixture(scope="session")
def first(mini: Captioner) -> Drawn:
    return drawn(mini, 1, ["nucleus", "leaf", "nucleus", "leaf", "nucleus", "leaf"])


@pytest.fixture(scope="session")
def second(mini: Captioner) -> Drawn:
    return drawn(mini, 2, ["leaf", "nucleus", "nucleus", "leaf", "grain"])
