from __future__ import annotations

import itertools
import pickle

import colours
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_patchioner.annotations import Annotation, read_annotations, write_annotations
from napari_patchioner.batch import Job, Plan, find_images, work
from napari_patchioner.batch._plan import GridDrawing
from napari_patchioner.errors import FormatError, ModelError
from napari_patchioner.regions import Box, Mask, WholeImage


@given(st.integers(1, 30), st.integers(1, 900), st.integers(1, 900))
@settings(max_examples=60, deadline=None)
def test_a_grid_covers_the_image_without_gap_or_overlap(count, height, width):
    boxes = [one.region for one in GridDrawing(count).draw("x", height, width)]
    assert len(boxes) == count**2
    assert sum((b.bottom - b.top) * (b.right - b.left) for b in boxes) == pytest.approx(
        height * width
    )
    for row in range(count):
        line = boxes[row * count : (row + 1) * count]
        assert (line[0].left, line[-1].right) == (-0.5, width - 0.5)
        assert all(one.right == other.left for one, other in itertools.pairwise(line))
        assert len({(one.top, one.bottom) for one in line}) == 1
    assert (boxes[0].top, boxes[-1].bottom) == (-0.5, height - 0.5)


def outcome(plan, place=0):
    return work(colours.load("colours"), list(plan)[place])


def write_labels(path, labels):
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(labels).save(path)
    else:
        tifffile.imwrite(path, labels)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_label_is_a_mask_named_by_its_number(pictures, tmp_path, suffix, dtype):
    labels = np.zeros((16, 32), dtype)
    labels[2:5, 3:9] = 7
    labels[3, 4] = 0
    labels[10:, 20:] = 200
    write_labels(tmp_path / "labels" / f"0000{suffix.lower()}", labels)
    if suffix.isupper():
        (tmp_path / "labels" / "0000.tiff").rename(tmp_path / "labels" / "0000.TIFF")
    plan = Plan(find_images([pictures(1)]), f"labels:{tmp_path / 'labels'}")
    found = outcome(plan)
    assert found.status == "done"
    assert [one.uid for one in found.annotations] == ["7", "200"]
    assert {one.source for one in found.annotations} == {"model"}
    painted = np.zeros((16, 32), int)
    for one in found.annotations:
        assert isinstance(one.region, Mask)
        top, left = one.region.offset
        height, width = one.region.pixels.shape
        painted[top : top + height, left : left + width][one.region.pixels] = int(one.uid)
    assert (painted == labels).all()


def test_palettes_count_by_number_and_not_by_colour(pictures, tmp_path):
    labels = np.zeros((16, 32), np.uint8)
    labels[4:8] = 3
    image = Image.fromarray(labels)
    image.putpalette([9, 9, 9] * 256)
    (tmp_path / "labels").mkdir()
    image.save(tmp_path / "labels" / "0000.png")
    plan = Plan(find_images([pictures(1)]), f"labels:{tmp_path / 'labels'}")
    assert [one.uid for one in outcome(plan).annotations] == ["3"]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (None, "no label image of the same name"),
        (np.zeros((16, 31), np.uint8), "16 by 31 pixels but the image 16 by 32"),
        (np.zeros((16, 32, 3), np.uint8), "save the labels and not their colours"),
        (np.zeros((16, 32), np.float32), "one whole number per pixel"),
        (b"nothing", "is not an image of a known kind"),
    ],
)
def test_a_label_image_that_does_not_fit_fails_one_image(pictures, tmp_path, labels, told):
    path = tmp_path / "labels" / "0000.tif"
    write_labels(path.with_name("other.tif"), np.zeros((4, 4), np.uint8))
    if isinstance(labels, bytes):
        path.write_bytes(labels)
    elif labels is not None:
        write_labels(path, labels)
    plan = Plan(find_images([pictures(1)]), f"labels:{tmp_path / 'labels'}")
    found = outcome(plan)
    assert (found.status, found.annotations) == ("failed", ())
    assert told in found.why


def test_of_label_images_of_one_name_the_one_in_the_like_folder_counts(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        for kind in ("images", "labels"):
            path = tmp_path / kind / folder / "x.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(np.full((16, 16), value, np.uint8)).save(path)
    images = find_images([tmp_path / "images"], recursive=True)
    plan = Plan(images, f"labels:{tmp_path / 'labels'}")
    assert [[one.uid for one in outcome(plan, n).annotations] for n in (0, 1)] == [["1"], ["2"]]
    alone = Plan([tmp_path / "x.png"], f"labels:{tmp_path / 'labels'}")
    Image.new("L", (16, 16)).save(tmp_path / "x.png")
    assert "no label image of the same name" in outcome(alone).why


@pytest.mark.parametrize(
    "regions",
    [
        "grid:0",
        "grid:",
        "grid:-1",
        "grid:2.5",
        "grid:257",
        "proposed:0",
        "proposed:many",
        "proposed:101",
        "labels:nowhere",
        "labels:.",
    ],
)
def test_regions_that_make_no_sense_are_told_first(pictures, tmp_path, monkeypatch, regions):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    images = find_images([pictures(1)])
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(FormatError, match=f"--regions {regions}"):
        Plan(images, regions)


ROWS = """image,uid,kind,wkt,caption,score,source,model,locked,reviewed
,none,image,,,,,,,
,human,image,,mine,,human,,,
,edited,image,,mine,,edited,colours,,
,whose,image,,mine,,,,,
,model,image,,old,0.5,model,other,,
,locked,image,,old,0.5,model,other,true,
,locked-empty,image,,,,,,true,
,accepted,image,,old,0.5,model,other,,accepted
"""


@pytest.mark.parametrize(("only_empty", "written"), [(False, ["none", "model"]), (True, ["none"])])
def test_what_is_kept(pictures, tmp_path, only_empty, written):
    (tmp_path / "regions.csv").write_text(ROWS)
    before = read_annotations(tmp_path / "regions.csv")
    plan = Plan(find_images([pictures(1)]), str(tmp_path / "regions.csv"), only_empty=only_empty)
    found = outcome(plan).annotations
    assert [one.uid for one in found] == [one.uid for one in before]
    changed = [
        new.uid
        for new, old in zip(found, before, strict=True)
        if (new.caption, new.source, new.extra) != (old.caption, old.source, old.extra)
    ]
    assert changed == written
    assert [one.uid for one in before if next(iter(plan)).is_open_region(one)] == written


def test_jobs_and_outcomes_pickle_and_work_needs_nothing_else(pictures):
    plan = Plan(find_images([pictures(2)]), "grid:2", options={"beams": 2})
    job = pickle.loads(pickle.dumps(list(plan)[1]))
    assert isinstance(job, Job)
    assert job.path.is_absolute()
    found = pickle.loads(pickle.dumps(work(colours.load("colours"), job)))
    assert (found.image, found.status, found.height, found.width) == ("0001.png", "done", 16, 32)
    assert len(found.annotations) == 4
    assert found.seconds > 0


def test_whatever_goes_wrong_in_an_image_is_told_and_never_raised(pictures):
    captioner = colours.load("colours")
    job = next(iter(Plan(find_images([pictures(1)]), "whole")))

    def broken(path):
        raise MemoryError("too much\nfor this machine")

    found = work(captioner, job, read=broken)
    assert (found.status, found.why) == ("failed", "MemoryError: too much")
    assert found.annotations == job.regions
    assert isinstance(found.annotations[0].region, WholeImage)
    with pytest.raises(ModelError):
        work(captioner, Job(job.image, job.path, job.regions, options={"length": "essay"}))


def test_settings_tell_runs_apart_that_would_write_other_captions(pictures, tmp_path):
    images = find_images([pictures(1)])
    table = tmp_path / "regions.csv"
    told = set()
    for text in ("image,uid,kind,wkt\n,a,image,\n", "image,uid,kind,wkt\n,b,image,\n"):
        table.write_text(text)
        told.add(tuple(Plan(images, str(table)).settings.values()))
    told.add(tuple(Plan(images, "whole").settings.values()))
    told.add(tuple(Plan(images, "whole", only_empty=True).settings.values()))
    told.add(tuple(Plan(images, "whole", options={"beams": 1}).settings.values()))
    assert len(told) == 5


def test_a_number_that_python_would_not_read_is_told(pictures):
    with pytest.raises(FormatError, match="name 1 to 256 boxes"):
        Plan(find_images([pictures(1)]), "grid:" + "9" * 5000)


def test_a_row_of_another_folder_is_left_alone(tmp_path):
    for folder in ("d1", "d2"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (32, 16)).save(tmp_path / folder / "a.png")
    rows = [Annotation(folder, f"{folder}/a.png", Box(2, 2, 9, 9)) for folder in ("d1", "d2")]
    write_annotations(tmp_path / "r.csv", rows, format="tidy")
    plan = Plan([tmp_path / "d1" / "a.png"], str(tmp_path / "r.csv"))
    assert [one.uid for one in outcome(plan).annotations] == ["d1"]
    assert [one.uid for one in plan.others] == ["d2"]
