"""Scores as Markdown tables and as an HTML page that needs no other file."""

from __future__ import annotations

import base64
import io
import math
from html import escape
from typing import TYPE_CHECKING, Any

from PIL import Image

from napari_patchioner.annotations import encode_text, region_from_text, write_bytes
from napari_patchioner.annotations.formats.html import shapes_of
from napari_patchioner.errors import PatchionerError
from napari_patchioner.evaluation.metrics import METRICS
from napari_patchioner.images import as_rgb, read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from .predictions import Prediction
    from .scoring import Difference


def markdown(scores: Mapping[str, Mapping[str, Any]]) -> str:
    """Write the scores of a run as a table, a row for every variant and subset.

    Parameters
    ----------
    scores : mapping
        ``scores[variant][group]`` of `score_predictions`.

    Returns
    -------
    str
        Values times 100, as papers print them; means with a 95 % interval.
    """
    rows = [(v, g, results) for v, groups in scores.items() for g, results in groups.items()]
    names = [name for name in METRICS if any(name in results["metrics"] for *_, results in rows)]
    header = ["captions from", "subset", "regions", *(METRICS[name].title for name in names)]
    return markdown_table(
        [*header, "ms a region"],
        [
            [
                v,
                g,
                str(results["count"]),
                *(_cell(results["metrics"].get(n)) for n in names),
                _ms(results),
            ]
            for v, g, results in rows
        ],
    )


def differences(compared: Sequence[Difference], runs: tuple[str, str]) -> str:
    """Write the differences of two runs as a table.

    Parameters
    ----------
    compared : sequence of Difference
    runs : tuple of str
        What to call the two.
    """
    return markdown_table(
        ["metric", *runs, "difference (95 % interval)", "samples"],
        [
            [
                METRICS[item.metric].title,
                f"{100 * item.first:.1f}",
                f"{100 * item.second:.1f}",
                _gain(item),
                str(item.gain.count),
            ]
            for item in compared
        ],
    )


def _gain(difference: Difference) -> str:
    if math.isnan(difference.gain.low):
        return f"{100 * difference.gain.mean:+.1f}"
    ends = f"{100 * difference.gain.low:+.1f} to {100 * difference.gain.high:+.1f}"
    return f"{100 * difference.gain.mean:+.1f} ({ends}){' *' if difference.is_clear else ''}"


def _cell(value: Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    if "low" not in value:
        return f"{100 * value['value']:.1f}"
    return f"{100 * value['value']:.1f} ({100 * value['low']:.1f}-{100 * value['high']:.1f})"


def _ms(results: Mapping[str, Any]) -> str:
    return "" if results["seconds"] is None else f"{1000 * results['seconds']:.1f}"


_SIDE = 420


def embedded(path: Path) -> tuple[str, int, int] | None:
    """Read an image as a data URI of a small JPEG."""
    try:
        pixels = as_rgb(read_image(path))
    except PatchionerError:
        return None
    picture = Image.fromarray(pixels)
    width, height = picture.size
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    code = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/jpeg;base64,{code}", width, height


IMAGES = 40
REGIONS = 6
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


def write_page(
    path: Path,
    scores: Mapping[str, Any],
    predictions: Sequence[Prediction],
    find: Callable[[str], Path],
    *,
    images: int = IMAGES,
) -> None:
    """Write a run as one HTML file that needs nothing else.

    Parameters
    ----------
    path : Path
    scores : mapping
        As `scores_file.write_scores` has them.
    predictions : sequence of Prediction
        Of all variants.
    find : callable
        Path of an image by its id.
    images : int
        How many images to show, spread evenly over the run.
    """
    asked = scores["asked"]
    title = f"{asked['model']} on {asked['dataset']}"
    shown, total = _spread(predictions, images)
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title>",
        "<meta name='viewport' content='width=device-width'>",
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>",
        f"<p>{escape(asked['task'])} captioning. {_notes(scores)}</p>",
        *_tables(scores["scores"]),
        f"<h2>Images</h2><p><small>{len(shown)} of {total} images, evenly spread; of each at most "
        f"{REGIONS} regions.</small></p>",
        *(_image(name, own, find) for name, own in shown.items()),
    ]
    write_bytes(path, encode_text("\n".join(parts) + "\n"))


def _notes(scores: Mapping[str, Any]) -> str:
    """Say what was left out, so that nobody has to guess."""
    notes = []
    if scores.get("missing"):
        notes.append(f"{scores['missing']} images of the file were not in the folder.")
    if scores.get("failed"):
        notes.append(f"{len(scores['failed'])} images could not be read.")
    notes.append("Values are times 100; below means stand their 95 % intervals over images.")
    return " ".join(notes)


def _tables(scores: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    groups = list(dict.fromkeys(group for score in scores.values() for group in score))
    for group in groups:
        results = {v: by_group[group] for v, by_group in scores.items() if group in by_group}
        names = [
            name for name in METRICS if any(name in item["metrics"] for item in results.values())
        ]
        head = "".join(f"<th class='n'>{escape(METRICS[name].title)}</th>" for name in names)
        rows = "".join(_row(variant, item, names) for variant, item in results.items())
        counted = next(iter(results.values()))
        yield (
            f"<h2>{escape(group)}: {counted['count']} regions of {counted['images']} images</h2>"
            f"<table><tr><th>captions from</th>{head}<th class='n'>ms a region</th></tr>"
            f"{rows}</table>"
        )


def _row(variant: str, results: Mapping[str, Any], names: Sequence[str]) -> str:
    values = [results["metrics"].get(name) for name in names]
    cells = "".join(f"<td class='n'>{_html_cell(value)}</td>" for value in values)
    seconds = "" if results["seconds"] is None else f"{1000 * results['seconds']:.1f}"
    return f"<tr><td>{escape(variant)}</td>{cells}<td class='n'>{seconds}</td></tr>"


def _html_cell(value: Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    if "low" not in value:
        return f"{100 * value['value']:.1f}"
    ends = f"{100 * value['low']:.1f} to {100 * value['high']:.1f}"
    return f"{100 * value['value']:.1f} <small>{ends}</small>"


def _spread(
    predictions: Sequence[Prediction], count: int
) -> tuple[dict[str, list[Prediction]], int]:
    """Predictions of images spread evenly over a run, and how many images there are."""
    by_image: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        by_image.setdefault(prediction.image, []).append(prediction)
    names = list(by_image)
    step = max(1.0, len(names) / count) if count else 1.0
    picked = [names[int(place * step)] for place in range(min(count, len(names)))]
    return {name: by_image[name] for name in picked}, len(names)


def _image(name: str, predictions: Sequence[Prediction], find: Callable[[str], Path]) -> str:
    picture = embedded(find(name))
    samples = list(dict.fromkeys(prediction.sample for prediction in predictions))[:REGIONS]
    parts = [f"<h3>{escape(name)}</h3>"]
    for sample in samples:
        own = [prediction for prediction in predictions if prediction.sample == sample]
        parts.append(f"<div class='look'><div>{_svg(picture, own[0])}</div>{_said(own)}</div>")
    return "".join(parts)


def _svg(picture: tuple[str, int, int] | None, prediction: Prediction) -> str:
    if picture is None:
        return "<p>This image cannot be read.</p>"
    uri, width, height = picture
    region = region_from_text(prediction.geometry, prediction.kind, prediction.members)
    drawn = shapes_of(region, (0.0, 0.0, float(width), float(height)), max(width, height) / 60)
    lines = f"<g class='r'>{drawn}</g><g class='r'>{drawn}</g>"
    image = f"<image href='{uri}' width='{width}' height='{height}'/>"
    label = escape(f"{prediction.kind} of {prediction.image}", quote=True)
    box = f"viewBox='0 0 {width} {height}'"
    return f"<svg {box} role='img' aria-label='{label}'>{image}{lines}</svg>"


def _said(predictions: Sequence[Prediction]) -> str:
    rows = "".join(
        f"<tr><td>{escape(prediction.variant)}</td><td class='said'>"
        f"{escape(prediction.caption or prediction.problem)}</td>"
        f"<td class='n'>{prediction.score:.2f}</td></tr>"
        for prediction in predictions
    )
    people = "".join(f"<li>{escape(text)}</li>" for text in predictions[0].references[:5])
    return f"<div><table>{rows}</table><p>People wrote:</p><ul>{people}</ul></div>"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table.

    Examples
    --------
    >>> print(markdown_table(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "|" + "|".join(cells) + "|" if cells is lines[1] else "| " + " | ".join(cells) + " |"
        for cells in lines
    )
