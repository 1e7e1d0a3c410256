"""DINO.txt (Jose et al., CVPR 2025): DINOv2's patches refined, with text in their space."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_patchioner.checkpoints import tensors_sha256
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import ModelError

from ._dino import DinoVision, check_attention
from ._dino_grid import encode, native_size
from ._dinotxt_towers import DinoText, VisionHead
from ._preprocess import Preprocessing
from ._progress import telling
from ._threads import spare_core

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from napari_patchioner.grids import FeatureGrid

    from ._dino import Attention, Looked
    from ._preprocess import Layout
    from ._progress import Progress


class DinoTxt:
    """DINOv2's tokens through the head of DINO.txt, and text embeddings among them.

    A frozen DINOv2 ViT-L/14 with registers makes tokens (after its final layer norm); a head of
    two transformer blocks and a layer norm refines them all together. A patch embedding is a
    refined patch token. The text tower (24 blocks, 1280 wide, on CLIP's word pieces) gives 2048
    numbers a sentence: the first half is aligned with the refined class token, the second with
    the mean of the refined patches, and that half is the text embedding here. Compare by cosine.

    ``head=False`` leaves the head out and gives DINOv2's own tokens, as Patch-ioner's baseline
    does; text was not trained to match those.

    At its default size the whole picture is squashed into a square of 518 pixels, 37 by 37
    patches of 1024 numbers. ``attention`` of a grid is that of DINOv2's class token in its last
    block; ``cls`` is the refined class token. DINOv2 and DINO.txt are under Apache-2.0.

    Parameters
    ----------
    vision : DinoVision
        DINOv2 ViT-L/14 with registers.
    head : VisionHead, optional
        None leaves the tokens as they are.
    load_text : callable, optional
        Opens the text tower, called when text is embedded for the first time.
    size : int, optional
        Side of the square, long side (``layout="aspect"``) or short side (``"crop"``), in pixels.
    layout : {"square", "aspect", "crop"}
        Squash, keep the aspect ratio, or cut out the middle square.
    attention : {"paper", "reference"}
        The network's own heads, or Patch-ioner's 16, which are ViT-L's own.

    Attributes
    ----------
    name : str
        Tells apart whatever changes a grid.
    dim, patch_size, input_size : int
        See `Backbone`.
    provenance : mapping of str to str
        ``"text"``: whose text embeddings these are, which a memory bank must share.

    Raises
    ------
    ModelError
        The head was made for a DINO of another width, or an option is unknown.
    """

    provenance: Mapping[str, str] = {"text": "dinotxt"}

    def __init__(
        self,
        vision: DinoVision,
        head: VisionHead | None,
        load_text: Callable[[], DinoText] | None = None,
        *,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> None:
        width = vision.dim if head is None else head.ln_final.weight.shape[0]
        if width != vision.dim:
            raise ModelError(
                f"The vision head reads {width} numbers where {vision.name} has {vision.dim}; "
                f"choose the head of the same DINO (DINOv2 ViT-L/14 with registers)."
            )
        check_attention(attention)
        self._vision, self._head, self._load_text = vision, head, load_text
        self._attention: Attention = attention
        self.dim, self.patch_size = vision.dim, vision.patch_size
        self.input_size = size or native_size(vision.patch_size)
        self._preprocessing = Preprocessing(self.input_size, self.patch_size, layout)
        ending = "" if attention == "paper" else "/attention-reference"
        top = f"head-{tensors_sha256(head.ln_final.state_dict())[:8]}" if head else "headless"
        self.name = f"dinotxt/{vision.name}/{top}/{self.input_size}/{layout}{ending}"

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        head: bool = True,
        size: int | None = None,
        layout: Layout = "square",
        attention: Attention = "paper",
    ) -> DinoTxt:
        """Open a DINO.txt from disk.

        Parameters
        ----------
        files : mapping of str to Path
            ``"vision"``: DINOv2 ViT-L/14 with registers, a folder or Meta's file. ``"head"``:
            file of the vision head, needed unless ``head=False``. ``"text"``: file of the text
            tower, needed only to embed text. ``"merges"``: CLIP's word pieces, for the text tower;
            looked for in installed packages by default.
        head : bool
            Whether tokens go through the vision head.
        size, layout, attention
            See `DinoTxt`.

        Raises
        ------
        ModelError
            A file is missing, damaged, or does not belong to the others.
        """
        needed = {"vision": "DINOv2 ViT-L/14 with registers"}
        needed |= {"head": "the vision head"} if head else {}
        for role, what in needed.items():
            if role not in files:
                raise ModelError(f"DINO.txt needs {what}; give its file as {role}.")
        text = files.get("text")
        return cls(
            DinoVision.open(files["vision"]),
            VisionHead.open(Path(files["head"])) if head else None,
            partial(_open_text, Path(text), files.get("merges")) if text else None,
            size=size,
            layout=layout,
            attention=attention,
        )

    def encode(self, image: npt.ArrayLike, *, progress: Progress | None = None) -> FeatureGrid:
        """Look at an image once; see `Backbone.encode`."""
        return encode(
            image,
            self._vision,
            self._preprocessing,
            self.name,
            attention=self._attention,
            refine=partial(_refine, self._head) if self._head else None,
            progress=progress,
        )

    def embed_text(
        self, texts: Sequence[str], *, progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed sentences among the patches; the text tower is opened at the first call.

        Returns
        -------
        ndarray of float32, shape (n, dim)
            The half of the text embedding that is aligned with patches, not normalised.

        Raises
        ------
        ModelError
            No text tower was given, or it is of another DINO.txt.
        """
        embedded = self._text.embed(texts, progress=progress)
        if embedded.shape[1] != 2 * self.dim:
            raise ModelError(
                f"The text tower gives {embedded.shape[1]} numbers where {2 * self.dim} belong "
                f"to this DINO.txt; choose the text tower of the same one."
            )
        return embedded[:, self.dim :]

    @cached_property
    def _text(self) -> DinoText:
        if self._load_text is None:
            raise ModelError(
                "This DINO.txt was opened without a text tower; add its text encoder file as text."
            )
        return self._load_text()


def _open_text(path: Path, merges: Path | None) -> DinoText:
    return DinoText.open(path, ClipTokenizer(merges))


@torch.inference_mode()
def _refine(head: VisionHead, looked: Looked, tell: Progress) -> tuple[Tensor, Tensor]:
    """Pass all tokens through the head together; patches and class token come back."""
    flat = looked.patches.flatten(0, 1)
    with spare_core(), telling(head.block_list, tell, "refining patches", (0.9, 1.0)):
        tokens = head(torch.cat([looked.cls[None], looked.registers, flat])[None])[0]
    return tokens[-len(flat) :].reshape(looked.patches.shape), tokens[0]
