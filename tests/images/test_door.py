"""What the door for pictures lets in, and what it refuses in one sentence."""

from __future__ import annotations

import base64
import io
import os
import socket
import stat
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import zarr
from PIL import EpsImagePlugin, Image

from napari_patchioner.annotations.formats.html import picture as report_picture
from napari_patchioner.errors import ImageError, PatchionerError
from napari_patchioner.images import (
    as_stored,
    file_orientation,
    image_size,
    open_image,
    picture_size,
    read_image,
    read_picture,
    read_preview,
    upright,
    upright_points,
)

if TYPE_CHECKING:
    from pathlib import Path

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n%%EndComments\nshowpage\n"


@pytest.fixture
def pixels() -> np.ndarray:
    """Return smooth colours of which no turn is like another: 24 rows, 40 columns."""
    rows, columns = np.mgrid[:24, :40]
    return np.stack([rows * 8, columns * 5, (rows + 2 * columns) * 2], axis=-1).astype(np.uint8)


def turned_file(path: Path, pixels: np.ndarray, orientation: int) -> Path:
    """Write a picture as a camera held that way does."""
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, 1),
        7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(pixels, -1),
    }[orientation]
    stored = np.ascontiguousarray(stored)
    if path.suffix == ".tiff":
        # As a microscope writes it: by the tag alone, and by another program than Pillow.
        extra = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, stored, photometric="rgb", extratags=extra)
        return path
    exif = Image.Exif()
    exif[274] = orientation
    how = {"quality": 95} if path.suffix == ".jpg" else {}
    Image.fromarray(stored).save(path, exif=exif, **how)
    return path


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "tiff"])
def test_size_pixels_and_report_agree_however_the_camera_was_held(tmp_path, pixels, ending):
    for orientation in range(1, 9):
        path = turned_file(tmp_path / f"{orientation}.{ending}", pixels, orientation)
        assert file_orientation(path) == orientation
        assert image_size(path) == picture_size(path) == (24, 40)
        read = read_image(path)
        assert abs(read.astype(int) - pixels).mean() < 8
        shown = read_preview(path, 400)
        assert shown is not None
        assert abs(np.asarray(shown).astype(int) - read[..., :3]).mean() < 1


def test_upright_undoes_each_of_the_eight_ways(tmp_path, pixels):
    for orientation in range(1, 9):
        path = turned_file(tmp_path / "a.tiff", pixels, orientation)
        stored = tifffile.imread(path)
        np.testing.assert_array_equal(upright(stored, orientation), pixels)
        np.testing.assert_array_equal(as_stored(pixels, orientation), stored)
        places = np.argwhere(np.ones(stored.shape[:2], bool))
        rows, columns = upright_points(places, orientation, (24, 40)).astype(int).T
        np.testing.assert_array_equal(pixels[rows, columns], stored[tuple(places.T)])


def test_the_name_says_nothing_of_the_kind(tmp_path, pixels):
    for kind, name in [("PNG", "a.jpg"), ("JPEG", "a.tif"), ("TIFF", "a.png"), ("WEBP", "a.bin")]:
        Image.fromarray(pixels).save(tmp_path / name, kind)
        assert read_image(tmp_path / name).shape == (24, 40, 3)
        assert image_size(tmp_path / name) == (24, 40)


def test_pictures_come_from_bytes_as_well(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    assert picture_size(buffer.getvalue()) == (24, 40)
    np.testing.assert_array_equal(np.asarray(read_picture(buffer.getvalue())), pixels)
    with pytest.raises(ImageError, match="mask of a cat: is not an image"):
        read_picture(b"nothing", "mask of a cat")


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """Yield where a Ghostscript on the path would leave a mark if it ran."""
    mark, program = tmp_path / "it-ran", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return mark


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.eps", "a"])
def test_postscript_is_never_run(tmp_path, ghostscript, name):
    path = tmp_path / name
    for data in (POSTSCRIPT, b"\xc5\xd0\xd3\xc6" + struct.pack("<6i", 30, 78, 0, 0, 0, 0)):
        path.write_bytes(data + POSTSCRIPT)
        for read in (read_image, image_size, read_picture, file_orientation):
            with pytest.raises(ImageError, match="not an image of a known kind"):
                read(path)
        with pytest.raises(ImageError, match="not an image of a known kind"):
            read_picture(path.read_bytes())
        assert report_picture(path) is None
    assert not ghostscript.exists()


@pytest.mark.parametrize(
    "start", [b"SIMPLE  =                    T", b"GRIB\0\0\0\1", b"\x89HDF\r\n\x1a\n", b"BUFR"]
)
def test_containers_for_other_programs_are_no_pictures(tmp_path, start):
    path = tmp_path / "a.png"
    path.write_bytes(start + bytes(4000))
    with pytest.raises(ImageError, match="not an image of a known kind"):
        read_image(path)


@pytest.mark.parametrize(
    "read", [read_image, image_size, read_picture, file_orientation, open_image]
)
def test_what_is_no_plain_file_is_refused_at_once(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.png")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.fspath(tmp_path / "s.png"))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    names = ["pipe.png", "s.png", "folder.png", "empty.png", "none.png", "nul\0.png", "x" * 300]
    try:
        for path in ["/dev/zero", "/dev/full", *(f"{tmp_path}/{name}" for name in names)]:
            with pytest.raises(ImageError) as caught:
                read(path)
            assert "\n" not in str(caught.value)
    finally:
        listening.close()


def png_that_claims(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [header, data, b"IEND"]
    packed = [
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("size", [(20_000, 20_000), (2**31 - 1, 2**31 - 1), (1, 2**31 - 1)])
def test_a_header_that_claims_too_many_pixels_is_refused(tmp_path, size, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "a.png").write_bytes(png_that_claims(*size))
    for read in (read_image, image_size, read_picture):
        with pytest.raises(ImageError, match="too large to be read whole"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("side", [100_000, 2**31 - 1])
def test_a_tiff_that_claims_too_many_pixels_is_refused(tmp_path, side):
    # Lying on its side, for which it has to be read whole.
    path = turned_file(tmp_path / "a.tiff", np.zeros((24, 40, 3), np.uint8), 6)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages.first.tags[name].overwrite(side, dtype="I")
    with pytest.raises(ImageError, match="too large to be read whole"):
        read_image(path)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_a_report_shows_tiffs_of_every_depth(tmp_path, dtype, photometric):
    gray = (np.arange(24 * 40).reshape(24, 40) % 40 > 20).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", gray, photometric=photometric)
    shown = read_preview(tmp_path / "a.tif", 100)
    assert shown is not None
    assert shown.mode == "RGB"
    bright = np.asarray(shown)[..., 0][gray > 0]
    if dtype is not np.uint8:
        assert set(bright.tolist()) == {255 if photometric == "minisblack" else 0}
    assert report_picture(tmp_path / "a.tif").startswith("data:image/jpeg;base64,")


def test_a_mask_in_base64_passes_the_same_door(ghostscript):
    from napari_patchioner.annotations.formats.labelme import region_of

    for data in (POSTSCRIPT, png_that_claims(20_000, 20_000), b""):
        shape = {
            "shape_type": "mask",
            "points": [[0, 0], [39, 29]],
            "mask": base64.b64encode(data).decode(),
        }
        with pytest.raises(PatchionerError):
            region_of(shape)
    assert not ghostscript.exists()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_strip_that_unpacks_to_more_than_its_size_is_refused(tmp_path, orientation):
    path = tmp_path / "a.tif"
    gray = np.zeros((24, 40), np.uint8)
    extra = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(path, gray, compression="zlib", rowsperstrip=24, extratags=extra)
    packed = zlib.compress(bytes(2**28), 1)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags, end = tiff.pages.first.tags, path.stat().st_size
        tags["StripByteCounts"].overwrite(len(packed))
        tags["StripOffsets"].overwrite(end)
    with path.open("ab") as file:
        file.write(packed)
    for read in (read_image, open_image):
        with pytest.raises(ImageError, match="unpacks to more than its size"):
            read(path)


def test_an_array_that_claims_absurd_sizes_is_refused(tmp_path):
    for name, shape, chunks in [
        ("area", (2**20, 2**20), (64, 64)),
        ("side", (2, 2**30), (2, 64)),
        ("piece", (2**16, 2**16), (2**16, 2**16)),
    ]:
        zarr.create_array(tmp_path / name, shape=shape, chunks=chunks, dtype="uint8")
        with pytest.raises(ImageError, match="more than"):
            open_image(tmp_path / name)


def test_a_tiff_of_gray_and_transparency_is_gray(tmp_path, pixels):
    Image.fromarray(pixels).convert("LA").save(tmp_path / "a.tif")
    read = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(read, np.asarray(Image.fromarray(pixels).convert("L")))


def test_a_jpeg_of_thousands_of_passes_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_patchioner.images._picture._SECONDS", 0.6)
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 4000), (10, 200, 30)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:-2] + data[last:-2] * 4000 + data[-2:])
    assert path.stat().st_size < 2**19
    with pytest.raises(ImageError, match=r"a\.jpg: takes more than 1 seconds to read"):
        read_image(path)


@pytest.mark.parametrize("kind", ["WEBP", "JPEG"])
def test_what_a_decoder_holds_beside_the_picture_counts_as_well(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("napari_patchioner.images._picture.MOST_HELD", 145_000_000)
    how = {"lossless": True, "method": 0} if kind == "WEBP" else {"progressive": True}
    picture = Image.new("CMYK" if kind == "JPEG" else "RGB", (3500, 3500))
    picture.save(tmp_path / "a", kind, **how)
    with pytest.raises(ImageError, match=r"too large to be read whole, as 0\.[12] GB"):
        read_image(tmp_path / "a")


def ome_tiff(path: Path, sizes: str, planes: str) -> Path:
    """Write a TIFF of one page that OME-XML says more of."""
    text = (
        f'<OME UUID="urn:uuid:a"><Image ID="Image:0"><Pixels DimensionOrder="XYCZT" Type="uint8" '
        f'SizeX="8" SizeY="8" {sizes}>{planes}</Pixels></Image></OME>'
    )
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), description=text, metadata=None)
    return path


@pytest.mark.parametrize("read", [read_image, open_image])
def test_planes_in_other_files_come_from_beside_the_image_only(tmp_path, read):
    folder, outside = tmp_path / "folder", tmp_path / "secret.tif"
    folder.mkdir()
    for path in (outside, folder / "own.tif"):
        tifffile.imwrite(path, np.full((8, 8), 77, np.uint8))
    (folder / "link.tif").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    two = 'SizeC="1" SizeZ="1" SizeT="2"'
    planes = (
        '<TiffData FirstT="0" PlaneCount="1"/><TiffData FirstT="1" PlaneCount="1">'
        '<UUID FileName="{}">urn:uuid:b</UUID></TiffData>'
    )
    for name, match in [
        ("../secret.tif", "no file beside it"),
        (str(outside), "no file beside it"),
        ("link.tif", "no file beside it"),
        ("pipe", "is a pipe"),
    ]:
        with pytest.raises(ImageError, match=match):
            read(ome_tiff(folder / "a.ome.tif", two, planes.format(name)))
    with open_image(ome_tiff(folder / "a.ome.tif", two, planes.format("own.tif"))) as image:
        assert image.lengths["t"] == 2
        assert (np.asarray(image.arrays[0][1]) == 77).all()


@pytest.mark.parametrize("read", [read_image, open_image])
def test_a_tiff_of_absurdly_many_planes_or_pieces_is_refused(tmp_path, read):
    many = 'SizeC="1" SizeZ="1" SizeT="1000000000"'
    one = 'SizeC="1" SizeZ="1" SizeT="1"'
    for sizes, planes in [
        (many, '<TiffData IFD="0" PlaneCount="1"/>'),
        (one, '<TiffData IFD="0" PlaneCount="1000000000"/>'),
    ]:
        with pytest.raises(ImageError, match="more than 10,000,000 planes"):
            read(ome_tiff(tmp_path / "a.tif", sizes, planes))
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, np.zeros((70_000, 1), np.uint8), compression="zlib", rowsperstrip=1)
    with pytest.raises(ImageError, match="lies in 70,000 pieces of 1 values each"):
        read(path)
