"""CLIP's text tower (Radford et al. 2021): sentences to vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_patchioner.checkpoints import fit, read_state, tensors_sha256
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError

from ._clip_config import empty, text_config, tower_config
from ._clip_layout import EXTRAS, VISION, hugging_face
from ._progress import counting
from ._threads import spare_core

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    from torch import Tensor

_BATCH = 64


class ClipText:
    """Sentences to vectors of the space CLIP shares between text and pictures.

    A text's vector is what the text tower holds at its end token, after the last layer norm and
    the projection (``text_embeds`` of ``CLIPTextModelWithProjection``, ``encode_text`` of
    OpenAI's code); it is not normalised. OpenAI's weights are MIT-licensed.

    Parameters
    ----------
    model : CLIPTextModelWithProjection
        With its weights.
    tokenizer : ClipTokenizer
        Text to token ids.

    Attributes
    ----------
    dim : int
        Length of a vector.
    context : int
        Most tokens a text may have, start and end included; longer ones are cut before the end.
    name : str
        Tells apart towers whose vectors differ; the same for the same weights in any layout.
    """

    def __init__(self, model: Any, tokenizer: ClipTokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self.dim = int(model.config.projection_dim)
        self.context = int(model.config.max_position_embeddings)
        self.name = text_name(model.text_projection.weight)

    @classmethod
    def open(cls, folder: Path) -> ClipText:
        """Open the text tower of a folder in the form of the Hugging Face hub.

        Parameters
        ----------
        folder : Path
            ``config.json``, ``model.safetensors`` (or ``pytorch_model.bin``) and ``merges.txt``
            of a whole CLIP or of its text tower; the weights by Hugging Face's names or OpenAI's.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not belong to the others.
        """
        folder = Path(folder)
        tokenizer = ClipTokenizer(folder / "merges.txt")
        config = tower_config(folder, "text")
        return cls.from_state(read_state(folder), tokenizer, source=folder, config=config)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        tokenizer: ClipTokenizer,
        *,
        source: object,
        config: Any = None,
    ) -> ClipText:
        """Make a text tower of weights.

        Parameters
        ----------
        state : mapping of str to Tensor
            By OpenAI's names or Hugging Face's; a vision tower may come along.
        tokenizer : ClipTokenizer
            Text to token ids.
        source : path
            Where the weights came from, for messages.
        config : CLIPTextConfig, optional
            Its sizes; read off the weights' shapes by default.

        Raises
        ------
        ModelError
            Weights are missing, left over or of another shape.
        """
        state = hugging_face(state)
        return cls(_filled(config or text_config(state, source), state, source), tokenizer)

    def embed(
        self, texts: Sequence[str], *, progress: Callable[[float, str], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences.

        Parameters
        ----------
        texts : sequence of str
            Any length; what goes beyond ``context`` tokens does not count.
        progress : callable, optional
            Called with the share done and a message; may raise ``Cancelled``.

        Returns
        -------
        ndarray of float32, shape (n, dim)
            Not normalised.
        """
        rows = [np.empty((0, self.dim), np.float32)]
        for start in range(0, len(texts), _BATCH):
            some = texts[start : start + _BATCH]
            framed = [self._tokenizer.frame(text, self.context) for text in some]
            layers = self._model.text_model.encoder.layers
            with counting(layers, progress, start, len(some), len(texts)):
                rows.append(self.embed_tokens(_padded(framed)).numpy())
        if progress is not None:
            progress(1.0, f"{len(texts)} sentences")
        return np.concatenate(rows)

    @torch.inference_mode()
    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Embed token ids.

        Attention is causal: what follows the end token changes nothing, so a batch needs no more
        columns than its longest text.

        Parameters
        ----------
        tokens : Tensor of int64, shape (n, length)
            Every row with start and end token, then anything lower than the end token, which has
            the highest id.

        Returns
        -------
        Tensor of float32, shape (n, dim)
        """
        if tokens.shape[1] > self.context:
            raise ModelError(
                f"{tokens.shape[1]} tokens are more than the {self.context} a text may have; "
                f"cut them."
            )
        ends = tokens.argmax(dim=1)
        positions = torch.arange(tokens.shape[1])[None]
        with spare_core():
            seen = self._model.text_model(input_ids=tokens, position_ids=positions)
            last = seen.last_hidden_state[torch.arange(len(tokens)), ends]
            embedded: Tensor = self._model.text_projection(last)
        return embedded


def text_name(projection: Tensor) -> str:
    """Name a text tower by its projection, shape (dim, width)."""
    fingerprint = tensors_sha256({"text_projection.weight": projection})
    return f"clip-text-{len(projection)}-{fingerprint[:8]}"


def _filled(config: Any, state: Mapping[str, Tensor], source: object) -> Any:
    from transformers import CLIPTextModelWithProjection

    model = empty(CLIPTextModelWithProjection, config, source)
    return fit(model, state, source=source, ignore=(*VISION, *EXTRAS))


def _padded(framed: Sequence[Sequence[int]]) -> Tensor:
    length = max(map(len, framed))
    return torch.tensor([[*row, *[0] * (length - len(row))] for row in framed])
