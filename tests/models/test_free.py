"""Published files that were converted are deleted, and only those."""

from __future__ import annotations

import os

import pytest
from huggingface_hub import hf_hub_download
from small_presets import BANK, WEIGHTS, contents, prepare, preset

from napari_patchioner.models.install import CONVERTED, files_of, forget_half_made, install, remove
from napari_patchioner.models.preset import PresetFile
from napari_patchioner.models.store import cache_folder, installed, read_record, store_folder

FILES = contents()
RAW = len(FILES["some/decoder"][BANK])


def get(wanted=None, **options):
    return install(wanted or preset(), prepare=prepare, **options)


def contents_of(folder):
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def stick(places):
    """Write a folder as a person copies it."""
    for repo, files in FILES.items():
        for path, data in files.items():
            (places / "stick" / repo / path).parent.mkdir(parents=True, exist_ok=True)
            (places / "stick" / repo / path).write_bytes(data)
    return places / "stick"


def test_a_converted_download_is_freed_and_the_model_stays_whole(hub):
    hub.repos = FILES
    assert get() == RAW
    files = installed(preset())
    assert files["bank"].read_bytes() == FILES["some/decoder"][BANK][::-1]
    assert (files["vision"] / WEIGHTS).read_bytes() == FILES["some/backbone"][WEIGHTS]
    assert FILES["some/decoder"][BANK] not in contents_of(store_folder())
    hub.requests.clear()
    assert get() == 0
    assert hub.requests == []


def test_it_is_kept_if_a_person_says_so(hub):
    hub.repos = FILES
    assert get(keep=True) == 0
    assert FILES["some/decoder"][BANK] in contents_of(store_folder())
    assert remove(preset()) >= 2 * RAW


def test_it_is_got_again_to_mend_the_model(hub):
    hub.repos = FILES
    get()
    installed(preset())["bank"].unlink()
    hub.requests.clear()
    assert get() == RAW
    assert len(hub.fetched()) == len(hub.fetched(BANK)) == 1
    assert installed(preset()) is not None


def test_a_copy_from_a_folder_is_freed_and_the_folder_stays(stick, monkeypatch):
    monkeypatch.setattr(os, "link", _refuse)
    assert get(folder=stick) == RAW
    assert FILES["some/decoder"][BANK] not in contents_of(store_folder())
    assert FILES["some/decoder"][BANK] in contents_of(stick)


def test_what_lay_in_the_cache_before_stays(hub):
    hub.repos = FILES
    path = hf_hub_download("some/decoder", BANK, endpoint=hub.url, cache_dir=cache_folder())
    assert get() == 0
    with open(path, "rb") as file:
        assert file.read() == FILES["some/decoder"][BANK]


def test_what_another_model_reads_stays(hub):
    hub.repos = FILES
    reads = preset("reads", files={"bank": (PresetFile("some/decoder", "bank-*.h5"),)})
    assert get(reads) == 0
    assert get() == 0
    assert installed(reads)["bank"].read_bytes() == FILES["some/decoder"][BANK]


def test_what_is_on_no_hub_cannot_be_got_again_and_stays(places):
    (places / "given").mkdir()
    (places / "given" / "rare.h5").write_bytes(b"rare")
    rare = preset(files={"published": (PresetFile("", "rare.h5", where="in a drawer"),)})
    assert get(rare, folder=places / "given") == 0
    assert b"rare" in contents_of(store_folder() / "_files")


def test_nothing_is_freed_for_a_model_that_was_not_made(hub):
    hub.repos = FILES

    def fails(*_):
        raise KeyError

    with pytest.raises(KeyError):
        install(preset(), prepare=fails)
    assert FILES["some/decoder"][BANK] in contents_of(store_folder())


def test_files_of_a_role_that_were_put_together_to_be_converted_are_freed_too(hub):
    hub.repos = FILES
    spread = preset(
        files={
            "published": (
                PresetFile("some/decoder", "bank-*.h5"),
                PresetFile("some/backbone", WEIGHTS),
            )
        }
    )

    def convert(wanted, raw, folder, progress):
        assert sorted(path.name for path in raw["published"].iterdir()) == [BANK, WEIGHTS]
        folder.mkdir()
        (folder / "bank").write_bytes(b"made")
        return {**raw, "bank": folder / "bank"}

    assert install(spread, prepare=convert) == RAW + len(FILES["some/backbone"][WEIGHTS])
    assert installed(spread)["bank"].read_bytes() == b"made"
    assert list(read_record("small").made) == ["small/bank"]
    assert not any((store_folder() / "_roles").rglob(BANK))


def test_a_person_is_told_that_it_was_converted(hub, monkeypatch):
    hub.repos = FILES
    monkeypatch.setattr("napari_patchioner.models.catalog.presets", lambda: {"small": preset()})
    before = {name: where for _, name, _, _, where in files_of("small")}
    assert set(before.values()) == {""}
    get()
    told = {name: (place, where) for _, name, _, place, where in files_of("small")}
    assert told["some/decoder/bank-*.h5"] == (None, CONVERTED)
    assert told[f"some/backbone/{WEIGHTS}"][0].exists()


def test_what_a_killed_process_left_is_cleared_away(hub):
    hub.repos = FILES
    for name in (".small-abcd1234", ".small-abcd1234-older", ".small-two-abcd1234"):
        (store_folder() / name).mkdir(parents=True)
    get()
    assert [path.name for path in store_folder().glob(".small*")] == [".small-two-abcd1234"]
    forget_half_made("small-two")
    assert not list(store_folder().glob(".small*"))


def _refuse(*_):
    raise OSError("other disk")
