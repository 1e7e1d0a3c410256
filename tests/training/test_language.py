from __future__ import annotations

import numpy as np
import pytest
import torch
from published import gpt2
from safetensors.torch import save_file

from napari_patchioner.bridges import MemoryBank
from napari_patchioner.decoders import ClipTokenizer, Gpt2Tokenizer
from napari_patchioner.errors import ModelError
from napari_patchioner.training import (
    EntityFinder,
    Framing,
    Noise,
    Objective,
    PrefixTask,
    Sizes,
    learn_pieces,
    new_network,
    padded,
)
from napari_patchioner.training.language import masked, network_on_gpt2
from napari_patchioner.training.pieces import IGNORED

from .conftest import CAPTIONS, DIM, embed

SIZES = Sizes(width=16, layers=1, heads=2, dropout=0.0, longest=12)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return Gpt2Tokenizer(learn_pieces(CAPTIONS, 400, tmp_path_factory.mktemp("p") / "pieces"))


@pytest.fixture(scope="module")
def bank():
    return MemoryBank.from_arrays(CAPTIONS, embed(CAPTIONS))


def task(pieces, bank, sizes=SIZES, **objective):
    form = "sentence" if objective.get("finder") else "plain"
    network = new_network(sizes, pieces.size, DIM, 0).eval()
    framing = Framing(pieces, form, sizes.longest)
    return PrefixTask(network, framing, bank, bank, Objective(**objective))


def by_hand(task, vectors, rows, smoothing):
    """The loss of the formula, token by token, each caption alone."""
    losses = []
    for vector, (tokens, first) in zip(vectors, rows, strict=True):
        for place in range(first, len(tokens)):
            before = torch.tensor([tokens[:place]], dtype=torch.long)
            logits = task.network(vector[None], before)[0, -1]
            logs = logits.double().log_softmax(-1)
            losses.append(-(1 - smoothing) * logs[tokens[place]] - smoothing * logs.mean())
    return float(torch.stack(losses).mean())


@torch.no_grad()
def test_the_loss_is_that_of_decap(pieces, bank):
    trained = task(pieces, bank, label_smoothing=0.1)
    rows = np.array([3, 77, 120, 5, 6, 40, 41, 2, 9])
    vectors = torch.nn.functional.normalize(torch.from_numpy(embed(CAPTIONS))[rows], dim=1)
    tokens = []
    for row in rows:
        ids = [*pieces.encode(f" {CAPTIONS[row].strip('.')}"), pieces.end]
        tokens.append((ids[: SIZES.longest], 0))
    expected = by_hand(trained, vectors, tokens, 0.1)
    assert float(trained.loss(rows)) == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_the_loss_with_noise_is_that_of_the_noisy_vectors(pieces, bank):
    noise = Noise(0.08)
    trained = task(pieces, bank, noise=noise, label_smoothing=0.0)
    rows = np.array([1, 2])
    torch.manual_seed(4)
    value = float(trained.loss(rows))
    torch.manual_seed(4)
    vectors = noise(torch.from_numpy(embed(CAPTIONS))[rows])
    tokens = [
        ([*pieces.encode(f" {CAPTIONS[row].strip('.')}"), pieces.end][: SIZES.longest], 0)
        for row in rows
    ]
    assert value == pytest.approx(by_hand(trained, vectors, tokens, 0.0), rel=1e-5)


@torch.no_grad()
def test_names_stand_in_front_in_words_and_do_not_count(pieces, bank):
    sizes = Sizes(width=16, layers=1, heads=2, prefix_tokens=3, mapper_layers=1, dropout=0.0)
    finder = EntityFinder(["dog", "park"])
    trained = task(pieces, bank, sizes, finder=finder, masking=0.0, label_smoothing=0.0)
    rows = np.array([1])
    assert CAPTIONS[1] == "A red dog in a park."
    prompt = pieces.encode("There are dog, park in image.")
    tokens = [*prompt, *pieces.encode(CAPTIONS[1])]
    vectors = torch.nn.functional.normalize(torch.from_numpy(embed(CAPTIONS))[rows], dim=1)
    expected = by_hand(trained, vectors, [(tokens, len(prompt))], 0.0)
    assert float(trained.loss(rows)) == pytest.approx(expected, rel=1e-5)


def test_names_are_left_out_as_often_as_asked():
    torch.manual_seed(0)
    kept = [len(masked(("a", "b", "c", "d"), 0.4)) for _ in range(2000)]
    assert np.mean(kept) == pytest.approx(4 * 0.6, abs=0.06)
    assert masked(("a", "b"), 0.0) == ["a", "b"]
    assert masked(("a", "b"), 1.0) == []


def test_padding_and_prompts_do_not_count():
    inputs, targets = padded([[5, 6], [7]], [[1], [2, 3]])
    assert inputs.tolist() == [[1, 5, 6], [2, 3, 7]]
    assert targets.tolist() == [[IGNORED, 5, 6], [IGNORED, IGNORED, 7]]


def test_captions_are_framed_as_the_decoders_read_them(pieces):
    clip = ClipTokenizer()
    plain = Framing(clip, "plain", 6)
    assert plain.tokens("A dog.") == [clip.start, *clip.encode("A dog"), clip.end]
    assert len(plain.tokens("a dog runs after a red ball")) == 6
    assert Framing(pieces, "plain", 50).tokens("a dog")[-1] == pieces.end
    sentence = Framing(pieces, "sentence", 50)
    assert pieces.decode(sentence.tokens("is it a dog?")) == "Is it a dog?"
    assert sentence.tokens("a dog")[-1] in pieces.stops


def test_pieces_spell_everything_and_depend_on_the_texts_alone(pieces, tmp_path):
    for text in (" A blue dog", "naïve café 細胞 🧫", "<|endoftext|>"):
        assert pieces.decode(pieces.encode(text)) == text
    assert len(pieces.encode(" grass")) <= 2
    learn_pieces(CAPTIONS, 300, tmp_path / "a")
    learn_pieces(iter(CAPTIONS), 300, tmp_path / "b")
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@torch.no_grad()
def test_a_published_gpt2_keeps_its_weights(tmp_path):
    gpt2.write(tmp_path)
    state = gpt2.state("gpt", dice=torch.Generator().manual_seed(0))
    state = {name.removeprefix("gpt."): value.clone() for name, value in state.items()}
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "n_embd": 24, "n_head": 2}')
    sizes = Sizes(prefix_tokens=4, mapper_layers=2, mapper_tokens=3)
    network = network_on_gpt2(tmp_path, sizes, DIM, 0)
    assert (network.config.prefix_dim, network.config.prefix_tokens) == (DIM, 4)
    assert network.config.heads == 2
    assert all(weight.requires_grad for weight in network.parameters())
    assert torch.equal(network.tokens.weight, state["transformer.wte.weight"])
    published = state["transformer.h.1.attn.c_attn.weight"]
    assert torch.equal(network.blocks[1].attn.weight, published.T)
    assert network(torch.randn(2, DIM), torch.tensor([[1, 2], [3, 4]])).shape[:2] == (2, 3)
    again = network_on_gpt2(tmp_path, sizes, DIM, 0)
    assert torch.equal(again.prefix.constants, network.prefix.constants)
    with pytest.raises(ModelError):
        network_on_gpt2(tmp_path / "nothing", sizes, DIM, 0)
