"""Images from files and folders, read only where they are looked at."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest
import tifffile
import zarr
from near_sighted import near_sighted
from PIL import Image

from napari_patchioner.errors import ImageError, RegionError
from napari_patchioner.images import Levels, StoredImage, as_rgb, open_image, open_levels
from napari_patchioner.regions import Box, WholeImage

HEIGHT, WIDTH = 200, 312


def picture(shape=(HEIGHT, WIDTH, 3), dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 250, shape).astype(dtype)


def smaller(pixels, times, rows=0):
    """Every so many pixels along rows and columns, which begin at an axis."""
    window = [slice(None)] * pixels.ndim
    window[rows] = window[rows + 1] = slice(None, None, times)
    return pixels[tuple(window)]


def write_tiff(path, pixels, *, axes="YXS", rows=0, levels=(2, 4), **options):
    """A TIFF in tiles, with smaller copies as an OME-TIFF has them."""
    how = {"tile": (64, 64), "compression": "zlib", "photometric": "minisblack", **options}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(pixels, subifds=len(levels), metadata={"axes": axes}, **how)
        for times in levels:
            file.write(smaller(pixels, times, rows), subfiletype=1, **how)
    return path


def write_ome_zarr(path, pixels, axes, *, version="0.5", rows=0, levels=(1, 2, 4), omero=None):
    """An OME-Zarr image as either version of the specification has it."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    for number, times in enumerate(levels):
        level = smaller(pixels, times, rows)
        array = group.create_array(
            str(number), shape=level.shape, chunks=(1,) * rows + (64,) * 2, dtype=level.dtype
        )
        array[...] = level
    known = {"t": "time", "c": "channel"}
    named = [{"name": axis, "type": known.get(axis, "space")} for axis in axes]
    datasets = [{"path": str(number)} for number in range(len(levels))]
    about = {"multiscales": [{"version": version, "axes": named, "datasets": datasets}]}
    about |= {"omero": {"channels": omero}} if omero else {}
    group.attrs.update({"ome": about} if version == "0.5" else about)
    return path


def whole(levels: Levels, number=0):
    """All pixels of a level."""
    level = levels.given[number]
    return level.read(0, 0, *level.shape)


# the same pixels and captions, however they are stored


def ways(folder, pixels):
    """The same picture in colours, stored in every way."""
    yield write_tiff(folder / "pyramid.ome.tif", pixels, photometric="rgb")
    for name, options in {
        "tiles": {"tile": (64, 64), "compression": "zlib"},
        "strips": {"rowsperstrip": 7, "compression": "zlib"},
        "plain": {},
        "planar": {"planarconfig": "separate", "compression": "zlib"},
        "big": {"bigtiff": True, "byteorder": ">"},
    }.items():
        stored = np.moveaxis(pixels, 2, 0) if name == "planar" else pixels
        tifffile.imwrite(folder / f"{name}.tif", stored, photometric="rgb", **options)
        yield folder / f"{name}.tif"
    np.save(folder / "array.npy", pixels)
    yield folder / "array.npy"
    Image.fromarray(pixels).save(folder / "picture.png")
    yield folder / "picture.png"
    for number in (2, 3):
        array = zarr.create_array(
            folder / f"plain{number}.zarr",
            shape=pixels.shape,
            chunks=(64, 64, 3),
            dtype=pixels.dtype,
            zarr_format=number,
        )
        array[...] = pixels
        yield folder / f"plain{number}.zarr"


def test_the_same_picture_is_captioned_alike_however_it_is_stored(tmp_path):
    pixels = picture()
    regions = [Box(20, 30, 60, 80), Box(150, 280, 190, 311), WholeImage()]
    told = {}
    for path in ways(tmp_path, pixels):
        levels = open_levels(path)
        assert levels.shape == (HEIGHT, WIDTH)
        np.testing.assert_array_equal(whole(levels), pixels)
        near = near_sighted().pyramid(levels, big=64).caption(regions[:2])
        told[path.name] = [caption.text for caption in near]
    wanted = [one.text for one in near_sighted().pyramid(pixels, big=64).caption(regions[:2])]
    # Where there are smaller copies, they are looked at instead of made up.
    levels = [smaller(pixels, times) for times in (1, 2, 4)]
    copies = [one.text for one in near_sighted().pyramid(levels, big=64).caption(regions[:2])]
    assert told.pop("pyramid.ome.tif") == copies
    assert set(map(tuple, told.values())) == {tuple(wanted)}


def test_smaller_copies_in_a_tiff_are_levels(tmp_path):
    pixels = picture()
    levels = open_levels(write_tiff(tmp_path / "a.tif", pixels, photometric="rgb"))
    assert [level.shape for level in levels.given] == [(200, 312), (100, 156), (50, 78)]
    for number, times in enumerate((1, 2, 4)):
        np.testing.assert_array_equal(whole(levels, number), smaller(pixels, times))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_of_either_version_is_read_in_its_sizes(tmp_path, version):
    pixels = picture((2, 3, 5, HEIGHT, WIDTH), np.uint16)
    path = write_ome_zarr(tmp_path / "a.ome.zarr", pixels, "tczyx", version=version, rows=3)
    levels = open_levels(path, "1 4")
    assert [level.shape for level in levels.given] == [(200, 312), (100, 156), (50, 78)]
    wanted = np.moveaxis(smaller(pixels, 2, 3)[1, :, 4], 0, 2)
    np.testing.assert_array_equal(whole(levels, 1), wanted)


def test_what_converters_put_around_an_image_is_looked_through(tmp_path):
    path = tmp_path / "converted.zarr"
    outer = zarr.open_group(path, mode="w", zarr_format=2)
    outer.attrs["bioformats2raw.layout"] = 3
    pixels = picture((HEIGHT, WIDTH))
    write_ome_zarr(path / "0", pixels, "yx", version="0.4")
    np.testing.assert_array_equal(whole(open_levels(path)), pixels)


def test_names_of_axes_in_a_plain_array_are_believed(tmp_path):
    pixels = picture((HEIGHT, 5, WIDTH))
    array = zarr.create_array(
        tmp_path / "a", shape=pixels.shape, dtype="uint8", dimension_names=["y", "z", "x"]
    )
    array[...] = pixels
    np.testing.assert_array_equal(whole(open_levels(tmp_path / "a", "3")), pixels[:, 3])


def test_a_group_of_sizes_without_a_word_about_them_is_an_image(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    pixels = picture((HEIGHT, WIDTH))
    for name, times in (("small", 4), ("large", 1)):
        group.create_array(name, data=smaller(pixels, times))
    levels = open_levels(tmp_path / "a.zarr")
    assert [level.shape for level in levels.given] == [(200, 312), (50, 78)]


# channels and planes


def stack(shape, axes, **options):
    return StoredImage("a", [picture(shape)], axes, **options)


@pytest.mark.parametrize(
    ("plane", "found"),
    [
        ("", {"t": 0, "z": 0}),
        ("1 4", {"t": 1, "z": 4}),
        ("1 2 4", {"t": 1, "z": 4, "c": 2}),
        ("1.0 4.0", {"t": 1, "z": 4}),
    ],
)
def test_a_plane_is_found_with_its_channel_or_without(plane, found):
    assert stack((2, 3, 5, 40, 60), "tczyx").find(plane) == found


def test_axes_of_one_plane_may_be_left_out():
    image = stack((1, 3, 5, 40, 60), "tczyx")
    assert image.find("0 4") == image.find("4") == {"t": 0, "z": 4}


@pytest.mark.parametrize(
    ("plane", "axes", "found"),
    [
        ("0 2", "zyx", {"z": 2}),
        ("1 0", "tyx", {"t": 1}),
        ("0 0", "zyx", {"z": 0}),
        ("2", "tzyx", {"t": 0, "z": 2}),
        ("0 2", "tzyx", {"t": 0, "z": 2}),
    ],
)
def test_zeros_along_axes_that_are_not_there_count_for_nothing(plane, axes, found):
    lengths = {"t": 2, "z": 3, "y": 40, "x": 60}
    assert stack(tuple(lengths[axis] for axis in axes), axes).find(plane) == found


@pytest.mark.parametrize("plane", ["5", "-1", "1 1 1 1", "1.5", "nan", "inf", "first", "1 3 0"])
def test_a_plane_that_there_is_not_is_told(plane):
    with pytest.raises(RegionError, match="plane"):
        stack((2, 3, 5, 40, 60), "tczyx").find(plane)


def test_a_picture_without_planes_asks_for_none():
    assert stack((40, 60, 3), "yxs").find("7") == {}


def test_a_stack_that_is_shallower_when_smaller_is_met_at_the_same_height():
    full, half = picture((8, 40, 60)), picture((4, 20, 30))
    levels = StoredImage("a", [full, half], "zyx").levels({"z": 7})
    np.testing.assert_array_equal(whole(levels, 1), half[3])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12])
def test_channels_are_shown_as_those_of_any_picture(count):
    pixels = picture((count, 40, 60), np.uint16)
    levels = StoredImage("a", [pixels], "cyx").levels()
    np.testing.assert_array_equal(
        levels.rgb(whole(levels)), as_rgb(np.squeeze(np.moveaxis(pixels, 0, 2)))
    )


def test_four_channels_are_light_and_none_of_them_transparency():
    pixels = np.zeros((4, 40, 60), np.uint8)
    pixels[0] = 255
    levels = StoredImage("a", [pixels], "cyx").levels()
    assert whole(levels)[0, 0].tolist() == [0, 255, 255]
    colours = StoredImage("a", [np.moveaxis(pixels, 0, 2)], "yxs").levels()
    assert colours.rgb(whole(colours))[0, 0].tolist() == [255, 255, 255]


def test_one_of_many_channels_can_be_chosen_and_all_of_them_are_too_many():
    image = stack((30, 40, 60), "cyx")
    np.testing.assert_array_equal(whole(image.levels(image.find("17"))), image.arrays[0][17])
    with pytest.raises(ImageError, match="30 channels"):
        image.levels()


def test_channels_are_lit_as_the_file_says(tmp_path):
    pixels = np.zeros((2, 64, 64), np.uint16)
    pixels[0, :, :32], pixels[1] = 600, 2000
    omero = [
        {"color": "FF8000", "window": {"start": 100, "end": 1100}, "active": True},
        {"color": "0000FF", "window": {"start": 0, "end": 2000}, "active": False},
    ]
    path = write_ome_zarr(tmp_path / "a.zarr", pixels, "cyx", rows=1, levels=(1,), omero=omero)
    levels = open_levels(path)
    assert whole(levels)[0, 0].tolist() == [128, 64, 0]
    assert whole(levels)[0, 63].tolist() == [0, 0, 0]
    alone = open_levels(path, "0")
    assert alone.rgb(whole(alone))[0, 0].tolist() == [128, 128, 128]


def test_a_single_row_of_channels_is_lit_like_the_rest(tmp_path):
    levels = stack((4, 40, 60), "cyx").levels()
    np.testing.assert_array_equal(levels.given[0].read(7, 3, 1, 9), whole(levels)[7:8, 3:12])


@pytest.mark.parametrize(
    ("shape", "axes", "colours"),
    [((3, 70, 80), "CYX", True), ((4, 70, 80), "CYX", False), ((3, 70, 80), "ZYX", False)],
)
def test_axes_that_a_tiff_names_are_taken_at_their_word(tmp_path, shape, axes, colours):
    tifffile.imwrite(
        tmp_path / "a.tif", picture(shape), photometric="minisblack", metadata={"axes": axes}
    )
    with open_image(tmp_path / "a.tif") as image:
        assert image.axes == ("syx" if colours else axes.lower())


# only what is looked at is read


def test_only_pieces_around_a_region_are_unpacked(tmp_path, monkeypatch):
    pixels = picture((1024, 1024, 3))
    path = write_tiff(tmp_path / "a.tif", pixels, photometric="rgb", levels=())
    levels = open_levels(path)
    read = []
    store = levels.given[0].data.data.store
    fetch = store.get

    async def watched(key, *arguments, **keywords):
        read.append(key)
        return await fetch(key, *arguments, **keywords)

    monkeypatch.setattr(store, "get", watched)
    near_sighted().pyramid(levels, big=64).caption([Box(500, 500, 508, 508)])
    pieces = [key for key in read if "zarr" not in key and ".z" not in key]
    assert 0 < len(set(pieces)) <= 4


def test_a_plain_tiff_is_mapped_and_needs_no_zarr(tmp_path, monkeypatch):
    pixels = picture((HEIGHT, WIDTH), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, byteorder=">")
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    levels = open_levels(tmp_path / "a.tif")
    assert isinstance(levels.given[0].data.data, np.memmap)
    np.testing.assert_array_equal(whole(levels), pixels)


def test_one_piece_as_large_as_the_image_is_unpacked_once(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_patchioner.images._tiff.LARGE_PIECE", 1000)
    pixels = picture((HEIGHT, WIDTH))
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", rowsperstrip=HEIGHT)
    levels = open_levels(tmp_path / "a.tif")
    held = levels.given[0].data.data
    assert not isinstance(held, zarr.Array)
    np.testing.assert_array_equal(levels.given[0].read(5, 6, 7, 8), pixels[5:12, 6:14])
    held._array = None
    np.testing.assert_array_equal(levels.given[0].read(50, 60, 7, 8), pixels[50:57, 60:68])


def test_the_file_is_closed_when_nobody_needs_it_any_more(tmp_path):
    path = write_tiff(tmp_path / "a.tif", picture(), photometric="rgb")
    levels = open_levels(path)
    handle = levels.given[0].data.data.store._data[0].parent.filehandle
    assert not handle.closed
    del levels
    gc.collect()
    assert handle.closed


# what is wrong is told in a sentence


def test_a_damaged_piece_is_told_when_it_is_met(tmp_path):
    path = write_tiff(tmp_path / "a.tif", picture(), photometric="rgb", levels=())
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].dataoffsets[-1]
    content = bytearray(path.read_bytes())
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    levels = open_levels(path)
    levels.given[0].read(0, 0, 10, 10)
    with pytest.raises(ImageError, match=r"a\.tif: a part of it cannot be read"):
        levels.given[0].read(HEIGHT - 10, WIDTH - 10, 10, 10)


def test_without_zarr_it_is_told_what_to_install(tmp_path, monkeypatch):
    tiff = write_tiff(tmp_path / "a.tif", picture(), photometric="rgb")
    folder = write_ome_zarr(tmp_path / "a.zarr", picture((HEIGHT, WIDTH)), "yx")
    monkeypatch.setitem(__import__("sys").modules, "zarr", None)
    for path in (tiff, folder):
        with pytest.raises(ImageError, match=r"zarr is needed; run: pip install"):
            open_levels(path)


def make_folder(path):
    path.mkdir()


def make_empty_group(path):
    zarr.open_group(path, mode="w")


def make_plate(path):
    zarr.open_group(path, mode="w").attrs["ome"] = {"plate": {}}


def make_broken_zarr(path):
    path.mkdir()
    (path / "zarr.json").write_text("{")


def make_lost_levels(path):
    write_ome_zarr(path, picture((HEIGHT, WIDTH)), "yx")
    about = json.loads((path / "zarr.json").read_text())
    about["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = "gone"
    (path / "zarr.json").write_text(json.dumps(about))


def make_objects(path):
    with path.open("wb") as file:
        np.save(file, np.array([{}], object), allow_pickle=True)


def make_line(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(9))


def make_cut_tiff(path):
    tifffile.imwrite(path, picture(), photometric="rgb")
    path.write_bytes(path.read_bytes()[:6])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "there is no such image"),
        (make_folder, "is a folder, and no zarr image"),
        (make_empty_group, "holds no image"),
        (make_plate, "name one of them"),
        (make_broken_zarr, "cannot be read as zarr"),
        (make_lost_levels, "cannot be read as zarr"),
        (make_objects, "cannot be read as an array"),
        (make_line, r"an array of the shape \(9,\) is no picture"),
        (make_cut_tiff, "damaged|cannot be read"),
    ],
)
def test_what_is_no_image_is_told_in_a_sentence(tmp_path, make, words):
    path = tmp_path / "thing.tif"
    make(path)
    with pytest.raises(ImageError, match=words) as caught:
        open_image(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
