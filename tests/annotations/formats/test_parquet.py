from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from napari_patchioner.annotations import Annotation, Notes, read_annotations, write_annotations
from napari_patchioner.annotations.formats.parquet import table_of
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Mask, Point, WholeImage

if TYPE_CHECKING:
    from pathlib import Path


def _items() -> list[Annotation]:
    box, mask = Box(-0.5, -0.5, 9.5, 19.5), Mask(np.ones((2, 3), bool), (5, 6))
    return [
        Annotation("a", "cat.png", box, "=1+1", 0.5, "model", "m", {"n": "1"}),
        Annotation("b", "dog.png", mask, '+a, "b"\n', extra={"x": "?"}),
        Annotation("c", "dog.png", WholeImage()),
    ]


def test_pandas_finds_typed_columns_and_no_guards(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_annotations(path, _items()[:1] + _items()[2:])
    table = pd.read_parquet(path)
    assert table["caption"].tolist() == ["=1+1", ""]
    assert table[["x", "y", "w", "h"]].iloc[0].tolist() == [0, 0, 20, 10]
    assert table["x"].isna().tolist() == [False, True]
    assert {str(table[name].dtype) for name in ("score", "x", "y", "w", "h")} == {"float64"}
    assert table["n"].iloc[0] == "1"


def test_an_extra_may_have_the_name_of_a_number(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.parquet", _items())
    assert [one.extra for one in read_annotations(tmp_path / "a.parquet")] == [
        {"n": "1"},
        {"x": "?"},
        {},
    ]


def test_a_mask_stands_where_it_is(tmp_path: Path) -> None:
    row = table_of(_items()[1:2]).to_pylist()[0]
    assert [row[name] for name in ("y", "w", "h")] == [5, 3, 2]


def test_a_long_file_has_groups_of_rows(tmp_path: Path) -> None:
    items = [Annotation(f"{n}", "cat.png", Point(n, n)) for n in range(10_001)]
    write_annotations(tmp_path / "a.parquet", items)
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 2


def test_a_folder_of_parts_is_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for place, one in enumerate(_items()):
        pq.write_table(table_of([one]), folder / f"part-{place}.parquet")
    assert [one.uid for one in read_annotations(folder)] == ["a", "b", "c"]
    # A part that is torn does not refuse the others.
    (folder / "part-0-torn.parquet").write_bytes(b"PAR1")
    notes = Notes()
    assert [one.uid for one in read_annotations(folder, notes=notes)] == ["a", "b", "c"]
    assert (notes.left_out, "part-0-torn.parquet" in notes.lines()[0]) == (1, True)
    (folder / "part-0-torn.parquet").unlink()
    pq.write_table(table_of(_items()[:1]), folder / "part-9.parquet")
    notes = Notes()
    assert [one.uid for one in read_annotations(folder, notes=notes)] == ["a", "b", "c", "a-2"]
    assert notes.lines() == [
        "part-9.parquet: row 1: the uid 'a' was used before; this region is 'a-2' now"
    ]


def test_a_table_of_others_is_read(tmp_path: Path, same_region: Any) -> None:
    frame = pd.DataFrame(
        {"image": ["c.png"], "uid": ["1"], "kind": ["point"], "wkt": ["POINT (2.5 1.5)"], "n": [3]}
    )
    frame.to_parquet(tmp_path / "a.parquet")
    [one] = read_annotations(tmp_path / "a.parquet")
    assert same_region(one.region, Point(1, 2))
    assert one.extra == {"n": "3"}
    frame.drop(columns="uid").to_parquet(tmp_path / "b.parquet")
    [unnamed] = read_annotations(tmp_path / "b.parquet")
    assert (unnamed.uid, unnamed.extra) == ("row-1", one.extra)
    assert same_region(unnamed.region, one.region)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"kind": "cat"}, "row 1: the kind 'cat' is unknown"),
        ({"wkt": "POINT (1"}, "row 1: is not well-known text"),
        ({"score": float("inf")}, "row 1: the score 'inf' is not a finite"),
        ({"wkt": None}, "row 1: is not well-known text"),
    ],
)
def test_errors_name_the_file_and_the_row(tmp_path: Path, cells: dict[str, Any], told: str) -> None:
    row = {"image": "c.png", "uid": "1", "kind": "point", "wkt": "POINT (2.5 1.5)", **cells}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "bad.parquet")
    with pytest.raises(FormatError, match=rf"^bad\.parquet: {told}"):
        read_annotations(tmp_path / "bad.parquet")


def test_a_table_without_regions_and_a_torn_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"image": ["a"], "uid": ["b"]}), path)
    with pytest.raises(FormatError, match="needs the columns 'kind', 'wkt'"):
        read_annotations(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(FormatError, match="cannot be read as Parquet"):
        read_annotations(path)


def test_without_pyarrow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FormatError, match="pip install pyarrow"):
        write_annotations(tmp_path / "a.parquet", _items())
