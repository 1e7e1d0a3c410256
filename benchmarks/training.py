"""How well decoders trained on text alone rebuild captions that they have not seen.

``python benchmarks/training.py CAPTIONS --tower MODEL [--steps N] [--out FOLDER] [--svg FILE]``,
``--kinds decoder`` for one of both, and ``--width``, ``--layers``, ``--heads`` for another size.

CAPTIONS are COCO's (``.json``). The captions of 200 images, drawn at random, are held out; a
decoder and one with noise are trained on all others, and both rebuild the held-out ones from their
embeddings. Prints a table beside the nearest training caption, and how long training took; draws
the losses. An interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.texts import TextList
from napari_patchioner.training import (
    About,
    Recipe,
    Settings,
    Sizes,
    open_tower,
    read_losses,
    train_decoder,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_patchioner.training import Check

HELD_OUT_IMAGES = 200
KINDS = ("decoder", "noise")
_COLOURS = {"decoder": "#1b6ca8", "noise": "#c0561f"}
_MEASURES = ("cider", "bleu", "words", "exact")
_WAYS = ("nearest training caption", "decoder", "decoder behind the memory")
# Of the drawing, in pixels.
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 320, 56, 44, 16


def split(captions: Path) -> tuple[TextList, TextList]:
    """Return the captions to learn from and those held out, apart by image."""
    by_image = defaultdict(list)
    for row in json.loads(captions.read_text(encoding="utf-8"))["annotations"]:
        by_image[row["image_id"]].append(row["caption"])
    images = sorted(by_image)
    random.Random(0).shuffle(images)
    parts = images[HELD_OUT_IMAGES:], images[:HELD_OUT_IMAGES]
    names = captions.name, f"{captions.name}, {HELD_OUT_IMAGES} images"
    training, held_out = (
        TextList(name, tuple(text for image in part for text in by_image[image]))
        for name, part in zip(names, parts, strict=True)
    )
    return training, held_out


def table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Return the scores of all kinds as a Markdown table."""
    lines = [
        "| captions | CIDEr-D | BLEU-4 | words in common | word for word | next token right |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row, (kind, found) in enumerate(scores.items()):
        for way in _WAYS[row > 0 :]:
            name = way if way == _WAYS[0] else f"`train {kind}`{way.removeprefix('decoder')}"
            values = [f"{found[f'{measure}, {way}']:.3f}" for measure in _MEASURES]
            right = f"{found['next token right']:.3f}" if way == "decoder" else ""
            lines.append(f"| {' | '.join([name, *values, right])} |")
    return "\n".join(lines)


def drawing(losses: Mapping[str, Sequence[Check]]) -> str:
    """Draw held-out losses (lines) and training losses (dots) over the steps, as SVG."""
    checks = [check for kind in losses.values() for check in kind]
    last = max(check.step for check in checks)
    values = [value for check in checks for value in (check.loss, check.held_out)]
    low, high = int(min(values)), int(max(values)) + 1

    def place(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - 16) * step / last
        return x, _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for value in range(low, high + 1):
        x, y = place(0, value)
        parts += [
            f'<path d="M{x:.1f} {y:.1f}H{_WIDTH - 16}" stroke="#ddd"/>',
            f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{value}</text>',
        ]
    for share in range(5):
        x, y = place(last * share / 4, low)
        parts.append(
            f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{last * share // 4:,}</text>'
        )
    parts.append(
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">steps; loss in nats per '
        "token, held out (line) and in training, smoothed labels (dots)</text>"
    )
    for row, (kind, found) in enumerate(losses.items()):
        colour = _COLOURS[kind]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(c.step, c.held_out) for c in found))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        for check in found:
            x, y = place(check.step, check.loss)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>')
        parts.append(
            f'<text x="{_WIDTH - 24}" y="{_TOP + 16 * (row + 1)}" text-anchor="end" '
            f'fill="{colour}">train {kind}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Train, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captions", type=Path)
    parser.add_argument("--tower", default="mini")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    for name in ("width", "layers", "heads"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Sizes(), name))
    parser.add_argument("--out", type=Path, default=Path("trained"))
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    training, held_out = split(options.captions)
    tower = open_tower(options.tower)
    sizes = Sizes(options.width, options.layers, options.heads)
    scores, losses = {}, {}
    options.out.mkdir(parents=True, exist_ok=True)
    for kind in options.kinds:
        started, out = time.process_time(), options.out / kind
        if not out.exists():
            train_decoder(
                [training],
                tower,
                out,
                about=About(f"benchmark-{kind}", licence="CC BY 4.0"),
                recipe=Recipe(kind, sizes),
                settings=Settings(learning_rate=2e-3),
                steps=options.steps,
                held_out=[held_out],
                progress=lambda fraction, text: print(f"{fraction:4.0%} {text}", end="\r"),
            )
            print(f"\n{kind}: {(time.process_time() - started) / 60:.1f} minutes of one processor")
        scores[kind] = json.loads((out / "card.json").read_text(encoding="utf-8"))["scores"]
        losses[kind] = read_losses(out)
        print(f"{kind}: {scores[kind]}")
    print(table(scores))
    if options.svg is not None:
        options.svg.write_text(drawing(losses), encoding="utf-8")


if __name__ == "__main__":
    main()
