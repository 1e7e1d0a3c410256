"""Scores as Markdown tables and as an HTML page that needs no other file."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from napari_patchioner.annotations import encode_text, region_from_text, write_bytes
from napari_patchioner.annotations.formats.html import shapes_of
from napari_patchioner.errors import PatchionerError
from napari_patchioner.evaluation.metrics import METRICS
from napari_patchioner.images import as_rgb, read_image

from .predictions import Prediction
from .scoring import Difference

_IMAGES = 40
_REGIONS = 6
# Long side of a picture on the page, in pixels.
_SIDE = 420
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border-bottom: 1px solid #8886; padding: .25rem .7rem; text-align: left; }
td.n small { display: block; }
th.n { white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.look { display: grid; grid-template-columns: minmax(220px, 420px) 1fr; gap: 1.2rem; }
.look { border-top: 1px solid #8886; padding: 1.2rem 0; }
svg { width: 100%; height: auto; border-radius: 4px; }
svg .r { fill: none; stroke: #fff; stroke-width: 2.5; }
svg .r * { vector-effect: non-scaling-stroke; }
svg .r + .r { stroke: #d55e00; stroke-width: 1.4; }
.said { font-weight: 600; }
small { opacity: .7; }
@media (max-width: 640px) { .look { grid-template-columns: 1fr; } }
"""


def markdown(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Write ``scores[variant][group]`` as a table, a row for every variant and subset.

    Values are times 100, as papers print them; means have a 95 % interval.
    """
    rows = [(v, g, results) for v, groups in scores.items() for g, results in groups.items()]
    names = _measured(results for *_, results in rows)
    header = ["captions from", "subset", "regions", *(METRICS[name].title for name in names)]
    lines = []
    for variant, group, results in rows:
        cells = [_cell(results["metrics"].get(name), " ({}-{})") for name in names]
        lines.append([variant, group, str(results["count"]), *cells, _ms(results)])
    return markdown_table([*header, "ms a region"], lines)


def differences(compared: Sequence[Difference], runs: tuple[str, str]) -> str:
    """Write the differences of two runs as a table, by what to call the two."""
    rows = []
    for item in compared:
        gain = f"{100 * item.gain.mean:+.1f}"
        if not math.isnan(item.gain.low):
            gain += f" ({100 * item.gain.low:+.1f} to {100 * item.gain.high:+.1f})"
            gain += " *" if item.is_clear else ""
        values = [f"{100 * value:.1f}" for value in (item.first, item.second)]
        rows.append([METRICS[item.metric].title, *values, gain, str(item.gain.count)])
    return markdown_table(["metric", *runs, "difference (95 % interval)", "samples"], rows)


def _measured(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the metrics that say anything about any of the results."""
    known = {name for item in results for name in item["metrics"]}
    return [name for name in METRICS if name in known]


def _cell(value: Mapping[str, float] | None, interval: str) -> str:
    """Return a value times 100, with its interval if it has one."""
    if value is None:
        return ""
    ends = [f"{100 * value[end]:.1f}" for end in ("low", "high") if end in value]
    return f"{100 * value['value']:.1f}" + (interval.format(*ends) if ends else "")


def _ms(results: Mapping[str, Any]) -> str:
    return "" if results["seconds"] is None else f"{1000 * results['seconds']:.1f}"


def write_page(
    path: Path,
    scores: Mapping[str, Any],
    predictions: Sequence[Prediction],
    find: Callable[[str], Path],
    *,
    images: int = _IMAGES,
) -> None:
    """Write a run as one HTML file that needs nothing else.

    ``scores`` are as `write_scores` has them, with predictions of all variants; ``find`` gives the
    path of an image by its id; so many ``images`` are shown, spread evenly over the run.
    """
    asked = scores["asked"]
    title = escape(f"{asked['model']} on {asked['dataset']}")
    by_image: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        by_image.setdefault(prediction.image, []).append(prediction)
    names = list(by_image)
    step = max(1.0, len(names) / images) if images else 1.0
    shown = [names[int(place * step)] for place in range(min(images, len(names)))]
    # What was left out, so that nobody has to guess.
    notes = []
    if scores.get("missing"):
        notes.append(f"{scores['missing']} images of the file were not in the folder.")
    if scores.get("failed"):
        notes.append(f"{len(scores['failed'])} images could not be read.")
    notes.append("Values are times 100; below means stand their 95 % intervals over images.")
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>",
        "<meta name='viewport' content='width=device-width'>",
        f"<style>{_STYLE}</style><h1>{title}</h1>",
        f"<p>{escape(asked['task'])} captioning. {' '.join(notes)}</p>",
        *_tables(scores["scores"]),
        f"<h2>Images</h2><p><small>{len(shown)} of {len(names)} images, evenly spread; of each at "
        f"most {_REGIONS} regions.</small></p>",
        *(_image(name, by_image[name], find) for name in shown),
    ]
    write_bytes(path, encode_text("\n".join(parts) + "\n"))


def _tables(scores: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for group in dict.fromkeys(group for score in scores.values() for group in score):
        results = {v: by_group[group] for v, by_group in scores.items() if group in by_group}
        names = _measured(results.values())
        titles = [*(METRICS[name].title for name in names), "ms a region"]
        head = "".join(f"<th class='n'>{escape(title)}</th>" for title in titles)
        rows = ""
        for variant, item in results.items():
            metrics = item["metrics"]
            cells = [_cell(metrics.get(name), " <small>{} to {}</small>") for name in names]
            numbers = "".join(f"<td class='n'>{cell}</td>" for cell in (*cells, _ms(item)))
            rows += f"<tr><td>{escape(variant)}</td>{numbers}</tr>"
        counted = next(iter(results.values()))
        yield (
            f"<h2>{escape(group)}: {counted['count']} regions of {counted['images']} images</h2>"
            f"<table><tr><th>captions from</th>{head}</tr>{rows}</table>"
        )


def _image(name: str, predictions: Sequence[Prediction], find: Callable[[str], Path]) -> str:
    """Return an image with its first regions, what was said of each, and what people wrote."""
    drawn = None
    with suppress(PatchionerError):
        picture = Image.fromarray(as_rgb(read_image(find(name))))
        width, height = picture.size
        picture.thumbnail((_SIDE, _SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=82)
        code = base64.b64encode(buffer.getvalue()).decode("ascii")
        source = f"href='data:image/jpeg;base64,{code}'"
        drawn = width, height, f"<image {source} width='{width}' height='{height}'/>"
    parts = [f"<h3>{escape(name)}</h3>"]
    samples = list(dict.fromkeys(prediction.sample for prediction in predictions))
    for sample in samples[:_REGIONS]:
        own = [prediction for prediction in predictions if prediction.sample == sample]
        shown = "<p>This image cannot be read.</p>" if drawn is None else _svg(*drawn, own[0])
        rows = "".join(
            f"<tr><td>{escape(item.variant)}</td>"
            f"<td class='said'>{escape(item.caption or item.problem)}</td>"
            f"<td class='n'>{item.score:.2f}</td></tr>"
            for item in own
        )
        people = "".join(f"<li>{escape(text)}</li>" for text in own[0].references[:5])
        said = f"<div><table>{rows}</table><p>People wrote:</p><ul>{people}</ul></div>"
        parts.append(f"<div class='look'><div>{shown}</div>{said}</div>")
    return "".join(parts)


def _svg(width: int, height: int, image: str, prediction: Prediction) -> str:
    region = region_from_text(prediction.geometry, prediction.kind, prediction.members)
    drawn = shapes_of(region, (0.0, 0.0, float(width), float(height)), max(width, height) / 60)
    lines = f"<g class='r'>{drawn}</g><g class='r'>{drawn}</g>"
    label = escape(f"{prediction.kind} of {prediction.image}", quote=True)
    box = f"viewBox='0 0 {width} {height}'"
    return f"<svg {box} role='img' aria-label='{label}'>{image}{lines}</svg>"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table.

    >>> print(markdown_table(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])
