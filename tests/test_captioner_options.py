"""Options that write again from what was looked at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_patchioner.bridges import MemoryBank, MemoryBridge, NormalizeBridge, RetrievalBridge
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import Caption, CaptionOptions, QuoteDecoder
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.regions import Box, RegionSet

if TYPE_CHECKING:
    import numpy.typing as npt

SENTENCES = ("a red wall", "a green lawn", "a blue sea", "a red and green flag")
COLOURS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], np.float32)


class Backbone:
    name, dim, patch_size, input_size = "pixels", 3, 10, 40

    def encode(self, image: npt.ArrayLike, **_: object) -> FeatureGrid:
        raise AssertionError("options must not look again")


class Echo:
    """Says the vector it was given, and keeps the options."""

    options: CaptionOptions | None = None

    def decode(
        self, vectors: npt.NDArray[np.float32], options: CaptionOptions, **_: Any
    ) -> list[Caption]:
        self.options = options
        return [Caption(" ".join(f"{value:.3f}" for value in row), 1.0) for row in vectors]


@pytest.fixture
def grid() -> FeatureGrid:
    """Red above, green below."""
    embeddings = np.zeros((4, 4, 3), np.float32)
    embeddings[:2, :, 0] = embeddings[2:, :, 1] = 1
    return FeatureGrid(embeddings, GridTransform((40, 40), (4, 4)), "pixels")


def bank() -> MemoryBank:
    return MemoryBank.from_arrays(SENTENCES, COLOURS)


def captioner(bridge: object, decoder: object) -> Captioner:
    return Captioner(Backbone(), bridge, decoder, name="test")  # type: ignore[arg-type]


RED = Box(-0.5, -0.5, 19.5, 39.5)
MOST_RED = Box(-0.5, -0.5, 29.5, 39.5)


def test_a_temperature_is_for_one_call(grid: FeatureGrid) -> None:
    bridge = MemoryBridge(bank(), temperature=0.01)
    model = captioner(bridge, Echo())
    before = model.caption(grid, [MOST_RED])
    warm = model.caption(grid, [MOST_RED], temperature=10.0)
    hot = captioner(MemoryBridge(bank(), temperature=10.0), Echo()).caption(grid, [MOST_RED])
    assert warm == hot
    assert warm[0].text != before[0].text
    assert model.caption(grid, [MOST_RED]) == before
    assert bridge.temperature == 0.01


def test_without_a_memory_a_temperature_changes_nothing(grid: FeatureGrid) -> None:
    model = captioner(NormalizeBridge(), Echo())
    assert model.caption(grid, [RED], temperature=5.0) == model.caption(grid, [RED])


def test_a_temperature_must_make_sense(grid: FeatureGrid) -> None:
    with pytest.raises(ModelError, match="above 0"):
        captioner(NormalizeBridge(), Echo()).caption(grid, [RED], temperature=-1.0)


def test_options_reach_the_decoder_whole_or_by_name(grid: FeatureGrid) -> None:
    decoder = Echo()
    model = captioner(NormalizeBridge(), decoder)
    model.caption(grid, [RED], temperature=0.1)
    assert decoder.options is not None
    assert not decoder.options.constrained
    asked = CaptionOptions(
        length="label", must_include=("hot dog",), must_exclude=("cat",), repetition=2, max_tokens=9
    )
    model.caption(grid, [RED], asked)
    assert decoder.options == asked
    names = {"length": "label", "must": "hot dog", "never": ["Cat"], "repetition": 2}
    model.caption(grid, [RED], max_tokens=9, **names)
    assert decoder.options == asked
    with pytest.raises(TypeError, match="colour"):
        model.caption(grid, [RED], colour="red")


def test_the_whole_memory_is_searched_for_words(grid: FeatureGrid) -> None:
    model = captioner(RetrievalBridge(bank(), neighbours=1), QuoteDecoder())

    def say(**changes: Any) -> str:
        [one, other] = model.caption(grid, [RED, MOST_RED], **changes)
        assert model.caption(grid, [RED], **changes)[0].text == one.text
        assert other.neighbours == model.caption(grid, [MOST_RED])[0].neighbours
        return one.text

    assert say() == "a red wall"
    assert say(never=["wall"]) == "a red and green flag"
    assert say(must=["sea"]) == "a blue sea"
    with pytest.raises(ModelError, match="No sentence"):
        say(must=["zebra"])
    with pytest.raises(ModelError, match="No sentence"):
        say(never=["a"])


def test_a_union_counts_shared_patches_once(grid: FeatureGrid) -> None:
    model = captioner(NormalizeBridge(unit=False), Echo())
    both = RegionSet((RED, MOST_RED))
    [added] = model.caption(grid, [both])
    [united] = model.caption(grid, [both], union=True)
    assert added.text == "0.800 0.200 0.000"
    assert united.text == "0.667 0.333 0.000"
    assert model.caption(grid, [RED], union=True) == model.caption(grid, [RED])
