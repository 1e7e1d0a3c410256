"""Text towers: sentences to vectors, in batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_patchioner.devices import CPU, Placement, to_numpy
from napari_patchioner.errors import ModelError

from .base import Backbone, block_progress, spare_core

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_patchioner.progress import Progress


class TextEncoder(ABC):
    """A text tower with its tokenizer.

    A subclass sets ``dim``, the ``network`` that moves to another device and its ``blocks``.
    """

    dim: int
    network: Any
    blocks: Sequence[nn.Module]
    batch = 64
    placement = CPU

    @abstractmethod
    def frame(self, text: str) -> list[int]:
        """Token ids of a text, with its end token, cut to the longest the tower reads."""

    @abstractmethod
    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token ids, shape (n, length), padded with 0, to (n, dim)."""

    def place(self, placement: Placement) -> None:
        """Move to another device or precision."""
        self.placement = placement
        placement.put(self.network)

    @torch.inference_mode()
    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Embed token ids, shape (n, length), padded with ids lower than the end token's."""
        with spare_core():
            return self.forward(self.placement.put(tokens))

    def embed(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, shape (n, dim), not normalised; ``progress`` may raise ``Cancelled``."""
        rows = [np.empty((0, self.dim), np.float32)]
        total = len(texts)
        for start in range(0, total, self.batch):
            framed = [self.frame(text) for text in texts[start : start + self.batch]]
            length = max(map(len, framed))
            tokens = torch.tensor([[*ids, *[0] * (length - len(ids))] for ids in framed])
            message = f"{start} of {total} sentences"
            if progress is not None:
                progress(start / total, message)
            span = (start / total, (start + len(framed)) / total)
            with block_progress(self.blocks, progress, message, span):
                rows.append(to_numpy(self.embed_tokens(tokens)))
        if progress is not None:
            progress(1.0, f"{total} sentences")
        return np.concatenate(rows)


class LazyText:
    """A text tower that is opened when text is embedded for the first time.

    ``name`` and ``dim`` are the tower's, where they are known before.
    """

    def __init__(
        self, load: Callable[[], TextEncoder], *, name: str = "", dim: int | None = None
    ) -> None:
        self.name, self.dim, self.placement = name, dim, CPU
        self._load = load
        self._tower: TextEncoder | None = None

    def embed(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, see `TextEncoder.embed`."""
        if self._tower is None:
            self._tower = self._load()
        if self._tower.placement != self.placement:
            self._tower.place(self.placement)
        return self._tower.embed(texts, progress=progress)


class TextBackbone(Backbone):
    """A backbone that embeds sentences too, with a text tower that is opened when it is needed."""

    no_text = ""
    """What to say where there is no text tower."""

    def set_text(self, text: LazyText | None) -> None:
        """Take a text tower, once ``dim`` is known; where it has a name, that is the provenance."""
        if text is not None and text.dim not in (None, self.dim):
            raise ModelError(
                f"The text tower gives {text.dim} numbers where the pictures have {self.dim}; "
                f"choose the CLIP that belongs to them."
            )
        self.text = text
        if text is not None and text.name:
            self.provenance = {"text": text.name}

    def embed_text(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, shape (n, dim), not normalised; ``progress`` may raise ``Cancelled``.

        Raises
        ------
        ModelError
            The model came without its text tower, or with another model's.
        """
        if self.text is None:
            raise ModelError(
                self.no_text or f"{self.name} came without a text tower, so it embeds no text."
            )
        return self.text.embed(texts, progress=progress)

    def place(self, placement: Placement) -> None:
        """Move to another device or precision, the text tower too."""
        super().place(placement)
        if self.text is not None:
            self.text.placement = placement
