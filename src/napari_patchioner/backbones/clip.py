"""Dense tokens of CLIP (Radford et al. 2021): its own, MaskCLIP's, INViTE's and DenseCLIP's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from napari_patchioner.checkpoints import read_state, tensors_sha256
from napari_patchioner.devices import to_numpy
from napari_patchioner.errors import ModelError

from . import base, clip_towers
from .base import CLIP, Features, Layout, LazyText, Preprocessing, TextBackbone, Triple
from .clip_towers import ClipText, ClipVision, Positions, below
from .openclip import is_openclip, read_openclip

_DENSE_SIZE = 640
_POSITIONS = "positional_embedding"


class ClipBackbone(TextBackbone):
    """Dense tokens of CLIP; what subclasses change is how tokens pass the layers.

    ``size`` is the side of the square, long side (``"aspect"``) or short side (``"crop"``) in input
    pixels, by default what the tower was trained with; ``layout`` is as of `Preprocessing`,
    ``positions`` as of `resample_positions`.

    ``files["clip"]`` is a folder with ``config.json``, ``model.safetensors`` (or
    ``pytorch_model.bin``) and, for text, ``merges.txt``, which ``files["merges"]`` stands in for
    where the folder came without; or one in OpenCLIP's form, see `read_openclip`, whose colours
    are normalised as it says. OpenAI's code and weights are under the MIT licence.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        vision: ClipVision,
        text: LazyText | None = None,
        normalisation: tuple[Triple, Triple] = CLIP,
        *,
        size: int | None = None,
        layout: Layout = "square",
        positions: Positions = "bicubic",
    ) -> None:
        self.vision, self._positions = vision, positions
        self.networks, self.blocks = [vision.network], vision.blocks
        self.dim, self.patch_size = vision.dim, vision.patch_size
        self.input_size = vision.input_size if size is None else int(size)
        self.preprocessing = Preprocessing(self.input_size, self.patch_size, layout, normalisation)
        parts = [self.kind, vision.name, self.input_size, layout]
        parts += [positions] * (positions != "bicubic")
        if normalisation != CLIP:
            parts.append(tensors_sha256({"normalisation": torch.tensor(normalisation)})[:8])
        self.name = "-".join(map(str, parts))
        self.set_text(text)

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> tuple[Any, ...]:
        """Open the vision tower of a CLIP now, its text tower when it is needed."""
        folder, merges = Path(files["clip"]), files.get("merges")
        if is_openclip(folder):
            return read_openclip(folder, merges)
        config = clip_towers.tower_config(folder, "vision")
        state = clip_towers.hugging_face(read_state(folder))
        vision = ClipVision.from_state(state, source=folder, config=config)
        return vision, clip_towers.lazy_text(state, lambda: ClipText.open(folder, merges))

    def forward(self, pixels: Tensor) -> Features:
        """All tokens, projected; attention is the class token's in the last layer."""
        return self._features(self._before_last(pixels))

    def _features(self, hidden: Tensor, picture: Tensor | None = None) -> Features:
        """All tokens, of what enters the last layer."""
        qkv = to_numpy(self.vision.qkv(self.vision.layers[-1], hidden)[0])
        tokens = self._last(hidden)[0]
        attention = base.class_attention(qkv, self.vision.heads, global_tokens=1)
        return Features(tokens[1:], attention, cls=tokens[0], picture=picture)

    @torch.inference_mode()
    def tokens(self, pixels: Tensor) -> Tensor:
        """Tokens of normalised pixels, (batch, 3, h, w) to (batch, 1 + rows * columns, dim)."""
        return self._last(self._before_last(pixels))

    def _before_last(self, pixels: Tensor, masks: Tensor | None = None) -> Tensor:
        """Tokens as they enter the last layer."""
        hidden = self.vision.start(pixels, self._positions, masks)
        for index, layer in enumerate(self.vision.layers[:-1]):
            hidden = self._pass(layer, index, hidden)
        return hidden

    def _pass(self, layer: Any, _index: int, hidden: Tensor) -> Tensor:
        """Tokens through one of the layers before the last."""
        return self.vision.attend(layer, hidden)

    def _last(self, hidden: Tensor) -> Tensor:
        """Tokens through the last layer, projected."""
        return self.vision.finish(self.vision.attend(self.vision.layers[-1], hidden))


class ClipDense(ClipBackbone):
    """Every token of CLIP's vision transformer, normalised and projected as its class token is.

    CLIP was trained with its class token alone, so patch tokens say less of their place than
    those of other backbones: the paper's weakest one. Grid at the default 224 pixels: 7 x 7 for
    ViT-B/32, 14 x 14 for ViT-B/16, 16 x 16 for ViT-L/14; the paper also runs ViT-B/16 at 592
    pixels, 37 x 37, with positions interpolated by timm (``positions="antialias"``).
    """

    kind = "clip"


class MaskClip(ClipBackbone):
    """MaskCLIP (Zhou, Loy & Dai 2022): every patch has its own value in CLIP's last layer.

    The published code keeps the layer's residual connection and MLP, which makes it the same
    function as INViTE with one layer; ``residual=False`` leaves both out, as MaskCLIP is often
    described. The class token, which MaskCLIP does not use, is CLIP's own; grids are those of
    `ClipDense`. MaskCLIP's code is under the Apache licence 2.0.
    """

    kind = "maskclip"

    def __init__(self, *towers: Any, residual: bool = True, **options: Any) -> None:
        super().__init__(*towers, **options)
        self._through = clip_towers.attend_to_oneself if residual else clip_towers.value_path
        if not residual:
            self.name += "-bare"

    def _last(self, hidden: Tensor) -> Tensor:
        layer = self.vision.layers[-1]
        first = self.vision.attend(layer, hidden, slice(0, 1))
        return self.vision.finish(torch.cat([first, self._through(layer, hidden[:, 1:])], dim=1))


class Invite(ClipBackbone):
    """INViTE (Chen et al. 2024): in CLIP's ``last`` layers no token attends to another.

    Residual connections and MLPs stay as they are. The class token is treated alike: it is no
    summary of the picture any more. Grids are those of `ClipDense`. The published code names no
    licence.
    """

    kind = "invite"

    def __init__(self, *towers: Any, last: int = 1, **options: Any) -> None:
        super().__init__(*towers, **options)
        self._first_apart = len(self.vision.layers) - last
        if last < 1 or self._first_apart < 0:
            raise ModelError(
                f"INViTE changes 1 to {len(self.vision.layers)} layers of this CLIP, not {last}."
            )
        self.name += f"-last{last}"

    def _pass(self, layer: Any, index: int, hidden: Tensor) -> Tensor:
        if index < self._first_apart:
            return super()._pass(layer, index, hidden)
        return clip_towers.attend_to_oneself(layer, hidden)

    def _last(self, hidden: Tensor) -> Tensor:
        return self.vision.finish(clip_towers.attend_to_oneself(self.vision.layers[-1], hidden))


class DenseClip(ClipBackbone):
    """DenseCLIP (Rao et al. 2022): CLIP's vision transformer tuned to segment scenes.

    DenseCLIP trained the projected tokens to match CLIP's text embeddings of the 150 classes of
    ADE20K pixel by pixel; its neck, context decoder and segmentation head are left out. Text is
    embedded plainly, without the context vectors that DenseCLIP learned to put before the name of
    a class, as the published Patch-ioner does.

    At its default size the picture is squashed to 640 x 640 pixels, the size it was trained at:
    40 x 40 patches of 16 pixels, 512 numbers each. For any other than what the weights were made
    for, positions are resampled (bilinear, as DenseCLIP does). The network and its weights are
    under the MIT licence.
    """

    kind = "denseclip"

    def __init__(
        self,
        vision: ClipVision,
        text: LazyText | None = None,
        *,
        size: int = _DENSE_SIZE,
        layout: Layout = "square",
    ) -> None:
        super().__init__(vision, text, size=size, layout=layout, positions="bilinear")
        self.name = f"denseclip/{vision.weights_name}/{size}/{layout}"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        convention: Literal["paper", "reference"] = "paper",
        **options: Any,
    ) -> Self:
        """Open a published checkpoint.

        ``files["weights"]`` is a ViT segmentation checkpoint, with its vision tower under
        ``backbone.`` and its text tower under ``text_encoder.``; ``files["merges"]``, to embed
        text, CLIP's word pieces; ``files["clip"]``, optional, a CLIP folder or file whose positions
        make room for longer texts. DenseCLIP keeps 13 of CLIP's 77 and never trained its text
        tower, so the others belong to it too; without them texts are cut to as many tokens as the
        checkpoint has positions. By the ``"paper"`` convention the class embedding is added to the
        class token twice, by the ``"reference"``, the published Patch-ioner's, once.
        """
        if convention not in ("paper", "reference"):
            raise ModelError(f"The convention must be paper or reference, not {convention!r}.")
        path = files["weights"]
        state = read_state(path)
        vision = ClipVision.from_state(
            {f"visual.{name}": value for name, value in below(state, "backbone.").items()},
            source=path,
            class_twice=convention == "paper",
            ignore=("visual.fpn*",),
        )
        text = None
        if "merges" in files:
            words = below(state, "text_encoder.")
            if "clip" in files and _POSITIONS in words:
                words[_POSITIONS] = _longer(words[_POSITIONS], files["clip"])
            text = clip_towers.text_of_state(words, files["merges"], source=path)
        return cls(vision, text, **options)


def _longer(positions: Tensor, clip: Path) -> Tensor:
    """Return CLIP's positions, of which DenseCLIP keeps the first."""
    state = read_state(clip)
    names = (_POSITIONS, "text_model.embeddings.position_embedding.weight")
    table = next((state[name] for name in names if name in state), None)
    if table is None:
        raise ModelError(f"{clip} holds no positions of a text tower; choose the folder of a CLIP.")
    same = table[: len(positions)].float()
    # Checkpoints of both are published in half precision too.
    if same.shape != positions.shape or not torch.allclose(same, positions.float(), atol=1e-3):
        raise ModelError(
            f"The text positions of {clip} do not go on from DenseCLIP's; choose the CLIP it was "
            f"trained from, ViT-B/16."
        )
    return table
