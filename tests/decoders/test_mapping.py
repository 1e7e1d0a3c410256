from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from napari_patchioner.decoders import MapperConfig, MappingNetwork, PrefixGPT, PrefixGPTConfig
from napari_patchioner.errors import ModelError

CONFIG = MapperConfig("transformer", hidden=12, layers=2, heads=2, projected=3)


def network(tokens: int = 4, config: MapperConfig = CONFIG) -> MappingNetwork:
    torch.manual_seed(0)
    return MappingNetwork(5, tokens, 8, config).eval()


def written_out(model: MappingNetwork, vector: torch.Tensor) -> torch.Tensor:
    """The mapper's formula for one vector, one head and one place at a time."""
    hidden = torch.cat([model.linear(vector).reshape(-1, 8), model.constants])
    for layer in model.layers:
        read = functional.layer_norm(hidden, (8,), layer.norm_attn.weight, layer.norm_attn.bias)
        queries, both = layer.query(read), layer.key_value(read)
        keys, values = both[:, :8], both[:, 8:]
        each = 8 // layer.heads
        mixed = torch.zeros_like(hidden)
        for head in range(layer.heads):
            part = slice(head * each, (head + 1) * each)
            for place in range(len(hidden)):
                logits = keys[:, part] @ queries[place, part] / each**0.5
                mixed[place, part] = logits.softmax(0) @ values[:, part]
        hidden = hidden + layer.attn_out(mixed)
        read = functional.layer_norm(hidden, (8,), layer.norm_mlp.weight, layer.norm_mlp.bias)
        hidden = hidden + layer.mlp_out(layer.mlp(read).clamp(min=0))
    return hidden[model.projected :]


@settings(max_examples=10, deadline=None)
@given(tokens=st.integers(1, 5), projected=st.integers(1, 4), seed=st.integers(0, 99))
@torch.inference_mode()
def test_the_network_is_its_formula(tokens: int, projected: int, seed: int) -> None:
    model = network(tokens, MapperConfig("transformer", 12, 2, 2, projected))
    vectors = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed))
    soft = model(vectors)
    assert soft.shape == (3, tokens, 8)
    for row, vector in zip(soft, vectors, strict=True):
        torch.testing.assert_close(row, written_out(model, vector), atol=1e-5, rtol=1e-4)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ModelError, match="cannot be split into 3 heads"):
        network(config=MapperConfig("transformer", 12, 2, 3, 3))


def test_an_unknown_mapper_is_refused() -> None:
    strange = MapperConfig("perceiver", 12)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="'perceiver'"):
        PrefixGPT(PrefixGPTConfig(20, 8, 2, 2, 16, 5, 4, mapper=strange))


@pytest.mark.parametrize("mapper", [None, MapperConfig("mlp", 16), CONFIG])
@torch.inference_mode()
def test_a_decoder_is_saved_with_its_mapper(tmp_path, mapper: MapperConfig | None) -> None:
    torch.manual_seed(0)
    model = PrefixGPT(PrefixGPTConfig(20, 8, 2, 2, 16, 5, 4, mapper=mapper)).eval()
    vectors = torch.randn(3, 5)
    assert model.embed_prefix(vectors).shape == (3, 4, 8)
    model.save(tmp_path / "decoder.safetensors", projection="abc")
    again = PrefixGPT.open(tmp_path / "decoder.safetensors")
    assert again.config == model.config
    assert again.notes == {"projection": "abc"}
    torch.testing.assert_close(again.start(vectors)[0], model.start(vectors)[0])


def test_an_mlp_has_tanh_between_its_layers() -> None:
    torch.manual_seed(0)
    model = PrefixGPT(PrefixGPTConfig(20, 8, 1, 2, 16, 5, 4, mapper=MapperConfig("mlp", 16)))
    first, _, last = model.prefix
    assert isinstance(first, nn.Linear)
    vectors = torch.randn(3, 5)
    expected = last(torch.tanh(first(vectors))).reshape(3, 4, 8)
    torch.testing.assert_close(model.embed_prefix(vectors), expected)


def test_training_reaches_every_weight_of_a_mapper() -> None:
    torch.manual_seed(0)
    model = PrefixGPT(PrefixGPTConfig(20, 8, 1, 2, 16, 5, 4, mapper=CONFIG)).train()
    model(torch.randn(2, 5), torch.randint(20, (2, 6))).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
