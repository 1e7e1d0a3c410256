"""The metrics by name: what each is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ModelError

from .dense_map import DenseImage, dense_map
from .diversity import distinct
from .java import JavaMeteor, JavaSpice
from .mention import mentions
from .metric import Captioned, Metric, Scored
from .overlap import bleu, cider_d, rouge_l


def _open_clip(clip: Path | None, _pac: Path | None) -> object:
    if clip is None:
        raise ModelError("CLIPScore needs a CLIP ViT-B/32; name its folder by --clip DIR.")
    from .clip_judge import ClipJudge

    return ClipJudge.open(clip)


def _open_pac(clip: Path | None, pac: Path | None) -> object:
    if clip is None or pac is None:
        raise ModelError(
            "PAC-S needs its tuned weights and the CLIP ViT-B/32 they were tuned from; name them "
            "by --pac FILE and --clip DIR."
        )
    from .clip_judge import ClipJudge

    return ClipJudge.open(clip, pac)


OPENERS: Mapping[str, Callable[[Path | None, Path | None], object]] = {
    "meteor": lambda _clip, _pac: JavaMeteor(),
    "spice": lambda _clip, _pac: JavaSpice(),
    "clip": _open_clip,
    "pac": _open_pac,
}
"""How to open each tool, by the name that metrics know it by; some need the weights of a CLIP."""


def open_tools(
    task: str,
    names: Sequence[str],
    say: Callable[[str], None],
    clip: Path | None = None,
    pac: Path | None = None,
) -> dict[str, Any]:
    """Open what the metrics of a run need, by name.

    A tool of a metric that is asked for by name and is not there is a ModelError, which says how to
    get it; where no metric is named, all of the task are meant, and ``say`` gets a sentence about
    each that is left out and why. ``clip`` is the folder of a CLIP ViT-B/32 in the form of the
    Hugging Face hub, ``pac`` the weights of PAC-S, tuned from that CLIP.
    """
    chosen = [METRICS[name] for name in names]
    chosen = chosen or [metric for metric in METRICS.values() if task in metric.tasks]
    tools = {}
    for need in dict.fromkeys(need for metric in chosen for need in metric.needs):
        try:
            tools[need] = OPENERS[need](clip, pac)
        except ModelError as error:
            if names:
                raise
            say(f"left out: {error}")
    return tools


def _each(score: Callable[[Captioned], npt.ArrayLike]) -> Callable[[Captioned], Scored]:
    """Return a metric that is the mean of its items."""

    def scored(given: Captioned) -> Scored:
        # A corpus without captions has no document frequencies, nor is there anything to embed.
        items = np.asarray(score(given) if given.candidates else [], np.float64)
        known = items[~np.isnan(items)]
        return Scored(float(known.mean()) if known.size else float("nan"), items)

    return scored


def _bleu(size: int) -> Callable[[Captioned], Scored]:
    def score(given: Captioned) -> Scored:
        corpus = bleu(given.candidates, given.references, size)[-1] if given.candidates else np.nan
        pairs = zip(given.candidates, given.references, strict=True)
        return Scored(float(corpus), np.array([bleu([c], [r], size)[-1] for c, r in pairs]))

    return score


def _by_java(tool: str) -> Callable[[Captioned], Scored]:
    def score(given: Captioned) -> Scored:
        scored: Scored = given.tools[tool].score(given.candidates, given.references)
        return scored

    return score


def _judged(tool: str, question: str) -> Callable[[Captioned], Scored]:
    """Return a metric that is a question to a `ClipJudge`, the name of its method."""
    return _each(lambda given: getattr(given.tools[tool], question)(given))


def _dense(part: str) -> Callable[[Captioned], Scored]:
    """Return a part of dense-captioning mAP of given boxes."""

    def score(given: Captioned) -> Scored:
        places: dict[str, list[int]] = {}
        for place, image in enumerate(given.images):
            places.setdefault(image, []).append(place)
        images = []
        for inside in places.values():
            own = given.take(inside)
            bounds = [region.bounds() for region in own.regions]
            # Pixel corners at integers.
            boxes = np.array([(b.left, b.top, b.right, b.bottom) for b in bounds]) + 0.5
            texts = [references[0] for references in own.references]
            images.append(DenseImage(boxes, texts, boxes, own.candidates, own.scores))
        return Scored(getattr(dense_map(images, given.tools["meteor"].items), part))

    return score


def _distinct(size: int) -> Callable[[Captioned], Scored]:
    return lambda given: Scored(distinct(given.candidates, size))


def _self_retrieval(given: Captioned) -> list[float]:
    return [np.nan if item is None else item for item in given.found]


def _mention(given: Captioned) -> list[float]:
    pairs = zip(given.candidates, given.categories, strict=True)
    return [mentions(caption, name) if name else np.nan for caption, name in pairs]


_REGIONS = ("dense", "region-set", "trace")
_DENSE, _IMAGE = ("dense",), ("image",)
_METEOR, _CLIP, _PAC = ("meteor",), ("clip",), ("pac",)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(Metric(f"bleu{size}", f"BLEU-{size}", _bleu(size), mean=False) for size in (1, 2, 3, 4)),
        Metric("meteor", "METEOR", _by_java("meteor"), mean=False, needs=_METEOR),
        Metric("rouge_l", "ROUGE-L", _each(lambda it: rouge_l(it.candidates, it.references))),
        Metric("cider_d", "CIDEr-D", _each(lambda it: cider_d(it.candidates, it.references))),
        Metric("spice", "SPICE", _by_java("spice"), needs=("spice",)),
        # A caption of a region has no image of its own, so scores with images are for whole ones.
        Metric("clip_score", "CLIP-S", _judged("clip", "with_images"), True, _IMAGE, _CLIP),
        Metric("ref_clip_score", "RefCLIP-S", _judged("clip", "with_both"), True, _IMAGE, _CLIP),
        Metric("pac_s", "PAC-S", _judged("pac", "with_images"), True, _IMAGE, _PAC),
        Metric("ref_pac_s", "RefPAC-S", _judged("pac", "with_references"), needs=_PAC),
        Metric("dense_map", "mAP", _dense("mean"), False, _DENSE, _METEOR),
        Metric("det_map", "detmAP", _dense("detection"), False, _DENSE, _METEOR),
        Metric("mention", "category named", _each(_mention)),
        Metric("distinct1", "distinct-1", _distinct(1), mean=False),
        Metric("distinct2", "distinct-2", _distinct(2), mean=False),
        Metric("self_retrieval", "self-retrieval", _each(_self_retrieval), tasks=_REGIONS),
    )
}
