from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.bridges import (
    EntityBridge,
    EntityTable,
    NormalizeBridge,
    coco_names,
    read_names,
    unit_rows,
)
from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

DIM = 6
NAMES = ["bus", "cat", "dog", "fire hydrant", "tree"]


def rows(n: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)


def table() -> EntityTable:
    return EntityTable(NAMES, rows(len(NAMES)), {"projection": "abc"})


def scene() -> FeatureGrid:
    return FeatureGrid(np.ones((2, 2, DIM), np.float32), GridTransform((20, 20), (2, 2)), "key")


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 999),
    temperature=st.sampled_from([0.01, 0.1, 1.0]),
    top_k=st.integers(1, 7),
    # Not 0: probabilities that single precision holds to be 0 are all alike.
    threshold=st.sampled_from([1e-30, 0.1, 0.2, 0.4]),
)
def test_the_likeliest_names_above_the_threshold_are_given(
    seed: int, temperature: float, top_k: int, threshold: float
) -> None:
    bridge = EntityBridge(table(), temperature=temperature, top_k=top_k, threshold=threshold)
    regions = 3 * rows(4, seed)
    output = bridge.project(regions, scene())
    np.testing.assert_allclose(output.vectors, unit_rows(regions), atol=1e-6)
    logits = unit_rows(regions) @ unit_rows(rows(len(NAMES))).T / temperature
    weights = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(float))
    expected = weights / weights.sum(axis=1, keepdims=True)
    assert output.evidence is not None
    for seen, probabilities in zip(output.evidence, expected, strict=True):
        order = np.argsort(-probabilities)[:top_k]
        names = [NAMES[place] for place in order if probabilities[place] >= threshold]
        assert [name for name, _ in seen.concepts] == names
        assert [p for _, p in seen.concepts] == pytest.approx(
            sorted(probabilities, reverse=True)[: len(names)], abs=1e-5
        )
        assert seen.score == pytest.approx(probabilities.max(), abs=1e-5)


@pytest.mark.parametrize("count", [80, 300])
def test_entities_of_equal_score_come_in_the_order_of_the_published_code(count: int) -> None:
    """The published code takes what torch's top-k gives, which is not the first of the equal."""
    embeddings = np.zeros((count, DIM), np.float32)
    embeddings[:, 1] = 1
    equal = [count // 4, count // 2, count - 1]
    embeddings[equal] = np.eye(DIM, dtype=np.float32)[0]
    names = [str(index) for index in range(count)]
    bridge = EntityBridge(EntityTable(names, embeddings), top_k=3, threshold=0.1)

    output = bridge.project(np.eye(DIM, dtype=np.float32)[:1], scene())

    scores = torch.zeros(count)
    scores[equal] = 1 / 3
    assert output.evidence is not None
    found = [name for name, _ in output.evidence[0].concepts]
    assert found == [names[index] for index in scores.topk(3).indices]
    assert sorted(map(int, found)) == equal


def test_a_region_that_is_an_entity_is_that_entity() -> None:
    output = EntityBridge(table()).project(5 * table().embeddings, scene())
    assert output.evidence is not None
    assert [seen.concepts[0][0] for seen in output.evidence] == NAMES


def test_nothing_likely_gives_no_names() -> None:
    output = EntityBridge(table(), temperature=100.0).project(rows(2), scene())
    assert output.evidence is not None
    assert [seen.concepts for seen in output.evidence] == [(), ()]


@pytest.mark.parametrize("wrong", [np.ones((2, DIM + 1)), np.ones(DIM), np.full((1, DIM), np.nan)])
def test_vectors_that_cannot_be_compared_are_refused(wrong: npt.NDArray[np.float64]) -> None:
    with pytest.raises(ModelError, match=r"use the backbone|not finite"):
        EntityBridge(table()).project(wrong.astype(np.float32), scene())


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_above_zero(temperature: float) -> None:
    with pytest.raises(ModelError, match="above 0"):
        EntityBridge(table(), temperature=temperature)


def test_a_saved_table_opens_the_same(tmp_path: Path) -> None:
    table().save(tmp_path / "entities.safetensors")
    again = EntityTable.open(tmp_path / "entities.safetensors")
    assert again.names == tuple(NAMES)
    assert again.provenance == {"projection": "abc"}
    np.testing.assert_allclose(again.embeddings, table().embeddings, atol=1e-7)
    bridge = EntityBridge.open({"entities": tmp_path / "entities.safetensors"}, top_k=1)
    assert (bridge.top_k, bridge.provenance) == (1, {"projection": "abc"})
    assert [path.name for path in tmp_path.iterdir()] == ["entities.safetensors"]


class Tower:
    """Embeds a sentence by its letters, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_text(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.asked += texts
        return np.stack([rows(1, sum(text.encode()))[0] * len(text) for text in texts])


def test_a_table_averages_a_name_in_seven_sentences() -> None:
    tower, told = Tower(), []
    names = [f"thing {place}" for place in range(70)]
    built = EntityTable.build(
        names,
        tower.embed_text,
        {"text": "letters"},
        progress=lambda share, message: told.append((share, message)),
    )
    assert tower.asked[:3] == [
        "itap of a thing 0.",
        "a bad photo of the thing 0.",
        "a origami thing 0.",
    ]
    assert len(tower.asked) == 7 * 70
    one = unit_rows(Tower().embed_text(tower.asked[7 * 69 :])).mean(axis=0)
    np.testing.assert_allclose(built.embeddings[69], unit_rows(one), atol=1e-6)
    assert built.provenance == {"text": "letters"}
    assert [share for share, _ in told] == sorted({share for share, _ in told})
    assert told[0] == (0.0, "Embedding 70 names")
    # Between two reports, no more sentences than a text tower embeds in a second.
    assert len(told) >= 7 * 70 / 32


def test_building_can_be_cancelled() -> None:
    def stop(share: float, message: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        EntityTable.build(NAMES, Tower().embed_text, progress=stop)


def test_a_table_needs_a_row_for_every_name() -> None:
    with pytest.raises(ModelError, match="one row per name"):
        EntityTable(NAMES, rows(4))
    with pytest.raises(ModelError, match="no names"):
        EntityTable.build([], Tower().embed_text)
    with pytest.raises(ModelError, match="not finite"):
        EntityTable(NAMES, np.full((5, DIM), np.inf))


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, (f"open({str(tmp_path / 'harmed')!r}, 'w')",))

    path = tmp_path / "coco_embeddings_ViT-B16_with_ensemble.pickle"
    path.write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ModelError, match=r"pickle.*build the table"):
        EntityTable.open(path)
    path.rename(tmp_path / "entities.pt")
    with pytest.raises(ModelError, match=r"entities\.pt"):
        EntityTable.open(tmp_path / "entities.pt")
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("harm", ["missing", "cut", "nameless", "bad names", "other"])
def test_a_damaged_table_is_refused(tmp_path: Path, harm: str) -> None:
    from napari_patchioner.checkpoints import write_state

    path = tmp_path / "entities.safetensors"
    table().save(path)
    if harm == "missing":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    elif harm == "nameless":
        write_state(path, {"embeddings": torch.ones(2, DIM)})
    elif harm == "bad names":
        write_state(path, {"embeddings": torch.ones(2, DIM)}, entities="{]")
    else:
        write_state(path, {"weights": torch.ones(2, DIM)}, entities="[]")
    with pytest.raises(ModelError, match=r"entities\.safetensors"):
        EntityTable.open(path)


def test_coco_has_eighty_names() -> None:
    names = coco_names()
    assert len(names) == len(set(names)) == 80
    assert names[0] == "airplane"
    assert names[-1] == "zebra"
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.txt", "Tree\ndog \n\ncat\ndog\n"),
        ("names.json", json.dumps(["tree", "Dog", "cat"])),
        ("names.json", json.dumps({"dog": 0, "cat": 1, "tree": 2})),
        (
            "names.json",
            json.dumps(
                {
                    "attribute_count": {"red": 1},
                    "object_count": dict.fromkeys(["tree", "cat", "dog"], 3),
                }
            ),
        ),
    ],
)
def test_a_vocabulary_is_read_in_any_of_its_forms(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_names(tmp_path / name) == ["cat", "dog", "tree"]


@pytest.mark.parametrize("content", ["", "[1, 2]", "[]", "{", "3", "\x00\xff"])
def test_a_vocabulary_without_names_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "names.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelError, match=r"names\.json"):
        read_names(path)
    with pytest.raises(ModelError, match=r"nowhere\.txt"):
        read_names(tmp_path / "nowhere.txt")


def test_the_bridge_of_noise_trained_decoders_opens_without_files() -> None:
    vectors = np.array([[3, 4], [0, 0]], np.float32)
    np.testing.assert_allclose(
        NormalizeBridge.open({}).project(vectors, scene()).vectors, [[0.6, 0.8], [0, 0]]
    )
    np.testing.assert_array_equal(
        NormalizeBridge.open({}, unit=False).project(vectors, scene()).vectors, vectors
    )
