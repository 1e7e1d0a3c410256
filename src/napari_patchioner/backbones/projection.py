"""Talk2DINO's projection: from CLIP's text space to DINO's patch space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_patchioner.checkpoints import fit, read_state, rename, tensors_sha256
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN_PROJECTIONS: dict[str, str] = {
    "ec5611165bfd894cf7c1f8a2fcd6fcd084f10269805f03aed87f226ec47143e4": (
        "Talk2DINO ViT-B/14, as corrected in July 2025"
    ),
    "3217072a9b139be579a35801622884108e100020d49575809812366eebabcf11": (
        "Talk2DINO ViT-B/14 before July 2025 (the one Patch-ioner ships)"
    ),
    "c3cf89504f61c8cfc6d8d5ae9f945e21db4d49af71dd3e941bdb90b740e95b3e": (
        "Talk2DINO for DINOv3 ViT-B/16"
    ),
}
"""What people call the published projections, by their hash."""

_RULES: list[tuple[str, str | None]] = [
    (r"(?:proj\.)?linear_layer\.(weight|bias)", r"linear_layer.\1"),
    (r"(?:proj\.)?(?:linear_layer2|hidden_layers\.0)\.(weight|bias)", r"hidden_layers.0.\1"),
]


class Projection:
    r"""Talk2DINO's mapping of CLIP text embeddings, with its published weights.

    .. math:: \psi(x) = W_2 \tanh(W_1 x + b_1) + b_2

    The input is **not** normalised (its length matters), nor is the output. Two different
    projections were published for ViT-B/14: what was made behind one must not be used with the
    other, so their hash goes into everything made behind them. The weights come without a
    licence.

    The state holds ``linear_layer.*`` and ``hidden_layers.0.*`` (or ``linear_layer2.*``, an older
    name), with or without the ``proj.`` of a whole Talk2DINO. ``text_dim`` and ``dim`` are the
    lengths of a text embedding and of a patch embedding, ``hash`` the SHA-256 of the four weights,
    the same in whatever file they come.
    """

    def __init__(self, state: Mapping[str, Tensor], *, source: object) -> None:
        state = rename(state, _RULES)
        first = state.get("linear_layer.weight")
        if first is None or first.ndim != 2:
            raise ModelError(
                f"{source} holds no linear_layer.weight, so it is no Talk2DINO projection; "
                f"choose one such as vitb_mlp_infonce.pth."
            )
        self.dim, self.text_dim = (int(side) for side in first.shape)
        self._layers = fit(_Layers(self.text_dim, self.dim), state, source=source)
        self.hash = tensors_sha256(self._layers.state_dict())

    @classmethod
    def open(cls, path: str | Path) -> Projection:
        """Open a published projection, a ``.pth`` or ``.safetensors`` file or a folder."""
        path = Path(path)
        state = read_state(path)
        inside = {name: value for name, value in state.items() if name.startswith("proj.")}
        return cls(inside or state, source=path)

    @property
    def label(self) -> str:
        """What people call it; the first digits of its hash where nobody does."""
        return describe_projection(self.hash)

    @torch.inference_mode()
    def __call__(self, texts: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Map text embeddings, shape (n, text_dim), to (n, dim); neither is normalised."""
        rows = np.array(texts, np.float32, ndmin=2)
        if rows.shape[1] != self.text_dim:
            raise ModelError(
                f"The text tower gives {rows.shape[1]} numbers where the projection reads "
                f"{self.text_dim}; choose the one it was trained with (CLIP ViT-B/16)."
            )
        mapped: npt.NDArray[np.float32] = self._layers(torch.from_numpy(rows)).numpy()
        return mapped


class _Layers(nn.Module):
    """The two linear layers, under their published names."""

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        with torch.device("meta"):
            self.linear_layer = nn.Linear(text_dim, dim)
            self.hidden_layers = nn.ModuleList([nn.Linear(dim, dim)])

    def forward(self, texts: Tensor) -> Tensor:
        mapped: Tensor = self.hidden_layers[0](self.linear_layer(texts).tanh())
        return mapped


def describe_projection(digest: str) -> str:
    """Name a projection by its hash, for a message."""
    return KNOWN_PROJECTIONS.get(digest, f"an unknown projection ({digest[:8]})")
