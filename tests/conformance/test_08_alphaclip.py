"""AlphaCLIP's vision transformer and masks against its published code and Patch-ioner's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_patchioner.backbones.alphaclip import normalised, reference_box_mask
from napari_patchioner.backbones.base import class_attention
from napari_patchioner.backbones.clip_towers import ClipVision
from napari_patchioner.checkpoints import read_state, rename
from napari_patchioner.grids import GridTransform
from napari_patchioner.regions import Trace, cover


@pytest.fixture
def network(case):
    path = case.file("state_dict")
    state = rename(read_state(path), [(r"(?:visual\.)?(.*)", r"visual.\1")])
    return ClipVision.from_state(
        state, source=path, settings={"num_attention_heads": case.params["heads"]}
    )


def encode(network, pixels, masks):
    """All tokens, projected, and queries, keys and values of the last layer."""
    tokens = network.start(pixels, masks=masks)
    for layer in network.layers[:-1]:
        tokens = network.attend(layer, tokens)
    last = network.layers[-1]
    return network.finish(network.attend(last, tokens)), network.qkv(last, tokens)


@pytest.fixture
def pixels(case):
    return torch.from_numpy(case.inputs["pixels"])


@pytest.mark.cases("08_alphaclip/vision*")
def test_alpha_normalisation(case):
    np.testing.assert_allclose(
        normalised(case.inputs["mask01"], "official"), case.inputs["alpha_official"], atol=1e-6
    )


@pytest.mark.cases("08_alphaclip/vision*")
@pytest.mark.parametrize(
    ("name", "alpha"), [("official_alpha", "official"), ("raw01_alpha", "reference")]
)
@torch.inference_mode()
def test_patch_embedding(case, network, pixels, name, alpha):
    masks = torch.from_numpy(normalised(case.inputs["mask01"], alpha))
    patches = network.embed_patches(pixels, masks)
    case.check(f"patch_embedding_{name}", patches)


@pytest.mark.cases("08_alphaclip/vision*")
@torch.inference_mode()
def test_patch_embedding_of_a_zero_alpha(case, network, pixels):
    masks = torch.zeros_like(pixels[:, :1])
    case.check("patch_embedding_zero_alpha", network.embed_patches(pixels, masks))


@pytest.mark.cases("08_alphaclip/vision*")
@pytest.mark.parametrize(
    ("name", "alpha"),
    [
        ("cls_official_alpha_official_code", "official"),
        ("cls_raw01_alpha_patchioner_quirk", "reference"),
    ],
)
@torch.inference_mode()
def test_class_token(case, network, pixels, name, alpha):
    masks = torch.from_numpy(normalised(case.inputs["mask01"], alpha))
    case.check(name, encode(network, pixels, masks)[0][:, 0])


@pytest.mark.cases("08_alphaclip/vision*")
@torch.inference_mode()
def test_all_tokens_and_the_last_attention(case, network, pixels):
    tokens, qkv = encode(network, pixels, torch.from_numpy(case.inputs["alpha_official"]))
    case.check("all_tokens_official_alpha", tokens)
    heads = case.params["heads"]
    query, key, _ = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=2))
    attention = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
    case.check("last_layer_attention_official_alpha", attention.flatten(0, 1))


@pytest.mark.cases("08_alphaclip/vision*")
@torch.inference_mode()
def test_class_attention_is_the_patches_share_of_the_last_attention(case, network, pixels):
    _, all_qkv = encode(network, pixels, torch.from_numpy(case.inputs["alpha_official"]))
    heads = case.params["heads"]
    ours = [class_attention(qkv.numpy(), heads, 1, per_head=True) for qkv in all_qkv]
    rows = case.expected["last_layer_attention_official_alpha"][:, 0, 1:]
    theirs = rows / rows.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.concatenate(ours), theirs, atol=3e-4, rtol=1e-3)


@pytest.mark.cases("08_alphaclip/masks_from_regions*")
def test_reference_masks(case):
    boxes = case.inputs["boxes_resized_xywh"]
    cells, size = case.params["grid"], case.params["patch_size"]
    each = [reference_box_mask(box, cells, size) for box in boxes]
    case.check("box_masks", np.stack(each))
    case.check("set_mask", reference_box_mask(boxes, cells, size))


@pytest.mark.cases("08_alphaclip/masks_from_regions*")
def test_reference_trace_mask(case):
    cells = case.params["grid"]
    size = 2**20
    points = [
        [point["y"] * size - 0.5, point["x"] * size - 0.5] for point in case.texts_in["trace"]
    ]
    transform = GridTransform((size, size), (cells, cells))
    covered = cover(Trace(np.array(points)), transform, convention="reference")
    case.check("trace_mask", (covered.dense() > 0).astype(np.float32))
