from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_patchioner.errors import FormatError
from napari_patchioner.evaluation.protocols import Prediction, read_predictions
from napari_patchioner.evaluation.protocols.predictions import PredictionFile

if TYPE_CHECKING:
    from pathlib import Path

ASKED = {"model": "mini", "task": "dense", "options": {}}
ONE = Prediction(
    "1/0", "1", "model", ("é\nb", 'c "d"'), "a dog\u2028", 0.5, 0.01, "box", "POLYGON EMPTY"
)


def test_predictions_come_back_as_they_were(tmp_path: Path):
    path = tmp_path / "run" / "predictions.jsonl"
    PredictionFile(path, ASKED).add([ONE, replace(ONE, sample="1/1", found=1.0)])

    asked, found = read_predictions(path)

    assert asked == ASKED
    assert found == [ONE, replace(ONE, sample="1/1", found=1.0)]
    assert PredictionFile(path, ASKED).done == found


def test_predictions_of_something_else_are_not_mixed_in(tmp_path: Path):
    path = tmp_path / "predictions.jsonl"
    PredictionFile(path, ASKED).add([ONE])
    with pytest.raises(FormatError, match="made with another model, options"):
        PredictionFile(path, {**ASKED, "model": "other", "options": {"pooling": "cls"}})
    assert read_predictions(path)[1] == [ONE]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1))
def test_a_file_cut_off_anywhere_goes_on(tmp_path: Path, cut: float):
    path = tmp_path / "cut.jsonl"
    path.unlink(missing_ok=True)
    PredictionFile(path, ASKED).add([replace(ONE, sample=str(place)) for place in range(4)])
    raw = path.read_bytes()
    first = raw.index(b"\n") + 1
    end = first + round(cut * (len(raw) - first))
    path.write_bytes(raw[:end])

    again = PredictionFile(path, ASKED)
    kept = [one.sample for one in again.done]
    assert kept == [str(place) for place in range(raw[:end].count(b"\n") - 1)]
    again.add([replace(ONE, sample="new")])
    assert [one.sample for one in read_predictions(path)[1]] == [*kept, "new"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: does not say"),
        ("[]\n", "line 1: does not say"),
        ('{"asked": [1]}\n', "line 1: does not say"),
        ("[" * 100_000, "line 1: does not say"),
        ('{"asked": {}}\n{"sample": 1}\n', "line 2: is no prediction"),
        ('{"asked": {}}\nnonsense\n', "line 2: is no prediction"),
    ],
)
def test_damage_is_told_with_its_line(tmp_path: Path, text: str, words: str):
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(FormatError, match=words):
        read_predictions(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(FormatError, match="cannot be read"):
        read_predictions(tmp_path / "nothing.jsonl")


@pytest.mark.parametrize("begun", [b"", b'{"asked": {"mod'])
def test_a_file_whose_first_line_was_cut_off_is_begun_again(tmp_path: Path, begun: bytes):
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(begun)
    PredictionFile(path, ASKED).add([ONE])
    assert read_predictions(path) == (ASKED, [ONE])


@pytest.mark.parametrize(
    "change",
    [
        {"caption": None},
        {"references": [1]},
        {"score": "high"},
        {"seconds": float("nan")},
        {"variant": "best"},
        {"geometry": {}},
    ],
)
def test_a_prediction_with_a_wrong_value_is_told(tmp_path: Path, change: dict[str, object]):
    path = tmp_path / "bad.jsonl"
    values = {**asdict(ONE), **change}
    path.write_text(f'{{"asked": {{}}}}\n{json.dumps(values)}\n')
    with pytest.raises(FormatError, match="line 2: is no prediction"):
        read_predictions(path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(FormatError, match=r"cannot be written .*; name another folder by --out"):
        PredictionFile(tmp_path / "file" / "predictions.jsonl", ASKED)


def test_what_was_not_asked_is_no_difference(tmp_path: Path):
    path = tmp_path / "predictions.jsonl"
    PredictionFile(path, {**ASKED, "limit": None}).add([ONE])
    assert PredictionFile(path, ASKED).done == [ONE]
