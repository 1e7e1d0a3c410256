from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from colours import Loader
from PIL import Image

from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    Notes,
    read_annotations,
    write_annotations,
)
from napari_patchioner.cli import main
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, RegionSet, Trace

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = {"cat.png": ImageInfo("cat.png", 48, 64)}


class Published(NamedTuple):
    """The fields of a narrative, as its published reader wants them: these and no others."""

    dataset_id: str
    image_id: str
    annotator_id: int
    caption: str
    timed_caption: list[dict[str, Any]]
    traces: list[list[dict[str, float]]]
    voice_recording: str


def _lines(path: Path) -> list[Published]:
    return [Published(**json.loads(line)) for line in path.read_bytes().split(b"\n") if line]


def test_the_published_reader_takes_every_line(tmp_path: Path) -> None:
    trace = Trace(np.array([[-0.5, -0.5], [23.5, 31.5], [47.5, 63.5]]))
    pair = RegionSet((trace, Trace(np.array([[0.0, 1.0]]))))
    before = [
        Annotation("a", "cat.png", trace, "a cat\nasleep", extra={"times": "0 0.5 1.25"}),
        Annotation("b", "cat.png", pair, "zwei"),
        Annotation("c", "cat.png", Box(0, 0, 1, 1), "no trace"),
    ]
    path = tmp_path / "a.jsonl"
    assert write_annotations(path, before, IMAGES) == (before[2],)
    first, second = _lines(path)
    assert (first.image_id, first.caption, first.annotator_id) == ("cat.png", "a cat\nasleep", 0)
    assert first.traces == [
        [{"x": 0, "y": 0, "t": 0}, {"x": 0.5, "y": 0.5, "t": 0.5}, {"x": 1, "y": 1, "t": 1.25}]
    ]
    said = first.timed_caption[0]
    assert (said["utterance"], said["start_time"], said["end_time"]) == ("a cat\nasleep", 0, 1.25)
    assert "times" not in said
    assert [len(stroke) for stroke in second.traces] == [3, 1]
    assert [p["t"] for stroke in second.traces for p in stroke] == [0, 0.02, 0.04, 0.06]
    assert second.timed_caption[0]["times"] == "uniform"
    assert [one.extra for one in read_annotations(path)] == [{"times": "0 0.5 1.25"}, {}]


THEIRS = {
    "dataset_id": "mscoco_val2017",
    "image_id": "137576",
    "annotator_id": 93,
    "caption": "In this image there are people.",
    "timed_caption": [
        {"utterance": "In this image", "start_time": 0.0, "end_time": 1.5},
        {"utterance": "there are people.", "start_time": 1.5, "end_time": 2.5},
    ],
    "traces": [
        [{"x": 0.25, "y": -0.0125, "t": 0.012}, {"x": 0.5, "y": 0.5, "t": 0.03}],
        [{"x": 1, "y": 1, "t": 0.5}],
    ],
    "voice_recording": "coco_val/coco_val_137576_93.ogg",
}


def test_published_narratives_are_read_with_the_size_of_their_image(
    tmp_path: Path, same_region: Any
) -> None:
    path = tmp_path / "coco_val_localized_narratives.jsonl"
    path.write_text(json.dumps(THEIRS) + "\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"line 1: the size of image '137576' is missing"):
        read_annotations(path)
    [told] = read_annotations(path, {"137576": ImageInfo("137576.jpg", 80, 40)})
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 80)).save(tmp_path / "images" / "137576.jpg")
    [found] = read_annotations(path)
    strokes = (Trace(np.array([[-1.5, 9.5], [39.5, 19.5]])), Trace(np.array([[79.5, 39.5]])))
    for one in (told, found):
        assert same_region(one.region, RegionSet(strokes))
        assert (one.uid, one.image, one.caption) == ("1", "137576", THEIRS["caption"])
        assert one.extra["times"] == "0.012 0.03 0.5"
    write_annotations(path, [found], {"137576": ImageInfo("137576", 80, 40)})
    [again] = _lines(path)
    kept = {
        name: getattr(again, name) for name in THEIRS if name not in ("timed_caption", "traces")
    }
    assert kept == {name: THEIRS[name] for name in kept}
    for one, two in zip(again.timed_caption, THEIRS["timed_caption"], strict=True):
        assert one.items() >= two.items()
    for ours, theirs in zip(again.traces, THEIRS["traces"], strict=True):
        assert ours == [pytest.approx(point) for point in theirs]


def test_a_trace_moved_elsewhere_brings_its_own_times(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "a.jsonl"
    trace = Trace(np.array([[1.0, 2], [3, 4]]))
    write_annotations(
        path, [Annotation("a", "cat.png", trace, "a cat", extra={"times": "0 1"})], IMAGES
    )
    line = json.loads(path.read_text())
    line["traces"] = [[{"x": 0.5, "y": 0.5, "t": 7}]]
    path.write_text(json.dumps(line))
    [moved] = read_annotations(path)
    assert same_region(moved.region, Trace(np.array([[23.5, 31.5]])))
    assert moved.extra == {"times": "7"}


def test_times_that_do_not_fit_and_sizes_that_miss_are_told(tmp_path: Path) -> None:
    trace = Trace(np.array([[1.0, 2], [3, 4]]))
    one = Annotation("a", "cat.png", trace, extra={"times": "0 x"})
    with pytest.raises(FormatError, match=r"region 'a': the extra 'times' must be one number"):
        write_annotations(tmp_path / "a.jsonl", [one], IMAGES)
    with pytest.raises(FormatError, match=r"the size of image 'cat\.png' is missing"):
        write_annotations(tmp_path / "a.jsonl", [Annotation("a", "cat.png", trace)])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"traces": []}, "holds no point"),
        ({"traces": [[{"x": 1, "y": 1}]]}, "must have the numbers x, y and t"),
        ({"traces": [[{"x": 1e999, "y": 1, "t": 0}]]}, "is not finite"),
        ({"caption": 5}, "'caption' must be a text"),
    ],
)
def test_errors_name_the_file_and_the_line(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("\n" + json.dumps({**THEIRS, **change}))
    with pytest.raises(FormatError, match=f"^bad.jsonl: line 2: .*{told}"):
        read_annotations(path, {"137576": ImageInfo("", 80, 40)})


def test_a_broken_line_is_listed_and_stays_when_the_others_are_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    images = {"137576": ImageInfo("137576.jpg", 80, 40)}
    line = json.dumps(THEIRS).encode()
    for broken in (line[:-30], b'{"image_id": "\xff"}', b"oops"):
        for lines in ([broken, line], [line, b"", broken, line]):
            path.write_bytes(b"\n".join(lines))
            notes = Notes()
            found = read_annotations(path, images, notes=notes)
            assert len(found) == lines.count(line)
            assert notes.left_out == 1
            assert f"a.jsonl: line {lines.index(broken) + 1}: " in notes.lines()[0]
            new = tmp_path / "new.jsonl"
            write_annotations(new, [replace(one, caption="new") for one in found], images)
            written = new.read_bytes().split(b"\n")
            others = [n for n, one in enumerate(lines) if one != line]
            assert len(written) == len(lines)
            assert [written[n] for n in others] == [lines[n] for n in others]
            assert json.loads(written[lines.index(line)])["caption"] == "new"


def test_lines_that_nobody_changed_stay_byte_for_byte(tmp_path: Path) -> None:
    path, images = tmp_path / "a.jsonl", {"137576": ImageInfo("137576.jpg", 80, 40)}
    odd = json.dumps(THEIRS, separators=(",", ":")).replace('"x":0.5', '"x":0.50')
    text = f"\ufeff# as exported\r\n\r\n{odd}\r\nbroken\r\n {odd} "
    for encoding in ("utf-8", "utf-16-le"):
        path.write_bytes(text.encode(encoding))
        notes = Notes()
        found = read_annotations(path, images, notes=notes)
        assert [line.split(": ")[1] for line in notes.lines()] == ["line 4"]
        write_annotations(path, found, images, "localized-narratives")
        assert path.read_bytes().decode(encoding) == text
        write_annotations(path, [replace(found[0], caption="né"), found[1]], images)
        first, rest = text.split("\r\n", 3)[:3], text.split("\r\n", 3)[3]
        now = path.read_bytes().decode(encoding)
        assert now.split("\r\n", 3)[:2] == first[:2]
        assert now.split("\r\n", 3)[3] == rest
        changed = now.split("\r\n", 3)[2]
        assert json.loads(changed)["caption"] == "né"
        assert '": ' not in changed
        new = Annotation("new", "137576", found[0].region, "a hat")
        write_annotations(path, [*read_annotations(path, images, notes=Notes()), new], images)
        assert path.read_bytes().decode(encoding).startswith(f"{now}\r\n{{")


@pytest.mark.parametrize("image", ["139", 139, "000000000139"])
@pytest.mark.parametrize("file", ["000000000139.jpg", "COCO_val2014_000000000139.jpg"])
def test_the_published_files_are_captioned_on_the_command_line(
    tmp_path: Path, image: Any, file: str
) -> None:
    Image.fromarray(np.full((32, 48, 3), (200, 0, 0), np.uint8)).save(tmp_path / file)
    points = [{"x": 0.2, "y": 0.3, "t": 0.0}, {"x": 1.2, "y": -0.1, "t": 0.5}]
    said = {"utterance": "", "start_time": 0.0, "end_time": float("nan")}
    line = {"dataset_id": "x", "image_id": image, "annotator_id": 1, "caption": ""}
    line |= {"timed_caption": [said], "traces": [points], "voice_recording": "v.ogg"}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(line))
    arguments = ["caption", str(tmp_path / file), "--regions", str(path), "--out", str(path)]
    assert main(arguments, load=Loader()) == 0
    written = json.loads(path.read_text())
    assert (written["image_id"], written["traces"]) == (image, [points])
    assert written["caption"]
