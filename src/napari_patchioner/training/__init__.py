"""Training from a person's own texts and pictures, as the paper does it.

torch is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from .bridge import BridgeScores, fit_bridge
    from .card import DataSource, TrainingCard
    from .loop import Check, Outcome, Settings, read_losses, seeded, train
    from .projection import Pair, ProjectionScores, read_pairs, train_projection
    from .towers import Tower, open_tower

__all__ = [
    "BridgeScores",
    "Check",
    "DataSource",
    "Outcome",
    "Pair",
    "ProjectionScores",
    "Settings",
    "Tower",
    "TrainingCard",
    "fit_bridge",
    "open_tower",
    "read_losses",
    "read_pairs",
    "seeded",
    "train",
    "train_projection",
]

_LAZY = {
    "bridge": ("BridgeScores", "fit_bridge"),
    "card": ("DataSource", "TrainingCard"),
    "loop": ("Check", "Outcome", "Settings", "read_losses", "seeded", "train"),
    "projection": ("Pair", "ProjectionScores", "read_pairs", "train_projection"),
    "towers": ("Tower", "open_tower"),
}

__getattr__, *_ = lazy_loader.attach(__name__, submod_attrs=_LAZY)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return list(__all__)
