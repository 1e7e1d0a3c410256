from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from published import viecap

from napari_patchioner.checkpoints import read_state
from napari_patchioner.decoders import (
    Evidence,
    ViECapDecoder,
    prefix_gpt_from_viecap,
)
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

DIM = 24


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return viecap.write(tmp_path_factory.mktemp("viecap"), dim=DIM)


@pytest.fixture(scope="module")
def decoder(files: dict[str, Path]) -> ViECapDecoder:
    return ViECapDecoder.open(files)


def vectors(n: int, seed: int = 0) -> npt.NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def seen(*names: str) -> Evidence:
    shares = np.linspace(0.6, 0.4, len(names))
    return Evidence(concepts=tuple(zip(names, shares.tolist(), strict=True)))


EVIDENCE = [seen(), seen("dog"), seen("dog", "park"), seen("a long name of a thing"), seen("x")]


def tokens_of(decoder: ViECapDecoder, parts: list[Tensor], longest: int) -> list[int]:
    """Greedy search written out: everything is read again for every token."""
    tokens: list[int] = []
    while len(tokens) < longest and not set(tokens) & set(decoder.tokenizer.stops):
        said = decoder.model.tokens(torch.tensor(tokens, dtype=torch.long))
        hidden, _ = decoder.model.run(torch.cat([*parts, said])[None])
        tokens.append(int(decoder.model.head(hidden[0, -1]).argmax()))
    return tokens


@pytest.mark.parametrize("prompt", ["soft-hard", "hard-soft", "soft", "hard"])
@torch.inference_mode()
def test_captions_follow_their_prompts(files: dict[str, Path], prompt: str) -> None:
    decoder = ViECapDecoder.open(files, prompt=prompt, tidy=False)
    rows = vectors(len(EVIDENCE))
    captions = decoder.decode(rows, evidence=EVIDENCE, max_tokens=12)
    texts = [
        "There are something in image.",
        "There are dog in image.",
        "There are dog, park in image.",
        "There are a long name of a thing in image.",
        "There are x in image.",
    ]
    for row, text, caption in zip(rows, texts, captions, strict=True):
        parts = {
            "soft": decoder.model.embed_prefix(torch.from_numpy(row[None]))[0],
            "hard": decoder.model.tokens(torch.tensor(decoder.tokenizer.encode(text))),
        }
        expected = tokens_of(decoder, [parts[part] for part in prompt.split("-")], 12)
        assert caption.text == decoder.tokenizer.decode(expected)


@pytest.mark.parametrize("beams", [1, 4])
def test_a_batch_gives_what_each_region_gives_alone(decoder: ViECapDecoder, beams: int) -> None:
    rows = vectors(len(EVIDENCE))
    together = decoder.decode(rows, evidence=EVIDENCE, beams=beams, max_tokens=10)
    for row, caption in enumerate(together):
        [alone] = decoder.decode(rows[[row]], evidence=[EVIDENCE[row]], beams=beams, max_tokens=10)
        assert alone.text == caption.text
        assert alone.log_probability == pytest.approx(caption.log_probability, abs=1e-4)


def test_many_regions_are_written_in_parts(
    decoder: ViECapDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, evidence = vectors(7), [EVIDENCE[row % 5] for row in range(7)]
    whole = decoder.decode(rows, evidence=evidence, beams=2, max_tokens=6)
    monkeypatch.setattr(type(decoder), "sentences_at_once", 6)
    parts = decoder.decode(rows, evidence=evidence, beams=2, max_tokens=6)
    assert [caption.text for caption in parts] == [caption.text for caption in whole]


def test_a_caption_names_its_entities(decoder: ViECapDecoder) -> None:
    captions = decoder.decode(vectors(2), evidence=EVIDENCE[1:3], max_tokens=4)
    assert captions[0].concepts == (("dog", 0.6),)
    assert [name for name, _ in captions[1].concepts] == ["dog", "park"]


def test_entities_change_what_is_said(decoder: ViECapDecoder) -> None:
    row = np.repeat(vectors(1), 3, axis=0)
    texts = [c.text for c in decoder.decode(row, evidence=EVIDENCE[:3], max_tokens=12)]
    assert len(set(texts)) == 3
    [without] = decoder.decode(row[:1], max_tokens=12)
    assert without.text == texts[0]


def test_a_caption_ends_with_its_first_full_stop(files: dict[str, Path]) -> None:
    decoder = ViECapDecoder.open(files, tidy=False)
    with torch.no_grad():
        # A full stop that is as good as the best other token, most of the time.
        table = decoder.model.tokens.weight
        table[list(decoder.tokenizer.stops)] = 2.5 * table[[100, 200]]
    rows = vectors(20)
    captions = decoder.decode(rows, beams=3)
    ended = [c for c in captions if len(c.token_log_probabilities) < 64]
    assert ended
    for caption in ended:
        assert caption.text.endswith(".")
        assert len(decoder.tokenizer.encode(caption.text.rstrip("."))) < 64
    for caption in captions:
        *before, last = caption.text or " "
        assert "." not in before
        assert last == "." or len(caption.token_log_probabilities) == 64


def test_alternatives_are_other_texts(decoder: ViECapDecoder) -> None:
    for caption in decoder.decode(vectors(4), beams=5, alternatives=3, max_tokens=8):
        texts = [caption.text, *caption.alternatives]
        assert len(set(texts)) == len(texts) <= 4
        assert caption.score == pytest.approx(np.exp(caption.log_probability))
        assert 0 < caption.score < 1


@torch.inference_mode()
def test_perplexity_is_that_of_the_text_alone(decoder: ViECapDecoder) -> None:
    text = "There are a dog in the image."
    tokens = torch.tensor([decoder.tokenizer.encode(text)])
    hidden, _ = decoder.model.run(decoder.model.tokens(tokens))
    logged = decoder.model.head(hidden)[0].log_softmax(-1)
    losses = [-float(logged[place, token]) for place, token in enumerate(tokens[0, 1:].tolist())]
    found = decoder.perplexity([text, "."])
    assert found[0] == pytest.approx(np.exp(np.mean(losses)), rel=1e-4)
    assert np.isnan(found[1])


def test_a_saved_decoder_opens_the_same(
    tmp_path: Path, files: dict[str, Path], decoder: ViECapDecoder
) -> None:
    decoder.model.save(tmp_path / "viecap.safetensors", projection="abc")
    again = ViECapDecoder.open(files | {"weights": tmp_path / "viecap.safetensors"})
    assert again.provenance["projection"] == "abc"
    before, after = (one.decode(vectors(3), max_tokens=6) for one in (decoder, again))
    assert [caption.text for caption in before] == [caption.text for caption in after]


@pytest.mark.parametrize(
    ("dropped", "named"),
    [
        ("mapping_network.prefix_const", r"missing: mapping_network\.prefix_const"),
        ("gpt.transformer.wte.weight", r"missing: gpt\.transformer\.wte\.weight"),
        (
            "mapping_network.transformer.layers.1.attn.to_queries.weight",
            r"missing: mapping_network\.transformer\.layers\.1\.attn\.to_queries\.weight",
        ),
        ("gpt.transformer.h.0.attn.c_attn.bias", r"gpt\.transformer\.h\.0\.attn\.c_attn\.bias"),
    ],
)
def test_what_is_missing_is_named(files: dict[str, Path], dropped: str, named: str) -> None:
    state = read_state(files["weights"])
    del state[dropped]
    with pytest.raises(ModelError, match=named):
        prefix_gpt_from_viecap(state)


def test_what_does_not_belong_is_named(files: dict[str, Path]) -> None:
    state = read_state(files["weights"])
    with pytest.raises(ModelError, match=r"unexpected: clip_project\.model\.0\.weight"):
        prefix_gpt_from_viecap(state | {"clip_project.model.0.weight": torch.ones(2, 2)})
    with pytest.raises(ModelError, match=r"of another shape: blocks\.1\.attn\.bias \(5,\)"):
        prefix_gpt_from_viecap(state | {"gpt.transformer.h.1.attn.c_attn.bias": torch.ones(5)})
    with pytest.raises(ModelError, match=r"gpt\.transformer\.wte\.weight has the shape \(4,\)"):
        prefix_gpt_from_viecap(state | {"gpt.transformer.wte.weight": torch.ones(4)})


def test_heads_must_divide_the_width(files: dict[str, Path]) -> None:
    state = read_state(files["weights"])
    with pytest.raises(ModelError, match="7 heads"):
        prefix_gpt_from_viecap(state, heads=7)
    with pytest.raises(ModelError, match="5 heads"):
        prefix_gpt_from_viecap(state, mapper_heads=5)


def test_a_prompt_without_room_is_refused(tmp_path: Path) -> None:
    decoder = ViECapDecoder.open(viecap.write(tmp_path, dim=DIM, positions=30))
    with pytest.raises(ModelError, match="no room for a caption"):
        decoder.decode(vectors(1), evidence=[seen("something with a name that never ends")])


def test_captions_are_no_longer_than_there_are_positions(tmp_path: Path) -> None:
    decoder = ViECapDecoder.open(viecap.write(tmp_path, dim=DIM, positions=40), tidy=False)
    captions = decoder.decode(vectors(6))
    prompt = 10 + len(decoder.tokenizer.encode("There are something in image."))
    assert max(len(c.token_log_probabilities) for c in captions) <= 40 - prompt + 1


def test_evidence_must_be_that_of_the_regions(decoder: ViECapDecoder) -> None:
    with pytest.raises(ModelError, match="3 regions but evidence of 2"):
        decoder.decode(vectors(3), evidence=EVIDENCE[:2])


def test_an_unknown_prompt_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="not 'loud'"):
        ViECapDecoder.open(files, prompt="loud")


def test_a_decoder_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="knows 100 tokens and its tokenizer 271"):
        ViECapDecoder.open(viecap.write(tmp_path, dim=DIM, vocabulary=100))


def test_tokens_beyond_the_tokenizer_are_never_written(tmp_path: Path) -> None:
    decoder = ViECapDecoder.open(viecap.write(tmp_path, dim=DIM, vocabulary=400))
    assert all(caption.score > 0 for caption in decoder.decode(vectors(8), max_tokens=20))


def test_no_regions_give_no_captions(decoder: ViECapDecoder) -> None:
    assert decoder.decode(vectors(0), evidence=[]) == []


def test_texts_are_rated_as_they_were_generated(decoder: ViECapDecoder) -> None:
    some, evidence = vectors(2), [seen("dog"), seen("cat", "park")]
    said = decoder.decode(some, beams=2, alternatives=1, evidence=evidence)
    texts = [caption.text for caption in said]
    rated = decoder.log_likelihoods(some, texts, evidence=evidence)
    assert rated.shape == (2, 2)
    assert np.isfinite(rated).all()
    alone = decoder.log_likelihoods(some[1:], texts, evidence=evidence[1:])
    np.testing.assert_allclose(alone[0], rated[1], rtol=1e-4)


def test_specificity_holds_against_a_prompt_of_nothing(decoder: ViECapDecoder) -> None:
    some, evidence = vectors(3), [seen("dog"), seen("cat", "park"), seen()]
    plain = decoder.decode(some, beams=2, evidence=evidence)
    assert decoder.decode(some, beams=2, evidence=evidence, specificity=0) == plain
    changed = decoder.decode(some, beams=2, evidence=evidence, specificity=2)
    assert [c.text for c in changed] != [c.text for c in plain]
    alone = decoder.decode(some[1:2], beams=2, evidence=evidence[1:2], specificity=2)
    assert alone[0].text == changed[1].text
