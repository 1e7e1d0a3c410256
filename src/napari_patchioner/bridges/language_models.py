"""The two language models behind MeaCap: a scene graph parser and a sentence encoder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_patchioner.checkpoints import fit, read_settings, read_state
from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

from .base import unit_rows

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Four times GPT-2 XL's.
_MAX_WEIGHTS = 6 * 10**9
# Bytes; the largest published ones have a quarter of that.
_MAX_TOKENIZER = 2**27
_PROMPT = "Generate Scene Graph: "
# In tokens; the published 128 of the output count the start token.
_LONGEST_GRAPH, _GRAPHS_AT_ONCE = 128, 32
_LONGEST_SENTENCE, _SENTENCES_AT_ONCE = 256, 128
_TABLES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
# Left in old files by old library versions.
_IGNORE = ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)
# Spaces that the published decoding takes out.
_SPACED = (" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're")

_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
_NUMBERS = {str(number): word for number, word in enumerate(_WORDS, 2)}


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json`` of a network; ModelError if it asks for more than one ever needs."""
    return read_settings(folder / "config.json", _MAX_WEIGHTS)


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a ``tokenizer.json``."""
    from tokenizers import Tokenizer

    if os.path.exists(path) and check_plain_file(path, ModelError) > _MAX_TOKENIZER:
        raise ModelError(f"{path} is too large to be a tokenizer; get the model again.")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(f"{path} is missing or damaged; get the model again.") from error


def _batched_tokenizer(folder: Path, *, longest: int, padding: str) -> Tokenizer:
    """Return a tokenizer that cuts long texts and pads others to the longest of a batch."""
    path = folder / "tokenizer.json"
    tokenizer = read_tokenizer(path)
    pad_id = tokenizer.token_to_id(padding)
    if pad_id is None:
        raise ModelError(f"{path} has no token {padding}; it belongs to another model.")
    tokenizer.enable_truncation(longest)
    # Published files may ask for a fixed length, which would only cost time.
    tokenizer.enable_padding(pad_id=pad_id, pad_token=padding, length=None)
    return tokenizer


def _encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return token ids of texts, and which of them are no padding."""
    encoded = tokenizer.encode_batch(list(texts))
    ids, masks = ([getattr(item, name) for item in encoded] for name in ("ids", "attention_mask"))
    return torch.tensor(ids), torch.tensor(masks)


@dataclass(frozen=True, slots=True)
class SceneGraph:
    """The graph of one caption; everything once, in the order of mention.

    ``attributes`` pair a node with what it is, ``("dog", "black")``; ``relations`` link two nodes,
    ``("dog", "catch", "ball")``.
    """

    nodes: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    relations: tuple[tuple[str, str, str], ...] = ()


class FactualParser:
    """Parses captions to scene graphs with ``flan-t5-base-VG-factual-sg`` (Li et al. 2023).

    The network generates the graph as text, greedily, up to 128 tokens. It is a T5 of 250 million
    parameters, 1 GB in memory, and takes about a second per caption on one processor core: by
    far the slowest part of MeaCap, so parse a caption once.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer

    @classmethod
    def open(cls, folder: str | Path) -> FactualParser:
        """Open a folder in the form of the Hugging Face hub."""
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
        tokenizer = _batched_tokenizer(folder, longest=_LONGEST_GRAPH, padding="<pad>")
        return cls(fit(model, state, source=folder, ignore=_IGNORE), tokenizer)

    def parse(self, captions: Sequence[str]) -> list[SceneGraph]:
        """Parse captions, many at a time; one graph each."""
        return [read_scene_graph(text) for text in self.generate(captions)]

    def generate(self, captions: Sequence[str]) -> list[str]:
        """Return the graphs as the network gives them: ``( a , is , b ) , ( a , on , c )``."""
        texts: list[str] = []
        for start in range(0, len(captions), _GRAPHS_AT_ONCE):
            batch = captions[start : start + _GRAPHS_AT_ONCE]
            tokens, mask = _encoded(self._tokenizer, [_PROMPT + caption for caption in batch])
            written = self._model.generate(
                input_ids=tokens,
                attention_mask=mask,
                do_sample=False,
                num_beams=1,
                max_new_tokens=_LONGEST_GRAPH - 1,
            )
            texts += self._tokenizer.decode_batch(written.tolist())
        for spaced in _SPACED:
            texts = [text.replace(spaced, spaced[1:]) for text in texts]
        return [text.strip() for text in texts]


class BertSentences:
    """Embeds texts by the mean of BERT's last states, scaled to length one.

    all-MiniLM-L6-v2 (Reimers and Gurevych 2019; Apache-2.0), which MeaCap compares concepts
    with, works so. A text beyond 256 tokens is cut.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer

    @classmethod
    def open(cls, folder: str | Path) -> BertSentences:
        """Open a folder in the form of the Hugging Face hub."""
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
        longest = min(_LONGEST_SENTENCE, int(model.config.max_position_embeddings))
        tokenizer = _batched_tokenizer(folder, longest=longest, padding="[PAD]")
        return cls(fit(model, read_state(folder), source=folder, ignore=ignore), tokenizer)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts as rows of length one, shape (len(texts), dim)."""
        parts = [np.empty((0, int(self._model.config.hidden_size)), np.float32)]
        for start in range(0, len(texts), _SENTENCES_AT_ONCE):
            tokens, mask = _encoded(self._tokenizer, texts[start : start + _SENTENCES_AT_ONCE])
            states = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state
            weights = mask[:, :, None].float()
            parts.append(np.asarray((states * weights).sum(1) / weights.sum(1).clamp_min(1e-9)))
        return unit_rows(np.concatenate(parts))


def read_scene_graph(text: str) -> SceneGraph:
    """Read a graph in the notation of the FACTUAL parsers.

    ``( subject , predicate , object ) , ( ... )``. The predicate ``is`` gives an attribute, and so
    do pairs; a digit from 2 to 9 as the third part becomes a word. Where a fact has more than three
    parts the inner ones are the predicate. A single name is a graph of one node if it stands alone,
    and nothing otherwise. Empty parts are left out, as are the facts they leave without a subject.

    >>> graph = read_scene_graph("( pigs, is, 2), (pigs, fly on, sky )")
    >>> graph.nodes, graph.attributes, graph.relations
    (('pigs', 'sky'), (('pigs', 'two'),), (('pigs', 'fly on', 'sky'),))
    """
    for sign in "(),":
        text = text.replace(sign, f" {sign} ")
    facts = [
        tuple(
            " ".join(item.split()) for item in segment.replace("(", "").replace(")", "").split(",")
        )
        for segment in " ".join(text.split()).split(") , (")
    ]
    nodes: dict[str, None] = {}
    attributes: dict[tuple[str, str], None] = {}
    relations: dict[tuple[str, str, str], None] = {}
    for fact in facts:
        if len(fact) == 1 and len(facts) > 1:
            continue
        subject, *middle, last = fact if len(fact) > 1 else (*fact, "")
        if len(fact) == 3:
            last = _NUMBERS.get(last, last)
        is_attribute = not middle or middle == ["is"]
        nodes |= dict.fromkeys(filter(None, [subject] if is_attribute else [subject, last]))
        if not (subject and last):
            continue
        if is_attribute:
            attributes[subject, last] = None
        else:
            relations[subject, " ".join(middle), last] = None
    return SceneGraph(tuple(nodes), tuple(attributes), tuple(relations))
