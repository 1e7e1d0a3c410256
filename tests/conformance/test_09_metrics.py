"""Caption metrics as the COCO caption tools compute them, dense mAP as both its protocols do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_patchioner.errors import ModelError
from napari_patchioner.evaluation.metrics.dense_map import (
    DenseImage,
    dense_map,
    match,
    merge_boxes,
)
from napari_patchioner.evaluation.metrics.java import JavaMeteor
from napari_patchioner.evaluation.metrics.overlap import bleu, cider_d, rouge_l
from napari_patchioner.evaluation.metrics.tokens import tokenize_captions, tokenize_references

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_patchioner.evaluation.metrics.dense_map import Protocol

    from .conftest import Case

    FloatArray = npt.NDArray[np.float64]


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
    tokens = tokenize_captions(given.get("candidates", []))
    assert [" ".join(one) for one in tokens] == expected.get("tokenized_candidates", [])
    tokens_of = tokenize_references(given.get("references", []))
    found = [[" ".join(one) for one in others] for others in tokens_of]
    assert found == expected.get("tokenized_references", [])


@pytest.mark.cases("09_metrics/caption_metrics*")
def test_rouge(case: Case) -> None:
    scores = rouge_l(*texts(case))

    case.check("per_item_ROUGE_L", scores)
    assert scores.mean() == pytest.approx(case.texts_out["corpus"]["ROUGE_L"], rel=1e-6)


def dense_images(case: Case) -> list[DenseImage]:
    return [
        DenseImage(
            np.reshape(one["gt_boxes"], (-1, 4)),
            one["gt_texts"],
            np.reshape(one["boxes"], (-1, 4)),
            one["texts"],
            one["scores"],
        )
        for one in case.texts_in["images"]
    ]


@pytest.mark.cases("09_metrics/densecap_map*")
@pytest.mark.parametrize(
    ("protocol", "name"),
    [("reference", "reference"), ("paper", "paper_densecap_lua_protocol_independent")],
)
def test_dense_map(case: Case, protocol: Protocol, name: str) -> None:
    """With the METEOR of each pair as the reference found it, so that only mAP is compared."""
    known = {
        (one["candidate"], tuple(one["references"])): one["meteor"]
        for one in case.texts_out["records_with_meteor"]
    }

    def meteor(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> FloatArray:
        pairs = zip(candidates, references, strict=True)
        return np.array([known[one, tuple(others)] for one, others in pairs])

    images = dense_images(case)
    found, expected = dense_map(images, meteor, protocol=protocol), case.texts_out[name]

    assert found.mean == pytest.approx(expected["map"], abs=1e-6)
    assert found.detection == pytest.approx(expected["detmap"], abs=1e-6)
    for (iou, agreement), value in found.by_threshold.items():
        key = f"iou_{iou:g}_meteor_{agreement:g}"
        assert value == pytest.approx(expected["ap_breakdown"][key], abs=1e-6), key
    for iou, value in found.by_iou.items():
        assert value == pytest.approx(expected["det_breakdown"][f"iou_{iou:g}"], abs=1e-6)
    merged = sum(len(merge_boxes(one.truth, one.texts)[0]) for one in images)
    assert merged == case.texts_out["npos_after_merge"]


@pytest.mark.cases("09_metrics/densecap_map*")
def test_matches_of_the_published_evaluator(case: Case) -> None:
    found = []
    for image in dense_images(case):
        truth, said = merge_boxes(image.truth, image.texts)
        found += match(image, truth, said, edge=0.0)

    expected = case.texts_out["records_with_meteor"]
    assert [one.caption for one in found] == [one["candidate"] for one in expected]
    assert [list(one.references) for one in found] == [one["references"] for one in expected]
    assert [one.first for one in found] == [bool(one["ok"]) for one in expected]
    assert [one.iou for one in found] == pytest.approx([one["iou"] for one in expected], abs=1e-6)


@pytest.fixture(scope="module")
def meteor() -> JavaMeteor:
    """Skips where Java or the package with the jar is not there."""
    try:
        return JavaMeteor()
    except ModelError as error:
        pytest.skip(str(error))


@pytest.mark.cases("09_metrics/caption_metrics*")
def test_meteor(case: Case, meteor: JavaMeteor) -> None:
    found = meteor.score(*texts(case))

    case.check("per_item_METEOR", found.items)
    assert found.corpus == pytest.approx(case.texts_out["corpus"]["METEOR"], abs=1e-6)
    name = "corpus_values_in_order_B1_B2_B3_B4_ROUGE_CIDEr_METEOR"
    if name in case.expected:
        candidates, references = texts(case)
        rouge, cider = rouge_l(candidates, references), cider_d(candidates, references)
        values = [*bleu(candidates, references), rouge.mean(), cider.mean(), found.corpus]
        case.check(name, values)


@pytest.mark.cases("09_metrics/densecap_map*")
def test_meteor_of_words_as_they_stand(case: Case, meteor: JavaMeteor) -> None:
    records = case.texts_out["records_with_meteor"]
    found = meteor.items(
        [one["candidate"] for one in records], [one["references"] for one in records]
    )
    assert found == pytest.approx([one["meteor"] for one in records], abs=1e-6)


def test_signs_of_the_protocol_in_a_text_do_no_harm(meteor: JavaMeteor) -> None:
    nasty = "a dog ||| runs\non the lawn"
    found = meteor.items([nasty, "a cat", "a cat"], [["a dog runs on the lawn"], [], ["a cat"]])
    assert found == pytest.approx([1.0, 0.0, 1.0])
