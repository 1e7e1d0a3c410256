"""CLIPs as OpenCLIP (Ilharco et al. 2021) publishes them, among them those of biology."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_patchioner.bridges.language_models import read_tokenizer
from napari_patchioner.checkpoints import (
    fit,
    read_settings,
    read_state,
    rename,
    tensors_sha256,
    unfilled,
)
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError

from .base import CLIP, LazyText, TextEncoder, Triple, layer_count, shape_of
from .clip_towers import ClipText, ClipVision, below, lazy_text

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")

_HEAD_WIDTH = 64
_TRUNK, _HEAD, _BERT = "visual.trunk.", "visual.head.", "text.transformer."
# timm's vision transformers, under the names of transformers' CLIP.
_TIMM: list[tuple[str, str | None]] = [
    (r"blocks\.(\d+)\.norm([12])\.(.*)", r"vision_model.encoder.layers.\1.layer_norm\2.\3"),
    (r"blocks\.(\d+)\.mlp\.(fc[12])\.(.*)", r"vision_model.encoder.layers.\1.mlp.\2.\3"),
    (
        r"blocks\.(\d+)\.attn\.proj\.(.*)",
        r"vision_model.encoder.layers.\1.self_attn.out_proj.\2",
    ),
    (
        r"blocks\.(\d+)\.attn\.([qkv])\.(.*)",
        r"vision_model.encoder.layers.\1.self_attn.\2_proj.\3",
    ),
    (r"patch_embed\.proj\.weight", "vision_model.embeddings.patch_embedding.weight"),
    (r"cls_token", "vision_model.embeddings.class_embedding"),
    (r"pos_embed", "vision_model.embeddings.position_embedding.weight"),
    (r"norm\.(.*)", r"vision_model.post_layernorm.\1"),
]
_TIMM_EPS, _BERT_EPS = 1e-6, 1e-12
_POOLER = "cls_last_hidden_state_pooler"
# What a configuration may say besides sizes without changing what is computed here.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "pool_type": ("tok", "argmax"),
    "pos_embed_type": ("learnable",),
    "block_type": ("default",),
    "timm_pool": ("token",),
    "timm_proj": ("linear",),
    "proj_type": ("linear",),
    "tokenizer_kwargs": ({},),
}
_SIZES = {
    *("image_size", "patch_size", "width", "layers", "heads", "head_width", "mlp_ratio"),
    *("context_length", "vocab_size", "patch_dropout", "attn_pooler_queries", "attn_pooler_heads"),
    *("no_ln_pre", "output_tokens", "timm_model_name", "timm_model_pretrained", "timm_drop"),
    *("timm_drop_path", "hf_model_name", "hf_tokenizer_name", "hf_model_pretrained", "eos_id"),
}
# Older files leave the first two letters out.
_OF_BERT = ("hf_pooler_type", "hf_proj_type", "pooler_type", "proj")


def is_openclip(folder: Path) -> bool:
    """Whether a folder is in OpenCLIP's form rather than in Hugging Face's alone."""
    whole = any((folder / name).is_file() for name in WEIGHTS)
    return (folder / CONFIG).is_file() and (whole or not (folder / "config.json").is_file())


def read_openclip(
    folder: Path, merges: Path | None = None
) -> tuple[ClipVision, LazyText | None, tuple[Triple, Triple]]:
    """Open a CLIP in OpenCLIP's form, without OpenCLIP itself.

    The folder holds ``open_clip_config.json`` and ``open_clip_model.safetensors`` (or
    ``open_clip_pytorch_model.bin``); to embed text, ``merges.txt`` for CLIP's own text tower, which
    ``merges`` stands in for, or ``tokenizer.json`` for a BERT. The vision tower is CLIP's vision
    transformer or timm's. BiomedCLIP (Zhang et al. 2023; timm and PubMedBERT), QuiltNet (Ikezogwo
    et al. 2023) and BioCLIP 2 (Gu et al. 2025) are published so, under the MIT licence.

    Returns the vision tower, the text tower, opened when it is needed, and mean and deviation of
    the channels; a ModelError where the configuration asks for anything that is not known here.
    """
    settings = _Settings.read(folder)
    state = read_state(_weights(folder))
    text = _lazy_text(state, settings, folder, merges)
    return _vision(state, settings, folder), text, settings.normalisation


@dataclass(frozen=True)
class _Settings:
    """What counts of ``open_clip_config.json``."""

    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    activation: str
    normalisation: tuple[Triple, Triple]

    @classmethod
    def read(cls, folder: Path) -> _Settings:
        """Read it; a ModelError where it asks for what is not known here."""
        path = folder / CONFIG
        content = read_settings(path)
        model = content.get("model_cfg")
        model = model if isinstance(model, dict) else {}
        vision, text = model.get("vision_cfg"), model.get("text_cfg")
        if not isinstance(vision, dict) or not isinstance(text, dict):
            raise ModelError(f"{path} describes no CLIP; get the model again.")
        bert = "hf_model_name" in text
        if vision.get("timm_model_name") and vision.get("timm_pool", "avg") not in ("", "token"):
            raise _unknown(path, "timm_pool", vision.get("timm_pool", "avg"))
        for part in (vision, text):
            for name, value in part.items():
                harmless = not value or value in _NEUTRAL.get(name, ())
                if not (harmless or name in _SIZES or (bert and name in _OF_BERT)):
                    raise _unknown(path, name, value)
        pooler = text.get("hf_pooler_type", text.get("pooler_type", "mean_pooler"))
        if bert and pooler != _POOLER:
            raise _unknown(path, "hf_pooler_type", pooler)
        quick = model.get("quick_gelu") or "quickgelu" in str(vision.get("timm_model_name"))
        colours = content.get("preprocess_cfg", {})
        return cls(vision, text, "quick_gelu" if quick else "gelu", _normalisation(colours, path))


def _normalisation(colours: Any, path: Path) -> tuple[Triple, Triple]:
    """Return mean and standard deviation of the channels, CLIP's where none are given."""
    given = colours if isinstance(colours, dict) else {}
    parts = [given.get(name, own) for name, own in zip(("mean", "std"), CLIP, strict=True)]
    for part, least in zip(parts, (0, 1e-3), strict=True):
        numbers = isinstance(part, list | tuple) and len(part) == 3
        if not (numbers and all(type(x) in (int, float) and least <= x <= 1 for x in part)):
            raise ModelError(
                f"{path} gives no mean and deviation of three channels; get the model again."
            )
    return tuple(map(float, parts[0])), tuple(map(float, parts[1]))  # type: ignore[return-value]


def _unknown(path: Path, name: str, value: object) -> ModelError:
    return ModelError(
        f"{path} asks for {name} = {str(value)[:40]!r}, which is not known here; choose "
        f"a model with a plain vision transformer, such as BiomedCLIP, QuiltNet or BioCLIP 2."
    )


def _weights(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise ModelError(f"{folder} holds none of {', '.join(WEIGHTS)}; get the model again.")


def _vision(state: Mapping[str, Tensor], settings: _Settings, folder: Path) -> ClipVision:
    """Make the vision tower, of CLIP's or timm's weights."""
    ours: dict[str, Any] = {"hidden_act": settings.activation}
    if settings.vision.get("timm_model_name"):
        ours["layer_norm_eps"] = _TIMM_EPS
        state, first_norm = _from_timm(state, folder), False
    else:
        state = {k: v for k, v in state.items() if k.startswith("visual.")}
        first_norm = not settings.vision.get("no_ln_pre")
    head_width = int(settings.vision.get("head_width") or _HEAD_WIDTH)
    stem = state.get(
        "visual.conv1.weight", state.get("vision_model.embeddings.patch_embedding.weight")
    )
    if stem is not None and head_width != _HEAD_WIDTH:
        ours["num_attention_heads"] = max(1, len(stem) // head_width)
    return ClipVision.from_state(state, source=folder, settings=ours, first_norm=first_norm)


def _from_timm(state: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Return timm's vision transformer and OpenCLIP's head under transformers' names of CLIP's.

    CLIP's patches have no bias. It counts like a part of the positions, and stays the same when
    those are interpolated.
    """
    trunk: dict[str, Tensor] = {}
    for name, value in below(state, _TRUNK).items():
        if ".attn.qkv." in name:
            for letter, piece in zip("qkv", value.chunk(3), strict=True):
                trunk[name.replace("attn.qkv", f"attn.{letter}")] = piece.contiguous()
        else:
            trunk[name] = value
    bias = trunk.pop("patch_embed.proj.bias", None)
    positions = trunk.get("pos_embed")
    if positions is None or positions.ndim != 3 or "cls_token" not in trunk:
        raise ModelError(f"{folder} holds no vision transformer of timm; get the model again.")
    table = positions[0].clone()
    if bias is not None:
        table[1:] += bias
    trunk |= {"pos_embed": table, "cls_token": trunk["cls_token"].flatten()}
    named = rename(trunk, _TIMM)
    heads = below(state, _HEAD)
    named |= {
        "visual_projection.weight" if name == "proj.weight" else f"{_HEAD}{name}": value
        for name, value in heads.items()
    }
    return named


def _lazy_text(
    state: Mapping[str, Tensor], settings: _Settings, folder: Path, merges: Path | None
) -> LazyText | None:
    """Name the text tower, to be opened when it is needed."""
    if "hf_model_name" in settings.text:
        last = _last_of(state, "text.proj.")
        if last is None:
            return None
        name = f"openclip-text-{len(last)}-{tensors_sha256({'proj': last})[:8]}"
        load = partial(OpenClipBert.open, folder)
        return LazyText(load, name=name, dim=len(last))

    def load_clip() -> ClipText:
        tokenizer = ClipTokenizer(merges or folder / "merges.txt")
        heads = (
            {"num_attention_heads": int(settings.text["heads"])} if "heads" in settings.text else {}
        )
        return ClipText.from_state(
            _clip_text(read_state(_weights(folder))),
            tokenizer,
            source=folder,
            settings={"hidden_act": settings.activation, **heads},
        )

    return lazy_text(_clip_text(state), load_clip)


def _clip_text(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of CLIP's text tower, which some models have below ``text.``."""
    inside = below(state, "text.")
    return inside or {k: v for k, v in state.items() if not k.startswith("visual.")}


def _last_of(state: Mapping[str, Tensor], start: str) -> Tensor | None:
    """Return the weight of the last linear layer among those whose names start so."""
    names = sorted(name for name in state if name.startswith(start) and name.endswith("weight"))
    return state[names[-1]] if names else None


class OpenClipBert(TextEncoder):
    """Sentences to vectors through a BERT, as BiomedCLIP has it (PubMedBERT).

    A text's vector is the last state of ``[CLS]`` through the projection, one linear layer or two
    with a GELU between; it is not normalised. Texts are cut to the configuration's context, 256
    tokens in BiomedCLIP.
    """

    def __init__(self, network: _Bert, tokenizer: Any) -> None:
        self.network, self.blocks = network, list(network.transformer.encoder.layer)
        self.dim = int([m for m in network.proj if isinstance(m, nn.Linear)][-1].out_features)
        self._tokenizer = tokenizer
        self.frame = self._framed

    @classmethod
    def open(cls, folder: Path) -> OpenClipBert:
        """Open the text tower of a folder, with its ``tokenizer.json``."""
        settings = _Settings.read(folder)
        path = folder / "tokenizer.json"
        tokenizer = read_tokenizer(path)
        tokenizer.no_padding()
        if tokenizer.token_to_id("[PAD]") != 0:
            raise ModelError(f"{path} is no tokenizer of a BERT; get the model again.")
        state = {
            name: value
            for name, value in below(read_state(_weights(folder)), "text.").items()
            if name.startswith(("transformer.", "proj."))
        }
        network = _Bert.of_state(state, folder)
        longest = network.transformer.config.max_position_embeddings
        context = min(int(settings.text.get("context_length", 77)), longest)
        tokenizer.enable_truncation(max(2, context))
        return cls(network, tokenizer)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token ids, padded with 0."""
        embedded: Tensor = self.network(tokens)
        return embedded

    def _framed(self, text: str) -> list[int]:
        """Token ids of a text, cleaned as OpenCLIP does it, with ``[CLS]`` and ``[SEP]``."""
        from ftfy import fix_text

        clean = " ".join(html.unescape(html.unescape(fix_text(text))).split())
        return list(self._tokenizer.encode(clean).ids)


class _Bert(nn.Module):
    """A BERT and the projection behind it, under OpenCLIP's names."""

    def __init__(self, config: Any, sizes: list[tuple[int, int]]) -> None:
        from transformers import BertModel

        super().__init__()
        self.transformer = BertModel(config, add_pooling_layer=False)
        layers: list[nn.Module] = []
        for outputs, inputs in sizes:
            layers += [nn.GELU()] if layers else []
            layers.append(nn.Linear(inputs, outputs, bias=False))
        self.proj = nn.Sequential(*layers)

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], source: object) -> _Bert:
        """Make it of weights, from which its sizes are read; heads are 64 wide."""
        from transformers import BertConfig

        def shape(name: str) -> tuple[int, ...]:
            return shape_of(state, name, 2, f"{source} holds no {name}; get the model again.")

        embeddings, layer = "transformer.embeddings", "transformer.encoder.layer."
        vocabulary, width = shape(f"{embeddings}.word_embeddings.weight")
        config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=layer_count(state, layer),
            num_attention_heads=max(1, width // _HEAD_WIDTH),
            intermediate_size=shape(f"{layer}0.intermediate.dense.weight")[0],
            max_position_embeddings=shape(f"{embeddings}.position_embeddings.weight")[0],
            type_vocab_size=shape(f"{embeddings}.token_type_embeddings.weight")[0],
            layer_norm_eps=_BERT_EPS,
        )
        # One linear layer is called proj itself, two are 0 and 2.
        state = rename(state, [(r"proj\.weight", "proj.0.weight")])
        sizes = []
        for name in sorted(name for name in state if name.startswith("proj.")):
            outputs, inputs = shape(name)
            sizes.append((outputs, inputs))
        with unfilled():
            network = cls(config, sizes)
        ignore = ("*position_ids", "*token_type_ids", "transformer.pooler.*")
        return fit(network, state, source=source, ignore=ignore)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = (tokens != 0).long()
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        states = self.transformer(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=positions,
            token_type_ids=torch.zeros_like(tokens),
        ).last_hidden_state
        projected: Tensor = self.proj(states[:, 0])
        return projected
