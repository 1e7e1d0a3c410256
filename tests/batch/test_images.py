from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.batch import find_images
from napari_patchioner.batch._match import ImageMatcher
from napari_patchioner.errors import FormatError, ImageError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder with images and other files, which is the working folder too."""
    names = ("b.PNG", "a.jpg", "note.txt", "._a.jpg", "one/c.tif", "one/two/d.webp", ".old/e.png")
    for name in names:
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "set"


def found(*given, **options):
    return [path.as_posix() for path in find_images(given, **options)]


def test_folders_are_searched_as_deep_as_asked(tree):
    assert found("set") == ["set/a.jpg", "set/b.PNG"]
    deep = ["set/a.jpg", "set/b.PNG", "set/one/c.tif", "set/one/two/d.webp"]
    assert found("set", recursive=True) == deep
    with pytest.raises(ImageError, match=r"holds no image; add --recursive"):
        found("set/one/..//.old/..", "set/.old/../one/two/..", str(tree.parent))


def test_arrays_in_a_folder_are_images(tree):
    (tree / "stack.npy").write_bytes(b"")
    assert found("set") == found("set/*") == ["set/a.jpg", "set/b.PNG", "set/stack.npy"]


def test_patterns_files_and_folders_give_each_image_once(tree):
    assert found("set/**/*.tif", "set/*.*", "set/a.jpg") == [
        "set/one/c.tif",
        "set/a.jpg",
        "set/b.PNG",
    ]
    assert found("set/*.txt") == ["set/note.txt"]
    assert found("set/note.txt", "set/../set/note.txt", str(tree / "note.txt")) == ["set/note.txt"]
    with pytest.raises(ImageError, match=r"set/\*\.bmp: no image matches"):
        found("set/a.jpg", "set/*.bmp")


def test_zarr_folders_are_images_and_nothing_in_them_is(tree):
    for folder in ("slide.ome.zarr", "one/deep.zarr", "one/unnamed", "slide.ome.zarr/labels.zarr"):
        (tree / folder / "0").mkdir(parents=True)
        (tree / folder / "0" / "thumbnail.png").write_bytes(b"")
    (tree / "one/unnamed/zarr.json").write_text("{}")
    assert found("set") == ["set/a.jpg", "set/b.PNG", "set/slide.ome.zarr"]
    deep = found("set", recursive=True)
    assert [name for name in deep if "zarr" in name or "unnamed" in name] == [
        "set/one/deep.zarr",
        "set/one/unnamed",
        "set/slide.ome.zarr",
    ]
    assert not [name for name in deep if name.endswith("thumbnail.png")]
    named = ["set/slide.ome.zarr", "set/one/unnamed"]
    assert found("set/slide.ome.zarr/", named[1]) == named
    assert found("set/**/*.zarr") == ["set/one/deep.zarr", "set/slide.ome.zarr"]
    with pytest.raises(ImageError, match="no image matches"):
        found("set/*.zarr/**/*.png")


def test_a_name_that_looks_like_a_pattern_may_be_a_file(tree):
    (tree / "scan[1].png").write_bytes(b"")
    (tree / "scan1.png").write_bytes(b"")
    assert found("set/scan[1].png") == ["set/scan[1].png"]


def test_one_missing_file_is_left_for_later_and_none_at_all_is_an_error(tree):
    assert found("set/none.png", "set/a.jpg") == ["set/none.png", "set/a.jpg"]
    with pytest.raises(ImageError, match=r"set/none\.png: there is no such image"):
        found("set/none.png")


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_to_files_keep_their_names(tree):
    (tree / "link.png").symlink_to(tree / "a.jpg")
    os.symlink(tree, tree.parent / "also")
    assert found("set/link.png", "also/link.png") == ["set/link.png"]
    matcher = ImageMatcher(find_images(["set/link.png", "set/a.jpg"]))
    assert [matcher.find(name) for name in ("link", "also/link.png", "a")] == [0, 0, 1]


def test_what_a_table_calls_an_image(tree):
    matcher = ImageMatcher(find_images(["set"], recursive=True))
    meant = {
        "set/a.jpg": 0,
        str(tree / "a.jpg"): 0,
        "./set/../set/a.jpg": 0,
        "one/c.tif": 2,
        "two\\d.webp": 3,
        "D:\\elsewhere\\two\\d.webp": 3,
        "D:\\d.webp": 3,
        "https://host/two/d.webp?size=2": 3,
        "file:///elsewhere/two/d.webp": 3,
        "one/c": 2,
        "../one/C.TIF": 2,
        "elsewhere/d.webp": None,
        "one/a.jpg": None,
        "d": 3,
        "d.png": None,
        "": None,
        "\0": None,
    }
    assert {name: matcher.find(name) for name in meant} == meant


def test_a_name_that_several_images_have_is_an_error_until_a_folder_tells(tree):
    for folder in ("one", "one/two"):
        (tree / folder / "x.png").write_bytes(b"")
    matcher = ImageMatcher(find_images(["set"], recursive=True))
    with pytest.raises(FormatError, match=r"may be set/one/two/x\.png or set/one/x\.png; write"):
        matcher.find("x.png")
    assert matcher.find("two/x.png") == matcher.find("one/two/x.png") == 4
    assert matcher.find("one/x.png") == 5


def test_a_folder_that_is_named_is_never_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("d1/a.png", "d2/a.png", "d2/my cat.png", "d1/caf\u00e9.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    matcher = ImageMatcher([Path("d1/a.png")], tmp_path)
    assert matcher.assign(["d1/a.png", "d2/a.png"]) == {"d1/a.png": 0}
    for name in ("d2/a.png", ".\\d2\\a.png", "./d2/../d2/a.png", "x/d2/a", "D2/A.png"):
        assert matcher.find(name) is None
    # The path of another file of this machine is no path from elsewhere.
    assert matcher.find(str(tmp_path / "d2" / "a.png")) is None
    # Of paths from elsewhere the nearer one is meant, and neither if both are as near.
    foreign = ["C:\\x\\d1\\a.png", "C:\\x\\d2\\a.png"]
    assert matcher.assign(foreign) == {foreign[0]: 0}
    with pytest.raises(FormatError, match=r"d1/a\.png may be '/x/d1/a\.png' or '/y/d1/a\.png'; "):
        matcher.assign(["/x/d1/a.png", "/y/d1/a.png"])
    assert matcher.assign(["/x/d1/a.png", "a.png"]) == {"a.png": 0}


@pytest.mark.parametrize(
    "root",
    ["C:\\data\\", "/mnt/x/", "\\\\srv\\", "s3://bucket/", "https://h/", "file:///mnt/"],
)
def test_the_folder_in_a_path_from_elsewhere_has_to_be_the_images(tmp_path, root):
    matcher = ImageMatcher([tmp_path / "d1" / "a.png"], tmp_path)
    names = [f"{root}{name}" for name in ("d2/a.png", "d2/a", "d1/A.png", "D1/a.png")]
    # Even where no other name fits the image better.
    assert [matcher.assign([name]) for name in names[:2]] == [{}, {}]
    assert [matcher.find(name) for name in names] == [None, None, 0, 0]


def test_a_number_in_another_folder_is_another_image(tmp_path):
    matcher = ImageMatcher([tmp_path / "d1" / "000000000139.jpg"], tmp_path)
    names = ["139", "139.jpg", "d2/139", "/mnt/d2/139.jpg"]
    assert [matcher.find(name) for name in names] == [0, 0, None, None]


def test_names_are_found_as_other_systems_write_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d1").mkdir()
    names = ["d1/my cat.png", "d1/caf\u00e9.png", "d1/50%25.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    matcher = ImageMatcher([Path(name) for name in names])
    meant = {
        "d1/my%20cat.png": 0,
        "file:///home/me/d1/my%20cat.png": 0,
        "d2/my%20cat.png": None,
        "d1\\MY CAT.PNG": 0,
        "cafe\u0301.png": 1,
        "d1/CAFE\u0301.png": 1,
        "50%25.png": 2,
    }
    assert {name: matcher.find(name) for name in meant} == meant


def test_names_are_seen_from_the_table_as_well(tmp_path, monkeypatch):
    for folder in ("here/tables", "here/images", "there/images"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("here", "there"):
        (tmp_path / folder / "images" / "a.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "there")
    matcher = ImageMatcher([tmp_path / "here/images/a.png"], tmp_path / "here/tables")
    assert matcher.find("../images/a.png") == 0


FOLDERS = st.lists(st.sampled_from(["d1", "d2", "D1", "x y"]), max_size=2).map("/".join)
FILES = st.tuples(FOLDERS, st.sampled_from(["a.png", "b.png", "A.png"])).map(
    lambda pair: "/".join(filter(None, pair))
)


@given(
    files=st.sets(FILES, min_size=1, max_size=8),
    data=st.data(),
    manner=st.sampled_from(["plain", "backslashes", "elsewhere", "escaped", "dotted"]),
)
def test_a_name_never_leads_to_another_file(files, data, manner):
    given = data.draw(st.lists(st.sampled_from(sorted(files)), min_size=1, unique=True))
    written = {
        "plain": lambda name: name,
        "backslashes": lambda name: name.replace("/", "\\"),
        "elsewhere": lambda name: f"/nowhere/{name}",
        "escaped": lambda name: name.replace(" ", "%20"),
        "dotted": lambda name: f"./{name}",
    }[manner]
    with TemporaryDirectory() as folder:
        for name in files:
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        matcher = ImageMatcher([Path(folder, name) for name in given], Path(folder))
        try:
            found = matcher.assign(map(written, sorted(files)))
        except FormatError:
            # Only what names no folder may be any file of its name, and a path of elsewhere.
            assert manner == "elsewhere" or any("/" not in name for name in files)
            return
    for name in sorted(files):
        place = found.get(written(name))
        if place is None:
            # A path of elsewhere ends in the name of some other folder.
            assert name not in given or (manner == "elsewhere" and "/" not in name)
        elif "/" in name:
            assert given[place] == name
        else:
            assert given[place].endswith(name)


def test_many_thousand_names_are_found():

    paths = [Path(f"set/{n % 300}/{n}.png") for n in range(20_000)]
    matcher = ImageMatcher(paths)
    assert [matcher.find(f"{n}") for n in range(0, 20_000, 997)] == list(range(0, 20_000, 997))
    assert matcher.find("199/19999.png") == 19_999


def test_links_in_a_circle_are_followed_once(tmp_path, monkeypatch):
    """Two links to the folder they lie in would be two to the power of forty folders."""
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("in/x.png", "in/a/y.png", "elsewhere/z.png"):
        (tmp_path / name).touch()
    for name in ("one", "two"):
        (tmp_path / "in" / name).symlink_to(".")
    (tmp_path / "in" / "link").symlink_to("../elsewhere")
    monkeypatch.chdir(tmp_path / "in")
    wanted = {"x.png", "a/y.png", "link/z.png"}
    for pattern in ("**/*.png", "./**/*.png", "**", str(tmp_path / "in" / "**" / "*.png")):
        found = [os.path.relpath(path) for path in find_images([pattern])]
        assert set(found) == wanted, pattern
    assert {path.name for path in find_images(["."], recursive=True)} == {"x.png", "y.png"}
