"""CLIP's own patch tokens (Radford et al. 2021), MaskCLIP's and INViTE's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from napari_patchioner.checkpoints import read_state
from napari_patchioner.devices import to_numpy
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import class_attention

from .base import CLIP, Features, Layout, Preprocessing
from .clip_text import text_of_folder
from .clip_vit import ClipVision, Positions, attend_to_oneself, value_path
from .clip_weights import hugging_face, tower_config
from .text import LazyText, TextBackbone

if TYPE_CHECKING:
    from collections.abc import Mapping


class ClipBackbone(TextBackbone):
    """Dense tokens of CLIP; what subclasses change is how tokens pass the layers.

    ``size`` is the side of the square, long side (``"aspect"``) or short side (``"crop"``) in input
    pixels, by default what the tower was trained with; ``layout`` is as of `Preprocessing`,
    ``positions`` as of `resample_positions`.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        vision: ClipVision,
        text: LazyText | None = None,
        *,
        size: int | None = None,
        layout: Layout = "square",
        positions: Positions = "bicubic",
    ) -> None:
        self.vision, self._positions = vision, positions
        self.networks, self.blocks = [vision.network], vision.blocks
        self.dim, self.patch_size = vision.dim, vision.patch_size
        self.input_size = vision.input_size if size is None else int(size)
        self.preprocessing = Preprocessing(self.input_size, self.patch_size, layout, CLIP)
        parts = [self.kind, vision.name, self.input_size, layout]
        self.name = "-".join(map(str, parts + [positions] * (positions != "bicubic")))
        self.set_text(text)

    def forward(self, pixels: Tensor) -> Features:
        """All tokens, projected; attention is the class token's in the last layer."""
        hidden = self._before_last(pixels)
        qkv = to_numpy(self.vision.qkv(self.vision.layers[-1], hidden)[0])
        tokens = self._last(hidden)[0]
        attention = class_attention(qkv, self.vision.heads, global_tokens=1)
        return Features(tokens[1:], attention, cls=tokens[0])

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


def clip_parts(folder: Path) -> tuple[ClipVision, LazyText | None]:
    """Open a CLIP folder: its vision tower now, its text tower when it is needed."""
    folder = Path(folder)
    config = tower_config(folder, "vision")
    state = hugging_face(read_state(folder))
    vision = ClipVision.from_state(state, source=folder, config=config)
    return vision, text_of_folder(folder, state)


class ClipDense(ClipBackbone):
    """Every token of CLIP's vision transformer, normalised and projected as its class token is.

    CLIP was trained with its class token alone, so patch tokens say less of their place than
    those of other backbones: the paper's weakest one. Grid at the default 224 pixels: 7 x 7 for
    ViT-B/32, 14 x 14 for ViT-B/16, 16 x 16 for ViT-L/14; the paper also runs ViT-B/16 at 592
    pixels, 37 x 37, with positions interpolated by timm (``positions="antialias"``).

    OpenAI's code and weights are under the MIT licence.
    """

    kind = "clip"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        positions: Positions = "bicubic",
    ) -> ClipDense:
        """Open a CLIP.

        ``files["clip"]`` is a folder with ``config.json``, ``model.safetensors`` (or
        ``pytorch_model.bin``) and, for text, ``merges.txt``. Raises ``ModelError`` where a file is
        missing, damaged, or does not belong to the others.
        """
        vision, text = clip_parts(files["clip"])
        return cls(vision, text, size=size, layout=layout, positions=positions)


class MaskClip(ClipBackbone):
    """MaskCLIP (Zhou, Loy & Dai 2022): every patch has its own value in CLIP's last layer.

    The published code keeps the layer's residual connection and MLP, which makes it the same
    function as INViTE with one layer; ``residual=False`` leaves both out, as MaskCLIP is often
    described. The class token, which MaskCLIP does not use, is CLIP's own. Grid at the default
    224 pixels: 7 x 7 for ViT-B/32, 14 x 14 for ViT-B/16, 16 x 16 for ViT-L/14.

    MaskCLIP's code is under the Apache licence 2.0; CLIP's weights under the MIT licence.
    """

    kind = "maskclip"

    def __init__(self, *args: Any, residual: bool = True, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._residual = residual
        if not residual:
            self.name += "-bare"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        positions: Positions = "bicubic",
        residual: bool = True,
    ) -> MaskClip:
        """Open a CLIP to encode the MaskCLIP way; files as for `ClipDense.open`."""
        vision, text = clip_parts(files["clip"])
        return cls(vision, text, residual=residual, size=size, layout=layout, positions=positions)

    def _last(self, hidden: Tensor) -> Tensor:
        layer = self.vision.layers[-1]
        through = attend_to_oneself if self._residual else value_path
        first = self.vision.attend(layer, hidden, slice(0, 1))
        return self.vision.finish(torch.cat([first, through(layer, hidden[:, 1:])], dim=1))


class Invite(ClipBackbone):
    """INViTE (Chen et al. 2024): in CLIP's ``last`` layers no token attends to another.

    Residual connections and MLPs stay as they are. The class token is treated alike: it is no
    summary of the picture any more. Grid at the default 224 pixels: 7 x 7 for ViT-B/32, 14 x 14
    for ViT-B/16, 16 x 16 for ViT-L/14; the paper also runs ViT-B/16 at 592 pixels, 37 x 37.

    The published code names no licence; CLIP's weights are under the MIT licence.
    """

    kind = "invite"

    def __init__(self, *args: Any, last: int = 1, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._first_apart = len(self.vision.layers) - last
        if last < 1 or self._first_apart < 0:
            raise ModelError(
                f"INViTE changes 1 to {len(self.vision.layers)} layers of this CLIP, not {last}."
            )
        self.name += f"-last{last}"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        positions: Positions = "bicubic",
        last: int = 1,
    ) -> Invite:
        """Open a CLIP to encode the INViTE way; files as for `ClipDense.open`."""
        vision, text = clip_parts(files["clip"])
        return cls(vision, text, last=last, size=size, layout=layout, positions=positions)

    def _pass(self, layer: Any, index: int, hidden: Tensor) -> Tensor:
        if index < self._first_apart:
            return super()._pass(layer, index, hidden)
        return attend_to_oneself(layer, hidden)

    def _last(self, hidden: Tensor) -> Tensor:
        return self.vision.finish(attend_to_oneself(self.vision.layers[-1], hidden))
