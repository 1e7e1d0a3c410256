from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save_file
from skimage import data, measure, segmentation
from taught_pictures import taught

from napari_patchioner import load_model
from napari_patchioner.errors import FormatError, ImageError, ModelError
from napari_patchioner.regions import Box
from napari_patchioner.teaching import (
    Lexicon,
    checked_name,
    is_lexicon,
    read_lexicon,
    write_lexicon,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from taught_pictures import Drawn

    from napari_patchioner.captioner import Captioner


def names_of(lexicon: Lexicon, captioner: Captioner, image: Drawn) -> list[str | None]:
    namings = lexicon.name(captioner, image.grid, image.pixels, image.boxes)
    return [naming.name for naming in namings]


def test_one_example_of_each_names_another_picture(
    mini: Captioner, first: Drawn, second: Drawn
) -> None:
    lexicon = taught(mini, first, [0, 1])
    assert lexicon.counts == {"leaf": 1, "nucleus": 1}
    assert names_of(lexicon, mini, second) == ["leaf", "nucleus", "nucleus", "leaf", None]


def test_one_example_of_one_name_names_what_is_like_it(mini: Captioner) -> None:
    image = data.coins()
    labels = measure.label(segmentation.clear_border(image > 115))
    bounds = [found.bbox for found in measure.regionprops(labels) if found.area > 700]
    coins = [Box(*corners) for corners in bounds]
    grid = mini.encode(image)
    lexicon = Lexicon.teach(mini, grid, image, coins[:1], ["coin"])
    names = [naming.name for naming in lexicon.name(mini, grid, image, coins[1:])]
    assert len(names) > 12
    assert names.count("coin") > 0.8 * len(names)
    # Edges of two coins with the ground between them
    between = [Box(40, 70, 80, 96), Box(110, 40, 124, 90), Box(0, 0, 16, 60)]
    assert [n.name for n in lexicon.name(mini, grid, image, between)] == [None] * 3


def test_what_is_saved_is_what_is_read(
    mini: Captioner, first: Drawn, second: Drawn, tmp_path: Path
) -> None:
    lexicon = taught(mini, first).merged(taught(mini, second, [4]))
    write_lexicon(tmp_path / "cells", lexicon)
    again = read_lexicon(tmp_path / "cells")
    assert again.digest == lexicon.digest
    assert (again.examples, again.origin) == (lexicon.examples, lexicon.origin)
    before, after = (
        part.name(mini, second.grid, second.pixels, second.boxes) for part in (lexicon, again)
    )
    assert before == after
    assert {path.name for path in (tmp_path / "cells").iterdir()} == {
        "lexicon.json",
        "vectors.safetensors",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]


def test_a_lexicon_is_replaced_as_a_whole_and_nothing_else_is(
    mini: Captioner, first: Drawn, tmp_path: Path
) -> None:
    folder = tmp_path / "cells"
    write_lexicon(folder, taught(mini, first))
    smaller = taught(mini, first, [0])
    write_lexicon(folder, smaller)
    assert read_lexicon(folder).digest == smaller.digest
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(FormatError, match="no lexicon; choose another name"):
        write_lexicon(other, smaller)
    with pytest.raises(FormatError, match="cannot be written"):
        write_lexicon(tmp_path / "missing" / "cells", smaller)
    assert (other / "thesis.txt").read_text() == "mine"


def test_merging_is_the_union_whatever_the_order(
    mini: Captioner, first: Drawn, second: Drawn
) -> None:
    one, two, three = taught(mini, first, [0, 1]), taught(mini, first, [1, 2]), taught(mini, second)
    merged = one.merged(two).merged(three)
    assert merged.digest == three.merged(two).merged(one).digest
    assert merged.digest == taught(mini, first, [2, 0, 1]).merged(three).digest
    assert merged.digest == merged.merged(one).digest
    assert {e.key for e in merged.examples} == {
        e.key for part in (one, two, three) for e in part.examples
    }


def test_a_region_taught_again_gets_its_new_name(mini: Captioner, first: Drawn) -> None:
    lexicon = taught(mini, first)
    corrected = taught(mini, first, [0]).renamed("nucleus", "blood cell")
    assert lexicon.merged(corrected).counts == {"blood cell": 1, "leaf": 3, "nucleus": 2}


def test_forgetting_undoes_teaching(mini: Captioner, first: Drawn, second: Drawn) -> None:
    before = taught(mini, first)
    merged = before.merged(taught(mini, second))
    assert merged.kept(lambda example: example.image != second.name).digest == before.digest
    assert merged.kept(lambda example: example.name != "grain").counts == {"leaf": 5, "nucleus": 5}
    with pytest.raises(FormatError, match="at least one example"):
        merged.kept(lambda example: False)


def test_names_may_be_joined(mini: Captioner, first: Drawn) -> None:
    assert taught(mini, first).renamed("leaf", "nucleus").counts == {"nucleus": 6}
    assert taught(mini, first).renamed("leaf", "NUCLEUS").counts == {"nucleus": 6}
    both = taught(mini, first).renamed("leaf", "Leaf")
    assert both.renamed("Leaf", "leaf").counts == taught(mini, first).counts
    assert "Leaf" in taught(mini, first).renamed("leaf", "Leaf").counts


def test_another_backbone_is_refused_in_one_sentence(mini: Captioner, first: Drawn) -> None:
    lexicon = taught(mini, first)
    other = load_model("mini")
    other.backbone.name = "clip-b16"
    changed = replace(first, grid=other.encode(first.pixels))
    for refused in (lambda: lexicon.check(other), lambda: lexicon.merged(taught(other, changed))):
        with pytest.raises(ModelError, match="taught with the backbone") as caught:
            refused()
        assert "\n" not in str(caught.value)
    pooled = load_model("mini")
    pooled.pooling = "gaussian"
    with pytest.raises(ModelError, match="pooling"):
        lexicon.check(pooled)


def test_small_pictures_travel_along(mini: Captioner, first: Drawn, tmp_path: Path) -> None:
    parts = [(first.grid, [(first.boxes[0], "nucleus", "a"), (first.boxes[1], "leaf", "b")])]
    lexicon = Lexicon.teach_parts(mini, parts, first.pixels, thumbnails=True)
    write_lexicon(tmp_path / "cells", lexicon)
    again = read_lexicon(tmp_path / "cells")
    assert [e.thumbnail for e in again.examples] == [e.thumbnail for e in lexicon.examples]
    assert all(e.thumbnail.startswith(b"\x89PNG") for e in again.examples)


def test_what_does_not_belong_together_is_refused(mini: Captioner, first: Drawn) -> None:
    for boxes, names, more, problem in (
        (1, ["a", "b"], {}, "2 names for 1 region"),
        (2, ["a", "b"], {"uids": ["1"]}, "1 uid for 2 regions"),
        (2, ["a", "b"], {"uids": ["1", "1"]}, "the uid '1' appears twice"),
        (1, [None], {}, "None is no name"),
        (0, [], {}, "at least one example"),
    ):
        with pytest.raises(FormatError, match=problem):
            Lexicon.teach(mini, first.grid, first.pixels, first.boxes[:boxes], names, **more)
    with pytest.raises(ImageError, match="the grid is of an image of 160 by 240 pixels"):
        Lexicon.teach(mini, first.grid, first.pixels[:100], first.boxes[:1], ["a"])
    with pytest.raises(ImageError, match="the grid is of an image"):
        taught(mini, first).name(mini, first.grid, first.pixels[:, 1:], first.boxes[:1])


@pytest.mark.parametrize("text", ["", " \n", "a\x00b", "x" * 1001, "a\u202eb"])
def test_names_that_nobody_could_read_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match="is no name"):
        checked_name(text)


@pytest.fixture
def folder(mini: Captioner, first: Drawn, tmp_path: Path) -> Path:
    write_lexicon(tmp_path / "cells", taught(mini, first, [0, 1]))
    return tmp_path / "cells"


def edited(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / "lexicon.json").read_text())
        change(content)
        (folder / "lexicon.json").write_text(json.dumps(content))

    return edit


def rearranged(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        from safetensors.numpy import load_file

        arrays = load_file(folder / "vectors.safetensors")
        change(arrays)
        save_file(arrays, folder / "vectors.safetensors")

    return edit


ODD = {
    "no text": lambda folder: (folder / "lexicon.json").unlink(),
    "no vectors": lambda folder: (folder / "vectors.safetensors").unlink(),
    "cut text": lambda folder: (folder / "lexicon.json").write_text('{"format": "nap'),
    "nested text": lambda folder: (folder / "lexicon.json").write_text("[" * 100_000),
    "empty text": lambda folder: (folder / "lexicon.json").write_text(""),
    "a list": lambda folder: (folder / "lexicon.json").write_text("[]"),
    "cut vectors": lambda folder: (folder / "vectors.safetensors").write_bytes(b"\x10"),
    "a pickle": lambda folder: (folder / "vectors.safetensors").write_bytes(b"\x80\x04cos\nsystem"),
    "huge header": lambda folder: (folder / "vectors.safetensors").write_bytes(b"\xff" * 64),
    "other format": edited(lambda content: content.update(format="napari-patchioner lexicon 99")),
    "no backbone": edited(lambda content: content.pop("backbone")),
    "a number for a name": edited(lambda content: content["examples"][0].update(name=3)),
    "an empty name": edited(lambda content: content["examples"][0].update(name="  ")),
    "an image that is not there": edited(lambda content: content["examples"][0].update(image=7)),
    "an image before the first": edited(lambda content: content["examples"][0].update(image=-1)),
    "fewer examples": edited(lambda content: content["examples"].pop()),
    "none": edited(lambda content: content["examples"].clear()),
    "one twice": edited(lambda content: content["examples"][1].update(content["examples"][0])),
    "wrong background": edited(lambda content: content["images"][0].update(background=-3)),
    "more background": edited(lambda content: content["images"][0].update(background=10**12)),
    "no probability": edited(lambda content: content["images"][0].update(photograph=7)),
    "a missing picture": edited(lambda content: content["examples"][0].update(thumbnail=True)),
    "a block too few": rearranged(lambda arrays: arrays.pop("examples.size")),
    "another shape": rearranged(
        lambda arrays: arrays.update({"examples.size": np.zeros(2, np.float32)})
    ),
    "another width": rearranged(
        lambda arrays: arrays.update({"examples.colour": np.zeros((2, 3), np.float32)})
    ),
    "no numbers": rearranged(
        lambda arrays: arrays["examples.grid"].__setitem__((0, 0), np.float32("nan"))
    ),
    "whole numbers": rearranged(
        lambda arrays: arrays.update({"examples.size": np.zeros((2, 1), np.int64)})
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_a_damaged_lexicon_is_refused_in_one_sentence(what: str, folder: Path) -> None:
    ODD[what](folder)
    with pytest.raises(FormatError) as caught:
        read_lexicon(folder)
    assert "\n" not in str(caught.value)
    assert "cells" in str(caught.value)


def test_what_is_no_lexicon_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not is_lexicon(tmp_path)
    for path in (tmp_path, tmp_path / "file", tmp_path / "missing"):
        with pytest.raises(FormatError):
            read_lexicon(path)
