"""CLIP's two towers (Radford et al. 2021), step by step, from weights in any published layout."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchioner import checkpoints
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError

from .attention import quicken_attention
from .base import LazyText, TextEncoder, layer_count, resized_grid, shape_of

Tower: TypeAlias = Literal["text", "vision"]
Positions: TypeAlias = Literal["bicubic", "antialias", "offset", "bilinear"]

POSITIONS: tuple[Positions, ...] = ("bicubic", "antialias", "offset", "bilinear")
"""How position embeddings are interpolated, see `resample_positions`."""

# Globs of the weights of either tower, and of what whole checkpoints hold that no tower uses.
_TEXT = ("text_model.*", "text_projection.*")
_VISION = ("vision_model.*", "visual_projection.*")
_EXTRAS = ("logit_scale", "logit_bias", "*.position_ids")

_ALPHA = "vision_model.embeddings.alpha_embedding.weight"
_PROJECTION = "text_projection.weight"
_LETTERS = {768: "B", 1024: "L", 1280: "H"}
# DINO's and ProxyCLIP's way round a rounding error of old interpolations; it shifts the samples.
_OFFSET = 0.1
_HEAD_WIDTH = 64
_OPENAI = ("visual.", "transformer.resblocks.", "token_embedding.")
_TOWERS = {
    "visual.transformer.resblocks": "vision_model.encoder.layers",
    "transformer.resblocks": "text_model.encoder.layers",
}
_PARTS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn": "self_attn",
}
_RULES: list[tuple[str, str | None]] = [
    (rf"{re.escape(tower)}\.(\d+)\.{re.escape(part)}\.(.*)", rf"{layers}.\1.{name}.\2")
    for tower, layers in _TOWERS.items()
    for part, name in _PARTS.items()
] + [
    (r"visual\.class_embedding", "vision_model.embeddings.class_embedding"),
    (r"visual\.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    (r"visual\.conv1\.weight", "vision_model.embeddings.patch_embedding.weight"),
    # AlphaCLIP's second convolution, which transformers has no name for.
    (r"visual\.conv1_alpha\.weight", _ALPHA),
    (r"visual\.ln_pre\.(.*)", r"vision_model.pre_layrnorm.\1"),
    (r"visual\.ln_post\.(.*)", r"vision_model.post_layernorm.\1"),
    (r"visual\.proj", "visual_projection.weight"),
    (r"token_embedding\.(.*)", r"text_model.embeddings.token_embedding.\1"),
    (r"positional_embedding", "text_model.embeddings.position_embedding.weight"),
    (r"ln_final\.(.*)", r"text_model.final_layer_norm.\1"),
    (r"text_projection", _PROJECTION),
    # Sizes and a mask that OpenAI's own files hold as tensors.
    (r"input_resolution|context_length|vocab_size|attn_mask", None),
]
_IN_PROJ = re.compile(r"(.*\.attn)\.in_proj[._](weight|bias)")
_TRANSPOSED = ("visual.proj", "text_projection")


def hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return CLIP weights under the names of transformers' ``CLIPModel``.

    They may be a whole CLIP's or one tower's, by Hugging Face's names or OpenAI's, who keep
    queries, keys and values in one matrix (``in_proj_weight``, or ``in_proj.weight`` in AlphaCLIP)
    and the two projections transposed. Names no rule knows stay as they are, so that a report can
    name them; a mixture of both namings raises ``ModelError``.
    """
    if not any(name.startswith(_OPENAI) for name in state):
        return dict(state)
    parted: dict[str, Tensor] = {}
    for name, value in state.items():
        if match := _IN_PROJ.fullmatch(name):
            for letter, piece in zip("qkv", value.chunk(3), strict=True):
                parted[f"{match[1]}.{letter}_proj.{match[2]}"] = piece
        else:
            parted[name] = value.T.contiguous() if name in _TRANSPOSED else value
    return checkpoints.rename(parted, _RULES)


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the weights whose names start with a prefix, without it."""
    return checkpoints.rename(state, [(re.escape(prefix) + r"(.*)", r"\1"), (r".*", None)])


def tower_config(folder: Path, tower: Tower) -> Any:
    """Read one tower's configuration from the ``config.json`` of a CLIP or of that tower alone.

    Returns a ``CLIPTextConfig`` or ``CLIPVisionConfig`` whose ``projection_dim`` is the whole
    model's; raises ``ModelError`` where the file is missing, damaged or another model's.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

    path = folder / "config.json"
    content = checkpoints.read_settings(path)
    kind = content.get("model_type")
    alone = CLIPTextConfig if tower == "text" else CLIPVisionConfig
    try:
        if kind == alone.model_type:
            return alone(**content)
        if kind == "clip":
            whole = CLIPConfig(**content)
            part = whole.text_config if tower == "text" else whole.vision_config
            part.projection_dim = whole.projection_dim
            return part
    except (TypeError, ValueError, KeyError, StrictDataclassError) as error:
        raise ModelError(f"{path} is no CLIP configuration ({last_line(error)}).") from error
    raise ModelError(
        f"{path} describes a model of the kind {kind!r}, which has no {tower} tower of CLIP; "
        f"choose the folder of a CLIP."
    )


def _infer_config(
    state: Mapping[str, Tensor], tower: Tower, source: object, settings: Mapping[str, Any]
) -> Any:
    """Read one tower's configuration off its weights, by Hugging Face's names.

    Heads are 64 wide and the activation is QuickGELU, as in every CLIP that OpenAI published;
    ``settings`` are those of the configuration that are otherwise and that weights do not show.
    """
    from transformers import CLIPTextConfig, CLIPVisionConfig

    def shape(name: str, axes: int = 2) -> tuple[int, ...]:
        problem = (
            f"{source} holds no {name}, which CLIP's {tower} tower needs; choose another file."
        )
        return shape_of(state, name, axes, problem)

    embeddings = f"{tower}_model.embeddings"
    if tower == "text":
        vocabulary, width = shape(f"{embeddings}.token_embedding.weight")
        projection = _PROJECTION
    else:
        width, channels, patch, _ = shape(f"{embeddings}.patch_embedding.weight", axes=4)
        projection = "visual_projection.weight"
    layers = f"{tower}_model.encoder.layers."
    inner = state.get(f"{layers}0.mlp.fc1.weight")
    common = {
        "hidden_size": width,
        "intermediate_size": 4 * width if inner is None else len(inner),
        "projection_dim": shape(projection)[0],
        "num_hidden_layers": layer_count(state, layers),
        "num_attention_heads": max(1, width // _HEAD_WIDTH),
    }
    common |= settings
    positions = shape(f"{embeddings}.position_embedding.weight")[0]
    if tower == "text":
        ends = {"bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1}
        return CLIPTextConfig(
            vocab_size=vocabulary, max_position_embeddings=positions, **common, **ends
        )
    side = patch * math.isqrt(positions - 1)
    return CLIPVisionConfig(num_channels=channels, image_size=side, patch_size=patch, **common)


def _empty_network(model_class: Callable[[Any], Any], config: Any, source: object) -> Any:
    """Make a network without weights; raises ``ModelError`` for, say, an unknown activation."""
    try:
        with checkpoints.unfilled():
            return model_class(config)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"The configuration of {source} makes no network ({last_line(error)}); get it again."
        ) from error


def last_line(error: Exception) -> str:
    """Return the last line of an error of transformers."""
    return str(error).strip().splitlines()[-1].strip()[:120] if str(error) else repr(error)


class ClipVision:
    """The vision tower, one step at a time.

    All its tensors of tokens have the shape (batch, 1 + rows * columns, width), the class token
    first, the patches row-major.

    ``network`` is a CLIPVisionModelWithProjection with its weights; AlphaCLIP's has a second
    convolution, for masks (``reads_masks``). ``class_twice`` adds the class embedding to the class
    token a second time, as DenseCLIP was trained. ``name`` tells apart towers whose tokens differ,
    and is the same for the same weights in any layout.
    """

    def __init__(self, network: Any, *, class_twice: bool = False) -> None:
        self.network = network
        self._tower = network.vision_model
        self._class_twice = class_twice
        config = network.config
        self.dim, self.width = int(config.projection_dim), int(config.hidden_size)
        self.patch_size = int(config.patch_size)
        self.input_size = int(config.image_size)
        self.heads = int(config.num_attention_heads)
        self.reads_masks = _ALPHA in dict(network.named_parameters())
        self.layers: Sequence[Any] = list(self._tower.encoder.layers)
        # The last part of every layer, whichever way tokens pass it.
        self.blocks: list[nn.Module] = [layer.mlp for layer in self.layers]
        letter = _LETTERS.get(self.width, f"{self.width}w")
        projection = {"visual_projection.weight": network.visual_projection.weight}
        self.name = f"{letter}{self.patch_size}-{checkpoints.tensors_sha256(projection)[:8]}"

    @classmethod
    def open(cls, folder: Path) -> ClipVision:
        """Open the vision tower of a folder in the form of the Hugging Face hub.

        It holds ``config.json`` and ``model.safetensors`` (or ``pytorch_model.bin``) of a whole
        CLIP or of its vision tower; raises ``ModelError`` where they do not belong together.
        """
        folder = Path(folder)
        config = tower_config(folder, "vision")
        return cls.from_state(checkpoints.read_state(folder), source=folder, config=config)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        *,
        source: object,
        config: Any = None,
        settings: Mapping[str, Any] | None = None,
        first_norm: bool = True,
        class_twice: bool = False,
        ignore: Sequence[str] = (),
    ) -> ClipVision:
        """Make a vision tower of weights by OpenAI's names or Hugging Face's.

        ``source`` is named in messages; sizes are read off the weights unless ``config`` has them,
        and ``settings`` are those that no weight shows (``num_attention_heads``, ``hidden_act``,
        ``layer_norm_eps``). ``first_norm`` is the layer norm before the first layer, which not
        every vision transformer has; ``ignore`` holds globs of what may come along unused.
        """
        from transformers import CLIPVisionModelWithProjection

        state = hugging_face(state)
        config = config or _infer_config(state, "vision", source, settings or {})
        network = _empty_network(CLIPVisionModelWithProjection, config, source)
        if not first_norm:
            network.vision_model.pre_layrnorm = nn.Identity()
        if _ALPHA in state:
            patch = config.patch_size
            with checkpoints.unfilled():
                network.vision_model.embeddings.alpha_embedding = nn.Conv2d(
                    1, config.hidden_size, patch, patch, bias=False
                )
        checkpoints.fit(network, state, source=source, ignore=(*_TEXT, *_EXTRAS, *ignore))
        quicken_attention(network)
        return cls(network, class_twice=class_twice)

    @property
    def weights_name(self) -> str:
        """Name the tower by its width and OpenAI's projection, as DenseCLIP and AlphaCLIP do."""
        projection = {"proj": self.network.visual_projection.weight.T}
        ending = "-twice" if self._class_twice else ""
        digest = checkpoints.tensors_sha256(projection)[:8]
        return f"{self.width}w{self.patch_size}-{digest}{ending}"

    def grid_shape(self, pixels: Tensor) -> tuple[int, int]:
        """Rows and columns of whole patches in pixels, shape (..., height, width)."""
        return pixels.shape[-2] // self.patch_size, pixels.shape[-1] // self.patch_size

    def embed_patches(self, pixels: Tensor, masks: Tensor | None = None) -> Tensor:
        """Embed patches without their positions, to (batch, rows * columns, width)."""
        patches: Tensor = self._tower.embeddings.patch_embedding(pixels)
        if masks is not None:
            patches = patches + self._tower.embeddings.alpha_embedding(masks)
        return patches.flatten(2).transpose(1, 2)

    def start(
        self, pixels: Tensor, positions: Positions = "bicubic", masks: Tensor | None = None
    ) -> Tensor:
        """Cut normalised pixels, (batch, 3, height, width), into tokens for the first layer.

        What is left over beyond whole patches does not count; ``positions`` is as of
        `resample_positions`; ``masks``, (batch, 1, height, width), are AlphaCLIP's, normalised.
        """
        embeddings = self._tower.embeddings
        first = embeddings.class_embedding.expand(len(pixels), 1, -1)
        table = embeddings.position_embedding.weight
        table = resample_positions(table, self.grid_shape(pixels), positions)
        if self._class_twice:
            first = first + embeddings.class_embedding
        tokens = torch.cat([first, self.embed_patches(pixels, masks)], dim=1) + table
        normed: Tensor = self._tower.pre_layrnorm(tokens)
        return normed

    def finish(self, tokens: Tensor) -> Tensor:
        """Normalise and project every token, as CLIP does its class token alone, to (..., dim)."""
        projected: Tensor = self.network.visual_projection(self._tower.post_layernorm(tokens))
        return projected

    def attend(self, layer: Any, tokens: Tensor, rows: slice = slice(None)) -> Tensor:
        """Pass tokens through a layer; ``rows`` picks those that are wanted."""
        normed = layer.layer_norm1(tokens)
        attention = layer.self_attn
        projected = (
            attention.q_proj(normed[:, rows]),
            attention.k_proj(normed),
            attention.v_proj(normed),
        )
        by_head = [part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in projected]
        attended = functional.scaled_dot_product_attention(*by_head).transpose(1, 2).flatten(2)
        return _through_mlp(layer, tokens[:, rows] + attention.out_proj(attended))

    def qkv(self, layer: Any, tokens: Tensor) -> Tensor:
        """Return queries, keys and values side by side, shape (batch, tokens, 3 * width)."""
        normed = layer.layer_norm1(tokens)
        attention = layer.self_attn
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        return torch.cat([part(normed) for part in parts], dim=-1)


def value_path(layer: Any, tokens: Tensor) -> Tensor:
    """Values of a layer through its output projection: a token's own part of its attention."""
    attention = layer.self_attn
    values: Tensor = attention.out_proj(attention.v_proj(layer.layer_norm1(tokens)))
    return values


def attend_to_oneself(layer: Any, tokens: Tensor) -> Tensor:
    """Pass tokens through a layer in which every token attends to itself alone."""
    return _through_mlp(layer, tokens + value_path(layer, tokens))


def _through_mlp(layer: Any, tokens: Tensor) -> Tensor:
    passed: Tensor = tokens + layer.mlp(layer.layer_norm2(tokens))
    return passed


def resample_positions(
    table: Tensor, grid_shape: tuple[int, int], way: Positions = "bicubic"
) -> Tensor:
    """Interpolate position embeddings, (1 + n * n, width), to (1 + rows * columns, width).

    The first is the class token's, the others are a square grid's, row-major. The ways in use
    differ by up to about 0.1 for the same weights, so a model is only reproduced by its own:
    ``"bicubic"`` to size, as in transformers and INViTE; with ``"antialias"``, as in timm; bicubic
    by the factor ``(rows + 0.1) / n`` (``"offset"``), as in ProxyCLIP; or ``"bilinear"``, as in
    DenseCLIP.
    """
    if way not in POSITIONS:
        raise ModelError(f"Positions are interpolated by {', '.join(POSITIONS)}, not {way!r}.")
    side = math.isqrt(max(0, len(table) - 1))
    if side == 0 or side * side != len(table) - 1:
        raise ModelError(f"{len(table)} positions are no class token and a square grid.")
    mode = "bilinear" if way == "bilinear" else "bicubic"
    offset = _OFFSET if way == "offset" else 0.0
    grid = resized_grid(table[1:], grid_shape, mode, antialias=way == "antialias", offset=offset)
    return torch.cat([table[:1], grid])


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
        self.dim = int(network.config.projection_dim)
        self.context = int(network.config.max_position_embeddings)
        self.frame = partial(tokenizer.frame, length=self.context)
        self.name = _text_name(network.text_projection.weight)

    @classmethod
    def open(cls, folder: Path, merges: Path | None = None) -> ClipText:
        """Open the text tower of a folder, as `ClipVision.open` does; it has ``merges.txt`` too.

        ``merges`` are CLIP's word pieces where the folder came without them.
        """
        folder = Path(folder)
        tokenizer = ClipTokenizer(merges or folder / "merges.txt")
        config = tower_config(folder, "text")
        state = checkpoints.read_state(folder)
        return cls.from_state(state, tokenizer, source=folder, config=config)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        tokenizer: ClipTokenizer,
        *,
        source: object,
        config: Any = None,
        settings: Mapping[str, Any] | None = None,
    ) -> ClipText:
        """Make a text tower of weights, as `ClipVision.from_state` does."""
        from transformers import CLIPTextModelWithProjection

        state = hugging_face(state)
        config = config or _infer_config(state, "text", source, settings or {})
        network = _empty_network(CLIPTextModelWithProjection, config, source)
        ignore = (*_VISION, *_EXTRAS)
        return cls(checkpoints.fit(network, state, source=source, ignore=ignore), tokenizer)

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


def _text_name(projection: Tensor) -> str:
    fingerprint = checkpoints.tensors_sha256({_PROJECTION: projection})
    return f"clip-text-{len(projection)}-{fingerprint[:8]}"


def lazy_text(state: Mapping[str, Tensor], load: Callable[[], ClipText]) -> LazyText | None:
    """Name the text tower among weights, to be opened later; None where there is none."""
    projection = hugging_face(state).get(_PROJECTION)
    if projection is None:
        return None
    return LazyText(load, name=_text_name(projection), dim=len(projection))


def text_of_state(state: Mapping[str, Tensor], merges: Path, *, source: object) -> LazyText | None:
    """Name the text tower among weights, which is made later with CLIP's word pieces."""
    return lazy_text(
        state, lambda: ClipText.from_state(state, ClipTokenizer(merges), source=source)
    )
