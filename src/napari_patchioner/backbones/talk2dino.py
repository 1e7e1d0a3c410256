"""Talk2DINO (Barsellotti et al., ICCV 2025): DINO's patches, with text in their space."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

from napari_patchioner.checkpoints import read_state
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError

from .clip_text import ClipText
from .dino import DinoBackbone
from .dino_vit import Attention, DinoVision
from .projection import Projection
from .text import LazyText, TextBackbone

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_patchioner.progress import Progress

    from .base import Layout

# Of the class that Talk2DINO is published with: DINO by Meta's names, the projection, and CLIP by
# OpenAI's names; the temperature of the training loss counts no more.
_PREFIXES = {"vision": "model.", "projection": "proj.", "text": "clip_model."}
_UNUSED = ("logit_scale",)


class Talk2DINO(DinoBackbone, TextBackbone):
    r"""DINO patch embeddings, and text embeddings projected among them.

    A text embedding is :math:`\psi(t)` of a CLIP ViT-B/16 text embedding :math:`t`, see
    `Projection`. Compare it with patches by cosine.

    At its default size the whole picture is squashed into a square of 518 pixels, 37 by 37
    patches (DINOv2, patches of 14 pixels), or of 512 pixels, 32 by 32 patches (DINOv3, patches of
    16). ViT-B has 768 numbers a patch, ViT-L 1024.

    DINOv2 is under Apache-2.0, DINOv3 under a licence of its own, CLIP under MIT; the projection
    comes without a licence.

    The projection was trained for that DINO; its hash is the provenance, which memory banks, entity
    tables and decoders of this space must share.
    """

    no_text = (
        "This Talk2DINO was opened without a text tower; "
        "add the folder of CLIP ViT-B/16 (openai/clip-vit-base-patch16) as its text."
    )

    def __init__(
        self,
        vision: DinoVision,
        projection: Projection,
        text: LazyText | None = None,
        *,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> None:
        if projection.dim != vision.dim:
            raise ModelError(
                f"{projection.label} maps to {projection.dim} numbers where {vision.name} has "
                f"{vision.dim}; choose the projection of the same DINO."
            )
        kind = f"talk2dino/{vision.name}"
        super().__init__(vision, kind, size=size, layout=layout, attention=attention)
        self._projection = projection
        self.set_text(text)
        self.provenance = {"projection": projection.hash}

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> Talk2DINO:
        """Open a Talk2DINO from disk.

        ``files["vision"]`` is the folder of a DINO, its weights alone, or a whole published
        Talk2DINO (``Talk2DINO-ViTB``, ``Talk2DINO-ViTL``), which needs no other file;
        ``"projection"`` the file of the projection; ``"text"`` the folder of CLIP ViT-B/16, needed
        only to embed text; ``"merges"`` CLIP's word pieces, for the text tower of a whole
        Talk2DINO, looked for in installed packages by default.
        """
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
        vision = DinoVision.from_state(parts["vision"] or state, source=source)
        return cls(vision, projection, text, size=size, layout=layout, attention=attention)

    def embed_text(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences among the patches, shape (n, dim), not normalised."""
        return self._projection(super().embed_text(texts, progress=progress))


def _parts(state: Mapping[str, Tensor], source: Path) -> dict[str, dict[str, Tensor]]:
    """Take a whole published Talk2DINO apart; empty parts where it is a DINO alone."""
    parts: dict[str, dict[str, Tensor]] = {role: {} for role in _PREFIXES}
    if not any(name.startswith(_PREFIXES["projection"]) for name in state):
        return parts
    others = []
    for name, value in state.items():
        role = next((role for role, prefix in _PREFIXES.items() if name.startswith(prefix)), None)
        if role is not None:
            parts[role][name.removeprefix(_PREFIXES[role])] = value
        elif name not in _UNUSED:
            others.append(name)
    if others:
        raise ModelError(
            f"{source} holds {', '.join(others[:4])} besides the parts of a Talk2DINO; "
            f"choose the published file."
        )
    return parts
