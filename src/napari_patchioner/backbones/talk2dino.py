"""Talk2DINO (Barsellotti et al., ICCV 2025): DINO's patches, with text in their space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_patchioner.checkpoints import (
    fit,
    read_notes,
    read_state,
    rename,
    tensors_sha256,
    unfilled,
)
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError
from napari_patchioner.progress import Progress

from .base import FloatArray, LazyText, TextBackbone
from .clip_towers import ClipText, below
from .dino import DinoBackbone, DinoVision

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
# Of the class that Talk2DINO is published with: DINO by Meta's names, the projection, and CLIP by
# OpenAI's names; the temperature of the training loss counts no more.
_PREFIXES = {"vision": "model.", "projection": "proj.", "text": "clip_model."}
_UNUSED = ("logit_scale",)


class Talk2DINO(DinoBackbone, TextBackbone):
    r"""DINO patch embeddings, and text embeddings projected among them.

    A text embedding is :math:`\psi(t)` of a CLIP ViT-B/16 text embedding :math:`t`, see
    `Projection`. Compare it with patches by cosine. The projection was trained for that DINO; its
    hash is the provenance, which memory banks, entity tables and decoders of this space must share.

    ``files["vision"]`` is the folder of a DINO, its weights alone, or a whole published
    Talk2DINO (``Talk2DINO-ViTB``, ``Talk2DINO-ViTL``), which needs no other file;
    ``"projection"`` the file of the projection; ``"text"`` the folder of CLIP ViT-B/16, needed
    only to embed text; ``"merges"`` CLIP's word pieces, for the text tower of a whole
    Talk2DINO, looked for in installed packages by default.

    DINOv2 is under Apache-2.0, DINOv3 under a licence of its own, CLIP under MIT; the projection
    comes without a licence.
    """

    kind = "talk2dino"
    no_text = (
        "This Talk2DINO was opened without a text tower; "
        "add the folder of CLIP ViT-B/16 (openai/clip-vit-base-patch16) as its text."
    )

    def __init__(
        self,
        vision: DinoVision,
        projection: Projection,
        text: LazyText | None = None,
        **options: Any,
    ) -> None:
        if projection.dim != vision.dim:
            raise ModelError(
                f"{projection.label} maps to {projection.dim} numbers where {vision.name} has "
                f"{vision.dim}; choose the projection of the same DINO."
            )
        if projection.vision not in ("", vision.name):
            raise ModelError(
                f"The projection was trained for {projection.vision}, not for {vision.name}; "
                "choose the DINO it was trained for."
            )
        super().__init__(vision, **options)
        self._projection = projection
        self.set_text(text)
        self.provenance = {"projection": projection.hash}

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> tuple[Any, ...]:
        """Open a DINO and a projection, and the text tower when it is needed."""
        if "vision" not in files:
            raise ModelError("Talk2DINO needs a DINO; give its folder or file as vision.")
        source = Path(files["vision"])
        state = read_state(source)
        parts = _parts(state, source)
        if "projection" in files:
            projection = Projection.open(files["projection"])
        elif parts["projection"]:
            projection = Projection(parts["projection"], source=source)
        else:
            raise ModelError(
                "Talk2DINO needs a projection; give its file, such as vitb_mlp_infonce.pth."
            )
        text = None
        if "text" in files:
            text = LazyText(partial(ClipText.open, Path(files["text"])))
        elif parts["text"]:
            # CLIP's own vision side comes along and would stay in memory.
            tower = {k: v for k, v in parts["text"].items() if not k.startswith("visual.")}
            merges = files.get("merges")
            text = LazyText(
                lambda: ClipText.from_state(tower, ClipTokenizer(merges), source=source)
            )
        return DinoVision.from_state(parts["vision"] or state, source=source), projection, text

    def embed_text(self, texts: Sequence[str], *, progress: Progress | None = None) -> FloatArray:
        """Embed sentences among the patches, shape (n, dim), not normalised."""
        return self._projection(super().embed_text(texts, progress=progress))


def _parts(state: Mapping[str, Tensor], source: Path) -> dict[str, dict[str, Tensor]]:
    """Take a whole published Talk2DINO apart; empty parts where it is a DINO alone."""
    if not any(name.startswith(_PREFIXES["projection"]) for name in state):
        return {role: {} for role in _PREFIXES}
    known = tuple(_PREFIXES.values())
    others = [name for name in state if not name.startswith(known) and name not in _UNUSED]
    if others:
        raise ModelError(
            f"{source} holds {', '.join(others[:4])} besides the parts of a Talk2DINO; "
            f"choose the published file."
        )
    return {role: below(state, prefix) for role, prefix in _PREFIXES.items()}


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
    the same in whatever file they come. ``vision`` is the name of the DINO that it was trained for,
    where its file says so.
    """

    def __init__(self, state: Mapping[str, Tensor], *, source: object, vision: str = "") -> None:
        state = rename(state, _RULES)
        first = state.get("linear_layer.weight")
        if first is None or first.ndim != 2:
            raise ModelError(
                f"{source} holds no linear_layer.weight, so it is no Talk2DINO projection; "
                f"choose one such as vitb_mlp_infonce.pth."
            )
        self.dim, self.text_dim = (int(side) for side in first.shape)
        with unfilled():
            layers = ProjectionLayers(self.text_dim, self.dim)
        self._layers = fit(layers, state, source=source)
        self.vision = vision
        self.hash = tensors_sha256(self._layers.state_dict())
        self.label = describe_projection(self.hash)

    @classmethod
    def open(cls, path: str | Path) -> Projection:
        """Open a published projection, a ``.pth`` or ``.safetensors`` file or a folder."""
        path, state = Path(path), read_state(path)
        inside = {name: value for name, value in state.items() if name.startswith("proj.")}
        own = path.suffix == ".safetensors" and path.is_file()
        notes = read_notes(path) if own else {}
        return cls(inside or state, source=path, vision=notes.get("vision", ""))

    @torch.inference_mode()
    def __call__(self, texts: npt.ArrayLike) -> FloatArray:
        """Map text embeddings, shape (n, text_dim), to (n, dim); neither is normalised."""
        rows = np.array(texts, np.float32, ndmin=2)
        if rows.shape[1] != self.text_dim:
            raise ModelError(
                f"The text tower gives {rows.shape[1]} numbers where the projection reads "
                f"{self.text_dim}; choose the one it was trained with (CLIP ViT-B/16)."
            )
        mapped: FloatArray = self._layers(torch.from_numpy(rows)).numpy()
        return mapped


class ProjectionLayers(nn.Module):
    """The two linear layers of a `Projection`, under their published names."""

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(text_dim, dim)
        self.hidden_layers = nn.ModuleList([nn.Linear(dim, dim)])

    def forward(self, texts: Tensor) -> Tensor:
        """Map text embeddings, shape (n, text_dim), to (n, dim)."""
        mapped: Tensor = self.hidden_layers[0](self.linear_layer(texts).tanh())
        return mapped


def describe_projection(digest: str) -> str:
    """Return what people call a projection, by its hash; the first digits where nobody does."""
    return KNOWN_PROJECTIONS.get(digest, f"an unknown projection ({digest[:8]})")
