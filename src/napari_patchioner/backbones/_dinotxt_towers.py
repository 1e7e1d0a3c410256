"""The two learned parts of DINO.txt: the head on DINOv2's tokens, and the text tower."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from napari_patchioner.checkpoints import fit, read_state
from napari_patchioner.errors import ModelError

from ._dinotxt_blocks import TextBlock, VisionBlock
from ._progress import counting
from ._threads import spare_core

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt
    from torch import Tensor

    from napari_patchioner.decoders import ClipTokenizer

_BATCH = 64


class VisionHead(nn.Module):
    """Blocks and a layer norm on top of all tokens of a frozen DINOv2."""

    def __init__(self, width: int, hidden: int, blocks: int, *, bias: bool) -> None:
        super().__init__()
        self.block_list = nn.ModuleList(
            VisionBlock(width, hidden, bias=bias) for _ in range(blocks)
        )
        self.ln_final = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Refine tokens, shape (batch, length, width): class token, registers, patches."""
        for block in self.block_list:
            tokens = block(tokens)
        refined: Tensor = self.ln_final(tokens)
        return refined

    @classmethod
    def open(cls, path: Path) -> VisionHead:
        """Open ``dinov2_vitl14_reg4_dinotxt_tet1280d20h24l_vision_head.pth``.

        Sizes are read off the weights (1024 wide, two blocks, 2752 hidden).

        Raises
        ------
        ModelError
            Weights are missing, left over or of another shape; they are named.
        """
        state = read_state(path)
        hidden, width = _shape(state, "block_list.0.mlp.w1.weight", 2, path, "vision head")
        with torch.device("meta"):
            head = cls(
                width,
                hidden,
                _count(state, "block_list."),
                bias="block_list.0.attn.qkv.bias" in state,
            )
        return fit(head, state, source=path)


class TextTower(nn.Module):
    """A causal transformer on CLIP's word pieces.

    Parameters
    ----------
    sizes : mapping of str to int
        ``vocabulary``, ``context``, ``width``, ``hidden``, ``blocks`` and ``dim``.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.context, self.dim = sizes["context"], sizes["dim"]
        self.backbone = _TextBackbone(sizes)
        self.head = _TextHead(sizes["width"], sizes["dim"])

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token ids, shape (n, length), padded with ids lower than the end token's."""
        # The end token, whose id is the highest, sees the whole sentence and nothing after it.
        ends = self.backbone(tokens)[torch.arange(len(tokens)), tokens.argmax(dim=1)]
        embedded: Tensor = self.head.linear_projection(ends)
        return embedded


class _TextBackbone(nn.Module):
    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        width = sizes["width"]
        self.token_embedding = nn.Embedding(sizes["vocabulary"], width)
        self.positional_embedding = nn.Parameter(torch.zeros(sizes["context"], width))
        self.blocks = nn.ModuleList(
            TextBlock(width, sizes["hidden"]) for _ in range(sizes["blocks"])
        )
        self.ln_final = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        seen = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        for block in self.blocks:
            seen = block(seen)
        normalised: Tensor = self.ln_final(seen)
        return normalised


class _TextHead(nn.Module):
    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.linear_projection = nn.Linear(width, dim, bias=False)


class DinoText:
    """Sentences to DINO.txt vectors: a half for the class token, then one for the patches.

    Parameters
    ----------
    tower : TextTower
        With its weights.
    tokenizer : ClipTokenizer
        CLIP's.
    """

    def __init__(self, tower: TextTower, tokenizer: ClipTokenizer) -> None:
        self._tower, self._tokenizer = tower, tokenizer

    @classmethod
    def open(cls, path: Path, tokenizer: ClipTokenizer) -> DinoText:
        """Open ``dinov2_vitl14_reg4_dinotxt_tet1280d20h24l_text_encoder.pth``.

        Sizes are read off the weights (24 blocks, 1280 wide, 20 heads, 2048 out).

        Raises
        ------
        ModelError
            Weights are missing, left over or of another shape; they are named.
        """
        state = read_state(path)
        sizes = _text_sizes(state, Path(path))
        with torch.device("meta"):
            tower = TextTower(sizes)
        return cls(fit(tower, state, source=path), tokenizer)

    @torch.inference_mode()
    def embed(
        self, texts: Sequence[str], *, progress: Callable[[float, str], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, shape (n, 2 * dim), not normalised; see `TextTower`'s protocol."""
        rows = [np.empty((0, self._tower.dim), np.float32)]
        for start in range(0, len(texts), _BATCH):
            some = texts[start : start + _BATCH]
            framed = [self._tokenizer.frame(text, self._tower.context) for text in some]
            length = max(map(len, framed))
            padded = torch.tensor([[*row, *[0] * (length - len(row))] for row in framed])
            blocks = self._tower.backbone.blocks
            with spare_core(), counting(blocks, progress, start, len(some), len(texts)):
                rows.append(self._tower(padded).numpy())
        if progress is not None:
            progress(1.0, f"{len(texts)} sentences")
        return np.concatenate(rows)


def _text_sizes(state: Mapping[str, Tensor], path: Path) -> dict[str, int]:
    what = "text tower"
    vocabulary, width = _shape(state, "backbone.token_embedding.weight", 2, path, what)
    first = "backbone.blocks.0.feed_forward.fc1.weight"
    return {
        "vocabulary": vocabulary,
        "width": width,
        "context": _shape(state, "backbone.positional_embedding", 2, path, what)[0],
        "hidden": _shape(state, first, 2, path, what)[0],
        "blocks": _count(state, "backbone.blocks."),
        "dim": _shape(state, "head.linear_projection.weight", 2, path, what)[0],
    }


def _shape(
    state: Mapping[str, Tensor], name: str, axes: int, path: object, what: str
) -> tuple[int, ...]:
    if name not in state or state[name].ndim != axes:
        raise ModelError(
            f"{path} holds no {name}, so it is no {what} of DINO.txt; choose the published file."
        )
    return tuple(state[name].shape)


def _count(state: Mapping[str, Tensor], start: str) -> int:
    """Count the blocks whose weights start like that."""
    numbers = (name.removeprefix(start).split(".")[0] for name in state if name.startswith(start))
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)
