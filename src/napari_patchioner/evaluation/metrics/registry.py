"""The metrics by name: what each is given and what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_patchioner.errors import ModelError

from .dense_map import DenseImage, dense_map
from .diversity import distinct
from .mention import mentions
from .metric import Captioned, Metric, Places, Scored
from .overlap import bleu, cider_d, rouge_l

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from napari_patchioner.regions import Region

    from .clip_judge import ClipJudge
    from .dense_map import DenseMap

    Array: TypeAlias = npt.NDArray[np.float64]
    Opener: TypeAlias = Callable[["Places"], object]


def _open_meteor(_: Places) -> object:
    from .java import JavaMeteor

    return JavaMeteor()


def _open_spice(_: Places) -> object:
    from .java import JavaSpice

    return JavaSpice()


def _open_clip(places: Places) -> object:
    if places.clip is None:
        raise ModelError("CLIPScore needs a CLIP ViT-B/32; name its folder by --clip DIR.")
    from .clip_judge import ClipJudge

    return ClipJudge.open(places.clip)


def _open_pac(places: Places) -> object:
    if places.clip is None or places.pac is None:
        raise ModelError(
            "PAC-S needs its tuned weights and the CLIP ViT-B/32 they were tuned from; name them "
            "by --pac FILE and --clip DIR."
        )
    from .clip_judge import ClipJudge

    return ClipJudge.open(places.clip, places.pac)


NOWHERE = Places()
# How to open each tool, by the name that metrics know it by.
OPENERS: Mapping[str, Opener] = {
    "meteor": _open_meteor,
    "spice": _open_spice,
    "clip": _open_clip,
    "pac": _open_pac,
}


def open_tools(
    task: str,
    names: Sequence[str],
    say: Callable[[str], None],
    places: Places = NOWHERE,
    openers: Mapping[str, Opener] = OPENERS,
) -> dict[str, Any]:
    """Open what the metrics of a run need.

    Parameters
    ----------
    task : {"image", "dense", "region-set", "trace"}
    names : sequence of str
        Metrics asked for by name: a tool of theirs that is not there is an error. Where none is
        named, all metrics of the task are meant, and a tool that is not there is only reported.
    say : callable
        Given one sentence about what is left out and why.
    places : Places
        Where the files of tools lie.
    openers : mapping
        How to open each tool.

    Returns
    -------
    dict
        Opened tools by name.

    Raises
    ------
    ModelError
        A tool of a metric asked for by name is not there; the sentence says how to get it.
    """
    if names:
        needed = dict.fromkeys(need for name in names for need in METRICS[name].needs)
        return {need: openers[need](places) for need in needed}
    needed = {n: None for item in METRICS.values() if task in item.tasks for n in item.needs}
    tools = {}
    for need in needed:
        try:
            tools[need] = openers[need](places)
        except ModelError as error:
            say(f"left out: {error}")
    return tools


def _mean(items: npt.NDArray[np.float64]) -> Scored:
    known = items[~np.isnan(items)]
    return Scored(float(known.mean()) if known.size else float("nan"), items)


def _bleu(size: int) -> Callable[[Captioned], Scored]:
    def score(given: Captioned) -> Scored:
        corpus = bleu(given.candidates, given.references, size)[-1] if given.candidates else np.nan
        pairs = zip(given.candidates, given.references, strict=True)
        return Scored(float(corpus), np.array([bleu([c], [r], size)[-1] for c, r in pairs]))

    return score


def _cider(given: Captioned) -> Scored:
    # A corpus without references has no document frequencies.
    if not given.candidates:
        return Scored(float("nan"), np.empty(0))
    return _mean(cider_d(given.candidates, given.references))


def _rouge(given: Captioned) -> Scored:
    return _mean(rouge_l(given.candidates, given.references))


def _meteor(given: Captioned) -> Scored:
    scored: Scored = given.tools["meteor"].score(given.candidates, given.references)
    return scored


def _spice(given: Captioned) -> Scored:
    scored: Scored = given.tools["spice"].score(given.candidates, given.references)
    return scored


def _judged(tool: str, ask: Callable[[ClipJudge, Captioned], Array]) -> Callable[..., Scored]:
    def score(given: Captioned) -> Scored:
        if not given.candidates:
            return Scored(float("nan"), np.empty(0))
        return _mean(ask(given.tools[tool], given))

    return score


def _with_images(judge: ClipJudge, given: Captioned) -> Array:
    return judge.with_images(given)


def _with_references(judge: ClipJudge, given: Captioned) -> Array:
    return judge.with_references(given)


def _with_both(judge: ClipJudge, given: Captioned) -> Array:
    return judge.with_both(given)


def _dense(pick: Callable[[DenseMap], float]) -> Callable[[Captioned], Scored]:
    def score(given: Captioned) -> Scored:
        result = dense_map(dense_images(given), given.tools["meteor"].items)
        return Scored(pick(result))

    return score


def dense_images(given: Captioned) -> list[DenseImage]:
    """Gather captions of given boxes by image, for `dense_map`.

    Returns
    -------
    list of DenseImage
        Boxes as ``x1, y1, x2, y2`` with pixel corners at integers.
    """
    places: dict[str, list[int]] = {}
    for place, image in enumerate(given.images):
        places.setdefault(image, []).append(place)
    results = []
    for inside in places.values():
        boxes = np.array([_corners(given.regions[place]) for place in inside])
        texts = [given.references[place][0] for place in inside]
        captions = [given.candidates[place] for place in inside]
        scores = [given.scores[place] for place in inside]
        results.append(DenseImage(boxes, texts, boxes, captions, scores))
    return results


def _corners(region: Region) -> Sequence[float]:
    box = region.bounds()
    return [edge + 0.5 for edge in (box.left, box.top, box.right, box.bottom)]


def _distinct(size: int) -> Callable[[Captioned], Scored]:
    return lambda given: Scored(distinct(given.candidates, size))


def _self_retrieval(given: Captioned) -> Scored:
    return _mean(np.array([np.nan if item is None else item for item in given.found], dtype=float))


def _mention(given: Captioned) -> Scored:
    pairs = zip(given.candidates, given.categories, strict=True)
    return _mean(
        np.array([mentions(c, name) if name else np.nan for c, name in pairs], dtype=float)
    )


_REGIONS = ("dense", "region-set", "trace")
_DENSE = ("dense",)
_IMAGE = ("image",)
_TOOL = ("meteor",)
_CLIP, _PAC = ("clip",), ("pac",)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(Metric(f"bleu{size}", f"BLEU-{size}", _bleu(size), mean=False) for size in (1, 2, 3, 4)),
        Metric("meteor", "METEOR", _meteor, mean=False, needs=_TOOL),
        Metric("rouge_l", "ROUGE-L", _rouge),
        Metric("cider_d", "CIDEr-D", _cider),
        Metric("spice", "SPICE", _spice, needs=("spice",)),
        # A caption of a region has no image of its own, so scores with images are for whole ones.
        Metric("clip_score", "CLIP-S", _judged("clip", _with_images), True, _IMAGE, _CLIP),
        Metric("ref_clip_score", "RefCLIP-S", _judged("clip", _with_both), True, _IMAGE, _CLIP),
        Metric("pac_s", "PAC-S", _judged("pac", _with_images), True, _IMAGE, _PAC),
        Metric("ref_pac_s", "RefPAC-S", _judged("pac", _with_references), needs=_PAC),
        Metric("dense_map", "mAP", _dense(lambda it: it.mean), False, _DENSE, _TOOL),
        Metric("det_map", "detmAP", _dense(lambda it: it.detection), False, _DENSE, _TOOL),
        Metric("mention", "category named", _mention),
        Metric("distinct1", "distinct-1", _distinct(1), mean=False),
        Metric("distinct2", "distinct-2", _distinct(2), mean=False),
        Metric("self_retrieval", "self-retrieval", _self_retrieval, tasks=_REGIONS),
    )
}
