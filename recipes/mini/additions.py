"""What captions of boxes say beside the noun, how often, and how often labels agree.

``python -m recipes.mini.additions --data DIR --work WORK`` after `recipes.mini.things`. Every
photograph is captioned by a head of naming and a `ThingHead` that were not fitted to it; it reads
the features of `recipes.mini.vision`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.annotations import encode_text, write_bytes
from napari_patchioner.backbones.appearance import appearance_axes
from napari_patchioner.backbones.mini import SIZE, grid_shape, resample
from napari_patchioner.decoders.grounded.vocabulary import COLOURS, load_concepts
from napari_patchioner.evaluation.metrics.mention import head_mentions, mentions
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.models.embedded import FOLDER, HEADS, THINGS, load_embedded
from napari_patchioner.regions import GridTransform

from .around import relations_of
from .card import fill_blocks
from .coco_folders import FOLDERS, development_images
from .crossval import fold_head
from .features import read_features
from .options import recipe_parser
from .things import SMALLEST, Gatherer, half_of, inside_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.decoders import Caption

    from .coco_folders import LabelledImage, LabelledRegion

_WORDS = {"on": 0, "in": 0, "at": 0, "in front of": 1, "near": 2}
_PLACE = re.compile(r" (in front of|on|in|at|near) (?:an? |the )?")
_JOIN = re.compile(r" (?:and|with) (?:an? |the )?")


@dataclass(frozen=True, slots=True)
class Said:
    """A box with its caption, and whether labels agree with each thing said beside the noun.

    ``relations`` and ``joined`` hold the words and whether they are right; None where labels do not
    say.
    """

    image: LabelledImage
    box: LabelledRegion
    caption: Caption
    relations: tuple[tuple[str, bool | None], ...]
    joined: tuple[bool, ...]

    @property
    def is_bare(self) -> bool:
        """Whether nothing but a name is said."""
        name = self.caption.concepts[0][0]
        plain = re.sub(r"^(?:an?|the) ", "", self.caption.text)
        return self.caption.verdict == "sure" and plain == name

    @property
    def has_colour(self) -> bool:
        """Whether a colour is said."""
        return not set(self.caption.text.split()).isdisjoint(COLOURS)


class Additions:
    """Captions boxes of development images and compares what is said with their labels."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._gatherer = Gatherer(load_concepts(FOLDER / "concepts.json"))
        self._index = {concept.name: n for n, concept in enumerate(self._gatherer.concepts)}
        self._captioners: dict[tuple[Path, Path], Captioner] = {}

    def caption(self, image: LabelledImage) -> list[Said]:
        """Caption the boxes of one photograph."""
        boxes = [box for box in image.boxes if box.area > SMALLEST]
        captions = self._captioner(image).caption(self._grid(image), [box.region for box in boxes])
        return [self._said(image, *pair) for pair in zip(boxes, captions, strict=True)]

    def _captioner(self, image: LabelledImage) -> Captioner:
        """Return `mini` with a head and a `ThingHead` that did not see a photograph."""
        head = fold_head(self._work / "heads_folds", "mini", image.file_name)
        stem = f"{Path(THINGS['mini']).stem}_half{half_of(image.file_name)}"
        things = self._work / "things_folds" / f"{stem}.safetensors"
        if (head, things) not in self._captioners:
            folder = self._work / "additions" / f"{head.stem}_{things.stem}"
            folder.mkdir(parents=True, exist_ok=True)
            exchanged = {HEADS["mini"]: head, THINGS["mini"]: things}
            for path in FOLDER.iterdir():
                link = folder / path.name
                link.unlink(missing_ok=True)
                link.symlink_to(exchanged.get(path.name, path).resolve())
            self._captioners[head, things] = load_embedded("mini", folder)
        return self._captioners[head, things]

    def _grid(self, image: LabelledImage) -> FeatureGrid:
        """Make the grid of kept features, of what is taken to be a photograph."""
        shape = grid_shape(*image.size)
        features = read_features(self._work / "features", image.file_name, SIZE)
        parts = [resample(part.astype(np.float32), shape) for part in features]
        cells = np.concatenate([*parts, appearance_axes(image.pixels(), shape)], axis=2)
        transform = GridTransform(image.size, shape)
        return FeatureGrid(cells, transform, image.file_name, measures={"photograph": 1.0})

    def _said(self, image: LabelledImage, box: LabelledRegion, caption: Caption) -> Said:
        if caption.verdict != "sure":
            return Said(image, box, caption, (), ())
        truth = relations_of(box, image, self._gatherer)
        inside = inside_of(box, image, self._gatherer)
        relations = []
        for match in _PLACE.finditer(caption.text):
            concept = self._named(caption.text[match.end() :])
            if concept is not None:
                right = truth.get(concept, np.zeros(3))[_WORDS[match[1]]]
                known = image.stuff or match[1] == "near"
                right = bool(right == 1.0 or concept in inside) if known else None
                relations.append((match[1], right))
        joined = [
            concept in inside
            for match in _JOIN.finditer(caption.text)
            if (concept := self._named(caption.text[match.end() :])) is not None
        ]
        return Said(image, box, caption, tuple(relations), tuple(joined))

    def _named(self, text: str) -> int | None:
        """Concept that a text begins with, the longest name there is, as the first of its group."""
        words = text.split()
        for length in range(min(3, len(words)), 0, -1):
            if (concept := self._index.get(" ".join(words[:length]))) is not None:
                return int(self._gatherer.owners[concept])
        return None


def report(said: Sequence[Said]) -> str:
    """Return a table of how often boxes are named, captions bare and additions right."""
    rows = [
        ["boxes", str(len(said)), ""],
        ["named", _share(mentions(one.caption.text, one.box.category) for one in said), ""],
        [
            "said first",
            _share(head_mentions(one.caption.text, one.box.category) for one in said),
            "",
        ],
        ["a bare noun", _share(one.is_bare for one in said), ""],
        ["a hedge", _share(one.caption.verdict == "unsure" for one in said), ""],
        ["a colour", _share(one.has_colour for one in said), "–"],
    ]
    judged = [one for one in said if one.image.stuff]
    for words in (("on", "in", "at"), ("in front of",), ("near",)):
        times = sum(any(word in words for word, _ in one.relations) for one in said)
        right = [ok for one in judged for word, ok in one.relations if word in words]
        rows.append([f'"{", ".join(words)}"', f"{times / len(said):.3f}", _of(right)])
    joined = [ok for one in said for ok in one.joined]
    share = sum(bool(one.joined) for one in said) / len(said)
    rows.append(["a second noun inside", f"{share:.3f}", _of(joined)])
    return markdown_table(["captions with", "share", "right by labels"], rows)


def _share(values: Iterable[bool]) -> str:
    return f"{np.mean([bool(value) for value in values]):.3f}"


def _of(right: Sequence[bool | None]) -> str:
    known = [ok for ok in right if ok is not None]
    return f"{np.mean(known):.2f} of {len(known)}" if known else "–"


def main() -> None:
    """Read the command line, caption the photographs and fill in the table of the card."""
    parser = recipe_parser(__doc__)
    parser.set_defaults(out=Path("docs/models"))
    parser.add_argument(
        "--half", type=int, default=1, help="0 for the half constants are chosen on"
    )
    options = parser.parse_args()
    additions = Additions(options.work)
    said: list[Said] = []
    for image in development_images(options.data, FOLDERS, smallest=0):
        if half_of(image.file_name) == options.half:
            said += additions.caption(image)
    table = report(said)
    print(table)
    print(Counter(one.caption.text for one in said).most_common(40))
    if options.half == 1:
        card = options.out / "mini.md"
        text = fill_blocks(card.read_text(encoding="utf-8"), {"additions": table})
        write_bytes(card, encode_text(text))


if __name__ == "__main__":
    main()
