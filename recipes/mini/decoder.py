"""Train the embedded model's prefix decoder on text alone.

Inputs are weighted bags of concept embeddings with distractors and Gaussian noise (CapDec: the
noise bridges what lies between the embedding of a text and that of a region); targets are the
phrases that may be said of them. Fixed seeds and a fixed number of steps: about twenty minutes
on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from napari_patchioner.decoders import PrefixGPT, PrefixGPTConfig, caption_loss
from napari_patchioner.decoders.grounded.vocabulary import ATTRIBUTES, Words

from ._bags import BagSampler
from .corpus import Reader, read_captions
from .phrases import Writer
from .relations import count_relations
from .vocabulary import EMBEDDED, read_concepts

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_patchioner.decoders.grounded.relations import Relations
    from napari_patchioner.decoders.grounded.vocabulary import Concept

    from .corpus import Mention

STEPS = 2500
BATCH = 96
LEARNING_RATE = 2e-3
LONGEST = 20


class Corpus(NamedTuple):
    """Everything that is read before training."""

    words: Words
    relations: Relations
    training: list[list[Mention]]
    held_out: list[list[Mention]]


def read_corpus(captions: Path, concepts: list[Concept]) -> Corpus:
    """Read captions; one in twenty is held out, whatever their order.

    Parameters
    ----------
    captions : Path
        A COCO annotation file with captions.
    concepts : list of Concept
        What is looked for in them.
    """
    reader = Reader(concepts)
    texts = sorted(set(read_captions(captions)))
    training = [reader.read(text) for text in texts if zlib.crc32(text.encode()) % 20]
    held_out = [reader.read(text) for text in texts if not zlib.crc32(text.encode()) % 20]
    return Corpus(Words(concepts), count_relations(training, concepts), training, held_out)


def train(
    corpus: Corpus,
    embeddings: npt.NDArray[np.float32],
    *,
    steps: int = STEPS,
    batch: int = BATCH,
    seed: int = 0,
) -> PrefixGPT:
    """Train a decoder.

    Parameters
    ----------
    corpus : Corpus
        Words, relations and captions.
    embeddings : ndarray of float32, shape (concepts, 384)
        One row of unit length per concept.
    steps, batch : int
        Batches learnt from, and phrases in each; nothing else ends training.
    seed : int
        Of weights, bags and dropout.
    """
    torch.manual_seed(seed)
    writer = Writer(corpus.words, corpus.relations)
    sampler = BagSampler(writer, embeddings, corpus.training, seed=seed)
    model = new_model(corpus.words, embeddings)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _pace(step, steps))
    losses = []
    for step in range(steps):
        vectors, tokens = _batch(sampler, batch)
        loss = caption_loss(model(vectors, tokens), tokens, label_smoothing=0.02)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}/{steps}: loss {np.mean(losses[-100:]):.3f}", flush=True)
    return model.eval()


def new_model(words: Words, embeddings: npt.NDArray[np.float32]) -> PrefixGPT:
    """Start names where their embeddings are, so that the prefix already points at them."""
    model = PrefixGPT(
        PrefixGPTConfig(
            vocab_size=len(words),
            width=256,
            layers=2,
            heads=4,
            positions=LONGEST + 2,
            prefix_dim=embeddings.shape[1] + len(ATTRIBUTES),
            prefix_tokens=2,
            dropout=0.05,
        )
    )
    width, dim = model.config.width, embeddings.shape[1]
    centred = torch.from_numpy(embeddings - embeddings.mean(axis=0))
    projection = torch.linalg.svd(centred, full_matrices=False).Vh[:width]
    assert isinstance(model.prefix, torch.nn.Linear)
    with torch.no_grad():
        for part in range(model.config.prefix_tokens):
            model.prefix.weight[part * width : (part + 1) * width, :dim] = projection
        names = 0.1 * centred @ projection.T
        owners = torch.from_numpy(words.concept_of)
        model.tokens.weight[owners >= 0] += names[owners[owners >= 0]]
    return model


def held_out_report(
    model: PrefixGPT, corpus: Corpus, embeddings: npt.NDArray[np.float32], *, bags: int = 1000
) -> dict[str, float]:
    """Loss and recovery on bags from captions that were held out, decoded without constraint.

    Returns
    -------
    dict of str to float
        ``loss`` per token; ``exact``, the share of phrases written word for word; ``top``, how
        often the heaviest thing is named; ``precision`` and ``recall`` of the names.
    """
    from napari_patchioner.decoders import generate

    writer = Writer(corpus.words, corpus.relations)
    sampler = BagSampler(writer, embeddings, corpus.held_out, seed=1)
    drawn = [sampler.draw() for _ in range(bags)]
    vectors = torch.from_numpy(np.stack([sampler.vector(bag) for bag in drawn]))
    phrases = [sampler.phrase(bag) for bag in drawn]
    tokens = _padded(phrases)
    with torch.inference_mode():
        loss = float(caption_loss(model(vectors, tokens), tokens, label_smoothing=0.0))
    found = generate(model, vectors, end=corpus.words.id("<end>"), max_tokens=LONGEST)
    owners = corpus.words.concept_of
    named = [{int(owners[t]) for t in row[0].tokens} - {-1} for row in found]
    meant = [set(bag.things) for bag in drawn]
    right = sum(len(names & things) for names, things in zip(named, meant, strict=True))
    return {
        "loss": loss,
        "exact": _share([list(f[0].tokens) == p for f, p in zip(found, phrases, strict=True)]),
        "top": _share([bag.things[0] in names for bag, names in zip(drawn, named, strict=True)]),
        "precision": right / max(1, sum(map(len, named))),
        "recall": right / sum(map(len, meant)),
    }


def save(model: PrefixGPT, corpus: Corpus, report: dict[str, float], folder: Path) -> None:
    """Write ``decoder.safetensors`` in half precision and ``decoder.json`` beside it."""
    record = {
        "concepts": [concept.name for concept in corpus.words.concepts],
        "attributes": list(ATTRIBUTES),
        "relations": corpus.relations.to_json(),
        "made_from": "COCO captions val2017 (CC BY 4.0), read as bags of concepts",
        "held_out": {name: round(value, 4) for name, value in report.items()},
    }
    (folder / "decoder.json").write_text(json.dumps(record) + "\n", "utf8")
    model.half().save(folder / "decoder.safetensors", made_from=str(record["made_from"]))


def _pace(step: int, steps: int) -> float:
    """Learning rate over its peak: a short warm-up, then half a cosine."""
    return min(1.0, (step + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))


def _batch(sampler: BagSampler, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    bags = [sampler.draw() for _ in range(size)]
    vectors = torch.from_numpy(np.stack([sampler.vector(bag) for bag in bags]))
    return vectors, _padded([sampler.phrase(bag) for bag in bags])


def _padded(phrases: list[list[int]]) -> torch.Tensor:
    tokens = torch.zeros(len(phrases), max(map(len, phrases)), dtype=torch.int64)
    for row, phrase in enumerate(phrases):
        tokens[row, : len(phrase)] = torch.tensor(phrase)
    return tokens


def _share(truths: list[bool]) -> float:
    return sum(truths) / len(truths)


def main() -> None:
    """Train and write the decoder: ``python -m recipes.mini.decoder CAPTIONS``."""
    from safetensors.numpy import load_file

    parser = argparse.ArgumentParser(description="Train the embedded model's decoder.")
    parser.add_argument("captions", type=Path, help="COCO captions_val2017.json")
    parser.add_argument("--folder", type=Path, default=EMBEDDED)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = read_corpus(options.captions, read_concepts())
    embeddings = load_file(EMBEDDED / "text.safetensors")["concept_embeddings"].astype(np.float32)
    model = train(corpus, embeddings, steps=options.steps)
    report = held_out_report(model, corpus, embeddings)
    print(json.dumps(report))
    save(model, corpus, report, options.folder)


if __name__ == "__main__":
    main()
