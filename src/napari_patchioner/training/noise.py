"""Noise on text embeddings, so that a decoder also understands what lies beside them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from napari_patchioner.bridges import unit_rows
from napari_patchioner.errors import FormatError, ModelError
from napari_patchioner.limits import charge_json, file_budget, read_file

from .corpus import NEITHER, read_caption_table

CAPDEC_VARIANCE = 0.016
"""Variance of CapDec's noise, and of ViECap's."""
PAPER_STD = 0.08
"""Standard deviation of the noise that the paper's decoders were trained with."""
# Of what is read to estimate it.
_MOST_IMAGES, _MOST_CAPTIONS = 200, 10


@dataclass(frozen=True, slots=True)
class Noise:
    r"""Gaussian noise on unit vectors, scaled to length one again.

    :math:`x' = (\hat x + n) / |\hat x + n|` with :math:`n \sim N(0, \sigma^2 I)`, where
    :math:`\hat x` is the embedding scaled to length one. CapDec (Nukrai et al. 2022) states the
    variance :math:`\sigma^2 = 0.016`, CLOSE (Gu et al. 2023) the standard deviation :math:`\sigma`,
    0.04 to 0.12 by task.
    """

    std: float = PAPER_STD

    def __post_init__(self) -> None:
        if not 0 <= self.std < float("inf"):
            raise ModelError(f"The noise must have a spread of 0 or more, not {self.std}.")

    @classmethod
    def of_variance(cls, variance: float = CAPDEC_VARIANCE) -> Self:
        """Return noise of a variance, as CapDec states it.

        >>> round(Noise.of_variance(0.016).std, 4)
        0.1265
        """
        if not 0 <= variance < float("inf"):
            raise ModelError(f"The noise must have a variance of 0 or more, not {variance}.")
        return cls(variance**0.5)

    @classmethod
    def estimated(cls, groups: Iterable[npt.ArrayLike]) -> Self:
        """Estimate it as CapDec does: how far captions of the same image lie from each other.

        ``groups`` hold embeddings of the captions of one image each, shape (captions, dim). The
        standard deviation is the mean over all pairs of the largest difference of any of their
        numbers (the infinity norm), once scaled to length one. ModelError where there is no pair.

        >>> Noise.estimated([[[1.0, 0.0], [0.8, 0.6]]]).std
        0.600...
        """
        distances = [
            float(np.abs(left - right).max())
            for group in groups
            for left, right in combinations(unit_rows(np.asarray(group, np.float32)), 2)
        ]
        if not distances:
            raise ModelError("No image has two captions, so the noise cannot be estimated.")
        return cls(float(np.mean(distances)))

    def __call__(self, vectors: Tensor) -> Tensor:
        """Scale vectors, shape (n, dim), to length one, add noise from torch's generator, again."""
        unit = functional.normalize(vectors, dim=1)
        if not self.std:
            return unit
        # On the processor, so that a seed gives the same noise everywhere.
        noise = torch.randn(vectors.shape, dtype=torch.float32).to(vectors)
        return functional.normalize(unit + self.std * noise, dim=1)


def estimate_noise(
    path: str | Path, embed: Callable[[Sequence[str]], npt.NDArray[np.float32]]
) -> Noise:
    """Estimate the noise from a file of images with several captions each, see `Noise.estimated`.

    The file is COCO's captions (``.json``) or a table (``.csv``) with the columns ``image`` and
    ``caption``; the first 200 images with more than one caption count.
    """
    groups = [texts[:_MOST_CAPTIONS] for texts in _captions_by_image(Path(path)) if len(texts) > 1]
    groups = groups[:_MOST_IMAGES]
    if not groups:
        raise FormatError(f"{path}: no image has two captions; name a file where some have")
    vectors = embed([text for group in groups for text in group])
    ends = np.cumsum([len(group) for group in groups])[:-1]
    return Noise.estimated(np.split(vectors, ends))


def _captions_by_image(path: Path) -> list[list[str]]:
    """Read the captions of each image, in the order of the file."""
    results: dict[str, list[str]] = defaultdict(list)
    try:
        if path.suffix.lower() == ".json":
            with file_budget(path):
                data = read_file(path)
                charge_json(data)
                rows = json.loads(data)["annotations"]
            for row in rows:
                results[str(row["image_id"])].append(str(row["caption"]))
        else:
            for image, caption in read_caption_table(path):
                results[image].append(caption)
    except FormatError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{path}: {NEITHER}") from error
    return list(results.values())
