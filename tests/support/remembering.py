"""A captioner that encodes the same pixels once in a run of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import FeatureGrid, GridStore


def remembering(captioner: Captioner, grids: GridStore) -> Captioner:
    """Have a captioner look into a store before it encodes, where it is not given another one."""
    encode = captioner.encode

    def remembered(image: Any, *, store: GridStore | None = None, **how: Any) -> FeatureGrid:
        return encode(image, store=grids if store is None else store, **how)

    captioner.encode = remembered  # type: ignore[method-assign]
    return captioner
