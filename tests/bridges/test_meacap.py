from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import meacap

from napari_patchioner.bridges import MeaCapBridge, MemoryBank
from napari_patchioner.bridges.language_models import SceneGraph, read_scene_graph
from napari_patchioner.bridges.meacap import concepts_of_captions
from napari_patchioner.errors import Cancelled, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = ("dog", "puppy", "bus", "coach", "grass")
GRAPHS = {
    "a black dog on the grass": "( dog , is , black ) , ( dog , on , grass )",
    "one black dog, one bus": "( dog , is , black ) , ( bus )",
    "the grass has a black dog": "( dog , is , black ) , ( dog , on , grass )",
    "on the grass, a puppy": "( puppy , on , grass )",
    "nothing": "",
    "a bus": "( bus )",
}


class Reader:
    """Reads what it knows, and keeps count."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def parse(self, captions: Sequence[str]) -> list[SceneGraph]:
        self.asked += captions
        return [read_scene_graph(GRAPHS[caption]) for caption in captions]


class Meanings:
    """Dogs are puppies and buses are coaches; all else differs."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        kinds = {"puppy": "dog", "coach": "bus"}
        known = [kinds.get(text, text) for text in texts]
        return np.array([[float(a == b) for b in WORDS] for a in known], np.float32)


@pytest.fixture
def bank() -> MemoryBank:
    return MemoryBank.from_arrays(list(GRAPHS), np.eye(len(GRAPHS)))


def bridge(bank: MemoryBank, **options: float) -> MeaCapBridge:
    return MeaCapBridge(bank, Reader(), Meanings(), **options)


def towards(*places: int) -> np.ndarray:
    """A vector whose nearest captions are these, in this order."""
    vector = np.zeros(len(GRAPHS), np.float32)
    vector[list(places)] = np.arange(len(places), 0, -1)
    return vector


def test_concepts_come_in_the_order_of_the_captions_with_their_share(bank):
    output = bridge(bank).project(towards(0, 1, 2, 3, 4)[None], None)
    (evidence,) = output.evidence
    # the puppy counts as a dog; the only bus and the grass of the dogs do not
    assert evidence.concepts == (("grass", 3 / 5), ("black dog", 4 / 5))
    assert [text for text, _ in output.neighbours[0]] == list(GRAPHS)[:5]


def test_fewer_captions_and_fewer_concepts_by_option(bank):
    vector = towards(0, 1, 2, 3, 4)[None]
    assert bridge(bank, captions=2).project(vector, None).evidence[0].concepts == ()
    (evidence,) = bridge(bank, concepts=1).project(vector, None).evidence
    assert [name for name, _ in evidence.concepts] == ["grass"]
    (evidence,) = bridge(bank, similarity=1.0).project(vector, None).evidence
    assert dict(evidence.concepts)["black dog"] == 3 / 5


def test_vectors_come_out_with_length_one(bank):
    vectors = np.random.default_rng(0).normal(size=(3, bank.dim)).astype(np.float32)
    crossed = bridge(bank).project(vectors, None).vectors
    np.testing.assert_allclose(
        crossed, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), rtol=1e-6
    )


def test_a_caption_is_parsed_once(bank):
    meacap_bridge = bridge(bank)
    vectors = np.stack([towards(0, 1, 2, 3, 4), towards(4, 3, 2, 1, 0)])
    first = meacap_bridge.project(vectors, None)
    again = meacap_bridge.project(vectors[::-1], None)
    assert sorted(meacap_bridge.parser.asked) == sorted(list(GRAPHS)[:5])
    assert again.evidence == first.evidence[::-1]


def test_reading_may_be_stopped_and_goes_on_where_it_was(bank):
    regions = np.stack([towards(0, 1, 2, 3, 4), towards(5, 4, 3, 2, 1)])
    told: list[tuple[float, str]] = []
    whole = bridge(bank).project(
        regions, None, progress=lambda done, message: told.append((done, message))
    )
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert [message for _, message in told] == [
        "comparing with 6 sentences",
        "parsing 6 captions",
        "parsing 6 captions",
    ]

    def stop(done: float, _message: str) -> None:
        if done > 0.5:
            raise Cancelled

    stopped = bridge(bank)
    with pytest.raises(Cancelled):
        stopped.project(regions, None, progress=stop)
    assert len(stopped.parser.asked) == 4
    assert stopped.project(regions, None).evidence == whole.evidence
    assert len(stopped.parser.asked) == 6


def test_regions_do_not_meet(bank):
    vectors = np.stack([towards(0, 1, 2, 3, 4), towards(5, 4, 3, 2, 1)])
    together = bridge(bank).project(vectors, None).evidence
    assert together == tuple(bridge(bank).project(one[None], None).evidence[0] for one in vectors)
    assert bridge(bank).project(vectors[:0], None).evidence == ()


def test_nothing_to_read_or_to_name_is_refused(bank):
    for options in ({"captions": 0}, {"concepts": 0}):
        with pytest.raises(ModelError, match="at least one"):
            bridge(bank, **options)


FACTS = st.tuples(
    st.sampled_from(WORDS), st.sampled_from(["is", "on"]), st.sampled_from(["red", *WORDS])
)


@given(st.lists(st.lists(FACTS, min_size=1, max_size=4), min_size=1, max_size=5))
def test_what_stays_was_named_often_enough(facts):
    graphs = [read_scene_graph(",".join(f"({','.join(fact)})" for fact in one)) for one in facts]
    captions = [" ".join(word for fact in one for word in fact) for one in facts]
    kinds = {"puppy": "dog", "coach": "bus"}
    found = concepts_of_captions(captions, graphs, Meanings(), more_than=0)
    named = {kinds.get(node, node) for graph in graphs for node in graph.nodes}
    # of those alike one stays, and every kind is there
    assert sorted(kinds.get(one.node, one.node) for one in found) == sorted(named)
    assert sum(one.count for one in found) == sum(len(graph.nodes) for graph in graphs)
    assert all(
        one.phrase in (one.node, *(f"{word} {one.node}" for word in ("red", *WORDS)))
        for one in found
    )
    assert [one.position for one in found] == sorted(one.position for one in found)
    strict = concepts_of_captions(captions, graphs, Meanings(), more_than=2)
    assert strict == tuple(one for one in found if one.count > 2)


class Chain:
    """Neighbours in the list are alike, and nothing else is."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        near = np.eye(len(WORDS)) + 0.57 * (np.eye(len(WORDS), k=1) + np.eye(len(WORDS), k=-1))
        rows = np.linalg.cholesky(near)
        return np.array([rows[WORDS.index(text)] for text in texts], np.float32)


def named(graphs: Sequence[str], captions: Sequence[str] = ()) -> list[tuple[str, int]]:
    read = [read_scene_graph(text) for text in graphs]
    found = concepts_of_captions(captions or [""] * len(read), read, Chain())
    return [(one.phrase, one.count) for one in found]


def test_what_is_like_a_node_taken_in_stays_with_its_own_count():
    # the dog takes the puppy in; the bus is like the puppy alone, and takes nobody in any more
    graphs = ["(dog,on,puppy)", "(dog,on,puppy),(dog,on,bus)", "(dog,on,puppy),(puppy,on,bus)"]
    assert named([*graphs, "(dog)", "(bus)"]) == [("dog", 7), ("bus", 3)]


def test_attributes_add_up_along_a_chain_as_published():
    # one red puppy, one red bus: the puppy gets its own back from the dog, and one from the bus;
    # the bus gets these three on top of its own, and is a red bus
    graphs = ["(dog,on,puppy),(puppy,is,red)", "(dog,on,puppy),(bus,is,red)"]
    graphs += ["(dog,on,puppy),(bus,on,grass)", "(dog,on,bus)"]
    assert named(graphs)[:2] == [("dog", 7), ("red bus", 3)]
    assert named([text.replace("(puppy,is,red)", "(puppy)") for text in graphs])[1] == ("bus", 3)


def test_places_come_before_relations_and_relations_before_ranks():
    graphs = ["(bus,on,bus),(dog,on,dog),(bus,on,grass)"] * 3
    captions = ["some grass, a dog, a bus"] * 3
    assert [name for name, _ in named(graphs, captions)] == ["grass", "dog", "bus"]
    # none is found: all have the same rank, and the bus brings the grass along
    assert [name for name, _ in named(graphs)] == ["bus", "grass", "dog"]
    assert [name for name, _ in named([*graphs, "(dog)"])] == ["dog", "bus", "grass"]


def test_memory_of_captions_is_bounded(bank, monkeypatch):
    monkeypatch.setattr("napari_patchioner.bridges.meacap._CACHED", 3)
    meacap_bridge = bridge(bank)
    first = meacap_bridge.project(towards(0, 1, 2, 3, 4)[None], None)
    again = meacap_bridge.project(towards(0, 1, 2, 3, 4)[None], None)
    assert again.evidence == first.evidence
    assert len(meacap_bridge.parser.asked) == 10


def test_no_captions_no_concepts():
    assert concepts_of_captions([], [], Meanings()) == ()
    assert concepts_of_captions([""], [SceneGraph()], Meanings()) == ()


def test_published_folders_open_and_name_concepts(tmp_path):
    files = meacap.write(tmp_path, dim=6)
    vectors = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    opened = MeaCapBridge.open(files, captions=3)
    output = opened.project(vectors, None)
    assert [len(near) for near in output.neighbours] == [3] * 4
    assert output.evidence == MeaCapBridge.open(files, captions=3).project(vectors, None).evidence


@pytest.mark.parametrize(
    ("role", "wanted"), [("parser", "flan-t5-base-VG-factual-sg"), ("sentences", "MiniLM")]
)
def test_a_missing_language_model_is_named(tmp_path, bank, role, wanted):
    files = dict.fromkeys(("bank", "parser", "sentences"), tmp_path)
    for absent in ({role: tmp_path / "nowhere"}, {}):
        given_files = {name: path for name, path in files.items() if name != role} | absent
        with pytest.raises(ModelError, match=rf"MeaCap needs .* get .*{wanted}") as caught:
            MeaCapBridge.open(given_files)
        assert str(caught.value).count(". ") == 0


def test_sentences_are_means_of_token_states(tmp_path):
    import torch
    from transformers import BertModel, PreTrainedTokenizerFast

    from napari_patchioner.bridges.language_models import BertSentences

    folder = meacap.write_sentences(tmp_path / "sentences")
    found = BertSentences.open(folder).encode(["a dog", "the red bus is on grass", "x" * 999])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    tokens = torch.tensor([tokenizer.backend_tokenizer.encode("a dog").ids])
    tokens = tokens[:, : int((tokens != 0).sum())]
    model = BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        mean = model(tokens).last_hidden_state[0].mean(0).numpy()
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-5)
    assert BertSentences.open(folder).encode([]).shape == (0, found.shape[1])


def test_another_model_is_no_sentence_model(tmp_path):
    from napari_patchioner.bridges.language_models import BertSentences

    with pytest.raises(ModelError, match="not a BERT"):
        BertSentences.open(meacap.write_parser(tmp_path / "parser"))
