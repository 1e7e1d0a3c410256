"""Fit the network that says which pieces of an image belong to what is clicked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_patchioner.grounding.membership import MEASURED, measures_beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.grounding.segments import SegmentTree

HIDDEN, PASSES, AT_ONCE = 32, 24, 32
FIRST_RATE, LAST_RATE, DECAY = 3e-3, 1e-4, 1e-2
# Most masks are small: large ones count more, by this power of their share of the image.
SIZE_POWER = 0.12
_TINY = 1e-6


@dataclass(frozen=True, eq=False, slots=True)
class ClickSample:
    """One click on a mask.

    What is measured of each piece, (n, MEASURED), which share of its pixels the mask takes, (n,),
    how many it has, (n,), and how many the mask has.
    """

    measures: npt.NDArray[np.float32]
    shares: npt.NDArray[np.float32]
    sizes: npt.NDArray[np.float32]
    total: float


def click_sample(
    tree: SegmentTree, mask: npt.NDArray[np.bool_], click: tuple[int, int]
) -> ClickSample:
    """Measure a click, in ``tree.labels``, on a mask of the same shape."""
    sizes = tree.counts_of_pixels
    within = np.bincount(tree.labels[mask], minlength=len(sizes))
    measured = measures_beside(tree, click).astype(np.float32)
    shares = (within / sizes).astype(np.float32)
    return ClickSample(measured, shares, sizes.astype(np.float32), float(mask.sum()))


def fit_network(
    samples: Sequence[ClickSample], seed: int = 0
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the arrays of a `ClickNetwork`, fitted to one less intersection over union."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    rows = np.concatenate([sample.measures for sample in samples])
    middle, width = rows.mean(axis=0), rows.std(axis=0) + _TINY
    inputs = [torch.from_numpy((sample.measures - middle) / width) for sample in samples]
    shares, sizes = (
        [torch.from_numpy(getattr(sample, name)) for sample in samples]
        for name in ("shares", "sizes")
    )
    layers = [
        torch.nn.Linear(*both) for both in ((MEASURED, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, 1))
    ]
    first, second, last = layers
    network = torch.nn.Sequential(first, torch.nn.Tanh(), second, torch.nn.Tanh(), last)
    areas = np.array([sample.total / sample.sizes.sum() for sample in samples])
    weights = areas**SIZE_POWER / (areas**SIZE_POWER).mean()
    optimiser = torch.optim.AdamW(network.parameters(), FIRST_RATE, weight_decay=DECAY)
    order = np.arange(len(samples))
    for number in range(PASSES):
        for group in optimiser.param_groups:
            group["lr"] = FIRST_RATE * (1 - number / PASSES) + LAST_RATE
        generator.shuffle(order)
        for start in range(0, len(order), AT_ONCE):
            batch = order[start : start + AT_ONCE].tolist()
            chances = network(torch.cat([inputs[row] for row in batch]))[:, 0].sigmoid()
            losses = []
            for row, own in zip(batch, chances.split([len(inputs[r]) for r in batch]), strict=True):
                common = (own * shares[row] * sizes[row]).sum()
                either = (own * sizes[row]).sum() + samples[row].total - common
                losses.append(float(weights[row]) * (1 - common / either))
            loss = torch.stack(losses).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    arrays = {"middle": middle, "width": width}
    for name, layer in zip(("first", "second", "last"), layers, strict=True):
        arrays[name] = layer.weight.detach().numpy().T
        arrays[f"{name}_bias"] = layer.bias.detach().numpy()
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
