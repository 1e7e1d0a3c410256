"""DenseCLIP (Rao et al. 2022): CLIP's vision transformer tuned to segment scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor

from napari_patchioner.checkpoints import read_state
from napari_patchioner.errors import ModelError

from .clip import ClipBackbone
from .clip_text import text_of_state
from .clip_vit import ClipVision
from .clip_weights import below

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .base import Layout
    from .text import LazyText

Convention: TypeAlias = Literal["paper", "reference"]

_SIZE = 640
_POSITIONS = "positional_embedding"


class DenseClip(ClipBackbone):
    """The vision tower of a DenseCLIP segmentation model, every token projected.

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
        size: int = _SIZE,
        layout: Layout = "square",
    ) -> None:
        super().__init__(vision, text, size=size, layout=layout, positions="bilinear")
        self.name = f"denseclip/{vision.weights_name}/{size}/{layout}"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int = _SIZE,
        layout: Layout = "square",
        convention: Convention = "paper",
    ) -> DenseClip:
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
            text = text_of_state(words, files["merges"], source=path)
        return cls(vision, text, size=size, layout=layout)


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
