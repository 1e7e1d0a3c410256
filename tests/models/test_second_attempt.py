"""What went wrong once must not stay wrong: bad copies, bad folders, other models' files."""

from __future__ import annotations

import os
import shutil

import pytest
from small_presets import BANK, CONFIG, WEIGHTS, contents, prepare, preset

from napari_patchioner.errors import ModelError
from napari_patchioner.models import add_model, available_models, load_model
from napari_patchioner.models.install import install, known_presets
from napari_patchioner.models.preset import PresetFile
from napari_patchioner.models.store import PRESETS, installed, store_folder

FILES = contents()
GOOD, BAD = FILES["some/decoder"][BANK], contents(seed=1)["some/decoder"][BANK]


def write(folder, bank=GOOD, name=BANK):
    """Write a folder as a person copies it."""
    for repo, files in FILES.items():
        for path, data in files.items():
            place = folder / repo / (name if path == BANK else path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(bank if path == BANK else data)
    return folder


def picky(wanted, raw, folder, progress):
    """Make a model of the good bank only."""
    if raw["published"].read_bytes() != GOOD:
        raise ModelError(f"{raw['published']} is damaged; get it again.")
    return prepare(wanted, raw, folder, progress)


@pytest.fixture(params=["copied", "linked"])
def bad(places, monkeypatch, request):
    """Fail once with a folder that holds a bad file."""
    if request.param == "copied":
        monkeypatch.setattr(os, "link", _refuse)
    folder = write(places / "bad stick", BAD)
    with pytest.raises(ModelError) as error:
        install(preset(), prepare=picky, folder=folder)
    assert str(error.value) == f"{folder / 'some/decoder' / BANK} is damaged; get it again."
    return folder


def test_a_bad_copy_does_not_stay(bad):
    assert not [path for path in (store_folder() / "_files").rglob("*") if path.is_file()]
    assert (bad / "some/decoder" / BANK).read_bytes() == BAD


def test_the_same_folder_is_read_anew(bad):
    write(bad)
    install(preset(), prepare=picky, folder=bad)
    assert installed(preset()) is not None


def test_a_folder_that_is_told_is_the_persons_own(places):
    def fails(wanted, raw, *_):
        raise ModelError(f"The files in {raw['vision']} do not fit.")

    folder = write(places / "stick")
    with pytest.raises(ModelError) as error:
        install(preset(), prepare=fails, folder=folder)
    assert str(error.value) == f"The files in {folder / 'some/backbone'} do not fit."


def test_what_an_interrupted_attempt_copied_gives_way_to_the_folder(places):
    def stops(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(preset(), prepare=stops, folder=write(places / "bad", BAD, "bank-1.h5"))
    assert [path.read_bytes() for path in store_folder().rglob("bank-1.h5")] == [BAD]
    install(preset(), prepare=picky, folder=write(places / "good"), keep=True)
    assert installed(preset()) is not None
    assert not list(store_folder().rglob("bank-1.h5"))


def test_a_bad_mirror_that_was_mended_is_read_anew(places, monkeypatch):
    monkeypatch.setenv("NAPARI_PATCHIONER_MIRROR", str(write(places / "mirror", BAD)))
    with pytest.raises(ModelError):
        install(preset(), prepare=picky)
    write(places / "mirror")
    install(preset(), prepare=picky)
    assert installed(preset()) is not None


def test_a_file_that_another_model_reads_is_not_replaced(places):
    other = preset("other", files={"vision": (PresetFile("some/backbone", WEIGHTS),)})
    install(other, prepare=prepare, folder=write(places / "good"))
    stick = write(places / "stick", BAD)
    (stick / "some/backbone" / WEIGHTS).write_bytes(b"other weights")
    with pytest.raises(ModelError):
        install(preset(), prepare=picky, folder=stick)
    read = FILES["some/backbone"][WEIGHTS]
    assert installed(other)["vision"].read_bytes() == read
    assert not list((store_folder() / "_files").rglob(CONFIG))
    install(preset(), prepare=picky, folder=write(places / "good"))
    assert (installed(preset())["vision"] / WEIGHTS).read_bytes() == read


def test_a_damaged_model_is_mended_from_a_folder(places):
    stick = write(places / "stick")
    install(preset(), prepare=prepare, folder=stick)
    weights = installed(preset())["vision"] / WEIGHTS
    weights.unlink()
    weights.write_bytes(b"short")
    install(preset(), prepare=prepare, folder=stick)
    assert (installed(preset())["vision"] / WEIGHTS).read_bytes() == FILES["some/backbone"][WEIGHTS]


def test_the_wrong_one_of_two_files_is_told_where_the_right_one_is(places):
    (places / "x.pth").write_bytes(b"the new one")
    wanted = preset(
        files={"psi": (PresetFile("", "x.pth", sha256="0" * 64, where="in the old place"),)}
    )
    with pytest.raises(
        ModelError, match=r"nothing was installed: take the one in the old place\.$"
    ):
        install(wanted, prepare=prepare, folder=places)


@pytest.mark.parametrize("count", [1, 2])
def test_missing_files_are_told_in_whole_words(places, monkeypatch, count):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    files = tuple(PresetFile("a/b", name) for name in ("one", "two")[:count])
    verb = "a/b/one is not" if count == 1 else "a/b/one and 1 more are not"
    with pytest.raises(ModelError, match=verb):
        install(preset(files={"vision": files}), prepare=prepare)


TEXT = """
id = "mine"
title = "my model"
note = "for tests"
licence = "MIT"
[backbone]
kind = "clip"
files = { clip = "clip" }
[bridge]
kind = "normalize"
[decoder]
kind = "quote"
[files]
clip = [{ repo = "a/b", path = "config.json" }]
extra = { path = "extra" }
"""


@pytest.fixture
def own(places):
    """Write a model of a person's own, with a folder beside it."""
    (places / "own" / "extra").mkdir(parents=True)
    (places / "own" / "preset.toml").write_text(TEXT)
    (places / "own" / "extra" / "notes.txt").write_text("hello")
    return places / "own"


def test_the_preset_may_be_named_instead_of_its_folder(own):
    assert add_model(own / "preset.toml").id == "mine"


def test_a_model_that_cannot_be_read_any_more_gives_way(own):
    home = store_folder() / PRESETS / "mine"
    home.mkdir(parents=True)
    (home / "preset.toml").write_text("id = [[[")
    assert "mine" not in [card.id for card in available_models()]
    add_model(own)
    assert "mine" in [card.id for card in available_models()]


def test_a_second_window_that_is_quicker_keeps_its_model(own, places, monkeypatch):
    quicker = shutil.copytree(own, places / "quicker")
    (quicker / "extra" / "notes.txt").write_text("first")
    known = known_presets

    def late():
        monkeypatch.setattr("napari_patchioner.models.install.known_presets", known)
        add_model(quicker)
        return {}

    monkeypatch.setattr("napari_patchioner.models.install.known_presets", late)
    with pytest.raises(ModelError, match="'mine' already"):
        add_model(own)
    assert (store_folder() / PRESETS / "mine" / "extra" / "notes.txt").read_text() == "first"


def test_a_folder_that_cannot_be_copied_is_one_sentence(own):
    (own / "extra" / "gone").symlink_to(own / "nowhere")
    with pytest.raises(ModelError, match=r"extra/gone: cannot be read \(No such file"):
        add_model(own)
    assert not (store_folder() / PRESETS / "mine").exists()


def test_a_hopeless_preset_in_the_store_does_not_hide_the_others(own):
    home = store_folder() / PRESETS / "deep"
    home.mkdir(parents=True)
    (home / "preset.toml").write_text("a = " + "[" * 5000)
    add_model(own)
    assert "mine" in [card.id for card in available_models()]
    assert load_model("mini").name == "mini"


def _refuse(*_):
    raise OSError("other disk")
