"""How well the embedded models know what is unlike all they know, and what they know to begin with.

``python -m recipes.mini.familiarity --data DIR [--grids DIR] [--every N] [--failures PNG]``

What is known is fitted to photographs alone: those of COCO whose owners allow commercial use, and
pictures of ImageNet. Measured is on the other COCO development photographs against micrographs,
drawings and text pages, of which none was fitted to. Beside the whitened likelihood stand the score
of the caption (a name is forced from the model, whatever the picture), and the distance from the
mean without whitening; for whole images, how likely each is a photograph by the gate, which has
seen painted pictures and three of the micrographs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import rankdata

from napari_patchioner import load_model
from napari_patchioner.annotations.record import UNFAMILIAR
from napari_patchioner.bridges import unit_rows
from napari_patchioner.bridges.familiarity import Familiarity, sample_image
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.images import as_rgb, read_picture
from napari_patchioner.regions import Box

from ._painted import FAMILIES
from .coco_folders import FOLDERS, development_images
from .gate import COMMERCIAL_LICENCES
from .kept_grids import GridFolder, key_of
from .options import measure_parser
from .sheet import contact_sheet
from .unlike import FOLDER as IMAGENET
from .unlike import imagenet_pictures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_patchioner.backbones import Backbone
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import FeatureGrid

    Picture = npt.NDArray[np.uint8]
    Scores = npt.NDArray[np.float64]

COCO = (*FOLDERS, "tiny_masks")
PHOTOGRAPHS = "photographs (COCO)"
SCOPES = ("cell", "immunohistochemistry", "retina", "microaneurysms")
PAGES = ("page", "text")
DRAWINGS = ("horse", "checkerboard", "shepp_logan_phantom", "logo")
PAINTED = {"drawing": "drawings", "chart": "drawings", "page": "text pages"}
NO_KIND = ("bands", "noise")
PER_FAMILY, EACH_SMEAR, EACH_IMAGENET = 8, 4, 10
# Painted by other numbers than those of the gate.
SEED = 77
LEVELS = (0.01, 0.05)
TILES = 10
# Of ImageNet what the gate takes for a photograph with at least this probability.
SURELY = 0.99


def known_grids(backbone: Backbone, data: Path) -> Iterator[FeatureGrid]:
    """Grids of the photographs that the shipped file is fitted to."""
    for image in development_images(data, COCO):
        if image.licence in COMMERCIAL_LICENCES:
            yield backbone.encode(image.pixels())
    # Every other one of those that heads are fitted to.
    for path, _ in imagenet_pictures(data)[::2]:
        grid = backbone.encode(np.asarray(read_picture(path).convert("RGB")))
        # Some classes are of web sites, comics and crosswords.
        if grid.measures["photograph"] > SURELY:
            yield grid


def build(backbone: Backbone, data: Path, target: Path) -> None:
    """Write the shipped file.

    Parameters
    ----------
    backbone : Backbone
        The shipped one.
    data : Path
        The data folder.
    target : Path
        The file.
    """
    learned = backbone.dim - backbone.measured
    samples = [
        sample_image(grid, number, learned=learned)
        for number, grid in enumerate(known_grids(backbone, data))
    ]
    Familiarity.fit(samples, backbone.name).write(target)
    target.chmod(0o644)


def pictures(data: Path, every: int = 1) -> Iterator[tuple[str, Picture]]:
    """Pictures to measure on with their kinds; none was fitted to."""
    coco = [one for one in development_images(data, COCO) if one.licence not in COMMERCIAL_LICENCES]
    for image in coco[::every]:
        yield PHOTOGRAPHS, image.pixels()

    def files(kind: str, paths: Sequence[Path]) -> Iterator[tuple[str, Picture]]:
        for path in paths[::every]:
            yield kind, np.asarray(read_picture(path).convert("RGB"))

    yield from files("photographs (Pascal VOC)", sorted((data / "voc2012").rglob("*.jpg")))
    imagenet = sorted((data / IMAGENET).glob("*.jpg"))
    fitted = {path for path, _ in imagenet_pictures(data)}
    unseen = [path for path in imagenet if path not in fitted]
    yield from files("photographs (ImageNet)", unseen[:: EACH_IMAGENET // 2])
    yield from files("micrographs", sorted((data / "bccd/images").glob("*"))[::EACH_SMEAR])
    for kind, names in (("micrographs", SCOPES), ("text pages", PAGES), ("drawings", DRAWINGS)):
        for name in names:
            yield kind, _shipped(name)
    for number in range(PER_FAMILY):
        yield "text pages", written_page(np.random.default_rng((SEED, number)))
    for place, (family, painter) in enumerate(FAMILIES.items()):
        if family not in NO_KIND:
            for number in range(PER_FAMILY)[::every]:
                picture = painter(np.random.default_rng((SEED, place, number)))
                yield PAINTED.get(family, "micrographs, painted"), picture


def _shipped(name: str) -> Picture:
    """Return a picture that scikit-image ships."""
    pixels = getattr(skimage.data, name)()
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    return as_rgb(pixels[..., :3] if pixels.ndim == 3 else pixels)


def written_page(random: np.random.Generator) -> Picture:
    """Write a page of words without a meaning, black or coloured, large or small."""
    paper = Image.new("RGB", (480, 640), tuple(int(c) for c in random.integers(225, 256, 3)))
    draw, size = ImageDraw.Draw(paper), int(random.integers(9, 20))
    font, ink = ImageFont.load_default(size), tuple(int(c) for c in random.integers(0, 110, 3))
    letters = list("eeeetttaaoinshrdlu")
    for top in range(30, 610, int(1.5 * size)):
        words = ["".join(random.choice(letters, random.integers(2, 10))) for _ in range(12)]
        if random.random() > 0.12:
            draw.text((30, top), " ".join(words)[: 800 // size], fill=ink, font=font)
    return np.asarray(paper)


@dataclass(frozen=True, slots=True)
class Measured:
    """One picture and the scores of it: ``regions`` by the way they were made, and ``image``."""

    kind: str
    pixels: Picture
    boxes: Sequence[Box]
    texts: Sequence[str]
    regions: dict[str, Scores]
    image: dict[str, float]


def measure(
    captioner: Captioner, grid: FeatureGrid, kind: str, pixels: Picture, seed: int
) -> Measured:
    """Score a picture and boxes on it; the lower, the more unlike what is known."""
    known = captioner.known
    assert known is not None
    boxes = list(random_boxes(pixels.shape[:2], np.random.default_rng(seed)))
    forced = replace(grid, measures={**grid.measures, "photograph": 1.0})
    captions = captioner.caption(forced, boxes, beams=1, no_close_up=True)
    shares = captioner.familiarity(grid, boxes)
    assert shares is not None
    whole = known.of_image(grid)
    vectors = unit_rows(captioner.embed(grid, boxes)[:, : known.learned])
    off = np.linalg.norm(vectors - known.arrays["centre"].astype(np.float32), axis=1)
    mean = unit_rows(grid.embeddings.reshape(-1, grid.dim)[:, : known.learned].mean(0))
    unwhitened = np.linalg.norm(mean - known.arrays["centre"].astype(np.float32))
    return Measured(
        kind,
        pixels,
        boxes,
        [caption.text for caption in captions],
        {
            "whitened": np.asarray(shares),
            "not whitened": -off.astype(float),
            "caption's score": np.array([caption.score for caption in captions], float),
        },
        {
            "whitened": whole,
            "not whitened": -float(unwhitened),
            "photograph by the gate": grid.measures["photograph"],
        },
    )


def random_boxes(
    size: tuple[int, int], random: np.random.Generator, count: int = 8
) -> Iterator[Box]:
    """Boxes as people draw them, from a hundredth of the picture to half of it."""
    height, width = size
    for _ in range(count):
        side = np.sqrt(np.exp(random.uniform(np.log(0.01), np.log(0.5))))
        stretch = np.exp(random.uniform(-0.35, 0.35))
        high, wide = min(side * stretch, 1) * height, min(side / stretch, 1) * width
        top, left = random.uniform(0, height - high), random.uniform(0, width - wide)
        yield Box(top - 0.5, left - 0.5, top + high - 0.5, left + wide - 0.5)


def auroc(unlike: Scores, known: Scores) -> float:
    """Chance that what is unlike scores lower than what is known; equal ones count half.

    >>> auroc(np.array([0.1, 0.2]), np.array([0.3, 0.2]))
    0.875
    """
    ranks = rankdata(np.concatenate([unlike, known]))
    above = ranks[: len(unlike)].sum() - len(unlike) * (len(unlike) + 1) / 2
    return float(1 - above / (len(unlike) * len(known)))


def report(results: Sequence[Measured]) -> None:
    """Print the tables."""
    by_kind: dict[str, list[Measured]] = defaultdict(list)
    for item in results:
        by_kind[item.kind].append(item)
    for what, scores in (("regions", _regions), ("image", _images)):
        ways = list(getattr(results[0], what))
        known = {way: scores(by_kind[PHOTOGRAPHS], way) for way in ways}
        rows = []
        for kind, items in by_kind.items():
            own = {way: scores(items, way) for way in ways}
            flagged = [f"{(own['whitened'] <= level).mean():.1%}" for level in LEVELS]
            areas = (
                [""] * len(ways)
                if kind == PHOTOGRAPHS
                else [f"{auroc(own[way], known[way]):.3f}" for way in ways]
            )
            rows.append([kind, str(len(own["whitened"])), *areas, *flagged])
        titles = [what, "", *ways, *(f"below {level:.0%}" for level in LEVELS)]
        print(f"\n{markdown_table(titles, rows)}")


def _regions(items: Sequence[Measured], way: str) -> Scores:
    return np.concatenate([item.regions[way] for item in items])


def _images(items: Sequence[Measured], way: str) -> Scores:
    return np.array([item.image[way] for item in items])


def draw_failures(results: Sequence[Measured], path: Path) -> None:
    """Draw photographs that seem unlike all that is known, and other pictures that do not."""
    tiles: list[tuple[float, tuple[Picture, Box, str]]] = []
    others: list[tuple[float, tuple[Picture, Box, str]]] = []
    for item in results:
        shares = item.regions["whitened"]
        is_known = item.kind.startswith("photographs")
        row = int(shares.argmin() if is_known else shares.argmax())
        share = float(shares[row])
        tile = item.pixels, item.boxes[row], f"{share:.1%}: {item.texts[row]}"
        if is_known and share < UNFAMILIAR:
            tiles.append((share, tile))
        elif not is_known and share >= UNFAMILIAR:
            others.append((-share, tile))
    chosen = [
        tile
        for side in (tiles, others)
        for _, tile in sorted(side, key=lambda pair: pair[0])[:TILES]
    ]
    if chosen:
        contact_sheet(chosen).save(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv`` without the program's name.
    """
    parser = measure_parser(__doc__, folds=False)
    parser.add_argument("--failures", help="a sheet of what goes wrong goes here")
    given = parser.parse_args(arguments)
    captioner = load_model("mini")
    kept = GridFolder(given.grids, captioner.encode) if given.grids is not None else None
    results = []
    for number, (kind, pixels) in enumerate(pictures(given.data, given.every)):
        grid = kept(pixels, key_of(pixels)) if kept else captioner.encode(pixels)
        results.append(measure(captioner, grid, kind, pixels, number))
    report(results)
    if given.failures is not None:
        draw_failures(results, given.failures)


if __name__ == "__main__":
    main()
