from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import meacap

from napari_patchioner.bridges.language_models import SceneGraph, read_scene_graph
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.text("abcde", min_size=1, max_size=4)
PREDICATES = st.sampled_from(["is", "on", "next to", "play with"])
FACTS = st.lists(st.tuples(NAMES, PREDICATES, NAMES), min_size=1, max_size=6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return meacap.write_parser(tmp_path / "parser")


@given(FACTS)
def test_reading_takes_everything_that_was_written_once_and_in_order(facts):
    text = " , ".join(f"( {' , '.join(fact)} )" for fact in facts)
    graph = read_scene_graph(text)
    named = [(a,) if predicate == "is" else (a, b) for a, predicate, b in facts]
    assert graph.nodes == tuple(dict.fromkeys(name for names in named for name in names))
    assert graph.attributes == tuple(dict.fromkeys((a, b) for a, p, b in facts if p == "is"))
    assert graph.relations == tuple(dict.fromkeys(fact for fact in facts if fact[1] != "is"))


@given(FACTS)
def test_spaces_do_not_matter(facts):
    wide = " , ".join(f"( {' , '.join(fact)} )" for fact in facts)
    narrow = ",".join(f"({','.join(fact)})" for fact in facts)
    assert read_scene_graph(wide) == read_scene_graph(narrow)


@pytest.mark.parametrize(
    ("text", "graph"),
    [
        ("( girl )", SceneGraph(("girl",))),
        ("girl", SceneGraph(("girl",))),
        ("( girl ) , ( cake , on , table )", read_scene_graph("( cake , on , table )")),
        ("( trees , is , 4 )", SceneGraph(("trees",), (("trees", "four"),))),
        ("( trees , is , 12 )", SceneGraph(("trees",), (("trees", "12"),))),
        ("( dog , black )", SceneGraph(("dog",), (("dog", "black"),))),
        ("( a , b , c , d )", SceneGraph(("a", "d"), (), (("a", "b c", "d"),))),
        ("", SceneGraph()),
        ("( , is , red ) , ( dog , on , )", SceneGraph(("dog",))),
        ("( , on , sofa )", SceneGraph(("sofa",))),
    ],
)
def test_odd_facts(text, graph):
    assert read_scene_graph(text) == graph


@given(st.text("(),ab is", max_size=40))
def test_whatever_a_network_writes_can_be_read(text):
    graph = read_scene_graph(text)
    assert all(graph.nodes)
    assert {node for node, _ in graph.attributes} <= set(graph.nodes)
    assert {end for a, _, b in graph.relations for end in (a, b)} <= set(graph.nodes)


def test_the_parser_writes_what_the_library_writes(folder):
    from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

    from napari_patchioner.bridges.language_models import FactualParser

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="<pad>", eos_token="</s>"
    )
    model = T5ForConditionalGeneration.from_pretrained(folder)
    prompts = [f"Generate Scene Graph: {caption}" for caption in meacap.CAPTIONS]
    read = tokenizer(prompts, padding=True, max_length=128, truncation=True, return_tensors="pt")
    written = model.generate(
        read["input_ids"], attention_mask=read["attention_mask"], num_beams=1, max_length=128
    )
    expected = tokenizer.batch_decode(
        written, skip_special_tokens=True, clean_up_tokenization_spaces=True
    )
    assert FactualParser.open(folder).generate(meacap.CAPTIONS) == [
        text.strip() for text in expected
    ]
    assert len({len(row.nonzero()) for row in written}) > 1, "all stop at once: no test of it"


def test_company_changes_no_graph(folder):
    from napari_patchioner.bridges.language_models import FactualParser

    parser = FactualParser.open(folder)
    together = parser.parse(meacap.CAPTIONS)
    assert together == [parser.parse([caption])[0] for caption in meacap.CAPTIONS]
    assert parser.parse([]) == []


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_of_the_parser_is_named(folder, name):
    from napari_patchioner.bridges.language_models import FactualParser

    (folder / name).unlink()
    with pytest.raises(ModelError, match=r"get the model again\.$"):
        FactualParser.open(folder)


def test_another_model_is_no_parser(folder, tmp_path):
    from napari_patchioner.bridges.language_models import FactualParser

    other = meacap.write_sentences(tmp_path / "other")
    with pytest.raises(ModelError, match="not a T5"):
        FactualParser.open(other)
    shutil.copy(other / "tokenizer.json", folder)
    with pytest.raises(ModelError, match="no token <pad>"):
        FactualParser.open(folder)
