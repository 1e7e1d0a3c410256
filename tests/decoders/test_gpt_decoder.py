from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.decoders import PrefixGPT, PrefixGPTConfig, generate, hard_prompt
from napari_patchioner.decoders.gpt_decoder import Prompted, tidy_sentence

END = 0


def gpt() -> PrefixGPT:
    torch.manual_seed(0)
    model = PrefixGPT(PrefixGPTConfig(15, 8, 2, 2, positions=24, prefix_dim=5))
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter)
    return model.eval()


def prompts(lengths: list[int], seed: int = 0) -> list[torch.Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return [torch.randn(length, 8, generator=dice) for length in lengths]


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    beams=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_prompts_of_any_length_are_continued_as_if_alone(
    lengths: list[int], beams: int, seed: int
) -> None:
    model, given_prompts = gpt(), prompts(lengths, seed)
    rows = torch.arange(len(lengths))
    options = {"end": END, "max_tokens": 8, "beams": beams}
    together = generate(Prompted(model, given_prompts), rows, **options)
    for found, prompt in zip(together, given_prompts, strict=True):
        [alone] = generate(Prompted(model, [prompt]), torch.arange(1), **options)
        assert [one.tokens for one in found] == [one.tokens for one in alone]
        assert found[0].log_probabilities == pytest.approx(alone[0].log_probabilities, abs=1e-4)


@torch.inference_mode()
def test_a_prompt_is_read_with_the_tokens_that_follow() -> None:
    model, given_prompts = gpt(), prompts([2, 5, 3])
    prompted = Prompted(model, given_prompts)
    tokens = torch.randint(15, (3, 4), generator=torch.Generator().manual_seed(1))
    logits, cache = prompted.start(torch.arange(3))
    steps = [logits]
    for place in range(4):
        logits, cache = prompted.step(tokens[:, place], cache)
        steps.append(logits)
    for row, prompt in enumerate(given_prompts):
        hidden, _ = model.run(torch.cat([prompt, model.tokens(tokens[row])])[None])
        whole = model.head(hidden[0, len(prompt) - 1 :])
        torch.testing.assert_close(torch.stack([step[row] for step in steps]), whole)


@torch.inference_mode()
def test_padding_is_never_seen() -> None:
    model = gpt()
    embedded, padding = torch.randn(2, 6, 8), torch.tensor([2, 0])
    changed = embedded.clone()
    changed[0, :2] += 5
    before, _ = model.run(embedded, padding=padding)
    after, _ = model.run(changed, padding=padding)
    torch.testing.assert_close(after[0, 2:], before[0, 2:])
    torch.testing.assert_close(after[1], before[1])
    assert before.isfinite().all()


def test_a_prompt_of_nothing_says_so() -> None:
    assert hard_prompt([]) == "There are something in image."
    assert hard_prompt(["dog"]) == "There are dog in image."
    assert hard_prompt(["hot dog", "park", "cup"]) == "There are hot dog, park, cup in image."


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (" A man on a beach .", "A man on a beach."),
        ("A dog , a cat\n and (maybe ) a bird!", "A dog, a cat and (maybe) a bird!"),
        (" .", ""),
        ("", ""),
        ("a \x07bell\ufffd rings", "a bell rings"),
        ("Ein Löwe.", "Ein Löwe."),
    ],
)
def test_sentences_are_tidied_for_people(written: str, shown: str) -> None:
    assert tidy_sentence(written) == shown
