"""Whatever is wrong with a file, it is one sentence that names the file, and costs little."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_patchioner import limits
from napari_patchioner.annotations import (
    Annotation,
    read_annotations,
    read_head,
    read_project,
    with_unique_uids,
    write_annotations,
)
from napari_patchioner.annotations.formats.coco import coco_drawing
from napari_patchioner.annotations.project.file import read_counts, read_image
from napari_patchioner.annotations.rle import encode_runs
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Mask, RegionSet, WholeImage

if TYPE_CHECKING:
    from pathlib import Path


def _told(path: Path) -> str:
    with pytest.raises(FormatError) as caught:
        read_annotations(path)
    told = str(caught.value)
    assert path.name in told
    assert "\n" not in told
    return told


def _zipped(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, how)
    return path.read_bytes()


def test_a_zip_that_unpacks_to_more_than_it_says_or_may_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LIMITS", limits.Limits(unpacked_bytes=2**24))
    path = tmp_path / "a.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.roi", "w") as file,
    ):
        for _ in range(20):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    assert "unpacks to more than 16,777,216 bytes" in _told(path)


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_of_a_kind_that_cannot_be_unpacked_bit_by_bit_is_refused(
    tmp_path: Path, how: int
) -> None:
    path = tmp_path / "a.zip"
    _zipped(path, {"a.roi": b"Iout" + bytes(60)}, how)
    assert "compressed in a way that is not read" in _told(path)


@pytest.mark.parametrize("name", [".", "../a.roi", "/a.roi", "C:/a.roi", ""])
def test_members_outside_a_zip_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    _zipped(path, {"a.roi": b"Iout" + bytes(60), name: b""})
    _told(path)


def test_a_zip_with_any_byte_of_its_directory_wrong_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_annotations(path, [Annotation("a", "cat.png", Box(1, 2, 3, 4), "a cat")])
    whole = path.read_bytes()
    start = struct.unpack("<I", whole[-6:-2])[0]
    for place in range(start, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with suppress(FormatError):
            read_annotations(path)


def test_what_other_systems_leave_in_a_zip_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_annotations(path, [Annotation("a", "cat.png", Box(1, 2, 3, 4), "a cat")])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._0001 a cat.roi", b"\0\5\x16\7")
        archive.writestr("._b.roi", b"\0\5\x16\7")
        archive.writestr(".DS_Store", b"\0")
    assert [one.caption for one in read_annotations(path)] == ["a cat"]


@pytest.mark.parametrize("ending", [".json", ".csv", ".zip", ".parquet", ".geojson", ".ome.xml"])
def test_what_is_no_plain_file_is_not_opened(tmp_path: Path, ending: str) -> None:
    pipe, endless = tmp_path / f"pipe{ending}", tmp_path / f"zero{ending}"
    os.mkfifo(pipe)
    endless.symlink_to("/dev/zero")
    assert "is a pipe, socket or device" in _told(pipe)
    assert "is a pipe, socket or device" in _told(endless)
    for read in (read_project, read_head, read_counts, read_image):
        with pytest.raises(FormatError, match="is a pipe, socket or device"):
            read(pipe)
    inside = tmp_path / "labels"
    inside.mkdir()
    pipe.rename(inside / "a.txt")
    (tmp_path / "data.yaml").write_text("names: [a]")
    assert read_annotations(tmp_path) == []


@pytest.mark.parametrize("path", ["a\0b.json", "n" * 300, ""])
def test_a_path_that_is_none_is_told(path: str) -> None:
    with pytest.raises(FormatError):
        read_annotations(path)
    with pytest.raises(FormatError):
        read_project(path)


@pytest.mark.parametrize("ending", [".json", ".csv", ".parquet", ".html"])
def test_a_full_drive_is_told(ending: str) -> None:
    region = Annotation("a", "cat.png", Box(1, 2, 3, 4), "a cat")
    for path in (f"/dev/full/a{ending}", f"/proc/a{ending}"):
        with pytest.raises(FormatError, match="cannot be written"):
            write_annotations(path, [region])


def test_a_parquet_file_whose_few_bytes_stand_for_many_is_refused(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path, count = tmp_path / "a.parquet", 5000
    columns = {
        "image": arrow.array(["cat.png"] * count),
        "uid": arrow.array(map(str, range(count))),
        "kind": arrow.array(["box"] * count),
        "wkt": arrow.array(["POLYGON ((0 0, 4 0, 4 2, 0 2, 0 0))"] * count),
    }
    indices = arrow.array([0] * count, arrow.int32())
    text = arrow.DictionaryArray.from_arrays(indices, arrow.array(["x" * 1_000_000]))
    parquet.write_table(arrow.table({**columns, "caption": text}), path)
    assert path.stat().st_size < 2**20
    assert "unpacks to more than" in _told(path)
    ends = arrow.array([0, 20_000_000], arrow.int32())
    lists = arrow.ListArray.from_arrays(ends, arrow.array(np.zeros(20_000_000, np.int8)))
    first = {name: column[:1] for name, column in columns.items()}
    parquet.write_table(arrow.table({**first, "more": lists}), path)
    assert path.stat().st_size < 2**20
    assert "unpacks to more than" in _told(path)


HEAD = "uid,image,kind,wkt,caption\n"
COCO = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "x"}]}


def _coco(size: int, **fields: object) -> str:
    entry = {"id": 1, "image_id": 1, "category_id": 1, **fields}
    image = {"id": 1, "file_name": "a.png", "height": size, "width": size}
    return json.dumps({**COCO, "images": [image], "annotations": [entry]})


def _brush(side: int) -> str:
    """A painted image of a few bytes: one run of 65,536 alike words after the other."""
    total = side * side * 4
    bits = f"{total:032b}" + f"{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    bits += f"1{3:02b}{65535:016b}{255:08b}" * (total // 65536)
    data = list(int(bits + "0" * (-len(bits) % 8), 2).to_bytes((len(bits) + 7) // 8, "big"))
    value = {"format": "rle", "rle": data, "brushlabels": ["x"]}
    sides = {"original_width": side, "original_height": side, "image_rotation": 0}
    names = {"id": "r", "type": "brushlabels", "from_name": "t", "to_name": "image"}
    result = {**names, **sides, "value": value}
    return json.dumps([{"data": {"image": "a.png"}, "annotations": [{"result": [result]}]}])


def _whole(side: int) -> str:
    return encode_runs([0, side * side])


BOMBS = {
    "deep.csv": HEAD + 'a,c,set,"' + "GEOMETRYCOLLECTION (" * 100_000 + '",\n',
    "masks.csv": HEAD
    + "".join(f'u{n},c,mask,"RLE (0 0, 16384 16384, {_whole(16384)})",\n' for n in range(20)),
    "coco.json": _coco(32768, segmentation={"size": [32768, 32768], "counts": _whole(32768)}),
    "brush.json": _brush(32768 - 768),
    "entities.ome.xml": '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><OME>&c;</OME>',
}


def test_bombs_are_refused_in_little_memory(tmp_path: Path) -> None:
    for name, text in BOMBS.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    # In a process of its own, which is killed if it takes more than a gigabyte and a half.
    code = (
        "import resource, sys; from napari_patchioner.annotations import read_annotations\n"
        "resource.setrlimit(resource.RLIMIT_AS, (3 * 2**29,) * 2)\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_annotations(path)\n"
        "    except ValueError as error: print(type(error).__name__, error)\n"
    )
    paths = [tmp_path / name for name in BOMBS]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "more memory than there is" not in done.stdout
    for name, line in zip(BOMBS, done.stdout.splitlines(), strict=True):
        assert name in line


def test_a_set_on_a_large_image_is_drawn_in_little_memory() -> None:
    pixels = Mask(np.ones((2, 2), bool), (1, 1))
    region = RegionSet((pixels, Box(9.5, 9.5, 2009.5, 3009.5)))
    tracemalloc.start()
    drawing = coco_drawing(region, (10_000, 10_000))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert drawing["area"] == 4 + 2000 * 3000
    assert most < 12 * 2000 * 3000


def test_copies_of_one_name_are_counted_once_each() -> None:
    class Text(str):
        made = 0

        def __format__(self, how: str) -> str:
            Text.made += 1
            return str.__format__(self, how)

    copies = with_unique_uids([Annotation(Text("a"), "", WholeImage())] * 1000)
    assert [one.uid for one in copies][-1] == "a-1000"
    assert Text.made < 5000
