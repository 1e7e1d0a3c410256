"""What a hub, a store or a folder of somebody else's may hold: refused in a sentence."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from small_presets import WEIGHTS, contents, prepare, preset

from napari_patchioner.errors import ModelError
from napari_patchioner.models.catalog import parse_preset
from napari_patchioner.models.hub import is_safe
from napari_patchioner.models.install import add_model, install, remove
from napari_patchioner.models.parts import open_part
from napari_patchioner.models.preset import Part, PresetFile
from napari_patchioner.models.store import installed, store_folder

VISION = "some/backbone"


@pytest.fixture
def holding(hub):
    hub.repos = contents()
    return hub


def sentence(work):
    with pytest.raises(ModelError) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def sibling(**changed):
    """Return what changes all that is told of the weights."""

    def lie(told):
        for one in told["siblings"]:
            if one["rfilename"] == WEIGHTS:
                one.update(changed)
        return told

    return lie


@pytest.mark.parametrize(
    "lie",
    [
        *(sibling(size=size) for size in (-1, "12", 2**70, 1.5, True, [1], {"a": 1})),
        *(
            sibling(lfs={"sha256": odd, "size": 3, "pointerSize": 1})
            for odd in ("../../x", 7, "a/b")
        ),
        *(sibling(lfs=odd) for odd in ("x", [1], {"size": 3})),
        *(sibling(blobId=odd, lfs=None) for odd in ("../x", "/etc/passwd", "nul", 5, "a" * 300)),
        *((lambda told, odd=odd: told | {"sha": odd}) for odd in ("../..", "", 5, "a\\b")),
        *((lambda told, odd=odd: told | {"siblings": odd}) for odd in ([1], "x", {"a": 1}, [{}])),
        lambda told: [],
        lambda told: "no hub",
        lambda told: None,
    ],
)
def test_odd_answers_are_refused_and_nothing_is_written(holding, tmp_path, lie):
    holding.lie = lie
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    told = sentence(lambda: install(preset(), prepare=prepare))
    assert len(told) < 1000
    assert holding.fetched() == []
    left = {path for path in tmp_path.rglob("*") if path.is_file()} - set(before)
    assert {path.name for path in left} <= {"_lock"}


@pytest.mark.parametrize("name", ["bank-../../x.h5", "bank-/x.h5", "bank-\\x.h5", "bank-\0.h5"])
def test_a_glob_never_takes_a_name_that_leaves_its_folder(holding, name):
    def lie(told):
        for one in told["siblings"]:
            if one["rfilename"].startswith("bank"):
                one["rfilename"] = name
        return told

    holding.lie = lie
    sentence(lambda: install(preset(), prepare=prepare))
    assert is_safe(name) == (name == "bank-/x.h5")  # which is no name of this glob


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "//", "gopher:x"])
def test_a_file_is_not_taken_from_other_than_the_web(holding, address):
    holding.handed_to = address
    sentence(lambda: install(preset(), prepare=prepare))
    brought = (store_folder() / "_files").rglob("*")
    assert all(not path.stat().st_size for path in brought if path.is_file())


def test_what_is_sent_beyond_the_stated_size_is_not_taken(holding):
    holding.endless = True
    install(preset(), prepare=prepare)
    assert (
        installed(preset())["vision"].joinpath(WEIGHTS).read_bytes()
        == holding.repos[VISION][WEIGHTS]
    )


def test_two_programs_never_write_one_download(holding):
    """The store is locked for as long as a model is got; whoever waited finds it there."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: install(preset(), prepare=prepare), range(2)))
    assert len(holding.fetched(WEIGHTS)) == 1
    assert not list(store_folder().rglob("*.incomplete"))


def test_removing_follows_no_link_out_of_the_store(holding, tmp_path):
    install(preset(), prepare=prepare)
    precious = tmp_path / "precious"
    (precious / "small").mkdir(parents=True)
    (precious / "small" / "thesis.txt").write_text("mine")
    made = store_folder() / "small"
    made.rename(tmp_path / "moved")
    made.symlink_to(precious / "small")
    (store_folder() / "_roles").symlink_to(precious)
    record = json.loads((tmp_path / "moved" / "installed.json").read_text())
    record["files"][0]["at"] = str(precious / "small" / "thesis.txt")
    (precious / "small" / "installed.json").write_text(json.dumps(record))
    remove(preset())
    assert (precious / "small" / "thesis.txt").read_text() == "mine"
    assert not made.exists()


OWN = """id = "mine"
title = "t"
note = "n"
licence = "l"
backbone = {{ kind = "clip", files = {{ clip = "clip" }} }}
bridge = {{ kind = "normalize" }}
decoder = {{ kind = "quote" }}
[files]
clip = {{ path = "{path}" }}
"""


@pytest.mark.skipif(os.name == "nt", reason="links and pipes differ there")
@pytest.mark.parametrize("odd", ["itself", "loop", "pipe", "device", "deep", "many"])
def test_a_folder_with_what_cannot_be_copied_is_not_added(holding, tmp_path, monkeypatch, odd):
    monkeypatch.setattr("napari_patchioner.models.install._MOST_FILES", 5)
    folder = tmp_path / "own"
    (folder / "w").mkdir(parents=True)
    (folder / "w" / "a.bin").write_bytes(b"a")
    path = "w"
    if odd == "itself":
        (folder / "me").symlink_to(folder)
        path = "me"
    elif odd == "loop":
        (folder / "w" / "up").symlink_to("..")
    elif odd == "pipe":
        os.mkfifo(folder / "w" / "pipe")
    elif odd == "device":
        (folder / "w" / "zero").symlink_to("/dev/zero")
    elif odd == "deep":
        (folder / "w" / "round").symlink_to("round")
    else:
        for number in range(9):
            (folder / "w" / str(number)).touch()
    (folder / "preset.toml").write_text(OWN.format(path=path))
    sentence(lambda: add_model(folder))
    assert not (store_folder() / "_presets" / "mine").exists()


@pytest.mark.parametrize("value", [0, -1, 10**9, 10**5000, True, "8", 1.5, [1]], ids=lambda _: "")
def test_an_option_of_a_part_has_a_sane_value(value):
    told = sentence(lambda: open_part("backbone", Part("clip", {}, {"size": value}), {}))
    assert "'size'" in told
    assert len(told) < 300


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0, 1e300, "x", True])
def test_an_option_with_a_fraction_has_a_sane_value(value):
    sentence(lambda: open_part("bridge", Part("memory", {}, {"temperature": value}), {}))


@pytest.mark.parametrize(
    "options", ["variance = 0", "variance = nan", "variance = -inf", "max_tokens = 0",
                "max_tokens = 100000000", "pooling = 3", "max_tokens = true"]
)  # fmt: skip
def test_an_option_of_the_captioner_has_a_sane_value(options):
    text = OWN.format(path="w") + f"[options]\n{options}\n"
    sentence(lambda: parse_preset(text, source="preset.toml", home=store_folder()))


def test_what_a_part_makes_of_strange_files_is_a_sentence(tmp_path, monkeypatch):
    def broken(files, **options):
        raise ZeroDivisionError("patch_size")

    monkeypatch.setattr("napari_patchioner.bridges.NormalizeBridge.open", broken)
    assert "ZeroDivisionError: patch_size" in sentence(
        lambda: open_part("bridge", Part("normalize", {}, {}), {})
    )


def test_a_preset_file_is_plain(tmp_path):
    os.mkfifo(tmp_path / "preset.toml")
    assert "pipe" in sentence(lambda: add_model(tmp_path))


def test_a_size_no_disk_has_is_told_before_anything_comes(holding):
    wanted = preset()
    files = {**wanted.files, "vision": (PresetFile(VISION, WEIGHTS),)}
    holding.lie = sibling(size=2**39)
    told = sentence(lambda: install(preset(files=files), prepare=prepare))
    assert "are needed on the disk" in told
    assert holding.fetched() == []
