"""The format and the decoder that CONTRIBUTING.md writes out work as they stand."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from annotated import IMAGES, annotations, told
from hypothesis import HealthCheck, given, settings

from napari_patchioner.annotations import FORMATS, read_annotations, write_annotations
from napari_patchioner.decoders import Evidence

GUIDE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
PLACES = ("annotations.formats.pairs", "decoders.loud")
CODE = dict(zip(PLACES, re.findall("```python\n(.*?)```", GUIDE, re.DOTALL), strict=True))


def module(place: str, folder: Path):
    path = folder / "sample.py"
    path.write_text(CODE[place])
    spec = importlib.util.spec_from_file_location(f"napari_patchioner.{place}", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("place", PLACES)
def test_its_name_is_the_guides(place):
    assert f"`{'/'.join(place.split('.'))}.py`, whole:" in GUIDE


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(before=annotations())
def test_what_the_format_writes_comes_back_or_is_named(tmp_path, monkeypatch, before):
    pairs = module("annotations.formats.pairs", tmp_path).FORMAT
    monkeypatch.setitem(FORMATS, "pairs", pairs)
    path = tmp_path / "a.pairs"
    left_out = write_annotations(path, before, IMAGES, "pairs")
    assert left_out == tuple(item for item in before if item.kind != "point")
    after = {(item.image, item.uid): told(item) for item in read_annotations(path)}
    assert after == {(item.image, item.uid): told(item) for item in before if item.kind == "point"}
    if after:
        path.write_text(path.read_text() + '{"y": NaN, "x": 1}\n[]\n')
        assert len(read_annotations(path)) == len(after)


def test_the_decoder_speaks_in_capitals(tmp_path):
    loud = module("decoders.loud", tmp_path).LoudDecoder.open({}, mark="!!")
    [caption] = loud.decode(np.ones((1, 4), np.float32), evidence=[Evidence(text="a cat")])
    assert caption.text == "A CAT!!"
