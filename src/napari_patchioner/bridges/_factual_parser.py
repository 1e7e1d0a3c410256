"""Captions to scene graphs: the FACTUAL parsers, which are fine-tuned T5 networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_patchioner.checkpoints import fit, read_state
from napari_patchioner.decoders import generate
from napari_patchioner.errors import ModelError

from ._published import read_config, read_tokenizer
from ._scene_graph import read_scene_graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer
    from torch import Tensor

    from ._scene_graph import SceneGraph

_PROMPT = "Generate Scene Graph: "
# In tokens; the published 128 of the output count the start token.
_LONGEST, _BATCH = 128, 32
_TABLES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
# Left in old files by old library versions.
_IGNORE = ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)
# Spaces that the published decoding takes out.
_SPACED = (" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're")


class FactualParser:
    """Reads captions as scene graphs with ``flan-t5-base-VG-factual-sg`` (Li et al. 2023).

    The network writes the graph as text, greedily, up to 128 tokens. It is a T5 of 250 million
    parameters, 1 GB in memory, and takes about a second per caption on one processor core: by
    far the slowest part of MeaCap, so parse a caption once.

    Parameters
    ----------
    model : T5ForConditionalGeneration
        With its weights.
    tokenizer : Tokenizer
        Ends texts with the end token, pads and cuts.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        self._writer = _T5Writer(model)
        self._tokenizer = tokenizer
        self._end = int(model.config.eos_token_id)

    @classmethod
    def open(cls, folder: str | Path) -> FactualParser:
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
        if config.get("model_type") != "t5":
            raise ModelError(
                f"{folder} is not a T5 scene graph parser; use "
                "lizhuang144/flan-t5-base-VG-factual-sg."
            )
        from transformers import T5Config, T5ForConditionalGeneration

        with torch.device("meta"):
            model = T5ForConditionalGeneration(T5Config(**config))
        state = read_state(folder)
        if "shared.weight" in state:
            # Tables that were one in training may be left out of the file.
            state = dict.fromkeys(_TABLES, state["shared.weight"]) | state
        tokenizer = read_tokenizer(folder, longest=_LONGEST, padding="<pad>")
        return cls(fit(model, state, source=folder, ignore=_IGNORE), tokenizer)

    def parse(self, captions: Sequence[str]) -> list[SceneGraph]:
        """Read captions, many at a time; one graph each."""
        return [read_scene_graph(text) for text in self.write(captions)]

    def write(self, captions: Sequence[str]) -> list[str]:
        """Return the graphs as the network writes them: ``( a , is , b ) , ( a , on , c )``."""
        texts: list[str] = []
        for at in range(0, len(captions), _BATCH):
            prompts = [_PROMPT + caption for caption in captions[at : at + _BATCH]]
            tokens = torch.tensor([one.ids for one in self._tokenizer.encode_batch(prompts)])
            found = generate(self._writer, tokens, end=self._end, max_tokens=_LONGEST - 1)
            texts += [self._tokenizer.decode(best[0].tokens) for best in found]
        return [_closed_up(text) for text in texts]


def _closed_up(text: str) -> str:
    """Take out the spaces before punctuation and shortened words."""
    for spaced in _SPACED:
        text = text.replace(spaced, spaced[1:])
    return text.strip()


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read, and what has been written so far."""

    states: Tensor  # (n, tokens, width)
    mask: Tensor  # (n, tokens)
    past: Any


class _T5Writer:
    """T5 as the generation loop sees it; a prefix is a row of token ids to read."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._padding = int(model.config.pad_token_id)
        self.vocab_size = int(model.config.vocab_size)

    def start(self, prefix: Tensor) -> tuple[Tensor, _Read]:
        """Read the prefixes; writing begins with the padding token."""
        from transformers import DynamicCache, EncoderDecoderCache

        mask = (prefix != self._padding).long()
        states = self._model.encoder(input_ids=prefix, attention_mask=mask).last_hidden_state
        past = EncoderDecoderCache(DynamicCache(), DynamicCache())
        begin = prefix.new_full(prefix.shape[:1], self._padding)
        return self.step(begin, _Read(states, mask, past))

    def step(self, tokens: Tensor, cache: _Read) -> tuple[Tensor, _Read]:
        """Write one more token per row."""
        # By place, for the cache's argument has two names: past_key_values, and cache since 5.24.
        out = self._model(
            None,  # input_ids: they are encoded already
            cache.mask,
            tokens[:, None],
            None,  # decoder_attention_mask: nothing is padded
            (cache.states,),
            cache.past,
            use_cache=True,
        )
        return out.logits[:, -1], cache

    def reorder(self, cache: _Read, rows: Tensor) -> _Read:
        """Take rows of everything."""
        cache.past.reorder_cache(rows)
        return _Read(cache.states[rows], cache.mask[rows], cache.past)
