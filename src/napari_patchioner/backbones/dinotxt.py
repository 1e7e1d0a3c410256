"""DINO.txt (Jose et al., CVPR 2025): DINOv2's patches refined, with text in their space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner.checkpoints import fit, read_state, rename, tensors_sha256, unfilled
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError
from napari_patchioner.progress import Progress

from .base import FloatArray, LazyText, TextBackbone, TextEncoder, layer_count, shape_of
from .dino import DinoBackbone, DinoVision, Tokens

_HEAD_WIDTH = 64
_TEXT_PARTS = {
    "attention_norm": "norm1",
    "attention": "attn",
    "ffn_norm": "norm2",
    r"feed_forward\.fc1": "mlp.w1",
    r"feed_forward\.fc2": "mlp.w3",
}
# The text tower's blocks under the names of the vision head's.
_TEXT_RULES: list[tuple[str, str | None]] = [
    *(
        (rf"backbone\.blocks\.(\d+)\.{published}\.(.*)", rf"blocks.\1.{name}.\2")
        for published, name in _TEXT_PARTS.items()
    ),
    (r"(?:backbone|head)\.(.*)", r"\1"),
]


class DinoTxt(DinoBackbone, TextBackbone):
    """DINOv2's tokens through the head of DINO.txt, and text embeddings among them.

    A frozen DINOv2 ViT-L/14 with registers makes tokens (after its final layer norm); a head of
    two transformer blocks and a layer norm refines them all together. A patch embedding is a
    refined patch token, ``cls`` the refined class token. The text tower (24 blocks, 1280 wide, on
    CLIP's word pieces) gives 2048 numbers a sentence: the first half is aligned with the refined
    class token, the second with the mean of the refined patches, and that half is the text
    embedding here. Compare by cosine.

    Without a head (None) the tokens are DINOv2's own, as in Patch-ioner's baseline; text was not
    trained to match those. ``attention="reference"`` is no other than ``"paper"``: ViT-L's own
    heads are Patch-ioner's 16. DINOv2 and DINO.txt are under Apache-2.0.
    """

    kind = "dinotxt"
    no_text = "This DINO.txt was opened without a text tower; add its text encoder file as text."

    def __init__(
        self,
        vision: DinoVision,
        head: VisionHead | None,
        text: LazyText | None = None,
        **options: Any,
    ) -> None:
        width = vision.dim if head is None else head.ln_final.weight.shape[0]
        if width != vision.dim:
            raise ModelError(
                f"The vision head reads {width} numbers where {vision.name} has {vision.dim}; "
                f"choose the head of the same DINO (DINOv2 ViT-L/14 with registers)."
            )
        top = f"head-{tensors_sha256(head.ln_final.state_dict())[:8]}" if head else "headless"
        super().__init__(vision, top, **options)
        self._head = head
        if head is not None:
            self.networks = [*self.networks, head]
            self.blocks = [*self.blocks, *head.block_list]
        self.set_text(text)
        # Whose text embeddings these are, which a memory bank must share.
        self.provenance = {"text": "dinotxt"}

    @classmethod
    def open(cls, files: Mapping[str, Path], *, head: bool = True, **options: Any) -> Self:
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
        top = VisionHead.open(Path(files["head"])) if head else None
        return cls(DinoVision.open(files["vision"]), top, text, **options)

    def refine(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Pass all tokens through the head together."""
        if self._head is None:
            return super().refine(tokens)
        flat = tokens.patches.flatten(0, 1)
        refined = self._head(torch.cat([tokens.cls[None], tokens.registers, flat])[None])[0]
        return refined[-len(flat) :].reshape(tokens.patches.shape), refined[0]

    def embed_text(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
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
        self.block_list = nn.Sequential(
            *(_Block(width, hidden, causal=False, bias=bias) for _ in range(blocks))
        )
        self.ln_final = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Refine tokens, shape (batch, length, width): class token, registers, patches."""
        refined: Tensor = self.ln_final(self.block_list(tokens))
        return refined

    @classmethod
    def open(cls, path: Path) -> VisionHead:
        """Open ``dinov2_vitl14_reg4_dinotxt_tet1280d20h24l_vision_head.pth``.

        Sizes are read off the weights (1024 wide, two blocks, 2752 hidden).
        """
        state = read_state(path)
        hidden, width = _shape(state, "block_list.0.mlp.w1.weight", path, "vision head")
        bias = "block_list.0.attn.qkv.bias" in state
        with unfilled():
            head = cls(width, hidden, layer_count(state, "block_list."), bias=bias)
        return fit(head, state, source=path)


class DinoText(TextEncoder):
    """Sentences to DINO.txt vectors: a half for the class token, then one for the patches."""

    def __init__(self, network: _TextTower, tokenizer: ClipTokenizer) -> None:
        self.network = network
        self.frame = partial(tokenizer.frame, length=len(network.positional_embedding))
        self.dim = network.linear_projection.weight.shape[0]
        self.blocks = list(network.blocks)

    @classmethod
    def open(cls, path: Path, tokenizer: ClipTokenizer) -> DinoText:
        """Open ``dinov2_vitl14_reg4_dinotxt_tet1280d20h24l_text_encoder.pth``.

        Sizes are read off the weights (24 blocks, 1280 wide, 20 heads, 2048 out).
        """
        state = read_state(path)
        (vocabulary, width), (context, _), (hidden, _), (dim, _) = (
            _shape(state, name, path, "text tower")
            for name in (
                "backbone.token_embedding.weight",
                "backbone.positional_embedding",
                "backbone.blocks.0.feed_forward.fc1.weight",
                "head.linear_projection.weight",
            )
        )
        blocks = layer_count(state, "backbone.blocks.")
        with unfilled():
            network = _TextTower(vocabulary, context, width, hidden, blocks, dim)
        return cls(fit(network, rename(state, _TEXT_RULES), source=path), tokenizer)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token ids; the end token, whose id is the highest, has attended to all others."""
        texts = torch.arange(len(tokens), device=tokens.device)
        ends = self.network(tokens)[texts, tokens.argmax(dim=1)]
        embedded: Tensor = self.network.linear_projection(ends)
        return embedded


class _TextTower(nn.Module):
    """A causal transformer on CLIP's word pieces, and the projection of what it gives."""

    def __init__(
        self, vocabulary: int, context: int, width: int, hidden: int, blocks: int, dim: int
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.Sequential(*(_Block(width, hidden, causal=True) for _ in range(blocks)))
        self.ln_final = nn.LayerNorm(width)
        self.linear_projection = nn.Linear(width, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        normalised: Tensor = self.ln_final(self.blocks(hidden))
        return normalised


class _Block(nn.Module):
    r"""Attention and an MLP, each normalised before and, in the vision head, scaled after.

    The text tower's attention is causal, with a GELU in its MLP; the vision head has SwiGLU,
    :math:`W_3(\mathrm{silu}(W_1 x) \cdot W_2 x)`. Heads are 64 wide.
    """

    def __init__(self, width: int, hidden: int, *, causal: bool, bias: bool = False) -> None:
        super().__init__()
        self.causal, self.heads = causal, max(1, width // _HEAD_WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        qkv = nn.Linear(width, 3 * width, bias=bias)
        self.attn = nn.ModuleDict({"qkv": qkv, "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"w1": nn.Linear(width, hidden), "w3": nn.Linear(hidden, width)})
        if not causal:
            self.mlp["w2"] = nn.Linear(width, hidden)
            self.ls1, self.ls2 = (nn.ParameterDict({"gamma": torch.ones(width)}) for _ in range(2))

    def forward(self, tokens: Tensor) -> Tensor:
        split = self.attn["qkv"](self.norm1(tokens)).unflatten(-1, (3, self.heads, -1))
        q, k, v = split.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        added = self.attn["proj"](attended.transpose(1, 2).flatten(2))
        tokens = tokens + (added if self.causal else added * self.ls1["gamma"])
        normed = self.norm2(tokens)
        hidden = self.mlp["w1"](normed)
        if self.causal:
            added = self.mlp["w3"](functional.gelu(hidden))
        else:
            gated = functional.silu(hidden) * self.mlp["w2"](normed)
            added = self.mlp["w3"](gated) * self.ls2["gamma"]
        passed: Tensor = tokens + added
        return passed


def _shape(state: Mapping[str, Tensor], name: str, path: object, what: str) -> tuple[int, ...]:
    problem = f"{path} holds no {name}, so it is no {what} of DINO.txt; choose the published file."
    return shape_of(state, name, 2, problem)
