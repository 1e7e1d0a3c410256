"""DINO, DINOv2 and DINOv3: their vision transformers, and backbones on their patch tokens."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import get_ident
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from napari_patchioner.checkpoints import (
    fit,
    read_settings,
    read_state,
    rename,
    tensors_sha256,
    unfilled,
)
from napari_patchioner.devices import to_numpy
from napari_patchioner.errors import ModelError

from . import base
from .attention import quicken_attention
from .base import Backbone, Features, FloatArray, Layout, Preprocessing, hooked, layer_count
from .clip_towers import last_line
from .engine import Conversion, Engine, try_pictures

Attention: TypeAlias = Literal["paper", "reference"]

# Side of the square input: 37 patches of 14 pixels as in the paper, else 32 patches.
_NATIVE = {14: 518, 16: 512}

# Patch-ioner splits every model but the small one in 16 and scales as if heads were 64 wide.
_REFERENCE_HEADS, _REFERENCE_SCALE = 16, 0.125
_SMALL = 384

_HEAD_WIDTH = 64
_LETTERS = {192: "t", 384: "s", 768: "b", 1024: "l", 1280: "h", 1536: "g"}
_ESSENTIAL = {
    "cls_token": "cls_token",
    "patch.weight": "patch_embed.proj.weight",
    "norm.weight": "norm.weight",
    "blocks.0.up.weight": "blocks.0.mlp",
}
# Family and class in transformers of every kind of model.
_KINDS = {
    "dinov2_with_registers": ("dinov2", "Dinov2WithRegisters"),
    "dinov2": ("dinov2", "Dinov2"),
    "dinov3_vit": ("dinov3", "DINOv3ViT"),
    "vit": ("dino", "ViT"),
}

# Meta's "blocks.0", Hugging Face's "encoder.layer.0", "layer.0", "model.layer.0" or "layers.0".
_BLOCK = r"(?:blocks|(?:encoder\.|model\.)?layers?)\.(\d+)\."
_PARTS = {
    "norm1": r"(?:norm1|layernorm_before)",
    "norm2": r"(?:norm2|layernorm_after)",
    "qkv": r"attn\.qkv",
    "q": r"attention\.(?:attention\.query|q_proj)",
    "k": r"attention\.(?:attention\.key|k_proj)",
    "v": r"attention\.(?:attention\.value|v_proj)",
    "o": r"(?:attn\.proj|attention\.output\.dense|attention\.o_proj)",
    "gate_up": r"mlp\.(?:w12|weights_in)",
    "gate": r"mlp\.(?:w1|gate_proj)",
    "up": r"(?:mlp\.(?:fc1|w2|up_proj)|intermediate\.dense)",
    "down": r"(?:mlp\.(?:fc2|w3|down_proj|weights_out)|output\.dense)",
}
_PATCH = r"(?:patch_embed\.proj|embeddings\.patch_embeddings(?:\.projection)?)\.(weight|bias)"
_RULES: list[tuple[str, str | None]] = [
    (r"(?:embeddings\.)?cls_token", "cls_token"),
    (r"register_tokens|storage_tokens|embeddings\.register_tokens", "registers"),
    (r"pos_embed|embeddings\.position_embeddings", "positions"),
    (_PATCH, r"patch.\1"),
    (r"(?:norm|layernorm)\.(weight|bias)", r"norm.\1"),
    *(
        (f"{_BLOCK}{pattern}" + r"\.(weight|bias)", rf"blocks.\1.{part}.\2")
        for part, pattern in _PARTS.items()
    ),
    (_BLOCK + r"(?:ls|layer_scale)([12])\.(?:gamma|lambda1)", r"blocks.\1.scale\2"),
    (_BLOCK + r"attn\.qkv\.bias_mask", r"blocks.\1.qkv.mask"),
    # Only training masks patches or pools the class token; rotations follow from the sizes.
    (r"(?:embeddings\.)?mask_token|pooler\..*|rope_embed.*", None),
]
_FUSED = {"qkv": ("q", "k", "v"), "gate_up": ("gate", "up")}


class Tokens(NamedTuple):
    """What a DINO makes of one picture; tokens are those after the final layer norm.

    ``patches`` (rows, columns, dim), ``cls`` (dim,), ``registers`` (registers, dim). ``qkv``,
    (tokens, 3 * dim), are queries, keys and values of the last block side by side, the class token
    first, then the registers, then the patches; before the rotation of DINOv3's positions, as the
    published code reads them.
    """

    patches: Tensor
    cls: Tensor
    registers: Tensor
    qkv: Tensor


class DinoVision:
    """A DINO vision transformer, from weights on disk.

    Positions of another grid than the trained one are interpolated as transformers does it:
    bicubic, to the exact size, with antialiasing in DINOv2 with registers (what Meta's code does
    for these too) and without it in DINOv2 and DINO (Meta's code shifts by a tenth of a patch
    there). At its native size (518 pixels in DINOv2) nothing is interpolated. DINOv3 has rotary
    positions, which need none.

    DINO and DINOv2 are under Apache-2.0, DINOv3 under a licence of its own.

    ``network`` is a model of transformers with its weights; ``global_tokens`` are the class token
    and registers, which come before the patches; ``name`` holds the architecture and a fingerprint
    of the weights, the same in any layout of them.
    """

    def __init__(self, network: Any, name: str) -> None:
        self.network, self.name = network, name
        config = network.config
        self.dim = int(config.hidden_size)
        self.patch_size = int(config.patch_size)
        self.heads = int(config.num_attention_heads)
        self.global_tokens = 1 + int(getattr(config, "num_register_tokens", 0))
        own = _own_names(network.state_dict())
        self.blocks = [
            network.get_submodule(own[f"blocks.{number}.norm1.weight"].rsplit(".", 2)[0])
            for number in range(config.num_hidden_layers)
        ]
        last = f"blocks.{config.num_hidden_layers - 1}."
        names = [own[f"{last}{letter}.weight"].removesuffix(".weight") for letter in "qkv"]
        self._last_qkv = [network.get_submodule(name) for name in names]
        self._options = {"interpolate_pos_encoding": True} if config.model_type == "vit" else {}

    @classmethod
    def open(cls, path: Path) -> DinoVision:
        """Open a DINO.

        ``path`` is a folder of the Hugging Face hub (``config.json`` and weights, by Hugging Face's
        names or Meta's), or a file of weights alone, whose sizes decide the architecture. Raises
        ``ModelError`` where weights are missing, left over, mis-shaped or not a DINO's.
        """
        return cls.from_state(read_state(path), source=Path(path))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], *, source: Path) -> DinoVision:
        """Make a DINO of weights that have been read, see :meth:`open`."""
        weights = _plain(state)
        path = source / "config.json"
        settings = read_settings(path) if path.is_file() else {}
        if settings.get("model_type") not in _KINDS:
            settings = _infer_settings(weights, source)
        network = _empty_network(settings, source)
        own = _own_names(network.state_dict())
        named = _fused_like(weights, own)
        named = rename(named, [(re.escape(name), own[name]) for name in named if name in own])
        fit(network, named, source=source)
        quicken_attention(network)
        some = {name: weights[name] for name in ("norm.weight", "norm.bias", "cls_token")}
        config = network.config
        letter = _LETTERS.get(config.hidden_size, f"-{config.hidden_size}w-")
        registers = int(getattr(config, "num_register_tokens", 0))
        family = f"{_KINDS[config.model_type][0]}-vit{letter}{config.patch_size}"
        family += f"-reg{registers}" if registers else ""
        return cls(network, f"{family}-{tensors_sha256(some)[:8]}")

    @torch.inference_mode()
    def encode(self, pixels: Tensor, engine: Engine | None = None) -> Tokens:
        """Encode one normalised picture of whole patches, shape (1, 3, height, width).

        An ``engine`` made of :meth:`fixed` runs pictures of the size it was made for.
        """
        rows, columns = (side // self.patch_size for side in pixels.shape[-2:])
        tokens, qkv = (part[0] for part in (engine or self)(pixels))
        return Tokens(
            patches=tokens[self.global_tokens :].reshape(rows, columns, self.dim),
            cls=tokens[0],
            registers=tokens[1 : self.global_tokens],
            qkv=qkv,
        )

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute all tokens, shape (1, tokens, dim), and `Tokens.qkv` (1, tokens, 3 * dim)."""
        outputs: dict[Any, Tensor] = {}
        thread = get_ident()

        def record(module: Any, _inputs: Any, output: Tensor) -> None:
            if get_ident() == thread:
                outputs[module] = output

        with hooked(dict.fromkeys(self._last_qkv, record)):
            tokens = self.network(pixel_values=pixels, **self._options).last_hidden_state
        return tokens, torch.cat([outputs[module] for module in self._last_qkv], dim=2)

    @torch.inference_mode()
    def fixed(self, rows: int, columns: int) -> nn.Module:
        """Return the network as a module for pictures of so many patches, to be exported.

        It shares the weights; positions are interpolated here, since no exporter knows how.
        """
        network = _copied(self.network)
        interpolate = getattr(network.embeddings, "interpolate_pos_encoding", None)
        if interpolate is not None:
            height, width = rows * self.patch_size, columns * self.patch_size
            tokens = torch.zeros(1, 1 + rows * columns, self.dim)
            positions = interpolate(tokens, height, width).clone()
            network.embeddings = _copied(network.embeddings)
            network.embeddings.interpolate_pos_encoding = lambda *_: positions
        # An exporter has a network trained afterwards if its module was.
        return _Fixed(network, DinoVision(network, self.name)).eval()

    def attention(self, tokens: Tokens, how: Attention = "paper") -> FloatArray:
        """Attention of the class token over the patches in the last block, summing to one.

        ``"paper"`` takes the network's own heads, ``"reference"`` the 16 that the published code
        splits every network but the small one in. Averaged over heads the two differ by a factor
        of the logits: for ViT-B, 12/16. Shape (rows, columns).
        """
        heads, scale = self.heads, None
        if how == "reference":
            heads = self.heads if self.dim == _SMALL else _REFERENCE_HEADS
            scale = _REFERENCE_SCALE
        flat = base.class_attention(to_numpy(tokens.qkv), heads, self.global_tokens, scale=scale)
        return flat.reshape(tokens.patches.shape[:2])


class _Fixed(nn.Module):
    """A DINO's network with what is read of it as its outputs."""

    def __init__(self, network: nn.Module, vision: DinoVision) -> None:
        super().__init__()
        self.network, self._vision = network, vision

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what `DinoVision` does."""
        return self._vision(pixels)


def _copied(module: Any) -> Any:
    """Return a module of the same parts, which may be exchanged one by one."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a DINO's weights, by Meta's names or Hugging Face's, in this package's names.

    These are ``cls_token``, ``registers``, ``positions``, ``patch.*``, ``norm.*`` and
    ``blocks.N.*`` with ``norm1``, ``q``, ``k``, ``v``, ``o``, ``scale1``, ``norm2``, ``gate``
    (gated ones), ``up``, ``down`` and ``scale2``. Names no rule knows stay as they are. Key biases
    that DINOv3 masks out are gone. A mixture of both namings raises ``ModelError``.
    """
    renamed = rename(state, _RULES)
    parted: dict[str, Tensor] = {}
    for name, value in renamed.items():
        block, _, rest = name.rpartition(".")
        prefix, _, part = block.rpartition(".")
        pieces, mask = _FUSED.get(part, ()), renamed.get(f"{block}.mask")
        if pieces and rest == "mask":
            continue
        if not pieces or value.ndim == 0 or len(value) % len(pieces):
            parted[name] = value
            continue
        if rest == "bias" and mask is not None:
            value = value * mask
        for piece, share in zip(pieces, value.chunk(len(pieces)), strict=True):
            if mask is None or (piece, rest) != ("k", "bias") or share.any():
                parted[f"{prefix}.{piece}.{rest}"] = share
    return parted


def _own_names(names: Iterable[str]) -> dict[str, str]:
    """Return a network's own name for every one of this package's."""
    empty = torch.empty(0)
    return {known: name for name in names for known in rename({name: empty}, _RULES)}


def _fused_like(state: Mapping[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """Join again what a network keeps in one matrix, as older versions of transformers do."""
    joined = dict(state)
    for name in own:
        block, _, rest = name.rpartition(".")
        prefix, _, part = block.rpartition(".")
        pieces = [f"{prefix}.{piece}.{rest}" for piece in _FUSED.get(part, ())]
        if pieces and all(piece in joined for piece in pieces):
            joined[name] = torch.cat([joined.pop(piece) for piece in pieces])
    return joined


def _infer_settings(weights: Mapping[str, Tensor], source: object) -> dict[str, Any]:
    """Read a network's settings off its weights, in this package's names; heads are 64 wide."""
    for name, published in _ESSENTIAL.items():
        if name not in weights:
            raise ModelError(f"{source} holds no {published}, so it is no DINO; choose one.")
    try:
        dim, channels, patch, _ = weights["patch.weight"].shape
        hidden = int(weights["blocks.0.up.weight"].shape[0])
        registers = int(weights["registers"].shape[1]) if "registers" in weights else 0
        gated = "blocks.0.gate.weight" in weights
        settings: dict[str, Any] = {
            "hidden_size": dim,
            "num_channels": channels,
            "patch_size": patch,
            "num_hidden_layers": layer_count(weights, "blocks."),
            "num_attention_heads": max(1, dim // _HEAD_WIDTH),
            "layer_norm_eps": 1e-6,
        }
        if registers:
            settings["num_register_tokens"] = registers
        if "positions" not in weights:
            act = "silu" if gated else "gelu"
            settings |= {"model_type": "dinov3_vit", "image_size": 224, "layer_norm_eps": 1e-5}
            settings |= {"intermediate_size": hidden, "use_gated_mlp": gated, "hidden_act": act}
            return settings | {"num_register_tokens": registers}
        settings["image_size"] = patch * math.isqrt(weights["positions"].shape[1] - 1)
        if "blocks.0.scale1" not in weights:
            return settings | {"model_type": "vit", "intermediate_size": hidden}
        # A gated layer keeps two thirds of four times the width.
        settings |= {"use_swiglu_ffn": gated, "mlp_ratio": 4 if gated else hidden // dim}
        return settings | {"model_type": "dinov2_with_registers" if registers else "dinov2"}
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"{source} has weights of no DINO's shape; choose another file."
        ) from error


def _empty_network(settings: Mapping[str, Any], source: Path) -> Any:
    """Build a network without weights."""
    import transformers

    kind = settings["model_type"]
    stem = _KINDS[kind][1]
    extra = {"add_pooling_layer": False} if kind == "vit" else {}
    try:
        config = getattr(transformers, f"{stem}Config").from_dict(dict(settings))
        with unfilled():
            network = getattr(transformers, f"{stem}Model")(config, **extra)
    except Exception as error:
        # The settings may be anybody's: whatever transformers makes of them is one message.
        problem = f"{source} has settings that make no network ({last_line(error)})."
        raise ModelError(problem) from error
    # No weights of a finished network: only training hides patches behind it.
    if hasattr(network.embeddings, "mask_token"):
        network.embeddings.mask_token = None
    if hasattr(network, "rope_embeddings"):
        network.rope_embeddings = type(network.rope_embeddings)(config)
    return network


class DinoBackbone(Backbone):
    """What backbones on a DINO share.

    A patch embedding is DINO's patch token after the final layer norm, as it is (registers and
    class token left out); ``attention`` of a grid is the class token's in the last block, averaged
    over heads before the softmax; ``cls`` is the class token.

    ``size`` is the side of the square, long side (``layout="aspect"``) or short side (``"crop"``)
    in pixels. At its default size the whole picture is squashed into a square of 518 pixels, 37 by
    37 patches (DINOv2, patches of 14 pixels), or of 512 pixels, 32 by 32 patches (DINOv3, patches
    of 16); ViT-B has 768 numbers a patch, ViT-L 1024. ``attention`` is ``"paper"``: with the
    network's own heads, or ``"reference"``: the 16 that Patch-ioner splits ViT-B in.

    ``files["vision"]`` is the folder of a DINO, or its weights alone; ``top`` names what refines
    its tokens.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        vision: DinoVision,
        top: str = "",
        *,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> None:
        if attention not in ("paper", "reference"):
            raise ModelError(f"The attention must be paper or reference, not {attention!r}.")
        self.vision, self._attention = vision, attention
        self.networks, self.blocks = [vision.network], vision.blocks
        self.dim, self.patch_size = vision.dim, vision.patch_size
        self.input_size = size or _NATIVE.get(vision.patch_size, 32 * vision.patch_size)
        self.preprocessing = Preprocessing(self.input_size, self.patch_size, layout)
        ending = "" if attention == "paper" else "attention-reference"
        parts = (self.kind, vision.name, top, str(self.input_size), layout, ending)
        self.name = "/".join(filter(None, parts))

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> tuple[Any, ...]:
        """Open a DINO."""
        return (DinoVision.open(files["vision"]),)

    def forward(self, pixels: Tensor) -> Features:
        """DINO's tokens, refined where a subclass does so."""
        tokens = self.vision.encode(pixels, self.engine)
        patches, cls = self.refine(tokens)
        return Features(patches, self.vision.attention(tokens, self._attention), cls=cls)

    def conversion(self) -> Conversion | None:
        """Return what ONNX Runtime needs to run the network in 8 bits, on one size of pictures."""
        if self.preprocessing.layout != "square":
            return None

        def pictures() -> list[Tensor]:
            return [self.preprocessing(picture).pixels for picture in try_pictures()]

        side = self.input_size // self.patch_size
        return Conversion(
            self.vision.network,
            pictures,
            outputs=("tokens", "qkv"),
            about=f"{self.vision.name} {side} {self.vision.network.config.to_json_string()}",
            channels=2,
            in_8_bits=True,
            exported=lambda: self.vision.fixed(side, side),
        )

    def refine(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Return patches, shape (rows, columns, dim), and class token, shape (dim,)."""
        return tokens.patches, tokens.cls


class Dino(DinoBackbone):
    """DINO patch embeddings, without text in their space.

    The grids are those of `Talk2DINO`, number for number: its projection acts on text only, so a
    model that comes with its memory bank and decoder needs neither the projection nor CLIP to
    caption.
    """

    kind = "dino"
