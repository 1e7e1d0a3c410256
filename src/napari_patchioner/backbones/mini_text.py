"""The text tower of the embedded models: sentences to vectors, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.checkpoints import file_sha256, read_arrays
from napari_patchioner.errors import FormatError
from napari_patchioner.progress import Progress, no_progress

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FloatArray: TypeAlias = npt.NDArray[np.float32]

HEAD_WIDTH = 32
"""Numbers of a piece that one head of attention reads."""

NEIGHBOURS = 1
"""Pieces on either side that a piece takes a share of before the layers."""

LONGEST = 128
"""Word pieces of a text that are read; what follows is cut off."""

# Letters of a text that are looked at, more than so many pieces have; and pieces of one batch.
_LETTERS, _BATCH = 32 * LONGEST, 1024
# Texts taken on at once.
_CHUNK = 1024
_UNKNOWN, _INSIDE = "[UNK]", "##"
_FAR = np.float32(-1e9)


class MiniText:
    """Puts sentences near to where all-MiniLM-L6-v2 puts them, in 384 numbers of length one.

    A small student of that encoder, made for this project: a table of its word pieces (8 bits), an
    importance for each, a few layers that read them together, a weighted mean. It reads English in
    lower case; accents do not count, and a text without one known word is a row of zeros.

    Vectors are compared by their cosine with one another, with the embeddings of the embedded
    models' concepts, and so with regions (`ConceptBridge.text_vectors`); not with patches. ``name``
    holds the hash of the file and is the ``"text"`` of the provenance of all that is made with it.

    ``path`` is its safetensors file; a ``ModelError`` where that is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"mini-text-{file_sha256(path)[:8]}"
        self.provenance: Mapping[str, str] = {"text": self.name}
        try:
            self._weights = _Weights(read_arrays(path))
        except (FormatError, KeyError, ValueError) as error:
            from napari_patchioner.checkpoints import own_file_damaged

            raise own_file_damaged(path) from error
        self.dim = self._weights.dim

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = tokenizer_of(self._weights.pieces)
        tokenizer.enable_truncation(LONGEST)
        return tokenizer

    def embed_text(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        """Embed sentences, shape (n, 384), of unit length; ``progress`` may raise ``Cancelled``."""
        report, total = progress or no_progress, len(texts)
        result = np.zeros((total, self.dim), np.float32)
        for first in range(0, total, _CHUNK):
            report(first / total, f"{first} of {total} sentences")
            some = [_readable(text) for text in texts[first : first + _CHUNK]]
            ids = [
                np.array([piece for piece in row.ids if piece], np.int64)
                for row in self._tokenizer.encode_batch(some)
            ]
            for chosen in _batches([len(row) for row in ids]):
                result[first + chosen] = self._weights.embed([ids[place] for place in chosen])
        report(1.0, f"{total} sentences")
        return result


def tokenizer_of(pieces: Sequence[str]) -> Tokenizer:
    """Return the tokenizer of BERT in lower case, for these pieces, the unknown one first."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    numbers = {piece: number for number, piece in enumerate(pieces)}
    model = models.WordPiece(numbers, unk_token=_UNKNOWN, continuing_subword_prefix=_INSIDE)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _readable(text: str) -> str:
    """Cut what is too long, and replace halves of characters, which are no text."""
    return text[:_LETTERS].encode("utf-8", "replace").decode("utf-8")


def _batches(lengths: Sequence[int]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield which texts are read together, of about one length; empty ones in none."""
    order = np.argsort(lengths, kind="stable")
    order = order[np.asarray(lengths)[order] > 0]
    while len(order):
        # The longest decides how many there is room for.
        count = max(1, _BATCH // lengths[order[-1]])
        yield order[-count:]
        order = order[:-count]


class _Weights:
    """The arrays of the file, and what is done with them."""

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self.pieces = arrays["pieces"].tobytes().decode("utf-8").split("\n")
        self.table, self.scale = arrays["table"], arrays["table.scale"].astype(np.float32)
        rest = {
            name: _whole(name, arrays)
            for name in arrays
            if name not in ("pieces", "table") and not name.endswith(".scale")
        }
        self.importance = rest["importance"]
        self.out = rest["out.weight"].T, rest["out.bias"]
        count = 1 + max((int(name.split(".")[1]) for name in rest if "layers." in name), default=-1)
        self.layers = [
            {
                part: (rest[f"layers.{place}.{part}.weight"].T, rest[f"layers.{place}.{part}.bias"])
                for part in ("qkv", "join", "wide", "narrow")
            }
            for place in range(count)
        ]
        width, self.dim = self.table.shape[-1], self.out[0].shape[1]
        nothing = np.zeros((2 * NEIGHBOURS, width), np.float32)
        self.near, self.score = rest.get("near", nothing), rest.get("score", nothing[0])
        rows = (len(self.pieces),)
        if self.table.dtype != np.int8 or self.table.shape != (*rows, width) or not self.dim:
            raise ValueError("a table that does not fit its pieces")
        if self.scale.shape != rows or self.importance.shape != rows:
            raise ValueError("a row for each piece is missing")
        if self.near.shape != nothing.shape or (self.layers and width % HEAD_WIDTH):
            raise ValueError("layers that do not fit together")
        if self.layers:
            self.wide = rest["wide.weight"].T, rest["wide.bias"]
            self.narrow = rest["narrow.weight"].T, np.zeros(self.dim, np.float32)
        if len(set(self.pieces)) < len(self.pieces) or self.pieces[0] != _UNKNOWN:
            raise ValueError("pieces that are named twice")
        if not all(np.isfinite(value).all() for value in (self.scale, *rest.values())):
            raise ValueError("numbers that are not finite")
        # What does not fit together shows in the first sentence.
        self.embed([np.arange(min(len(self.pieces), 3))])

    def embed(self, ids: Sequence[npt.NDArray[np.int64]]) -> FloatArray:
        """Embed rows of pieces, none of them empty, to unit rows of shape (n, dim)."""
        lengths = np.array([len(row) for row in ids])
        known = np.arange(lengths.max()) < lengths[:, None]
        wide = np.zeros(known.shape, np.int64)
        wide[known] = np.concatenate(ids)
        rows = self.table[wide] * (self.scale[wide] * known)[..., None]
        score = np.where(known, self.importance[wide], _FAR)
        pooled = _mean(rows, score)
        if not self.layers:
            return _unit(_linear(pooled, self.out))
        rows = self._together(rows, known)
        pooled = np.concatenate([pooled, _mean(rows, score + _normed(rows) @ self.score)], axis=1)
        hidden = np.maximum(_linear(pooled, self.wide), 0)
        return _unit(_linear(pooled, self.out) + _linear(hidden, self.narrow))

    def _together(self, rows: FloatArray, known: npt.NDArray[np.bool_]) -> FloatArray:
        """Let the pieces of each text, shape (n, length, width), read one another."""
        n, length, width = rows.shape
        sides = ((0, 0), (NEIGHBOURS, NEIGHBOURS), (0, 0))
        around, steps = np.pad(rows, sides), [*range(2 * NEIGHBOURS + 1)]
        steps.remove(NEIGHBOURS)
        for step, share in zip(steps, self.near, strict=True):
            rows = rows + around[:, step : step + length] * share
        unseen = np.where(known, np.float32(0), _FAR)[:, None, None]
        heads = width // HEAD_WIDTH
        for layer in self.layers:
            qkv = _linear(_normed(rows), layer["qkv"]).reshape(n, length, 3, heads, HEAD_WIDTH)
            query, key, value = qkv.transpose(2, 0, 3, 1, 4)
            likeness = query @ key.swapaxes(2, 3) * np.float32(HEAD_WIDTH**-0.5)
            mixed = (_softmax(likeness + unseen) @ value).swapaxes(1, 2)
            rows = rows + _linear(mixed.reshape(n, length, width), layer["join"])
            hidden = np.maximum(_linear(_normed(rows), layer["wide"]), 0)
            rows = rows + _linear(hidden, layer["narrow"])
        return rows


def _whole(name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> FloatArray:
    """Return an array as it was before it was stored in 8 bits, if it was."""
    scale = arrays.get(f"{name}.scale", np.ones(1, np.float32)).astype(np.float32)
    return arrays[name].astype(np.float32) * (scale[:, None] if arrays[name].ndim > 1 else scale)


def _mean(rows: FloatArray, score: FloatArray) -> FloatArray:
    """Mean of the pieces of each text, weighted by the softmax of their scores, (n, width)."""
    return np.asarray(np.matmul(_softmax(score)[:, None], rows)[:, 0], np.float32)


def _linear(rows: FloatArray, weights: tuple[FloatArray, FloatArray]) -> FloatArray:
    matrix, bias = weights
    flat = rows.reshape(-1, rows.shape[-1]) @ matrix + bias
    return flat.reshape(*rows.shape[:-1], -1)


def _normed(rows: FloatArray) -> FloatArray:
    """Rows of mean zero and variance one."""
    centred = rows - rows.mean(-1, keepdims=True)
    variance = np.square(centred).mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + np.float32(1e-5)), np.float32)


def _softmax(logits: FloatArray) -> FloatArray:
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True), np.float32)


def _unit(rows: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)
