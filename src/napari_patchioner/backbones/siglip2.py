"""SigLIP 2 (Tschannen et al. 2025): patch tokens of its vision transformer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from napari_patchioner.bridges.language_models import read_tokenizer
from napari_patchioner.checkpoints import fit, read_settings, read_state, tensors_sha256, unfilled
from napari_patchioner.devices import to_numpy
from napari_patchioner.errors import ModelError

from . import base
from .base import Features, LazyText, Preprocessing
from .clip_towers import below

Way: TypeAlias = Literal["head", "raw", "mlp"]

_WAYS = ("head", "raw", "mlp")


class SigLip2(base.TextBackbone):
    """SigLIP 2's patch tokens, and its pooled picture as the class token.

    SigLIP 2 matches text with one vector per picture: a learned probe attends to all patch tokens,
    and what it gathers goes through a small MLP (``cls`` here; ``attention`` is the probe's). The
    patch tokens themselves, after the last layer norm, were never trained to match text. Three
    ways to make a patch embedding of them are in the published Patch-ioner; which one its released
    model was run with is not known:

    - ``"head"``, the default, pools each patch alone. The probe has nothing to choose, so the
      patch passes the head's value and output projections and its MLP: the vector a picture would
      have whose patches were all like this one. Of the three this alone lies where text was trained
      to lie, as MaskCLIP's value path does for CLIP.
    - ``"raw"`` takes the tokens as they are, as that code does unless asked otherwise.
    - ``"mlp"`` adds the pooling head's MLP to them.

    At its default size (``siglip2-base-patch16-512``) the picture is squashed to 512 x 512 pixels:
    32 x 32 patches of 16, 768 numbers each. For another ``size`` than the weights were trained
    with, positions are resampled (bicubic). Code and weights are under Apache-2.0.

    ``files["folder"]``, in the form of the Hugging Face hub, holds ``config.json``,
    ``model.safetensors`` and, to embed text, ``tokenizer.json`` of a SigLIP 2 with a fixed size
    such as ``google/siglip2-base-patch16-512``. The text tower is opened when it is needed: its
    256,000 word pieces take 800 MB, which captions do not need.
    """

    def __init__(
        self,
        tower: Any,
        text: LazyText,
        *,
        size: int | None = None,
        layout: base.Layout = "square",
        tokens: Way = "head",
    ) -> None:
        if tokens not in _WAYS:
            raise ModelError(f"The tokens must be {', '.join(_WAYS)}, not {tokens!r}.")
        config = tower.config
        self._tower, self._tokens = tower, tokens
        self.networks, self.blocks = [tower], list(tower.encoder.layers)
        self.dim, self.patch_size = int(config.hidden_size), int(config.patch_size)
        self.input_size = int(size or config.image_size)
        self.preprocessing = Preprocessing(self.input_size, self.patch_size, layout, base.HALF)
        fingerprint = tensors_sha256({"probe": tower.head.probe})[:8]
        sizes = f"{self.dim}w{self.patch_size}-{fingerprint}/{self.input_size}"
        self.name = f"siglip2/{sizes}/{layout}/{tokens}"
        self.set_text(text)

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> tuple[Any, ...]:
        """Open the vision tower of a SigLIP 2 now, its text tower when it is needed."""
        from transformers import SiglipConfig, SiglipModel

        folder = Path(files["folder"])
        path = folder / "config.json"
        content = read_settings(path)
        if content.get("model_type") != "siglip":
            raise ModelError(
                f"{path} describes a {content.get('model_type')!r}, not a siglip of a fixed size; "
                f"choose a model such as siglip2-base-patch16-512."
            )
        try:
            config = SiglipConfig(**content)
        except (TypeError, ValueError) as error:
            raise ModelError(f"{path} is no configuration of a SigLIP 2; get it again.") from error
        state = read_state(folder)
        with unfilled():
            model = SiglipModel(config)

        def fill(tower: Any, name: str) -> Any:
            own = below(state, f"{name}.")
            return fit(tower, own, source=folder, ignore=("*position_ids",))

        vision, text = fill(model.vision_model, "vision_model"), model.text_model
        head = state.get("text_model.head.weight")
        if head is None:
            raise ModelError(f"{folder} holds no text_model.head.weight; get the whole SigLIP 2.")

        def load_text() -> SigLip2Text:
            length = config.text_config.max_position_embeddings
            tokenizer = SigLip2Tokenizer(folder / "tokenizer.json", length)
            return SigLip2Text(fill(text, "text_model"), tokenizer)

        name = f"siglip2-text-{len(head)}-{tensors_sha256({'head.weight': head})[:8]}"
        return vision, LazyText(load_text, name=name)

    def forward(self, pixels: Tensor) -> Features:
        """Patch tokens after the last layer norm, made patch embeddings."""
        embeddings, head = self._tower.embeddings, self._tower.head
        patches = embeddings.patch_embedding(pixels)
        positions = embeddings.position_embedding.weight
        positions = base.resized_grid(positions, patches.shape[2:], "bicubic")
        hidden = patches.flatten(2).transpose(1, 2) + positions
        hidden = self._tower.encoder(inputs_embeds=hidden).last_hidden_state
        tokens = self._tower.post_layernorm(hidden)
        attention = head.attention(head.probe, tokens, tokens)[1]
        features = tokens[0]
        if self._tokens == "mlp":
            features = features + head.mlp(head.layernorm(features))
        elif self._tokens == "head":
            features = head(features[:, None])
        shares = to_numpy(attention[0] / attention.sum())
        return Features(features, shares, cls=head(tokens)[0])


class SigLip2Tokenizer:
    """Gemma's word pieces as SigLIP 2 was trained with them.

    Lower case, no start token, an end token that is kept when a text is cut, and padding on the
    right up to the full ``length``, which the tower attends to. Raises ``ModelError`` where the
    ``tokenizer.json`` is missing, damaged, or has no end or padding token.
    """

    def __init__(self, path: Path, length: int) -> None:
        self._pieces = read_tokenizer(path)
        self._pieces.no_padding()
        self._pieces.no_truncation()
        end, padding = (self._pieces.token_to_id(name) for name in ("<eos>", "<pad>"))
        if end is None or padding is None:
            raise ModelError(f"{path} has no <eos> or no <pad>; choose SigLIP 2's tokenizer.json.")
        self._end, self._padding, self._length = end, padding, length

    def frame(self, text: str) -> list[int]:
        """Token ids of a text, always of the same length."""
        ids = self._pieces.encode(text.lower(), add_special_tokens=False).ids
        framed = [*ids[: self._length - 1], self._end]
        return framed + [self._padding] * (self._length - len(framed))


class SigLip2Text(base.TextEncoder):
    """Sentences to vectors of the space of SigLIP 2's pooled pictures.

    A text's vector is the last token of the tower, end or padding, after the final layer norm
    and a linear layer; it is not normalised.
    """

    batch = 32

    def __init__(self, tower: Any, tokenizer: SigLip2Tokenizer) -> None:
        self.network, self.blocks = tower, list(tower.encoder.layers)
        self.dim = int(tower.head.weight.shape[0])
        self.frame = tokenizer.frame

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed token ids of the full length."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        pooled: Tensor = self.network(input_ids=tokens, position_ids=positions).pooler_output
        return pooled
