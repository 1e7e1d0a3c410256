"""A lexicon: examples with their names, and what they were described with."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_patchioner.devices import IN_8_BITS
from napari_patchioner.errors import FormatError, ModelError, counted
from napari_patchioner.grids import PHOTOGRAPH

from .classifier import Classifier, Naming
from .describe import (
    BLOCKS,
    GRID,
    Descriptions,
    ImageMeasures,
    background,
    check_example,
    describe,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_patchioner.bridges import Bridge, WordReader
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.images import Levels
    from napari_patchioner.regions import Region

LONGEST_NAME = 1000
"""Characters of a name, which may be a sentence."""

# A model that says a name of its examples less than this, by so many of them, does not know it.
_UNHEARD, _ASKED = 0.003, 20


@dataclass(frozen=True, slots=True)
class Example:
    """One region with its name.

    Attributes
    ----------
    name : str
        What it is called.
    image : str
        Name of its image.
    uid : str
        Name of the region, unique within its image.
    content : str
        Digest of the image, which tells images of one name apart.
    thumbnail : bytes
        A small PNG picture of it; empty where there is none.
    """

    name: str
    image: str
    uid: str
    content: str = ""
    thumbnail: bytes = b""

    @property
    def key(self) -> tuple[str, str, str]:
        """What no two examples of a lexicon share."""
        return self.image, self.content, self.uid


@dataclass(frozen=True, eq=False, slots=True)
class TaughtImage:
    """An image that examples are from: its background, and how likely it is a photograph."""

    name: str
    content: str
    background: Descriptions
    photograph: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What no two images of a lexicon share."""
        return self.name, self.content


@dataclass(frozen=True, slots=True)
class Origin:
    """What vectors were made with; those of another origin do not compare.

    ``backbone`` names the network with its weights, ``preprocessing`` is a hash of how pictures are
    prepared, ``pooling`` says how patches become one vector.
    """

    backbone: str
    preprocessing: str
    pooling: str

    @classmethod
    def of(cls, captioner: Captioner) -> Origin:
        """Return that of the vectors of a captioner."""
        backbone = captioner.backbone
        prepared = getattr(backbone, "preprocessing", None)
        about = backbone.dim, backbone.patch_size, backbone.input_size, prepared
        digest = hashlib.blake2b(repr(about).encode(), digest_size=8).hexdigest()
        ways = captioner.pooling, captioner.whole or captioner.pooling
        pooled = "/".join(dict.fromkeys(ways))
        pooling = f"{pooled} {captioner.weighting} {captioner.convention}"
        # What is learned on one engine holds on the other.
        return cls(backbone.name.removesuffix(IN_8_BITS), digest, pooling)


class Lexicon:
    """Names and the examples they were learned from; never changed, only made anew.

    The order in which examples come does not matter. Made by :meth:`teach`, :meth:`merged` or
    `read_lexicon`.

    Attributes
    ----------
    origin : Origin
        What the examples were described with.
    examples : tuple of Example
        Sorted by name, image and uid.
    described : Descriptions
        One row for each.
    images : tuple of TaughtImage
        Those of the examples, sorted by name.

    Examples
    --------
    >>> from napari_patchioner import load_model
    >>> from napari_patchioner.regions import Box
    >>> from napari_patchioner.teaching import Lexicon
    >>> image = np.full((60, 90, 3), 220, np.uint8)
    >>> image[20:40, 10:30] = (120, 20, 160)
    >>> image[10:50, 50:80] = (20, 120, 40)
    >>> captioner = load_model("mini")
    >>> grid = captioner.encode(image)
    >>> cells = {"a nucleus": Box(19.5, 9.5, 39.5, 29.5), "a leaf": Box(9.5, 49.5, 49.5, 79.5)}
    >>> lexicon = Lexicon.teach(captioner, grid, image, list(cells.values()), list(cells))
    >>> [naming] = lexicon.name(captioner, grid, image, [Box(20, 10, 40, 30)])
    >>> naming.name
    'a nucleus'
    """

    def __init__(
        self,
        origin: Origin,
        examples: Sequence[Example],
        described: Descriptions,
        images: Iterable[TaughtImage],
    ) -> None:
        if not examples:
            raise FormatError("a lexicon needs at least one example")
        keys = [(example.name, example.key) for example in examples]
        often = Counter(example.key for example in examples)
        if len(often) < len(examples):
            image, _, uid = max(often, key=often.__getitem__)
            raise FormatError(
                f"the uid {uid!r} appears twice in image {image!r}; every example needs its own"
            )
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self.origin = origin
        self.examples = tuple(examples[row] for row in order)
        self.described = described.take(order)
        self._judged: tuple[WordReader, npt.NDArray[np.bool_]] | None = None
        used = {example.key[:2] for example in examples}
        self.images = tuple(
            sorted((i for i in images if i.key in used), key=lambda image: image.key)
        )

    @classmethod
    def teach(
        cls,
        captioner: Captioner,
        grid: FeatureGrid,
        image: ImageMeasures | npt.ArrayLike,
        regions: Sequence[Region],
        names: Sequence[str],
        *,
        uids: Sequence[str] = (),
        image_name: str = "",
    ) -> Lexicon:
        """Learn the names of regions of one image.

        Parameters
        ----------
        captioner : Captioner
            Of any backbone.
        grid : FeatureGrid
            From its ``encode`` of the image.
        image : ImageMeasures or array_like
            The pixels of the same image.
        regions, names : sequence of Region, sequence of str
            The examples, at least one, and what each is called.
        uids : sequence of str, optional
            Name of each region within its image; by default one that says where it lies.
        image_name : str
            What the image is called.

        Raises
        ------
        FormatError
            There is no region, not one name or uid for each, or a name is none.
        RegionError
            A region lies outside the grid.
        ImageError
            The grid is of an image of another size.
        """
        uids = uids or places_of(regions)
        for given, noun in ((names, "name"), (uids, "uid")):
            if len(given) != len(regions):
                raise FormatError(
                    f"there must be one {noun} for each region, but there are "
                    f"{counted(given, noun)} for {counted(regions, 'region')}"
                )
        labelled = list(zip(regions, names, uids, strict=True))
        return cls.teach_parts(captioner, [(grid, labelled)], image, image_name=image_name)

    @classmethod
    def teach_parts(
        cls,
        captioner: Captioner,
        parts: Iterable[tuple[FeatureGrid, Sequence[tuple[Region, str, str]]]],
        image: ImageMeasures | Levels | npt.ArrayLike,
        *,
        image_name: str = "",
        share: int = 1,
        thumbnails: bool = False,
    ) -> Lexicon:
        """Learn as :meth:`teach`, from several grids of one image and the examples seen in each.

        The examples are regions with their names and uids; ``share`` is how many of the grids the
        background is taken from; with ``thumbnails`` a small picture is kept of each example. A
        RegionError where one has no area or lies outside its grid.
        """
        measures = as_measures(image)
        content = measures.content
        examples, described, surroundings, photographs = [], [], [], []
        for number, (grid, labelled) in enumerate(parts):
            regions = [region for region, _, _ in labelled]
            for region in regions:
                check_example(region)
            described.append(describe(captioner, grid, measures, regions))
            pictures = [measures.thumbnail(region) if thumbnails else b"" for region in regions]
            examples += [
                Example(checked_name(name), image_name, uid, content, picture)
                for (_, name, uid), picture in zip(labelled, pictures, strict=True)
            ]
            if number < share:
                surroundings.append(background(captioner, grid, measures, share))
            if (photograph := grid.measures.get("photograph")) is not None:
                photographs.append(photograph)
        around = Descriptions.joined(surroundings)
        known = float(np.mean(photographs)) if photographs else None
        taught = TaughtImage(image_name, content, around, known)
        return cls(Origin.of(captioner), examples, Descriptions.joined(described), [taught])

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many examples there are of each name, by name."""
        return dict(sorted(Counter(example.name for example in self.examples).items()))

    @cached_property
    def digest(self) -> str:
        """Hash of the examples and their vectors, the same wherever the lexicon lies."""
        digest = hashlib.blake2b(repr(self.origin).encode(), digest_size=8)
        for example in self.examples:
            digest.update(repr((example.name, example.key)).encode())
        for part in (self.described, *(image.background for image in self.images)):
            for name in BLOCKS:
                digest.update(np.ascontiguousarray(part.blocks[name], "<f4").tobytes())
        digest.update(repr([(image.key, image.photograph) for image in self.images]).encode())
        return digest.hexdigest()

    @cached_property
    def contradictions(self) -> list[tuple[str, ...]]:
        """Names, sorted, of examples that are the very same in all that is known of them."""
        names: dict[bytes, set[str]] = {}
        for row, example in enumerate(self.examples):
            key = b"".join(self.described.blocks[name][row].tobytes() for name in BLOCKS)
            names.setdefault(key, set()).add(example.name)
        return sorted({tuple(sorted(some)) for some in names.values() if len(some) > 1})

    @cached_property
    def lookalikes(self) -> list[tuple[str, str]]:
        """Pairs of names that differ in capitals alone, the one with more examples first."""
        known: dict[str, str] = {}
        pairs = []
        for name in sorted(self.counts, key=lambda name: (-self.counts[name], name)):
            first = known.setdefault(name.casefold(), name)
            pairs += [(first, name)] if first != name else []
        return pairs

    @cached_property
    def classifier(self) -> Classifier:
        """What names regions, fitted when it is first asked for."""
        numbers = {image.key: number for number, image in enumerate(self.images)}
        return Classifier.fit(
            self.described,
            [example.name for example in self.examples],
            Descriptions.joined([image.background for image in self.images]),
            groups=[numbers[example.key[:2]] for example in self.examples],
            photograph=self.photograph,
        )

    @cached_property
    def photograph(self) -> float | None:
        """How likely its images are photographs, 0 to 1; None where nobody knows."""
        known = [image.photograph for image in self.images if image.photograph is not None]
        return float(np.mean(known)) if known else None

    def name(
        self,
        captioner: Captioner,
        grid: FeatureGrid,
        image: ImageMeasures | npt.ArrayLike,
        regions: Sequence[Region],
    ) -> list[Naming]:
        """Name regions of an encoded image; those unlike all examples get no name.

        A ModelError where the lexicon was taught with another backbone, a RegionError where a
        region lies outside the grid.
        """
        self.check(captioner)
        described = describe(captioner, grid, as_measures(image), regions)
        return self.name_described(captioner.bridge, described)

    def name_described(self, bridge: Bridge, regions: Descriptions) -> list[Naming]:
        """Name regions that are described already.

        In photographs what the ``bridge`` of the model that described them says of the names counts
        as well, if it knows them.
        """
        # Whoever has a bridge has loaded these, and torch with them.
        from napari_patchioner.bridges import WordReader

        said = None
        if isinstance(bridge, WordReader) and (self.photograph or 0.0) >= PHOTOGRAPH:
            said = bridge.word_probabilities(regions.blocks[GRID], self.classifier.names)
            said[:, self._unheard(bridge)] = np.nan
            said = None if np.isnan(said).all() else said
        return self.classifier(regions, said)

    def _unheard(self, bridge: WordReader) -> npt.NDArray[np.bool_]:
        """Say of each name whether the model never says it of its examples: it means another."""
        if self._judged is None or self._judged[0] is not bridge:
            names = np.array([example.name for example in self.examples])
            rows = [np.flatnonzero(names == name)[:_ASKED] for name in self.classifier.names]
            vectors = self.described.blocks[GRID][np.concatenate(rows)]
            said = bridge.word_probabilities(vectors, self.classifier.names)
            ends = np.cumsum([len(own) for own in rows])
            means = [
                said[end - len(own) : end, column].mean()
                for column, (own, end) in enumerate(zip(rows, ends, strict=True))
            ]
            self._judged = bridge, np.array(means) < _UNHEARD
        return self._judged[1]

    def check(self, captioner: Captioner) -> None:
        """Raise a ModelError if a captioner's vectors do not compare with those of the examples."""
        self._check(Origin.of(captioner), f"{captioner.name} encodes")

    def _check(self, other: Origin, who: str) -> None:
        mine = self.origin
        if mine.backbone != other.backbone:
            raise ModelError(
                f"the lexicon was taught with the backbone {mine.backbone} but {who} with "
                f"{other.backbone}; use the model it was taught with, or teach it again"
            )
        if mine != other:
            raise ModelError(
                f"the lexicon was taught with other preprocessing or pooling ({mine.pooling}) than "
                f"{who} with ({other.pooling}); use the model it was taught with, or teach it again"
            )

    def merged(self, other: Lexicon) -> Lexicon:
        """Return the union of two lexicons; of examples in both, the other's name counts.

        A ModelError where they were taught with different backbones.
        """
        self._check(other.origin, "the other one")
        replaced = {example.key for example in other.examples}
        mine = [row for row, example in enumerate(self.examples) if example.key not in replaced]
        images = {image.key: image for image in (*self.images, *other.images)}
        return Lexicon(
            self.origin,
            [*(self.examples[row] for row in mine), *other.examples],
            Descriptions.joined([self.described.take(mine), other.described]),
            images.values(),
        )

    def kept(self, keeps: Callable[[Example], bool]) -> Lexicon:
        """Return the examples for which ``keeps`` holds; a FormatError where that is none."""
        rows = [row for row, example in enumerate(self.examples) if keeps(example)]
        examples = [self.examples[row] for row in rows]
        return Lexicon(self.origin, examples, self.described.take(rows), self.images)

    def renamed(self, old: str, new: str) -> Lexicon:
        """Return the lexicon with another name for a class; that of another joins both.

        Another name that differs in capitals alone is the same, and stays spelled as it is.
        """
        new = checked_name(new)
        others = {e.name.casefold(): e.name for e in self.examples if e.name != old}
        if new not in self.counts:
            new = others.get(new.casefold(), new)
        examples = [replace(e, name=new) if e.name == old else e for e in self.examples]
        return Lexicon(self.origin, examples, self.described, self.images)


def places_of(regions: Sequence[Region]) -> list[str]:
    """Return a uid for each region of an image that says where it lies, to 1/100 of a pixel.

    The same region has the same one whenever it is asked for; given twice, a number is added.

    >>> from napari_patchioner.regions import Box, Point
    >>> one, other, again = places_of([Box(0, 0, 9, 9), Point(4, 4), Box(0, 0, 9, 9)])
    >>> places_of([Box(0, 0, 9.001, 9)]) == [one], again.removeprefix(one), other == one
    (True, '-2', False)
    """
    times: Counter[str] = Counter()
    uids = []
    for region in regions:
        digest = hashlib.blake2b(digest_size=6)
        for part in region.parts():
            digest.update(part.kind.encode())
            for points in part.rings() or [part.coords()]:
                digest.update((np.round(points, 2) + 0.0).astype("<f8").tobytes())
        uid = f"at-{digest.hexdigest()}"
        times[uid] += 1
        uids.append(uid if times[uid] == 1 else f"{uid}-{times[uid]}")
    return uids


def as_measures(image: ImageMeasures | Levels | npt.ArrayLike) -> ImageMeasures:
    """Return the measures of an image, which may be its pixels."""
    return image if isinstance(image, ImageMeasures) else ImageMeasures(image)


def checked_name(text: str) -> str:
    r"""Return a name without spare spaces, in composed letters; a FormatError where it is none.

    >>> checked_name("  red  cell\n")
    'red cell'
    """
    if not isinstance(text, str):
        raise FormatError(f"{text!r} is no name; it needs to be a text")
    name = unicodedata.normalize("NFC", " ".join(text.split()))
    if not name or not name.isprintable() or len(name) > LONGEST_NAME:
        raise FormatError(
            f"{text[:40]!r} is no name; it needs 1 to {LONGEST_NAME:,} letters that can be shown"
        )
    return name
