"""Every metric on captions of a small test set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_patchioner.evaluation.metrics import METRICS, Captioned, Scored
from napari_patchioner.regions import Box

BOXES = [Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(0, 0, 10, 10)]
IMAGES = ["a", "a", "b"]


class Said:
    """Stands in for METEOR: all or nothing."""

    def items(self, candidates, references):
        return np.array([float(c in r) for c, r in zip(candidates, references, strict=True)])

    def score(self, candidates, references):
        items = self.items(candidates, references)
        return Scored(items.mean(), items)


class Judge:
    """Stands in for CLIP: captions agree with an image as with its references."""

    def with_references(self, given):
        pairs = zip(given.candidates, given.references, strict=True)
        return np.array([float(c in r) for c, r in pairs])

    with_images = with_both = with_references


TOOLS = {"meteor": Said(), "spice": Said(), "clip": Judge(), "pac": Judge()}


def captioned(candidates: list[str], references: list[list[str]]) -> Captioned:
    right = [c in r for c, r in zip(candidates, references, strict=True)]
    return Captioned(
        candidates,
        references,
        IMAGES,
        BOXES,
        [0.5, 0.6, 0.7],
        categories=["dog", "tree", "dog"],
        found=[float(one) for one in right],
        tools=TOOLS,
    )


REFERENCES = [["a big brown dog runs"], ["a very old oak tree"], ["the dog sleeps all day"]]
RIGHT = captioned([one[0] for one in REFERENCES], REFERENCES)
WRONG = captioned(["this is no caption at all"] * 3, REFERENCES)


@pytest.mark.parametrize("name", sorted(METRICS.keys() - {"det_map"}))
def test_people_score_above_nonsense(name: str) -> None:
    metric = METRICS[name]
    good, bad = metric.score(RIGHT), metric.score(WRONG)
    assert good.corpus > bad.corpus
    if good.items is not None:
        assert good.items.shape == (3,)


def test_boxes_alone_are_right_whatever_is_said() -> None:
    assert METRICS["det_map"].score(RIGHT).corpus == METRICS["det_map"].score(WRONG).corpus == 1.0


@pytest.mark.parametrize("name", METRICS)
def test_metrics_name_themselves_and_what_they_need(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    bare = replace(RIGHT, tools={})
    if metric.needs:
        with pytest.raises(KeyError, match=metric.needs[0]):
            metric.score(bare)
    else:
        assert metric.score(bare).corpus == metric.score(RIGHT).corpus
