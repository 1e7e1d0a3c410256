from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_patchioner.decoders.grounded import GroundedDecoder
from recipes.mini import sentence_encoder
from recipes.mini.decoder import (
    Corpus,
    held_out_report,
    read_corpus,
    save,
    train,
)
from recipes.mini.vocabulary import EMBEDDED, read_concepts, write_concepts

if TYPE_CHECKING:
    from pathlib import Path

CAPTIONS = ["A dog on a couch.", "Two cats on the red couch", "A man with a dog", "A bus."] * 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    path = tmp_path_factory.mktemp("captions") / "captions.json"
    texts = [f"{text} {'very ' * place}" for place, text in enumerate(CAPTIONS)]
    path.write_text(json.dumps({"annotations": [{"caption": text} for text in texts]}))
    return read_corpus(path, read_concepts())


@pytest.fixture(scope="module")
def embeddings(corpus: Corpus) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(len(corpus.words.concepts), 384))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_training_can_be_repeated_to_the_bit(corpus: Corpus, embeddings: np.ndarray) -> None:
    one, two = (train(corpus, embeddings, steps=2, batch=4, seed=5).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_trained_decoder_can_be_opened(
    corpus: Corpus, embeddings: np.ndarray, tmp_path: Path
) -> None:
    model = train(corpus, embeddings, steps=1, batch=4)
    write_concepts(list(corpus.words.concepts), tmp_path)
    sentence_encoder.write_embeddings(embeddings, tmp_path)
    save(model, corpus, {"loss": 1.0}, tmp_path)
    decoder = GroundedDecoder.open(tmp_path)
    assert decoder.words.tokens == corpus.words.tokens
    assert decoder.selection.relations == corpus.relations


def test_the_report_counts_shares(corpus: Corpus, embeddings: np.ndarray) -> None:
    held_out = corpus._replace(held_out=corpus.training)
    report = held_out_report(
        train(corpus, embeddings, steps=1, batch=4), held_out, embeddings, bags=8
    )
    assert set(report) == {"loss", "exact", "top", "precision", "recall"}
    assert all(0 <= share <= 1 for name, share in report.items() if name != "loss")


def test_the_shipped_concepts_are_the_list() -> None:
    shipped = json.loads((EMBEDDED / "concepts.json").read_text("utf8"))
    concepts = read_concepts()
    assert [record["name"] for record in shipped] == [concept.name for concept in concepts]
    assert [record["mass"] for record in shipped] == [concept.mass for concept in concepts]


def test_the_shipped_embeddings_have_a_unit_row_for_each_concept() -> None:
    embeddings = GroundedDecoder.open(EMBEDDED).embeddings
    assert embeddings.shape == (len(read_concepts()), 384)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=2e-3)
