"""A captioner of crops that lets CLIP guide GPT-2 word by word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders import Caption
from napari_patchioner.errors import ModelError
from napari_patchioner.evaluation.crops import crop
from napari_patchioner.grids import GridTransform
from napari_patchioner.images import as_rgb
from napari_patchioner.regions import Region

from .guide import Gpt2, Guide
from .magic import Magic
from .zerocap import ZeroCap, ZeroCapSettings

if TYPE_CHECKING:
    from napari_patchioner.backbones.clip import ClipDense


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """A picture as it is, shape (height, width, 3); its regions are encoded one by one.

    ``key`` is empty, as no grid is kept of it.
    """

    rgb: npt.NDArray[np.uint8]
    key: str = ""

    @property
    def transform(self) -> GridTransform:
        """A single patch over the whole picture."""
        height, width = self.rgb.shape[:2]
        return GridTransform((height, width), (1, 1))


class LateGuided:
    """Captions regions by their crops, the way the paper runs its late-guided baselines.

    It has the two doors of a ``Captioner``, but the work is in the second: each region is cut
    out along its bounding box, encoded, and captioned by itself.

    The picture's vector is the class token of ``clip``; ``max_tokens`` is the longest caption, the
    writer's own by default; ``progress`` is given the number of the current region, from 1, and how
    many there are.
    """

    def __init__(
        self,
        clip: ClipDense,
        writer: ZeroCap | Magic,
        *,
        max_tokens: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.clip, self.writer = clip, writer
        self.name = writer.name
        # No memory stands in for its own, and nothing else is known of where captions come from.
        self.memory: dict[str, Any] = {}
        self.origin: dict[str, Any] = {}
        self._max_tokens, self._progress = max_tokens, progress

    def encode(self, image: npt.ArrayLike) -> Picture:
        """Take a picture, gray, RGB or RGBA; nothing is computed yet."""
        return Picture(as_rgb(image))

    def caption(self, picture: Picture, regions: Sequence[Region]) -> list[Caption]:
        """Caption regions, in their order; nothing is captioned if one lies outside the picture."""
        crops = [crop(picture.rgb, region) for region in regions]
        captions = []
        for number, part in enumerate(crops, start=1):
            if self._progress:
                self._progress(number, len(crops))
            vector = self.clip.encode(part).cls
            if vector is None:
                raise ModelError("The guide gives no vector of the whole picture; choose a CLIP.")
            guide = Guide(vector, self.clip.embed_text)
            captions.append(self.writer.caption(guide, max_tokens=self._max_tokens))
        return captions


def open_baseline(
    method: Literal["zerocap", "magic"],
    clip: str | Path,
    gpt2: str | Path,
    *,
    prompt: str | None = None,
    max_tokens: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LateGuided:
    """Open a late-guided baseline from local folders, with the published settings.

    ``clip`` is the folder of a CLIP, see `ClipDense`; its picture is resized and cut to the middle
    square, as CLIP was trained. ``gpt2`` is the folder of a GPT-2, see `Gpt2.open`, which continues
    the ``prompt``: "Image of a" for ZeroCap and nothing for MAGIC by default. The other options are
    those of `LateGuided`.
    """
    from napari_patchioner.backbones.clip import ClipDense

    language = Gpt2.open(gpt2)
    guide = ClipDense.open({"clip": Path(clip)}, layout="crop")
    writer: ZeroCap | Magic
    if method == "magic":
        writer = Magic(language, prompt=prompt or "")
    else:
        settings = ZeroCapSettings() if prompt is None else ZeroCapSettings(prompt=prompt)
        writer = ZeroCap(language, settings)
    return LateGuided(guide, writer, max_tokens=max_tokens, progress=progress)
