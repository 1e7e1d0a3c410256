"""Files that are damaged or meant to do harm are told in a sentence with the record's name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from napari_patchioner.errors import FormatError
from napari_patchioner.evaluation.datasets import ImageFolder, open_dataset

if TYPE_CHECKING:
    from pathlib import Path

HUGE = "1" + "0" * 400
POINT = '{"x": 0.5, "y": 0.5, "t": 0}'
NARRATIVE = (
    '{"image_id": "391895", "caption": "a dog.", "traces": %s, "timed_caption": '
    '[{"utterance": "a dog.", "start_time": 0, "end_time": 1}]}'
)


@pytest.mark.parametrize(
    ("task", "text", "why"),
    [
        ("trace", "[" * 100_000, "nested too deeply"),
        ("trace", "1" * 5000, "no known form"),
        ("region-set", f'{{"391895": {{"a": [[0, 0, {HUGE}, 1]]}}}}', "finite number"),
        ("region-set", '{"391895": {"a": [[0, 0, NaN, 1]]}}', "finite number"),
        ("region-set", '{"391895": {"a": [[0, 0, "1", 1]]}}', "finite number"),
        ("dense", '{"images": 5, "annotations": [{"image_id": 1, "bbox": [], "caption": ""}]}',
         "'images' must be a list"),
        ("image", '{"images": [7]}', "no known form|without captions"),
        ("image", "\xff\xfe\x00\xd8", "UTF-8"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_told(tmp_path: Path, images: Path, task, text: str, why: str):
    path = tmp_path / "data.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match=why) as caught:
        list(open_dataset(task, path, images).samples())
    assert "data.json: " in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (NARRATIVE % "[5]", "line 2: every item of 'traces'"),
        (NARRATIVE % f'[[{{"x": {HUGE}, "y": 0, "t": 0}}]]', "line 2: .*finite"),
        ("[" * 100_000, "line 2: is JSON nested too deeply"),
        ("\xff", "line 2: is not UTF-8"),
    ],
)
def test_a_hostile_line_is_told(tmp_path: Path, images: Path, line: str, why: str):
    path = tmp_path / "ln.JSONL"
    good = NARRATIVE % f"[[{POINT}]]"
    path.write_bytes(b"\xef\xbb\xbf" + f"{good}\r\n{line}\r\n".encode("latin-1"))
    samples = open_dataset("trace", path, images).samples()
    assert next(samples).references == ("a dog.",)
    with pytest.raises(FormatError, match=why):
        next(samples)


def test_what_only_looks_like_an_image_hides_none(images: Path):
    (images / "._000000391895.jpg").write_bytes(b"notes of a Mac")
    (images / "000000391895.jpeg").mkdir()
    folder = ImageFolder(images)
    assert folder.find("391895").name == "000000391895.jpg"


def test_an_image_without_sets_may_stand_first(tmp_path: Path, images: Path):
    path = tmp_path / "sets.json"
    path.write_text(json.dumps({"483108": {}, "391895": {"a dog": [[0, 0, 5, 5]]}}))
    (sample,) = open_dataset("region-set", path, images).samples()
    assert sample.references == ("a dog",)


def test_a_bomb_of_an_image_is_told(images: Path, monkeypatch):
    from napari_patchioner.errors import ImageError

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ImageError, match="too large to be read whole"):
        ImageFolder(images).size("391895")
