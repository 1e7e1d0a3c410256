"""Parts that move to a GPU and back, and what happens where its memory runs out."""

from __future__ import annotations

import warnings
from threading import Thread

import numpy as np
import pytest
import torch
from families import FAMILIES
from PIL import Image
from published import clip, decap
from small_gpu import SmallGpu, load_mini

from napari_patchioner import load_model
from napari_patchioner.backbones import RegionEncoder
from napari_patchioner.backbones.clip import ClipDense
from napari_patchioner.cli import main
from napari_patchioner.decoders import DeCapDecoder
from napari_patchioner.devices import CPU, DeviceWarning, Placement, is_out_of_memory, noticed
from napari_patchioner.regions import Box, cover_all

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
HALF = Placement("cpu", "bfloat16")
TOO_LITTLE = "has too little memory to"


def clip_backbone(folder):
    return ClipDense.open(clip.write(folder, layers=2), size=24)


def decap_decoder(folder):
    return DeCapDecoder.open(decap.write(folder), heads=2)


def some_vectors(count):
    return np.random.default_rng(1).standard_normal((count, 24), np.float32)


def texts(captions):
    # Products of fewer rows differ in their last digits.
    return [(caption.text, pytest.approx(caption.score, abs=1e-6)) for caption in captions]


def networks_of(backbone):
    state = {}
    for number, network in enumerate(backbone.networks):
        named = network.state_dict().items()
        state |= {f"{number}.{name}": weight.clone() for name, weight in named}
    return state


@pytest.mark.parametrize("name", FAMILIES)
def test_what_was_rounded_comes_back_exactly(name, tmp_path):
    kind = FAMILIES[name]
    backbone = kind.open(kind.write(tmp_path, 2), size=3 * kind.patch)
    weights, grid = networks_of(backbone), backbone.encode(IMAGE)
    backbone.place(HALF)
    backbone.place(SmallGpu(dtype="bfloat16"))
    assert backbone.name == f"{grid.backbone}/bfloat16"
    assert any(weight.dtype == torch.bfloat16 for weight in networks_of(backbone).values())
    backbone.place(CPU)
    after = networks_of(backbone)
    assert after.keys() == weights.keys()
    assert all(torch.equal(after[name], weight) for name, weight in weights.items())
    again = backbone.encode(IMAGE)
    assert (again.key, again.backbone) == (grid.key, grid.backbone)
    np.testing.assert_array_equal(again.embeddings, grid.embeddings)


def test_what_came_back_can_be_trained(tmp_path):
    backbone = clip_backbone(tmp_path)
    backbone.place(SmallGpu(dtype="bfloat16", room=1000))
    with pytest.warns(DeviceWarning):
        backbone.encode(IMAGE)
    backbone.place(CPU)
    [network] = backbone.networks
    assert not any(weight.is_inference() for weight in network.parameters())


def test_a_model_that_moves_back_captions_as_before():
    captioner = load_model("mini", engine="torch")
    boxes = [Box(0, 0, 30, 30), Box(10, 10, 50, 80)]
    before = captioner.caption(captioner.encode(IMAGE), boxes)
    name = captioner.backbone.name
    captioner.place(Placement("cpu", "bfloat16"))
    captioner.caption(captioner.encode(IMAGE), boxes)
    captioner.place(CPU)
    assert captioner.backbone.name == name
    assert captioner.caption(captioner.encode(IMAGE), boxes) == before


def test_a_decoder_that_moves_leaves_nothing_behind(tmp_path):
    decoder, vectors = decap_decoder(tmp_path), some_vectors(3)
    # The tokens that CLIP's tokenizer lacks are forbidden by a tensor that is made once.
    before = decoder.decode(vectors)
    decoder.place(HALF)
    decoder.decode(vectors)
    decoder.place(CPU)
    assert texts(decoder.decode(vectors)) == texts(before)


def test_text_is_embedded_as_before_once_the_tower_is_back(tmp_path):
    backbone = clip_backbone(tmp_path)
    before = backbone.embed_text(["a cat", "a dog"])
    backbone.place(HALF)
    assert not np.array_equal(backbone.embed_text(["a cat", "a dog"]), before)
    backbone.place(CPU)
    np.testing.assert_array_equal(backbone.embed_text(["a cat", "a dog"]), before)


def test_a_gpu_with_room_does_all_of_it(tmp_path):
    backbone, gpu = clip_backbone(tmp_path), SmallGpu()
    expected = backbone.encode(IMAGE)
    backbone.place(gpu)
    np.testing.assert_array_equal(backbone.encode(IMAGE).embeddings, expected.embeddings)
    assert gpu.counts == {"network": 1, "tensor": 1, "moves": 2}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_backbone_hands_over_what_a_gpu_computed(name, tmp_path):
    kind = FAMILIES[name]
    backbone = kind.open(kind.write(tmp_path, 2), size=3 * kind.patch)
    backbone.place(SmallGpu(dtype="float16"))
    grid = backbone.encode(IMAGE)
    assert type(grid.embeddings) is np.ndarray
    if isinstance(backbone, RegionEncoder):
        weights = cover_all([Box(0, 0, 30, 30)] * 2, grid.transform)
        assert type(backbone.embed_regions(grid, weights)) is np.ndarray


def test_regions_that_do_not_fit_are_encoded_fewer_at_once(tmp_path):
    kind = FAMILIES["alphaclip"]
    backbone = kind.open(kind.write(tmp_path, 2), size=3 * kind.patch)
    grid = backbone.encode(IMAGE)
    weights = cover_all([Box(0, 0, 10 + n, 30) for n in range(5)], grid.transform)
    expected = backbone.embed_regions(grid, weights)
    # Two pictures of three channels fit, five do not.
    gpu = SmallGpu(room=3 * 3 * kind.patch**2 * 3 * 3 * 4)
    backbone.place(gpu)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeviceWarning)
        np.testing.assert_allclose(backbone.embed_regions(grid, weights), expected, atol=1e-5)
    assert gpu.counts["refused"] == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_an_image_that_does_not_fit_is_encoded_on_the_processor(name, tmp_path):
    kind, gpu = FAMILIES[name], SmallGpu(room=2000)
    backbone = kind.open(kind.write(tmp_path, 2), size=3 * kind.patch)
    expected = backbone.encode(IMAGE)
    backbone.place(gpu)
    with pytest.warns(DeviceWarning, match=f"{TOO_LITTLE} encode images, so the processor"):
        grid = backbone.encode(IMAGE)
    assert (grid.key, grid.backbone) == (expected.key, expected.backbone)
    np.testing.assert_array_equal(grid.embeddings, expected.embeddings)
    # The next image may fit again.
    assert backbone.placement is gpu
    assert gpu.counts["refused"] == 2


def test_grids_of_half_precision_keep_their_key_on_the_processor(tmp_path):
    backbone = clip_backbone(tmp_path)
    exact = backbone.encode(IMAGE).embeddings
    backbone.place(SmallGpu(dtype="bfloat16"))
    half = backbone.encode(IMAGE)
    backbone.place(SmallGpu(dtype="bfloat16", room=500))
    with pytest.warns(DeviceWarning):
        grid = backbone.encode(IMAGE)
    assert (grid.key, grid.backbone) == (half.key, half.backbone)
    np.testing.assert_array_equal(grid.embeddings, exact)


def test_a_second_try_is_enough_where_others_have_freed_memory(tmp_path):
    backbone, gpu = clip_backbone(tmp_path), SmallGpu(failing={2})
    expected = backbone.encode(IMAGE)
    backbone.place(gpu)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeviceWarning)
        grid = backbone.encode(IMAGE)
    np.testing.assert_array_equal(grid.embeddings, expected.embeddings)
    assert gpu.counts["emptied"] == 1


def test_a_network_that_does_not_fit_stays_on_the_processor(tmp_path):
    backbone, gpu = clip_backbone(tmp_path), SmallGpu(dtype="bfloat16", failing={1})
    expected = backbone.encode(IMAGE)
    with pytest.warns(DeviceWarning, match=f"{TOO_LITTLE} encode images"):
        backbone.place(gpu)
    assert backbone.placement == CPU
    assert backbone.encode(IMAGE).key == expected.key


def test_a_network_that_finds_no_way_back_goes_on_where_it_is(tmp_path):
    # The network, two tries with pixels, and the way back
    backbone, gpu = clip_backbone(tmp_path), SmallGpu(failing={2, 3, 4})
    expected = backbone.encode(IMAGE)
    backbone.place(gpu)
    with pytest.warns(DeviceWarning):
        backbone.encode(IMAGE)
    assert backbone.placement == CPU
    np.testing.assert_array_equal(backbone.encode(IMAGE).embeddings, expected.embeddings)


def test_fewer_captions_are_generated_at_once_where_memory_is_short(tmp_path):
    decoder, vectors = decap_decoder(tmp_path), some_vectors(7)
    expected = decoder.decode(vectors)
    # Logits over 50,257 tokens, for two captions and no more
    gpu = SmallGpu(room=2.5 * 4 * 50257)
    decoder.place(gpu)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeviceWarning)
        assert texts(decoder.decode(vectors)) == texts(expected)
    # All seven, then three, then one at a time
    assert gpu.counts["refused"] == 2
    assert gpu.counts["tensor"] == 2 + 7


def test_captions_that_do_not_fit_at_all_are_generated_on_the_processor(tmp_path):
    decoder, vectors = decap_decoder(tmp_path), some_vectors(3)
    expected = decoder.decode(vectors)
    gpu = SmallGpu(room=1000, error=RuntimeError)
    decoder.place(gpu)
    with pytest.warns(DeviceWarning, match=f"{TOO_LITTLE} generate captions"):
        assert texts(decoder.decode(vectors)) == texts(expected)
    assert decoder.placement is gpu


def test_captions_made_before_the_memory_ran_out_are_kept(tmp_path):
    decoder, vectors = decap_decoder(tmp_path), some_vectors(3)
    decoder.sentences_at_once = 1
    expected = decoder.decode(vectors)
    # The network and the first vector fit; the second does not, twice.
    gpu = SmallGpu(failing={3, 4})
    decoder.place(gpu)
    with pytest.warns(DeviceWarning):
        assert texts(decoder.decode(vectors)) == texts(expected)
    assert gpu.counts["tensor"] == 3


def test_texts_that_do_not_fit_are_embedded_on_the_processor(tmp_path):
    backbone = clip_backbone(tmp_path)
    sentences = [f"a cat and {number} dogs" for number in range(5)]
    expected = backbone.embed_text(sentences)
    backbone.place(SmallGpu(room=100))
    with pytest.warns(DeviceWarning, match=f"{TOO_LITTLE} embed texts"):
        found = backbone.embed_text(sentences)
    np.testing.assert_array_equal(found, expected)


def test_threads_share_a_model_that_moves(tmp_path):
    backbone, found = clip_backbone(tmp_path), []
    expected = backbone.encode(IMAGE).embeddings
    backbone.place(SmallGpu(dtype="bfloat16", room=500))

    def encode():
        with noticed(lambda message: None):
            found.extend(backbone.encode(IMAGE).embeddings for _ in range(5))

    threads = [Thread(target=encode) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 15
    assert all(np.array_equal(embeddings, expected) for embeddings in found)


def test_what_is_wrong_otherwise_is_no_lack_of_memory(tmp_path):
    class Broken(RuntimeError):
        def __init__(self, message):
            super().__init__("CUDA error: device-side assert triggered")

    backbone = clip_backbone(tmp_path)
    backbone.place(SmallGpu(failing={2}, error=Broken))
    with pytest.raises(Broken):
        backbone.encode(IMAGE)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (MemoryError("out of memory"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) is expected


def test_notices_go_where_they_are_wanted(tmp_path):
    backbone, said = clip_backbone(tmp_path), []
    backbone.place(SmallGpu(room=2000))
    with noticed(said.append):
        backbone.encode(IMAGE)
    [message] = said
    assert message == (
        "The GPU has too little memory to encode images, so the processor does it, which takes "
        "longer; close what else uses the GPU, or choose the device cpu."
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_the_command_line_says_once_what_the_processor_does(tmp_path, capfd, workers):
    photos = [tmp_path / f"{name}.png" for name in "abc"]
    for photo in photos:
        Image.fromarray(IMAGE).save(photo)
    out = ["--out", str(tmp_path / "out.csv"), "--workers", str(workers)]
    assert main(["caption", *map(str, photos), "--regions", "whole", *out], load=load_mini) == 0
    _, said = capfd.readouterr()
    assert 1 <= said.count("too little memory to encode images") <= workers
    assert "DeviceWarning" not in said
    assert "3 done, 0 skipped, 0 failed" in said
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4
