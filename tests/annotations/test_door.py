"""Whatever is wrong with a file, it is one sentence that names the file, and costs little."""

from __future__ import annotations

import os
import struct
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_patchioner.annotations import (
    Annotation,
    read_annotations,
    read_head,
    read_project,
    write_annotations,
)
from napari_patchioner.annotations.project._project_counts import read_counts, read_image_path
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box

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


def test_a_zip_that_unpacks_to_more_than_it_says_or_may_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.roi", "w") as file,
    ):
        for _ in range(600):
            file.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    assert "unpacks to more than 536,870,912 bytes" in _told(path)


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
    for read in (read_project, read_head, read_counts, read_image_path):
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
