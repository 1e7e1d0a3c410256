"""How often a wrong word of a sentence is found and mended, and how often a right one is spoilt.

``python -m recipes.mini.your_sentence --data DIR [--folds DIR] [--grids DIR] [--every N]``

Captions that people wrote of COCO's development images are checked as they are, and with one noun
exchanged: for one of another image, and for another thing of the same kind. Of heads that have not
seen the image where those of the folds are given.
"""

from __future__ import annotations

import tempfile
import time
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.captioner import Captioner
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.grids import PHOTOGRAPH
from napari_patchioner.grounding import Realigner, WordGrounder
from napari_patchioner.grounding.sentence import kind_of, plural_of, read_words
from napari_patchioner.regions import WholeImage

from .card import captioner_for, shared_encoder
from .coco_folders import FOLDERS, development_images
from .kept_grids import key_of
from .options import measure_parser
from .why_words import meaning_of, nouns_of, wrong_nouns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.grounding.realign import Realigned

    from .coco_folders import LabelledImage

OTHER, ALIKE = "a thing of another image", "another thing of the same kind"


@dataclass
class Tally:
    """What became of sentences, and some of them."""

    right: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    seconds: list[float] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv`` without the program's name.
    """
    parser = measure_parser(__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--folders", nargs="+", default=FOLDERS, help="parts of the data")
    given = parser.parse_args(arguments)
    images = [image for image in development_images(given.data, given.folders) if image.captions]
    images = images[:: given.every]
    others = [name for image in images for text in image.captions for name in nouns_of([text])]
    tally = Tally()
    with tempfile.TemporaryDirectory() as scratch:
        captioner_of = captioner_for(given.model, given.folds, Path(scratch))
        realigners: dict[int, tuple[WordGrounder, Realigner]] = {}
        for image in images:
            captioner = captioner_of(image.file_name)
            assert isinstance(captioner, Captioner)
            if id(captioner) not in realigners:
                grounder = WordGrounder(captioner)
                realigners[id(captioner)] = grounder, Realigner(captioner, grounder)
            pixels = image.pixels()
            grid = shared_encoder(captioner, given.grids)(pixels, key_of(pixels))
            if grid.measures.get("photograph", 1.0) >= PHOTOGRAPH:
                check(*realigners[id(captioner)], grid, image, others, tally)
    report(tally)


def check(
    grounder: WordGrounder,
    realigner: Realigner,
    grid: FeatureGrid,
    image: LabelledImage,
    others: Sequence[str],
    tally: Tally,
) -> None:
    """Check the captions of one image, as they are and with a noun exchanged."""
    present = {item.category for item in (*image.boxes, *image.masks, *image.stuff)}
    true = meaning_of(grounder, [*nouns_of(image.captions), *present])
    wrong = wrong_nouns(grounder, image, others, 40)
    whole = WholeImage()
    for text in image.captions:
        started = time.perf_counter()
        result = realigner.check(grid, whole, text)
        tally.seconds.append(time.perf_counter() - started)
        _note_right(result, text, true, grounder, tally)
        things = [w for w in read_words(text) if w.kind == "thing" and not w.absent]
        if not things:
            continue
        word = things[zlib.crc32(text.encode()) % len(things)]
        start = zlib.crc32(text.encode()) % len(wrong) if wrong else 0
        shuffled = [*wrong[start:], *wrong[:start]]
        alike = [name for name in shuffled if kind_of(name) == kind_of(word.name)]
        for how, names in ((OTHER, shuffled), (ALIKE, alike)):
            if names:
                is_plural = word.text.casefold() == plural_of(word.name) != word.name
                new = plural_of(names[0]) if is_plural else names[0]
                changed = f"{text[: word.start]}{new}{text[word.end :]}"
                meant = meaning_of(grounder, [word.name])
                result = realigner.check(grid, whole, changed)
                place = word.start, word.start + len(new)
                _note_wrong(result, how, changed, place, meant, true, grounder, tally)


def _note_right(
    result: Realigned, text: str, true: set[str], grounder: WordGrounder, tally: Tally
) -> None:
    """Count what became of a sentence that was right."""
    kinds = {change.kind for change in result.changes}
    tally.right["sentences"] += 1
    tally.right["a noun replaced"] += "replaced" in kinds
    marked = any(word.verdict == "contradicted" for word in result.words)
    tally.right["a noun marked"] += marked
    for change in result.changes:
        if change.kind == "added":
            is_true = bool(meaning_of(grounder, nouns_of([change.after])) & true)
            tally.right["added"] += 1
            tally.right["added, and there"] += is_true
            if not is_true:
                tally.examples["added, and nobody says so"].append(f"{text} → {result.text}")
        else:
            tally.examples["a right sentence spoilt"].append(f"{text} → {result.text}")


def _note_wrong(
    result: Realigned,
    how: str,
    text: str,
    place: tuple[int, int],
    meant: set[str],
    true: set[str],
    grounder: WordGrounder,
    tally: Tally,
) -> None:
    """Count what became of a sentence with a wrong noun at a place."""
    counts = tally.wrong[how]
    counts["sentences"] += 1
    start, end = place
    at = [w for w in result.words if w.word.start < end and w.word.end > start]
    counts["marked"] += any(word.verdict == "contradicted" for word in at)
    own = {word.word.text for word in at}
    mended = [c for c in result.changes if c.kind == "replaced" and c.before in own]
    others = [c for c in result.changes if c.kind == "replaced" and c.before not in own]
    counts["another noun replaced"] += bool(others)
    if not mended:
        return
    counts["replaced"] += 1
    new = meaning_of(grounder, nouns_of([mended[0].after]))
    outcome = (
        "by the very thing"
        if new & meant
        else "by another thing that is there"
        if new & true
        else "by a wrong one"
    )
    counts[outcome] += 1
    tally.examples[f"mended {outcome}"].append(f"{text} → {result.text}")


def report(tally: Tally) -> None:
    """Print what became of the sentences."""
    count = tally.right["sentences"]
    print(f"Sentences as people wrote them ({count})\n")
    names = ["a noun marked", "a noun replaced", "added", "added, and there"]
    rows = [[name, str(tally.right[name]), _share(tally.right[name], count)] for name in names]
    print(markdown_table(["what became of them", "sentences", "share"], rows))
    print("\nWith one noun exchanged\n")
    names = ["marked", "replaced", "by the very thing", "by another thing that is there"]
    names += ["by a wrong one", "another noun replaced"]
    rows = []
    for how, counts in tally.wrong.items():
        shares = [_share(counts[name], counts["sentences"]) for name in names]
        rows.append([f"{how} ({counts['sentences']})", *shares])
    print(markdown_table(["for", *names], rows))
    for title, examples in tally.examples.items():
        print(f"\n{title}:")
        for example in examples[:: max(1, len(examples) // 6)][:6]:
            print(f"- {example}")
    milliseconds = 1000 * np.array(tally.seconds)
    print(
        f"\na sentence: {np.median(milliseconds):.0f} ms, 95 % within "
        f"{np.quantile(milliseconds, 0.95):.0f} ms"
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.1f} %"


if __name__ == "__main__":
    main()
