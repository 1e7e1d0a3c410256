"""The picture's part: how well texts fit it, by CLIP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_patchioner.bridges import unit_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]


class Guide:
    """Compares texts with one picture; a text is embedded once.

    Parameters
    ----------
    picture : ndarray, shape (dim,)
        The picture's vector, of any length.
    embed_text : callable
        Texts to vectors of the same space, shape (n, dim), of any length.
    """

    def __init__(self, picture: npt.NDArray[np.float32], embed_text: Embed) -> None:
        self._picture = unit_rows(picture)
        self._embed_text = embed_text
        self._known: dict[str, float] = {}

    def cosines(self, texts: Sequence[str]) -> Tensor:
        """Cosine of each text and the picture, shape (len(texts),)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            found = unit_rows(self._embed_text(new)) @ self._picture
            self._known.update(zip(new, found.tolist(), strict=True))
        return torch.tensor([self._known[text] for text in texts])
