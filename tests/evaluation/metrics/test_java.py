"""METEOR and SPICE where what they need is there, and what is said where it is not."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

from napari_patchioner.errors import ModelError
from napari_patchioner.evaluation.metrics.java import PARSER, JavaMeteor, JavaSpice


@pytest.mark.parametrize("tool", [JavaMeteor, JavaSpice])
def test_without_java_the_sentence_says_what_to_install(tool, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ModelError, match=r"needs Java, which is not there; install a Java"):
        tool()


@pytest.mark.parametrize("tool", [JavaMeteor, JavaSpice])
def test_without_the_package_the_sentence_says_how_to_get_it(tool, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/java")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install pycocoevalcap"):
        tool()


def test_without_its_parser_spice_downloads_nothing(tmp_path, monkeypatch):
    class Spec:
        origin = None  # as of a package without a file of its own, which pycocoevalcap is
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/java")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: Spec())
    with pytest.raises(ModelError, match="get_stanford_models"):
        JavaSpice()
    parser = tmp_path / "spice" / "lib" / PARSER
    parser.parent.mkdir(parents=True)
    parser.touch()
    JavaSpice()


@pytest.fixture
def meteor() -> JavaMeteor:
    """Skips where Java or the package with the jar is not there."""
    try:
        return JavaMeteor()
    except ModelError as error:
        pytest.skip(str(error))


# What it answers is compared in tests/conformance: its start takes longer than all else here.
def test_a_process_that_ended_is_told(meteor):
    assert meteor.score([], []).items.size == 0
    meteor._meteor.meteor_p.kill()
    meteor._meteor.meteor_p.wait()
    with pytest.raises(ModelError, match="ended early"):
        meteor.score(["a dog"], [["a dog"]])
