from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.evaluation.datasets import ImageFolder, open_dataset

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "name",
    [
        "483108",
        "000000483108",
        "000000483108.jpg",
        "COCO_val2014_000000483108",
        "COCO_val2014_000000483108.jpg",
        "val2014/COCO_val2014_000000483108.jpg",
        "elsewhere/COCO_val2014_000000483108.jpg",
    ],
)
def test_an_image_is_found_by_any_of_its_names(images: Path, name: str):
    assert ImageFolder(images).find(name).name == "COCO_val2014_000000483108.jpg"


def test_a_name_that_two_images_have_is_no_guess(images: Path):
    Image.new("RGB", (4, 4)).save(images / "000000483108.jpg")
    folder = ImageFolder(images)
    with pytest.raises(ImageError, match="could be this image"):
        folder.find("483108")
    assert folder.find("000000483108.jpg").parent == images


def test_masks_and_copies_beside_a_photograph_are_no_second_image(images: Path):
    Image.new("L", (80, 40)).save(images / "000000391895.png")
    (images / "copies").mkdir()
    (images / "copies" / "000000391895.jpg").write_bytes((images / "000000391895.jpg").read_bytes())
    folder = ImageFolder(images)
    assert folder.find("391895").name == "000000391895.jpg"
    assert folder.find("000000391895.png").suffix == ".png"


def test_a_picture_on_its_side_has_the_size_it_is_seen_with(images: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40)).save(images / "turned.jpg", exif=exif)
    folder = ImageFolder(images)
    assert folder.size("turned") == (80, 40)
    assert folder.size("391895") == (40, 80)


def test_missing_images_are_counted_once_when_left_out(images: Path):
    folder = ImageFolder(images, skip_missing=True)
    assert not folder.wanted("5")
    assert not folder.wanted("5")
    assert folder.wanted("391895")
    assert list(folder.missing) == ["5"]


def test_what_is_not_there_is_told(tmp_path: Path, images: Path):
    with pytest.raises(ImageError, match="no such folder"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(FormatError, match="no such file"):
        open_dataset("dense", tmp_path / "nothing.json", images)
    broken = tmp_path / "broken.json"
    broken.write_text('{"a": 1,\n}')
    with pytest.raises(FormatError, match=r"broken\.json: is broken JSON at line 2"):
        open_dataset("dense", broken, images)
    (images / "fake.jpg").write_bytes(b"no picture")
    with pytest.raises(ImageError, match="is not an image of a known kind"):
        ImageFolder(images).size("fake")


def test_an_image_of_another_folder_is_not_taken_for_it(tmp_path):
    for name in ("train/a.jpg", "val/c.jpg", "b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    folder = ImageFolder(tmp_path)
    assert folder.find("train/a.jpg") == folder.find("a") == tmp_path / "train" / "a.jpg"
    assert folder.find("val/b.jpg") == tmp_path / "b.jpg"
    with pytest.raises(ImageError, match="no such image"):
        folder.find("val/a.jpg")
