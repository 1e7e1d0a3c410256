"""The vision transformers of DINO, DINOv2 and DINOv3: an image to patch tokens."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch

from napari_patchioner.checkpoints import read_state, tensors_sha256
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import class_attention

from ._dino_layouts import own_names
from ._dino_networks import build, family
from ._progress import telling
from ._threads import spare_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

Attention: TypeAlias = Literal["paper", "reference"]

# Patch-ioner splits every model but the small one in 16 and scales as if heads were 64 wide.
_REFERENCE_HEADS, _REFERENCE_SCALE = 16, 0.125
_SMALL = 384


@dataclass(frozen=True, slots=True)
class Looked:
    """What a DINO sees in one image; tokens are those after the final layer norm.

    Attributes
    ----------
    patches : Tensor of float32, shape (rows, columns, dim)
    cls : Tensor of float32, shape (dim,)
    registers : Tensor of float32, shape (registers, dim)
    qkv : Tensor of float32, shape (tokens, 3 * dim)
        Queries, keys and values of the last block side by side, the class token first, then the
        registers, then the patches; before the rotation of DINOv3's positions, as the published
        code reads them.
    """

    patches: Tensor
    cls: Tensor
    registers: Tensor
    qkv: Tensor


class DinoVision:
    """A DINO vision transformer, from weights on disk.

    Positions of another grid than the trained one are interpolated as transformers does it:
    bicubic, to the exact size, with antialiasing in DINOv2 with registers (what Meta's code does
    for these too) and without it in DINOv2 and DINO (Meta's code shifts by a tenth of a patch
    there). At its native size (518 pixels in DINOv2) nothing is interpolated. DINOv3 has rotary
    positions, which need none.

    DINO and DINOv2 are under Apache-2.0, DINOv3 under a licence of its own.

    Parameters
    ----------
    network : PreTrainedModel
        Of transformers, with weights.
    name : str
        Goes into the name of every backbone made of it.

    Attributes
    ----------
    dim, patch_size, heads : int
        Width of a token, side of a patch in pixels, attention heads.
    global_tokens : int
        Class token and registers, which come before the patches.
    name : str
        Architecture and a fingerprint of the weights, the same in any layout of them.
    """

    def __init__(self, network: Any, name: str) -> None:
        self._network = network
        # What one look hears, another at the same time would hear too.
        self._looking = Lock()
        self.name = name
        config = network.config
        self.dim = int(config.hidden_size)
        self.patch_size = int(config.patch_size)
        self.heads = int(config.num_attention_heads)
        self.global_tokens = 1 + int(getattr(config, "num_register_tokens", 0))
        own = own_names(network.state_dict())
        self._blocks = [
            own[f"blocks.{number}.norm1.weight"].rpartition(".")[0].rpartition(".")[0]
            for number in range(config.num_hidden_layers)
        ]
        last = f"blocks.{config.num_hidden_layers - 1}."
        self._last = [own[f"{last}{part}.weight"].removesuffix(".weight") for part in "qkv"]
        self._asked = {"interpolate_pos_encoding": True} if config.model_type == "vit" else {}

    @classmethod
    def open(cls, path: Path) -> DinoVision:
        """Open a DINO.

        Parameters
        ----------
        path : Path
            A folder of the Hugging Face hub (``config.json`` and weights, by Hugging Face's names
            or Meta's), or a file of weights alone, whose sizes tell the architecture.

        Raises
        ------
        ModelError
            Weights are missing, left over, mis-shaped or not of a DINO; they are named.
        """
        path = Path(path)
        return cls.from_state(read_state(path), source=path)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], *, source: Path) -> DinoVision:
        """Make a DINO of weights that have been read, see :meth:`open`."""
        network, weights = build(state, source=source)
        some = {name: weights[name] for name in ("norm.weight", "norm.bias", "cls_token")}
        return cls(network, f"{family(network)}-{tensors_sha256(some)[:8]}")

    @torch.inference_mode()
    def look(self, pixels: Tensor, *, tell: Callable[[float], None] | None = None) -> Looked:
        """Look at one image.

        Parameters
        ----------
        pixels : Tensor of float32, shape (1, 3, rows * patch_size, columns * patch_size)
            Normalised.
        tell : callable, optional
            Called with the share done after every block; may raise ``Cancelled``.

        Returns
        -------
        Looked
        """
        rows, columns = (side // self.patch_size for side in pixels.shape[-2:])
        with self._looking, spare_core(), self._listening(tell) as heard:
            tokens = self._network(pixel_values=pixels, **self._asked).last_hidden_state[0]
        return Looked(
            patches=tokens[self.global_tokens :].reshape(rows, columns, self.dim),
            cls=tokens[0],
            registers=tokens[1 : self.global_tokens],
            qkv=torch.cat([heard[name][0] for name in self._last], dim=1),
        )

    @contextmanager
    def _listening(self, tell: Callable[[float], None] | None) -> Iterator[dict[str, Tensor]]:
        """Keep what the last block's three projections put out, and tell of every block."""
        heard: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[..., None]:
            return lambda _module, _inputs, output: heard.__setitem__(name, output)

        hooks = [(name, keep(name)) for name in self._last]
        handles = [
            self._network.get_submodule(name).register_forward_hook(hook) for name, hook in hooks
        ]
        blocks = map(self._network.get_submodule, self._blocks)
        report = (lambda share, _message: tell(share)) if tell else None
        try:
            with telling(blocks, report, ""):
                yield heard
        finally:
            for handle in handles:
                handle.remove()

    def attention(self, looked: Looked, how: Attention = "paper") -> npt.NDArray[np.float32]:
        """Attention of the class token over the patches in the last block.

        Parameters
        ----------
        looked : Looked
            What this network saw.
        how : {"paper", "reference"}
            With the network's own heads, or with the 16 that the published code splits every
            network but the small one in. Averaged over heads the two differ by a factor of the
            logits: for ViT-B, 12/16.

        Returns
        -------
        ndarray of float32, shape (rows, columns)
            Sums to one.
        """
        heads, scale = self.heads, None
        if how == "reference":
            heads = self.heads if self.dim == _SMALL else _REFERENCE_HEADS
            scale = _REFERENCE_SCALE
        flat = class_attention(looked.qkv.numpy(), heads, self.global_tokens, scale=scale)
        return flat.reshape(looked.patches.shape[:2])


def check_attention(how: Attention) -> None:
    """Raise ``ModelError`` where there is no such way to attend."""
    if how not in ("paper", "reference"):
        raise ModelError(f"The attention must be paper or reference, not {how!r}.")
