from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from napari_patchioner.decoders import PrefixGPT, PrefixGPTConfig, prefix_gpt_from_decap
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

CONFIG = PrefixGPTConfig(vocab_size=20, width=8, layers=2, heads=2, positions=12, prefix_dim=5)


def gpt(prefix_tokens: int = 1, dropout: float = 0.0) -> PrefixGPT:
    torch.manual_seed(0)
    config = PrefixGPTConfig(20, 8, 2, 2, 12, 5, prefix_tokens, dropout)
    return PrefixGPT(config).eval()


def published_state(model: PrefixGPT) -> dict[str, Tensor]:
    """The model's weights under the names and in the layout of a DeCap checkpoint."""
    outer = {
        "prefix": "clip_project.model.0",
        "tokens": "decoder.transformer.wte",
        "positions": "decoder.transformer.wpe",
        "norm": "decoder.transformer.ln_f",
    }
    inner = {
        "norm_attn": "ln_1",
        "attn": "attn.c_attn",
        "attn_out": "attn.c_proj",
        "norm_mlp": "ln_2",
        "mlp": "mlp.c_fc",
        "mlp_out": "mlp.c_proj",
    }
    state = {}
    for name, value in model.state_dict().items():
        *path, part, kind = name.split(".")
        if path:
            key = f"decoder.transformer.h.{path[1]}.{inner[part]}.{kind}"
            turned = "c_" in key and kind == "weight"
            state[key] = value.T if turned else value
        else:
            state[f"{outer[part]}.{kind}"] = value
    return state


@pytest.mark.parametrize("prefix_tokens", [1, 3])
@torch.inference_mode()
def test_a_step_gives_what_reading_everything_gives(prefix_tokens: int) -> None:
    model, prefix = gpt(prefix_tokens), torch.randn(4, 5)
    tokens = torch.randint(20, (4, 6))
    whole = model(prefix, tokens)
    assert whole.shape == (4, 7, 20)
    logits, cache = model.start(prefix)
    torch.testing.assert_close(logits, whole[:, 0])
    for place in range(6):
        logits, cache = model.step(tokens[:, place], cache)
        torch.testing.assert_close(logits, whole[:, place + 1])


@torch.inference_mode()
def test_several_tokens_may_follow_a_cache() -> None:
    model, embedded = gpt(), torch.randn(2, 7, 8)
    whole, _ = model.run(embedded)
    _, cache = model.run(embedded[:, :3])
    rest, _ = model.run(embedded[:, 3:], cache)
    torch.testing.assert_close(rest, whole[:, 3:])


@torch.inference_mode()
def test_later_tokens_do_not_reach_back() -> None:
    model, prefix = gpt(), torch.randn(1, 5)
    tokens = torch.randint(20, (1, 6))
    changed = tokens.clone()
    changed[0, 4] = (changed[0, 4] + 1) % 20
    torch.testing.assert_close(model(prefix, tokens)[:, :5], model(prefix, changed)[:, :5])


def test_training_uses_dropout_and_reaches_every_weight() -> None:
    model = gpt(dropout=0.5).train()
    prefix, tokens = torch.randn(2, 5), torch.randint(20, (2, 11))
    logits = model(prefix, tokens)
    assert not torch.equal(logits, model(prefix, tokens))
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@torch.inference_mode()
def test_a_saved_decoder_opens_the_same(tmp_path: Path) -> None:
    model, prefix = gpt(2), torch.randn(3, 5)
    model.save(tmp_path / "decoder.safetensors", trained_on="sentences")
    again = PrefixGPT.open(tmp_path / "decoder.safetensors")
    assert again.config == model.config
    assert again.notes == {"trained_on": "sentences"}
    assert not again.training
    torch.testing.assert_close(again.start(prefix)[0], model.start(prefix)[0])


def test_a_file_of_the_first_version_opens_under_its_old_names(tmp_path: Path) -> None:
    model = gpt(2)
    model.save(tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        notes = file.metadata()
        old = {
            name.replace("attn", "mix").replace("mlp", "think"): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
        }
    save_file(old, tmp_path / "old.safetensors", notes)
    again = PrefixGPT.open(tmp_path / "old.safetensors").state_dict()
    assert "blocks.0.mix.weight" in old
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_half_precision_is_read_as_single(tmp_path: Path) -> None:
    gpt().half().save(tmp_path / "decoder.safetensors")
    opened = PrefixGPT.open(tmp_path / "decoder.safetensors")
    assert {parameter.dtype for parameter in opened.parameters()} == {torch.float32}


@pytest.mark.parametrize("harm", ["missing", "cut", "text", "bare"])
def test_a_damaged_file_is_refused(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "decoder.safetensors"
    if harm == "cut":
        gpt().save(path)
        path.write_bytes(path.read_bytes()[:-100])
    elif harm == "text":
        path.write_text("not a model")
    elif harm == "bare":
        from safetensors.torch import save_file

        save_file({"weight": torch.ones(2)}, str(path))
    with pytest.raises(ModelError, match=r"decoder\.safetensors"):
        PrefixGPT.open(path)


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(ModelError, match=r"length 5 .* \(2, 6\)"):
        gpt().start(torch.randn(2, 6))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ModelError, match="cannot be split into 3 heads"):
        PrefixGPTConfig(20, 8, 2, 3, 12, 5)


@torch.inference_mode()
def test_a_published_checkpoint_is_read_with_its_old_buffers() -> None:
    model, prefix, tokens = gpt(), torch.randn(2, 5), torch.randint(20, (2, 4))
    state = published_state(model)
    state["decoder.lm_head.weight"] = state["decoder.transformer.wte.weight"]
    for layer in range(2):
        state[f"decoder.transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 12, 12)
        state[f"decoder.transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    read = prefix_gpt_from_decap(state, heads=2)
    torch.testing.assert_close(read(prefix, tokens), model(prefix, tokens))


def test_half_of_a_checkpoint_is_refused() -> None:
    state = published_state(gpt())
    with pytest.raises(ModelError, match=r"missing: clip_project\.model\.0\.weight"):
        prefix_gpt_from_decap({k: v for k, v in state.items() if "clip_project" not in k})
    with pytest.raises(ModelError, match=r"missing: decoder\.transformer\.h\.0\.ln_1\.weight"):
        prefix_gpt_from_decap({k: v for k, v in state.items() if "h.0.ln_1" not in k}, heads=2)


def test_a_checkpoint_with_other_layers_is_refused() -> None:
    state = published_state(gpt()) | {"clip_project.model.2.weight": torch.ones(2, 2)}
    with pytest.raises(ModelError, match=r"clip_project\.model\.2\.weight"):
        prefix_gpt_from_decap(state, heads=2)


def test_numbers_that_are_none_are_refused_in_one_sentence(tmp_path: Path) -> None:
    model = gpt()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    model.save(tmp_path / "wild.safetensors")
    with pytest.raises(ModelError, match="not finite") as caught:
        PrefixGPT.open(tmp_path / "wild.safetensors")
    assert "\n" not in str(caught.value)
