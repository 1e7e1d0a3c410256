"""From an image to a grid of patch embeddings, one file per backbone."""

from __future__ import annotations

from napari_patchioner.images import read_image

from ._backbone import Backbone, RegionEncoder, TextTower
from ._picture import as_rgb

__all__ = ["Backbone", "RegionEncoder", "TextTower", "as_rgb", "read_image"]
