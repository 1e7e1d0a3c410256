"""Parts that need no file layout of their own, opened the way all parts are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.bridges import MemoryBank, MemoryBridge, NormalizeBridge
from napari_patchioner.decoders import QuoteDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_patchioner.decoders import DeCapDecoder


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
        """Open the bank, a `MemoryBank` folder, under a `MemoryBridge` with these options."""
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


class Normalize:
    """Vectors of length one for decoders trained with noise; reads no file."""

    @staticmethod
    def open(files: Mapping[str, Path]) -> NormalizeBridge:
        """Open a `NormalizeBridge`."""
        return NormalizeBridge()


class DeCap:
    """The DeCap prefix decoder; reads the roles ``weights`` and ``merges``."""

    @staticmethod
    def open(
        files: Mapping[str, Path],
        *,
        heads: int = 4,
        length_penalty: float = 1.0,
        tidy: bool = True,
    ) -> DeCapDecoder:
        """Open the decoder: this package's own safetensors file, or a published checkpoint.

        Parameters
        ----------
        files : mapping of str to Path
            ``weights`` and ``merges``, CLIP's list of word pieces.
        heads : int
            Attention heads of a published checkpoint, which does not tell them.
        length_penalty, tidy
            As in `DeCapDecoder`.
        """
        from napari_patchioner.checkpoints import read_notes, read_state
        from napari_patchioner.decoders import (
            ClipTokenizer,
            DeCapDecoder,
            PrefixGPT,
            prefix_gpt_from_decap,
        )

        weights = files["weights"]
        own = weights.suffix == ".safetensors" and "config" in read_notes(weights)
        model = (
            PrefixGPT.open(weights)
            if own
            else prefix_gpt_from_decap(read_state(weights), heads=heads)
        )
        tokenizer = ClipTokenizer(files["merges"])
        return DeCapDecoder(model, tokenizer, length_penalty=length_penalty, tidy=tidy)


class Quote:
    """Says the sentence that was retrieved; reads no file."""

    @staticmethod
    def open(files: Mapping[str, Path]) -> QuoteDecoder:
        """Open a `QuoteDecoder`."""
        return QuoteDecoder()
