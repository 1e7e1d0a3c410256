"""Scores in the space CLIP shares between text and pictures: CLIPScore, PAC-S and their kin.

PAC-S is CLIPScore with a CLIP ViT-B/32 that was tuned on good and bad captions; its weights are a
file of their own. Captions and references get the same words in front, as published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from napari_patchioner.backbones.base import CLIP, Preprocessing
from napari_patchioner.backbones.clip_towers import ClipText, ClipVision, tower_config
from napari_patchioner.bridges import unit_rows
from napari_patchioner.checkpoints import read_state
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.devices import torch_cores
from napari_patchioner.errors import ImageError, ModelError
from napari_patchioner.images import read_image

from .metric import Captioned

FloatArray: TypeAlias = npt.NDArray[np.float64]

PREFIX = "A photo depicts "
CLIP_WEIGHT, PAC_WEIGHT = 2.5, 2.0


class ClipJudge:
    """A CLIP that says how well captions fit images and references."""

    def __init__(
        self, text: ClipText, vision: ClipVision, preprocessing: Preprocessing, weight: float
    ) -> None:
        self.text, self.vision = text, vision
        self.preprocessing, self.weight = preprocessing, weight
        self._seen: dict[str, FloatArray] = {}

    @classmethod
    def open(cls, folder: Path, tuned: Path | None = None) -> ClipJudge:
        """Open a CLIP, with other weights if there are any."""
        settings = tower_config(folder, "vision")
        preprocessing = Preprocessing(settings.image_size, settings.patch_size, "crop", CLIP)
        if tuned is None:
            return cls(ClipText.open(folder), ClipVision.open(folder), preprocessing, CLIP_WEIGHT)
        state = read_state(tuned)
        words = ClipTokenizer(folder / "merges.txt")
        text = ClipText.from_state(state, words, source=tuned)
        vision = ClipVision.from_state(state, source=tuned)
        if vision.patch_size != settings.patch_size:
            raise ModelError(
                f"{tuned} has patches of {vision.patch_size} pixels but {folder} of "
                f"{settings.patch_size}; name the CLIP that these weights were tuned from."
            )
        return cls(text, vision, preprocessing, PAC_WEIGHT)

    def with_images(self, given: Captioned) -> FloatArray:
        """CLIPScore (Hessel et al. 2021) or PAC-S: caption against image, 0 where they disagree.

        Shape (n,), nan where the image cannot be read.
        """
        captions = self._embed(given.candidates)
        images = np.array([self._image_vector(item, given.paths) for item in given.images])
        cosines: FloatArray = np.einsum("nd,nd->n", captions, images.reshape(captions.shape))
        return self.weight * np.clip(cosines, 0, None)

    def with_references(self, given: Captioned) -> FloatArray:
        """Cosine of each caption with the nearest of its references, shape (n,).

        This is RefPAC-S as Patch-ioner reports it: neither weighed nor mixed with the image.
        """
        captions = self._embed(given.candidates)
        lengths = [len(others) for others in given.references]
        known = self._embed([text for others in given.references for text in others])
        ends = np.cumsum(lengths)
        pairs = zip(captions, ends - lengths, ends, strict=True)
        return np.array([float((known[start:end] @ item).max()) for item, start, end in pairs])

    def with_both(self, given: Captioned) -> FloatArray:
        """RefCLIPScore: harmonic mean of the score with the image and that with the references."""
        image, text = self.with_images(given), np.clip(self.with_references(given), 0, None)
        total = image + text
        return np.divide(2 * image * text, total, out=total.copy(), where=total > 0)

    def _embed(self, texts: Sequence[str]) -> FloatArray:
        vectors = self.text.embed([PREFIX + text for text in texts])
        return np.asarray(unit_rows(vectors), np.float64)

    @torch.inference_mode()
    def _image_vector(self, image: str, paths: Mapping[str, Path]) -> FloatArray:
        """Class token of an image, projected; every image is embedded once."""
        if image not in paths:
            raise ModelError(
                "Scores with images need the images; name their folder by --images DIR."
            )
        if image not in self._seen:
            try:
                pixels = self.preprocessing(read_image(paths[image])).pixels
            except ImageError:
                # Reported already when it was to be captioned; the other images have their scores.
                return np.full(self.text.dim, np.nan)
            with torch_cores():
                tokens = self.vision.start(pixels)
                for layer in self.vision.layers:
                    tokens = self.vision.attend(layer, tokens)
                vector = self.vision.finish(tokens[:, 0]).numpy()
            self._seen[image] = np.asarray(unit_rows(vector)[0], np.float64)
        return self._seen[image]
