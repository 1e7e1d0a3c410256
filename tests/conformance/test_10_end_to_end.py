"""The whole way from patch tokens to captions, through the captioner."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_patchioner.bridges import MemoryBank, MemoryBridge, NormalizeBridge, RetrievalBridge
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import (
    ClipTokenizer,
    DeCapDecoder,
    QuoteDecoder,
    prefix_gpt_from_decap,
)
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.regions import Box, RegionSet, Trace, WholeImage

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_patchioner.bridges import Bridge
    from napari_patchioner.decoders import Caption, Decoder
    from napari_patchioner.regions import Region

    from .conftest import Case

# The published loop writes this many tokens whatever they are.
STEPS = 30


class GivenTokens:
    """A backbone whose work was done elsewhere."""

    name, patch_size, input_size = "given", 14, 518

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def encode(self, image: npt.ArrayLike, *, progress: object = None) -> FeatureGrid:
        raise NotImplementedError


class Heard:
    """A decoder that keeps what it was given and passes it on."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.vectors: npt.NDArray[np.float32] = np.empty((0, 0), np.float32)

    def decode(self, vectors: npt.NDArray[np.float32], **options: Any) -> list[Caption]:
        self.vectors = vectors
        return self.decoder.decode(vectors, **options)


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer()


def given_grid(case: Case) -> FeatureGrid:
    width, height = case.params["image_size_wh"]
    side, tokens = int(case.params["grid"]), case.inputs["patch_tokens"]
    return FeatureGrid(
        tokens.reshape(side, side, -1),
        GridTransform((height, width), (side, side)),
        key="given",
        cls=case.inputs["cls_token"],
    )


def given_bank(case: Case) -> MemoryBank:
    return MemoryBank.from_arrays(case.texts_in["bank_texts"], case.inputs["bank"])


def published_decoder(case: Case, tokenizer: ClipTokenizer) -> DeCapDecoder:
    weights = case.file("decoder")
    config = json.loads(weights.with_name(f"{weights.stem}.config.json").read_text())["config"]
    state = torch.load(weights, weights_only=True, map_location="cpu")
    model = prefix_gpt_from_decap(state, heads=int(config["n_head"]))
    return DeCapDecoder(model, tokenizer, tidy=False)


def regions(case: Case) -> tuple[list[Region], list[Region]]:
    """Boxes first; then all others but the whole image: the set and the traces."""
    width, height = case.params["image_size_wh"]
    boxes: list[Region] = [
        Box(y - 0.5, x - 0.5, y + h - 0.5, x + w - 0.5)
        for x, y, w, h in case.inputs["boxes_xywh_image_px"]
    ]
    traces: list[Region] = [
        Trace(
            np.array([[point["y"] * height - 0.5, point["x"] * width - 0.5] for point in trace]),
            connected=False,
        )
        for trace in case.texts_in["traces"]
    ]
    return boxes, [RegionSet(tuple(boxes[:3])), *traces]


def caption_all(
    case: Case, bridge: Bridge, decoder: Decoder
) -> tuple[list[Caption], npt.NDArray[np.float32]]:
    """Caption everything in the order of the manifest; also what the decoder read."""
    grid, heard = given_grid(case), Heard(decoder)
    captioner = Captioner(
        GivenTokens(grid.dim), bridge, heard, name="published", convention="reference"
    )
    boxes, others = regions(case)
    captions: list[Caption] = []
    vectors: list[npt.NDArray[np.float32]] = []

    def caption(of: list[Region], pooling: str = "mean", variance: float = 0.5) -> None:
        captioner.variance = variance
        captions.extend(
            captioner.caption(grid, of, pooling=pooling, beams=1, alternatives=0, max_tokens=STEPS)
        )
        vectors.append(heard.vectors)

    # The class token is no region: it takes the same way from the bridge on.
    assert grid.cls is not None
    output = bridge.project(grid.cls[None], grid)
    captions += heard.decode(output.vectors, max_tokens=STEPS, evidence=output.evidence)
    vectors.append(heard.vectors)
    caption([WholeImage()])
    caption([WholeImage()], "gaussian", 1.0)
    caption(boxes)
    caption(boxes, "gaussian", 0.5)
    caption(others)
    return captions, np.concatenate(vectors)


def expected_texts(case: Case, mode: str) -> list[str]:
    out = case.texts_out[mode]
    parts = ("cls", "image_var100", "image_var1", "boxes_uniform", "boxes_gaussian_var0.5")
    parts += ("set_of_first_3_boxes_reference_mean_of_means", "traces")
    return [text for part in parts for text in out[part]]


def assert_same_texts(case: Case, mode: str, captions: list[Caption], texts: list[str]) -> None:
    """Texts are the same wherever rounding cannot change which token is likelier."""
    sure = case.expected[f"min_token_margin_{mode}"] > 1e-3
    for caption, text, counts in zip(captions, texts, sure, strict=True):
        assert not counts or caption.text == text.strip(" .")


@pytest.mark.cases("10_end_to_end/*")
@pytest.mark.parametrize("mode", ["memory_l2", "memory_no_l2"])
def test_with_a_memory(case: Case, mode: str, tokenizer: ClipTokenizer) -> None:
    bridge = MemoryBridge(
        given_bank(case), temperature=case.params["tau"], normalize=mode == "memory_l2"
    )
    captions, vectors = caption_all(case, bridge, published_decoder(case, tokenizer))
    case.check(f"decoder_inputs_{mode}", vectors)
    assert_same_texts(case, mode, captions, expected_texts(case, mode))


@pytest.mark.cases("10_end_to_end/*")
def test_scores_where_every_step_counts(case: Case, tokenizer: ClipTokenizer) -> None:
    bridge = MemoryBridge(given_bank(case), temperature=case.params["tau"])
    captions, _ = caption_all(case, bridge, published_decoder(case, tokenizer))
    out = case.texts_out["memory_l2"]
    names = ["cls_scores", "image_var100_scores", "image_var1_scores", "boxes_uniform_scores"]
    scores = [score for name in names for score in out[name]]
    for caption, score in zip(captions, scores, strict=False):
        # The published score goes on past the end of a sentence; only full ones compare.
        if len(caption.token_log_probabilities) == STEPS:
            limit = case.entry["tolerance"]["scores"]["rtol"]
            assert np.exp(sum(caption.token_log_probabilities)) == pytest.approx(score, rel=limit)


@pytest.mark.cases("10_end_to_end/*")
def test_without_a_memory(case: Case, tokenizer: ClipTokenizer) -> None:
    decoder = published_decoder(case, tokenizer)
    captions, vectors = caption_all(case, NormalizeBridge(), decoder)
    mode = "no_memory_l2_normalised"
    case.check(f"decoder_inputs_{mode}", vectors, rows=slice(len(vectors)))
    inputs = case.expected[f"decoder_inputs_{mode}"]
    texts = case.texts_out[f"{mode}_flat"]["strings_in_decode_order"]
    assert_same_texts(case, mode, decoder.decode(inputs, max_tokens=STEPS), texts)
    sure = case.expected[f"min_token_margin_{mode}"] > 1e-3
    for caption, text, counts in zip(captions, texts, sure, strict=False):
        assert not counts or caption.text == text.strip(" .")


@pytest.mark.cases("10_end_to_end/*")
def test_vectors_as_long_as_they_come(case: Case, tokenizer: ClipTokenizer) -> None:
    mode = "no_memory_reference_unnormalised"
    inputs = case.expected[f"decoder_inputs_{mode}"]
    captions = published_decoder(case, tokenizer).decode(inputs, max_tokens=STEPS)
    assert_same_texts(case, mode, captions, expected_texts(case, mode))


@pytest.mark.cases("10_end_to_end/*")
def test_retrieval(case: Case) -> None:
    bridge = RetrievalBridge(given_bank(case))
    captions, _ = caption_all(case, bridge, QuoteDecoder())
    assert [caption.text for caption in captions] == expected_texts(case, "retrieval_argmax")
