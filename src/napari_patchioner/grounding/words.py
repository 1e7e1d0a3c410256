"""Why a caption says a word: the patches that show it, and whether the region bears it out."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.bridges import PhraseReader
from napari_patchioner.decoders.grounded.vocabulary import COLOURS
from napari_patchioner.grids import PHOTOGRAPH, FeatureGrid
from napari_patchioner.regions import PatchWeights, Region, cover

from . import windows
from .arguments import check_as_many, check_grid, check_region, check_regions, check_text
from .scorer import PhraseScorer
from .sentence import Word, kind_of, read_words

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner

FloatArray: TypeAlias = npt.NDArray[np.float32]
Scores: TypeAlias = npt.NDArray[np.float64]
Verdict: TypeAlias = Literal["borne out", "doubtful", "contradicted", ""]

CONTRADICTED, BORNE_OUT = 0.1, 0.5
"""A noun with less support is marked as wrong; one with at least so much is there."""

# Log-odds of a noun of which regions were labelled, of its chance in the region as a whole and in
# the best window inside it; fitted to boxes and captions of COCO's development images.
_WHOLE, _INSIDE, _OFFSET = 0.416, 0.465, 2.29
_LEAST = 1e-3
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
# So few patches are a part of a region that a colour may be that of.
_FEW = 10
# What is in shade or in bright light has these, whatever it is called.
_SHADES = ("black", "white", "gray")
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
        NaN where it cannot be told.
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
        colours = self._colours(grid, region, words)
        judged = []
        for word in words:
            if word.kind == "thing" and not word.absent:
                judged.append(self._judged(grid, word, supports[word.name]))
            elif word.kind == "look" and word.name in colours and not word.absent:
                judged.append(_judged_colour(word, colours[word.name]))
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
        near the text as a whole comes to what the built-in models measure. A caption of several
        guesses ("cup or bowl?") is as good as the best of them.

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
                agreement_of(self.words(grid, region, text), text)
                if self._is_read(grid) or not isinstance(self.captioner.bridge, PhraseReader)
                else self._measured(grid, region, text)
                for region, text in zip(regions, texts, strict=True)
            ],
            float,
        )

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

    def _judged(self, grid: FeatureGrid, word: Word, support: float) -> GroundedWord:
        name, model = word.text, self.captioner.name
        if math.isnan(support):
            scorer = self._scorer(word.name)
            why = (
                scorer.problem(grid) or f"{model} knows {name!r} by name alone, and cannot see it."
            )
            return GroundedWord(word, why=why)
        if support >= BORNE_OUT:
            why = f"The region shows {name!r} (support {support:.2f})."
            return GroundedWord(word, support, "borne out", why)
        is_vague = word.name in _VAGUE or kind_of(word.name) == _WHOLE_PICTURES
        is_missed = self._scorer(word.name).knowledge != "regions"
        if self._is_read(grid) and (is_vague or is_missed):
            reason = "is a wide word" if is_vague else "is often overlooked"
            return GroundedWord(word, why=f"{model} does not see {name!r} here, but it {reason}.")
        if support >= CONTRADICTED:
            why = f"It is not clear that the region shows {name!r} (support {support:.2f})."
            return GroundedWord(word, support, "doubtful", why)
        why = f"Nothing in the region looks like {name!r} (support {support:.2f})."
        return GroundedWord(word, support, "contradicted", why)

    def _colours(
        self, grid: FeatureGrid, region: Region, words: Sequence[Word]
    ) -> dict[str, float]:
        """Return the strengths of the colours that are named, in the best part of a region."""
        bridge = self.captioner.bridge
        named = list(dict.fromkeys(w.name for w in words if w.kind == "look" and w.name in COLOURS))
        if not named or not isinstance(bridge, PhraseReader):
            return {}
        covered = self._cover(grid, region)
        patches = bridge.adjective_strengths(grid.embeddings[covered.dense() > 0], named)
        few = np.sort(patches, axis=0)[-_FEW:].mean(axis=0)
        if not self._is_read(grid):
            # To describe all windows of what is no photograph takes long.
            return dict(zip(named, few.tolist(), strict=True))
        inside = _Inside(covered)
        return {
            name: max(float(most), inside.most(*self._scorer(f"something {name}").windows(grid)))
            for name, most in zip(named, few, strict=True)
        }

    def _measured(self, grid: FeatureGrid, region: Region, text: str) -> float:
        """Return how near a text comes to the description of what is no photograph."""
        if not text.strip():
            return math.nan
        scorer = PhraseScorer(self.captioner, text, whole=True)
        return math.nan if scorer.problem(grid) else float(scorer.regions(grid, [region])[0])


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


def agreement_of(words: Sequence[GroundedWord], text: str) -> float:
    """Return the least support of the words that can be judged; NaN where there is none."""
    supports = [word.support for word in words if not math.isnan(word.support)]
    if not supports:
        return math.nan
    return max(supports) if text.rstrip().endswith("?") else min(supports)


def _calibrated(whole: float, most: float) -> float:
    """Return how likely a region shows a thing, of its chance in it all and in its best window."""
    odds = _WHOLE * _log_odds(whole) + _INSIDE * _log_odds(most) + _OFFSET
    return 1 / (1 + math.exp(-odds))


def _log_odds(chance: float) -> float:
    return math.log((chance + _LEAST) / (1 - chance + _LEAST))


def _judged_colour(word: Word, strength: float) -> GroundedWord:
    if strength >= _COLOUR:
        return GroundedWord(word, strength, "borne out", f"There is {word.text!r} in the region.")
    if strength >= _NO_COLOUR or word.name in _SHADES:
        why = f"There is hardly any {word.text!r} in the region."
        return GroundedWord(word, strength, "doubtful", why)
    return GroundedWord(word, strength, "contradicted", f"Nothing in the region is {word.text!r}.")


def _unjudged(word: Word) -> str:
    """Return why nothing is said of a word."""
    if word.absent:
        return "The sentence says, or may say, that it is not there; that is not judged."
    if word.is_name:
        return "It is written as a name; names are not judged."
    if word.kind == "part":
        return "It says of which kind the next word is; the two are judged together."
    if word.kind == "look":
        return "How dark or rough something is depends on what is beside it; that is not judged."
    return "No thing or colour that the built-in models know; only those are judged."
