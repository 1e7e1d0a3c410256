"""Why a caption says a word: the patches that show it, and whether the region bears it out."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.bridges import PhraseReader
from napari_patchioner.decoders.grounded.vocabulary import COLOURS
from napari_patchioner.grids import PHOTOGRAPH, FeatureGrid
from napari_patchioner.regions import Box, PatchWeights, Region, cover

from . import windows
from .arguments import check_as_many, check_grid, check_region, check_regions, check_text
from .phrase import read_phrase
from .scorer import PhraseScorer, chance_of, log_odds
from .sentence import Word, kind_of, read_words

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner

FloatArray: TypeAlias = npt.NDArray[np.float32]
Scores: TypeAlias = npt.NDArray[np.float64]
Verdict: TypeAlias = Literal["borne out", "doubtful", "contradicted", ""]

CONTRADICTED, BORNE_OUT = 0.1, 0.5
"""A noun with less support is marked as wrong; one with at least so much is there."""
SHOWN = 0.95
"""A noun of which a text says that it is not there is marked from this support on."""
NO_PHOTOGRAPH = "This is no photograph, and in such pictures nouns are not judged."

# Log-odds of a noun of which regions were labelled, of its chance in the region as a whole and in
# the best window inside it; fitted to boxes and captions of COCO's development images.
_WHOLE, _INSIDE, _OFFSET = 0.416, 0.465, 2.29
# A window is inside a region that takes this share of it.
_COVERED = 0.7
# Names too wide or too vague for anyone to say that a picture does not show them.
_VAGUE = frozenset(
    re.findall(
        r"\w+",
        "fruit meal dinner lunch breakfast dish station platform field mirror water ground counter "
        "blanket comforter pillow bedspread",
    )
)
# Where people and models call a whole picture something, they mean no part of it.
_WHOLE_PICTURES = "scene"
# A colour of which the region has less is not there; one of which it has as much surely is.
_NO_COLOUR, _COLOUR = 0.03, 0.5
# What one calls by the name of the one another may call by that of the other.
_NEAR = {
    "red": ("pink", "orange", "brown"),
    "orange": ("red", "yellow", "brown"),
    "yellow": ("orange",),
    "green": ("blue",),
    "blue": ("purple", "green"),
    "purple": ("blue", "pink"),
    "pink": ("red", "purple"),
    "brown": ("red", "orange"),
}
# So few patches are a part of a region that a colour may be that of.
_FEW = 10
# What is in shade or in bright light has these, whatever it is called.
_SHADES = ("black", "white", "gray")
# Around a region so many times its sides is looked for what it stands at or beside.
_AROUND = 1.0
_COUNT = re.compile(
    r"\d+|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?|several|many|few|couple"
    r"|pair|both|single",
    re.IGNORECASE,
)
# These say nothing that could be judged.
_EMPTY = frozenset(re.findall(r"\w+", "a an the this that it there here is are and"))
# Words whose windows are kept, for captions that follow.
_KEPT = 256


@dataclass(frozen=True, slots=True)
class GroundedWord:
    """A word of a caption, and what a region says to it.

    Attributes
    ----------
    word : Word
        The word, and where it stands.
    support : float
        How likely the region shows it, 0 to 1, calibrated for the built-in models on photographs;
        NaN where it cannot be told. Of what stands beside the region's thing ("near a bus") how
        likely the region or what is around it does.
    verdict : {"borne out", "doubtful", "contradicted", ""}
        What that comes to; empty where it cannot be told.
    why : str
        The reason, in one sentence.
    """

    word: Word
    support: float = math.nan
    verdict: Verdict = ""
    why: str = ""


class WordGrounder:
    """Says of the words of captions which patches show them, and whether regions bear them out.

    It judges the nouns that the built-in models know and the colours; of all other words it says
    nothing. The built-in models contradict only nouns whose things they were shown in labelled
    regions: a thing known from pictures of it alone may be there unseen.

    Parameters
    ----------
    captioner : Captioner
        A model with a text tower; a ModelError otherwise.

    Examples
    --------
    >>> from napari_patchioner import load_model  # doctest: +SKIP
    >>> grounder = WordGrounder(load_model("mini"))  # doctest: +SKIP
    >>> words = grounder.words(grid, region, "a dog on a sofa")  # doctest: +SKIP
    >>> [word.word.text for word in words if word.verdict == "contradicted"]  # doctest: +SKIP
    """

    def __init__(self, captioner: Captioner) -> None:
        # It refuses models that cannot read.
        PhraseScorer(captioner, "a thing")
        self.captioner = captioner
        self._scorers: OrderedDict[str, PhraseScorer] = OrderedDict()

    def words(self, grid: FeatureGrid, region: Region, text: str) -> tuple[GroundedWord, ...]:
        """Judge every word of a text about a region; a RegionError where that is none.

        Parameters
        ----------
        grid : FeatureGrid
            From ``encode`` of the captioner.
        region : Region
            In image pixels, ``(row, column)``.
        text : str
            A model's caption or a person's.

        Returns
        -------
        tuple of GroundedWord
            In the order of the text, function words included.
        """
        check_grid(grid)
        check_region(region)
        check_text(text, "caption")
        words = read_words(text)
        names = [word.name for word in words if word.kind in ("thing", "part")]
        supports = self.supports(grid, region, names)
        beside = self._beside(grid, region, words, supports)
        colours = self._colours(grid, region, words)
        judged = []
        for word in words:
            support = supports.get(word.name, math.nan)
            if word.denied and support >= SHOWN:
                judged.append(GroundedWord(word, support, "contradicted", _denied(support)))
            elif word.kind == "thing" and not word.absent and word.placed and word.name in beside:
                judged.append(self._judged(grid, word, beside[word.name], "what is around it"))
            elif word.kind == "thing" and not word.absent:
                judged.append(self._judged(grid, word, support))
            elif word.kind == "look" and word.name in colours and not word.absent:
                judged.append(_judged_colour(word, *colours[word.name]))
            else:
                judged.append(GroundedWord(word, why=_unjudged(word)))
        return tuple(judged)

    def supports(self, grid: FeatureGrid, region: Region, names: Sequence[str]) -> dict[str, float]:
        """Return how likely a region shows things of these names, 0 to 1; NaN where unknown."""
        names = list(dict.fromkeys(names))
        if not names:
            return {}
        inside = _Inside(self._cover(grid, region))
        scorers = {name: self._scorer(name) for name in names}
        known = [name for name, scorer in scorers.items() if not self._blind(grid, scorer)]
        # All windows first: a model remembers what it was asked of last.
        best = {name: inside.most(*scorers[name].windows(grid)) for name in known}
        supports = dict.fromkeys(names, math.nan)
        is_read = self._is_read(grid)
        for name in known:
            whole = float(scorers[name].regions(grid, [region])[0])
            most = max(best[name], whole)
            supports[name] = _calibrated(whole, most) if is_read else most
        return supports

    def heat(self, grid: FeatureGrid, region: Region, name: str) -> FloatArray:
        """Return how likely each patch of a region shows a word, shape (rows, columns), 0 to 1.

        Zero outside the region. A ModelError where the model cannot look for that word.
        """
        check_grid(grid)
        check_region(region)
        covered = self._cover(grid, region).dense() > 0
        if name in COLOURS and isinstance(self.captioner.bridge, PhraseReader):
            cells = grid.embeddings.reshape(-1, grid.dim)
            shares = self.captioner.bridge.adjective_strengths(cells, [name])[:, 0]
            heat = shares.reshape(grid.shape)
        else:
            heat = self._scorer(name).patches(grid)
        return np.asarray(np.where(covered, heat, 0), np.float32)

    def agreement(
        self, grid: FeatureGrid, regions: Sequence[Region], texts: Sequence[str]
    ) -> Scores:
        """Return how well texts agree with regions, shape (n,), 0 to 1; NaN where unknown.

        The least support of any noun or colour that can be judged; of what is no photograph how
        near the text as a whole comes to what the built-in models measure, NaN where it speaks of
        more than that, and no more than the support of a colour that is nowhere. A caption of
        several guesses ("cup or bowl?") is as good as the best of them; what is said not to be
        there, and surely is, speaks against it.

        Parameters
        ----------
        grid : FeatureGrid
            From ``encode`` of the captioner.
        regions, texts : sequence
            As many of both; a ModelError otherwise.
        """
        check_grid(grid)
        check_regions(regions)
        check_as_many(texts, regions, "text")
        return np.array(
            [
                self._measured(grid, region, text)
                if self.is_measured(grid)
                else agreement_of(self.words(grid, region, text), text)
                for region, text in zip(regions, texts, strict=True)
            ],
            float,
        )

    def is_measured(self, grid: FeatureGrid) -> bool:
        """Whether texts about an image are compared as a whole: it is no photograph."""
        return isinstance(self.captioner.bridge, PhraseReader) and not self._is_read(grid)

    def meaning(self, name: str) -> set[str]:
        """Return the name and all things it may stand for, as far as the model knows them."""
        return {name, *self._scorer(name).meaning}

    # details

    def _scorer(self, name: str) -> PhraseScorer:
        """Return what looks for a thing; a skier is at least a person."""
        known = self._scorers.get(name)
        if known is None:
            known = PhraseScorer(self.captioner, name)
            if not known.knowledge and kind_of(name) == "person":
                known = PhraseScorer(self.captioner, "person")
            self._scorers[name] = known
            if len(self._scorers) > _KEPT:
                self._scorers.popitem(last=False)
        return known

    def _is_read(self, grid: FeatureGrid) -> bool:
        """Whether an embedded model reads phrases of a photograph."""
        is_reader = isinstance(self.captioner.bridge, PhraseReader)
        return is_reader and grid.measures.get("photograph", 1.0) >= PHOTOGRAPH

    def _blind(self, grid: FeatureGrid, scorer: PhraseScorer) -> bool:
        """Whether the model can see nothing of what is looked for in this image."""
        return bool(scorer.problem(grid)) or (self._is_read(grid) and not scorer.knowledge)

    def _cover(self, grid: FeatureGrid, region: Region) -> PatchWeights:
        return cover(
            region,
            grid.transform,
            weighting=self.captioner.weighting,
            convention=self.captioner.convention,
        )

    def _beside(
        self,
        grid: FeatureGrid,
        region: Region,
        words: Sequence[Word],
        supports: Mapping[str, float],
    ) -> dict[str, float]:
        """Return the support of what a region's thing is said to be at or on, from around it.

        Of those alone that have more of it there than in the region itself.
        """
        names = [
            word.name
            for word in words
            if word.placed and not word.absent and supports[word.name] < BORNE_OUT
        ]
        if not names or region.kind == "image":
            return {}
        bounds, (height, width) = region.bounds(), grid.transform.image_shape
        down = _AROUND * max(bounds.bottom - bounds.top, 1.0)
        along = _AROUND * max(bounds.right - bounds.left, 1.0)
        around = Box(
            max(bounds.top - down, -0.5),
            max(bounds.left - along, -0.5),
            min(bounds.bottom + down, height - 0.5),
            min(bounds.right + along, width - 0.5),
        )
        supports_around = self.supports(grid, around, names)
        return {
            name: support for name, support in supports_around.items() if support > supports[name]
        }

    def _judged(
        self, grid: FeatureGrid, word: Word, support: float, where: str = "the region"
    ) -> GroundedWord:
        name, model = word.text, self.captioner.name
        if math.isnan(support) and self.is_measured(grid):
            return GroundedWord(word, why=NO_PHOTOGRAPH)
        if math.isnan(support):
            scorer = self._scorer(word.name)
            why = (
                scorer.problem(grid) or f"{model} knows {name!r} by name alone, and cannot see it."
            )
            return GroundedWord(word, why=why)
        if support >= BORNE_OUT:
            why = f"{where.capitalize()} shows {name!r} (support {support:.2f})."
            return GroundedWord(word, support, "borne out", why)
        is_vague = word.name in _VAGUE or kind_of(word.name) == _WHOLE_PICTURES
        is_missed = self._scorer(word.name).knowledge != "regions"
        if self._is_read(grid) and (is_vague or is_missed):
            reason = "is a wide word" if is_vague else "is often overlooked"
            return GroundedWord(word, why=f"{model} does not see {name!r} here, but it {reason}.")
        if support >= CONTRADICTED:
            why = f"It is not clear that {where} shows {name!r} (support {support:.2f})."
            return GroundedWord(word, support, "doubtful", why)
        place = "in the region" if where == "the region" else "in the region or around it"
        why = f"Nothing {place} looks like {name!r} (support {support:.2f})."
        return GroundedWord(word, support, "contradicted", why)

    def _colours(
        self, grid: FeatureGrid, region: Region, words: Sequence[Word]
    ) -> dict[str, tuple[float, str]]:
        """Return the strengths of the colours that are named, in the best part of a region.

        With each that is not there one that is near it and is, if any.
        """
        bridge = self.captioner.bridge
        named = list(dict.fromkeys(w.name for w in words if w.kind == "look" and w.name in COLOURS))
        if not named or not isinstance(bridge, PhraseReader):
            return {}
        covered = self._cover(grid, region)
        asked = list(dict.fromkeys([*named, *(n for name in named for n in _NEAR.get(name, ()))]))
        patches = bridge.adjective_strengths(grid.embeddings[covered.dense() > 0], asked)
        most = np.sort(patches, axis=0)[-_FEW:].mean(axis=0)
        few = dict(zip(asked, most.tolist(), strict=True))
        own = {name: few[name] for name in named}
        # To describe all windows of what is no photograph takes long.
        if self._is_read(grid):
            inside = _Inside(covered)
            for name in named:
                best = inside.most(*self._scorer(f"something {name}").windows(grid))
                own[name] = max(own[name], best)
        near = {name: max(_NEAR.get(name, ()), key=few.__getitem__, default="") for name in named}
        return {
            name: (own[name], other if other and few[other] >= _COLOUR else "")
            for name, other in near.items()
        }

    def _measured(self, grid: FeatureGrid, region: Region, text: str) -> float:
        """Return how near a text comes to the description of what is no photograph."""
        if not text.strip():
            return math.nan
        words = self.words(grid, region, text)
        wrong = [word.support for word in words if word.verdict == "contradicted"]
        if not read_phrase(text).is_measured:
            # Of a text that speaks of more no one knows how well the rest agrees.
            return min(wrong, default=math.nan)
        if all(word.word.kind == "look" or word.word.text.casefold() in _EMPTY for word in words):
            return agreement_of(words, text)
        scorer = PhraseScorer(self.captioner, text, whole=True)
        whole = [] if scorer.problem(grid) else [float(scorer.regions(grid, [region])[0])]
        return min((*wrong, *whole), default=math.nan)


class _Inside:
    """Which windows lie in a region."""

    def __init__(self, patches: PatchWeights) -> None:
        dense = np.minimum(patches.dense(), 1.0)
        self._shares = windows.BoxSums(dense[..., None])
        self._masks: dict[int, npt.NDArray[np.bool_]] = {}

    def most(self, boxes: Scores, chances: Scores) -> float:
        """Return the most that any window inside has; 0 where there is none."""
        if len(boxes) not in self._masks:
            self._masks[len(boxes)] = self._shares.means(boxes)[:, 0] >= _COVERED
        return float(chances[self._masks[len(boxes)]].max(initial=0.0))


def judged_words(words: Sequence[GroundedWord]) -> list[GroundedWord]:
    """Return the words of a text that could be judged."""
    return [word for word in words if not math.isnan(word.support)]


def is_judged_whole(words: Sequence[GroundedWord]) -> bool:
    """Whether a text says nothing but what could be judged: "a cat", but not "a cat sleeps"."""
    return bool(judged_words(words)) and all(
        not math.isnan(word.support) or word.word.text.casefold() in _EMPTY for word in words
    )


def account_of(words: Sequence[GroundedWord]) -> str:
    """Say in words what of a text was judged, and what was not."""
    judged = judged_words(words)
    things = [word for word in words if word.word.kind == "thing"]
    unjudged = [word for word in words if math.isnan(word.support)]
    known = [word for word in things if math.isnan(word.support)]
    if not judged:
        reason = next((word.why for word in known or unjudged), "")
        return f"Nothing of it can be judged. {reason}".rstrip()
    titles = {"borne out": "Borne out", "doubtful": "Not clear", "contradicted": "Contradicted"}
    parts = []
    for verdict, title in titles.items():
        names = dict.fromkeys(repr(w.word.text) for w in judged if w.verdict == verdict)
        if names:
            parts.append(f"{title}: {', '.join(names)}")
    if not is_judged_whole(words):
        is_counted = any(_COUNT.fullmatch(word.word.text) for word in unjudged)
        parts.append("all else was not judged" + (", nor how many there are" * is_counted))
    account = f"{'; '.join(parts)}."
    # A colour alone bears nothing out of what a sentence is about.
    return f"{account} {known[0].why}" if known and len(known) == len(things) else account


def agreement_of(words: Sequence[GroundedWord], text: str) -> float:
    """Return the least support of the words that can be judged; NaN where there is none."""
    supports = [
        1 - word.support if word.word.denied else word.support for word in judged_words(words)
    ]
    if not supports:
        return math.nan
    return max(supports) if text.rstrip().endswith("?") else min(supports)


def _calibrated(whole: float, most: float) -> float:
    """Return how likely a region shows a thing, of its chance in it all and in its best window."""
    return chance_of(_WHOLE * log_odds(whole) + _INSIDE * log_odds(most) + _OFFSET)


def _denied(support: float) -> str:
    return (
        "The sentence says, or may say, that it is not there; the region shows it "
        f"(support {support:.2f})."
    )


def _judged_colour(word: Word, strength: float, near: str = "") -> GroundedWord:
    if strength >= _COLOUR:
        return GroundedWord(word, strength, "borne out", f"There is {word.text!r} in the region.")
    if strength >= _NO_COLOUR or word.name in _SHADES or near:
        why = f"There is hardly any {word.text!r} in the region"
        why = f"{why}, but {near!r}, which is near it." if near else f"{why}."
        return GroundedWord(word, strength, "doubtful", why)
    return GroundedWord(word, strength, "contradicted", f"Nothing in the region is {word.text!r}.")


def _unjudged(word: Word) -> str:
    """Return why nothing is said of a word."""
    if word.absent:
        return (
            "The sentence says, or may say, that it is not there; that is judged only of a thing "
            "that the region surely shows."
        )
    if word.is_name:
        return "It is written as a name; names are not judged."
    if word.kind == "part":
        return "It says of which kind the next word is; the two are judged together."
    if word.kind == "look":
        return "How dark or rough something is depends on what is beside it; that is not judged."
    return "No thing or colour that the built-in models know in English; only those are judged."
