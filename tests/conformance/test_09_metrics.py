"""CIDEr-D and BLEU as the COCO caption tools compute them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_patchioner.evaluation.metrics._tokens import tokenize
from napari_patchioner.evaluation.metrics.bleu import bleu
from napari_patchioner.evaluation.metrics.cider import cider_d

if TYPE_CHECKING:
    from .conftest import Case


def texts(case: Case) -> tuple[list[str], list[list[str]]]:
    given = case.texts_in
    prefix = "tokenized_" if "tokenized_candidates" in given else ""
    return given[f"{prefix}candidates"], given[f"{prefix}references"]


@pytest.mark.cases("09_metrics/caption_metrics*")
def test_corpus_scores(case: Case) -> None:
    candidates, references = texts(case)
    expected = case.texts_out["corpus"]

    scores = bleu(candidates, references)

    assert scores == pytest.approx([expected[f"BLEU{size}"] for size in (1, 2, 3, 4)], rel=1e-6)
    cider = cider_d(candidates, references).mean()
    assert cider == pytest.approx(expected["CIDEr"], rel=1e-6, abs=1e-9)


@pytest.mark.cases("09_metrics/caption_metrics*")
def test_scores_of_single_captions(case: Case) -> None:
    candidates, references = texts(case)
    for name in case.expected:
        if name == "per_item_CIDEr":
            case.check(name, cider_d(candidates, references))
        elif name.startswith("per_item_BLEU"):
            size = int(name[-1])
            pairs = zip(candidates, references, strict=True)
            case.check(name, [bleu([one], [others])[size - 1] for one, others in pairs])


@pytest.mark.cases("09_metrics/caption_metrics*")
def test_tokens(case: Case) -> None:
    given, expected = case.texts_in, case.texts_out
    for text, tokens in zip(
        given.get("candidates", ()), expected.get("tokenized_candidates", ()), strict=True
    ):
        assert " ".join(tokenize(text)) == tokens
