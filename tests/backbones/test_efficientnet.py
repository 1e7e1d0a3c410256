import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.backbones.mini import (
    STRIDE,
    EfficientNetLite,
    InvertedBottleneck,
    SameConv,
    interpolation,
    resample,
)
from recipes.mini.backbone import fold_batch_norm


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EfficientNetLite().eval()


def test_shapes_follow_the_strides(network):
    with torch.inference_mode():
        deep, middle = network(torch.zeros(1, 3, 2 * STRIDE, 3 * STRIDE))
    assert deep.shape == (1, 1280, 2, 3)
    assert middle.shape == (1, network.middle_channels, 4, 6)


def test_it_has_the_published_size():
    # 6.1 million with its classifier of 1,281,000; batch norms are folded into biases
    assert sum(p.numel() for p in EfficientNetLite().parameters()) == pytest.approx(
        4.77e6, rel=0.01
    )


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([(3, 1), (3, 2), (5, 1), (5, 2)]), st.integers(6, 17), st.integers(6, 17))
def test_same_padding_divides_the_size_by_the_stride(shape, height, width):
    kernel, stride = shape
    output = SameConv(2, 4, kernel, stride=stride)(torch.zeros(1, 2, height, width))
    assert output.shape[2:] == (-(-height // stride), -(-width // stride))


def test_same_padding_of_an_even_size_is_on_the_far_side():
    layer = SameConv(1, 1, 3, stride=2)
    layer.weight.data = torch.zeros(1, 1, 3, 3)
    layer.weight.data[0, 0, 0, 0] = 1
    layer.bias.data = torch.zeros(1)
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert layer(image)[0, 0].tolist() == [[0, 2], [8, 10]]


def test_a_block_that_keeps_its_shape_adds_its_input():
    block = InvertedBottleneck(8, 8, 3, 1, 6)
    for parameter in block.parameters():
        parameter.data.zero_()
    features = torch.randn(1, 8, 4, 4)
    assert torch.equal(block(features), features)


def test_folding_is_convolution_then_batch_norm():
    torch.manual_seed(1)
    convolution = torch.nn.Conv2d(3, 32, 3, bias=False)
    norm = torch.nn.BatchNorm2d(32, eps=1e-3)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    published = {
        "_conv_stem.weight": convolution.weight.data,
        "_conv_head.weight": torch.ones(1, 1, 1, 1),
    }
    published |= {f"_bn0.{name}": value for name, value in norm.state_dict().items()}
    published |= {
        f"_bn1.{name}": torch.ones(1) for name in ("weight", "bias", "running_mean", "running_var")
    }
    folded = fold_batch_norm(published)
    image = torch.randn(1, 3, 8, 8)
    expected = norm.eval()(convolution(image))
    result = torch.nn.functional.conv2d(image, folded["stem.weight"], folded["stem.bias"])
    assert torch.allclose(result, expected, atol=1e-5)


def test_every_layer_has_a_published_name(network):
    ours = {name.rsplit(".", 1)[0] for name in network.state_dict()}
    published = {}
    for name in ours:
        parts = name.split(".")
        key = f"_blocks.{parts[1]}._{parts[2]}_conv" if len(parts) > 1 else f"_conv_{parts[0]}"
        published[f"{key}.weight"] = torch.ones(1, 1, 1, 1)
        place = f"_blocks.{parts[1]}." if len(parts) > 1 else ""
        for number in range(3):
            for part in ("weight", "bias", "running_mean", "running_var"):
                published[f"{place}_bn{number}.{part}"] = torch.ones(1)
    assert {name.rsplit(".", 1)[0] for name in fold_batch_norm(published)} == ours


@given(st.integers(1, 9), st.integers(1, 12))
def test_interpolation_keeps_what_is_constant(cells, wanted):
    assert np.allclose(interpolation(cells, wanted).sum(1), 1)


def test_resampling_to_the_same_grid_changes_nothing():
    features = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    assert np.allclose(resample(features, (3, 4)), features)


def test_resampling_keeps_directions_apart():
    features = np.arange(2, dtype=np.float32)[:, None, None] * np.ones((2, 3, 1), np.float32)
    result = resample(features, (4, 3))[..., 0]
    assert np.allclose(result, np.array([0, 0.25, 0.75, 1])[:, None])
