"""Scores and differences as Markdown, for a terminal or a page of documentation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_patchioner.evaluation.markdown import markdown_table
from napari_patchioner.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .compare import Difference


def markdown(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the scores of a run as a table, a row for every variant and subset.

    Parameters
    ----------
    scores : mapping
        ``scores[variant][group]`` of `score_predictions`.

    Returns
    -------
    str
        Values times 100, as papers print them; means with a 95 % interval.
    """
    rows = [(v, g, found) for v, groups in scores.items() for g, found in groups.items()]
    names = [name for name in METRICS if any(name in found["metrics"] for *_, found in rows)]
    header = ["captions from", "subset", "regions", *(METRICS[name].title for name in names)]
    return markdown_table(
        [*header, "ms a region"],
        [
            [
                v,
                g,
                str(found["count"]),
                *(_cell(found["metrics"].get(n)) for n in names),
                _ms(found),
            ]
            for v, g, found in rows
        ],
    )


def differences(found: Sequence[Difference], runs: tuple[str, str]) -> str:
    """Write the differences of two runs as a table.

    Parameters
    ----------
    found : sequence of Difference
    runs : tuple of str
        What to call the two.
    """
    return markdown_table(
        ["metric", *runs, "difference (95 % interval)", "samples"],
        [
            [
                METRICS[one.metric].title,
                f"{100 * one.first:.1f}",
                f"{100 * one.second:.1f}",
                _gain(one),
                str(one.gain.count),
            ]
            for one in found
        ],
    )


def _gain(one: Difference) -> str:
    if math.isnan(one.gain.low):
        return f"{100 * one.gain.mean:+.1f}"
    ends = f"{100 * one.gain.low:+.1f} to {100 * one.gain.high:+.1f}"
    return f"{100 * one.gain.mean:+.1f} ({ends}){' *' if one.is_clear else ''}"


def _cell(value: Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    if "low" not in value:
        return f"{100 * value['value']:.1f}"
    return f"{100 * value['value']:.1f} ({100 * value['low']:.1f}-{100 * value['high']:.1f})"


def _ms(found: Mapping[str, Any]) -> str:
    return "" if found["seconds"] is None else f"{1000 * found['seconds']:.1f}"
