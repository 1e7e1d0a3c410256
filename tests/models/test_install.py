"""Models from folders, mirrors and presets of one's own; nothing half-installed; removal."""

from __future__ import annotations

import json
import os
import shutil
from threading import Event, Thread

import numpy as np
import pytest
from huggingface_hub import hf_hub_download
from small_presets import BANK, CONFIG, VOCAB, WEIGHTS, contents, prepare, preset

from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.models import (
    add_model,
    available_models,
    get_model,
    load_model,
    remove_model,
)
from napari_patchioner.models.install import _handed_on, install, remove
from napari_patchioner.models.preset import PresetFile
from napari_patchioner.models.store import cache_folder, installed, locked, store_folder
from napari_patchioner.regions import WholeImage

VISION = "some/backbone"
FILES = contents()


@pytest.fixture
def folder(places):
    path = places / "stick"
    path.mkdir()
    return path


def fill(folder, layout):
    """Write the files of the small preset as a person may have copied them."""
    for repo, files in FILES.items():
        owner, name = repo.split("/")
        if layout == "cache":
            base = folder / f"models--{owner}--{name}" / "snapshots" / "abc"
        elif layout == "home":
            base = folder / "hub" / f"models--{owner}--{name}" / "snapshots" / "abc"
        else:
            base = folder / (f"{owner}--{name}" if layout == "dashes" else repo)
        for path, data in files.items():
            if layout == "flat" and path.startswith("old/"):
                continue
            place = folder / path.split("/")[-1] if layout == "flat" else base / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)


def get(wanted=None, **options):
    wanted = wanted or preset()
    install(wanted, prepare=prepare, **options)
    return installed(wanted)


def everything(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def leftovers():
    """Return the files in the store besides its lock."""
    files = [path for path in store_folder().rglob("*") if path.is_file()]
    return sorted(path.name for path in files if path.name != "_lock")


@pytest.mark.parametrize("layout", ["slashes", "dashes", "cache", "home", "flat"])
def test_a_folder_stands_for_the_hub(folder, layout):
    wanted = preset()
    if layout == "flat":
        # Two config.json would lie in one place, so nothing is taken from there.
        fill(folder, layout)
        several = preset(files={**wanted.files, "other": (PresetFile("some/decoder", CONFIG),)})
        with pytest.raises(ModelError, match=f"lacks {VISION}/{CONFIG}"):
            get(several, folder=folder)
        (folder / CONFIG).write_bytes(FILES[VISION][CONFIG])
    else:
        fill(folder, layout)
    get(wanted, folder=folder)
    shutil.rmtree(folder)
    files = installed(wanted)
    assert (files["vision"] / WEIGHTS).read_bytes() == FILES[VISION][WEIGHTS]
    assert (files["vision"] / CONFIG).read_bytes() == FILES[VISION][CONFIG]
    assert files["bank"].read_bytes() == FILES["some/decoder"][BANK][::-1]


def test_a_real_copied_cache_is_read_through_its_links(hub, folder, monkeypatch):
    hub.repos = FILES
    for repo, path in ((VISION, WEIGHTS), (VISION, CONFIG), ("some/decoder", BANK)):
        hf_hub_download(repo, path, endpoint=hub.url, cache_dir=folder)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    get(folder=folder)
    shutil.rmtree(folder)
    assert (installed(preset())["vision"] / WEIGHTS).read_bytes() == FILES[VISION][WEIGHTS]


def test_a_mirror_is_asked_before_the_network(hub, folder, monkeypatch):
    hub.repos = FILES
    fill(folder, "slashes")
    shutil.rmtree(folder / "some" / "decoder")
    monkeypatch.setenv("NAPARI_PATCHIONER_MIRROR", os.pathsep.join(["/nowhere", str(folder)]))
    get()
    assert len(hub.fetched()) == len(hub.fetched(BANK)) == 1


def test_a_folder_that_lacks_files_says_which(hub, folder):
    hub.repos = FILES
    fill(folder, "slashes")
    (folder / VISION / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=f"lacks {VISION}/{WEIGHTS};") as error:
        get(folder=folder)
    assert "\n" not in str(error.value)
    assert hub.requests == []
    with pytest.raises(ModelError, match="is no folder"):
        get(folder=folder / "none")


def test_files_that_are_on_no_hub_come_from_the_folder_and_the_rest_from_the_hub(hub, folder):
    hub.repos = FILES
    own = PresetFile("", "head.pth", where="on its author's page")
    wanted = preset(files={**preset().files, "head": (own,)})
    with pytest.raises(ModelError, match=r"on its author's page.*--from FOLDER"):
        get(wanted)
    (folder / "head.pth").write_bytes(b"head")
    assert get(wanted, folder=folder) is not None
    assert len(hub.fetched(WEIGHTS)) == 1


@pytest.mark.parametrize("known", ["size", "sha256"])
def test_a_swapped_file_in_a_folder_is_refused(folder, known):
    fill(folder, "slashes")
    told = {"size": 12} if known == "size" else {"sha256": "0" * 64}
    wanted = preset(files={"vision": (PresetFile(VISION, WEIGHTS, **told),)})
    before = everything(folder)
    with pytest.raises(ModelError, match=str(folder)) as error:
        get(wanted, folder=folder)
    assert "\n" not in str(error.value)
    assert everything(folder) == before
    assert installed(wanted) is None
    assert not list(store_folder().rglob("model.safetensors*"))


def test_a_copied_file_is_not_copied_for_a_second_model(folder):
    fill(folder, "slashes")
    get(folder=folder, keep=True)
    shutil.rmtree(folder)
    assert get(preset("second")) is not None


@pytest.mark.parametrize(
    "failure", [ModelError("no"), Cancelled(), OSError(28, "full"), KeyError()]
)
def test_a_failed_conversion_leaves_nothing(hub, failure):
    hub.repos = FILES

    def fails(wanted, raw, folder, progress):
        prepare(wanted, raw, folder, progress)
        raise failure

    kind = ModelError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(kind):
        install(preset(), prepare=fails)
    assert set(leftovers()) <= {WEIGHTS, CONFIG, BANK}
    hub.requests.clear()
    assert get() is not None
    assert hub.fetched() == []


def test_an_installed_model_is_left_alone(hub):
    hub.repos = FILES
    get()
    hub.requests.clear()
    install(preset(), prepare=None)
    assert hub.requests == []


@pytest.mark.parametrize("part", [WEIGHTS, "bank"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_model_is_mended(hub, part, damage):
    hub.repos = FILES
    files = get()
    path = files["bank"] if part == "bank" else files["vision"] / WEIGHTS
    if damage == "cut":
        path.write_bytes(b"short")
    else:
        path.unlink()
    assert installed(preset()) is None
    files = get()
    assert (files["vision"] / WEIGHTS).read_bytes() == FILES[VISION][WEIGHTS]
    assert files["bank"].read_bytes() == FILES["some/decoder"][BANK][::-1]


def test_a_preset_that_asks_for_other_files_now_is_got_again(hub):
    hub.repos = FILES
    get()
    changed = preset(files={**preset().files, "vocab": (PresetFile(VISION, VOCAB),)})
    assert installed(changed) is None
    assert get(changed) is not None


def test_a_second_window_waits_and_may_give_up(hub):
    hub.repos = FILES
    held, done = Event(), Event()

    def hold():
        with locked(lambda: None):
            held.set()
            done.wait(10)

    thread = Thread(target=hold)
    thread.start()
    held.wait(10)

    def progress(fraction, message):
        assert message == "waiting for another installation"
        raise Cancelled

    try:
        with pytest.raises(Cancelled):
            get(progress=progress)
        assert hub.requests == []
    finally:
        done.set()
        thread.join()
    assert get() is not None


def test_a_role_of_several_folders_keeps_their_order(places):
    vocab, config = PresetFile("a/b", "text/vocab.json"), PresetFile("a/b", "config.json")
    wanted = preset(files={"text": (vocab, config)})
    together = {("a/b", "text/vocab.json"): places / "x/text/vocab.json"}
    together["a/b", "config.json"] = places / "x/config.json"
    assert _handed_on(wanted, "text", together) == places / "x"
    apart = {**together, ("a/b", "config.json"): places / "y/config.json"}
    for path in apart.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    found = _handed_on(wanted, "text", apart)
    assert (found / "text/vocab.json").read_text() == "vocab.json"
    assert (found / "config.json").read_text() == "config.json"
    only = preset(files={"text": (vocab,)})
    assert _handed_on(only, "text", together) == places / "x/text/vocab.json"


def test_removing_frees_what_nobody_else_uses(hub):
    hub.repos = FILES
    other = preset("other", files={"vision": (PresetFile(VISION, WEIGHTS),)})
    get(keep=True)
    get(other)
    bank, weights = len(FILES["some/decoder"][BANK]), len(FILES[VISION][WEIGHTS])
    assert bank * 2 <= remove(preset()) < bank * 2 + 3000
    assert installed(preset()) is None
    assert installed(other)["vision"].read_bytes() == FILES[VISION][WEIGHTS]
    assert weights <= remove(other) < weights + 3000
    assert leftovers() == []


def test_removing_keeps_what_was_in_the_cache_before(hub):
    hub.repos = FILES
    path = hf_hub_download(VISION, WEIGHTS, endpoint=hub.url, cache_dir=cache_folder())
    get()
    remove(preset())
    with open(path, "rb") as file:
        assert file.read() == FILES[VISION][WEIGHTS]
    assert not list(cache_folder().rglob(BANK))


def test_a_model_that_reads_from_the_cache_loads_and_leaves_it_alone(hub):
    """Older versions downloaded into the hub's cache and named the files there in their records."""
    hub.repos = FILES
    for repo, files in FILES.items():
        for path in files:
            hf_hub_download(repo, path, endpoint=hub.url, cache_dir=cache_folder())
    files = get()
    assert files["vision"].is_relative_to(cache_folder())
    (store_folder() / "_ours.json").write_text(
        json.dumps([str(path) for path in cache_folder().rglob("*")])
    )
    before = everything(cache_folder())
    remove(preset())
    assert everything(cache_folder()) == before


def test_removing_takes_an_interrupted_download_too(hub):
    hub.repos = FILES
    hub.drops[WEIGHTS] = [100_000] + [0] * 9
    with pytest.raises(ModelError):
        get()
    assert remove(preset()) >= 100_000
    assert not list(store_folder().rglob("*.incomplete"))
    with pytest.raises(ModelError, match="not installed"):
        remove(preset())


def test_removing_keeps_the_folder_it_came_from(folder):
    fill(folder, "slashes")
    get(folder=folder)
    before = everything(folder)
    remove(preset())
    assert everything(folder) == before
    assert leftovers() == []


PRESET = """
id = "mine"
title = "my model"
note = "for tests"
licence = "MIT"
[backbone]
kind = "clip"
files = { clip = "clip" }
[bridge]
kind = "retrieve"
files = { bank = "bank" }
[decoder]
kind = "quote"
[files]
clip = { path = "weights" }
bank = { path = "bank" }
"""


@pytest.fixture
def own(places):
    """Write a model of a person's own that needs no hub."""
    from published import clip

    from napari_patchioner.bridges import MemoryBank

    folder = places / "own"
    clip.write(folder / "weights")
    rows = [[float(column == row) for column in range(24)] for row in range(3)]
    MemoryBank.build(folder / "bank", [(["a cat", "a dog", "a bird"], rows)])
    (folder / "preset.toml").write_text(PRESET)
    return folder


def test_a_model_of_ones_own_is_taken_in_and_thrown_out(own):
    preset = add_model(own)
    shutil.rmtree(own)
    [card] = [card for card in available_models() if card.id == "mine"]
    assert card.installed
    assert preset.title == card.title == "my model"
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    captioner = load_model("mine")
    [caption] = captioner.caption(captioner.encode(image), [WholeImage()])
    assert caption.text in ("a cat", "a dog", "a bird")
    assert remove_model("mine") > 1000
    assert "mine" not in [card.id for card in available_models()]
    assert leftovers() == []


@pytest.mark.parametrize("taken", ["mini", "clip-b16"])
def test_an_id_that_is_taken_is_refused(own, taken):
    (own / "preset.toml").write_text(PRESET.replace("mine", taken))
    with pytest.raises(ModelError, match=f"There is a model '{taken}' already"):
        add_model(own)
    assert not store_folder().exists()


def test_the_same_model_cannot_be_added_twice(own):
    add_model(own)
    with pytest.raises(ModelError, match="'mine' already"):
        add_model(own)
    assert load_model("mine").name == "mine"


@pytest.mark.parametrize("damage", ["no preset", "no bank", "no weights", "cut weights", "no TOML"])
def test_a_broken_model_of_ones_own_is_not_added(own, damage):
    if damage == "no TOML":
        (own / "preset.toml").write_text("id = ")
    elif damage == "cut weights":
        (own / "weights" / "model.safetensors").write_bytes(b"short")
    elif damage == "no preset":
        (own / "preset.toml").unlink()
    else:
        shutil.rmtree(own / damage.removeprefix("no "))
    with pytest.raises(ModelError) as error:
        add_model(own)
    assert "\n" not in str(error.value)
    assert "mine" not in [card.id for card in available_models()]
    assert not store_folder().exists() or leftovers() == []


def test_a_model_of_ones_own_may_need_the_hub(own, hub):
    hub.repos = FILES
    text = PRESET.replace('bank = { path = "bank" }', 'bank = { path = "bank" }\nx = EXTRA')
    extra = f'{{ repo = "{VISION}", path = "{CONFIG}" }}'
    (own / "preset.toml").write_text(text.replace("EXTRA", extra))
    add_model(own)
    assert hub.requests == []
    with pytest.raises(ModelError, match="'mine' is not installed; run 'napari-patchioner models"):
        load_model("mine")
    get_model("mine")
    assert load_model("mine").name == "mine"


def test_a_damaged_model_says_so_when_it_is_loaded(own):
    add_model(own)
    (store_folder() / "_presets" / "mine" / "weights" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"'mine' is damaged: .* is missing; to mend it"):
        load_model("mine")


@pytest.mark.parametrize("change", [get_model, remove_model])
def test_the_models_of_the_package_are_neither_got_nor_removed(places, change):
    with pytest.raises(ModelError, match="part of the package"):
        change("mini")
    with pytest.raises(ModelError, match="no model 'maxi'"):
        change("maxi")
