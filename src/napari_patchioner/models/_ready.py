"""The two bridges over a memory bank, opened the way all parts are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.bridges import MemoryBank, MemoryBridge
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Memory:
    """The projection on a memory bank (DeCap); reads the role ``bank``."""

    @staticmethod
    def open(
        files: Mapping[str, Path],
        *,
        temperature: float = 0.01,
        unit: bool = False,
        normalize: bool = True,
        top_k: int | None = None,
        neighbours: int = 5,
    ) -> MemoryBridge:
        """Open the bank, a `MemoryBank` folder, under a `MemoryBridge` with these options.

        Raises
        ------
        ModelError
            The bank is missing or damaged, or an option makes no sense.
        """
        if top_k is not None and top_k < 1:
            raise ModelError(f"The memory's top_k must be 1 or more, not {top_k}.")
        return MemoryBridge(
            MemoryBank.open(files["bank"]),
            temperature=temperature,
            unit=unit,
            normalize=normalize,
            top_k=top_k,
            neighbours=neighbours,
        )


class Retrieve:
    """The nearest sentence of a bank is the caption; reads the role ``bank``."""

    @staticmethod
    def open(files: Mapping[str, Path], *, neighbours: int = 5) -> MemoryBridge:
        """Open the bank, a `MemoryBank` folder; goes on with the decoder ``quote``."""
        # Only the neighbours matter, so the average is taken of the nearest row alone.
        bank = MemoryBank.open(files["bank"])
        return MemoryBridge(bank, top_k=1, neighbours=neighbours, retrieve=True)
