"""Rebuild every file of the embedded models with one command.

``python -m recipes.mini --data DIR [--work DIR] [--out DIR]``

Sources are named in ``models/embedded/NOTICE.md``; seeds are fixed and steps are counted. On one
core it takes about an hour, and features are kept in the work folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from napari_patchioner.backbones.mini import MiniBackbone

from . import decoder, familiarity, gate, sentence_encoder, text_tower, vision, vocabulary
from .features import load_network
from .options import recipe_parser


def rebuild(data: Path, work: Path, out: Path) -> None:
    """Write words, embeddings, the text tower, the seeing side, the gate and the decoder.

    Parameters
    ----------
    data : Path
        The data folder, with ``coco`` and ``text``.
    work : Path
        Cached features and the heads of the folds.
    out : Path
        Where the files of the models go.
    """
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    concepts = vocabulary.read_concepts()
    vocabulary.write_concepts(concepts, out)
    embeddings = sentence_encoder.embed_concepts(concepts)
    sentence_encoder.write_embeddings(embeddings, out)
    text_tower.rebuild(data, work, out)
    vision.rebuild(data, work, out)
    network = load_network(out / "backbone.safetensors")
    gate.build(network, data / "coco", out / "gate.safetensors")
    backbone = MiniBackbone(out / "backbone.safetensors", out / "gate.safetensors")
    familiarity.build(backbone, data, out / "familiar.safetensors")
    corpus = decoder.read_corpus(data / "text" / "coco_captions_val2017.json", concepts)
    # The decoder meets the embeddings as they are shipped, in half precision.
    shipped = embeddings.astype(np.float16).astype(np.float32)
    model = decoder.train(corpus, shipped)
    decoder.save(model, corpus, decoder.held_out_report(model, corpus, shipped), out)


def main() -> None:
    """Read the command line and rebuild."""
    options = recipe_parser(__doc__).parse_args()
    rebuild(options.data, options.work, options.out)


if __name__ == "__main__":
    main()
