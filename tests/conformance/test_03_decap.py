"""The published DeCap decoder and CLIP's tokenizer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_patchioner.decoders import (
    ClipTokenizer,
    DeCapDecoder,
    PrefixGPT,
    caption_loss,
    generate,
    prefix_gpt_from_decap,
)

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from .conftest import Case


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer()


def decoder_files(case: Case) -> tuple[Path, int]:
    """Weights of the tiny decoder beside the case, and its attention heads."""
    folder = (case.root / case.entry["npz"]).parent
    config = json.loads((folder / "decap_tiny.config.json").read_text())["config"]
    return folder, int(config["n_head"])


def read_state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".pt":
        return dict(torch.load(path, weights_only=True, map_location="cpu"))
    from safetensors.torch import load_file

    return load_file(path)


def decap(case: Case, name: str = "decap_tiny.pt") -> PrefixGPT:
    folder, heads = decoder_files(case)
    return prefix_gpt_from_decap(read_state(folder / name), heads=heads)


def tensor(values: npt.NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


@pytest.mark.cases("03_decap/tokenizer")
def test_text_becomes_the_same_tokens(case: Case, tokenizer: ClipTokenizer) -> None:
    strings = case.texts_in["strings"]
    for text, tokens in zip(strings, case.texts_out["encode_ids"], strict=True):
        assert tokenizer.encode(text) == tokens, text
    for text, tokens in zip(strings, case.texts_out["tokenize77_truncate"], strict=True):
        assert tokenizer.frame(text, 77) == tokens, text
    too_long = [len(tokens) + 2 > 77 for tokens in case.texts_out["encode_ids"]]
    assert too_long == case.texts_out["tokenize_without_truncate_raises"]


@pytest.mark.cases("03_decap/tokenizer")
def test_tokens_become_the_same_text(case: Case, tokenizer: ClipTokenizer) -> None:
    pairs = zip(case.texts_in["decode_ids"], case.texts_out["decode_strings"], strict=True)
    for tokens, text in pairs:
        assert tokenizer.decode(tokens) == text


@pytest.mark.cases("03_decap/teacher_forced")
@torch.inference_mode()
def test_teacher_forced_logits(case: Case) -> None:
    # The same weights in two formats; a small copy of the set has one of them.
    found = sorted(decoder_files(case)[0].glob("decap_tiny.[ps][ta]*"))
    assert found
    for path in found:
        check_teacher_forced(case, path.name)


def check_teacher_forced(case: Case, name: str) -> None:
    tokens = tensor(case.inputs["tokens"])
    logits = decap(case, name)(tensor(case.inputs["prefixes"]), tokens)
    ids = case.expected["top20_ids"]
    case.check("logsumexp", logits.logsumexp(-1))
    case.check("top20_values", np.take_along_axis(logits.numpy(), ids, axis=2))
    chosen = logits[:, :-1].log_softmax(-1).gather(2, tokens[:, :, None])[:, :, 0]
    case.check("target_logprob", chosen)


@pytest.mark.cases("03_decap/train_loss")
@torch.inference_mode()
def test_training_loss(case: Case, tokenizer: ClipTokenizer) -> None:
    tokens = tensor(case.inputs["tokens20"])
    framed = [tokenizer.frame(text)[: tokens.shape[1]] for text in case.texts_in["captions"]]
    padded = [row + [0] * (tokens.shape[1] - len(row)) for row in framed]
    np.testing.assert_array_equal(padded, tokens)
    logits = decap(case)(tensor(case.inputs["prefixes"]), tokens)
    case.check("loss", caption_loss(logits, tokens).reshape(1))


@pytest.mark.cases("03_decap/decode")
def test_greedy_tokens(case: Case) -> None:
    expected, steps = case.expected, int(case.params["steps"])
    found = generate(
        decap(case), tensor(case.inputs["prefixes"]), end=case.params["eot"], max_tokens=steps
    )
    for row, (best,) in enumerate(found):
        # The published loop goes on after the end token; what comes then is never read.
        length = len(best.tokens)
        assert best.ended == (case.params["eot"] in expected["token_ids_30"][row])
        assert best.ended or length == steps
        case.check("token_ids_30", best.tokens, rows=(row, slice(length)))
        case.check("chosen_logprob_30", best.log_probabilities, rows=(row, slice(length)))
    scores = [np.exp(sum(best.log_probabilities)) for (best,) in found]
    ended = expected["first_eot_step"] >= 0
    case.check("score_until_first_eot_inclusive", np.asarray(scores)[ended], rows=ended)


@pytest.mark.cases("03_decap/decode")
@torch.inference_mode()
def test_logits_step_by_step(case: Case) -> None:
    model, ids = decap(case), case.expected["logits_steps0to2_top50_ids"]
    chosen = tensor(case.expected["token_ids_30"])
    logits, cache = model.start(tensor(case.inputs["prefixes"]))
    for step in range(ids.shape[1] + 1):
        # A small copy of the set leaves whole rows of logits out.
        for name in case.expected:
            if name.startswith(f"logits_step{step}_full_"):
                case.check(name, logits[: len(case.expected[name])])
        if step < ids.shape[1]:
            values = np.take_along_axis(logits.numpy(), ids[:, step], axis=1)
            case.check("logits_steps0to2_top50_values", values, rows=np.s_[:, step])
        logits, cache = model.step(chosen[:, step], cache)


@pytest.mark.cases("03_decap/decode")
@torch.inference_mode()
def test_score_of_all_steps_as_published(case: Case) -> None:
    """The published loop never stops early and scores what comes after the end as well."""
    model, chosen = decap(case), tensor(case.expected["token_ids_30"])
    logits, cache = model.start(tensor(case.inputs["prefixes"]))
    total, margins = torch.zeros(len(chosen)), []
    for tokens in chosen.T:
        best = logits.topk(2).values
        margins.append(best[:, 0] - best[:, 1])
        total += logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
        logits, cache = model.step(tokens, cache)
    case.check("log_score_reference_all_30", total)
    case.check("score_reference_all_30", total.exp())
    margin = case.expected["margin_top1_minus_top2_30"]
    np.testing.assert_allclose(torch.stack(margins, 1), margin, atol=5e-4)


@pytest.mark.cases("03_decap/decode")
def test_spelling_as_published(case: Case, tokenizer: ClipTokenizer) -> None:
    end = case.params["eot"]
    spelt = [tokenizer.decode(row) for row in case.expected["token_ids_30"].tolist()]
    cut = [text.split("<|endoftext|>")[0].replace("<|startoftext|>", "") for text in spelt]
    assert cut == case.texts_out["strings_reference"]
    # Asked to keep the special tokens, it adds the end to every sentence.
    whole = case.texts_out["strings_with_special_tokens_reference"]
    assert [f"{text}<|endoftext|>" for text in cut] == whole
    # One at a time, the published loop stops at the end token and spells it; of a sentence that
    # is nothing but the end it makes the word "None".
    alone = case.texts_out["single_Decoding_reference"]
    for row, text in zip(_rows(case), alone, strict=True):
        tokens = row[: row.index(end) + 1] if end in row else row
        assert text == (tokenizer.decode(tokens) if len(tokens) > 1 else "None")


def _rows(case: Case) -> list[list[int]]:
    rows: list[list[int]] = case.expected["token_ids_30"].tolist()
    return rows


@pytest.mark.cases("03_decap/decode")
def test_captions(case: Case, tokenizer: ClipTokenizer) -> None:
    decoder = DeCapDecoder(decap(case), tokenizer, tidy=False)
    captions = decoder.decode(case.inputs["prefixes"], max_tokens=int(case.params["steps"]))
    assert [caption.text for caption in captions] == case.texts_out["strings_stripped_as_in_evals"]
    case.check("mean_logprob_until_first_eot", [caption.log_probability for caption in captions])


@pytest.mark.cases("03_decap/decode")
def test_one_by_one_as_all_at_once(case: Case, tokenizer: ClipTokenizer) -> None:
    decoder = DeCapDecoder(decap(case), tokenizer)
    prefixes = case.inputs["prefixes"][:6]
    together = decoder.decode(prefixes, beams=3, max_tokens=12)
    alone = [decoder.decode(row[None], beams=3, max_tokens=12)[0] for row in prefixes]
    assert [caption.text for caption in together] == [caption.text for caption in alone]
