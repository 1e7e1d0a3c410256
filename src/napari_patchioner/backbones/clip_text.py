"""CLIP's text tower (Radford et al. 2021): sentences to vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from napari_patchioner.checkpoints import fit, read_state, tensors_sha256
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError

from .clip_weights import EXTRAS, VISION, empty_network, hugging_face, infer_config, tower_config
from .text import LazyText, TextEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROJECTION = "text_projection.weight"


class ClipText(TextEncoder):
    """Sentences to vectors of the space CLIP shares between text and pictures.

    A text's vector is what the text tower holds at its end token, after the last layer norm and
    the projection (``text_embeds`` of ``CLIPTextModelWithProjection``, ``encode_text`` of
    OpenAI's code); it is not normalised. OpenAI's weights are MIT-licensed.

    ``context`` is the most tokens a text may have, start and end included; longer ones are cut
    before the end. ``name`` tells apart towers whose vectors differ, and is the same for the same
    weights in any layout.
    """

    def __init__(self, network: Any, tokenizer: ClipTokenizer) -> None:
        self.network = network
        self.blocks = list(network.text_model.encoder.layers)
        self._tokenizer = tokenizer
        self.dim = int(network.config.projection_dim)
        self.context = int(network.config.max_position_embeddings)
        self.name = text_name(network.text_projection.weight)

    @classmethod
    def open(cls, folder: Path) -> ClipText:
        """Open the text tower of a folder in the form of the Hugging Face hub.

        It holds ``config.json``, ``model.safetensors`` (or ``pytorch_model.bin``) and
        ``merges.txt`` of a whole CLIP or of its text tower; raises ``ModelError`` where a file is
        missing, damaged, or does not belong to the others.
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
        """Make a text tower of weights by OpenAI's names or Hugging Face's.

        ``source`` is named in messages; sizes are read off the weights unless ``config`` has them.
        """
        from transformers import CLIPTextModelWithProjection

        state = hugging_face(state)
        config = config or infer_config(state, "text", source)
        network = empty_network(CLIPTextModelWithProjection, config, source)
        return cls(fit(network, state, source=source, ignore=(*VISION, *EXTRAS)), tokenizer)

    def frame(self, text: str) -> list[int]:
        """Token ids with start and end token."""
        return self._tokenizer.frame(text, self.context)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token ids; the end token has the highest, and what follows it changes nothing."""
        if tokens.shape[1] > self.context:
            raise ModelError(
                f"{tokens.shape[1]} tokens are more than the {self.context} a text may have; "
                f"cut them."
            )
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        hidden = self.network.text_model(input_ids=tokens, position_ids=positions)
        texts = torch.arange(len(tokens), device=tokens.device)
        last = hidden.last_hidden_state[texts, tokens.argmax(dim=1)]
        embedded: Tensor = self.network.text_projection(last)
        return embedded


def text_name(projection: Tensor) -> str:
    """Name a text tower by its projection, shape (dim, width)."""
    fingerprint = tensors_sha256({_PROJECTION: projection})
    return f"clip-text-{len(projection)}-{fingerprint[:8]}"


def text_of_folder(folder: Path, state: Mapping[str, Tensor] | None = None) -> LazyText | None:
    """Name the text tower of a CLIP folder, to be opened later; None where there is none."""
    projection = hugging_face(state or read_state(folder)).get(_PROJECTION)
    if projection is None:
        return None
    return LazyText(lambda: ClipText.open(folder), name=text_name(projection), dim=len(projection))


def text_of_state(state: Mapping[str, Tensor], merges: Path, *, source: object) -> LazyText | None:
    """Name the text tower among weights, to be made later; None where there is none."""
    state = hugging_face(state)
    projection = state.get(_PROJECTION)
    if projection is None:
        return None
    return LazyText(
        lambda: ClipText.from_state(state, ClipTokenizer(merges), source=source),
        name=text_name(projection),
        dim=len(projection),
    )
