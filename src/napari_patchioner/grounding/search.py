"""What a phrase says in images of any size: on all of it at once, and part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from napari_patchioner.images import Level, Levels
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.progress import part as share
from napari_patchioner.regions import Box
from napari_patchioner.teaching import Proposal
from napari_patchioner.teaching.search import Part, distinct, lay_heat, parts_of

from .scorer import PhraseScorer, unlike

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import FeatureGrid, GridStore

FloatArray: TypeAlias = npt.NDArray[np.float32]

OVERVIEW = 1024
"""Long side, in pixels, of the size of an image in which it is searched as a whole."""
FINEST = 8192
"""Long side, in pixels, of the largest size of an image that is searched part by part."""

# Things of this side, in pixels of a part, are whole in one part or another.
_THING = 128.0
# Of two that are much the same box that of the whole image, which is looser, counts so much.
_LOOSE = 0.8
# A part shows a thing without what is around it, and is taken for more than it is.
_CLOSE = 0.8
# Side of a cell of a heat map, in pixels of what is searched part by part.
_CELL = 16


@dataclass(frozen=True, eq=False, slots=True)
class PhraseFound:
    """What came of a search of one plane.

    Attributes
    ----------
    proposals : list of Proposal
        Boxes in pixels of the plane, the likeliest first.
    heat : ndarray of float32, shape (rows, columns)
        How likely each place shows the phrase, 0 to 1; cells that cover the plane.
    photograph : float or None
        How likely the image is a photograph; None where the model does not say.
    problem : str
        Why the phrase cannot be found in this image, in a sentence; there are no proposals then.
    """

    proposals: list[Proposal]
    heat: FloatArray
    photograph: float | None
    problem: str = ""


def is_searched_in_parts(shape: tuple[int, int]) -> bool:
    """Whether a plane of this shape, in pixels, is so large that it is searched part by part."""
    return len(parts_of(shape, (_THING, _THING))) > 1


def find_in_levels(
    captioner: Captioner,
    scorer: PhraseScorer,
    levels: Levels,
    *,
    grid: FeatureGrid | None = None,
    in_parts: bool = True,
    least: float = 0.01,
    store: GridStore | None = None,
    progress: Progress | None = None,
) -> PhraseFound:
    """Find what a phrase says on one plane of an image of any size.

    A large one is encoded as a whole, in a smaller size, and in parts of 1,024 pixels that overlap
    by two things of 128: small things are lost in the one, and large ones in the other. Of two that
    are much the same box one is kept, rather that of a part, whose boxes are tighter.

    Parameters
    ----------
    captioner : Captioner
        What the scorer was made with.
    scorer : PhraseScorer
        The phrase.
    levels : Levels
        The plane, whose pixels stay as they are: of one that is searched again with the same
        ``store``, parts are not read again.
    grid : FeatureGrid, optional
        Of the whole plane, where that is known already.
    in_parts : bool
        Whether a large plane is searched part by part as well, in at most `FINEST` pixels.
    least : float
        The score that a proposal has at least.
    store : GridStore, optional
        Asked for grids before anything is encoded, and given the new ones.
    progress : callable, optional
        Is told how far it is; may raise ``Cancelled``.
    """
    progress = progress or no_progress
    sizes = levels.down_to(OVERVIEW)
    parts: list[Part] = []
    if in_parts and is_searched_in_parts(levels.shape):
        fine = next((size for size in sizes if size.long_side <= FINEST), sizes[-1])
        parts = parts_of(fine.shape, (_THING, _THING))
    if grid is None:
        small, within = sizes[-1], share(progress, 0.0, 1 / (1 + len(parts)))
        pixels = levels.rgb(small.read(0, 0, *small.shape, share(within, 0.0, 0.5)))
        encoded = captioner.encode(pixels, store=store, progress=share(within, 0.5, 1.0))
        enlarge = _enlarging(levels.shape, small.shape)
    else:
        encoded, enlarge = grid, _enlarging(levels.shape, grid.transform.image_shape)
    photograph = encoded.measures.get("photograph")
    if problem := scorer.problem(encoded):
        return PhraseFound([], np.zeros((1, 1), np.float32), photograph, problem)
    heat = scorer.heat(encoded)
    scored = [replace(p, box=enlarge(p.box)) for p in scorer.proposals(encoded, least=least)]
    of_whole = len(scored)
    if parts:
        whole = np.zeros([max(1, round(side / _CELL)) for side in fine.shape], np.float32)
        lay_heat(whole, heat, Part(0, 0, *fine.shape), fine.shape)
        heat, enlarge = whole, _enlarging(levels.shape, fine.shape)
    for number, part in enumerate(parts, start=1):
        message = f"searching part {number} of {len(parts)}"
        within = share(progress, number / (1 + len(parts)), (number + 1) / (1 + len(parts)))
        within(0.0, message)
        own = _encoded(captioner, levels, fine, part, store, within)
        # What the whole picture is does not change with a part of it, such as a clear sky.
        own = replace(own, measures={**own.measures, **_kind_of(photograph)})
        lay_heat(heat, scorer.heat(own), part, fine.shape)
        scored += [
            replace(p, box=enlarge(part.moved(p.box)), score=_CLOSE * p.score)
            for p in scorer.proposals(own, least=least / _CLOSE)
            if not part.cuts(p.box, fine.shape)
        ]
    progress(1.0, "done")
    if not parts:
        return PhraseFound(scored, heat, photograph)
    kept: list[Proposal] = []
    # Of each thing that is looked for by itself: one may lie on the other.
    for text in dict.fromkeys(proposal.text for proposal in scored):
        ranked = [
            (p.box, str(row), p.score / _CLOSE if row >= of_whole else p.score * _LOOSE)
            for row, p in enumerate(scored)
            if p.text == text
        ]
        kept += [scored[int(row)] for _, row, _ in distinct(ranked, ())]
    return PhraseFound(unlike(kept), heat, photograph)


# Keys of the grids of parts, by model, size and part, of planes that are in use.
_keys: WeakKeyDictionary[Levels, dict[tuple[str, tuple[int, int], Part], str]] = WeakKeyDictionary()


def _encoded(
    captioner: Captioner,
    levels: Levels,
    size: Level,
    part: Part,
    store: GridStore | None,
    progress: Progress,
) -> FeatureGrid:
    """Return the grid of a part; where the store has it, its pixels are read only once.

    To read, shrink and hash them takes longer than to look for a phrase in their grid.
    """
    keys = _keys.setdefault(levels, {})
    place = captioner.backbone.name, size.shape, part
    grid = store.get(keys[place]) if store is not None and place in keys else None
    if grid is None:
        grid = captioner.encode(_read(levels, size, part), store=store, progress=progress)
        keys[place] = grid.key
    return grid


def _read(levels: Levels, size: Level, part: Part) -> npt.NDArray[np.uint8]:
    """Return the pixels of a part of one size of a plane, shape (height, width, 3)."""
    return levels.rgb(size.read(part.top, part.left, part.height, part.width))


def _kind_of(photograph: float | None) -> dict[str, float]:
    return {} if photograph is None else {"photograph": photograph}


def _enlarging(full: tuple[int, int], size: tuple[int, int]) -> Callable[[Box], Box]:
    """Return what makes a box on one size of a plane one on all of it, both (height, width)."""
    down, across = full[0] / size[0], full[1] / size[1]

    def enlarged(box: Box) -> Box:
        top, bottom = ((edge + 0.5) * down - 0.5 for edge in (box.top, box.bottom))
        left, right = ((edge + 0.5) * across - 0.5 for edge in (box.left, box.right))
        return Box(top, left, bottom, right)

    return enlarged
