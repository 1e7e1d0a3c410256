"""Downloads: whole, resumed, refused, stopped."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hub_server import sha256
from huggingface_hub import hf_hub_download
from small_presets import BANK, CONFIG, VOCAB, WEIGHTS, contents, prepare, preset

from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.models.hub import ATTEMPTS
from napari_patchioner.models.install import install, remove
from napari_patchioner.models.preset import PresetFile
from napari_patchioner.models.store import cache_folder, installed, store_folder

VISION = "some/backbone"


@pytest.fixture
def holding(hub):
    hub.repos = contents()
    return hub


def get(wanted=None, **options):
    wanted = wanted or preset()
    install(wanted, prepare=prepare, **options)
    return installed(wanted)


def hashed(path, sha, size=0, repo=VISION):
    return preset(files={"vision": (PresetFile(repo, path, size, sha),)})


def leftovers():
    """Return the files in the store besides its lock and what was downloaded."""
    files = [path for path in store_folder().rglob("*") if path.is_file()]
    return sorted(
        path.name for path in files if "_files" not in path.parts and path.name != "_lock"
    )


def sentence(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def test_everything_comes_and_is_written_down(holding):
    files = get()
    assert set(files) == {"vision", "bank"}
    assert (files["vision"] / WEIGHTS).read_bytes() == holding.repos[VISION][WEIGHTS]
    assert (files["vision"] / CONFIG).read_bytes() == holding.repos[VISION][CONFIG]
    assert files["bank"].read_bytes() == holding.repos["some/decoder"][BANK][::-1]
    record = json.loads((store_folder() / "small" / "installed.json").read_text())
    hashes = {file["path"]: file["sha256"] for file in record["files"]}
    assert hashes["bank-*.h5"] == sha256(holding.repos["some/decoder"][BANK])
    assert not [place for _, place, _ in holding.requests if VOCAB in place or "README" in place]


def test_the_cache_of_other_programs_is_only_read(holding):
    hf_hub_download(VISION, WEIGHTS, endpoint=holding.url, cache_dir=cache_folder())
    before = {path: path.lstat().st_mtime_ns for path in cache_folder().rglob("*")}
    get()
    remove(preset())
    assert {path: path.lstat().st_mtime_ns for path in cache_folder().rglob("*")} == before


def test_what_the_cache_has_is_not_downloaded_again(holding):
    for path in (WEIGHTS, CONFIG):
        hf_hub_download(VISION, path, endpoint=holding.url, cache_dir=cache_folder())
    holding.requests.clear()
    get()
    assert len(holding.fetched()) == len(holding.fetched(BANK)) == 1


def test_a_cached_file_of_an_older_version_is_replaced(holding):
    hf_hub_download(VISION, WEIGHTS, endpoint=holding.url, cache_dir=cache_folder())
    holding.repos = contents(seed=1)
    files = get()
    assert (files["vision"] / WEIGHTS).read_bytes() == holding.repos[VISION][WEIGHTS]


def test_versions_that_models_read_lie_side_by_side(holding):
    first = get()
    before = dict(holding.repos[VISION])
    holding.repos = contents(seed=1)
    second = get(replace(preset("second"), files=preset().files))
    assert (first["vision"] / WEIGHTS).read_bytes() == before[WEIGHTS]
    assert (second["vision"] / WEIGHTS).read_bytes() == holding.repos[VISION][WEIGHTS]
    assert installed(preset()) == first


def test_a_new_name_that_a_glob_fits_too_is_taken(holding):
    install(preset(), prepare=prepare, keep=True)
    data = holding.repos["some/decoder"].pop(BANK)
    holding.repos["some/decoder"]["bank-new.h5"] = data + b"!"
    bank = get(replace(preset("second"), files=preset().files))["bank"]
    assert bank.read_bytes() == (data + b"!")[::-1]


def test_a_damaged_cached_file_is_replaced(holding):
    path = hf_hub_download(VISION, WEIGHTS, endpoint=holding.url, cache_dir=cache_folder())
    with open(path, "r+b") as file:
        file.write(b"\0\0\0\0")
    files = get()
    assert (files["vision"] / WEIGHTS).read_bytes() == holding.repos[VISION][WEIGHTS]


def test_a_dropped_connection_is_resumed(holding):
    holding.drops[WEIGHTS] = [100_000, 50_000]
    files = get()
    assert holding.fetched(WEIGHTS) == ["", "bytes=100000-", "bytes=150000-"]
    assert (files["vision"] / WEIGHTS).read_bytes() == holding.repos[VISION][WEIGHTS]


def test_a_server_without_ranges_sends_all_of_it_again(holding):
    holding.drops[WEIGHTS] = [100_000]
    holding.rangeless = True
    files = get()
    assert holding.fetched(WEIGHTS) == ["", "bytes=100000-"]
    assert (files["vision"] / WEIGHTS).read_bytes() == holding.repos[VISION][WEIGHTS]


def test_a_lost_connection_installs_nothing_and_goes_on_next_time(holding):
    holding.drops[WEIGHTS] = [100_000] + [0] * ATTEMPTS
    with pytest.raises(ModelError, match="to go on from there") as error:
        get()
    assert f"{VISION}/{WEIGHTS}" in sentence(error)
    assert leftovers() == []
    assert installed(preset()) is None
    holding.requests.clear()
    assert get() is not None
    assert holding.fetched(WEIGHTS) == ["bytes=100000-"]


@pytest.mark.parametrize("knows", ["preset", "server"])
def test_a_wrong_hash_deletes_the_file(holding, knows):
    holding.wrong.add(WEIGHTS)
    sha = sha256(holding.repos[VISION][WEIGHTS]) if knows == "preset" else ""
    wanted = hashed(WEIGHTS, sha)
    with pytest.raises(ModelError, match="not the file it should be") as error:
        get(wanted)
    assert "deleted" in sentence(error)
    assert leftovers() == []
    assert not [path for path in (store_folder() / "_files").rglob("*") if path.is_file()]
    holding.wrong.clear()
    assert get(wanted)["vision"].read_bytes() == holding.repos[VISION][WEIGHTS]


def test_a_small_file_is_checked_too(holding):
    holding.wrong.add(CONFIG)
    with pytest.raises(ModelError, match=r"some/backbone/config.json is not the file"):
        get()


def test_another_version_than_the_preset_names_is_refused_before_it_comes(holding):
    with pytest.raises(ModelError, match="nothing was downloaded") as error:
        get(hashed(WEIGHTS, "0" * 64))
    assert "000000000000" in sentence(error)
    assert holding.fetched() == []


@pytest.mark.parametrize("moment", ["stalled", "slow"])
def test_cancelling_waits_for_no_server_and_keeps_what_came(holding, moment):
    holding.repos = contents(size=3_000_000)
    if moment == "stalled":
        holding.stalled.add(WEIGHTS)
    else:
        holding.pause, holding.piece = 0.02, 1 << 13
    asked = []

    def progress(fraction, message):
        if asked:
            raise Cancelled
        if holding.fetched(WEIGHTS) and (moment == "stalled" or fraction > 0.05):
            asked.append(fraction)

    with pytest.raises(Cancelled):
        get(progress=progress)
    came = holding.sent.count(WEIGHTS) * holding.piece
    assert came < 3_000_000 if moment == "slow" else came == 0
    assert leftovers() == []
    holding.pause = 0
    holding.go.set()
    holding.requests.clear()
    assert (get()["vision"] / WEIGHTS).read_bytes() == holding.repos[VISION][WEIGHTS]
    [asked_range] = holding.fetched(WEIGHTS)
    assert bool(asked_range) == (moment == "slow")


def test_progress_counts_bytes_over_all_files(holding):
    holding.pause, holding.piece = 0.03, 20_000
    told = []
    get(progress=lambda *report: told.append(report))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert told[-1] == (1.0, "installed")
    counted = [text for _, text in told if " of 450 kB, " in text and text.endswith("B/s")]
    assert len(counted) > 3


def test_a_mirror_that_tells_only_names_will_do(holding):
    holding.names_only = True
    files = get()
    assert (files["vision"] / WEIGHTS).read_bytes() == holding.repos[VISION][WEIGHTS]


def test_a_mirror_with_names_of_its_own_will_do(holding):
    holding.names_only, holding.etag = True, "W-17-abc"
    wanted = preset(files={"vision": (PresetFile(VISION, WEIGHTS),)})
    assert get(wanted)["vision"].read_bytes() == holding.repos[VISION][WEIGHTS]


@pytest.mark.parametrize("names", [{"sha": "../../../x"}, {"etag": "../../x", "names_only": True}])
def test_a_server_cannot_name_places_outside_the_store(holding, names):
    for name, value in names.items():
        setattr(holding, name, value)
    with pytest.raises(ModelError, match="does not answer like a hub"):
        get()
    assert leftovers() == []


def test_a_repository_that_is_not_shown_is_told(holding):
    holding.statuses[VISION] = 401
    holding.hidden = True
    with pytest.raises(ModelError, match="has no some/backbone; check HF_ENDPOINT"):
        get()


@pytest.mark.parametrize(
    ("place", "status", "told"),
    [
        (VISION, 401, "accept it at"),
        (WEIGHTS, 403, "accept it at"),
        (VISION, 404, "has no some/backbone"),
        (WEIGHTS, 404, "has no some/backbone/model.safetensors"),
        (VISION, 503, r"\(status 503\)"),
        (WEIGHTS, 500, r"\(status 500\)"),
    ],
)
def test_a_refusal_is_one_sentence(holding, place, status, told):
    holding.statuses[place] = status
    with pytest.raises(ModelError, match=told) as error:
        get()
    assert holding.url in sentence(error)
    assert leftovers() == []


def test_a_file_that_was_taken_back_is_told(holding):
    del holding.repos[VISION][WEIGHTS]
    with pytest.raises(ModelError, match=r"has no file model.safetensors any more"):
        get()
    del holding.repos["some/decoder"]
    wanted = preset(files={"published": preset().files["published"]})
    with pytest.raises(ModelError, match="has no some/decoder"):
        get(wanted)


@pytest.mark.parametrize("names", [(), ("bank-1.h5", "bank-2.h5")])
def test_a_glob_must_name_one_file(holding, names):
    holding.repos["some/decoder"] = dict.fromkeys(names, b"x")
    with pytest.raises(ModelError, match=", ".join(names) or "holds none"):
        get()


def test_no_network_is_one_sentence(places):
    with pytest.raises(ModelError, match="check the network and proxy") as error:
        get()
    assert "http://127.0.0.1:9" in sentence(error)


def test_a_page_that_is_no_hub_is_one_sentence(holding, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"{holding.url}/lfs/some/backbone/text/vocab.json?")
    with pytest.raises(ModelError, match="check") as error:
        get()
    sentence(error)


@pytest.mark.parametrize("cached", [False, True])
def test_offline_nothing_is_asked(holding, monkeypatch, cached):
    if cached:
        for repo, path in ((VISION, WEIGHTS), (VISION, CONFIG), ("some/decoder", BANK)):
            hf_hub_download(repo, path, endpoint=holding.url, cache_dir=cache_folder())
    holding.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if cached:
        assert (get()["vision"] / WEIGHTS).read_bytes() == holding.repos[VISION][WEIGHTS]
    else:
        with pytest.raises(ModelError, match="HF_HUB_OFFLINE") as error:
            get()
        assert f"{VISION}/{CONFIG} and 2 more" in sentence(error)
    assert holding.requests == []


def test_a_proxy_is_used(holding, monkeypatch):
    """The proxy is our server, which is asked for whole addresses of another one."""
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("HTTP_PROXY", holding.url)
    monkeypatch.setenv("NO_PROXY", "")
    holding.url = "http://hub.invalid"
    assert (get()["vision"] / WEIGHTS).read_bytes() == holding.repos[VISION][WEIGHTS]
    monkeypatch.delenv("HTTP_PROXY")


def test_a_full_disk_is_told_before_anything_comes(holding, monkeypatch):
    usage = type("Usage", (), {"free": 60_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert get() is not None
    wanted = replace(preset("large"), files=preset().files)
    holding.repos = contents(seed=2, size=12_000_000)
    holding.requests.clear()
    with pytest.raises(ModelError, match=r"71.0 MB are needed.*60.0 MB are free"):
        get(wanted)
    assert holding.fetched() == []


def test_the_log_in_is_sent_to_the_hub_only(holding, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    holding.cdn = holding.url.replace("127.0.0.1", "localhost")
    get()
    sent = {
        place.split("/")[1]: "authorization" in headers
        for (_, place, _), headers in zip(holding.requests, holding.headers, strict=True)
    }
    assert sent == {"api": True, "some": True, "lfs": False}
