"""Whatever is wrong with a file, it is told in a sentence that names the file."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated import IMAGES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_patchioner.annotations import (
    FORMATS,
    Annotation,
    Format,
    format_tidy_csv,
    write_annotations,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Ellipse, Mask, Polygon, RegionSet, Trace, WholeImage

RING = np.array([[1.0, 2], [3, 9], [9, 7]])
HOLED = np.ones((3, 3), bool)
HOLED[1, 1] = False
REGIONS = [
    Box(1, 2, 3, 4),
    Polygon(RING),
    Mask(HOLED, (1, 1)),
    WholeImage(),
    Trace(RING),
    RegionSet((Trace(RING), Trace(RING))),
    RegionSet((Box(1, 2, 3, 4), Ellipse(np.array([[0.0, 0], [0, 4], [2, 4], [2, 0]])))),
]
EXTRA = {"plane": "3", "class": "cat", "color": "#c80010", "locked": "true", "times": ""}
NAMES = ("coco", "coco-captions", "geojson", "visual-genome", "localized-narratives")
NAMES = (*NAMES, "labelme", "label-studio")
LARGE = st.sampled_from([2**31, 2**63, 10**30, -(10**30), 10**400, 1e308])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 9) | LARGE | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value within a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    nested = [(*path, key) for key, _ in inner] if isinstance(value, dict | list) else []
    found = list(nested)
    for place in nested:
        child = value[place[-1]]
        if isinstance(child, dict | list):
            found += _places(child, place)
    return found


def _broken(document: Any, place: tuple[Any, ...], junk: Any, drop: bool) -> Any:
    document = copy.deepcopy(document)
    target = document
    for key in place[:-1]:
        target = target[key]
    if drop:
        del target[place[-1]]
    else:
        target[place[-1]] = junk
    return document


@pytest.fixture(params=NAMES)
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Format, Path, list[Any]]:
    """Return a format, a path, and the lines of JSON of a file of that format."""
    form = FORMATS[request.param]
    path = tmp_path / f"bad{form.suffixes[0]}"
    before = [
        Annotation(f"u{n}", "cat.png", region, "a cat", 0.5, "model", "m", EXTRA)
        for n, region in enumerate(REGIONS)
    ]
    write_annotations(path, before, IMAGES, form.name)
    text = path.read_text(encoding="utf-8")
    lined = path.suffix == ".jsonl"
    return form, path, [json.loads(one) for one in (text.splitlines() if lined else [text])]


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_file_with_one_wrong_value_is_read_or_told(
    whole: tuple[Format, Path, list[Any]], data: st.DataObject
) -> None:
    form, path, document = whole
    place = data.draw(st.sampled_from(_places(document)).filter(lambda found: len(found) > 1))
    broken = _broken(document, place, data.draw(JUNK), data.draw(st.booleans()))
    path.write_text("\n".join(map(json.dumps, broken)), encoding="utf-8")
    found, told = _read(form, path)
    assert told is None or (told.startswith(path.name) and "\n" not in told and len(told) < 400)
    format_tidy_csv(found)  # what was read makes sense


def _read(form: Format, path: Path) -> tuple[list[Annotation], str | None]:
    try:
        return form.read(path), None
    except FormatError as error:
        return [], str(error)


def test_damaged_files_of_every_kind_are_read_or_refused_in_a_sentence() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-m", "benchmarks.fuzz_readers", "--files", "160", "--seed", "7"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "160 files: " in done.stdout
