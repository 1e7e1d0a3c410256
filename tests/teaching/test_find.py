from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
import taught_pictures
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from napari_patchioner.annotations import Annotation, read_annotations, write_annotations
from napari_patchioner.cli import main
from napari_patchioner.errors import ImageError, RegionError
from napari_patchioner.images import Levels
from napari_patchioner.regions import Box, Point
from napari_patchioner.teaching import (
    Finder,
    ImageMeasures,
    Proposal,
    Sample,
    overlap,
    parts_of,
    peaks,
    search_image,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from taught_pictures import Drawn

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.regions import Region


def sample(image: Drawn, kind: str, count: int) -> Sample:
    boxes = [box for box, name in zip(image.boxes, image.names, strict=True) if name == kind]
    return Sample(image.grid, ImageMeasures(image.pixels), boxes[:count])


def corners(box: Box) -> np.ndarray:
    return np.array([box.top, box.left, box.bottom, box.right])


def met(proposals: list[Proposal], image: Drawn, kind: str) -> list[float]:
    """How much the proposals overlap with what they are to find, one number for each."""
    boxes = np.array([corners(proposal.box) for proposal in proposals]).reshape(-1, 4)
    wanted = [b for b, name in zip(image.boxes, image.names, strict=True) if name == kind]
    return [float(overlap(corners(box), boxes).max(initial=0.0)) for box in wanted]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", ["nucleus", "leaf"])
def test_things_like_the_examples_are_found_in_another_picture(
    kind: str, count: int, mini: Captioner, first: Drawn, second: Drawn
) -> None:
    finder = Finder(mini, [sample(first, kind, count)])
    proposals = finder.find(second.grid, ImageMeasures(second.pixels))
    best = proposals[: second.names.count(kind)]
    assert min(met(best, second, kind)) > 0.3
    # At its own limit not much is proposed that is something else.
    assert len(proposals) <= 2 * len(best)
    assert [p.score for p in proposals] == sorted((p.score for p in proposals), reverse=True)
    assert all(0.5 <= proposal.score <= 1 for proposal in proposals)


def test_the_same_examples_find_the_same_again(mini: Captioner, first: Drawn) -> None:
    parts = [Finder(mini, [sample(first, "leaf", 1)]) for _ in range(2)]
    measures = ImageMeasures(first.pixels)
    one, two = (finder.find(first.grid, measures, least=0.0) for finder in parts)
    assert [p.score for p in one] == [p.score for p in two]
    assert [corners(p.box).tolist() for p in one] == [corners(p.box).tolist() for p in two]
    # No box shows part of what a likelier one shows.
    boxes = np.array([corners(proposal.box) for proposal in one])
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for row, box in enumerate(boxes):
        sides = np.minimum(box[2:], boxes[:row, 2:]) - np.maximum(box[:2], boxes[:row, :2])
        common = np.prod(np.maximum(sides, 0), axis=1)
        assert (common <= 0.25 * np.minimum(areas[row], areas[:row]) + 1e-6).all()


def test_what_is_known_already_is_not_proposed(mini: Captioner, second: Drawn) -> None:
    finder = Finder(mini, [sample(second, "leaf", 1)])

    def around(known: Sequence[Box]) -> list[float]:
        levels = Levels(second.pixels)
        found = search_image(mini, {"leaf": finder}, levels, least=0.0, known=known)
        boxes = [Proposal(box, score) for box, _, score in found.proposals]
        return met(boxes, second, "leaf")

    here = next(b for b, kind in zip(second.boxes, second.names, strict=True) if kind == "leaf")
    by = 0.45 * (here.bottom - here.top)
    wide = Box(here.top - by, here.left - by, here.bottom + by, here.right + by)
    assert around([])[0] > 0.3
    assert around([here])[0] <= 0.3
    # A box that was drawn wider around the same thing, and one around all there is.
    assert around([wide])[0] <= 0.3
    everything = Box(-0.5, -0.5, *(side - 0.5 for side in second.pixels.shape[:2]))
    assert around([everything]) == around([])


def test_the_heat_is_highest_on_the_things(mini: Captioner, first: Drawn, second: Drawn) -> None:
    heat = Finder(mini, [sample(first, "nucleus", 2)]).heat(ImageMeasures(second.pixels))
    assert ((heat >= 0) & (heat <= 1)).all()
    # Square cells that cover the image of 160 x 240 pixels.
    assert heat.shape[0] / heat.shape[1] == pytest.approx(160 / 240, rel=0.05)
    cell = np.array([160, 240]) / heat.shape
    inside = np.zeros(heat.shape, bool)
    for box, name in zip(second.boxes, second.names, strict=True):
        middle = np.array([box.top + box.bottom + 1, box.left + box.right + 1]) / 2
        row, column = (middle / cell).astype(int)
        if name == "nucleus":
            assert heat[row - 1 : row + 2, column - 1 : column + 2].max() > 0.5
            inside[row - 4 : row + 5, column - 4 : column + 5] = True
    assert heat[~inside].max() < 0.5


def test_without_examples_there_is_nothing_to_look_for(mini: Captioner, first: Drawn) -> None:
    with pytest.raises(RegionError, match="no example"):
        Finder(mini, [sample(first, "leaf", 0)])
    nothing = np.full(first.pixels.shape, 7, np.uint8)
    blank = Sample(mini.encode(nothing), ImageMeasures(nothing), first.boxes[:1])
    with pytest.raises(ImageError, match="looks the same everywhere"):
        Finder(mini, [blank])


def test_a_large_image_is_refused_before_it_is_read(mini: Captioner, first: Drawn) -> None:
    finder = Finder(mini, [sample(first, "leaf", 1)])
    with pytest.raises(ImageError, match="more than 2048 along a side"):
        finder.find(first.grid, ImageMeasures(np.zeros((10, 5000), np.uint8)))


BOXES = st.lists(
    st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 20)] * 2, st.integers(0, 9)), max_size=30
)


@given(BOXES, st.sampled_from([0.1, 0.3, 0.7]))
def test_what_is_kept_overlaps_nothing_better(drawn: list[tuple[int, ...]], most: float) -> None:
    boxes = np.array([(y, x, y + h, x + w) for y, x, h, w, _ in drawn], float).reshape(-1, 4)
    scores = np.array([score for *_, score in drawn], float)
    rows = peaks(boxes, scores, overlapping=most)
    assert list(scores[rows]) == sorted(scores[rows], reverse=True)
    for place, row in enumerate(rows):
        assert (overlap(boxes[row], boxes[rows[:place]]) <= most).all()
    for row in set(range(len(boxes))) - set(rows.tolist()):
        better = rows[scores[rows] >= scores[row]]
        assert (overlap(boxes[row], boxes[better]) > most).any()


def write_picture(folder: Path, name: str, seed: int, kinds: list[str]) -> list[Box]:
    # One row of things: a fraction of the time of a square.
    pixels, boxes = taught_pictures.draw(seed, kinds, height=64)
    Image.fromarray(pixels).save(folder / name)
    return boxes


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_command_writes_a_row_for_each_proposal(
    tmp_path: Path, mini: Captioner, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scans").mkdir()
    boxes = write_picture(tmp_path, "a.png", 1, ["nucleus", "leaf", "nucleus", "leaf"])
    write_picture(tmp_path / "scans", "b.png", 2, ["leaf", "nucleus", "leaf", "nucleus"])
    (tmp_path / "scans" / "c.png").write_bytes(b"no picture")
    examples = [
        Annotation(str(row), "a.png", boxes[row], name, None, "human")
        for row, name in enumerate(["a nucleus", "a leaf"])
    ]
    like, out = tmp_path / "like.csv", tmp_path / "found.csv"
    write_annotations(like, examples, {})
    asked = ["find", str(tmp_path / "scans"), "--like", str(like), "--out", str(out)]
    assert main(asked, load=lambda _: mini) == 1  # one of the images is none
    err = capsys.readouterr().err
    assert "c.png" in err
    assert "repeat the command with --resume" in err
    rows = rows_of(out)
    assert {row["image"] for row in rows} == {"b.png"}
    assert {row["caption"] for row in rows} == {"a nucleus", "a leaf"}
    made = {(row["kind"], row["source"], row["model"]) for row in rows}
    assert made == {("box", "taught", "mini")}
    assert len({row["uid"] for row in rows}) == len(rows)
    assert all(0.5 <= float(row["score"]) <= 1 for row in rows)
    # Once the file is whole, only that is searched, and all of it written.
    assert main([*asked, "--overwrite"], load=lambda _: mini) == 2
    assert "add --resume" in capsys.readouterr().err
    assert main([*asked, "--resume", "--least", "0.4"], load=lambda _: mini) == 2
    assert "begun with other least" in capsys.readouterr().err
    write_picture(tmp_path / "scans", "c.png", 3, ["leaf", "nucleus", "leaf", "nucleus"])
    assert main([*asked, "--resume"], load=lambda _: mini) == 0
    err = capsys.readouterr().err
    assert "1 done, 1 from before" in err
    assert [row for row in rows_of(out) if row["image"] == "b.png"] == rows
    assert {row["image"] for row in rows_of(out)} == {"b.png", "c.png"}
    assert not list(tmp_path.glob("*.part"))
    # A process of its own finds the same; that several do is seen where they start faster.
    pool = [*asked, "--workers", "2"]
    pool[1], pool[5] = str(tmp_path / "scans" / "c.png"), str(tmp_path / "pool.csv")
    assert main(pool) == 0
    assert rows_of(tmp_path / "pool.csv") == [r for r in rows_of(out) if r["image"] == "c.png"]
    # In their own image the examples themselves are not found again.
    asked[1] = str(tmp_path / "a.png")
    before = out.read_bytes(), like.read_bytes()
    for more in ([], ["--out", str(like)], ["--out", str(like), "--overwrite"]):
        assert main([*asked, *more], load=lambda _: mini) == 2
        assert "choose another" in capsys.readouterr().err
    assert (out.read_bytes(), like.read_bytes()) == before
    assert main([*asked, "--overwrite"], load=lambda _: mini) == 0
    assert {row["image"] for row in rows_of(out)} <= {"a.png"}


def test_examples_without_name_or_image_are_told(
    tmp_path: Path, mini: Captioner, capsys: pytest.CaptureFixture[str]
) -> None:
    [box] = write_picture(tmp_path, "a.png", 1, ["leaf"])
    for image, name, problem in (("a.png", "", "no name"), ("z.png", "leaf", "neither searched")):
        example = Annotation("a", image, box, name, None, "human" if name else "")
        write_annotations(tmp_path / "like.csv", [example], {})
        asked = ["find", str(tmp_path / "a.png"), "--like", str(tmp_path / "like.csv")]
        assert main([*asked, "--out", str(tmp_path / "out.csv")], load=lambda _: mini) == 2
        err = capsys.readouterr().err
        assert problem in err
        assert len(err.splitlines()) == 1
    # An image that is not searched may lie beside one that is.
    [box] = write_picture(tmp_path, "b.png", 2, ["leaf"])
    like = tmp_path / "lists" / "like.csv"
    like.parent.mkdir()
    write_annotations(like, [Annotation("b", "b.png", box, "leaf", None, "human")], {})
    asked = ["find", str(tmp_path / "a.png"), "--like", str(like)]
    assert main([*asked, "--out", str(tmp_path / "out.csv")], load=lambda _: mini) == 0
    assert {row["image"] for row in rows_of(tmp_path / "out.csv")} == {"a.png"}


def test_what_was_found_before_ctrl_c_is_kept(
    tmp_path: Path, mini: Captioner, capsys: pytest.CaptureFixture[str]
) -> None:
    [box] = write_picture(tmp_path, "a.png", 1, ["leaf"])
    write_picture(tmp_path, "b.png", 2, ["leaf"])
    write_annotations(
        tmp_path / "like.csv", [Annotation("a", "a.png", box, "leaf", None, "human")], {}
    )

    class Impatient:
        """A model whose second picture is one too many, once."""

        def __init__(self) -> None:
            self.left = 3  # the example, and twice the first image

        def __getattr__(self, name: str) -> object:
            return getattr(mini, name)

        def encode(self, image: object, **how: object) -> object:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            return mini.encode(image, **how)

    captioner, out = Impatient(), tmp_path / "out.csv"
    asked = ["find", str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    asked += ["--like", str(tmp_path / "like.csv"), "--out", str(out)]
    assert main(asked, load=lambda _: captioner) > 2
    assert "1 image is kept in" in capsys.readouterr().err
    assert not out.exists()
    assert main([*asked, "--resume"], load=lambda _: captioner) == 0
    assert "1 done, 1 from before" in capsys.readouterr().err
    kept = out.read_bytes()
    assert main([*asked, "--overwrite"], load=lambda _: mini) == 0
    assert out.read_bytes() == kept


PLACES = {"top": (100, 20), "seam": (968, 5), "bottom": (2230, 60)}


def test_a_large_image_is_searched_part_by_part_with_one_result(
    tmp_path: Path, mini: Captioner
) -> None:
    pixels, boxes = taught_pictures.draw(1, ["nucleus", "leaf", "nucleus", "leaf"])
    large = np.full((2400, 300, 3), 225, np.uint8)
    wanted = []
    for top, left in PLACES.values():
        large[top : top + 160, left : left + 240] = pixels
        wanted += [
            Box(b.top + top, b.left + left, b.bottom + top, b.right + left) for b in boxes[::2]
        ]
    tifffile.imwrite(tmp_path / "large.tif", large, photometric="rgb", tile=(256, 256))
    # Examples in two parts that are encoded apart.
    like = [Annotation(str(n), "large.tif", wanted[n], "nucleus", None, "human") for n in (0, 5)]
    write_annotations(tmp_path / "like.csv", like, {})
    asked = ["find", str(tmp_path / "large.tif"), "--like", str(tmp_path / "like.csv")]
    assert main([*asked, "--out", str(tmp_path / "out.csv")], load=lambda _: mini) == 0
    found = np.array([corners(a.region) for a in read_annotations(tmp_path / "out.csv")])
    for box in wanted[1:5]:
        assert overlap(corners(box), found).max() > 0.3
    for box in (wanted[0], wanted[5]):
        assert overlap(corners(box), found).max() <= 0.3
    # No box twice where parts overlap.
    for row, box in enumerate(found):
        assert overlap(box, np.delete(found, row, axis=0)).max(initial=0) <= 0.3


@given(
    st.tuples(st.integers(1, 6000), st.integers(1, 6000)),
    st.tuples(st.floats(1, 300), st.floats(1, 300)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_parts_show_every_thing_whole(
    shape: tuple[int, int], size: tuple[float, float], place: tuple[float, float]
) -> None:
    parts = parts_of(shape, size)
    size = min(size[0], shape[0]), min(size[1], shape[1])
    top, left = ((end - side) * share for end, side, share in zip(shape, size, place, strict=True))
    assert any(
        part.top <= top + 1e-6
        and part.left <= left + 1e-6
        and top + size[0] <= part.top + part.height + 1e-6
        and left + size[1] <= part.left + part.width + 1e-6
        for part in parts
    )
    for part in parts:
        assert min(part.top, part.left) >= 0
        assert part.top + part.height <= shape[0]
        assert part.left + part.width <= shape[1]
        assert max(part.height, part.width) <= 2048


def test_planes_of_a_stack_are_searched_one_by_one(tmp_path: Path, mini: Captioner) -> None:
    pixels, boxes = taught_pictures.draw(1, ["nucleus", "leaf", "nucleus", "leaf"])
    stack = np.full((6, 160, 240), 225, np.uint8)
    stack[1:3] = pixels[..., 1]
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    like = [
        Annotation("a", "stack.tif", boxes[0], "nucleus", None, "human", extra={"plane": "1"}),
        Annotation("b", "stack.tif", boxes[2], "nucleus", None, "human", extra={"plane": "1"}),
    ]
    write_annotations(tmp_path / "like.csv", like, {})
    asked = ["find", str(tmp_path / "stack.tif"), "--like", str(tmp_path / "like.csv")]
    asked += ["--out", str(tmp_path / "out.csv")]
    assert main([*asked, "--every-plane"], load=lambda _: mini) == 0
    found = read_annotations(tmp_path / "out.csv")
    on_last = [a for a in found if a.extra["plane"] == "2"]
    for box in boxes[::2]:
        assert overlap(corners(box), np.array([corners(a.region) for a in on_last])).max() > 0.3
    assert len({a.uid for a in found}) == len(found)
    assert main([*asked, "--overwrite"], load=lambda _: mini) == 0
    assert {a.extra["plane"] for a in read_annotations(tmp_path / "out.csv")} <= {"0"}


def test_that_photographs_are_not_for_this_is_told(
    tmp_path: Path, mini: Captioner, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(data.coffee()).save(tmp_path / "cup.png")
    example = Annotation("a", "cup.png", Box(50, 150, 300, 430), "cup", None, "human")
    write_annotations(tmp_path / "like.csv", [example], {})
    asked = ["find", str(tmp_path / "cup.png"), "--like", str(tmp_path / "like.csv")]
    assert main([*asked, "--out", str(tmp_path / "out.csv")], load=lambda _: mini) == 0
    assert "1 image looks like a photograph" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("region", "problem"),
    [
        (Point(20.0, 20.0), "has no size"),
        (Box(20, 20, 20, 20), "the box has no area"),
        (Box(900, 900, 950, 950), "outside the image"),
    ],
)
def test_what_has_no_size_or_place_is_no_example(
    region: Region, problem: str, tmp_path: Path, mini: Captioner, capsys: pytest.CaptureFixture
) -> None:
    write_picture(tmp_path, "a.png", 1, ["leaf"])
    example = Annotation("spot", "a.png", region, "leaf", None, "human")
    write_annotations(tmp_path / "like.csv", [example], {})
    asked = ["find", str(tmp_path / "a.png"), "--like", str(tmp_path / "like.csv")]
    assert main([*asked, "--out", str(tmp_path / "out.csv")], load=lambda _: mini) == 2
    err = capsys.readouterr().err
    assert problem in err
    assert "'spot'" in err
    assert len(err.splitlines()) == 1
