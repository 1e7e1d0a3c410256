from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_patchioner.errors import FormatError
from napari_patchioner.evaluation.metrics.overlap import cider_d
from napari_patchioner.evaluation.protocols import Prediction, compare_runs, score_predictions

BOX = "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))"
FAR = "POLYGON ((20 0, 30 0, 30 10, 20 10, 20 0))"


def said(place: int, caption: str, reference: str, **fields: object) -> Prediction:
    base = Prediction(
        f"s{place}",
        f"i{place // 2}",
        "model",
        (reference,),
        caption,
        0.5,
        0.01 * (place + 1),
        "box",
        BOX if place % 2 else FAR,
    )
    return replace(base, **fields)  # type: ignore[arg-type]


GOOD = [
    said(0, "a big brown dog", "a big brown dog", group="single"),
    said(1, "a red car", "a red car on a road", group="disjoint"),
    said(2, "a tree", "a very old oak tree", group="single"),
    said(3, "a cup of tea", "a cup of tea", group="disjoint"),
]
BAD = [replace(one, caption="nothing at all", found=0.0) for one in GOOD]


def test_groups_are_scored_apart_and_under_the_weights_of_all():
    found = score_predictions(GOOD, "region-set")["model"]

    items = cider_d([one.caption for one in GOOD], [one.references for one in GOOD])
    assert found["all"]["metrics"]["cider_d"]["value"] == pytest.approx(items.mean())
    assert found["single"]["metrics"]["cider_d"]["value"] == pytest.approx(items[[0, 2]].mean())
    assert found["single"]["count"] == found["disjoint"]["count"] == 2
    assert found["all"]["seconds"] == pytest.approx(0.025)


def test_what_a_metric_cannot_say_is_left_out():
    found = score_predictions(GOOD, "region-set")["model"]["all"]["metrics"]
    assert "self_retrieval" not in found
    assert "mention" not in found
    assert "dense_map" not in found
    found = score_predictions([replace(one, found=1.0) for one in GOOD], "region-set")
    assert found["model"]["all"]["metrics"]["self_retrieval"]["value"] == 1.0


def test_captions_that_name_the_category_are_counted():
    pair = [replace(GOOD[0], category="dog"), replace(GOOD[1], category="giraffe"), GOOD[2]]
    found = score_predictions(pair, "dense", metrics=["mention"])["model"]["all"]["metrics"]
    assert found["mention"]["value"] == 0.5
    assert found["mention"]["count"] == 2


def test_a_single_group_is_not_repeated():
    assert list(score_predictions([GOOD[0], GOOD[2]], "region-set")["model"]) == ["all"]


def test_silence_is_counted_and_scores_nothing():
    silent = [replace(one, caption="", problem="outside") for one in GOOD]
    found = score_predictions(silent, "region-set")["model"]["all"]
    assert found["silent"] == 4
    assert found["metrics"]["cider_d"]["value"] == 0.0


def test_variants_are_scored_apart():
    both = [*GOOD, *(replace(one, variant="whole-image") for one in BAD)]
    found = score_predictions(both, "region-set")
    assert found["model"]["all"]["count"] == found["whole-image"]["all"]["count"] == 4
    model, whole = (found[v]["all"]["metrics"]["cider_d"]["value"] for v in found)
    assert model > whole


def test_a_better_run_is_clearly_better():
    (cider,) = [d for d in compare_runs(BAD, GOOD, "region-set") if d.metric == "cider_d"]
    assert cider.gain.mean == pytest.approx(cider.second - cider.first)
    assert cider.is_clear
    assert cider.gain.low <= cider.gain.mean <= cider.gain.high


def test_a_run_differs_from_itself_in_nothing():
    for difference in compare_runs(GOOD, GOOD, "region-set"):
        assert difference.gain.mean == 0
        assert not difference.is_clear


def test_only_shared_samples_are_compared():
    shared = compare_runs(GOOD[:2], BAD[1:], "region-set", metrics=["rouge_l"])
    assert shared[0].gain.count == 1
    with pytest.raises(FormatError, match="share no sample"):
        compare_runs(GOOD[:1], BAD[1:], "region-set")
    with pytest.raises(FormatError, match="several captions"):
        compare_runs(GOOD + GOOD, BAD, "region-set")


def test_metrics_without_items_have_no_interval():
    (bleu,) = compare_runs(BAD, GOOD, "region-set", metrics=["bleu1"])
    assert bleu.gain.mean > 0
    assert np.isnan(bleu.gain.low)


def test_runs_of_other_data_with_the_same_ids_are_not_compared():
    others = [replace(one, references=("something else",)) for one in BAD]
    with pytest.raises(FormatError, match="compare runs of the same data set"):
        compare_runs(GOOD, others, "region-set")
