"""SigLIP 2's text tower: sentences to vectors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

from ._progress import counting
from ._threads import spare_core

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

_BATCH = 32
# Bytes of the tokenizer; the published one has a quarter of that.
_MOST_TOKENIZER = 2**27


class SigLip2Tokenizer:
    """Gemma's word pieces as SigLIP 2 was trained with them.

    Lower case, no start token, an end token that is kept when a text is cut, and padding on the
    right up to the full length, which the tower attends to.

    Parameters
    ----------
    path : Path
        ``tokenizer.json``.
    length : int
        Tokens of every text.

    Raises
    ------
    ModelError
        The file is missing, damaged, or has no end or padding token.
    """

    def __init__(self, path: Path, length: int) -> None:
        from tokenizers import Tokenizer

        if os.path.exists(path) and check_plain_file(path, ModelError) > _MOST_TOKENIZER:
            raise ModelError(f"{path} is too large to be a tokenizer; get the model again.")
        try:
            self._pieces = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        # The library raises plain exceptions for what it cannot parse.
        except Exception as error:
            raise ModelError(f"{path} is missing or damaged; get the model again.") from error
        self._pieces.no_padding()
        self._pieces.no_truncation()
        end, padding = (self._pieces.token_to_id(name) for name in ("<eos>", "<pad>"))
        if end is None or padding is None:
            raise ModelError(f"{path} has no <eos> or no <pad>; choose SigLIP 2's tokenizer.json.")
        self._end, self._padding, self._length = end, padding, length

    def frame(self, text: str) -> list[int]:
        """Token ids of a text, always of the same length."""
        ids = self._pieces.encode(text.lower(), add_special_tokens=False).ids
        framed = [*ids[: self._length - 1], self._end]
        return framed + [self._padding] * (self._length - len(framed))


class SigLip2Text:
    """Sentences to vectors of the space of SigLIP 2's pooled pictures.

    A text's vector is the last token of the tower, end or padding, after the final layer norm
    and a linear layer; it is not normalised.

    Parameters
    ----------
    tower : SiglipTextTransformer
        With its weights.
    tokenizer : SigLip2Tokenizer
        Text to token ids.
    """

    def __init__(self, tower: Any, tokenizer: SigLip2Tokenizer) -> None:
        self._tower, self._tokenizer = tower, tokenizer
        self.dim = int(tower.head.weight.shape[0])

    def embed(
        self, texts: Sequence[str], *, progress: Callable[[float, str], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, shape (n, dim); what goes beyond the full length does not count."""
        rows = [np.empty((0, self.dim), np.float32)]
        for start in range(0, len(texts), _BATCH):
            some = texts[start : start + _BATCH]
            with counting(self._tower.encoder.layers, progress, start, len(some), len(texts)):
                rows.append(self._embed(some))
        if progress is not None:
            progress(1.0, f"{len(texts)} sentences")
        return np.concatenate(rows)

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        tokens = torch.tensor([self._tokenizer.frame(text) for text in texts])
        positions = torch.arange(tokens.shape[1])[None]
        with spare_core():
            seen = self._tower(input_ids=tokens, position_ids=positions)
        pooled: npt.NDArray[np.float32] = seen.pooler_output.numpy()
        return pooled
