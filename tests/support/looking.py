"""A captioner that looks as real ones do, store and all, and leaves the words to another."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from napari_patchioner.captioner import Captioner
from napari_patchioner.grids import grid_key
from napari_patchioner.images import as_rgb


class Looking(Captioner):
    """A real captioner as far as looking goes; it names colours."""

    def __init__(self, colours):
        backbone = SimpleNamespace(name="colours", dim=3, encode=self.look)
        super().__init__(backbone, None, None, name="colours")
        self.colours = colours

    def look(self, image, *, progress=None, key=""):
        key = grid_key(as_rgb(image), "colours")
        return replace(self.colours.encode(image, progress=progress), key=key, backbone="colours")

    def caption(self, grid, regions, **options):
        return self.colours.caption(grid, regions, pooling=None)
