"""Which files are listed, and in which order."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.errors import Cancelled, ImageError
from napari_patchioner.viewer.folder.files import by_name, list_images

ENDINGS = {".png", ".tif", ".zarr"}


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def listed(root, **options):
    return [file.name for found in list_images(root, ENDINGS, **options) for file in found]


def test_images_are_listed_as_people_count_those_of_a_folder_together(tmp_path):
    make(tmp_path, "b10.png", "b9.PNG", "a.tif", "10/x.png", "9/x.png", "9/deep/x.png", "notes.txt")
    make(tmp_path, ".hidden.png", ".git/x.png", "a.tif.patchioner.json")
    assert listed(tmp_path) == [
        *("a.tif", "b9.PNG", "b10.png"),
        *("9/x.png", "9/deep/x.png", "10/x.png"),
    ]


def test_a_zarr_folder_is_one_image(tmp_path):
    make(tmp_path, "slide.ome.zarr/0/x.png", "slide.ome.zarr/.zattrs")
    assert listed(tmp_path) == ["slide.ome.zarr"]


def test_links_are_followed_but_not_in_a_circle(tmp_path):
    make(tmp_path, "here/a.png", "there/b.png")
    os.symlink(tmp_path / "there", tmp_path / "here" / "link")
    os.symlink(tmp_path / "here", tmp_path / "there" / "back")
    os.symlink(tmp_path / "nowhere", tmp_path / "here" / "broken")
    assert listed(tmp_path / "here") == ["a.png", "link/b.png"]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ImageError, match="choose another one"):
        listed(tmp_path / "none")


def test_it_can_be_stopped_between_two_folders(tmp_path):
    make(tmp_path, "a.png", "deep/b.png")
    told = []

    def progress(_fraction, name):
        told.append(name)
        if len(told) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        listed(tmp_path, progress=progress)
    assert told == [tmp_path.name, "deep"]


def test_a_stamp_tells_that_a_file_has_changed_or_is_gone(tmp_path):
    make(tmp_path, "a.png")
    [[file]] = list_images(tmp_path, ENDINGS)
    before = file.stamp
    file.path.write_bytes(b"more")
    assert file.stamp != before
    file.path.unlink()
    assert file.stamp == (0, 0)


@given(st.lists(st.text(), unique=True))
def test_any_names_have_one_order(names):
    backwards = names[::-1]
    assert sorted(names, key=by_name) == sorted(backwards, key=by_name)


@given(st.integers(0, 10**30), st.integers(0, 10**30), st.text("ab"), st.text("ab"))
def test_numbers_count_as_numbers(one, other, before, after):
    names = [f"{before}{one}{after}", f"{before}{other}{after}"]
    in_order = [f"{before}{number}{after}" for number in sorted((one, other))]
    assert sorted(names, key=by_name) == in_order
