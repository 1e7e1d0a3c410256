from __future__ import annotations

import numpy as np
import pytest

from napari_patchioner.annotations import (
    KINDS,
    Annotation,
    new_uid,
    shape_from_region,
    with_human_caption,
    with_model_caption,
)
from napari_patchioner.decoders import Caption
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    Region,
    RegionSet,
    Trace,
    WholeImage,
)

SQUARE = np.array([[0, 0], [0, 4], [4, 4], [4, 0]], float)


@pytest.mark.parametrize(
    ("region", "kind", "shape_type"),
    [
        (Box(0, 0, 4, 4), "box", "rectangle"),
        (Polygon(SQUARE), "polygon", "polygon"),
        (Ellipse(SQUARE), "ellipse", "ellipse"),
        (Trace(SQUARE), "trace", "path"),
        (Point(1, 2), "point", None),
        (RegionSet((Point(1, 2),)), "set", None),
        (WholeImage(), "image", None),
        (Mask(np.ones((2, 2), bool)), "mask", None),
    ],
)
def test_kind_and_shape_type_follow_the_region(
    region: Region, kind: str, shape_type: str | None
) -> None:
    shape = shape_from_region(region)
    assert (Annotation("a", "cat.png", region).kind, shape and shape[0]) == (kind, shape_type)
    assert kind in KINDS


@pytest.mark.parametrize(
    ("caption", "source", "human"),
    [
        ("", "", False),
        ("a cat", "", True),
        ("a cat", "model", False),
        ("a cat", "edited", True),
        ("", "human", True),
    ],
)
def test_a_model_overwrites_only_what_is_empty_or_its_own(
    caption: str, source: str, human: bool
) -> None:
    before = Annotation("a", "cat.png", Point(1, 2), caption, source=source)  # type: ignore[arg-type]
    after = with_model_caption(before, Caption("a dog", 0.5), model="mini")
    assert before.is_human is human
    assert (after is before) is human
    assert after.caption == (caption if human else "a dog")


def test_a_model_caption_says_where_it_comes_from() -> None:
    before = Annotation("a", "cat.png", Point(1, 2), extra={"time": "noon"})
    after = with_model_caption(
        before, Caption("a dog", 0.26294821), model="mini", extra={"grid": "k"}
    )
    assert (after.source, after.model, after.score) == ("model", "mini", 0.2629)
    assert after.extra == {"time": "noon", "grid": "k"}


def test_an_edited_caption_loses_the_score_and_keeps_the_model() -> None:
    draft = with_model_caption(
        Annotation("a", "cat.png", Point(1, 2)), Caption("a dog", 0.5), model="mini"
    )
    edited = with_human_caption(draft, "a small dog")
    assert (edited.source, edited.model, edited.score) == ("edited", "mini", None)
    assert with_human_caption(draft, "a dog") is draft
    assert with_model_caption(edited, Caption("a cat", 0.9)) is edited


def test_a_caption_written_from_nothing_is_human() -> None:
    written = with_human_caption(Annotation("a", "cat.png", Point(1, 2)), "a paw")
    assert (written.source, written.model) == ("human", "")


def test_a_taught_caption_gives_way_to_people_and_to_models() -> None:
    bare = Annotation("a", "cat.png", Point(1, 2))
    taught = with_model_caption(bare, Caption("paw", 0.8), model="mini", source="taught")
    assert (taught.source, taught.is_human) == ("taught", False)
    assert with_model_caption(taught, Caption("a spot", 0.5), model="mini").source == "model"
    edited = with_human_caption(taught, "a paw")
    assert (edited.source, edited.model, edited.score) == ("edited", "mini", None)
    assert with_model_caption(edited, Caption("paw", 0.8), source="taught") is edited


def test_uids_do_not_repeat() -> None:
    assert len({new_uid() for _ in range(1000)}) == 1000


def test_a_score_that_is_no_number_is_none():
    region = Annotation("a", "a.png", Box(0, 0, 1, 1))
    assert with_model_caption(region, Caption("a bus", float("nan"))).score is None
