"""The published filter: memory captions and their scene graphs in, concepts out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_patchioner.bridges.language_models import read_scene_graph
from napari_patchioner.bridges.meacap import CaptionConcept, concepts_of_captions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .conftest import Case


class Given:
    """The encoder whose values the case gives."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._rows = dict(zip(given["nodes"], given["node_embeddings"], strict=True))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self._rows[text] for text in texts], np.float32)


def concepts(given: dict[str, Any], params: dict[str, Any]) -> tuple[CaptionConcept, ...]:
    return concepts_of_captions(
        given["captions"],
        [read_scene_graph(text) for text in given["scene_graphs"]],
        Given(given),
        similarity=params.get("similarity_threshold", 0.55),
        more_than=int(params.get("keep_merged_count", "> 2").strip("> ")),
        attribute_count=params.get("attribute_threshold", 3),
    )


@pytest.mark.cases("07_meacap/concepts")
def test_concepts(case: Case) -> None:
    pairs = list(zip(case.texts_in["cases"], case.texts_out["cases"], strict=True))
    assert pairs
    for number, (given, expected) in enumerate(pairs):
        found = concepts(given, case.params)
        phrases = [concept.phrase for concept in found]
        assert phrases == expected["all_concepts_before_cut"], number
        assert phrases[: case.params["max_concepts"]] == expected["concepts"], number
        assert {c.node: c.count for c in found} == expected["merged_counts"], number


@pytest.mark.cases("07_meacap/concepts_hash_seed_dependent")
def test_concepts_that_the_published_code_leaves_to_chance(case: Case) -> None:
    pairs = list(zip(case.texts_in["cases"], case.texts_out["possible"], strict=True))
    assert pairs
    for given, possible in pairs:
        assert [concept.phrase for concept in concepts(given, case.params)] in possible
