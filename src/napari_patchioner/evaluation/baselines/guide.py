"""The picture's part: how well texts fit it, by CLIP."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_patchioner.bridges import unit_rows
from napari_patchioner.bridges.language_models import read_config
from napari_patchioner.checkpoints import fit, read_state
from napari_patchioner.decoders import Gpt2Tokenizer
from napari_patchioner.errors import ModelError

Embed: TypeAlias = Callable[[Sequence[str]], npt.NDArray[np.float32]]

Past: TypeAlias = "tuple[tuple[Tensor, Tensor], ...]"
"""Keys and values of every layer, each of shape (n, heads, tokens, width)."""

_END, _CAPTION_START = "<|endoftext|>", "<-start_of_text->"
# Masks that old files carry along.
_IGNORE = ("*.attn.bias", "*.attn.masked_bias")


class Guide:
    """Compares texts with one picture; a text is embedded once.

    ``picture`` (dim,) is the picture's vector; ``embed_text`` turns texts to vectors of the same
    space, (n, dim). Both may have any length.
    """

    def __init__(self, picture: npt.NDArray[np.float32], embed_text: Embed) -> None:
        self._picture = unit_rows(picture)
        self._embed_text = embed_text
        self._known: dict[str, float] = {}

    def cosines(self, texts: Sequence[str]) -> Tensor:
        """Cosine of each text and the picture, shape (len(texts),)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            result = unit_rows(self._embed_text(new)) @ self._picture
            self._known.update(zip(new, result.tolist(), strict=True))
        return torch.tensor([self._known[text] for text in texts])


class Reading(NamedTuple):
    """What GPT-2 made of some tokens.

    ``logits``, (n, vocabulary), of the token that comes next; last ``states``, (n, tokens, width),
    after the final layer norm; the cache, these tokens included.
    """

    logits: Tensor
    states: Tensor
    past: Past


class Gpt2:
    """A GPT-2 language model and its tokenizer (Radford et al. 2019).

    ``model`` is a GPT2LMHeadModel whose weights take no gradients. Texts begin with the token
    ``start``, ``<|endoftext|>`` by default, and stop at ``end``; models fine-tuned on captions for
    MAGIC begin with a token of their own. ``longest`` is the most tokens it can hold.
    """

    def __init__(self, model: Any, tokenizer: Gpt2Tokenizer, start: int | None = None) -> None:
        self._model = model
        self.tokenizer = tokenizer
        ids = tokenizer.encode(_END)
        if len(ids) != 1:
            raise ModelError(f"These word pieces have no {_END}; use the tokenizer of GPT-2.")
        self.end = ids[0]
        self.start = self.end if start is None else start
        self.longest = int(model.config.n_positions)

    @classmethod
    def open(cls, folder: str | Path) -> Gpt2:
        """Open a folder in the form of the Hugging Face hub.

        ``<-start_of_text->`` in ``added_tokens.json`` becomes the token that texts begin with. A
        ModelError where a file is missing, damaged, or of another kind of model.
        """
        folder = Path(folder)
        config = read_config(folder)
        if config.get("model_type") != "gpt2":
            raise ModelError(f"{folder} is not a GPT-2; choose the folder of one, such as gpt2.")
        tokenizer = Gpt2Tokenizer(folder)
        from transformers import GPT2Config, GPT2LMHeadModel

        model = GPT2LMHeadModel(GPT2Config(**config))
        state = read_state(folder)
        if "wte.weight" in state:
            state = {f"transformer.{name}": value for name, value in state.items()}
        if "transformer.wte.weight" in state:
            state.setdefault("lm_head.weight", state["transformer.wte.weight"])
        fit(model, state, source=folder, ignore=_IGNORE)
        return cls(model, tokenizer, _caption_start(folder))

    def begin(self, prompt: str, max_tokens: int) -> Tensor:
        """Tokens of a prompt behind the start token, (1, tokens), with room for so many more."""
        tokens = [self.start, *self.tokenizer.encode(prompt)]
        room = self.longest - len(tokens)
        if not 1 <= max_tokens <= room:
            raise ModelError(f"This GPT-2 can write 1 to {room} tokens, not {max_tokens}.")
        return torch.tensor([tokens])

    def read(self, tokens: Tensor, past: Past | None = None) -> Reading:
        """Read tokens, shape (n, tokens), behind those of the cache.

        Gradients flow through the cache, not through the weights. Tokens that the tokenizer
        cannot spell are left out of the logits.
        """
        from transformers import DynamicCache

        cache = DynamicCache(past) if past else DynamicCache()
        # By place, for the argument has two names: past_key_values, and cache since 5.24.
        states = self._model.transformer(tokens, cache, use_cache=True).last_hidden_state
        logits = self._model.lm_head(states[:, -1])[:, : self.tokenizer.size]
        past = tuple((layer.keys, layer.values) for layer in cache.layers)
        return Reading(logits, states, past)

    def text(self, tokens: Sequence[int]) -> str:
        """Text of tokens, without start and end."""
        return self.tokenizer.decode([t for t in tokens if t not in (self.start, self.end)])

    def line(self, tokens: Sequence[int]) -> str:
        """Text of tokens with single spaces."""
        return " ".join(self.text(tokens).split())


def _caption_start(folder: Path) -> int | None:
    """Find the start token of language models that were fine-tuned on captions."""
    path = folder / "added_tokens.json"
    if not path.is_file():
        return None
    try:
        place = json.loads(path.read_text(encoding="utf-8")).get(_CAPTION_START)
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} is damaged; get the model again.") from error
    return None if place is None else int(place)
