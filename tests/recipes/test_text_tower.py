"""How the text tower is made: texts, the student, and the numbers it is judged by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_patchioner.backbones.mini_text import MiniText, tokenizer_of
from recipes.mini.text_corpus import HELD_BACK, read_texts
from recipes.mini.text_scores import agreement
from recipes.mini.text_tower import Design, Student, fit, padded, start, write

PIECES = ["[UNK]", "a", "red", "cell", "##s", "dog", "on", "grass", "blue", "."]
TEXTS = ["a red cell", "cells", "a dog on grass", "blue cells on a red dog.", "dog", "grass"]
DESIGNS = [
    Design(64, epochs=150, rate=1e-2),
    Design(64, layers=2, hidden=128, head=96, epochs=150, rate=1e-2),
]


@pytest.fixture(scope="module")
def ids() -> list[np.ndarray]:
    rows = tokenizer_of(PIECES).encode_batch(TEXTS)
    return [np.array(row.ids, np.int64) for row in rows]


@pytest.fixture
def student(request, ids) -> Student:
    torch.manual_seed(0)
    singles = np.random.default_rng(0).normal(size=(len(PIECES), 96)).astype(np.float32)
    singles = np.concatenate([singles] * 8)  # as many rows as directions at least
    table, importance, out = start(singles, ids, request.param.width)
    return Student(table[: len(PIECES)], importance[: len(PIECES)], out, request.param)


@pytest.mark.parametrize("student", DESIGNS, indirect=True, ids=["bag", "layers"])
def test_the_shipped_code_does_what_the_student_does(student, ids, tmp_path):
    with torch.no_grad():
        for name, value in student.named_parameters():
            if name.endswith(("near", "score", "bias")) or "narrow" in name or "join" in name:
                value.normal_(std=0.05)
        # The table is stored in steps of a 127th of each row's largest number.
        wanted = student(padded(ids)).numpy()
    tower = MiniText(write(student, PIECES, tmp_path / "tower.safetensors"))
    made = tower.embed_text(TEXTS)
    assert (made * wanted).sum(1) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("student", DESIGNS, indirect=True, ids=["bag", "layers"])
def test_fitting_comes_nearer_and_is_the_same_each_time(student, ids):
    targets = np.random.default_rng(1).normal(size=(len(TEXTS), 96)).astype(np.float32)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    design = DESIGNS[student.contextual]
    begun = {name: value.clone() for name, value in student.state_dict().items()}
    with torch.no_grad():
        before = (student(padded(ids)).numpy() * targets).sum(1).mean()
    results = []
    for _ in range(2):
        student.load_state_dict(begun)
        fit(student, ids, targets, design)
        with torch.no_grad():
            results.append(student(padded(ids)).numpy())
    assert (results[0] * targets).sum(1).mean() > before + 0.2
    assert (results[0] == results[1]).all()


def test_agreement_of_a_tower_with_itself_is_whole_and_of_noise_is_none():
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 60, 16)).astype(np.float32)
    same = agreement(3 * one, one)
    assert same == pytest.approx(dict.fromkeys(same, 1.0))
    noise = agreement(other, one)
    assert abs(noise["cosine"]) < 0.1
    assert abs(noise["rank_correlation"]) < 0.1
    assert noise["overlap_10"] < 0.35


def test_nothing_measured_is_fitted_to(tmp_path: Path):
    captions = [
        {"image_id": image, "caption": f"a {thing} in picture {image}"}
        for image in range(1, 40)
        for thing in ("dog", "cat")
    ]
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "coco_captions_val2017.json").write_text(
        json.dumps({"annotations": captions})
    )
    vocab = tmp_path / "vocab"
    vocab.mkdir()
    lists = {"label_to_idx": {"red wall": 1}, "attribute_to_idx": {}, "predicate_to_idx": {"on": 1}}
    (vocab / "VG-SGG-dicts-vgoi6-clipped.json").write_text(json.dumps(lists))
    (vocab / "vgcocooiobjects_v1_class2ind.json").write_text('{"old chair": 1}')
    (vocab / "coco_categories.json").write_text('["cat"]')
    (vocab / "oidv7-class-descriptions-boxable.csv").write_text("LabelName,DisplayName\n/m/1,Axe\n")
    words = ["dog", "cat", "green", "tree", "##s"]
    texts = read_texts(tmp_path, words)
    fitted = {text.lower() for text in texts.fit}
    for kind in ("captions", "names", "microscopy"):
        assert texts.held_back[kind]
        assert fitted.isdisjoint(text.lower() for text in texts.held_back[kind])
    assert len(fitted) > 5000
    assert set(texts.held_back["microscopy"]) == set(HELD_BACK)
    held = {entry["caption"] for entry in captions if entry["image_id"] % 5 == 0}
    assert set(texts.held_back["captions"]) == held
    assert read_texts(tmp_path, words) == texts
