"""What every dense backbone on CLIP's vision tower has in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from napari_patchioner.checkpoints import read_state
from napari_patchioner.grids import FeatureGrid, class_attention, grid_key

from ._clip_config import tower_config
from ._clip_layout import hugging_face
from ._clip_text import ClipText, text_name
from ._clip_vision import ClipVision
from ._lazy_text import LazyText, WithText
from ._preprocess import CLIP, Preprocessing
from ._progress import silent
from ._threads import spare_core

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from ._clip_positions import Positions
    from ._preprocess import Layout
    from ._progress import Progress


class ClipBackbone(WithText):
    """Dense tokens of CLIP; what subclasses change is how tokens pass the layers.

    Parameters
    ----------
    vision : ClipVision
        The vision tower.
    text : LazyText, optional
        The text tower of the same CLIP.
    size : int, optional
        Side of the square, long side (``"aspect"``) or short side (``"crop"``), in input pixels;
        by default what the tower was trained with.
    layout : {"square", "aspect", "crop"}
        See `Preprocessing`.
    positions : {"bicubic", "antialias", "offset"}
        How position embeddings reach another size, see `resample_positions`.

    Attributes
    ----------
    name, dim, patch_size, input_size
        See `Backbone`.
    provenance : mapping of str to str
        ``"text"`` names the text tower whose space the embeddings share, where there is one.
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
        self._vision = vision
        self._positions = positions
        self.dim = vision.dim
        self.patch_size = vision.patch_size
        self.input_size = vision.input_size if size is None else int(size)
        self._prepare = Preprocessing(self.input_size, self.patch_size, layout, CLIP)
        parts = [self.kind, vision.name, self.input_size, layout]
        self.name = "-".join(map(str, parts + [positions] * (positions != "bicubic")))
        super().__init__(text)

    def encode(self, image: npt.ArrayLike, *, progress: Progress | None = None) -> FeatureGrid:
        """Look at an image once.

        Parameters
        ----------
        image : array_like, shape (height, width) or (height, width, channels)
            Gray, RGB or RGBA.
        progress : callable, optional
            Called with the share done and a message; may raise ``Cancelled``.

        Returns
        -------
        FeatureGrid
            Patch embeddings in the space CLIP shares with text, not normalised.

        Raises
        ------
        ImageError
            The array is not a picture.
        """
        tell = progress or silent
        tell(0.0, "reading the image")
        prepared = self._prepare(image)
        with spare_core(), torch.inference_mode():
            hidden = self._before_last(prepared.pixels, tell)
            attention = self._attention(hidden)
            tokens = self._last(hidden)[0].numpy()
        tell(1.0, "done")
        shape = prepared.transform.grid_shape
        return FeatureGrid(
            embeddings=tokens[1:].reshape(*shape, self.dim),
            transform=prepared.transform,
            key=grid_key(prepared.rgb, self.name),
            attention=attention.reshape(shape),
            cls=tokens[0],
            backbone=self.name,
        )

    @torch.inference_mode()
    def tokens(self, pixels: Tensor) -> Tensor:
        """Tokens of normalised pixels, (batch, 3, h, w) to (batch, 1 + rows * columns, dim)."""
        return self._last(self._before_last(pixels, silent))

    def _before_last(self, pixels: Tensor, tell: Progress) -> Tensor:
        """Tokens as they enter the last layer."""
        hidden = self._vision.start(pixels, self._positions)
        layers = self._vision.layers
        for place, layer in enumerate(layers[:-1]):
            tell((place + 1) / (len(layers) + 1), "looking at the image")
            hidden = self._pass(layer, place, hidden)
        return hidden

    def _pass(self, layer: Any, _place: int, hidden: Tensor) -> Tensor:
        """Tokens through one of the layers before the last."""
        return self._vision.attend(layer, hidden)

    def _last(self, hidden: Tensor) -> Tensor:
        """Tokens through the last layer, projected."""
        return self._vision.finish(self._vision.attend(self._vision.layers[-1], hidden))

    def _attention(self, hidden: Tensor) -> npt.NDArray[np.float32]:
        """How much the class token looks at each patch in the last layer."""
        qkv = self._vision.qkv(self._vision.layers[-1], hidden)[0].numpy()
        return class_attention(qkv, self._vision.heads, global_tokens=1)


def clip_parts(folder: Path) -> tuple[ClipVision, LazyText | None]:
    """Open a CLIP folder: its vision tower now, its text tower when it is needed.

    Raises
    ------
    ModelError
        A file is missing, damaged, or does not belong to the others.
    """
    folder = Path(folder)
    config = tower_config(folder, "vision")
    state = hugging_face(read_state(folder))
    vision = ClipVision.from_state(state, source=folder, config=config)
    projection = state.get("text_projection.weight")
    if projection is None:
        return vision, None
    name, dim = text_name(projection), len(projection)
    return vision, LazyText(name, dim, lambda: ClipText.open(folder))
