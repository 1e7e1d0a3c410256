from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_patchioner.bridges import (
    BridgeOutput,
    MemoryBank,
    MemoryBridge,
    NormalizeBridge,
    RetrievalBridge,
)
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import Caption, CaptionOptions, QuoteDecoder
from napari_patchioner.errors import Cancelled, ModelError, PatchionerError, RegionError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.regions import Box, Mask, Point, Polygon, Trace, WholeImage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from napari_patchioner.decoders import Evidence
    from napari_patchioner.regions import PatchWeights, Region

SIDE, PATCHES = 80, 8


class PixelBackbone:
    """Patches are the mean colours of their pixels; it counts how often it was asked."""

    name, dim, patch_size, input_size = "pixels", 3, 10, SIDE

    def __init__(self) -> None:
        self.passes = 0

    def encode(
        self,
        image: npt.ArrayLike,
        *,
        progress: Callable[[float, str], None] | None = None,
        key: str = "",
    ) -> FeatureGrid:
        self.passes += 1
        if progress is not None:
            progress(0.5, "looking")
        pixels = np.asarray(image, np.float32)
        size = SIDE // PATCHES
        embeddings = pixels.reshape(PATCHES, size, PATCHES, size, 3).mean(axis=(1, 3))
        return FeatureGrid(embeddings, GridTransform((SIDE, SIDE), (PATCHES, PATCHES)), "pixels")


class SpyBridge(NormalizeBridge):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def project(self, vectors: npt.NDArray[np.float32], grid: Any, **known: Any) -> BridgeOutput:
        self.asked.append(len(vectors))
        if (progress := known.get("progress")) is not None:
            progress(0.5, "crossing")
        return super().project(vectors, grid, **known)


class ColourDecoder:
    """Says which channel is strongest."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.options = CaptionOptions()

    def decode(
        self,
        vectors: npt.NDArray[np.float32],
        options: CaptionOptions,
        *,
        evidence: Sequence[Evidence] | None = None,
    ) -> list[Caption]:
        self.asked.append(len(vectors))
        self.options = options
        return [
            Caption(("red", "green", "blue")[row.argmax()], float(row.max())) for row in vectors
        ]


@pytest.fixture
def picture() -> npt.NDArray[np.float32]:
    """Red left, green right, a blue bottom row of patches."""
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    image[:, :40, 0] = 1
    image[:, 40:, 1] = 1
    image[70:] = (0, 0, 3)
    return image


@pytest.fixture
def captioner() -> Captioner:
    return Captioner(PixelBackbone(), SpyBridge(), ColourDecoder(), name="colours")


def box(top: float, left: float, bottom: float, right: float) -> Box:
    return Box(top - 0.5, left - 0.5, bottom - 0.5, right - 0.5)


def test_one_look_serves_any_number_of_regions(
    captioner: Captioner, picture: npt.NDArray[np.float32]
) -> None:
    grid = captioner.encode(picture)
    for count in (1, 7, 100):
        regions = [box(0, 0, 10 + place % 50, 20) for place in range(count)]
        assert len(captioner.caption(grid, regions)) == count
    assert captioner.backbone.passes == 1
    assert captioner.bridge.asked == captioner.decoder.asked == [1, 7, 100]


def test_captions_come_in_the_order_of_the_regions(
    captioner: Captioner, picture: npt.NDArray[np.float32]
) -> None:
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[72:, 3:9] = True
    regions = [
        box(5, 5, 30, 30),
        box(5, 50, 30, 70),
        Mask(pixels),
        Point(3, 70),
        Trace(np.array([[60.0, 5.0], [5.0, 5.0]])),
        Polygon(np.array([[1.0, 45.0], [60.0, 45.0], [1.0, 75.0]])),
        WholeImage(),
    ]
    captions = captioner.caption(captioner.encode(picture), regions)
    assert [caption.text for caption in captions] == [
        "red",
        "green",
        "blue",
        "green",
        "red",
        "green",
        "red",
    ]


def test_together_is_as_one_by_one(captioner: Captioner, picture: npt.NDArray[np.float32]) -> None:
    grid = captioner.encode(picture)
    regions = [box(row, row, row + 25, row + 25) for row in range(0, 55, 5)]
    alone = [captioner.caption(grid, [region])[0] for region in regions]
    for one, other in zip(captioner.caption(grid, regions), alone, strict=True):
        assert one.text == other.text
        assert one.score == pytest.approx(other.score, abs=1e-6)


def test_options_reach_the_decoder(captioner: Captioner, picture: npt.NDArray[np.float32]) -> None:
    grid = captioner.encode(picture)
    captioner.caption(grid, [WholeImage()])
    assert captioner.decoder.options == CaptionOptions(max_tokens=20)
    captioner.caption(grid, [WholeImage()], beams=1, alternatives=0, max_tokens=5)
    expected = CaptionOptions(beams=1, alternatives=0, max_tokens=5)
    assert captioner.decoder.options == expected


def test_pooling_may_be_chosen_per_call(
    captioner: Captioner, picture: npt.NDArray[np.float32]
) -> None:
    grid = captioner.encode(picture)
    region = box(40, 0, 80, 10)
    mean, gaussian = (
        captioner.caption(grid, [region], pooling=how)[0].score for how in ("mean", "gaussian")
    )
    assert mean != pytest.approx(gaussian, abs=1e-3)


def test_area_weighting_lessens_patches_hardly_touched(
    picture: npt.NDArray[np.float32],
) -> None:
    captions = {}
    for weighting in ("touch", "area"):
        captioner = Captioner(
            PixelBackbone(), SpyBridge(), ColourDecoder(), name="c", weighting=weighting
        )
        # One patch is green, and one red of which one pixel in ten is covered.
        region = box(69, 40, 80, 50)
        captions[weighting] = captioner.caption(captioner.encode(picture), [region])[0]
    assert captions["area"].score > captions["touch"].score


def test_no_regions_need_no_work(captioner: Captioner, picture: npt.NDArray[np.float32]) -> None:
    assert captioner.caption(captioner.encode(picture), []) == []
    assert captioner.bridge.asked == captioner.decoder.asked == []


def test_a_region_at_fault_is_named_before_anything_is_done(
    captioner: Captioner, picture: npt.NDArray[np.float32]
) -> None:
    grid = captioner.encode(picture)
    good, outside = box(0, 0, 20, 20), box(200, 200, 220, 220)
    with pytest.raises(RegionError, match="Region 2 of 3: "):
        captioner.caption(grid, [good, outside, good])
    assert captioner.bridge.asked == captioner.decoder.asked == []
    with pytest.raises(RegionError) as alone:
        captioner.caption(grid, [outside])
    assert "Region 1" not in str(alone.value)


def test_a_grid_of_another_backbone_is_refused(captioner: Captioner) -> None:
    grid = FeatureGrid(np.ones((2, 2, 5), np.float32), GridTransform((20, 20), (2, 2)), "other")
    with pytest.raises(ModelError, match="5 numbers per patch but colours reads 3"):
        captioner.caption(grid, [WholeImage()])


def test_a_grid_of_another_backbone_of_the_same_length_is_refused(
    captioner: Captioner, picture: npt.NDArray[np.float32]
) -> None:
    grid = captioner.encode(picture)
    assert captioner.caption(replace(grid, backbone="pixels"), [WholeImage()])
    with pytest.raises(ModelError, match="encoded by voxels but colours reads what pixels makes"):
        captioner.caption(replace(grid, backbone="voxels"), [WholeImage()])


def test_the_class_token_speaks_for_whole_images_only(
    picture: npt.NDArray[np.float32],
) -> None:
    captioner = Captioner(PixelBackbone(), SpyBridge(), ColourDecoder(), name="c", whole="cls")
    grid = replace(captioner.encode(picture), cls=np.array([0, 0, 1], np.float32))
    regions = [box(0, 0, 20, 20), WholeImage(), box(0, 50, 20, 70)]
    texts = [caption.text for caption in captioner.caption(grid, regions)]
    assert texts == ["red", "blue", "green"]
    texts = [caption.text for caption in captioner.caption(grid, regions, pooling="cls")]
    assert texts == ["blue"] * 3
    with pytest.raises(PatchionerError, match="no class token"):
        captioner.caption(replace(grid, cls=None), regions)


class LookingAgain(PixelBackbone):
    """Looks at the picture for every region: the largest share of any of its patches."""

    def embed_regions(
        self,
        grid: FeatureGrid,
        weights: Sequence[PatchWeights],
        *,
        progress: Callable[[float, str], None] | None = None,
    ) -> npt.NDArray[np.float32]:
        if progress is not None:
            progress(0.5, "looking again")
        patches = grid.embeddings.reshape(-1, 3)
        return np.stack([patches[region.indices].max(axis=0) for region in weights])

    def embed_close_ups(
        self,
        grid: FeatureGrid,
        regions: Sequence[Region],
        *,
        progress: Callable[[float, str], None] | None = None,
    ) -> dict[int, npt.NDArray[np.float32]]:
        if progress is not None:
            progress(0.1, "looking closely")
        return {}


def test_a_backbone_may_look_again_at_every_region(picture: npt.NDArray[np.float32]) -> None:
    captioner = Captioner(LookingAgain(), SpyBridge(), ColourDecoder(), name="c")
    # Its one blue patch is stronger than its seven red ones, which a mean would not see.
    (caption,) = captioner.caption(captioner.encode(picture), [box(0, 0, 80, 10)])
    assert caption.text == "blue"


def test_a_model_has_a_length_of_its_own(picture: npt.NDArray[np.float32]) -> None:
    captioner = Captioner(PixelBackbone(), SpyBridge(), ColourDecoder(), name="c", max_tokens=64)
    grid = captioner.encode(picture)
    captioner.caption(grid, [WholeImage()])
    assert captioner.decoder.options.max_tokens == 64
    captioner.caption(grid, [WholeImage()], max_tokens=7)
    assert captioner.decoder.options.max_tokens == 7


def test_progress_is_passed_on_and_may_stop_the_work(
    captioner: Captioner, picture: npt.NDArray[np.float32]
) -> None:
    told = []
    captioner.encode(picture, progress=lambda done, message: told.append((done, message)))
    assert told == [(0.5, "looking")]

    def stop(done: float, message: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        captioner.encode(picture, progress=stop)


def test_captions_tell_of_their_progress_and_may_be_stopped(
    picture: npt.NDArray[np.float32],
) -> None:
    captioner = Captioner(LookingAgain(), SpyBridge(), ColourDecoder(), name="c")
    grid = captioner.encode(picture)
    told: list[tuple[float, str]] = []
    captioner.caption(
        grid, [WholeImage()], progress=lambda done, message: told.append((done, message))
    )
    assert [message for _, message in told] == [
        "looking again",
        "looking closely",
        "crossing",
        "generating captions",
        "done",
    ]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == 1

    for at in range(4):

        def stop(_done: float, message: str, at: int = at) -> None:
            if message == told[at][1]:
                raise Cancelled

        with pytest.raises(Cancelled):
            captioner.caption(grid, [WholeImage()], progress=stop)


def test_captions_carry_their_nearest_sentences(picture: npt.NDArray[np.float32]) -> None:
    bank = MemoryBank.from_arrays(["all red", "all green", "all blue"], np.eye(3))
    captioner = Captioner(
        PixelBackbone(), MemoryBridge(bank, neighbours=2), ColourDecoder(), name="c"
    )
    (caption,) = captioner.caption(captioner.encode(picture), [box(0, 50, 20, 70)])
    assert caption.text == "green"
    assert caption.neighbours[0] == ("all green", pytest.approx(1.0))
    assert len(caption.neighbours) == 2


def test_a_sentence_can_be_retrieved_instead_of_written(
    picture: npt.NDArray[np.float32],
) -> None:
    bank = MemoryBank.from_arrays(["all red", "all green", "all blue"], np.eye(3))
    captioner = Captioner(PixelBackbone(), RetrievalBridge(bank), QuoteDecoder(), name="retrieval")
    regions = [box(72, 0, 80, 80), box(0, 0, 20, 20)]
    captions = captioner.caption(captioner.encode(picture), regions)
    assert [caption.text for caption in captions] == ["all blue", "all red"]


def test_importing_it_loads_neither_torch_nor_qt() -> None:
    code = (
        "import sys, napari_patchioner.captioner, napari_patchioner.decoders, "
        "napari_patchioner.bridges; "
        "print([name for name in ('torch', 'transformers', 'qtpy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
