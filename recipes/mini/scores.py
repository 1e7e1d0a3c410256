"""Numbers from predictions: nothing here knows a model."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_patchioner.evaluation.metrics.mention import mentions
from napari_patchioner.evaluation.metrics.overlap import DocumentFrequency, bleu, cider_d
from napari_patchioner.evaluation.metrics.statistics import mean_interval

from .measures import (
    best_constant,
    calibration_error,
    class_mean,
    interval_of,
    is_crop,
    is_head,
    is_right,
    is_whole,
    score_bins,
    separation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .run import Run, Trial

    Texts: TypeAlias = Sequence[str]
    References: TypeAlias = Sequence[Sequence[str]]

# The best of the sentences that were tried for all pictures.
CONSTANT_SENTENCE = "a man sitting at a table with a plate of food"
Scores = dict[str, Any]


def score_run(result: Run, meteor: Callable[[Texts, References], float] | None = None) -> Scores:
    """All numbers of one model's run.

    Parameters
    ----------
    result : Run
    meteor : callable, optional
        METEOR of captions against people's; left out without it.

    Returns
    -------
    dict
        Plain numbers, lists and strings, ready for JSON: ``regions`` by kind, ``crop``,
        ``whole_image``, ``score``, ``verdicts``, ``captions``, ``seconds``.
    """
    by_kind: defaultdict[str, list[Trial]] = defaultdict(list)
    for prediction in result.trials:
        by_kind[prediction.kind].append(prediction)
    boxes = by_kind["box"]
    return {
        "regions": {kind: score_regions(found) for kind, found in by_kind.items()},
        "crop": score_crops([one for one in boxes if one.crop is not None]),
        "whole_image": score_wholes(
            [one for one in result.wholes if one.sample.references], meteor
        ),
        "score": score_calibration(boxes),
        "verdicts": score_verdicts(boxes),
        "captions": describe_captions(boxes),
        "parts": score_parts(boxes),
        "worst": worst_categories(boxes),
        "seconds": {
            "encode": float(np.median(result.encode_seconds)),
            "caption": float(np.median(result.caption_seconds)),
        },
    }


def score_regions(predictions: Sequence[Trial]) -> Scores:
    """Category mention of regions against what needs no region.

    Parameters
    ----------
    predictions : sequence of Trial
        Of one kind.

    Returns
    -------
    dict
        ``all`` and ``non_person`` with intervals for region, head, whole and their difference;
        ``class_mean``; the best constant caption and its share.
    """
    others = [one for one in predictions if one.category != "person"]
    constant, share = best_constant([one.category for one in predictions])
    return {
        "count": len(predictions),
        "images": len({one.sample.image for one in predictions}),
        "all": _against_whole(predictions),
        "non_person": _against_whole(others),
        "class_mean": class_mean(predictions),
        "constant": {"caption": constant, "share": share},
    }


def score_crops(predictions: Sequence[Trial]) -> Scores:
    """Region against crop-and-caption, on the same boxes.

    Parameters
    ----------
    predictions : sequence of Trial
        Those that have a crop's caption.

    Returns
    -------
    dict
        Intervals for ``region``, ``crop`` and ``region_minus_crop``, all and non-person.
    """
    others = [one for one in predictions if one.category != "person"]
    return {"all": _against_crop(predictions), "non_person": _against_crop(others)}


def score_wholes(
    predictions: Sequence[Trial], meteor: Callable[[Texts, References], float] | None = None
) -> Scores:
    """CIDEr-D, BLEU and METEOR of whole-image captions and of one constant sentence.

    Parameters
    ----------
    predictions : sequence of Trial
        Those with references.
    meteor : callable, optional
        As for `score_run`.

    Returns
    -------
    dict
    """
    if not predictions:
        return {"images": 0}
    references = [one.sample.references for one in predictions]
    frequency = DocumentFrequency(references)
    files = [one.sample.image for one in predictions]
    rows = {}
    for name, texts in (
        ("model", [one.caption.text for one in predictions]),
        ("constant", [CONSTANT_SENTENCE] * len(predictions)),
    ):
        values = bleu(texts, references)
        cider = mean_interval(cider_d(texts, references, frequency), files)
        rows[name] = {"cider_d": asdict(cider), "bleu_1": values[0], "bleu_4": values[3]}
        if meteor is not None:
            rows[name]["meteor"] = meteor(texts, references)
    return {"images": len(predictions), **rows}


def score_calibration(predictions: Sequence[Trial]) -> Scores:
    """How well the score tells captions whose first noun is right from the others.

    Parameters
    ----------
    predictions : sequence of Trial

    Returns
    -------
    dict
        ``error`` (expected calibration error), ``bins``, ``separation`` (area under the ROC).
    """
    scores = np.array([one.caption.score for one in predictions])
    right = np.array([is_head(one) for one in predictions])
    return {
        "error": calibration_error(scores, right),
        "separation": separation(scores, right),
        "bins": [asdict(one) for one in score_bins(scores, right)],
    }


def score_verdicts(predictions: Sequence[Trial]) -> Scores:
    """Share and accuracy of sure, hedged and appearance-only captions."""
    table = {}
    for verdict in ("sure", "unsure", "appearance"):
        here = [one for one in predictions if one.caption.verdict == verdict]
        table[verdict] = {
            "share": len(here) / max(len(predictions), 1),
            "accuracy": _mean(here, is_right),
            "head": _mean(here, is_head),
        }
    return table


def describe_captions(predictions: Sequence[Trial]) -> Scores:
    """Length, variety and spill of person into captions of other things."""
    texts = [one.caption.text for one in predictions]
    others = [one for one in predictions if one.category != "person"]
    spill = [mentions(one.caption.text, "person") for one in others]
    wrong = Counter((one.category, one.caption.text) for one in predictions if not is_right(one))
    return {
        "words": float(np.mean([len(text.split()) for text in texts])) if texts else 0.0,
        "distinct": len(set(texts)) / max(len(texts), 1),
        "person_spill": float(np.mean(spill)) if spill else 0.0,
        "common": Counter(texts).most_common(20),
        "common_wrong": [[*key, count] for key, count in wrong.most_common(40)],
    }


def score_parts(predictions: Sequence[Trial]) -> Scores:
    """Mention by size of the object and by folder, all and non-person."""
    sizes = {"2-5 %": (0.02, 0.05), "5-15 %": (0.05, 0.15), "over 15 %": (0.15, 1.01)}
    parts = {
        name: [one for one in predictions if low <= one.area < high]
        for name, (low, high) in sizes.items()
    }
    for folder in sorted({one.sample.extra["folder"] for one in predictions}):
        parts[folder] = [one for one in predictions if one.sample.extra["folder"] == folder]
    return {
        name: {
            "all": _mean(here, is_right),
            "non_person": _mean([one for one in here if one.category != "person"], is_right),
        }
        for name, here in parts.items()
    }


def worst_categories(predictions: Sequence[Trial], least: int = 5) -> list[list[Any]]:
    """Categories by accuracy, worst first: name, count, accuracy, most common wrong caption."""
    by_name: defaultdict[str, list[Trial]] = defaultdict(list)
    for one in predictions:
        by_name[one.category].append(one)
    rows: list[list[Any]] = []
    for name, here in by_name.items():
        wrong = Counter(one.caption.text for one in here if not is_right(one))
        common = wrong.most_common(1)[0][0] if wrong else ""
        rows.append([name, len(here), float(np.mean([is_right(one) for one in here])), common])
    return sorted((row for row in rows if row[1] >= least), key=lambda row: (row[2], -row[1]))


def _against_whole(predictions: Sequence[Trial]) -> Scores:
    return {
        "region": _mean(predictions, is_right),
        "head": _mean(predictions, is_head),
        "whole": _mean(predictions, is_whole),
        "region_minus_whole": asdict(
            interval_of(predictions, lambda one: is_right(one) - is_whole(one))
        ),
    }


def _against_crop(predictions: Sequence[Trial]) -> Scores:
    return {
        "region": _mean(predictions, is_right),
        "crop": _mean(predictions, is_crop),
        "whole": _mean(predictions, is_whole),
        "region_minus_crop": asdict(
            interval_of(predictions, lambda one: is_right(one) - is_crop(one))
        ),
    }


def _mean(predictions: Sequence[Trial], value: Callable[[Trial], float]) -> Scores:
    return asdict(interval_of(predictions, value))
