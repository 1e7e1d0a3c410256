"""One report of one or more captioners: scores, predictions, tables and pictures."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.evaluation.protocols.page import markdown_table

from .measures import is_right
from .run import Run, run
from .scores import score_run
from .sheet import contact_sheet
from .tables import report_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_patchioner.grids import FeatureGrid

    from .coco_folders import LabelledImage
    from .run import Captions, Trial
    from .scores import Scores
    from .sheet import Tile

EXAMPLES = 40


def write_report(
    images: Sequence[LabelledImage],
    models: Mapping[str, Callable[[str], Captions]],
    out: Path,
    *,
    encode: Callable[[npt.NDArray[np.uint8], str], FeatureGrid] | None = None,
    crops: int = 300,
    seed: int = 0,
    meteor: Callable[[Sequence[str], Sequence[Sequence[str]]], float] | None = None,
    tell: Callable[[str], None] = print,
) -> dict[str, Scores]:
    """Run captioners over labelled images and write everything that came of it.

    Parameters
    ----------
    images : sequence of LabelledImage
    models : mapping of name to callable
        ``models[name](file_name)`` is the captioner to ask about that image.
    out : Path
        Folder for ``scores.json``, ``predictions.jsonl``, ``tables.md`` and for each model
        examples drawn at random, ``examples-NAME.png`` and ``.md``.
    encode : callable, optional
        ``encode(pixels, key)`` makes the grid that all models read, instead of each one's own.
    crops : int
        Boxes that are also cut out and captioned.
    seed : int
        Of scribbles, crops and examples.
    meteor : callable, optional
        METEOR of captions against people's; left out without it.
    tell : callable
        Told about progress.

    Returns
    -------
    dict
        What `score_run` returned for each model.
    """
    out.mkdir(parents=True, exist_ok=True)
    scores: dict[str, Scores] = {}
    lines: list[str] = []
    results = run(
        images,
        models,
        encode=encode,
        crops=crops,
        seed=seed,
        progress=lambda _, message: tell(message),
    )
    for name, result in results.items():
        scores[name] = score_run(result, meteor)
        lines += prediction_lines(name, result)
        examples = draw_examples(result.trials, seed)
        contact_sheet(example_tiles(images, examples)).save(out / f"examples-{name}.png")
        (out / f"examples-{name}.md").write_text(examples_table(examples), encoding="utf-8")
    (out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    (out / "predictions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "tables.md").write_text(report_tables(scores), encoding="utf-8")
    return scores


def prediction_lines(name: str, result: Run) -> list[str]:
    """One JSON line per region and per whole image.

    Parameters
    ----------
    name : str
        The model.
    result : Run

    Returns
    -------
    list of str
    """
    lines = [_region_line(name, one) for one in result.trials]
    for one in result.wholes:
        record = {"model": name, "image": one.sample.image, "kind": one.kind}
        lines.append(json.dumps({**record, **_short(asdict(one.caption))}))
    return lines


def draw_examples(
    predictions: Sequence[Trial], seed: int = 0, count: int = EXAMPLES
) -> list[Trial]:
    """Draw predictions at random, no two from one image.

    Parameters
    ----------
    predictions : sequence of Trial
    seed : int
    count : int

    Returns
    -------
    list of Trial
        Fewer than ``count`` when there are fewer images.
    """
    order = np.random.default_rng([seed, 40]).permutation(len(predictions))
    chosen: dict[str, Trial] = {}
    for place in order:
        chosen.setdefault(predictions[place].sample.image, predictions[place])
    return list(chosen.values())[:count]


def example_tiles(images: Sequence[LabelledImage], examples: Sequence[Trial]) -> list[Tile]:
    """Examples as pictures with their regions and captions."""
    files = {image.file_name: image for image in images}
    return [
        (
            files[one.sample.image].pixels(),
            one.sample.region,
            f"{one.caption.text} ({one.caption.score:.2f})",
        )
        for one in examples
    ]


def examples_table(examples: Sequence[Trial]) -> str:
    """Examples as a Markdown table: the photographs themselves may not be shown."""
    rows = [
        [
            str(number),
            one.sample.image.removesuffix(".jpg").lstrip("0"),
            one.kind,
            one.category,
            one.caption.text,
            f"{one.caption.score:.2f}",
            "yes" if is_right(one) else "no",
        ]
        for number, one in enumerate(examples, start=1)
    ]
    header = ["", "COCO image", "drawn", "people say", "caption", "score", "named"]
    return markdown_table(header, rows) + "\n"


def _region_line(name: str, one: Trial) -> str:
    record: dict[str, Any] = {
        "model": name,
        "image": one.sample.image,
        "kind": one.kind,
        "category": one.category,
        "area": round(one.area, 4),
        **_short(asdict(one.caption)),
        "whole": one.whole,
        "crop": one.crop,
    }
    return json.dumps(record)


def _short(caption: dict[str, Any]) -> dict[str, Any]:
    """Keep the parts of a caption worth a line in a file."""
    return {
        "caption": caption["text"],
        "score": round(caption["score"], 4),
        "verdict": caption["verdict"],
        "concepts": [[name, round(weight, 4)] for name, weight in caption["concepts"][:5]],
        "alternatives": list(caption["alternatives"]),
    }
