"""The presets that come with the package."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from napari_patchioner.errors import ModelError
from napari_patchioner.models.catalog import FOLDER, ORDER, presets
from napari_patchioner.models.embedded import HEADS
from napari_patchioner.models.parts import KINDS, part_kind
from napari_patchioner.models.prepare import MAKERS, SHIPPED
from napari_patchioner.texts import TextFile, unique_texts

RELEASED = tuple(f"talk2dino-b-{name}" for name in ("decap", "capdec", "viecap", "meacap"))
# What the four released models need and no more: each gigabyte counts for who downloads it.
NO_TEXT_TOWER = {"talk2dino-b-decap", "talk2dino-b-capdec", "talk2dino-b-meacap"}


def test_every_file_is_in_the_order_and_says_its_own_name():
    assert sorted(path.stem for path in FOLDER.glob("*.toml")) == sorted(ORDER)
    assert tuple(presets()) == ORDER
    assert all(preset.id == name for name, preset in presets().items())


def test_the_models_that_were_promised_are_there():
    kinds = {preset.backbone.kind for preset in presets().values()}
    # Those inside the package need no preset of their own.
    assert kinds == set(KINDS["backbone"]) - set(HEADS)
    assert set(RELEASED) < set(ORDER)
    repos = {repo for preset in presets().values() for repo in preset.repos}
    for name in ("decap", "capdec", "viecap", "meacap"):
        assert f"Ruggero1912/Patch-ioner_talk2dino_{name}_COCO_Captions" in repos
    assert {"lorebianchi98/Talk2DINO-ViTB", "lorebianchi98/Talk2DINO-ViTL"} < repos


@pytest.mark.parametrize("name", ORDER)
def test_a_person_is_told_what_matters(name):
    preset = presets()[name]
    assert preset.note.endswith(".")
    assert preset.licence
    assert preset.ram >= 1e9
    assert preset.size > 100e6
    assert all(
        file.bytes or file.path == "config.json" for f in preset.files.values() for file in f
    )
    if preset.elsewhere:
        assert "--from FOLDER" in preset.note
        assert all(file.where for files in preset.elsewhere.values() for file in files)


@pytest.mark.parametrize("name", ORDER)
def test_every_role_is_read_or_made_into_something(name):
    preset = presets()[name]
    read = {role for part in preset.parts.values() for role in part.files.values()}
    read |= {conversion.source for conversion in preset.conversions}
    assert set(preset.files) <= read


@pytest.mark.parametrize(("group", "name"), [(g, k) for g in KINDS for k in KINDS[g]])
def test_the_options_of_a_kind_are_those_its_part_has(group, name):
    kind = part_kind(group, name)
    module, _, target = kind.target.partition(":")
    opener = getattr(import_module(f"napari_patchioner.{module}"), target)
    # What `open` does not name it hands on to the class, and that to its bases.
    makers = [base.__init__ for base in opener.__mro__ if "__init__" in vars(base)]
    options = set()
    for function in (opener.open, *makers):
        parameters = inspect.signature(function).parameters.values()
        options |= {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    assert set(kind.options) == options


@pytest.mark.parametrize("name", ORDER)
def test_options_of_a_preset_are_those_its_parts_have(name):
    for group, part in presets()[name].parts.items():
        assert set(part.options) <= set(part_kind(group, part.kind).options)


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_models_vouch_for_the_projection_they_were_trained_behind(name):
    pytest.importorskip("torch")
    from napari_patchioner.backbones.talk2dino import KNOWN_PROJECTIONS

    preset = presets()[name]
    assert "before July 2025" in KNOWN_PROJECTIONS[preset.provenance["projection"]]
    assert ("text" in preset.files) == (name not in NO_TEXT_TOWER)


def test_kinds_that_do_not_exist_are_told():
    with pytest.raises(ModelError, match=r"no decoder 'gpt5'; choose one of: decap, viecap"):
        part_kind("decoder", "gpt5")


def test_every_kind_of_part_can_be_opened():
    for kinds in KINDS.values():
        for kind in kinds.values():
            module, _, name = kind.target.partition(":")
            assert callable(getattr(import_module(f"napari_patchioner.{module}"), name).open)


def test_reading_the_catalog_loads_nothing_heavy():
    code = (
        "import sys; from napari_patchioner.models.catalog import presets; presets();"
        "heavy = {'torch', 'transformers', 'h5py', 'qtpy', 'huggingface_hub'} & sys.modules.keys();"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_makers_are_what_presets_ask_for():
    asked = {made.make for preset in presets().values() for made in preset.conversions}
    assert asked == set(MAKERS) - {"clipcap"}, "clipcap is there for presets of one's own"


def test_the_sentences_are_five_thousand_different_ones():
    sentences = list(unique_texts([TextFile(SHIPPED)]))
    assert len(sentences) == len(set(sentences)) == 5000
    assert all(5 < len(sentence.split()) < 20 for sentence in sentences)
    assert SHIPPED.with_name("NOTICE.md").read_text(encoding="utf-8").count("CC BY 4.0")
