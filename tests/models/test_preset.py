"""A preset is read strictly: what is not understood is refused in one sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_patchioner.errors import ModelError
from napari_patchioner.models.catalog import ORDER, parse_preset, preset_text, presets, read_preset
from napari_patchioner.models.preset import Conversion, Part, Preset, PresetFile

MINIMAL = """
id = "mine"
title = "My model"
note = "For my own pictures."
licence = "MIT"
row = "none"
ram = 1_000

[options]
whole = "cls"
variance = 0.5

[backbone]
kind = "clip"
files = { clip = "clip" }
options = { size = 224 }

[bridge]
kind = "retrieve"
files = { bank = "bank" }

[decoder]
kind = "quote"

[files]
clip = [
    { repo = "openai/clip-vit-base-patch16", path = "config.json", size = 10 },
    { repo = "openai/clip-vit-base-patch16", path = "weights/*.bin", about = 600 },
]
own = { path = "sentences.txt", where = "in a drawer" }

[prepare]
bank = { make = "sentences", source = "own", options = { dtype = "float32" } }
"""


def changed(old: str, new: str) -> str:
    assert old in MINIMAL, "the test is out of date"
    return MINIMAL.replace(old, new)


def complaint(text: str, **options: object) -> str:
    with pytest.raises(ModelError) as caught:
        parse_preset(text, source="mine.toml", **options)
    message = str(caught.value)
    assert message.startswith("mine.toml")
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_everything_it_says_is_read():
    preset = parse_preset(MINIMAL, source="mine.toml")
    assert (preset.id, preset.title, preset.licence) == ("mine", "My model", "MIT")
    assert (preset.note, preset.row, preset.ram) == ("For my own pictures.", "none", 1000)
    assert preset.options == {"whole": "cls", "variance": 0.5}
    assert preset.backbone.kind == "clip"
    assert preset.backbone.files == {"clip": "clip"}
    assert preset.backbone.options == {"size": 224}
    assert preset.decoder.files == {}
    assert preset.files["own"] == (PresetFile("", "sentences.txt", where="in a drawer"),)
    assert preset.files["clip"][1].path == "weights/*.bin"
    assert preset.conversions == (Conversion("bank", "sentences", "own", {"dtype": "float32"}),)
    assert preset.home is None


def test_its_size_counts_what_is_known_and_each_file_once():
    preset = parse_preset(MINIMAL, source="mine.toml")
    assert preset.size == 610
    again = "{ repo = 'openai/clip-vit-base-patch16', path = 'config.json', size = 10 }"
    twice = changed("own = {", f"again = {again}\nown = {{")
    assert parse_preset(twice, source="mine.toml").size == 610
    assert preset.repos == ("openai/clip-vit-base-patch16",)


def test_files_of_no_hub_have_to_be_brought_along():
    assert list(parse_preset(MINIMAL, source="mine.toml").elsewhere) == ["own"]


def test_beside_a_preset_of_ones_own_files_need_no_repository(tmp_path):
    text = changed(', where = "in a drawer"', "")
    (tmp_path / "preset.toml").write_text(text, encoding="utf-8")
    preset = read_preset(tmp_path)
    assert preset.home == tmp_path
    assert preset.elsewhere == {}
    assert "say where a person finds them" in complaint(text)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('id = "mine"', 'id = "My Model"', "lower-case letters, digits and dashes"),
        ('id = "mine"', 'id = "../mine"', "lower-case letters, digits and dashes"),
        ('id = "mine"', 'id = "con"', "no name that Windows keeps"),
        ('id = "mine"', f'id = "{"x" * 65}"', "at most 64"),
        ('title = "My model"', r'title = "a\u001b[2Jb"', "title of the preset must be one line"),
        ('title = "My model"', r'title = "a\nb"', "title of the preset must be one line"),
        ('path = "config.json"', r'path = "a\u0000"', "must be one line of plain text"),
        ("ram = 1_000", f"ram = {'9' * 5000}", "is not TOML"),
        ("ram = 1_000", f"ram = {'[' * 5000}", "is not TOML"),
        ('title = "My model"', "", 'needs title = "some text"'),
        ('title = "My model"', "title = 3", 'needs title = "some text"'),
        ('licence = "MIT"', 'license = "MIT"', "must not have 'license'; it takes:"),
        ("ram = 1_000", "ram = -1", "ram of the preset must be a number of bytes, not -1"),
        ("ram = 1_000", 'ram = "1 GB"', "ram of the preset must be a number of bytes"),
        ("ram = 1_000", "ram = true", "ram of the preset must be a number of bytes"),
        ('kind = "clip"', 'kind = "clop"', "no backbone 'clop'; choose one of: talk2dino"),
        ('kind = "retrieve"', 'kind = "quote"', "no bridge 'quote'; choose one of: memory"),
        ('kind = "quote"', "", '[decoder] needs kind = "some text"'),
        ("[decoder]", "[decodar]", "must not have 'decodar'"),
        ("files = { clip = ", "files = { folder = ", "files of the backbone 'clip' must not have"),
        ("files = { bank = ", "# ", "bridge 'retrieve' needs files 'bank'"),
        ('{ bank = "bank" }', '{ bank = "memory" }', "from 'memory', which neither [files] nor"),
        ('whole = "cls"', 'whole = "middle"', "whole must be one of mean, gaussian"),
        ('whole = "cls"', "beams = 3", "[options] must not have 'beams'"),
        ("variance = 0.5", 'variance = "wide"', "variance must be a number"),
        ("variance = 0.5", "variance = true", "variance must be a number"),
        ("variance = 0.5", "max_tokens = true", "max_tokens must be a whole number"),
        ("variance = 0.5", "max_tokens = 0", "max_tokens must be a whole number"),
        ('path = "config.json"', 'path = ""', 'needs path = "some text"'),
        ('path = "config.json"', 'path = "../config.json"', "give a path inside the folder"),
        ('path = "config.json"', 'path = "/etc/passwd"', "give a path inside the folder"),
        ('path = "config.json"', "path = 'C:\\\\config.json'", "give a path inside the folder"),
        ('path = "config.json"', "path = 'sub\\\\config.json'", "give a path inside the folder"),
        ('path = "config.json"', 'path = "."', "give a path inside the folder"),
        ('"openai/clip-vit-base-patch16", path = "c', '"clip", path = "c', "write owner/name"),
        ('"openai/clip-vit-base-patch16", path = "c', '"a/b/c", path = "c', "write owner/name"),
        ('"openai/clip-vit-base-patch16", path = "c', '"../..", path = "c', "write owner/name"),
        ("size = 10", "sise = 10", "files 'clip' must not have 'sise'"),
        ("size = 10", "size = 1.5", "size of the files 'clip' must be a number of bytes"),
        ("size = 10", 'sha256 = "abc"', "not 64 hexadecimal digits"),
        ("own = { path", 'own = "here"\nother = { path', "files 'own' must be tables"),
        ("own = {", "empty = []\nown = {", "files 'empty' must be tables"),
        ('make = "sentences"', 'make = "magic"', "made by 'magic'; choose one of: decap"),
        ('source = "own"', 'source = "mine"', "made from 'mine', which [files] does not have"),
        ('make = "sentences", source = "own"', 'make = "decap"', "needs the role of the file"),
        ("bank = { make", 'own = "x"\nbank = { make', "[prepare] 'own' must be a table"),
        ("bank = { make", 'clip = { make = "sentences" }\nbank = { make', "in both [files] and"),
        ("dtype", "colour", "must not have 'colour'; it takes: dtype"),
        ("[files]", '[provenance]\nprojection = "abc"\n[files]', "must be 64 hexadecimal digits"),
        ("[files]", '[provenance]\ntext = "abc"\n[files]', "must not have 'text'"),
        ("[files]", "[files", "is not TOML"),
    ],
)
def test_what_is_not_understood_is_refused(old, new, words):
    assert words in complaint(changed(old, new))


def test_a_preset_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match=r"preset\.toml cannot be read"):
        read_preset(tmp_path)
    (tmp_path / "preset.toml").write_bytes(b"\xff\xfe id")
    with pytest.raises(ModelError, match=r"preset\.toml is not text in UTF-8; save it"):
        read_preset(tmp_path)
    (tmp_path / "preset.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(ModelError, match=r"preset\.toml is too large"):
        read_preset(tmp_path)


def test_the_mark_that_windows_editors_write_first_is_no_part_of_it(tmp_path):
    (tmp_path / "preset.toml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert read_preset(tmp_path).id == "mine"


@pytest.mark.parametrize("name", ORDER)
def test_what_is_written_is_read_again(name, tmp_path):
    preset = presets()[name]
    assert parse_preset(preset_text(preset), source="here") == preset


def test_odd_values_are_written_and_read_again(tmp_path):
    preset = Preset(
        "odd",
        title='a "quoted" \\ title, µ',
        note="a note",
        licence="MIT",
        backbone=Part("maskclip", {"clip": "a role"}, {"size": 448, "residual": False}),
        bridge=Part("retrieve", {"bank": "bank"}, {"neighbours": 0}),
        decoder=Part("quote"),
        files={"a role": (PresetFile("", "my files", where=""),)},
        conversions=(Conversion("bank", "sentences", options={"dtype": "float32"}),),
        options={"variance": 0.25, "max_tokens": 7},
    )
    again = parse_preset(preset_text(preset), source="here", home=tmp_path)
    assert again == replace(preset, home=tmp_path)
