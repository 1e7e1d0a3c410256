"""Sentence embeddings: all-MiniLM-L6-v2 and other BERTs averaged over their tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_patchioner.checkpoints import fit, read_state
from napari_patchioner.errors import ModelError

from ._normalize import unit_rows
from ._published import read_config, read_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from tokenizers import Tokenizer

_LONGEST, _BATCH = 256, 128


class BertSentences:
    """Embeds texts by the mean of BERT's last states, scaled to length one.

    all-MiniLM-L6-v2 (Reimers and Gurevych 2019; Apache-2.0), which MeaCap compares concepts
    with, works so. A text beyond 256 tokens is cut.

    Parameters
    ----------
    model : BertModel
        With its weights.
    tokenizer : Tokenizer
        Pads and cuts.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer

    @classmethod
    def open(cls, folder: str | Path) -> BertSentences:
        """Open a folder in the form of the Hugging Face hub.

        Parameters
        ----------
        folder : path
            ``config.json``, ``tokenizer.json`` and ``model.safetensors`` or
            ``pytorch_model.bin``.

        Raises
        ------
        ModelError
            A file is missing, damaged, or of another kind of model.
        """
        folder = Path(folder)
        config = read_config(folder)
        if config.get("model_type") != "bert":
            raise ModelError(
                f"{folder} is not a BERT sentence model; "
                "use sentence-transformers/all-MiniLM-L6-v2."
            )
        from transformers import BertConfig, BertModel

        model = BertModel(BertConfig(**config), add_pooling_layer=False)
        ignore = ("pooler.*", "embeddings.position_ids")
        longest = min(_LONGEST, int(model.config.max_position_embeddings))
        tokenizer = read_tokenizer(folder, longest=longest, padding="[PAD]")
        return cls(fit(model, read_state(folder), source=folder, ignore=ignore), tokenizer)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts as rows of length one, shape (len(texts), dim)."""
        parts = [self._embed(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)]
        empty = np.empty((0, int(self._model.config.hidden_size)), np.float32)
        return unit_rows(np.concatenate([empty, *parts]))

    def _embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Average the states of each text's own tokens."""
        read = self._tokenizer.encode_batch(list(texts))
        tokens = torch.tensor([one.ids for one in read])
        mask = torch.tensor([one.attention_mask for one in read])
        states = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state
        weights = mask[:, :, None].float()
        return np.asarray((states * weights).sum(1) / weights.sum(1).clamp_min(1e-9))
