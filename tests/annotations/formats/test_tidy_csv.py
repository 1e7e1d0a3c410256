from __future__ import annotations

import csv
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_patchioner.annotations import (
    Annotation,
    Notes,
    format_tidy_csv,
    read_annotations,
    read_tidy_csv,
    write_annotations,
    write_tidy_csv,
)
from napari_patchioner.annotations import files as files_module
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Mask, Point, Polygon, RegionSet, Trace, WholeImage

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "image,uid,kind,wkt"
TEXT = st.text(max_size=30) | st.text(st.sampled_from("'=+-@\t\r\n\",;é猫"), max_size=8)
NAME = TEXT.filter(bool)


def _write(folder: Path, text: str) -> Path:
    path = folder / "regions.csv"
    path.write_bytes(text.encode())
    return path


def test_the_header_is_the_agreed_one() -> None:
    assert format_tidy_csv([]) == "image,uid,kind,wkt,caption,score,source,model\n"


ROWS = "A cat;12;box;POLYGON ((0 0, 4 0, 4 2, 0 2, 0 0));cat.png;a\r\n"


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeffcaption;age;Kind;wkt;image;uid\r\n{ROWS}",
        f"# made by hand, twice; wkt\r\n\r\nsep=;\r\ncaption;age;kind;wkt;image;uid\r\n{ROWS}",
        f";;;;;\n\n# a\n#,b\ncaption;#;kind;wkt;image;uid\n{ROWS}".replace("\r", ""),
        f"#;age;kind;wkt;image;uid\n{ROWS}".replace("\r", ""),
        f"\ufeffcaption\tage\tkind\twkt\timage\tuid\r\n{ROWS}".replace(";", "\t"),
        f"\ufeffcaption;age;kind;wkt;image;uid\r\n{ROWS}".replace("\n", ""),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_table_that_is_written_over_keeps_its_layout(
    tmp_path: Path, same_region: Any, text: str, encoding: str
) -> None:
    path = tmp_path / "regions.csv"
    path.write_bytes(text.encode(encoding))
    notes = Notes()
    [one] = read_annotations(path, notes=notes)
    assert not notes
    assert (one.uid, one.image) == ("a", "cat.png")
    assert same_region(one.region, Box(-0.5, -0.5, 1.5, 3.5))
    write_annotations(path, [replace(one, source="human", model="m")])
    end = "".join(sign for sign in "\r\n" if sign in text)
    *before, header, row, _ = text.split(end)
    *kept, named, now, last = path.read_bytes().decode(encoding).split(end)
    assert (kept, last) == (before, "")
    assert named.lower().startswith(header.lower())
    assert now.startswith(row)
    [again] = read_annotations(path)
    assert (again.caption, again.source, again.model) == (one.caption, "human", "m")
    assert again.extra == one.extra


BOXES = {
    "image,name,x1,y1,x2,y2": "cat.png,an ear,1,2,5,4",
    "file_name;Class;Xmin;Ymin;Xmax;Ymax": "cat.png;an ear;1,0;2;5;4",
    "filename,width,height,class,xmin,ymin,xmax,ymax": "cat.png,90,80,an ear,5,4,1,2",
    "path\tx\ty\twidth\theight": "cat.png\t1\t2\t4\t2",
    # ImageJ's results, and a table of scikit-image.
    " ,Area,X,Y,BX,BY,Width,Height": "1,8,3,3,1,2,4,2",
    "label,bbox-0,bbox-1,bbox-2,bbox-3": "7,2,1,4,5",
    "image,kind,x0,y0,x1,y1": "cat.png,ear,1,2,5,4",
}


@pytest.mark.parametrize("header", BOXES)
def test_a_table_of_boxes_is_read_and_written_over(
    tmp_path: Path, same_region: Any, header: str
) -> None:
    rows = [f"{header}", BOXES[header], BOXES[header].replace("2", "many")]
    path, notes = _write(tmp_path, "\n".join([*rows, ""])), Notes()
    [one] = read_annotations(path, notes=notes)
    assert same_region(one.region, Box(1.5, 0.5, 3.5, 4.5))
    assert one.image == ("cat.png" if "cat.png" in BOXES[header] else "")
    assert one.uid == "2"
    assert "'many' is not a number" in "".join(notes.lines())
    write_annotations(path, [replace(one, caption="a cat", source="human")])
    # The columns that were there stay as they were, before ours.
    assert path.read_text().startswith(header.strip(" ") if header.startswith("image") else "")
    [again] = read_annotations(path)
    assert same_region(again.region, one.region)
    assert (again.caption, again.image, again.extra) == ("a cat", one.image, one.extra)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("image,name,x1,y1\na,b,1,2\n", "a table of boxes needs the columns 'x2', 'y2'"),
        ("image,uid,name\na,b,c\n", "must be image, kind, wkt or image, x1, y1, x2, y2 or"),
        ("a,b\n1,2\n", "image, kind, wkt or image, x1, y1, x2, y2 or index"),
        ("image,x1,y1,x2,y2\na,.1,.2,.5,.9\n", "are shares of an image, from 0 to 1"),
        ("image,x1,y1,x2,y2\na,4,2,4,9\n", "row 2, column 'x2': the box has no area"),
        ("x1,y1,x2,y2,x,y,w,h\n1,2,3,4,1,2,2,2\n", "has boxes twice (x1, y1, x2, y2 and x, y, w"),
    ],
)
def test_what_a_table_lacks_is_said(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_annotations(_write(tmp_path, text))
    assert problem in str(caught.value)


def test_a_row_is_counted_with_the_lines_before_the_header(tmp_path: Path) -> None:
    path = _write(tmp_path, f"# one\n\n# two\n{HEADER}\na.png,1,box,nonsense\n")
    with pytest.raises(FormatError, match=r"row 5, column 'wkt'"):
        read_annotations(path)


def test_every_kind_survives(tmp_path: Path, regions: list[Any], same_region: Any) -> None:
    before = [Annotation(str(n), "cat.png", region) for n, region in enumerate(regions)]
    assert write_tidy_csv(tmp_path / "a.csv", before) == ()
    after = read_tidy_csv(tmp_path / "a.csv")
    assert [item.uid for item in after] == [item.uid for item in before]
    assert all(same_region(one.region, two.region) for one, two in zip(before, after, strict=True))
    assert format_tidy_csv(after) == format_tidy_csv(before)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    st.lists(
        st.builds(
            Annotation,
            uid=NAME,
            image=TEXT,
            region=st.builds(Point, st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
            caption=TEXT,
            score=st.none() | st.floats(0, 1),
            source=st.sampled_from(["", "model", "edited", "human"]),
            model=TEXT,
            extra=st.fixed_dictionaries({"time": TEXT, "=grid key": TEXT}),
        ),
        max_size=5,
        unique_by=lambda item: (item.image, item.uid),
    )
)
def test_texts_and_numbers_survive(tmp_path: Path, before: list[Annotation]) -> None:
    write_tidy_csv(tmp_path / "a.csv", before)
    after = read_tidy_csv(tmp_path / "a.csv")
    fields = ("uid", "image", "caption", "score", "source", "model", "extra")
    for name in fields:
        assert [getattr(item, name) for item in after] == [getattr(item, name) for item in before]
    for one, two in zip(before, after, strict=True):
        assert one.region.row == pytest.approx(two.region.row, abs=1e-6)


def test_a_spreadsheet_finds_no_formula_and_plain_numbers() -> None:
    item = Annotation("=1", "-a.png", Point(-3, -4), "+cmd|' /C calc'!A0", 0.25, "model", "@m")
    _, row = csv.reader(format_tidy_csv([item]).splitlines())
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)
    assert row[3] == "POINT (-3.5 -2.5)"
    assert float(row[5]) == 0.25


def test_unknown_columns_are_kept_and_the_order_of_columns_is_free(tmp_path: Path) -> None:
    path = _write(
        tmp_path, 'wkt,depth,uid,kind,image,"who, me"\nPOINT (1 1),-3.5,a,point,c.png,=x\n'
    )
    [item] = read_tidy_csv(path)
    assert item.extra == {"depth": "-3.5", "who, me": "=x"}
    header, row = csv.reader(format_tidy_csv([item]).splitlines())
    assert header[-2:] == ["depth", "who, me"]
    assert row[-2:] == ["-3.5", "'=x"]


def test_an_empty_column_is_kept(tmp_path: Path) -> None:
    items = read_tidy_csv(_write(tmp_path, f"{HEADER},note\nc,a,image,,\n"))
    assert format_tidy_csv(items).splitlines()[0].endswith(",model,note")


def test_geometry_nobody_changed_is_repeated_letter_by_letter(tmp_path: Path) -> None:
    rows = [
        'c,a,box,"POLYGON((0.1 0.2,4.70 0.2,4.7 9,0.1 9,0.1 0.2))",,,,',
        'c,b,image,"POLYGON ((0 0, 9 0, 9 5, 0 5, 0 0))",,,,',
    ]
    text = "\n".join([f"{HEADER},caption,score,source,model", *rows, ""])
    items = read_tidy_csv(_write(tmp_path, text))
    assert format_tidy_csv(items) == text
    moved = replace(items[0], region=Point(1, 2))
    assert ",POINT (2.5 1.5)," in format_tidy_csv([moved])


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    path = _write(tmp_path, f"\ufeff{HEADER}\r\n\r\nc.png,a,POINT,POINT (1 1)\r\n\r\n")
    [item] = read_annotations(path)
    assert (item.uid, item.kind) == ("a", "point")


def test_the_same_uid_may_name_regions_of_two_images(tmp_path: Path) -> None:
    path = _write(tmp_path, f"{HEADER}\na.png,1,image,\nb.png,1,image,POLYGON EMPTY\n")
    assert [item.image for item in read_tidy_csv(path)] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "regions.csv: the file is empty"),
        ("image,uid,kind\nc,a,point\n", "row 1: .* lacks"),
        (f"{HEADER}\nc,a,point\n", "row 2: has 3 cells"),
        (f"{HEADER}\nc,a,cat,POINT (1 1)\n", "row 2, column 'kind': the kind 'cat' is unknown"),
        (f"{HEADER}\nc,a,point,POINT (1\n", "row 2, column 'wkt'"),
        (f"{HEADER}\nc,a,point,POINT (nan 1)\n", "row 2, column 'wkt': .* finite"),
        (f"{HEADER},score\nc,a,point,POINT (1 1),x\n", "row 2, column 'score': 'x' is not a num"),
        (f"{HEADER},score\nc,a,point,POINT (1 1),inf\n", "row 2, column 'score': .* finite"),
        (f"{HEADER},source\nc,a,point,POINT (1 1),me\n", "row 2, column 'source'"),
        (f'{HEADER}\nc,"a,point,POINT (1 1)\n', "row 2: the quoting is broken"),
        ("cat,dog\n1,2\n", "no table of regions"),
    ],
)
def test_bad_tables_are_told_in_a_sentence(tmp_path: Path, text: str, told: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(FormatError, match=told) as caught:
        read_annotations(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("regions.csv")


def test_files_that_are_missing_or_not_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        read_tidy_csv(tmp_path / "none.csv")
    with pytest.raises(FormatError, match="cannot be read"):
        read_tidy_csv(tmp_path)
    (tmp_path / "latin.csv").write_bytes(f"{HEADER}\ncaf\xe9,a,image,\n".encode("latin-1"))
    with pytest.raises(FormatError, match="UTF-8"):
        read_tidy_csv(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    "annotations",
    [
        [Annotation("a", "c", Mask(np.zeros((2, 2), bool)))],
        [Annotation("a", "c", WholeImage()), Annotation("a", "c", WholeImage())],
        [Annotation("", "c", WholeImage())],
        [Annotation("a", "c", WholeImage(), score=float("nan"))],
        [Annotation("a", "c", WholeImage(), extra={"": "x"})],
        [Annotation("a", "c", WholeImage(), "\ud800")],
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(
    tmp_path: Path, annotations: list[Annotation]
) -> None:
    path = _write(tmp_path, "old")
    with pytest.raises(FormatError):
        write_tidy_csv(path, annotations)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = _write(tmp_path, "old")
    monkeypatch.setattr(files_module.os, "fsync", full)
    with pytest.raises(FormatError, match="No space left"):
        write_tidy_csv(path, [Annotation("a", "c", WholeImage())])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be written"):
        write_tidy_csv(tmp_path / "none" / "a.csv", [])


def test_union_and_ellipse_members_survive(tmp_path: Path) -> None:
    region = RegionSet((Box(0, 0, 4, 4), Point(1, 1)), union=True)
    write_tidy_csv(tmp_path / "a.csv", [Annotation("a", "c", region)])
    [item] = read_tidy_csv(tmp_path / "a.csv")
    assert item.region.union
    assert item.extra == {}


def test_a_lasso_of_many_vertices_fits_in_a_cell(tmp_path: Path) -> None:
    ring = np.random.default_rng(0).uniform(0, 1000, (20_000, 2))
    limit = csv.field_size_limit()
    write_tidy_csv(tmp_path / "a.csv", [Annotation("a", "c.png", Polygon(ring))])
    [item] = read_tidy_csv(tmp_path / "a.csv")
    assert len(item.region.vertices) == 20_000
    assert csv.field_size_limit() == limit


def test_an_outline_that_is_a_tangle_is_left_out(tmp_path: Path) -> None:
    """What it encloses would take gigabytes to find out."""
    ring = np.random.default_rng(0).uniform(0, 1000, (20_000, 2))
    items = [Annotation("a", "c.png", Polygon(ring)), Annotation("b", "c.png", Polygon(ring[:20]))]
    write_tidy_csv(tmp_path / "a.csv", items)
    notes = Notes()
    assert [one.uid for one in read_annotations(tmp_path / "a.csv", notes=notes)] == ["b"]
    assert notes.left_out == 1
    assert "a.csv: region 'a': its outline crosses itself more than" in notes.lines()[0]


TEXTS = {
    "trailing": "image,uid,kind,wkt,caption,,\ncat.png,a,point,POINT (1 2),a cat,,\n,,,,,,\n",
    "semicolons": "image;uid;kind;wkt;caption;score\ncat.png;a;point;POINT (1 2);a cat;0,75\n",
    "said": "sep=;\r\nimage;uid;kind;wkt;caption\r\ncat.png;a;point;POINT (1 2);a cat\r\n",
    "tabs": "image\tuid\tkind\twkt\tcaption\ncat.png\ta\tpoint\tPOINT (1 2)\ta cat\n",
    "short": "image,uid,kind,wkt,caption\ncat.png,a,point,POINT (1 2),a cat,,,\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", TEXTS)
def test_tables_are_read_as_spreadsheets_save_them(
    tmp_path: Path, name: str, encoding: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(TEXTS[name].encode(encoding))
    [found] = read_annotations(path)
    assert (found.image, found.uid, found.caption, found.extra) == ("cat.png", "a", "a cat", {})
    assert found.score == (0.75 if name == "semicolons" else None)


def test_rows_without_a_uid_get_one_that_no_other_row_has(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    row = "c.png,{},point,POINT (1 2)\n"
    path.write_text(f"{HEADER}\n" + "".join(map(row.format, ["", "a", "2", ""])))
    notes = Notes()
    found = read_annotations(path, notes=notes)
    assert ([one.uid for one in found], notes.left_out) == (["2-2", "a", "2", "5"], 0)
    assert notes.lines() == ["a.csv: rows without a uid get the number of their row as one"]
    path.write_text("image,kind,wkt\nc.png,point,POINT (1 2)\nc.png,image,\n")
    assert [one.uid for one in read_annotations(path)] == ["2", "3"]


def test_capitals_and_decimal_commas_of_a_person_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "Image;UID;Kind;WKT;Caption;Score;Source;Note\n"
        "c.png;a;Polygon;POLYGON ((1,5 2, 9,5 2, 9 8,25, 1,5 2));a cat;0,5;Human;x\n"
        "c.png;b;point;POINT (10,5 20,5);a dog;;MODEL;\n"
        "c.png;c;trace;LINESTRING (1 2,3 4);;;;\n"
    )
    notes = Notes()
    one, two, three = read_annotations(path, notes=notes)
    assert one.region.vertices.tolist() == [[1.5, 1.0], [1.5, 9.0], [7.75, 8.5]]
    assert (one.caption, one.score, one.source, one.extra) == ("a cat", 0.5, "human", {"Note": "x"})
    assert (two.region.row, two.region.column, two.source) == (20, 10, "model")
    assert three.region.points.tolist() == [[1.5, 0.5], [3.5, 2.5]]
    assert not notes
    write_annotations(path, [one, two, three])
    again = read_annotations(path)
    assert [type(one.region) for one in again] == [Polygon, Point, Trace]
    assert (again[1].region.row, again[1].source) == (20, "model")


def test_columns_of_odd_names_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    extra = {"\r": "1", " a": "2", 'json:"x"': "4", "=b": "5", "a\nb": "6"}
    before = Annotation("a", "cat.png", Point(1, 2), "=a cat, 0,75", extra=extra)
    write_annotations(path, [before])
    [after] = read_annotations(path)
    assert (after.caption, after.extra) == (before.caption, extra)


def test_columns_without_a_name_or_with_one_twice_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image,uid,kind,wkt,,note,note,,x\ncat.png,a,point,POINT (1 2),,1,2,3,4\n")
    notes = Notes()
    [found] = read_annotations(path, notes=notes)
    assert found.extra == {"note": "1", "note (2)": "2", "column 8": "3", "x": "4"}
    assert len(notes.lines()) == 1


def test_a_table_of_very_many_columns_is_read_and_written_in_time(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(30_000)] + ["c1"] * 30_000
    cells = [str(number) for number in range(60_000)]
    head = ["image", "uid", "kind", "wkt"]
    rows = [[*head, *names], ["cat.png", "a", "point", "POINT (1 2)", *cells]]
    path = _write(tmp_path, "".join(f"{','.join(row)}\n" for row in rows))
    started = time.process_time()
    [found] = read_annotations(path, notes=Notes())
    assert list(found.extra.values()) == cells
    write_annotations(path, [found])
    assert time.process_time() - started < 10


def test_one_bad_row_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    row = "cat.png,{},point,POINT (1 2)\n"
    rows = [row.format("a"), "cat.png,b,point\n", "cat.png,c,blob,POINT (1 2)\n", row.format("d")]
    rows += ["cat.png,e,point,POINT (1 2),more\n", row.format("a")]
    path.write_text("image,uid,kind,wkt\n" + "".join(rows))
    notes = Notes()
    assert [one.uid for one in read_annotations(path, notes=notes)] == ["a", "d", "a-2"]
    assert [line.split(": ")[1].split(",")[0] for line in notes.lines()] == [
        "row 3",
        "row 6",
        "row 4",
        "row 7",
    ]
