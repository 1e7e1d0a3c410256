"""DINO.txt (Jose et al., CVPR 2025): DINOv2's patches refined, with text in their space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.checkpoints import fit, read_state, tensors_sha256
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError

from .dino import DinoBackbone
from .dino_vit import Attention, DinoVision, Tokens
from .text import LazyText, TextBackbone, TextEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_patchioner.progress import Progress

    from .base import Layout

_HEAD_WIDTH = 64


class DinoTxt(DinoBackbone, TextBackbone):
    """DINOv2's tokens through the head of DINO.txt, and text embeddings among them.

    A frozen DINOv2 ViT-L/14 with registers makes tokens (after its final layer norm); a head of
    two transformer blocks and a layer norm refines them all together. A patch embedding is a
    refined patch token, ``cls`` the refined class token. The text tower (24 blocks, 1280 wide, on
    CLIP's word pieces) gives 2048 numbers a sentence: the first half is aligned with the refined
    class token, the second with the mean of the refined patches, and that half is the text
    embedding here. Compare by cosine.

    ``head=False`` leaves the head out and gives DINOv2's own tokens, as Patch-ioner's baseline
    does; text was not trained to match those.

    At its default size the whole picture is squashed into a square of 518 pixels, 37 by 37
    patches of 1024 numbers. DINOv2 and DINO.txt are under Apache-2.0.

    Without a head (None) the tokens stay as they are. ``attention="reference"`` is no other than
    ``"paper"``: ViT-L's own heads are Patch-ioner's 16.
    """

    no_text = "This DINO.txt was opened without a text tower; add its text encoder file as text."

    def __init__(
        self,
        vision: DinoVision,
        head: VisionHead | None,
        text: LazyText | None = None,
        *,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> None:
        width = vision.dim if head is None else head.ln_final.weight.shape[0]
        if width != vision.dim:
            raise ModelError(
                f"The vision head reads {width} numbers where {vision.name} has {vision.dim}; "
                f"choose the head of the same DINO (DINOv2 ViT-L/14 with registers)."
            )
        top = f"head-{tensors_sha256(head.ln_final.state_dict())[:8]}" if head else "headless"
        kind = f"dinotxt/{vision.name}/{top}"
        super().__init__(vision, kind, size=size, layout=layout, attention=attention)
        self._head = head
        if head is not None:
            self.networks = [*self.networks, head]
            self.blocks = [*self.blocks, *head.block_list]
        self.set_text(text)
        # Whose text embeddings these are, which a memory bank must share.
        self.provenance = {"text": "dinotxt"}

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        head: bool = True,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> DinoTxt:
        """Open a DINO.txt from disk.

        ``files["vision"]`` is DINOv2 ViT-L/14 with registers, a folder or Meta's file; ``"head"``
        the file of the vision head, needed unless ``head=False``; ``"text"`` the file of the text
        tower, needed only to embed text; ``"merges"`` CLIP's word pieces, for the text tower,
        looked for in installed packages by default.
        """
        needed = {"vision": "DINOv2 ViT-L/14 with registers"}
        needed |= {"head": "the vision head"} if head else {}
        for role, what in needed.items():
            if role not in files:
                raise ModelError(f"DINO.txt needs {what}; give its file as {role}.")
        text = None
        if "text" in files:
            path, merges = Path(files["text"]), files.get("merges")
            text = LazyText(lambda: DinoText.open(path, ClipTokenizer(merges)))
        return cls(
            DinoVision.open(files["vision"]),
            VisionHead.open(Path(files["head"])) if head else None,
            text,
            size=size,
            layout=layout,
            attention=attention,
        )

    def refine(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Pass all tokens through the head together."""
        if self._head is None:
            return tokens.patches, tokens.cls
        flat = tokens.patches.flatten(0, 1)
        refined = self._head(torch.cat([tokens.cls[None], tokens.registers, flat])[None])[0]
        return refined[-len(flat) :].reshape(tokens.patches.shape), refined[0]

    def embed_text(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences, shape (n, dim): the half that is aligned with patches."""
        embedded = super().embed_text(texts, progress=progress)
        if embedded.shape[1] != 2 * self.dim:
            raise ModelError(
                f"The text tower gives {embedded.shape[1]} numbers where {2 * self.dim} belong "
                f"to this DINO.txt; choose the text tower of the same one."
            )
        return embedded[:, self.dim :]


class VisionHead(nn.Module):
    """Blocks and a layer norm on top of all tokens of a frozen DINOv2."""

    def __init__(self, width: int, hidden: int, blocks: int, *, bias: bool) -> None:
        super().__init__()
        self.block_list = nn.ModuleList(
            _VisionBlock(width, hidden, bias=bias) for _ in range(blocks)
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
        """
        state = read_state(path)
        hidden, width = _shape(state, "block_list.0.mlp.w1.weight", path, "vision head")
        bias = "block_list.0.attn.qkv.bias" in state
        with torch.device("meta"):
            head = cls(width, hidden, _count(state, "block_list."), bias=bias)
        return fit(head, state, source=path)


class DinoText(TextEncoder):
    """Sentences to DINO.txt vectors: a half for the class token, then one for the patches."""

    def __init__(self, network: Any, tokenizer: ClipTokenizer) -> None:
        self.network, self._tokenizer = network, tokenizer
        self._context = len(network.backbone.positional_embedding)
        self.dim = network.head.linear_projection.weight.shape[0]
        self.blocks = list(network.backbone.blocks)

    @classmethod
    def open(cls, path: Path, tokenizer: ClipTokenizer) -> DinoText:
        """Open ``dinov2_vitl14_reg4_dinotxt_tet1280d20h24l_text_encoder.pth``.

        Sizes are read off the weights (24 blocks, 1280 wide, 20 heads, 2048 out).
        """
        state = read_state(path)

        def shape(name: str) -> tuple[int, ...]:
            return _shape(state, name, path, "text tower")

        vocabulary, width = shape("backbone.token_embedding.weight")
        context = shape("backbone.positional_embedding")[0]
        hidden = shape("backbone.blocks.0.feed_forward.fc1.weight")[0]
        dim = shape("head.linear_projection.weight")[0]
        with torch.device("meta"):
            backbone = _TextLayers(
                vocabulary, context, width, hidden, _count(state, "backbone.blocks.")
            )
            network = _TextTower(backbone, width, dim)
        return cls(fit(network, state, source=path), tokenizer)

    def frame(self, text: str) -> list[int]:
        """Token ids with CLIP's start and end token."""
        return self._tokenizer.frame(text, self._context)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token ids; the end token, whose id is the highest, has attended to all others."""
        texts = torch.arange(len(tokens), device=tokens.device)
        ends = self.network.backbone(tokens)[texts, tokens.argmax(dim=1)]
        embedded: Tensor = self.network.head.linear_projection(ends)
        return embedded


class _TextTower(nn.Module):
    """The text tower's layers and its projection, under their published names."""

    def __init__(self, backbone: _TextLayers, width: int, dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Module()
        self.head.linear_projection = nn.Linear(width, dim, bias=False)


class _TextLayers(nn.Module):
    """A causal transformer on CLIP's word pieces."""

    def __init__(self, vocabulary: int, context: int, width: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.ModuleList(_TextBlock(width, hidden) for _ in range(blocks))
        self.ln_final = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        normalised: Tensor = self.ln_final(hidden)
        return normalised


class _Attention(nn.Module):
    """Self-attention with queries, keys and values in one matrix; heads are 64 wide."""

    def __init__(self, width: int, *, causal: bool, bias: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = max(1, width // _HEAD_WIDTH), causal
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        split = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        output: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return output


class _Gated(nn.Module):
    r"""SwiGLU: :math:`W_3(\mathrm{silu}(W_1 x) \cdot W_2 x)`."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden)
        self.w2 = nn.Linear(width, hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.w3(functional.silu(self.w1(tokens)) * self.w2(tokens))
        return output


class _Scale(nn.Module):
    """One learned factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


class _VisionBlock(nn.Module):
    """Block of the vision head: attention and SwiGLU, each normalised before and scaled after."""

    def __init__(self, width: int, hidden: int, *, bias: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = _Attention(width, causal=False, bias=bias)
        self.ls1 = _Scale(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = _Gated(width, hidden)
        self.ls2 = _Scale(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        passed: Tensor = tokens + self.ls2(self.mlp(self.norm2(tokens)))
        return passed


class _Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return output


class _TextBlock(nn.Module):
    """Block of the text tower: causal attention and an MLP, each normalised before."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = _Attention(width, causal=True)
        self.ffn_norm = nn.LayerNorm(width)
        self.feed_forward = _Mlp(width, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.attention_norm(tokens))
        passed: Tensor = tokens + self.feed_forward(self.ffn_norm(tokens))
        return passed


def _shape(state: Mapping[str, Tensor], name: str, path: object, what: str) -> tuple[int, ...]:
    """Return the shape of a matrix that there must be."""
    if name not in state or state[name].ndim != 2:
        raise ModelError(
            f"{path} holds no {name}, so it is no {what} of DINO.txt; choose the published file."
        )
    return tuple(state[name].shape)


def _count(state: Mapping[str, Tensor], start: str) -> int:
    """Count the blocks whose weights start like that."""
    numbers = (name.removeprefix(start).split(".")[0] for name in state if name.startswith(start))
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)
