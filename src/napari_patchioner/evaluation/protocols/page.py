"""A page of a run that a person can read: the numbers, then images with what was said of them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations import encode_text, region_from_text, write_bytes
from napari_patchioner.annotations.formats._html_drawing import shapes_of
from napari_patchioner.evaluation.metrics import METRICS

from ._picture import embedded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ._predictions import Prediction

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
    groups = list(dict.fromkeys(group for found in scores.values() for group in found))
    for group in groups:
        found = {v: by_group[group] for v, by_group in scores.items() if group in by_group}
        names = [name for name in METRICS if any(name in one["metrics"] for one in found.values())]
        head = "".join(f"<th class='n'>{escape(METRICS[name].title)}</th>" for name in names)
        rows = "".join(_row(variant, one, names) for variant, one in found.items())
        counted = next(iter(found.values()))
        yield (
            f"<h2>{escape(group)}: {counted['count']} regions of {counted['images']} images</h2>"
            f"<table><tr><th>captions from</th>{head}<th class='n'>ms a region</th></tr>"
            f"{rows}</table>"
        )


def _row(variant: str, found: Mapping[str, Any], names: Sequence[str]) -> str:
    cells = "".join(f"<td class='n'>{_cell(found['metrics'].get(name))}</td>" for name in names)
    seconds = "" if found["seconds"] is None else f"{1000 * found['seconds']:.1f}"
    return f"<tr><td>{escape(variant)}</td>{cells}<td class='n'>{seconds}</td></tr>"


def _cell(value: Mapping[str, float] | None) -> str:
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
    for one in predictions:
        by_image.setdefault(one.image, []).append(one)
    names = list(by_image)
    step = max(1.0, len(names) / count) if count else 1.0
    picked = [names[int(place * step)] for place in range(min(count, len(names)))]
    return {name: by_image[name] for name in picked}, len(names)


def _image(name: str, predictions: Sequence[Prediction], find: Callable[[str], Path]) -> str:
    picture = embedded(find(name))
    samples = list(dict.fromkeys(one.sample for one in predictions))[:REGIONS]
    parts = [f"<h3>{escape(name)}</h3>"]
    for sample in samples:
        own = [one for one in predictions if one.sample == sample]
        parts.append(f"<div class='look'><div>{_svg(picture, own[0])}</div>{_said(own)}</div>")
    return "".join(parts)


def _svg(picture: tuple[str, int, int] | None, one: Prediction) -> str:
    if picture is None:
        return "<p>This image cannot be read.</p>"
    uri, width, height = picture
    region = region_from_text(one.geometry, one.kind, one.members)
    drawn = shapes_of(region, (0.0, 0.0, float(width), float(height)), max(width, height) / 60)
    lines = f"<g class='r'>{drawn}</g><g class='r'>{drawn}</g>"
    image = f"<image href='{uri}' width='{width}' height='{height}'/>"
    label = escape(f"{one.kind} of {one.image}", quote=True)
    box = f"viewBox='0 0 {width} {height}'"
    return f"<svg {box} role='img' aria-label='{label}'>{image}{lines}</svg>"


def _said(predictions: Sequence[Prediction]) -> str:
    rows = "".join(
        f"<tr><td>{escape(one.variant)}</td><td class='said'>{escape(one.caption or one.problem)}"
        f"</td><td class='n'>{one.score:.2f}</td></tr>"
        for one in predictions
    )
    people = "".join(f"<li>{escape(text)}</li>" for text in predictions[0].references[:5])
    return f"<div><table>{rows}</table><p>People wrote:</p><ul>{people}</ul></div>"
