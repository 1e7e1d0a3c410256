from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_patchioner.errors import ImageError
from napari_patchioner.images import as_rgb, read_image

if TYPE_CHECKING:
    from pathlib import Path

RED, BLUE = (200, 10, 20), (20, 30, 210)


@pytest.fixture
def picture() -> np.ndarray:
    """Return a picture whose four corners differ: 6 rows, 8 columns."""
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[:3, :4], pixels[:3, 4:] = RED, BLUE
    pixels[3:, :4] = 120
    return pixels


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "webp", "gif"])
def test_exact_formats_read_exactly(tmp_path: Path, picture: np.ndarray, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(picture).save(path, **({"lossless": True} if ending == "webp" else {}))
    np.testing.assert_array_equal(as_rgb(read_image(path)), picture)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_the_camera_may_have_been_turned(
    tmp_path: Path, picture: np.ndarray, orientation: int, ending: str
) -> None:
    stored = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.swapaxes(0, 1),
        6: np.rot90(picture, 1),
        7: picture[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(picture, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{ending}"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_array_equal(as_rgb(read_image(path)), picture)


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "LA", "RGBA", "1", "L"])
def test_any_colour_mode_reads(tmp_path: Path, picture: np.ndarray, mode: str) -> None:
    image = Image.fromarray(picture)
    image = image.convert("L").convert(mode) if mode in ("LA", "1") else image.convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    # Pillow before 13 cannot read what it writes in YCbCr without compression.
    image.save(path, **({"compression": "tiff_lzw"} if mode == "YCbCr" else {}))
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert abs(as_rgb(read_image(path)).astype(int) - expected).max() <= 1


def test_a_jpeg_of_printing_inks_reads(tmp_path: Path, picture: np.ndarray) -> None:
    big = np.kron(picture, np.ones((8, 8, 1), np.uint8))
    Image.fromarray(big).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    rgb = as_rgb(read_image(tmp_path / "a.jpg"))
    assert abs(rgb[8, 8].astype(int) - RED).max() < 30


def test_a_transparent_palette_reads(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 10, 20])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.png", transparency=0)
    rgb = as_rgb(read_image(tmp_path / "a.png"))
    assert rgb[0, 0].tolist() == [255, 255, 255]
    assert rgb[1, 1].tolist() == list(RED)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bit_grays_keep_their_depth(tmp_path: Path, ending: str) -> None:
    gray = (np.arange(64, dtype=np.uint16).reshape(8, 8)) * 1000
    path = tmp_path / f"a.{ending}"
    Image.fromarray(gray).save(path)
    image = read_image(path)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, gray)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_deep_colour_tiffs_read(tmp_path: Path, planar: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65535, (6, 8, 3), dtype=np.uint16)
    stored = deep if planar == "contig" else np.moveaxis(deep, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), deep)


def test_float_and_white_is_zero_tiffs_read(tmp_path: Path) -> None:
    gray = np.random.default_rng(0).random((6, 8), dtype=np.float32)
    tifffile.imwrite(tmp_path / "a.tif", gray)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), gray)
    tifffile.imwrite(
        tmp_path / "b.tif", np.arange(48, dtype=np.uint8).reshape(6, 8), photometric="miniswhite"
    )
    assert read_image(tmp_path / "b.tif")[0, 0] == 255


def test_a_stack_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6, 8), np.uint8), photometric="minisblack")
    with pytest.raises(ImageError, match="stack of planes"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_damaged_files_are_told_in_a_sentence(
    tmp_path: Path, picture: np.ndarray, ending: str
) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(np.kron(picture, np.ones((20, 20, 1), np.uint8))).save(path)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:20], b"", b"not an image"):
        path.write_bytes(broken)
        with pytest.raises(ImageError) as caught:
            as_rgb(read_image(path))
        assert "\n" not in str(caught.value)
        assert f"a.{ending}" in str(caught.value)


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such image"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)
