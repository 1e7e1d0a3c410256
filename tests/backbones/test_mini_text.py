"""The text tower of the embedded models, on its own and as a backbone's."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from napari_patchioner.backbones import TextTower
from napari_patchioner.backbones.mini import MiniBackbone
from napari_patchioner.backbones.mini_text import LONGEST, MiniText
from napari_patchioner.bridges import MemoryBank
from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.models.assemble import check_provenance
from napari_patchioner.models.embedded import FOLDER, load_text_tower

FILE = FOLDER / "text_tower.safetensors"
LARGEST = 8e6
# Twenty texts and what all-MiniLM-L6-v2 makes of them.
ENCODER = Path(__file__).with_name("minilm_vectors.npz")


@pytest.fixture(scope="module")
def tower() -> MiniText:
    return load_text_tower()


@pytest.fixture(scope="module")
def encoder() -> tuple[list[str], np.ndarray]:
    with np.load(ENCODER) as file:
        return file["texts"].tolist(), file["vectors"].astype(np.float32)


def test_it_is_small_enough():
    assert FILE.stat().st_size < LARGEST


def test_its_vectors_are_near_those_of_the_encoder(tower, encoder):
    texts, wanted = encoder
    made = tower.embed_text(texts)
    assert made.shape == wanted.shape
    assert made.dtype == np.float32
    assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-5)
    cosines = made @ wanted.T
    # Each is nearest to its own, and what is alike there is alike here.
    assert (cosines.argmax(1) == np.arange(len(texts))).all()
    assert cosines.diagonal().mean() > 0.8
    pairs = np.triu_indices(len(texts), 1)
    assert np.corrcoef((made @ made.T)[pairs], (wanted @ wanted.T)[pairs])[0, 1] > 0.85


@pytest.mark.parametrize(
    ("text", "like", "unlike"),
    [
        ("a leukocyte", "white blood cell", "red bicycle"),
        ("a puppy", "young dog", "an old car"),
        ("a cell phone", "a mobile telephone", "a blood cell"),
        ("teddy bear", "a stuffed toy", "a wild animal"),
        ("automobile", "car", "airplane"),
        ("neuron with dendrites", "nerve cell", "a tree with branches"),
    ],
)
def test_what_means_the_same_is_near(tower, text, like, unlike):
    one, near, far = tower.embed_text([text, like, unlike])
    assert one @ near > one @ far


def test_the_order_of_words_and_the_words_around_count(tower):
    made = tower.embed_text(["a dog on a car", "a car on a dog", "a car near a dog"])
    assert (np.triu(made @ made.T, 1) < 0.9999).all()


def test_case_accents_and_space_do_not_count(tower):
    plain, *others = tower.embed_text(
        ["a cafe in paris", "A Café in PARIS", " a  cafe\tin paris\n"]
    )
    for other in others:
        assert other == pytest.approx(plain, abs=1e-5)


ODD = st.one_of(
    st.sampled_from(
        ["", " ", "a red cell", "🔬", "白血球", "\ud800", "\x00", "x" * 5000, "9" * 300]
    ),
    st.text(st.characters(), max_size=30),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(ODD, max_size=6))
def test_a_text_is_the_same_in_any_company(texts):
    tower = load_text_tower()
    together = tower.embed_text(texts)
    assert together.shape == (len(texts), tower.dim)
    lengths = np.linalg.norm(together, axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-4) | (lengths == 0))
    for text, vector in zip(texts, together, strict=True):
        assert tower.embed_text([text])[0] == pytest.approx(vector, abs=1e-4)


@pytest.mark.parametrize("text", ["", "  \n", "🔬🔬", "\u200b"])
def test_a_text_without_a_known_word_is_nothing(tower, text):
    nothing, something = tower.embed_text([text, "a cell"])
    assert not nothing.any()
    assert something.any()


def test_a_bank_leaves_such_a_text_out(tower, tmp_path):
    texts = ["a cell", "🔬", "a nucleus"]
    chunks = [(texts, tower.embed_text(texts))]
    bank = MemoryBank.build(tmp_path / "bank", chunks, provenance=tower.provenance)
    assert list(bank.captions) == ["a cell", "a nucleus"]
    assert dict(bank.provenance) == {"text": tower.name}


def test_a_bank_of_it_is_refused_beside_another_text_tower(tower):
    ours = ("memory bank", tower.provenance, True)
    check_provenance([("backbone", tower.provenance, False), ours], {})
    with pytest.raises(ModelError, match="text encoder of the backbone is clip-b16"):
        check_provenance([("backbone", {"text": "clip-b16"}, False), ours], {})


def test_long_texts_are_cut_and_take_little_memory(tower):
    words = "small round purple cell " * 300_000
    tower.embed_text(["warm"])
    tracemalloc.start()
    try:
        long, cut = tower.embed_text([words, "small round purple cell " * (LONGEST // 4)])
        assert tracemalloc.get_traced_memory()[1] < 60e6
        tracemalloc.clear_traces()
        many = tower.embed_text([words] * 300)
        assert tracemalloc.get_traced_memory()[1] < 250e6
    finally:
        tracemalloc.stop()
    assert long == pytest.approx(cut, abs=1e-4)
    assert np.abs(many - long).max() < 1e-4


def test_progress_rises_to_one_and_may_cancel(tower):
    told = []
    tower.embed_text(["a cell"] * 2500, progress=lambda share, _: told.append(share))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)
    assert len(told) > 2

    def cancel(share: float, message: str) -> None:
        if share > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        tower.embed_text(["a cell"] * 2500, progress=cancel)


def test_text_is_embedded_without_torch():
    code = (
        "from napari_patchioner.models.embedded import load_text_tower\n"
        "assert load_text_tower().embed_text(['a cell']).any()\n"
        "import sys; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_backbone_has_it_where_it_is_given_one(tower):
    files = FOLDER / "backbone.safetensors", FOLDER / "gate.safetensors"
    backbone, without = MiniBackbone(*files, tower), MiniBackbone(*files)
    assert isinstance(backbone, TextTower)
    assert isinstance(tower, TextTower)
    assert backbone.provenance == tower.provenance
    assert (backbone.embed_text(["a cat"]) == tower.embed_text(["a cat"])).all()
    # Grids are the same with it and without it.
    assert backbone.name == without.name
    with pytest.raises(ModelError, match="came without a text tower"):
        without.embed_text(["a cat"])


@pytest.mark.parametrize(
    "change",
    [
        {"table": lambda array: array[:-1]},
        {"table": lambda array: array.astype(np.float32)},
        {"pieces": lambda array: np.append(array, np.frombuffer(b"\ncell", np.uint8))},
        {"pieces": lambda array: np.append(array[:-1], np.uint8(255))},
        {"table.scale": lambda array: array * np.float16(np.inf)},
        {"importance": lambda array: array[1:]},
        {"out.weight": lambda array: array[:, 1:]},
        {"out.weight": None},
    ],
    ids=lambda change: "-".join(change),
)
def test_a_damaged_file_is_one_sentence(tmp_path, change):
    arrays = load_file(FILE)
    for name, altered in change.items():
        if altered is None:
            del arrays[name]
        else:
            arrays[name] = np.ascontiguousarray(altered(arrays[name]))
    path = tmp_path / "text_tower.safetensors"
    save_file(arrays, path)
    with pytest.raises(ModelError, match="is missing or damaged; reinstall"):
        MiniText(path)
