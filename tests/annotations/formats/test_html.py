from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from annotated import IMAGES, annotations, told
from hypothesis import HealthCheck, given, settings
from PIL import Image

from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    read_annotations,
    write_annotations,
)
from napari_patchioner.annotations.formats.html import SCRIPT, picture, read, write
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Mask, Point, Polygon, RegionSet, WholeImage

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "input", "img", "br", "link"}


class Page(HTMLParser):
    """Takes a page apart as a browser would, and holds on to what matters."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.rows[-1][-1] += data


def _as_seen(text: str) -> str:
    text = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
    return text.replace("\r\n", "\n").replace("\r", "\n")


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=annotations())
def test_a_report_reads_back_and_shows_every_word(
    tmp_path: Path, same_region: Any, items: list[Annotation]
) -> None:
    path = tmp_path / "report.html"
    assert write(path, items, IMAGES) == ()
    for one, again in zip(items, read_annotations(path), strict=True):
        assert told(again) == told(one)
        assert same_region(one.region, again.region)
    page = Page(path.read_text())
    assert page.open == []
    found = {row[0]: row for row in page.rows if row}
    for number, one in enumerate(items, start=1):
        assert _as_seen(found[str(number)][1]) == _as_seen(one.caption)
        assert found[str(number)][4] == one.kind


def test_nothing_comes_from_outside_and_no_text_becomes_a_tag(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    nasty = '</script><img src=x onerror="alert(1)">\'"&<!--'
    item = Annotation(nasty, nasty, Box(0, 0, 9, 9), nasty, None, "human", nasty, {nasty: nasty})
    write(path, [item], {nasty: ImageInfo(nasty, 20, 20)})
    page = Page(path.read_text())
    assert {tag for tag, _ in page.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "p", "input"),
        *("section", "figure", "svg", "rect", "g", "path", "text", "figcaption", "table", "thead"),
        *("tbody", "tr", "th", "td", "a", "script"),
    }
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert not any(name.startswith("on") for _, fields in page.tags for name in fields)
    links = [fields[name] for _, fields in page.tags for name in ("src", "href") if name in fields]
    assert links == ["#r1"]
    [policy] = [f["content"] for t, f in page.tags if f.get("http-equiv")]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert f"<script>{SCRIPT}</script>" in path.read_text()


def test_regions_are_drawn_where_they_are(tmp_path: Path) -> None:
    pixels = np.ones((3, 3), bool)
    pixels[1, 1] = False
    image = ImageInfo("cat.png", 100, 200)
    items = [
        Annotation("a", "c", Box(-0.5, -0.5, 9.5, 19.5), "a box"),
        Annotation("b", "c", Mask(pixels, (50, 70)), "a ring"),
        Annotation("c", "c", Point(0, 2)),
        Annotation("d", "c", RegionSet((Box(0, 0, 9, 9), Polygon(np.eye(3)[:, :2])))),
        Annotation("e", "c", WholeImage()),
    ]
    write(tmp_path / "a.html", items, {"c": image})
    found = re.search(r"<svg.*?</svg>", (tmp_path / "a.html").read_text(), re.DOTALL)
    assert found is not None
    svg = ElementTree.fromstring(found[0])
    assert svg.get("viewBox") == "0 0 200 100"
    box, ring, dot, pair, whole = svg.findall("g")
    assert box.findtext("title") == "1. a box"
    assert box.find("path").get("d") == "M0.00 0.00L20.00 0.00L20.00 10.00L0.00 10.00Z"
    assert ring.find("path").get("d").count("M") == 2
    assert (dot.find("circle").get("cx"), dot.find("circle").get("cy")) == ("2.50", "0.50")
    assert len(pair.findall("path")) == 2
    assert whole.find("rect") is not None
    assert [group.findtext("text") for group in (box, ring, dot, pair, whole)] == list("12345")


def _pixels(address: str | None) -> np.ndarray:
    assert address is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_pictures_are_scaled_and_turned(tmp_path: Path) -> None:
    large = np.zeros((400, 3200, 3), np.uint8)
    large[:, 1600:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(large).save(tmp_path / "a.png", exif=exif)
    seen = _pixels(picture(tmp_path / "a.png"))
    assert seen.shape == (1600, 200, 3)
    assert seen[10].mean() < 10
    assert seen[-10].mean() > 245
    clear = np.zeros((5, 5, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "b.png")
    assert picture(tmp_path / "b.png").startswith("data:image/png;base64,")
    assert _pixels(picture(tmp_path / "b.png")).shape == (5, 5, 4)


def test_deep_pictures_are_spread_over_eight_bits(tmp_path: Path) -> None:
    deep = np.linspace(1000, 1400, 10_000).reshape(100, 100)
    for kind in (np.uint16, np.float32):
        tifffile.imwrite(tmp_path / "a.tif", deep.astype(kind))
        seen = _pixels(picture(tmp_path / "a.tif"))
        assert seen.min() < 10
        assert seen.max() > 245
    tifffile.imwrite(tmp_path / "rgb.tif", np.full((3, 8, 8), 77, np.uint8), photometric="rgb")
    assert _pixels(picture(tmp_path / "rgb.tif")).shape == (8, 8, 3)


@pytest.mark.parametrize("contents", [b"", b"no picture", b"II*\0 cut off"])
def test_without_a_picture_the_report_is_whole(tmp_path: Path, contents: bytes) -> None:
    broken = tmp_path / "cat.tif"
    broken.write_bytes(contents)
    info = ImageInfo("cat.tif", 10, 20, broken)
    write(tmp_path / "a.html", [Annotation("a", "cat", Point(1, 1), "a cat")], {"cat": info})
    text = (tmp_path / "a.html").read_text()
    assert "20 × 10 pixels; no picture" in text
    assert [one.caption for one in read(tmp_path / "a.html")] == ["a cat"]


def test_no_annotations_are_a_report_too(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.html", [], IMAGES)
    assert read_annotations(tmp_path / "a.html") == []
    assert "0 regions in 0 images" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize("text", ["<p>hello</p>", '<script id="napari-patchioner">[{}]</script>'])
def test_other_pages_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.html").write_text(text)
    with pytest.raises(FormatError, match=r"no report|are damaged"):
        read(tmp_path / "a.html")
