"""Talk2DINO's projection, learned from pictures and their captions (Barsellotti et al. 2025)."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.backbones.base import Backbone, class_attention
from napari_patchioner.backbones.dino import DinoBackbone
from napari_patchioner.backbones.talk2dino import ProjectionLayers
from napari_patchioner.checkpoints import write_state
from napari_patchioner.devices import CPU, Placement, to_numpy, torch_cores
from napari_patchioner.errors import ImageError, ModelError
from napari_patchioner.evaluation.datasets.forms import open_dataset
from napari_patchioner.evaluation.datasets.image_folder import ImageFolder
from napari_patchioner.images import read_image
from napari_patchioner.progress import Progress, no_progress, part

from .bridge import Embeds
from .corpus import read_caption_table
from .loop import Outcome, Rows, Settings, seeded, train

Alignment: TypeAlias = Literal["max", "weighted"]

ALIGNMENTS: tuple[Alignment, ...] = ("max", "weighted")
WEIGHTS = "projection.safetensors"
PROJECTION_SETTINGS = Settings(
    steps=20_000,
    batch=128,
    learning_rate=1e-4,
    warmup=0,
    pace="constant",
    weight_decay=0.0,
    clip=0.0,
    check_every=500,
)
"""What the paper trains with: Adam, no schedule, batches of 128."""
# Of the softmax over heads, where they are weighted.
_SHARPNESS = 0.07
_FIRST_SCALE = math.log(1 / 0.07)
_LEAST, _MOST_HELD, _EVERY = 8, 1000, 20
# Pictures encoded, and texts embedded, between two notes of how far it is.
_PICTURES, _TEXTS = 16, 256


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and what people wrote of it."""

    image: Path
    captions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProjectionScores:
    """How well held-out captions and pictures meet.

    ``recall_1`` and ``recall_5`` say of how many captions their own picture is the nearest, or one
    of the nearest five, of all ``measured``; by chance it would be ``1 / measured``.
    """

    pictures: int
    measured: int
    loss: float
    recall_1: float
    recall_5: float


def read_pairs(captions: str | Path, images: str | Path) -> tuple[list[Pair], list[str]]:
    """Read pictures with captions, and the names of pictures that are not there.

    ``captions`` is COCO's or Karpathy's JSON, or a table (``.csv``) with the columns ``image`` and
    ``caption``; ``images`` is the folder, with those inside it. A FormatError or ImageError in one
    sentence where they cannot be read, or no picture is there.
    """
    captions, folder = Path(captions), ImageFolder(Path(images), skip_missing=True)
    rows: Iterable[tuple[str, Sequence[str]]]
    if captions.suffix.lower() != ".json":
        rows = ((image, [caption]) for image, caption in read_caption_table(captions))
    else:
        dataset = open_dataset("image", captions, Path(images), skip_missing=True)
        folder = dataset.images
        rows = ((sample.image, sample.references) for sample in dataset.samples())
    texts_of: dict[Path, list[str]] = {}
    for image, texts in rows:
        if folder.wanted(image):
            texts_of.setdefault(folder.find(image), []).extend(texts)
    pairs = [
        Pair(path, kept)
        for path, texts in texts_of.items()
        if (kept := tuple(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip())))
    ]
    if not pairs:
        raise ImageError(f"{images}: none of the pictures that {captions.name} names is there")
    return pairs, list(folder.missing)


def head_vectors(backbone: Backbone, image: npt.ArrayLike) -> npt.NDArray[np.float32]:
    r"""Return what each attention head of a backbone's last layer looks at, shape (heads, dim).

    :math:`v_h = \sum_p a_{hp} v_p`, the patch embeddings weighted by the attention of the class
    token in head :math:`h`. One row where a backbone has its attention averaged over heads alone;
    a ModelError where it has none.
    """
    if isinstance(backbone, DinoBackbone):
        pixels, _ = backbone.preprocessing(image)
        with torch_cores(), torch.inference_mode():
            tokens = backbone.vision.encode(backbone.placement.put(pixels))
            patches = to_numpy(backbone.refine(tokens)[0]).reshape(-1, backbone.dim)
        vision = backbone.vision
        qkv = to_numpy(tokens.qkv)
        maps = class_attention(qkv, vision.heads, vision.global_tokens, per_head=True)
        return np.asarray(maps @ patches, np.float32)
    grid = backbone.encode(image)
    if grid.attention is None:
        raise ModelError(
            f"{backbone.name} has no attention, which tells what a caption may be about; choose a "
            "vision transformer such as DINOv2."
        )
    weighted = grid.attention.reshape(1, -1) @ grid.embeddings.reshape(-1, grid.dim)
    return np.asarray(weighted, np.float32)


def similarities(heads: Tensor, texts: Tensor, how: Alignment = "max") -> Tensor:
    r"""Return how similar pictures and texts are, shape (pictures, texts).

    ``heads`` has the shape (pictures, heads, dim), ``texts`` (texts, dim). With cosines
    :math:`c_h`, ``"max"`` is :math:`\max_h c_h` as in the paper, ``"weighted"``
    :math:`\sum_h w_h c_h` with :math:`w = \mathrm{softmax}(c / 0.07)`.
    """
    cosines = torch.einsum(
        "nhd,md->nmh", functional.normalize(heads, dim=-1), functional.normalize(texts, dim=-1)
    )
    if how == "max":
        return cosines.amax(-1)
    return ((cosines / _SHARPNESS).softmax(-1) * cosines).sum(-1)


def info_nce(similar: Tensor, scale: Tensor | float) -> Tensor:
    r"""Return the InfoNCE loss of a square of similarities whose diagonal are the pairs.

    :math:`-\frac{1}{2B} \sum_i \left[ \log \frac{e^{s c_{ii}}}{\sum_j e^{s c_{ij}}} +
    \log \frac{e^{s c_{ii}}}{\sum_j e^{s c_{ji}}} \right]`. The published code divides by
    :math:`B^2` besides, which Adam does not notice.
    """
    logits = similar * scale
    own = torch.arange(len(logits), device=logits.device)
    both = functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)
    return both / 2


class _Aligner(nn.Module):
    """The projection and the temperature of its loss."""

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.layers = ProjectionLayers(text_dim, dim)
        self.logit_scale = nn.Parameter(torch.tensor(_FIRST_SCALE))


def train_projection(
    pairs: Sequence[Pair],
    backbone: Backbone,
    tower: Embeds,
    folder: str | Path,
    *,
    settings: Settings = PROJECTION_SETTINGS,
    alignment: Alignment = "max",
    placement: Placement = CPU,
    progress: Progress | None = None,
) -> tuple[Outcome, ProjectionScores]:
    """Train the projection that puts a tower's texts among a backbone's patches.

    Backbone and tower stay as they are. What they make of pictures and captions is computed once
    and kept in files of the folder, which are read piece by piece; the projection then learns to
    bring a caption close to what the best head looks at, and far from other pictures of a batch. Of
    a picture with several captions every step takes one by chance. Interrupted at any time, it goes
    on from there.

    Parameters
    ----------
    pairs : sequence of Pair
        See `read_pairs`; every twentieth picture is held out, a thousand at most.
    backbone : Backbone
        One with attention, such as a DINO.
    tower : Embeds
        A text tower, such as that of CLIP.
    folder : path
        Gets ``projection.safetensors``, which `Talk2DINO` reads, and the kept features.
    settings, placement
        As of `train`.
    alignment : {"max", "weighted"}
        See `similarities`.
    progress : callable, optional
        Called with the fraction done and a message; may raise ``Cancelled``.

    Raises
    ------
    ModelError
        There are too few pairs, the backbone has no attention, or the folder holds a training of
        something else.
    """
    if alignment not in ALIGNMENTS:
        raise ModelError(f"The alignment is {' or '.join(ALIGNMENTS)}, not {alignment!r}.")
    if len(pairs) < _LEAST:
        raise ModelError(
            f"A projection needs {_LEAST} pictures or more, and thousands to be good, not "
            f"{len(pairs)}."
        )
    folder, report = Path(folder), progress or no_progress
    folder.mkdir(parents=True, exist_ok=True)
    made_of = {
        "backbone": backbone.name,
        "tower": dict(tower.provenance),
        "pairs": _digest(pairs),
    }
    stamp = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    heads, texts, firsts = _features(pairs, backbone, tower, folder, stamp, part(report, 0, 0.5))
    # Pictures that could not be read are rows of zeros.
    usable = np.flatnonzero([bool(row.any()) for row in heads])
    if len(usable) < _LEAST:
        raise ModelError(
            f"Only {len(usable)} of the pictures could be read; a projection needs {_LEAST} or "
            "more."
        )
    held = usable[_EVERY - 1 :: _EVERY][:_MOST_HELD] if len(usable) >= 2 * _EVERY else usable[-2:]
    rest = np.setdiff1d(usable, held)
    network = seeded(lambda: _Aligner(texts.shape[1], heads.shape[2]), settings.seed)

    def batch(rows: Rows, chosen: Rows) -> Tensor:
        device = network.logit_scale.device
        seen = torch.from_numpy(np.asarray(heads[rows], np.float32)).to(device)
        said = torch.from_numpy(np.asarray(texts[chosen], np.float32)).to(device)
        return similarities(seen, network.layers(said), alignment)

    def loss(rows: Rows) -> Tensor:
        # A picture comes once a batch: the same one would be its own counterexample.
        images = rest[np.unique(rows)]
        counts = firsts[images + 1] - firsts[images]
        chosen = firsts[images] + np.floor(torch.rand(len(images)).numpy() * counts).astype(
            np.int64
        )
        return info_nce(batch(images, chosen), network.logit_scale.exp())

    def held_out() -> float:
        sizes = range(0, len(held), settings.batch)
        losses = []
        for start in sizes:
            rows = held[start : start + settings.batch]
            value = info_nce(batch(rows, firsts[rows]), network.logit_scale.exp())
            losses.append(float(value) * len(rows))
        return sum(losses) / len(held)

    outcome = train(
        network,
        loss,
        held_out,
        rows=len(rest),
        folder=folder,
        settings=settings,
        stamp=f"{stamp}-{alignment}",
        placement=placement,
        progress=part(report, 0.5, 1.0),
    )
    notes = {"vision": getattr(getattr(backbone, "vision", None), "name", backbone.name)}
    notes |= {"text": json.dumps(dict(tower.provenance))}
    write_state(folder / WEIGHTS, network.layers.state_dict(), **notes)
    with torch.inference_mode():
        near = batch(held, firsts[held]).T.numpy()
    places = (near > np.diag(near)[:, None]).sum(1)
    scores = ProjectionScores(
        pictures=len(rest),
        measured=len(held),
        loss=outcome.best.held_out,
        recall_1=float((places < 1).mean()),
        recall_5=float((places < 5).mean()),
    )
    return outcome, scores


def _digest(pairs: Sequence[Pair]) -> str:
    """Return a hash of what the pictures are called and said to show."""
    digest = hashlib.sha256()
    for pair in pairs:
        size = pair.image.stat().st_size if pair.image.is_file() else 0
        digest.update(json.dumps([pair.image.name, size, pair.captions]).encode())
    return digest.hexdigest()


def _features(
    pairs: Sequence[Pair],
    backbone: Backbone,
    tower: Embeds,
    folder: Path,
    stamp: str,
    progress: Progress,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Rows]:
    """Return heads (pictures, heads, dim), texts (captions, text_dim), and where captions begin."""
    firsts = np.cumsum([0, *(len(pair.captions) for pair in pairs)])
    captions = [text for pair in pairs for text in pair.captions]
    shape: tuple[int, ...] = ()

    def encoded(start: int, end: int) -> npt.NDArray[np.float32]:
        nonlocal shape
        rows: list[npt.NDArray[np.float32] | None] = []
        for pair in pairs[start:end]:
            try:
                rows.append(head_vectors(backbone, read_image(pair.image)))
            except ImageError:
                rows.append(None)
        shape = next((row.shape for row in rows if row is not None), shape)
        if not shape:
            raise ImageError(f"{pairs[start].image}: neither this picture nor the next can be read")
        return np.stack([np.zeros(shape, np.float32) if row is None else row for row in rows])

    def reporting(text: str, first: float, last: float) -> Callable[[float], None]:
        share = part(progress, first, last)
        return lambda done: share(done, text)

    heads = _kept(
        folder / "heads.npy",
        len(pairs),
        encoded,
        stamp=stamp,
        at_once=_PICTURES,
        dtype="<f2",
        report=reporting(f"encoding {len(pairs):,} pictures", 0, 0.8),
    )
    texts = _kept(
        folder / "texts.npy",
        len(captions),
        lambda start, end: tower.embed(captions[start:end]),
        stamp=stamp,
        at_once=_TEXTS,
        dtype="<f4",
        report=reporting(f"embedding {len(captions):,} captions", 0.8, 1),
    )
    return heads, texts, firsts


def _kept(
    path: Path,
    count: int,
    make: Callable[[int, int], npt.NDArray[np.float32]],
    *,
    stamp: str,
    at_once: int,
    dtype: str,
    report: Callable[[float], None],
) -> npt.NDArray[Any]:
    """Make rows a few at a time into a file, going on where it stopped, and map it to memory."""
    note, rows = path.with_suffix(".json"), None
    done = 0
    if path.is_file() and note.is_file():
        try:
            state = json.loads(note.read_text(encoding="utf-8"))
            same, done = state["stamp"] == stamp, int(state["done"])
            rows = np.load(path, mmap_mode="r+", allow_pickle=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path} is damaged; remove it and start again.") from error
        if not same or len(rows) != count:
            raise ModelError(
                f"{path.parent} holds features of other pictures, captions or networks; choose "
                "another folder, or start afresh."
            )
    for start in range(done, count, at_once):
        report(start / count)
        end = min(start + at_once, count)
        made = make(start, end)
        if rows is None:
            shape = (count, *made.shape[1:])
            rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        rows[start:end] = made
        rows.flush()
        beside = note.with_name(f".{note.name}.{os.getpid()}.part")
        beside.write_text(json.dumps({"stamp": stamp, "done": end}), encoding="utf-8")
        beside.replace(note)
    report(1.0)
    assert rows is not None
    kept: npt.NDArray[Any] = rows
    return kept
