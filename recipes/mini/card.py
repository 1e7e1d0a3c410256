"""Measure the embedded models and put the numbers into their model card.

``python -m recipes.mini.card --data DIR --out docs/models``
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations import encode_text, write_bytes
from napari_patchioner.evaluation.metrics.java import JavaMeteor
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.images import read_picture
from napari_patchioner.models.embedded import FOLDER as EMBEDDED
from napari_patchioner.models.embedded import HEADS, load_embedded
from napari_patchioner.regions import Box, WholeImage

from .coco_folders import development_images
from .crossval import fold_head
from .kept_grids import GridFolder
from .options import measure_parser
from .report import write_report
from .sample_pictures import caption_samples, sample_pixels
from .sheet import contact_sheet
from .tables import interval, report_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_patchioner.grids import FeatureGrid

    from .run import Captions
    from .sample_pictures import SampleCaption

MODELS = ("mini", "mini-zeroshot")
BLOCK = re.compile(r"(<!-- begin (\w+) -->)(\n?).*?(<!-- end \2 -->)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the report from the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv`` without the program's name.
    """
    options = _parser().parse_args(arguments)
    images = list(development_images(options.data))[:: options.every]
    first = _load(options.models[0])
    encode = shared_encoder(first, options.grids)
    judge = JavaMeteor()
    with tempfile.TemporaryDirectory() as scratch:
        models = {
            name: captioner_for(name, options.folds, Path(scratch)) for name in options.models
        }
        scores: dict[str, Any] = dict(
            write_report(
                images,
                models,
                options.work,
                encode=encode,
                crops=options.crops,
                meteor=lambda texts, references: judge.score(texts, references).corpus,
            )
        )
    samples = {name: caption_samples(_load(name)) for name in options.models}
    speed = measure_speed(first)
    document = {"speed": speed, "samples": {k: sample_rows(v) for k, v in samples.items()}}
    path = options.work / "samples.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    sample_sheet(samples[options.models[0]], options.work / "examples-samples.png")
    blocks = {
        "numbers": report_tables(scores),
        "samples": samples_table(samples),
        "speed": speed_table(speed),
        "examples": (options.work / f"examples-{options.models[0]}.md").read_text("utf-8"),
    }
    blocks |= {
        f"short_{name.removeprefix('mini-')}": short_numbers(one) for name, one in scores.items()
    }
    _publish(options.out, options.work, blocks)


def shared_encoder(
    captioner: Captions, grids: Path | None
) -> Callable[[npt.NDArray[np.uint8], str], FeatureGrid]:
    """Encode for all models, which share their backbone; keep the grids if there is a folder."""
    if grids is not None:
        backbone = getattr(captioner, "backbone", None)
        return GridFolder(grids, captioner.encode, getattr(backbone, "name", ""))
    return lambda pixels, key: captioner.encode(pixels)


def captioner_for(name: str, folds: Path | None, scratch: Path) -> Callable[[str], Captions]:
    """For each image the captioner whose head was not fitted to it.

    Parameters
    ----------
    name : str
        "mini" or "mini-zeroshot".
    folds : Path, optional
        Where the heads of the folds are; without it the shipped model is asked, which has seen
        every development image.
    scratch : Path
        Folder for links to the shipped files with one head exchanged.

    Returns
    -------
    callable
        File name to captioner.
    """
    if folds is None:
        shipped = _load(name)
        return lambda file_name: shipped
    loaded: dict[Path, Captions] = {}

    def choose(file_name: str) -> Captions:
        head = fold_head(folds, name.removeprefix("mini-"), file_name)
        if head not in loaded:
            loaded[head] = _load_with_head(name, head, scratch)
        return loaded[head]

    return choose


def _load_with_head(name: str, head: Path, scratch: Path) -> Captions:
    """Load a model from links to the shipped files, one head exchanged for another."""
    folder = scratch / head.stem
    folder.mkdir(parents=True)
    for path in EMBEDDED.iterdir():
        (folder / path.name).symlink_to(head.resolve() if path.name == HEADS[name] else path)
    return load_embedded(name, folder)


def measure_speed(captioner: Captions, repeats: int = 7) -> dict[str, float | str]:
    """Time the encoding of a photograph and its captions, on this machine as it is now.

    Parameters
    ----------
    captioner : Captioner
    repeats : int

    Returns
    -------
    dict
        Medians and minima in seconds, and what they were measured on.
    """
    pixels = sample_pixels("coffee")
    height, width = pixels.shape[:2]
    box = Box(0.2 * height, 0.2 * width, 0.7 * height, 0.7 * width)
    grid = captioner.encode(pixels)
    encode = _times(lambda: captioner.encode(pixels), repeats)
    one = _times(lambda: captioner.caption(grid, [box]), 3 * repeats)
    twenty = _times(lambda: captioner.caption(grid, [box, WholeImage()] * 10), repeats)
    return {
        "image": f"{width} x {height}",
        "encode_median": statistics.median(encode),
        "encode_fastest": min(encode),
        "caption_median": statistics.median(one),
        "caption_fastest": min(one),
        "caption_of_20_median": statistics.median(twenty) / 20,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one used",
        "load": _load_average(),
    }


def _load_average() -> str:
    """Say how busy the machine was, where that is known."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def _times(work: Callable[[], object], repeats: int) -> list[float]:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def speed_table(speed: dict[str, float | str]) -> str:
    """Latency as Markdown."""
    rows = [
        [f"encode a {speed['image']} photograph", *_pair(speed, "encode")],
        ["caption one region", *_pair(speed, "caption")],
        ["caption each of twenty regions at once", _ms(speed["caption_of_20_median"]), "–"],
    ]
    table = markdown_table(["step", "median", "fastest"], rows)
    return f"{table}\n\nMeasured on {speed['machine']}, at a load of {speed['load']}.\n"


def _pair(speed: dict[str, float | str], step: str) -> list[str]:
    return [_ms(speed[f"{step}_median"]), _ms(speed[f"{step}_fastest"])]


def _ms(seconds: float | str) -> str:
    return f"{1000 * float(seconds):.0f} ms"


def short_numbers(scores: dict[str, Any]) -> str:
    """Mention of boxes in a few words."""
    boxes = scores["regions"]["box"]
    return (
        f"{interval(boxes['all']['region'])}; not persons {interval(boxes['non_person']['region'])}"
    )


def sample_rows(samples: Sequence[SampleCaption]) -> list[dict[str, Any]]:
    """Sample captions as plain records."""
    return [
        {
            "image": one.name,
            "part": one.part,
            "caption": one.caption.text,
            "score": round(one.caption.score, 3),
            "verdict": one.caption.verdict,
            "bluff": one.bluffs,
        }
        for one in samples
    ]


def samples_table(samples: dict[str, list[SampleCaption]]) -> str:
    """Show what each model says of the sample pictures, and how often it bluffs."""
    parts = []
    for model, captions in samples.items():
        others = [one for one in captions if one.judged]
        bluffs = sum(one.bluffs for one in others)
        rows = [
            [one.name, one.part, one.caption.text, f"{one.caption.score:.2f}", one.caption.verdict]
            for one in captions
        ]
        header = ["picture", "part", "caption", "score", "verdict"]
        table = markdown_table(header, rows)
        parts.append(f"`{model}`: {bluffs} of {len(others)} name a thing that is not there.")
        parts.append(table)
    return "\n\n".join(parts) + "\n"


def sample_sheet(samples: Sequence[SampleCaption], path: Path) -> None:
    """Draw the sample captions on one page."""
    tiles = [
        (sample_pixels(one.name), one.region, f"{one.caption.text} ({one.caption.score:.2f})")
        for one in samples
        if one.part != "corner"
    ]
    contact_sheet(tiles).save(path, optimize=True)


def fill_blocks(text: str, blocks: dict[str, str]) -> str:
    r"""Replace what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.

    Examples
    --------
    >>> fill_blocks("<!-- begin a -->\nold\n<!-- end a -->", {"a": "new"})
    '<!-- begin a -->\nnew\n<!-- end a -->'
    """
    return BLOCK.sub(
        lambda match: (
            f"{match[1]}{match[3]}{blocks[match[2]].rstrip()}{match[3]}{match[4]}"
            if match[2] in blocks
            else match[0]
        ),
        text,
    )


def _publish(out: Path, work: Path, blocks: dict[str, str]) -> None:
    """Copy what belongs in the documentation: numbers and pictures of free images only."""
    card = out / "mini.md"
    text = card.read_text(encoding="utf-8")
    write_bytes(card, encode_text(fill_blocks(text, blocks)))
    (out / "mini-scores.json").write_bytes((work / "scores.json").read_bytes())
    sheet = read_picture(work / "examples-samples.png")
    sheet.resize((sheet.width * 2 // 3, sheet.height * 2 // 3)).save(
        out / "mini-samples.jpg", quality=85
    )


def _load(name: str) -> Captions:
    import torch

    from napari_patchioner.models import load_model

    torch.set_num_threads(1)
    captioner: Captions = load_model(name)
    return captioner


def _parser() -> argparse.ArgumentParser:
    parser = measure_parser(__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/models"), help="model card folder")
    parser.add_argument("--work", type=Path, default=Path("work/report"), help="everything else")
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="which models")
    parser.add_argument("--crops", type=int, default=300, help="boxes also cut out")
    return parser


if __name__ == "__main__":
    main()
