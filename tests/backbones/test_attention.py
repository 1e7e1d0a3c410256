"""Attention by either of torch's libraries is the same attention."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional

from napari_patchioner import products
from napari_patchioner.backbones import attention


@pytest.fixture(autouse=True, params=[1, 2, 5])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch came without oneDNN")
    for module in (products, attention):
        monkeypatch.setattr(module, "onednn_is_quicker", lambda: True)
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("tokens", [1, 255, 256, 1029])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention_is_that_of_pytorch(tokens: int, turned: bool, scale: float | None) -> None:
    generator = torch.Generator().manual_seed(tokens)
    shape = (2, tokens, 3, 16) if turned else (2, 3, tokens, 16)
    parts = [torch.randn(shape, generator=generator) for _ in range(3)]
    queries, keys, values = (part.transpose(1, 2) if turned else part for part in parts)
    expected = functional.scaled_dot_product_attention(queries, keys, values, scale=scale)
    with torch.inference_mode():
        attended = attention.attend(queries, keys, values, scale)
    assert torch.allclose(attended, expected, atol=1e-5)


def test_other_threads_keep_theirs(threads: int) -> None:
    with torch.inference_mode():
        attention.attend(*(torch.ones(1, 6, 300, 8) for _ in range(3)))
    with ThreadPoolExecutor(1) as fresh:
        assert fresh.submit(torch.get_num_threads).result() == torch.get_num_threads() == threads
