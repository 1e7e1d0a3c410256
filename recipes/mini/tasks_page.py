"""Run all four tasks on the development images and put the tables into ``docs/evaluation.md``.

``python -m recipes.mini.tasks_page --data DATA --folds HEADS --out DIR``
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from napari_patchioner.annotations import encode_text, write_bytes
from napari_patchioner.evaluation.datasets import open_dataset
from napari_patchioner.evaluation.metrics import open_tools
from napari_patchioner.evaluation.protocols import (
    compare_runs,
    differences,
    evaluate,
    markdown,
    score_predictions,
    write_page,
    write_scores,
)

from .card import captioner_for, fill_blocks
from .development import write_development_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.evaluation.datasets import Task
    from napari_patchioner.evaluation.protocols import Prediction, Variant

MODELS = ("mini", "mini-zeroshot")
WAYS: dict[Task, tuple[Variant, ...]] = {
    "image": ("model",),
    "dense": ("model", "crop", "whole-image"),
    "region-set": ("model", "crop", "whole-image"),
    "trace": ("model", "crop", "whole-image"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate the shipped models, each image by a head that has not seen it."""
    asked = _parser().parse_args(arguments)
    files = write_development_files(asked.data, asked.out / "data")
    blocks: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for model in MODELS:
            choose = captioner_for(model, asked.folds, Path(scratch))
            for task, path in files.items():
                print(f"{model}: {task}", flush=True)
                run = _Run(asked, model, task, path)
                blocks |= run.blocks(cast("Callable[[str], Captioner]", choose))
    if asked.page is not None:
        text = fill_blocks(asked.page.read_text(encoding="utf-8"), blocks)
        write_bytes(asked.page, encode_text(text))


class _Run:
    """One model on one task."""

    def __init__(self, asked: argparse.Namespace, model: str, task: Task, file: Path) -> None:
        self.model, self.task, self.limit = model, task, asked.limit
        self.out = asked.out / model / task
        self.dataset = open_dataset(task, file, asked.data / "coco")
        self.tools = open_tools(task, (), print)

    def blocks(self, choose: Callable[[str], Captioner]) -> dict[str, str]:
        """Caption and score; return tables by the names of their places in the page."""
        done = evaluate(
            self.dataset,
            choose(""),
            self.out / "predictions.jsonl",
            variants=WAYS[self.task],
            limit=self.limit,
            captioner_for=lambda image: choose(self.dataset.find(image).name),
        )
        scored = score_predictions(done.predictions, self.task, tools=self.tools)
        scores = {"asked": done.asked, "scores": scored, "failed": done.failed}
        write_scores(self.out / "scores.json", scores)
        write_page(self.out / "index.html", scores, done.predictions, self.dataset.find)
        name = f"{self.model}_{self.task}".replace("-", "_")
        found = {name: markdown(scored)}
        others = WAYS[self.task][1:]
        if others:
            tables = [self._against(done.predictions, other) for other in others]
            found[f"{name}_gain"] = "\n\n".join(tables)
        return found

    def _against(self, predictions: Sequence[Prediction], other: Variant) -> str:
        first = [one for one in predictions if one.variant == other]
        second = [one for one in predictions if one.variant == "model"]
        metrics = ("cider_d", "rouge_l", *(("mention",) if self.task in ("dense", "trace") else ()))
        found = compare_runs(first, second, self.task, metrics=metrics)
        return differences(found, (other, "the region's patches"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="the development data")
    parser.add_argument("--folds", type=Path, help="heads of the folds; else images were seen")
    parser.add_argument("--out", required=True, type=Path, help="where runs go")
    parser.add_argument("--limit", type=int, help="images of every task")
    parser.add_argument("--page", type=Path, help="Markdown page whose blocks are filled")
    return parser


if __name__ == "__main__":
    main()
