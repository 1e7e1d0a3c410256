from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from published import clipcap

from napari_patchioner.checkpoints import read_state
from napari_patchioner.decoders import ClipCapDecoder, Evidence, prefix_gpt_from_clipcap
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

DIM = 24


def vectors(n: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n, DIM)).astype(np.float32)


@pytest.fixture(scope="module", params=["mlp", "transformer"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("clipcap")
    return clipcap.write(folder, dim=DIM, mapper=request.param)


@torch.inference_mode()
def test_captions_follow_the_soft_prompt(files: dict[str, Path]) -> None:
    decoder = ClipCapDecoder.open(files, tidy=False)
    rows = vectors(3)
    captions = decoder.decode(rows, max_tokens=10)
    for row, caption in zip(rows, captions, strict=True):
        soft = decoder.model.embed_prefix(torch.from_numpy(row[None]))[0]
        tokens: list[int] = []
        while len(tokens) < 10 and decoder.tokenizer.stop not in tokens:
            said = decoder.model.tokens(torch.tensor(tokens, dtype=torch.long))
            hidden, _ = decoder.model.run(torch.cat([soft, said])[None])
            tokens.append(int(decoder.model.head(hidden[0, -1]).argmax()))
        assert caption.text == decoder.tokenizer.decode(tokens)


def test_evidence_changes_nothing(files: dict[str, Path]) -> None:
    decoder = ClipCapDecoder.open(files)
    evidence = [Evidence(concepts=(("dog", 0.9),))] * 2
    told = decoder.decode(vectors(2), evidence=evidence, max_tokens=6)
    assert told == decoder.decode(vectors(2), max_tokens=6)


def test_a_saved_decoder_opens_the_same(tmp_path: Path, files: dict[str, Path]) -> None:
    decoder = ClipCapDecoder.open(files)
    decoder.model.save(tmp_path / "clipcap.safetensors")
    again = ClipCapDecoder.open(files | {"weights": tmp_path / "clipcap.safetensors"})
    assert again.decode(vectors(3), max_tokens=6) == decoder.decode(vectors(3), max_tokens=6)


def test_the_mlp_is_two_layers_with_tanh(tmp_path: Path) -> None:
    files = clipcap.write(tmp_path, dim=DIM, width=24, tokens=4)
    state = read_state(files["weights"])
    model = prefix_gpt_from_clipcap(state)
    rows = torch.from_numpy(vectors(2))
    weights = [state[f"clip_project.model.{place}.weight"] for place in (0, 2)]
    biases = [state[f"clip_project.model.{place}.bias"] for place in (0, 2)]
    hidden = torch.tanh(rows @ weights[0].T + biases[0])
    expected = (hidden @ weights[1].T + biases[1]).reshape(2, 4, 24)
    torch.testing.assert_close(model.embed_prefix(rows), expected)


def test_what_is_missing_or_left_over_is_named(tmp_path: Path) -> None:
    state = read_state(clipcap.write(tmp_path, dim=DIM)["weights"])
    without = {name: value for name, value in state.items() if "model.2.weight" not in name}
    with pytest.raises(ModelError, match=r"missing: clip_project\.model\.2\.weight"):
        prefix_gpt_from_clipcap(without)
    with pytest.raises(ModelError, match=r"missing: clip_project\.model\.0\.weight"):
        prefix_gpt_from_clipcap({k: v for k, v in state.items() if "clip_project" not in k})
    with pytest.raises(ModelError, match=r"unexpected: clip_project\.model\.4\.weight"):
        prefix_gpt_from_clipcap(state | {"clip_project.model.4.weight": torch.ones(2, 2)})
