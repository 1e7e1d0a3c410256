from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[int], Path]:
    """Return what makes a folder of so many small pictures, each of its own colours."""

    def make(count: int, height: int = 16, width: int = 32) -> Path:
        folder = tmp_path / "pictures"
        folder.mkdir()
        generator = np.random.default_rng(count)
        for number in range(count):
            low = generator.integers(1, 200, 3)
            pixels = generator.integers(low, low + 50, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:04}.png")
        return folder

    return make
