"""Products of matrices by either of torch's libraries are the same products."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_patchioner import products

SHAPES = [(1, 7, 5), (3, 64, 64), (65, 768, 33)]


@pytest.fixture(autouse=True)
def onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take oneDNN wherever it can be taken, whichever is quicker on this computer."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch came without oneDNN")
    monkeypatch.setattr(products, "onednn_is_quicker", lambda: True)


def numbers(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("rows", "inner", "outer"), SHAPES)
def test_a_product_is_that_of_pytorch(rows: int, inner: int, outer: int, bias: bool) -> None:
    inputs, weight = numbers(rows, inner), numbers(outer, inner)
    added = numbers(outer) if bias else None
    expected = functional.linear(inputs, weight, added)
    assert torch.allclose(products.linear(inputs, weight, added), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("inputs", "weight"),
    [
        (numbers(2, 3, 5, 64), numbers(7, 64)),
        (numbers(9, 128)[:, ::2], numbers(7, 128)[:, 32:96]),
        (numbers(3, 4, 64)[:, -1], numbers(64, 7).T),
        (numbers(0, 64), numbers(7, 64)),
        (numbers(64), numbers(7, 64)),
        (numbers(4, 64).double(), numbers(7, 64).double()),
        (numbers(4, 64).bfloat16(), numbers(7, 64).bfloat16()),
    ],
    ids=["batches", "gaps", "turned", "nothing", "one vector", "double", "half"],
)
def test_arrays_of_any_layout_are_multiplied(inputs: torch.Tensor, weight: torch.Tensor) -> None:
    product, expected = products.linear(inputs, weight), functional.linear(inputs, weight)
    assert product.dtype == expected.dtype
    assert product.shape == expected.shape
    assert torch.allclose(product, expected, atol=1e-4)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Sequential(nn.Linear(5, 3, bias=False)))


def test_a_quickened_network_is_the_same_network() -> None:
    plain = network()
    quick = network()
    products.quicken(quick)
    inputs = numbers(4, 6)
    with torch.inference_mode():
        assert torch.allclose(quick(inputs), plain(inputs), atol=1e-6)
    assert list(quick.state_dict()) == list(plain.state_dict())
    assert all(isinstance(quick[place], nn.Linear) for place in (0,))
    for other in (copy.deepcopy(quick), pickle.loads(pickle.dumps(quick))):
        with torch.inference_mode():
            assert torch.equal(other(inputs), quick(inputs))


def test_a_quickened_network_learns_as_before() -> None:
    plain, quick = network(), network()
    products.quicken(quick)
    for each in (plain, quick):
        each(numbers(4, 6)).square().sum().backward()
    for learned, expected in zip(quick.parameters(), plain.parameters(), strict=True):
        assert learned.grad is not None
        assert expected.grad is not None
        assert torch.equal(learned.grad, expected.grad)


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_an_exporter_sees_what_pytorch_has() -> None:
    quick = network().requires_grad_(False)
    products.quicken(quick)
    traced = torch.jit.trace(quick, numbers(4, 6))
    assert "mkldnn" not in str(traced.inlined_graph)


def test_one_may_compare_with_what_pytorch_does() -> None:
    inputs, weight = numbers(65, 768), numbers(768, 768)
    with products.as_torch_does():
        assert torch.equal(products.linear(inputs, weight), functional.linear(inputs, weight))
        assert not products.onednn_takes(inputs, weight)
    assert products.onednn_takes(inputs, weight)
