"""A report: one page with the pictures, the numbered regions and a table of their captions.

The page needs nothing from outside, works from the disk, and holds the regions once more as JSON,
exactly, so that it reads back. What is changed in the page itself is not read.
"""

from __future__ import annotations

import json
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations.files import encode_text, write_bytes
from napari_patchioner.annotations.images import image_name
from napari_patchioner.annotations.notes import leaving_out
from napari_patchioner.annotations.table import check_unique
from napari_patchioner.annotations.texts import annotation_from_texts, record_texts
from napari_patchioner.errors import FormatError

from ._bundle import read_bundle
from ._html_drawing import drawing
from ._html_page import SCRIPT, STYLE, policy
from ._html_picture import picture
from ._json_file import parse_json
from ._xml import legal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.annotations.images import Images
    from napari_patchioner.annotations.record import Annotation

    from ._head import Head

_MARK = "napari-patchioner"
_GENERATOR = f'<meta name="generator" content="{_MARK}">'
_WHO = {"model": "model", "edited": "person, over a draft", "human": "person"}


def knows(head: Head) -> bool:
    """Return whether a file is a report of ours; other pages hold no regions."""
    return _GENERATOR in head.text


class _Records(HTMLParser):
    """Finds the JSON in a report."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._within = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where the JSON begins."""
        self._within = tag == "script" and ("id", _MARK) in attrs

    def handle_endtag(self, _: str) -> None:
        """Note where it ends."""
        self._within = False

    def handle_data(self, data: str) -> None:
        """Take it."""
        if self._within:
            self.text += data


def read(path: Path) -> list[Annotation]:
    """Read the regions in a report.

    Parameters
    ----------
    path : Path
        A page that `write` wrote.

    Returns
    -------
    list of Annotation
        As they were written.

    Raises
    ------
    FormatError
        If the page is no report, or was damaged.
    """
    path = Path(path)
    data = read_bundle(path, lambda _: True)[path.name]
    finder = _Records()
    finder.feed(data.decode("utf-8", "replace"))
    if not finder.text.strip():
        raise FormatError(f"{path.name}: is no report of regions")
    records = parse_json(finder.text, path.name)
    if not isinstance(records, list):
        raise FormatError(f"{path.name}: the regions in the report are damaged")
    found = []
    for number, record in enumerate(records, start=1):
        with leaving_out("region", f"{path.name}: region {number}"):
            found.append(_annotation(record, f"{path.name}: region {number}"))
    return found


def _annotation(record: Any, where: str) -> Annotation:
    """Return the region that a record in a report holds."""
    try:
        return annotation_from_texts(
            {str(key): str(text) for key, text in record["region"].items()},
            drawn=None,
            image=str(record["image"]),
            caption=None,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{where}: the regions in the report are damaged") from error
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write a report.

    Parameters
    ----------
    path : Path
        The page; it is replaced if it exists.
    annotations : sequence of Annotation
        Regions of any number of images, numbered in this order.
    images : mapping of str to ImageInfo
        The images by the name annotations give them. Where there is a path, the picture stands in
        the report, at most 1,600 pixels wide and high.

    Returns
    -------
    tuple of Annotation
        Always empty.

    Raises
    ------
    FormatError
        If a region makes no sense.
    """
    check_unique(annotations)
    own: dict[str, list[tuple[int, Annotation]]] = {}
    for number, one in enumerate(annotations, start=1):
        own.setdefault(one.image, []).append((number, one))
    records = [json.dumps({"image": one.image, "region": record_texts(one)}) for one in annotations]
    sections = [_section(image, mine, images) for image, mine in own.items()]
    counted = f"{_count(len(annotations), 'region')} in {_count(len(own), 'image')}"
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{_GENERATOR}
<meta http-equiv="Content-Security-Policy" content="{policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Captions of {counted}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>Captions</h1><p>{counted}</p>
<input id="search" type="search" placeholder="Search" aria-label="Search" hidden>
<p id="count" role="status"></p></header>
{"".join(sections)}<script type="application/json" id="{_MARK}">
{_safe(records)}
</script>
<script>{SCRIPT}</script>
</body>
</html>
"""
    write_bytes(path, encode_text(page))
    return ()


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _safe(records: Sequence[str]) -> str:
    """Return JSON in which nothing can end the element it stands in."""
    text = "[" + ",\n".join(records) + "]"
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _section(image: str, own: Sequence[tuple[int, Annotation]], images: Images) -> str:
    """Return the part of the page about one image."""
    info = images.get(image)
    size = (info.height, info.width) if info else None
    seen = picture(info.path) if info else None
    name = escape(legal(image_name(images, image))) or "Image"
    about = f"{size[1]:,} × {size[0]:,} pixels" if size else "size not known"
    about += "" if seen else "; no picture"
    rows = "\n".join(_row(number, one) for number, one in own)
    return f"""<h2>{name}</h2>
<section class="image">
<figure>{drawing(own, size, seen)}<figcaption>{about}</figcaption></figure>
<table>
<thead><tr><th>No.</th><th>Caption</th><th>Written by</th><th>Score</th><th>Kind</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</section>
"""


def _row(number: int, annotation: Annotation) -> str:
    """Return the row of one region."""
    who = _WHO.get(annotation.source, "not known" if annotation.caption else "")
    model = f" ({annotation.model})" if annotation.model and annotation.caption else ""
    score = "" if annotation.score is None else f"{annotation.score:.2f}"
    cells = {
        "said": annotation.caption,
        "who": f"{who}{model}",
        "score": score,
        "kind": annotation.kind,
    }
    texts = "".join(
        f'<td class="{name}" dir="auto">{escape(legal(text))}</td>' for name, text in cells.items()
    )
    return f'<tr id="c{number}"><td><a href="#r{number}">{number}</a></td>{texts}</tr>'
