"""SAM 2.1 (Ravi et al. 2024): masks of what is clicked or boxed in a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from napari_patchioner.checkpoints import fit, read_settings, read_state, unfilled
from napari_patchioner.devices import CPU, Placement
from napari_patchioner.errors import ModelError
from napari_patchioner.images import as_rgb
from napari_patchioner.progress import Progress, no_progress

from .base import IMAGENET

# The published files hold the parts for videos too, which a single picture does not need.
_OF_VIDEOS = (
    *("memory_*", "mask_downsample*", "object_pointer_proj*", "occlusion_spatial_*"),
    *("temporal_positional_encoding_projection_layer*", "no_memory_positional_encoding"),
    "no_object_pointer",
)
_PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
# One table of positions under two names, of which a file may hold either
_POSITIONS = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)
_MOST_WEIGHTS = 10**9
_WANTED, _UNWANTED = 1, 0


@dataclass(frozen=True, eq=False, slots=True)
class EncodedPicture:
    """What masks are decoded from: maps of three sizes, and ``(height, width)`` of the picture."""

    maps: tuple[Tensor, ...]
    shape: tuple[int, int]


class Sam2:
    """SAM 2.1 for single pictures, from files in the form of the Hugging Face hub.

    A picture is encoded once, after which a mask takes a fraction of that. It is squashed to a
    square of ``side`` pixels (1024), and masks come with a quarter of that.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        size = network.config.prompt_encoder_config.image_size
        self.side = int(size[0] if isinstance(size, list | tuple) else size)
        self.placement = CPU

    @classmethod
    def open(cls, files: Mapping[str, Path]) -> Sam2:
        """Open ``config.json`` and ``model.safetensors`` of a SAM 2.1, from ``files["folder"]``.

        A ModelError where they are missing, damaged, or of another model.
        """
        from transformers import Sam2Config, Sam2Model

        folder = Path(files["folder"])
        path = folder / "config.json"
        content = read_settings(path, _MOST_WEIGHTS)
        if content.get("model_type") not in ("sam2", "sam2_video"):
            raise ModelError(
                f"{path} describes a {str(content.get('model_type'))[:40]!r}, not a SAM 2; choose "
                "a model such as sam2.1-hiera-tiny."
            )
        try:
            config = Sam2Config(**{name: content[name] for name in _PARTS if name in content})
            with unfilled():
                network = Sam2Model(config)
        except Exception as error:  # settings of other people's may be at odds in any way
            raise ModelError(f"{path} is no configuration of a SAM 2; get it again.") from error
        state = dict(read_state(folder))
        for name, other in (_POSITIONS, _POSITIONS[::-1]):
            if name not in state and other in state:
                state[name] = state[other]
        return cls(fit(network, state, source=folder, ignore=_OF_VIDEOS))

    def place(self, placement: Placement) -> None:
        """Move the network to another device or precision."""
        placement.put(self._network)
        self.placement = placement

    def encode(self, image: npt.ArrayLike, *, progress: Progress | None = None) -> EncodedPicture:
        """Encode a picture, gray, RGB or RGBA: the one slow step."""
        report = progress or no_progress
        report(0.0, "encoding for outlines")
        rgb = as_rgb(image)
        picture = Image.fromarray(rgb).resize((self.side, self.side), Image.Resampling.BILINEAR)
        mean, std = (np.array(part, np.float32) for part in IMAGENET)
        values = (np.asarray(picture, np.float32) / 255 - mean) / std
        pixels = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
        with torch.inference_mode():
            maps = self._network.get_image_embeddings(self.placement.put(pixels))
        report(1.0, "done")
        return EncodedPicture(tuple(maps), (int(rgb.shape[0]), int(rgb.shape[1])))

    def logits(
        self,
        encoded: EncodedPicture,
        clicks: Sequence[tuple[float, float]] = (),
        negative: Sequence[tuple[float, float]] = (),
        box: tuple[float, float, float, float] | None = None,
    ) -> tuple[npt.NDArray[np.float32], float]:
        """Decode the mask of clicks, ``(row, column)``, and of a box, with how good it may be.

        The box is ``(top, left, bottom, right)``, all in pixels of the picture. Returns logits,
        shape (height, width) of the picture, above 0 inside, and an estimate of the IoU.
        """
        height, width = encoded.shape
        scale = torch.tensor([self.side / width, self.side / height])

        def placed(points: Sequence[tuple[float, float]]) -> Tensor:
            """Columns and rows of points on the square, (n, 2); the network counts from corners."""
            pairs = torch.tensor(points, dtype=torch.float32).reshape(-1, 2).flip(1)
            return (pairs + 0.5) * scale - 0.5

        asked: dict[str, Tensor] = {}
        if clicks or negative:
            asked["input_points"] = placed([*clicks, *negative])[None, None]
            labels = [_WANTED] * len(clicks) + [_UNWANTED] * len(negative)
            asked["input_labels"] = torch.tensor(labels, dtype=torch.int32)[None, None]
        if box is not None:
            corners = placed([(box[0], box[1]), (box[2], box[3])])
            asked["input_boxes"] = corners.reshape(1, 1, 4)
        # One click may mean a part or the whole; more say which.
        several = box is None and len(clicks) + len(negative) == 1
        with torch.inference_mode():
            result = self._network(
                image_embeddings=list(encoded.maps),
                multimask_output=several,
                **{name: self.placement.put(value) for name, value in asked.items()},
            )
            scores = result.iou_scores[0, 0].float()
            best = int(scores.argmax())
            small = result.pred_masks[0, :1, best : best + 1].float()
            full = torch.nn.functional.interpolate(
                small, (height, width), mode="bilinear", align_corners=False
            )
        return np.asarray(full[0, 0].cpu().numpy(), np.float32), float(scores[best])
