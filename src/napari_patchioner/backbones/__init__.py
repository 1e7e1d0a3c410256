"""From an image to a grid of patch embeddings, one file per backbone."""

from __future__ import annotations

from ._backbone import Backbone, RegionEncoder, TextTower

__all__ = ["Backbone", "RegionEncoder", "TextTower"]
