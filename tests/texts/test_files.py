"""Texts as people have them: tables, JSON, odd encodings, and files that are none of that."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.errors import FormatError
from napari_patchioner.texts import TextFile, TextList
from napari_patchioner.texts.json_stream import JsonStream


def made(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def texts(path, column=None):
    return [line.text for line in TextFile(path, column).lines() if not line.problem]


def test_lines_of_plain_text_are_numbered(tmp_path):
    path = made(tmp_path, "a.txt", "a cell\n\r\nanother\rlast")
    lines = [(line.number, line.text.strip()) for line in TextFile(path).lines()]
    assert lines == [(1, "a cell"), (2, ""), (3, "another"), (4, "last")]


TABLES = {
    "quotes.csv": ('id,Caption\n1,"a cell, dividing"\n2,"two\nlines"\n', ["a cell, dividing"]),
    "semicolons.csv": ("id;text\n1;ein Kern, groß\n", ["ein Kern, groß"]),
    "tabs.tsv": ("text\tid\na, b\t1\n", ["a, b"]),
    "longest.csv": ("a,b\n1,a cell with a nucleus\n2,another cell\n", ["a cell with a nucleus"]),
    "single.csv": ("a red cell\na blue cell\n", ["a red cell"]),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_gives_the_column_a_person_means(tmp_path, name):
    content, first = TABLES[name]
    assert texts(made(tmp_path, name, content))[:1] == first


def test_rows_of_a_table_know_their_lines(tmp_path):
    path = made(tmp_path, "a.csv", 'n,caption\n1,"two\nlines"\n2,next\n3\n')
    lines = [(line.number, line.text) for line in TextFile(path).lines()]
    assert lines == [(2, "two\nlines"), (4, "next"), (5, "")]


def test_a_column_is_chosen_by_name(tmp_path):
    path = made(tmp_path, "a.csv", "caption,Note\nx,a note\n")
    assert texts(path, "note") == ["a note"]
    assert TextFile(path).columns() == (("caption", "Note"), "caption")
    with pytest.raises(FormatError, match=r"a\.csv: has no column 'other'; it has caption, Note"):
        texts(path, "other")


def test_json_lines(tmp_path):
    lines = [{"text": "a cell"}, "a word", {"other": 1}, {"text": ["b", "c"]}, {"text": 7}]
    content = "\n".join([*map(json.dumps, lines), "{broken"])
    read = list(TextFile(made(tmp_path, "a.jsonl", content)).lines())
    assert [line.text for line in read if not line.problem] == ["a cell", "a word", "b", "c"]
    assert [line.problem for line in read if line.problem] == [
        "no such field",
        "no text",
        "not JSON",
    ]


def test_json_without_a_text_says_what_there_is(tmp_path):
    path = made(tmp_path, "a.jsonl", '{"note": "x", "n": 1}\n')
    assert texts(path, "note") == ["x"]
    with pytest.raises(FormatError, match="has no caption; name a field with text: note, n"):
        texts(path)


def test_captions_of_coco(tmp_path):
    coco = {
        "info": {"url": "x", "list": [1, {"deep": ["["]}]},
        "images": [{"file_name": "a.jpg", "id": 1}] * 3,
        "licenses": [{"name": "CC BY"}],
        "annotations": [{"id": n, "caption": f"caption {n} ü"} for n in range(5000)],
    }
    for indent in (None, 1):
        path = made(tmp_path, "captions.json", json.dumps(coco, indent=indent))
        assert texts(path) == [f"caption {n} ü" for n in range(5000)]


@settings(deadline=None, max_examples=60)
@given(
    items=st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=5,
        ),
        max_size=6,
    ),
    piece=st.integers(1, 9),
)
def test_a_stream_of_json_gives_what_the_whole_gives(items, piece):
    class Slow(io.StringIO):
        def read(self, size=-1):
            return super().read(min(size, piece))

    whole = json.dumps({"other": {"x": [1]}, "a": items, "n": 12})
    assert list(JsonStream(Slow(whole), "a.json").items(["a"])) == items
    assert list(JsonStream(Slow(json.dumps(items)), "a.json").items()) == items


@pytest.mark.parametrize(
    "content",
    ["", "7", '{"a": [1, 2', '{"a": [1] "b"}', "[1] 2", "[" * 100_000, '["' + "x" * 5_000_000],
)
def test_what_is_no_json_is_refused(tmp_path, content):
    with pytest.raises(FormatError, match=r"^a\.json: (is no JSON|holds an item)"):
        texts(made(tmp_path, "a.json", content))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_followed(tmp_path, encoding):
    table = made(tmp_path, "a.csv", "caption;n\nµm, größer 🦠;1\n".encode(encoding))
    plain = made(tmp_path, "b.txt", "eine Zelle\n🦠 größer\n".encode(encoding))
    assert texts(table) == ["µm, größer 🦠"]
    assert texts(plain) == ["eine Zelle\n", "🦠 größer\n"]


def test_bytes_that_are_no_utf8_concern_their_line_alone(tmp_path):
    path = made(tmp_path, "a.txt", b"gut\n" + "größer\n".encode("latin-1") + b"good\n")
    assert [line.problem for line in TextFile(path).lines()] == ["", "not UTF-8", ""]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.json"])
def test_a_binary_file_is_refused(tmp_path, name):
    path = made(tmp_path, name, b"\x89PNG\r\n\0\0\0\rIHDR")
    with pytest.raises(FormatError, match="is not a text file; give one in UTF-8"):
        texts(path)


def test_compressed_files(tmp_path):
    whole = gzip.compress(b"caption\na cell\n")
    assert texts(made(tmp_path, "a.csv.gz", whole)) == ["a cell"]
    for name, damaged in (("b.txt.gz", whole[:-9]), ("c.txt.gz", b"plain")):
        with pytest.raises(FormatError, match=r"damaged|cannot be read"):
            texts(made(tmp_path, name, damaged))


def test_a_quotation_mark_that_is_not_closed_is_found(tmp_path):
    path = made(tmp_path, "a.csv", 'caption\ngood\n"never closed\n' + "x" * 100 + "\n" * 200_000)
    with pytest.raises(FormatError, match=r"row that begins on line 3 .* not closed"):
        texts(path)


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_a_line_of_any_length_takes_little_memory(tmp_path, name):
    path = tmp_path / name
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"word " * 200_000)
        file.write(b"\nlast\n")
    tracemalloc.start()
    if name == "a.csv":
        with pytest.raises(FormatError, match="line 1 is longer than 1,000,000 characters"):
            texts(path)
    else:
        lines = [(line.number, line.problem) for line in TextFile(path).lines()]
        assert lines[0] == (1, "too long")
        assert lines[-1][0] == 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_no_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(FormatError, match="cannot be read"):
            texts(path)


def test_what_is_pasted_has_a_digest_of_its_own():
    one, other = TextList.pasted("a\nb"), TextList.pasted("a\nc")
    assert one.digest() != other.digest() == TextList("x", ("a", "c")).digest()
    assert [line.text for line in one.lines()] == ["a", "b"]
