"""The record of a model, and what a person is told of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_presets import CONFIG, WEIGHTS, preset

from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.models import available_models, load_model
from napari_patchioner.models.hub import Meter, patiently
from napari_patchioner.models.install import bytes_to_get, preset_card
from napari_patchioner.models.preset import PresetFile, size_text
from napari_patchioner.models.store import (
    FORMAT,
    Kept,
    Record,
    cache_folder,
    cache_name,
    installed,
    locked,
    need_room,
    read_record,
    records,
    store_folder,
    write_record,
)


def record(places, name="small"):
    """Write down a model whose files are there."""
    base = cache_folder() / cache_name("some/backbone") / "snapshots" / "abc"
    base.mkdir(parents=True, exist_ok=True)
    kept = []
    for path in (CONFIG, WEIGHTS):
        (base / path).write_bytes(b"12345")
        kept.append(Kept("some/backbone", path, str(base / path), 5, "0" * 64, True))
    (store_folder() / name).mkdir(parents=True)
    (store_folder() / name / "bank").write_bytes(b"123")
    gone = str(base / "deleted-after-conversion.h5")
    kept.append(Kept("some/decoder", "bank-*.h5", gone, 9, "1" * 64, False))
    roles = {"vision": str(base), "bank": f"{name}/bank"}
    written = Record(name, roles, tuple(kept), {f"{name}/bank": 3}, {"napari-patchioner": "0"})
    write_record(written)
    return written


def test_a_record_is_read_as_it_was_written(places):
    written = record(places)
    assert read_record("small") == written
    assert records() == [written]
    files = installed(preset())
    assert files["bank"] == store_folder() / "small" / "bank"
    assert sorted(path.name for path in files["vision"].iterdir()) == [CONFIG, WEIGHTS]


def test_a_store_may_be_moved(places, monkeypatch):
    record(places)
    store_folder().rename(places / "moved")
    assert installed(preset()) is None
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(places / "moved"))
    assert installed(preset())["bank"].read_bytes() == b"123"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": "another 7"}', f'{{"format": "{FORMAT}"}}']
)
def test_a_record_that_cannot_be_read_is_none(places, text):
    record(places)
    (store_folder() / "small" / "installed.json").write_text(text)
    assert read_record("small") is None
    assert records() == []
    assert installed(preset()) is None


def test_a_store_that_cannot_be_written_is_told(places, monkeypatch):
    (places / "file").write_text("in the way")
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(places / "file"))
    with (
        pytest.raises(ModelError, match="NAPARI_PATCHIONER_HOME to a folder of your own"),
        locked(lambda: None),
    ):
        pass


def test_a_drive_that_cannot_lock_will_do(places, monkeypatch):
    def fail(self, *args, **options):
        raise NotImplementedError("use SoftFileLock instead")

    monkeypatch.setattr("filelock.FileLock.acquire", fail)
    with locked(lambda: None):
        assert (store_folder() / "_lock.soft").exists()
    assert not (store_folder() / "_lock.soft").exists()


def test_the_store_is_the_users_data_folder_by_default(places, monkeypatch):
    monkeypatch.delenv("NAPARI_PATCHIONER_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(places / "data"))
    assert store_folder().name == "napari-patchioner"
    assert store_folder() != places / "store"


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HUB_CACHE": "a", "HF_HOME": "b"}, "a"),
        ({"HF_HOME": "b", "XDG_CACHE_HOME": "c"}, "b/hub"),
        ({"XDG_CACHE_HOME": "c"}, "c/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_hubs_library_has_it(places, monkeypatch, variables, folder):
    monkeypatch.delenv("HF_HOME")
    for name, value in variables.items():
        monkeypatch.setenv(name, str(places / value))
    assert cache_folder() == places / folder
    code = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == str(
        places / folder
    )


def test_a_card_tells_what_is_still_to_get(places):
    files = {
        "vision": (PresetFile("some/backbone", CONFIG), PresetFile("some/backbone", WEIGHTS, 5)),
        "merges": (PresetFile("some/backbone", WEIGHTS, 5),),
        "bank": (PresetFile("some/decoder", "bank-*.h5", about=70),),
    }
    wanted = preset(files=files, ram=8, row="Table 1")
    card = preset_card(wanted)
    assert (card.installed, card.size, card.to_get) == (False, 75, 75)
    assert (card.sources, card.row, card.ram) == (("some/backbone", "some/decoder"), "Table 1", 8)
    record(places, "another")
    assert bytes_to_get(wanted) == 70
    assert not preset_card(wanted).installed
    assert preset_card(preset("another")).installed
    assert preset_card(preset("another")).to_get == 0


def test_the_list_is_quick_and_loads_nothing_heavy(places):
    code = (
        "import sys, time; from napari_patchioner.models import available_models\n"
        "names = [card.id for card in available_models()]\n"
        "print(names[:2], len(names) > 10)\n"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['mini', 'mini-zeroshot'] True\n[]\n"
    started = time.process_time()
    available_models()
    assert time.process_time() - started < 0.5


def test_a_model_that_is_not_installed_says_how_to_get_it(places):
    told = r"'clip-b16' is not installed \(\d+ MB to get\); run 'napari-patchioner models get clip"
    with pytest.raises(ModelError, match=told):
        load_model("clip-b16")


def test_loading_may_be_cancelled_before_it_begins(places):
    def cancel(fraction, message):
        raise Cancelled

    with pytest.raises(Cancelled):
        load_model("mini", progress=cancel)


def test_the_disk_is_asked_for_all_that_goes_there(places, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
    need_room(9e8)
    need_room(0)
    with pytest.raises(ModelError, match=r"1.1 GB are needed.*1.0 GB are free"):
        need_room(1.05e9)


@given(st.integers(0, 10**14))
def test_a_size_is_read_within_five_percent(size):
    number, unit = size_text(size).split()
    value = float(number) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
    assert abs(value - size) <= max(0.051 * size, 51)
    assert len(number.split(".")[0]) <= 3 or unit == "GB"


def test_a_meter_tells_bytes_and_speed_but_not_too_often(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    told = []
    meter = Meter(lambda *report: told.append(report), share=0.5)
    meter.total = 604_000_000
    meter.add(100_000_000, moved=False)
    for _ in range(1000):
        now[0] += 0.01
        meter.add(41_000)
    assert 90 <= len(told) <= 105
    assert told[0][1] == "100 of 604 MB"
    assert told[-1][1] == "141 of 604 MB, 4.1 MB/s"
    assert told[-1][0] == pytest.approx(0.5 * 141 / 604, rel=1e-2)
    now[0] += 60
    meter.tick()
    meter.add(1)
    assert "MB/s" not in told[-1][1]


def test_waiting_hands_over_results_and_errors_and_may_be_left():
    assert patiently(lambda: 7, lambda: None) == 7
    with pytest.raises(ZeroDivisionError):
        patiently(lambda: 1 // 0, lambda: None)

    def cancel():
        raise Cancelled

    answered, waited = Event(), []
    with pytest.raises(Cancelled):
        patiently(lambda: waited.append(answered.wait(60)), cancel)
    assert waited == []
    answered.set()


def test_a_record_is_plain_to_read(places):
    record(places)
    content = json.loads((store_folder() / "small" / "installed.json").read_text())
    assert content["format"] == FORMAT
    assert content["files"][0]["sha256"] == "0" * 64
