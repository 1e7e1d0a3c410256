"""Large images, zarr folders and stacks in runs over many images."""

from __future__ import annotations

import csv
import json
import os
import pickle
import subprocess
import sys
import textwrap
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import near_sighted
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_patchioner.annotations import Annotation, region_to_text, write_annotations
from napari_patchioner.batch import Job, Plan, find_images, run, work
from napari_patchioner.batch._folder import file_stamp
from napari_patchioner.batch._job import read_source
from napari_patchioner.batch._plan import GridDrawing, LabelDrawing
from napari_patchioner.cli import main
from napari_patchioner.images import StoredImage
from napari_patchioner.regions import Box, Point, WholeImage

BIG = 64
HEIGHT, WIDTH = 200, 312


def pixels(shape=(HEIGHT, WIDTH, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 250, shape, dtype=np.uint8)


def write_tiff(path, content, **options):
    how = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib", **options}
    tifffile.imwrite(path, content, **how)
    return path


def write_zarr(path, content, axes="yxs"):
    names = list(axes)
    array = zarr.create_array(
        path, shape=content.shape, chunks=content.shape, dtype="uint8", dimension_names=names
    )
    array[...] = content
    return path


def told(path, regions, options=None, big=BIG, drawing=None):
    """What comes of one image."""
    annotations = tuple(
        one if isinstance(one, Annotation) else Annotation(f"r{n}", path.name, one)
        for n, one in enumerate(regions)
    )
    job = Job(path.name, path, annotations, drawing, options=options or {}, big=big)
    return work(near_sighted.near_sighted(), job)


def captions(outcome):
    return [one.caption for one in outcome.annotations]


def origins(outcome):
    return [json.loads(one.extra["origin"]) for one in outcome.annotations]


REGIONS = [Box(20, 30, 60, 80), WholeImage(), Box(150, 280, 190, 311), Box(0, 0, 180, 300)]


@pytest.mark.parametrize("kind", ["tif", "zarr", "npy", "png"])
def test_a_large_image_is_captioned_as_its_pyramid_captions_it(tmp_path, kind):
    content, path = pixels(), tmp_path / f"slide.{kind}"
    {
        "tif": lambda: write_tiff(path, content),
        "zarr": lambda: write_zarr(path, content),
        "npy": lambda: np.save(path, content),
        "png": lambda: Image.fromarray(content).save(path),
    }[kind]()
    outcome = told(path, REGIONS)
    pyramid = near_sighted.near_sighted().pyramid(content, big=BIG)
    assert (outcome.status, outcome.why) == ("done", "")
    assert (outcome.height, outcome.width) == (HEIGHT, WIDTH)
    assert captions(outcome) == [one.text for one in pyramid.caption(REGIONS)]
    for origin, region in zip(origins(outcome), REGIONS, strict=True):
        assert origin["looked"] == pyramid.plan(region).notes
        assert origin["grid"] == pyramid.grid(region).key
        assert origin["model"] == "near-sighted"


@pytest.mark.parametrize("kind", ["tif", "zarr", "npy", "png"])
def test_a_small_image_is_seen_in_one_look_as_ever(tmp_path, kind):
    content, path = pixels((60, 64, 3)), tmp_path / f"small.{kind}"
    {
        "tif": lambda: write_tiff(path, content),
        "zarr": lambda: write_zarr(path, content),
        "npy": lambda: np.save(path, content),
        "png": lambda: Image.fromarray(content).save(path),
    }[kind]()
    np.testing.assert_array_equal(read_source(path, BIG), content)
    captioner = near_sighted.near_sighted()
    grid = captioner.encode(content)
    outcome = told(path, [Box(3, 4, 30, 40)])
    assert captions(outcome) == [captioner.caption(grid, [Box(3, 4, 30, 40)])[0].text]
    assert origins(outcome) == [{"model": "near-sighted", "grid": grid.key}]


def test_small_regions_are_enlarged_when_asked_and_say_so(tmp_path):
    path = write_tiff(tmp_path / "a.tif", pixels())
    tiny, usual = Box(100, 100, 102, 102), Box(20, 30, 60, 80)
    outcome = told(path, [tiny, usual], {"zoom": True})
    plain = told(path, [tiny, usual])
    zoomed, other = origins(outcome)
    assert zoomed["looked"]["zoomed"].startswith("rows ")
    assert "zoomed" not in other["looked"]
    assert other["options"] == zoomed["options"] == {"zoom": True}
    assert captions(outcome)[0] != captions(plain)[0]
    assert captions(outcome)[1] == captions(plain)[1]


def test_small_images_are_enlarged_too_and_else_seen_as_ever(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pixels((60, 64, 3))).save(path)
    regions = [Box(10, 10, 14, 14), Box(3, 4, 30, 40)]
    outcome, plain = told(path, regions, {"zoom": True}), told(path, regions)
    zoomed, other = origins(outcome)
    assert list(zoomed["looked"]) == ["patch_pixels", "zoomed"]
    assert "looked" not in other
    assert other["grid"] == origins(plain)[1]["grid"]
    assert captions(outcome)[1] == captions(plain)[1]
    assert captions(outcome)[0] != captions(plain)[0]


def test_regions_lie_on_planes_of_a_stack_or_on_the_first(tmp_path):
    stack = pixels((2, 5, 40, 60, 3))
    path = write_zarr(tmp_path / "stack.zarr", stack, "tzyxs")
    region = Box(3, 4, 30, 40)
    outcome = told(
        path,
        [
            Annotation("a", "", region, extra={"plane": "1 3"}),
            Annotation("b", "", region),
            Annotation("c", "", region, extra={"plane": "2 0"}),
        ],
    )
    captioner = near_sighted.near_sighted()
    assert (outcome.status, outcome.why) == ("done", "")
    assert outcome.faults == (
        "region 'c': there is no plane '2 0' in the image, which has 2 along t, 5 along z",
    )
    assert captions(outcome) == [
        captioner.caption(captioner.encode(stack[place]), [region])[0].text
        for place in ((1, 3), (0, 0))
    ] + [""]
    looked = [json.loads(one.extra["origin"])["looked"] for one in outcome.annotations[:2]]
    assert looked == [{"plane": "t 1, z 3"}, {"plane": "t 0, z 0 (the first)"}]


def test_a_stack_of_one_plane_leaves_no_choice_to_tell_of(tmp_path):
    path = write_zarr(tmp_path / "a.zarr", pixels((1, 2, 40, 60, 3)), "tzyxs")
    [origin] = origins(told(path, [Box(3, 4, 30, 40)]))
    assert origin["looked"] == {"plane": "z 0 (the first)"}


def test_regions_at_fault_are_told_and_the_others_captioned(tmp_path):
    path = write_tiff(tmp_path / "a.tif", pixels())
    regions = [Box(20, 30, 60, 80), Point(5000, 5000), Box(150, 280, 190, 311)]
    outcome = told(path, regions)
    alone = told(path, regions[::2])
    assert (outcome.status, outcome.why) == ("done", "")
    assert [fault.partition(": ")[0] for fault in outcome.faults] == ["region 'r1'"]
    assert captions(outcome) == [alone.annotations[0].caption, "", alone.annotations[1].caption]


def test_a_damaged_piece_costs_only_the_regions_that_need_it(tmp_path):
    path = write_tiff(tmp_path / "a.tif", pixels((512, 512, 3)))
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].dataoffsets[-1]
    content = bytearray(path.read_bytes())
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    outcome = told(path, [Box(20, 30, 30, 40), Box(500, 500, 510, 510)])
    assert outcome.status == "failed"
    assert [bool(text) for text in captions(outcome)] == [True, False]
    assert outcome.why.startswith("region 'r1': ")
    assert "a part of it cannot be read" in outcome.why
    nothing = told(path, [Box(500, 500, 510, 510)])
    assert (nothing.status, nothing.annotations[0].caption) == ("failed", "")


def test_equal_boxes_on_a_large_image(tmp_path):
    content = pixels()
    outcome = told(write_tiff(tmp_path / "a.tif", content), [], drawing=GridDrawing(3))
    regions = [one.region for one in GridDrawing(3).draw("a.tif", HEIGHT, WIDTH)]
    pyramid = near_sighted.near_sighted().pyramid(content, big=BIG)
    assert captions(outcome) == [one.text for one in pyramid.caption(regions)]


def test_labels_of_a_large_image_are_captioned_until_they_are_too_many(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "a.tif", pixels())
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    labels[20:60, 30:80] = 7
    Image.fromarray(labels).save(tmp_path / "labels.png")
    drawing = LabelDrawing((tmp_path / "labels.png",))
    outcome = told(path, [], drawing=drawing)
    assert [one.uid for one in outcome.annotations] == ["7"]
    assert outcome.annotations[0].caption == captions(told(path, [Box(19.5, 29.5, 59.5, 79.5)]))[0]
    monkeypatch.setattr("napari_patchioner.batch._plan._MOST_LABELLED", HEIGHT * WIDTH - 1)
    refused = told(path, [], drawing=drawing)
    assert refused.status == "failed"
    assert "200 by 312 pixels, too many for a label image" in refused.why


def test_no_file_stays_open_before_its_turn(tmp_path):
    path = write_tiff(tmp_path / "a.tif", pixels())
    assert read_source(path, BIG) is None
    Image.fromarray(pixels()).save(tmp_path / "a.png")
    source = read_source(tmp_path / "a.png", BIG)
    assert isinstance(source, StoredImage)
    assert source.is_in_memory


def test_outcomes_are_the_same_whatever_the_number_of_processes(tmp_path):
    for number in range(3):
        write_tiff(tmp_path / f"{number}.tif", pixels(seed=number))
        write_zarr(tmp_path / f"{number}.zarr", pixels((3, 80, 90, 3), number), "zyxs")
    plan = Plan(find_images([tmp_path]), "grid:3", options={"zoom": True}, big=BIG)
    assert len(plan) == 6

    def outcomes(workers):
        found = run(plan, "near-sighted", workers=workers, load=near_sighted.load)
        return {job.image: (one.status, *map(plainly, one.annotations)) for job, one in found}

    alone = outcomes(1)
    assert alone == outcomes(2)
    assert {told[0] for told in alone.values()} == {"done"}
    assert all(len(told) == 10 for told in alone.values())


def plainly(annotation):
    """What a record says; regions that were sent to and fro are others, of the same text."""
    return replace(annotation, region=None), region_to_text(annotation.region)


def test_jobs_pickle_with_their_limit(tmp_path):
    job = next(iter(Plan([tmp_path / "a.tif"], "whole", big=7)))
    assert pickle.loads(pickle.dumps(job)).big == 7
    assert Plan([], "whole", big=7).settings != Plan([], "whole").settings


# on the command line


@pytest.fixture
def caption(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        status = main(["caption", *map(str, arguments)], load=near_sighted.load)
        out, told = capsys.readouterr()
        return status, list(csv.DictReader(out.splitlines())), told

    return command


def test_folders_that_are_images_are_captioned_among_files(tmp_path, caption):
    write_zarr(tmp_path / "b.ome.zarr", pixels((60, 64, 3)))
    Image.fromarray(pixels((60, 64, 3))).save(tmp_path / "a.png")
    status, rows, _ = caption(".", "--regions", "whole")
    assert status == 0
    assert [row["image"] for row in rows] == ["a.png", "b.ome.zarr"]
    assert rows[0]["caption"] == rows[1]["caption"] != ""


def test_a_file_of_regions_names_a_folder_as_it_would_a_file(tmp_path, caption):
    write_zarr(tmp_path / "slide.ome.zarr", pixels((60, 64, 3)))
    regions = [
        Annotation("a", "slide.ome.zarr", Box(3, 4, 30, 40)),
        Annotation("b", "", Point(2, 3)),
    ]
    write_annotations(tmp_path / "regions.csv", regions)
    status, rows, told = caption("slide.ome.zarr/", "--regions", "regions.csv")
    assert (status, [row["uid"] for row in rows]) == (0, ["a", "b"])
    assert all(row["caption"] for row in rows), told


def test_zoom_is_asked_for_on_the_command_line(tmp_path, caption):
    Image.fromarray(pixels((60, 64, 3))).save(tmp_path / "a.png")
    write_annotations(tmp_path / "r.csv", [Annotation("a", "a.png", Box(10, 10, 14, 14))])
    _, rows, _ = caption("a.png", "--regions", "r.csv", "--zoom")
    assert "zoomed" in json.loads(rows[0]["origin"])["looked"]


def test_formats_that_need_sizes_find_those_of_zarr_folders(tmp_path, caption):
    write_zarr(tmp_path / "a.zarr", pixels((60, 64, 3)))
    status, _, told = caption("a.zarr", "--regions", "whole", "--out", "a.geojson")
    assert status == 0, told
    assert "image" in (tmp_path / "a.geojson").read_text()


def test_a_folder_that_changes_inside_is_another_image(tmp_path):
    path = write_zarr(tmp_path / "a.zarr", pixels((60, 64, 3)))
    before = file_stamp(path)
    assert before == file_stamp(path)
    [piece] = [one for one in (path / "c").rglob("*") if one.is_file()]
    piece.write_bytes(piece.read_bytes() + b"0")
    assert file_stamp(path) != before
    assert file_stamp(tmp_path / "gone") == ""


# memory

MEMORY = """
    import sys, near_sighted
    from pathlib import Path
    from napari_patchioner.annotations import Annotation
    from napari_patchioner.batch import Job, work
    from napari_patchioner.regions import Box
    import resource
    path = Path(sys.argv[1])
    small = Path(sys.argv[2])
    regions = [Box(5000, 5000, 5200, 5300), Box(100, 11000, 1000, 11900), Box(11000, 9, 11020, 30)]
    captioner = near_sighted.near_sighted()
    def told(path, regions):
        named = [Annotation(str(n), "", one) for n, one in enumerate(regions)]
        return work(captioner, Job(path.name, path, tuple(named)))
    assert told(small, [Box(600, 600, 620, 630)]).status == "done"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = told(path, regions)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert outcome.status == "done", outcome.why
    print(after - before, *[one.caption for one in outcome.annotations], sep=chr(10))
"""


@cache
def block(tile, *colour):
    """A packed tile of one colour."""
    return zlib.compress(np.full((tile, tile, 3), colour, np.uint8).tobytes(), 1)


def blocks(side, tile):
    """Tiles in four by four colours: the farther right the redder, the farther down the greener."""
    count = side // tile
    for row in range(count):
        for column in range(count):
            yield block(tile, column * 4 // count * 64, row * 4 // count * 64, 90)


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is told otherwise there")
def test_memory_does_not_grow_with_the_image(tmp_path):
    paths = []
    for side, tile in ((12_288, 1024), (4352, 256)):
        path = tmp_path / f"{side}.tif"
        tifffile.imwrite(
            path,
            blocks(side, tile),
            shape=(side, side, 3),
            dtype=np.uint8,
            tile=(tile, tile),
            photometric="rgb",
            compression="zlib",
        )
        paths.append(str(path))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY), *paths],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(near_sighted.__file__).parent)},
    )
    assert done.returncode == 0, done.stderr
    grown, middle, right, low = done.stdout.splitlines()
    array_bytes = 12_288**2 * 3
    assert int(grown) * 1024 < array_bytes / 4
    red, green, _ = map(float, right.split())
    assert red > 10 * green
    red, green, _ = map(float, middle.split())
    assert red == pytest.approx(green, abs=0.05)
    red, green, _ = map(float, low.split())
    assert green > 100 * red
