from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.evaluation.datasets import Sample

    Draw = Callable[..., list[Sample]]


def points(*places: tuple[float, float, float]) -> list[dict[str, float]]:
    return [{"x": x, "y": y, "t": t} for x, y, t in places]


def narrative(image: str = "391895") -> dict[str, object]:
    return {
        "dataset_id": "mscoco_val2017",
        "image_id": image,
        "annotator_id": 3,
        "caption": "In the image there is a dog. Behind it a tree. The image is slightly blurred.",
        "timed_caption": [
            {"utterance": "In the image", "start_time": 0.0, "end_time": 1.0},
            {"utterance": "there is a dog.", "start_time": 1.0, "end_time": 2.0},
            {"utterance": "Behind it", "start_time": 3.0, "end_time": 3.5},
            {"utterance": "a tree.", "start_time": 3.5, "end_time": 4.0},
            {"utterance": "The image is slightly blurred.", "start_time": 5.0, "end_time": 6.0},
        ],
        "traces": [
            points((0.1, 0.5, 0.5), (0.2, 0.5, 1.5), (0.3, 0.5, 2.5)),
            points((0.8, 0.1, 3.2), (1.2, 0.1, 3.4), (0.9, 0.2, 3.9), (0.5, 0.5, 5.5)),
        ],
        "voice_recording": "x.ogg",
    }


def test_every_sentence_with_its_trace_is_a_sample(draw: Draw):
    contents = {
        "391895": {
            "captions": ["a dog", "a tree", "off the image"],
            "traces": [
                points((0, 0, 0), (0.5, 0.5, 1)),
                points((0.25, 1.0, 2), (1.5, 0.2, 3)),
                points((-0.2, 0.5, 4)),
            ],
        }
    }
    dog, tree = draw("trace", contents)

    assert isinstance(dog.region, Trace)
    assert not dog.region.connected
    np.testing.assert_allclose(dog.region.points, [[-0.5, -0.5], [19.5, 39.5]])
    np.testing.assert_allclose(tree.region.points, [[39.5, 19.5]])
    assert (tree.id, tree.references) == ("391895/1", ("a tree",))


def test_narratives_are_cut_by_sentence_and_time(draw: Draw):
    dog, tree = draw("trace", [narrative()], "ln.jsonl")

    assert dog.references == ("In the image there is a dog.",)
    np.testing.assert_allclose(dog.region.points, [[19.5, 7.5], [19.5, 15.5]])
    assert tree.references == ("Behind it a tree.",)
    np.testing.assert_allclose(tree.region.points, [[3.5, 63.5], [7.5, 71.5]])
    assert len({dog.id, tree.id}) == 2


def test_several_narratives_of_one_image_keep_their_own_names(draw: Draw):
    samples = draw("trace", [narrative(), narrative()], "ln.jsonl")
    assert len({one.id for one in samples}) == len(samples) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"captions": ["one"], "traces": []}, "1 captions but 0 traces"),
        ({"captions": [3], "traces": [[]]}, "caption 1 must be a text"),
        ({"captions": ["one"], "traces": [[{"x": 1}]]}, "must have x and y"),
        ({"captions": ["one"], "traces": [[{"x": 1, "y": "b"}]]}, "finite number"),
        ({"captions": "one", "traces": []}, "'captions' must be a list"),
    ],
)
def test_a_wrong_record_is_told(draw: Draw, change: object, words: str):
    with pytest.raises(FormatError, match=rf"data\.json: image 391895: .*{words}"):
        draw("trace", {"391895": change})


def test_a_damaged_line_is_told_with_its_number(tmp_path, images):
    from napari_patchioner.evaluation.datasets import open_dataset

    path = tmp_path / "ln.jsonl"
    path.write_text('{"image_id": "391895"\n')
    with pytest.raises(FormatError, match=r"ln\.jsonl: line 1: is broken JSON"):
        list(open_dataset("trace", path, images).samples())
    path.write_text('\n{"image_id": "391895"}\n')
    with pytest.raises(FormatError, match=r"ln\.jsonl: line 2: has no 'traces'"):
        list(open_dataset("trace", path, images).samples())
