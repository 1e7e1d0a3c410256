"""The paper's four tasks: caption once, score as often as wanted, show and compare."""

from __future__ import annotations

from .page import differences, markdown, write_page
from .predictions import VARIANTS, Prediction, Variant, read_predictions
from .run import Evaluation, evaluate
from .scoring import (
    Difference,
    append_row,
    check_metrics,
    check_runs,
    compare_runs,
    read_scores,
    score_predictions,
    write_scores,
)

__all__ = [
    "VARIANTS",
    "Difference",
    "Evaluation",
    "Prediction",
    "Variant",
    "append_row",
    "check_metrics",
    "check_runs",
    "compare_runs",
    "differences",
    "evaluate",
    "markdown",
    "read_predictions",
    "read_scores",
    "score_predictions",
    "write_page",
    "write_scores",
]
