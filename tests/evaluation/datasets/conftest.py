"""A folder of small images named the ways data sets name them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from napari_patchioner.evaluation.datasets import Sample, open_dataset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_patchioner.evaluation.datasets import Task

NAMES = ("000000391895.jpg", "COCO_val2014_000000483108.jpg", "1016887272.jpg", "2407890.jpg")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four images of 80 x 40 pixels, one of them in a sub-folder."""
    folder = tmp_path / "images"
    (folder / "val2014").mkdir(parents=True)
    for name in NAMES:
        inside = folder / "val2014" if name.startswith("COCO") else folder
        Image.new("RGB", (80, 40)).save(inside / name)
    return folder


Draw = "Callable[..., list[Sample]]"


@pytest.fixture
def draw(tmp_path: Path, images: Path) -> Callable[..., list[Sample]]:
    """Writes contents as a file and draws its samples."""

    def drawn(task: Task, contents: Any, name: str = "data.json", **options: Any) -> list[Sample]:
        path = tmp_path / name
        lines = isinstance(contents, list) and name.endswith(".jsonl")
        path.write_text(
            "\n".join(map(json.dumps, contents)) if lines else json.dumps(contents),
            encoding="utf-8",
        )
        return list(open_dataset(task, path, images, **options).samples())

    return drawn
