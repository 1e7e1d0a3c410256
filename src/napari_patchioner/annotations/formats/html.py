"""A report: one page with the pictures, the numbered regions and a table of their captions.

The page needs nothing from outside, works from the disk, and holds the regions once more as JSON,
exactly, so that it reads back. What is changed in the page itself is not read.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from napari_patchioner.annotations.files import encode_text, write_bytes
from napari_patchioner.annotations.images import Images, Size, image_name, known_size
from napari_patchioner.annotations.notes import leaving_out, naming
from napari_patchioner.annotations.paragraph import Link, as_html, links_in
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.texts import annotation_from_texts, record_texts
from napari_patchioner.annotations.xy import FloatArray, ellipse_axes, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.images import read_preview
from napari_patchioner.regions import Ellipse, Mask, Point, Region, RegionSet, Trace, WholeImage

from .bundle import read_bundle
from .head import Format, Head
from .json_arrays import parse_json
from .xml import legal

_MARK = "napari-patchioner"
_GENERATOR = f'<meta name="generator" content="{_MARK}">'
# The JSON in a report, in which nothing can end the element it stands in.
_RECORDS = re.compile(
    rf'<script\b[^>]{{0,200}}\sid="{_MARK}"[^>]{{0,200}}>(.*?)</script', re.IGNORECASE | re.DOTALL
)
_WHO = {
    "model": "model",
    "taught": "model, by examples",
    "edited": "person, over a draft",
    "human": "person",
}
# Told apart by most people who see few colours; light, because a shadow sets them off.
_COLOURS = ("#e69f00", "#56b4e9", "#2ecc9a", "#f0e442", "#8f9bff", "#ff7a3d", "#f29ad0")
# Shadows take time; many regions are drawn without.
_FEW = 300
LONGEST_SIDE = 1600
_QUALITY = 88

# Left, top, width and height of what is shown.
_Frame = tuple[float, float, float, float]


def knows(head: Head) -> bool:
    """Return whether a file is a report of ours; other pages hold no regions."""
    return _GENERATOR in head.text


def read(path: Path) -> list[Annotation]:
    """Read the regions in a report."""
    script = _RECORDS.search(read_bundle(path)[path.name].decode("utf-8", "replace"))
    if script is None or not script[1].strip():
        raise FormatError(f"{path.name}: is no report of regions")
    records = parse_json(script[1], path.name)
    damaged = "the regions in the report are damaged"
    if not isinstance(records, list):
        raise FormatError(f"{path.name}: {damaged}")
    annotations = []
    for number, record in enumerate(records, start=1):
        where = f"{path.name}: region {number}"
        with leaving_out("region", where), naming(where, damaged):
            texts = {str(key): str(text) for key, text in record["region"].items()}
            image = str(record["image"])
            annotations.append(annotation_from_texts(texts, drawn=None, image=image, caption=None))
    return annotations


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write a report: regions numbered in this order, and pictures of images that have a path."""
    own: dict[str, list[tuple[int, Annotation]]] = {}
    for number, annotation in enumerate(annotations, start=1):
        own.setdefault(annotation.image, []).append((number, annotation))
    records = [
        json.dumps({"image": item.image, "region": record_texts(item)}) for item in annotations
    ]
    # JSON in which nothing can end the element it stands in.
    data = "[" + ",\n".join(records) + "]"
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    # What the page may load: its own pictures and style, and this one script.
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    sections = [_section(image, mine, images) for image, mine in own.items()]
    counts = {"region": len(annotations), "image": len(own)}
    counted = " in ".join(f"{n:,} {what}{'s' * (n != 1)}" for what, n in counts.items())
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{_GENERATOR}
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Captions of {counted}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>Captions</h1><p>{counted}</p>
<input id="search" type="search" placeholder="Search" aria-label="Search" hidden>
<p id="count" role="status"></p></header>
{"".join(sections)}<script type="application/json" id="{_MARK}">
{data}
</script>
<script>{SCRIPT}</script>
</body>
</html>
"""
    write_bytes(path, encode_text(page))
    return ()


def _section(image: str, own: Sequence[tuple[int, Annotation]], images: Images) -> str:
    """Return the part of the page about one image."""
    info, size = images.get(image), known_size(images, image)
    seen = picture(info.path) if info else None
    name = escape(legal(image_name(images, image))) or "Image"
    about = f"{size[1]:,} × {size[0]:,} pixels" if size else "size not known"
    about += "" if seen else "; no picture"
    rows = []
    numbers = {item.uid: number for number, item in own}

    def row_of(link: Link) -> str:
        """Return the address of the row of the first region that a phrase speaks of."""
        return next((f"#c{numbers[uid]}" for uid in link.uids if uid in numbers), "")

    for number, item in own:
        who = _WHO.get(item.source, "not known" if item.caption else "")
        model = f" ({item.model})" if item.model and item.caption else ""
        score = "" if item.score is None else f"{item.score:.2f}"
        cells = {"who": f"{who}{model}", "score": score, "kind": item.kind}
        texts = "".join(
            f'<td class="{column}" dir="auto">{escape(legal(text))}</td>'
            for column, text in cells.items()
        )
        # Sliced before signs that no page may hold are taken out, which moves what follows.
        said = legal(as_html(item.caption, links_in(item), row_of))
        texts = f'<td class="said" dir="auto">{said}</td>{texts}'
        link = f'<a href="#r{number}">{number}</a>'
        rows.append(f'<tr id="c{number}"><td>{link}</td>{texts}</tr>\n')
    return f"""<h2>{name}</h2>
<section class="image">
<figure>{drawing(own, size, seen)}<figcaption>{about}</figcaption></figure>
<table>
<thead><tr><th>No.</th><th>Caption</th><th>Written by</th><th>Score</th><th>Kind</th></tr></thead>
<tbody>
{"".join(rows)}</tbody>
</table>
</section>
"""


STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1c1c1e; --soft: #6b6b70;
  --line: #d9d9de; --mark: #fff3c4; }
@media (prefers-color-scheme: dark) {
  :root { --back: #161618; --text: #ececf0; --soft: #a0a0a8; --line: #3a3a40; --mark: #4a4210; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 100rem; padding: 1rem 1.5rem 4rem; background: var(--back);
  color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: baseline; }
header p { margin: 0; color: var(--soft); }
input { font: inherit; color: inherit; background: transparent; padding: .3rem .6rem;
  border: 1px solid var(--line); border-radius: .4rem; min-width: 16rem; }
.image { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 1.25rem;
  align-items: start; }
figure { margin: 0; position: sticky; top: .5rem; }
svg { display: block; width: 100%; max-height: 92vh; }
figcaption { color: var(--soft); font-size: .85rem; }
.blank { fill: var(--line); }
.region :is(path, rect, circle) { fill: var(--c); fill-opacity: .12; stroke: var(--c);
  stroke-width: 2px; vector-effect: non-scaling-stroke; }
.region .line { fill: none; }
.region text { fill: #fff; stroke: #000; stroke-width: .22em; paint-order: stroke;
  stroke-linejoin: round; text-anchor: middle; dominant-baseline: central; font-weight: 700; }
.region:hover :is(path, rect, circle), .region.on :is(path, rect, circle) { fill-opacity: .45; }
.few .region { filter: drop-shadow(0 0 1.5px rgb(0 0 0 / .8)); }
.region.off { display: none; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .5rem;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: .85rem; }
td.said { white-space: pre-wrap; overflow-wrap: anywhere; }
td.who, td.kind { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
td.said { min-width: 12rem; width: 60%; }
td.kind { white-space: nowrap; }
td.score { font-variant-numeric: tabular-nums; }
td a { color: inherit; font-weight: 700; }
td.said a { font-weight: inherit; }
tr.on, tr:target { background: var(--mark); }
@media (max-width: 60rem) { .image { grid-template-columns: 1fr; } figure { position: static; } }
@media print { input { display: none; } figure { position: static; } }
"""

SCRIPT = """
"use strict";
const box = document.getElementById("search");
const rows = [...document.querySelectorAll("tr[id^=c]")];
const shape = row => document.getElementById("r" + row.id.slice(1));
const words = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));
box.hidden = false;
box.addEventListener("input", () => {
  const wanted = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let left = 0;
  for (const row of rows) {
    const on = wanted.every(word => words.get(row).includes(word));
    row.hidden = !on;
    shape(row).classList.toggle("off", !on);
    left += on;
  }
  document.getElementById("count").textContent = wanted.length ? left + " found" : "";
});
for (const row of rows) {
  const group = shape(row);
  const light = on => { row.classList.toggle("on", on); group.classList.toggle("on", on); };
  for (const one of [row, group]) {
    one.addEventListener("mouseenter", () => light(true));
    one.addEventListener("mouseleave", () => light(false));
  }
  group.addEventListener("click", () => row.scrollIntoView({ block: "center" }));
}
"""


def drawing(
    annotations: Sequence[tuple[int, Annotation]], size: Size | None, picture: str | None
) -> str:
    """Return an SVG of the regions of one image over its picture, each with its number."""
    if size is not None:
        low, extent = np.zeros(2), np.array(size[::-1], float)
    else:  # what the regions span
        spans = [_points(part) for _, item in annotations for part in item.region.parts()]
        points = np.concatenate([np.array([[0.0, 0], [1, 1]]), *spans])
        low = np.floor(points.min(axis=0))
        extent = np.ceil(points.max(axis=0)) + 1 - low
    (left, top), (width, height) = low.tolist(), extent.tolist()
    frame = (left, top, width, height)
    unit = max(width, height) / 100
    back = f'<rect class="blank" x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}"/>'
    if picture and size:
        back = f'<image href="{picture}" width="{width:g}" height="{height:g}" '
        back += 'preserveAspectRatio="none"/>'
    few = ' class="few"' if len(annotations) <= _FEW else ""
    groups = [back]
    for number, item in annotations:
        shapes = shapes_of(item.region, frame, unit)
        spans = [points for part in item.region.parts() if len(points := _points(part))]
        lowest = low + unit
        middle = lowest + unit
        if spans:
            known = np.concatenate(spans)
            middle = (known.min(axis=0) + known.max(axis=0)) / 2
            if (np.ptp(known, axis=0) < unit).all():
                middle[1] -= 2 * unit  # beside a dot, not upon it
        x, y = np.clip(middle, lowest, lowest + extent - 2 * unit).tolist()
        groups.append(
            f'<g class="region" id="r{number}" style="--c:{_COLOURS[number % len(_COLOURS)]}">'
            f"<title>{number}. {escape(legal(item.caption))}</title>{shapes}"
            f'<text x="{x:.2f}" y="{y:.2f}" font-size="{2.2 * unit:.3g}">{number}</text></g>'
        )
    return (
        f'<svg{few} viewBox="{left:g} {top:g} {width:g} {height:g}" role="img" '
        f'style="aspect-ratio:{width:g}/{height:g}">\n' + "\n".join(groups) + "\n</svg>"
    )


def _points(region: Region) -> FloatArray:
    """Return points that span a region that is no set, ``x y``; none of the whole image."""
    if isinstance(region, Ellipse):
        centre, along, across = ellipse_axes(region)
        reach = np.hypot(along, across)
        return np.array([centre - reach, centre + reach])
    if isinstance(region, Mask):
        (row, column), shape = region.offset, region.pixels.shape
        return np.array([[column, row], [column + shape[1], row + shape[0]]], float)
    return to_xy(region.coords())


def shapes_of(region: Region, frame: _Frame, unit: float) -> str:
    """Return the drawing of a region as SVG elements.

    The frame is left, top, width and height of the picture, pixel corners at integers; ``unit``
    is twice the radius of a dot.
    """
    if isinstance(region, RegionSet):
        return "".join(shapes_of(member, frame, unit) for member in region.members)
    if isinstance(region, WholeImage):
        left, top, width, height = frame
        sides = f'width="{width - unit / 2:g}" height="{height - unit / 2:g}"'
        return f'<rect x="{left + unit / 4:g}" y="{top + unit / 4:g}" {sides}/>'
    if isinstance(region, Ellipse):
        centre, along, across = ellipse_axes(region)
        matrix = np.concatenate([along, across, centre]).tolist()
        numbers = " ".join(f"{number:.4f}" for number in matrix)
        return f'<circle r="1" transform="matrix({numbers})"/>'
    if isinstance(region, Mask):
        path = "".join(f"{_path(to_xy(ring))}Z" for ring in region.rings())
        return f'<path fill-rule="evenodd" d="{path}"/>'
    points = _points(region)
    line = isinstance(region, Trace) and region.connected and len(points) > 1
    if isinstance(region, Point | Trace) and not line:
        dots = [f'cx="{x:.2f}" cy="{y:.2f}"' for x, y in points.tolist()]
        return "".join(f'<circle {dot} r="{unit / 2:.3g}"/>' for dot in dots)
    return f'<path{" class=line" if line else ""} d="{_path(points)}{"" if line else "Z"}"/>'


def _path(points: FloatArray) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points.tolist())


def picture(path: Path | None) -> str | None:
    """Return an image file as a ``data:`` address, scaled down to 1,600 pixels."""
    image = None if path is None else read_preview(path, LONGEST_SIDE)
    if image is None:
        return None
    buffer = io.BytesIO()
    clear = image.mode == "RGBA"
    image.save(buffer, "PNG" if clear else "JPEG", quality=_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{'png' if clear else 'jpeg'};base64,{data}"


FORMAT = Format("html", "Report, a page to read", (".html",), read, write, knows)
