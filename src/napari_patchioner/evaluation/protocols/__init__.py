"""The paper's four tasks: caption once, score as often as wanted, show and compare."""

from __future__ import annotations

from ._predictions import VARIANTS, Prediction, Variant, read_predictions
from .compare import Difference, compare_runs
from .page import write_page
from .run import Evaluation, evaluate
from .scores_file import append_row, read_scores, write_scores
from .scoring import check_metrics, score_predictions
from .words import differences, markdown

__all__ = [
    "VARIANTS",
    "Difference",
    "Evaluation",
    "Prediction",
    "Variant",
    "append_row",
    "check_metrics",
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
