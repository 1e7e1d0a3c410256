from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_patchioner.decoders import PrefixGPT, PrefixGPTConfig, generate
from napari_patchioner.decoders.search import rate

END = 0


def tiny_gpt(vocab_size: int = 11, seed: int = 0) -> PrefixGPT:
    torch.manual_seed(seed)
    model = PrefixGPT(
        PrefixGPTConfig(vocab_size, width=8, layers=2, heads=2, positions=16, prefix_dim=5)
    )
    # Strong weights keep such a model from repeating one token for ever.
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=1.0)
    return model.eval()


class WithoutCache:
    """The same model, reading every sentence from its start at every step."""

    def __init__(self, model: PrefixGPT) -> None:
        self.model = model
        self.vocab_size = model.vocab_size
        self.rows_seen: list[int] = []

    def start(self, prefix: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        tokens = torch.empty((len(prefix), 0), dtype=torch.long)
        return self._logits(prefix, tokens), (prefix, tokens)

    def step(
        self, tokens: Tensor, cache: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        prefix, past = cache
        tokens = torch.cat([past, tokens[:, None]], dim=1)
        return self._logits(prefix, tokens), (prefix, tokens)

    def reorder(self, cache: tuple[Tensor, Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
        return cache[0][rows], cache[1][rows]

    def _logits(self, prefix: Tensor, tokens: Tensor) -> Tensor:
        self.rows_seen.append(len(prefix))
        return self.model(prefix, tokens)[:, -1]


class OneToken:
    """Says the token its prefix names, ever again."""

    vocab_size = 6

    def start(self, prefix: Tensor) -> tuple[Tensor, Tensor]:
        return prefix, prefix

    def step(self, tokens: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        return cache, cache

    def reorder(self, cache: Tensor, rows: Tensor) -> Tensor:
        return cache[rows]


def prefixes(rows: int, seed: int = 1) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_a_batch_gives_what_each_row_gives_alone(beams: int) -> None:
    model, prefix = tiny_gpt(), prefixes(9)
    together = generate(model, prefix, end=END, max_tokens=8, beams=beams, keep=beams)
    for row, found in enumerate(together):
        (alone,) = generate(
            model, prefix[row : row + 1], end=END, max_tokens=8, beams=beams, keep=beams
        )
        assert [one.tokens for one in found] == [one.tokens for one in alone]
        assert found[0].score == pytest.approx(alone[0].score, abs=1e-5)


@pytest.mark.parametrize("beams", [1, 3])
def test_the_cache_changes_nothing(beams: int) -> None:
    model, prefix = tiny_gpt(), prefixes(6)
    kept = generate(model, prefix, end=END, max_tokens=8, beams=beams)
    fresh = generate(WithoutCache(model), prefix, end=END, max_tokens=8, beams=beams)
    assert [one[0].tokens for one in kept] == [one[0].tokens for one in fresh]


def test_one_beam_is_greedy_search() -> None:
    model, prefix = tiny_gpt(), prefixes(8)
    for row, (best, *others) in enumerate(generate(model, prefix, end=END, max_tokens=8)):
        tokens: list[int] = []
        with torch.inference_mode():
            while len(tokens) < 8 and END not in tokens:
                logits = model(prefix[row : row + 1], torch.tensor([tokens], dtype=torch.long))
                tokens.append(int(logits[0, -1].argmax()))
        assert not others
        assert best.tokens == tuple(tokens)
        assert best.ended == (END in tokens)


def all_scores(model: PrefixGPT, prefix: Tensor, longest: int, penalty: float) -> list[float]:
    scores = []
    for length in range(1, longest + 1):
        for tokens in itertools.product(range(model.vocab_size), repeat=length):
            if END in tokens[:-1] or (length < longest and tokens[-1] != END):
                continue
            with torch.inference_mode():
                logits = model(prefix, torch.tensor([tokens]))[0, :-1]
            chosen = logits.log_softmax(-1)[range(length), list(tokens)]
            scores.append(float(chosen.sum()) / length**penalty)
    return sorted(scores, reverse=True)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_enough_beams_find_the_best_sentences_there_are(seed: int, penalty: float) -> None:
    model, prefix = tiny_gpt(vocab_size=4, seed=seed), prefixes(1, seed)
    expected = all_scores(model, prefix, 4, penalty)
    (found,) = generate(
        model, prefix, end=END, max_tokens=4, beams=64, keep=5, length_penalty=penalty
    )
    assert [one.score for one in found[:5]] == pytest.approx(expected[:5], abs=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), beams=st.sampled_from([2, 4, 8]))
def test_no_sentence_beats_the_exhaustive_best(seed: int, beams: int) -> None:
    model, prefix = tiny_gpt(vocab_size=4, seed=seed), prefixes(1, seed)
    (found,) = generate(model, prefix, end=END, max_tokens=3, beams=beams)
    assert found[0].score <= all_scores(model, prefix, 3, 1.0)[0] + 1e-5


def test_beams_score_at_least_as_high_as_greedy() -> None:
    model, prefix = tiny_gpt(), prefixes(20)
    greedy = generate(model, prefix, end=END, max_tokens=8)
    wide = generate(model, prefix, end=END, max_tokens=8, beams=6)
    gains = [wide[row][0].score - greedy[row][0].score for row in range(20)]
    assert min(gains) > -1e-5
    assert max(gains) > 0


def test_log_probabilities_are_the_models_own() -> None:
    model, prefix = tiny_gpt(), prefixes(3)
    for row, found in enumerate(generate(model, prefix, end=END, max_tokens=6, beams=3)):
        tokens = list(found[0].tokens)
        with torch.inference_mode():
            logits = model(prefix[row : row + 1], torch.tensor([tokens]))[0, :-1]
        expected = logits.log_softmax(-1)[range(len(tokens)), tokens]
        assert found[0].log_probabilities == pytest.approx(expected.tolist(), abs=1e-5)
        assert found[0].score == pytest.approx(float(expected.mean()), abs=1e-5)


def test_finished_rows_leave_the_batch() -> None:
    class Counted(OneToken):
        def __init__(self) -> None:
            self.rows: list[int] = []

        def step(self, tokens: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
            self.rows.append(len(tokens))
            return super().step(tokens, cache)

    model = Counted()
    prefix = torch.eye(6)[[END, 3, END, 4, END]] * 9
    found = generate(model, prefix, end=END, max_tokens=4)
    assert model.rows == [2, 2, 2]
    assert [one.tokens for (one,) in found] == [(0,), (3,) * 4, (0,), (4,) * 4, (0,)]
    assert [one.ended for (one,) in found] == [True, False, True, False, True]


def test_a_bias_forbids_tokens_row_by_row() -> None:
    bias = torch.zeros(2, 6)
    bias[1, 3] = -torch.inf
    prefix = torch.tensor([[0.0, 1, 2, 9, 5, 0]] * 2)
    first, second = generate(OneToken(), prefix, end=END, max_tokens=2, bias=bias)
    assert first[0].tokens == (3, 3)
    assert second[0].tokens == (4, 4)
    assert second[0].log_probabilities[0] == pytest.approx(
        float(prefix[0].log_softmax(-1)[4]), abs=1e-5
    )
    everywhere = generate(OneToken(), prefix, end=END, max_tokens=2, bias=bias[1])
    assert [one.tokens for (one,) in everywhere] == [(4, 4), (4, 4)]


@pytest.mark.parametrize("beams", [1, 3])
def test_a_constraint_sees_its_row_and_the_tokens_so_far(beams: int) -> None:
    def never_twice(rows: Tensor, tokens: Tensor) -> Tensor:
        assert len(rows) == len(tokens)
        allowed = torch.ones(len(rows), 6, dtype=torch.bool)
        allowed.scatter_(1, tokens, torch.zeros_like(tokens, dtype=torch.bool))
        allowed[rows == 1, 5] = False
        return allowed

    prefix = torch.tensor([[-9.0, 1, 2, 3, 4, 5]] * 3)
    found = generate(OneToken(), prefix, end=END, max_tokens=4, beams=beams, constrain=never_twice)
    assert [set(one[0].tokens) for one in found] == [{5, 4, 3, 2}, {4, 3, 2, 1}, {5, 4, 3, 2}]


def test_where_nothing_may_follow_the_sentence_ends() -> None:
    def at_most_two(rows: Tensor, tokens: Tensor) -> Tensor:
        return torch.full((len(rows), 6), tokens.shape[1] < 2)

    prefix = torch.tensor([[-9.0, 1, 2, 3, 4, 5]])
    ((best,),) = generate(OneToken(), prefix, end=END, max_tokens=9, constrain=at_most_two)
    assert best.tokens == (5, 5, END)
    assert best.ended


def competing(
    model: PrefixGPT, prefix: Tensor, ends: tuple[int, ...], beams: int, longest: int
) -> list[tuple[float, tuple[int, ...]]]:
    """Search in which finished sentences keep their beams, one sentence at a time."""
    alive: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for _ in range(longest):
        grown = []
        for mean, tokens in alive:
            if tokens and tokens[-1] in ends:
                grown.append((mean, tokens))
                continue
            with torch.inference_mode():
                logits = model(prefix, torch.tensor([tokens], dtype=torch.long))[0, -1]
            for token, added in enumerate(logits.log_softmax(-1).tolist()):
                total = mean * len(tokens) + added
                grown.append((total / (len(tokens) + 1), (*tokens, token)))
        alive = sorted(grown, reverse=True)[:beams]
        if all(tokens[-1] in ends for _, tokens in alive):
            break
    return alive


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    beams=st.integers(1, 5),
    ends=st.sampled_from([(0,), (1, 3), (0, 2, 4)]),
)
def test_finished_sentences_may_compete_for_their_beams(
    seed: int, beams: int, ends: tuple[int, ...]
) -> None:
    model, prefix = tiny_gpt(vocab_size=7, seed=seed), prefixes(3, seed)
    found = generate(model, prefix, end=ends, max_tokens=6, beams=beams, endings="compete")
    for row, sentences in enumerate(found):
        expected = competing(model, prefix[row : row + 1], ends, beams, 6)
        assert [one.tokens for one in sentences] == [tokens for _, tokens in expected]
        assert [one.score for one in sentences] == pytest.approx(
            [mean for mean, _ in expected], abs=1e-5
        )
        assert [one.ended for one in sentences] == [one.tokens[-1] in ends for one in sentences]


@pytest.mark.parametrize("beams", [1, 3])
def test_any_of_several_tokens_may_end_a_sentence(beams: int) -> None:
    model, prefix = tiny_gpt(), prefixes(12)
    found = generate(model, prefix, end=(2, 5, 7), max_tokens=8, beams=beams)
    for row, sentences in enumerate(found):
        for sentence in sentences:
            assert not {2, 5, 7} & set(sentence.tokens[:-1])
            assert sentence.ended == (sentence.tokens[-1] in (2, 5, 7))
        if beams == 1:
            tokens: list[int] = []
            with torch.inference_mode():
                while len(tokens) < 8 and not {2, 5, 7} & set(tokens):
                    logits = model(prefix[row : row + 1], torch.tensor([tokens], dtype=torch.long))
                    tokens.append(int(logits[0, -1].argmax()))
            assert sentences[0].tokens == tuple(tokens)


def test_no_rows_give_no_sentences() -> None:
    assert generate(OneToken(), torch.empty(0, 6), end=END) == []


def test_many_rows_are_written_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prefix = tiny_gpt(), prefixes(7)
    torch.manual_seed(0)
    bias = torch.randn(7, 11)
    whole = generate(model, prefix, end=END, max_tokens=5, beams=2, bias=bias)
    monkeypatch.setattr("napari_patchioner.decoders.search.beam._MAX_LOGITS", 2 * 11 * 3)
    parts = generate(model, prefix, end=END, max_tokens=5, beams=2, bias=bias)
    assert [one[0].tokens for one in whole] == [one[0].tokens for one in parts]


@pytest.mark.parametrize("beams", [1, 3])
def test_guidance_prefers_what_the_prefix_alone_makes_likely(beams: int) -> None:
    """Greedy and beam search follow (1 + g) cond - g uncond, in cached batches as row by row."""
    model, prefix, nothing = tiny_gpt(), prefixes(4), torch.zeros(1, 5)
    changes = {"max_tokens": 6, "beams": beams, "guidance": 1.5}
    found = generate(model, prefix, end=END, empty=nothing, **changes)
    slow = generate(WithoutCache(model), prefix, end=END, empty=nothing, **changes)
    assert [row[0].tokens for row in found] == [row[0].tokens for row in slow]
    plain = generate(model, prefix, end=END, max_tokens=6, beams=beams)
    assert [row[0].tokens for row in found] != [row[0].tokens for row in plain]
    for row, hypotheses in enumerate(found):
        best = hypotheses[0]
        tokens = torch.tensor([best.tokens])
        with torch.inference_mode():
            own = model(prefix[row, None], tokens)[0, :-1].log_softmax(-1)
            without = model(nothing, tokens)[0, :-1].log_softmax(-1)
        compared = (2.5 * own - 1.5 * without).log_softmax(-1)
        picked = torch.tensor(best.tokens)[:, None]
        assert best.score == pytest.approx(float(compared.gather(1, picked).mean()), abs=1e-4)
        # What is reported is how likely the model itself finds the sentence.
        expected = own.gather(1, picked)[:, 0]
        assert best.log_probabilities == pytest.approx(expected.tolist(), abs=1e-4)
        if beams == 1:
            assert (compared.argmax(1) == picked[:, 0]).all()


def test_without_guidance_nothing_changes() -> None:
    model, prefix = tiny_gpt(), prefixes(3)
    plain = generate(model, prefix, end=END, beams=3, max_tokens=7)
    nothing = torch.zeros(1, 5)
    assert generate(model, prefix, end=END, beams=3, max_tokens=7, empty=nothing) == plain


def test_a_sentence_is_rated_as_it_was_generated() -> None:
    model, prefix = tiny_gpt(), prefixes(3)
    found = [row[0] for row in generate(model, prefix, end=END, max_tokens=7, beams=3)]
    rated = rate(model, prefix, [hypothesis.tokens for hypothesis in found])
    assert rated.shape == (3, 3)
    for row, hypothesis in enumerate(found):
        assert float(rated[row, row]) == pytest.approx(sum(hypothesis.log_probabilities), abs=1e-4)
    assert rate(model, prefix, []).shape == (3, 0)
