"""Training from a person's own texts and pictures, as the paper does it.

torch is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from .bridge import BridgeScores, fit_bridge
    from .card import DataSource, TrainingCard
    from .corpus import Corpus, Split, read_corpus
    from .decoders import About, Recipe, train_decoder, unfinished, usual_steps
    from .entities import EntityFinder
    from .export import write_preset
    from .language import Objective, PrefixTask, Sizes, new_network
    from .loop import Check, Outcome, Settings, read_losses, seeded, train
    from .noise import Noise, estimate_noise
    from .pieces import Framing, learn_pieces, padded
    from .projection import Pair, ProjectionScores, read_pairs, train_projection
    from .scores import Rebuilt, rebuilt, score_ways
    from .towers import Tower, open_tower

__all__ = [
    "About",
    "BridgeScores",
    "Check",
    "Corpus",
    "DataSource",
    "EntityFinder",
    "Framing",
    "Noise",
    "Objective",
    "Outcome",
    "Pair",
    "PrefixTask",
    "ProjectionScores",
    "Rebuilt",
    "Recipe",
    "Settings",
    "Sizes",
    "Split",
    "Tower",
    "TrainingCard",
    "estimate_noise",
    "fit_bridge",
    "learn_pieces",
    "new_network",
    "open_tower",
    "padded",
    "read_corpus",
    "read_losses",
    "read_pairs",
    "rebuilt",
    "score_ways",
    "seeded",
    "train",
    "train_decoder",
    "train_projection",
    "unfinished",
    "usual_steps",
    "write_preset",
]

_LAZY = {
    "bridge": ("BridgeScores", "fit_bridge"),
    "card": ("DataSource", "TrainingCard"),
    "corpus": ("Corpus", "Split", "read_corpus"),
    "decoders": ("About", "Recipe", "train_decoder", "unfinished", "usual_steps"),
    "entities": ("EntityFinder",),
    "export": ("write_preset",),
    "language": ("Objective", "PrefixTask", "Sizes", "new_network"),
    "loop": ("Check", "Outcome", "Settings", "read_losses", "seeded", "train"),
    "projection": ("Pair", "ProjectionScores", "read_pairs", "train_projection"),
    "noise": ("Noise", "estimate_noise"),
    "pieces": ("Framing", "learn_pieces", "padded"),
    "scores": ("Rebuilt", "rebuilt", "score_ways"),
    "towers": ("Tower", "open_tower"),
}

__getattr__, *_ = lazy_loader.attach(__name__, submod_attrs=_LAZY)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return list(__all__)
