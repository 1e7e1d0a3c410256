from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import skimage.data
from PIL import Image

from napari_patchioner import load_model
from recipes.mini.familiarity import (
    auroc,
    draw_failures,
    measure,
    random_boxes,
    report,
    written_page,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_unlike_scores_lower():
    generator = np.random.default_rng(0)
    low, high = generator.normal(0, 1, 4000), generator.normal(1, 1, 4000)
    # Of two normal variables a deviation apart, divided by the root of two
    assert auroc(low, high) == pytest.approx(0.76, abs=0.01)
    assert auroc(high, low) == pytest.approx(0.24, abs=0.01)
    assert auroc(np.ones(3), np.ones(5)) == 0.5


def test_a_page_is_the_same_for_the_same_numbers():
    pages = [written_page(np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(pages[0], pages[1])
    assert not np.array_equal(pages[0], pages[2])
    # It is paper, mostly.
    assert np.median(pages[0]) > 200


def test_boxes_lie_on_the_picture():
    for box in random_boxes((40, 60), np.random.default_rng(3), 200):
        assert -0.5 <= box.top < box.bottom <= 39.5 + 1e-9
        assert -0.5 <= box.left < box.right <= 59.5 + 1e-9


def test_a_photograph_and_a_page_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    captioner = load_model("mini")
    results = []
    pictures = {"photographs (COCO)": skimage.data.astronaut(), "text pages": skimage.data.page()}
    for kind, pixels in pictures.items():
        rgb = pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
        results.append(measure(captioner, captioner.encode(rgb), kind, rgb, 5))
    report(results)
    printed = capsys.readouterr().out
    [line] = [row for row in printed.splitlines() if row.startswith("| text pages | 8 |")]
    assert line.split("|")[3].strip() == "1.000"
    sheet = tmp_path / "failures.png"
    draw_failures(results, sheet)
    assert not sheet.exists()
    # Taken for the other, both are failures.
    known, page = results
    draw_failures([replace(known, kind=page.kind), replace(page, kind=known.kind)], sheet)
    with Image.open(sheet) as drawn:
        assert drawn.width > 2 * 300 - 1
