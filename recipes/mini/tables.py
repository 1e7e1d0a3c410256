"""Scores as Markdown that a person can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_patchioner.evaluation.protocols.page import markdown_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .scores import Scores

KIND_NAMES = {
    "box": "boxes",
    "polygon": "polygons",
    "trace": "traces",
    "stuff": "stuff segments",
}


def report_tables(scores: Mapping[str, Scores]) -> str:
    """All tables of one report.

    Parameters
    ----------
    scores : mapping of model name to what `score_run` returned

    Returns
    -------
    str
        Markdown, without a title.
    """
    parts = [
        "### Does the caption name what is in the region?",
        regions_table(scores),
        "### Against cutting the region out, on the same boxes",
        crops_table(scores),
        "### Whole images",
        wholes_table(scores),
        "### What the score is worth (boxes)",
        verdicts_table(scores),
        bins_table(scores),
        "### By size and by source (boxes)",
        parts_table(scores),
        "### Worst categories (boxes, at least five of them)",
        worst_table(scores),
    ]
    return "\n\n".join(parts) + "\n"


def regions_table(scores: Mapping[str, Scores]) -> str:
    """Mention by kind of region, with the baselines that need no region."""
    rows = []
    for model, one in scores.items():
        for kind, name in KIND_NAMES.items():
            found = one["regions"].get(kind)
            if found is None:
                continue
            for subset in ("all", "non_person") if kind != "stuff" else ("all",):
                rows.append(_regions_row(model, name, subset, found))
    header = ["model", "regions", "named", "said first", "whole image's caption", "gain"]
    return markdown_table([*header, "best constant", "class mean"], rows)


def _regions_row(model: str, name: str, subset: str, found: Scores) -> list[str]:
    values = found[subset]
    every = subset == "all"
    constant = f"{found['constant']['share']:.3f} ({found['constant']['caption']})"
    return [
        model,
        f"{values['region']['count']} {name}" + ("" if every else ", not persons"),
        f"**{interval(values['region'])}**",
        f"{values['head']['mean']:.3f}",
        f"{values['whole']['mean']:.3f}",
        interval(values["region_minus_whole"], sign="+"),
        constant if every else "–",
        f"{found['class_mean']:.3f}" if every else "–",
    ]


def crops_table(scores: Mapping[str, Scores]) -> str:
    """Region captions beside captions of the cut-out boxes."""
    rows = []
    for model, one in scores.items():
        for subset, name in (("all", "boxes"), ("non_person", "boxes, not persons")):
            values = one["crop"][subset]
            rows.append(
                [
                    model,
                    f"{values['region']['count']} {name}",
                    interval(values["region"]),
                    interval(values["crop"]),
                    interval(values["region_minus_crop"], sign="+"),
                    f"{values['whole']['mean']:.3f}",
                ]
            )
    header = ["model", "drawn at random", "region", "crop", "region minus crop", "whole image"]
    return markdown_table(header, rows)


def wholes_table(scores: Mapping[str, Scores]) -> str:
    """CIDEr-D, BLEU and METEOR against one sentence for every image."""
    rows = []
    for model, one in scores.items():
        for kind, name in (("model", model), ("constant", "one sentence for all")):
            if kind in one["whole_image"]:
                values = one["whole_image"][kind]
                bleu = f"{values['bleu_1']:.3f}", f"{values['bleu_4']:.3f}"
                meteor = f"{values['meteor']:.3f}" if "meteor" in values else "–"
                rows.append([name, interval(values["cider_d"]), *bleu, meteor])
    header = ["captions", "CIDEr-D", "BLEU-1", "BLEU-4", "METEOR"]
    return markdown_table(header, dict.fromkeys(tuple(row) for row in rows))


def verdicts_table(scores: Mapping[str, Scores]) -> str:
    """Share and accuracy of sure, hedged and appearance captions; calibration.

    Plainly wrong are captions that are sure and name nothing right.
    """
    rows = []
    for model, one in scores.items():
        cells = [model]
        for verdict in ("sure", "unsure", "appearance"):
            values = one["verdicts"][verdict]
            named = f"{values['accuracy']['mean']:.3f}" if values["accuracy"]["count"] else "–"
            cells.append(f"{values['share']:.2f} ({named})")
        sure = one["verdicts"]["sure"]
        wrong = sure["share"] * (1 - sure["accuracy"]["mean"]) if sure["accuracy"]["count"] else 0.0
        score = one["score"]
        cells += [f"{wrong:.3f}", f"{score['error']:.3f}", f"{score['separation']:.3f}"]
        rows.append(cells)
    header = ["model", "sure: share (named)", "unsure: share (named)"]
    header += ["appearance only: share (named)", "plainly wrong", "calibration error"]
    header += ["ranking (AUC)"]
    return markdown_table(header, rows)


def bins_table(scores: Mapping[str, Scores]) -> str:
    """Share of captions whose first noun is right, by range of the score."""
    rows = []
    for model, one in scores.items():
        cells = [
            f"{entry['accuracy']:.2f} of {entry['count']}" if entry["count"] else "–"
            for entry in one["score"]["bins"]
        ]
        rows.append([model, *cells])
    edges = next(iter(scores.values()))["score"]["bins"]
    header = [f"{entry['low']:.1f} to {entry['high']:.1f}" for entry in edges]
    return markdown_table(["said first, by score", *header], rows)


def parts_table(scores: Mapping[str, Scores]) -> str:
    """Mention by size of the object and by folder."""
    rows = []
    for model, one in scores.items():
        for part, values in one["parts"].items():
            if values["all"]["count"]:
                cells = [interval(values["all"]), interval(values["non_person"])]
                rows.append([model, part, str(values["all"]["count"]), *cells])
    return markdown_table(["model", "part", "boxes", "named", "not persons"], rows)


def worst_table(scores: Mapping[str, Scores], count: int = 12) -> str:
    """Categories the model names least."""
    rows = []
    for model, one in scores.items():
        for name, boxes, accuracy, said in one["worst"][:count]:
            rows.append([model, name, str(boxes), f"{accuracy:.2f}", said])
    return markdown_table(["model", "category", "boxes", "named", "usual wrong caption"], rows)


def interval(values: Mapping[str, Any], sign: str = "") -> str:
    """Mean with its 95 % interval; "–" without values.

    Examples
    --------
    >>> interval({"mean": 0.5, "low": 0.4, "high": 0.6, "count": 10})
    '0.500 (0.400 to 0.600)'
    """
    if not values["count"]:
        return "–"
    mean, low, high = (f"{values[key]:{sign}.3f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"
