"""Weights come in by one door, and nothing that comes through it is executed."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import zipfile
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from napari_patchioner.checkpoints import read_state
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = {"one.weight": torch.arange(6.0).reshape(2, 3), "one.bias": torch.tensor([1.0, -1.0])}


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def same(state: dict[str, torch.Tensor]) -> bool:
    return state.keys() == WEIGHTS.keys() and all(
        torch.equal(state[name], value) for name, value in WEIGHTS.items()
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_torch_files_of_both_forms(tmp_path, zipped, suffix):
    path = tmp_path / f"weights{suffix}"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
    assert same(read_state(path))


def test_safetensors(tmp_path):
    save_file(WEIGHTS, tmp_path / "weights.safetensors")
    assert same(read_state(tmp_path / "weights.safetensors"))


def test_precision_stays_that_of_the_file(tmp_path):
    save_file({"a": torch.ones(2).half()}, tmp_path / "half.safetensors")
    assert read_state(tmp_path / "half.safetensors")["a"].dtype == torch.float16


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": WEIGHTS, "epoch": 3, "meta": {"classes": ("wall",)}},
        {"model": WEIGHTS, "iteration": 599999},
        {"model": {"state_dict": WEIGHTS}},
        {"model_state_dict": WEIGHTS, "loss": 0.5},
        {f"module.{name}": value for name, value in WEIGHTS.items()},
        {"state_dict": {f"module.{name}": value for name, value in WEIGHTS.items()}},
    ],
    ids=["state_dict", "model", "nested", "model_state_dict", "parallel", "parallel in a wrapper"],
)
def test_what_training_scripts_put_around_weights_is_taken_off(tmp_path, wrapped):
    torch.save(wrapped, tmp_path / "weights.pt")
    assert same(read_state(tmp_path / "weights.pt"))


def test_a_module_prefix_that_only_some_have_is_a_name(tmp_path):
    state = {"module.a": torch.ones(1), "b": torch.ones(1)}
    torch.save(state, tmp_path / "weights.pt")
    assert read_state(tmp_path / "weights.pt").keys() == {"module.a", "b"}


def test_a_tensor_saved_alone(tmp_path):
    torch.save(torch.ones(2, 3), tmp_path / "memory.pt")
    [(name, value)] = read_state(tmp_path / "memory.pt").items()
    assert name == "tensor"
    assert value.shape == (2, 3)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_the_hub(tmp_path, name):
    write = save_file if name.endswith("s") else torch.save
    write(WEIGHTS, tmp_path / name)
    assert same(read_state(tmp_path))


def test_a_folder_prefers_safetensors(tmp_path):
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    torch.save({"other": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    assert same(read_state(tmp_path))


def split(folder: Path, kind: str, index: dict[str, str] | None = None) -> Path:
    """Write weights in two parts, as large models are published."""
    suffix, write = {
        "model.safetensors": (".safetensors", save_file),
        "pytorch_model.bin": (".bin", torch.save),
    }[kind]
    stem = kind.removesuffix(suffix)
    places = {}
    for number, (name, value) in enumerate(WEIGHTS.items(), start=1):
        part = f"{stem}-0000{number}-of-00002{suffix}"
        write({name: value}, folder / part)
        places[name] = part
    content = {"metadata": {}, "weight_map": places if index is None else index}
    path = folder / f"{kind}.index.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
def test_split_weights(tmp_path, kind):
    index = split(tmp_path, kind)
    assert same(read_state(index))
    assert same(read_state(tmp_path))


def test_a_part_of_split_weights_is_missing(tmp_path):
    index = split(tmp_path, "model.safetensors")
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"00002-of-00002.*does not exist"):
        read_state(index)


def test_split_weights_that_no_part_holds(tmp_path):
    part = "model-00001-of-00002.safetensors"
    index = split(tmp_path, "model.safetensors", {"one.weight": part, "two.weight": part})
    with pytest.raises(ModelError, match=r"lists two\.weight, which no part holds"):
        read_state(index)


@pytest.mark.parametrize(
    "part",
    ["..", ".", "../outside.safetensors", "/etc/passwd", "model.safetensors.index.json", "run.sh"],
)
def test_split_weights_lie_beside_their_index(tmp_path, part):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    save_file(WEIGHTS, tmp_path / "outside.safetensors")
    index = split(folder, "model.safetensors", {"one.weight": part})
    with pytest.raises(ModelError, match="points to other files"):
        read_state(index)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 3}', "not JSON"])
def test_a_damaged_index(tmp_path, content):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=r"damaged or cut short|holds no weights"):
        read_state(path)


def traps(folder: Path, marker: Path) -> dict[str, Path]:
    """Write pickles that make a folder, in every form torch reads."""
    trap = Trap(marker)
    paths = {name: folder / f"{name}.pt" for name in ("zip", "legacy", "bare", "nested", "hidden")}
    torch.save({**WEIGHTS, "extra": trap}, paths["zip"])
    torch.save({**WEIGHTS, "extra": trap}, paths["legacy"], _use_new_zipfile_serialization=False)
    paths["bare"].write_bytes(pickle.dumps(trap, protocol=2))
    torch.save({"state_dict": WEIGHTS, "optimizer": {"hook": [trap]}}, paths["nested"])
    # Weights first, a second archive member after them.
    torch.save(WEIGHTS, paths["hidden"])
    with zipfile.ZipFile(paths["hidden"], "a") as archive:
        archive.writestr("hidden/code.pkl", pickle.dumps(trap))
    return paths


def test_the_traps_work(tmp_path):
    marker = tmp_path / "sprung"
    pickle.loads(traps(tmp_path, marker)["bare"].read_bytes())
    assert marker.is_dir(), "otherwise the tests below prove nothing"


@pytest.mark.parametrize("form", ["zip", "legacy", "bare", "nested"])
def test_code_in_a_pickle_is_refused_and_never_runs(tmp_path, form):
    marker = tmp_path / "sprung"
    with pytest.raises(ModelError, match="could run code on this computer; nothing was loaded"):
        read_state(traps(tmp_path, marker)[form])
    assert not marker.exists()


def test_code_that_no_weight_refers_to_never_runs(tmp_path):
    marker = tmp_path / "sprung"
    assert same(read_state(traps(tmp_path, marker)["hidden"]))
    assert not marker.exists()


def test_code_beside_weights_in_a_folder_never_runs(tmp_path):
    marker = tmp_path / "sprung"
    torch.save({"extra": Trap(marker)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="could run code"):
        read_state(tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".pt"])
def test_a_pickle_under_any_name_never_runs(tmp_path, suffix, protocol):
    marker = tmp_path / "sprung"
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Trap(marker), protocol=protocol))
    words = "damaged" if suffix == ".safetensors" else "could run code"
    with pytest.raises(ModelError, match=words):
        read_state(path)
    assert not marker.exists()


def test_nobody_is_advised_to_load_a_file_without_the_check(tmp_path):
    (tmp_path / "a.pt").write_text("these are no weights")
    (tmp_path / "b.pt").write_bytes(b"\x80\x02\xff\xff")
    for path in tmp_path.iterdir():
        with pytest.raises(ModelError, match="damaged or cut short") as error:
            read_state(path)
        assert "weights_only" not in str(error.value)


def test_the_names_of_builtins_do_not_help(tmp_path):
    marker = tmp_path / "sprung"
    path = tmp_path / "model.pt"
    path.write_bytes(f"cbuiltins\neval\n(V__import__('os').mkdir({str(marker)!r})\ntR.".encode())
    with pytest.raises(ModelError, match="could run code"):
        read_state(path)
    assert not marker.exists()


def test_a_whole_network_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "network.pt")
    with pytest.raises(ModelError, match="Python objects besides tensors"):
        read_state(tmp_path / "network.pt")


def test_torchscript_is_refused(tmp_path):
    path = tmp_path / "compiled.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("compiled/data.pkl", pickle.dumps({}))
        archive.writestr("compiled/constants.pkl", pickle.dumps(()))
        archive.writestr("compiled/code/__torch__.py", "class Net: pass")
    with pytest.raises(ModelError, match=r"compiled program .* nothing was loaded"):
        read_state(path)


def test_a_checkpoint_that_contains_itself_ends(tmp_path):
    endless: dict[str, object] = {}
    endless["model"] = endless
    torch.save(endless, tmp_path / "endless.pt")
    with pytest.raises(ModelError, match="holds no weights"):
        read_state(tmp_path / "endless.pt")


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file(tmp_path, form, share):
    state = {"a": torch.arange(4000.0)}
    path = tmp_path / ("a.safetensors" if form == "safetensors" else "a.pt")
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    # Cut within the name of a class, a pickle seems to ask for one that is not allowed.
    with pytest.raises(ModelError, match=r"damaged or cut short .*; get it again\.|could run code"):
        read_state(path)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title>", "a web page"),
        (b"\n<HTML><body>404</body>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git LFS"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_a_download_brings_instead_is_called_by_its_name(tmp_path, start, what, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(start)
    with pytest.raises(ModelError, match=f"{what}.*; get the file itself"):
        read_state(path)


@pytest.mark.parametrize(
    "content",
    [3, "text", [], {}, {"epoch": 3}, {"state_dict": {}}, {"state_dict": {"a": 1}}],
    ids=str,
)
def test_a_file_without_weights(tmp_path, content):
    torch.save(content, tmp_path / "empty.pt")
    with pytest.raises(ModelError, match="holds no weights; choose the file that does"):
        read_state(tmp_path / "empty.pt")


def test_what_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        read_state(tmp_path / "nothing.pt")
    with pytest.raises(ModelError, match=r"holds none of model\.safetensors"):
        read_state(tmp_path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_zip_or_gzip_of_something_else(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="damaged or cut short"):
        read_state(path)
    path.write_bytes(gzip.compress(b"hello"))
    with pytest.raises(ModelError, match="damaged or cut short"):
        read_state(path)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".pt", ".safetensors", ".bin"]))
def test_garbage_is_one_sentence(tmp_path, content, suffix):
    path = tmp_path / f"garbage{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_state(path)
    assert "\n" not in str(caught.value)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_flipped_byte_is_read_or_refused(tmp_path, data):
    path = tmp_path / "weights.pt"
    torch.save(WEIGHTS, path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    try:
        state = read_state(path)
    except ModelError:
        return
    assert all(isinstance(value, torch.Tensor) for value in state.values())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files_that_claim_more_than_they_hold(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    if suffix == ".pt":
        torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path)
    else:
        path.write_bytes((2**25).to_bytes(8, "little") + b"{}")
        os.truncate(path, 2**26)
    with pytest.raises(ModelError, match="claims") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)


def test_a_packed_archive_is_refused(tmp_path):
    torch.save(WEIGHTS, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert same(read_state(tmp_path / "plain.pt"))
    with pytest.raises(ModelError, match="is a packed archive"):
        read_state(tmp_path / "model.pt")


@pytest.mark.parametrize("kind", ["deep", "large"])
def test_an_index_that_nobody_writes(tmp_path, kind):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text('{"weight_map": ' + "[" * 100_000)
    if kind == "large":
        os.truncate(path, 2**26)
    with pytest.raises(ModelError, match="damaged" if kind == "deep" else "too large"):
        read_state(path)
