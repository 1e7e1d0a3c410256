from __future__ import annotations

from threading import Thread

import pytest
import torch
from torch import nn

from napari_patchioner.backbones.base import TextEncoder, block_progress
from napari_patchioner.errors import Cancelled

ONE = torch.ones(1, 2)


@pytest.fixture
def network():
    return nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))


def test_every_block_once_within_its_span(network):
    told = []
    with block_progress(network, lambda *report: told.append(report), "on", (0.5, 0.9)):
        network(ONE)
    assert told == [(pytest.approx(0.5 + 0.1 * done), "on") for done in (1, 2, 3, 4)]
    network(ONE)
    assert len(told) == 4


def test_nobody_to_tell(network):
    with block_progress(network, None, "on"):
        network(ONE)
        assert not any(block._forward_hooks for block in network)


def test_an_exception_ends_the_pass_and_leaves_nothing_behind(network):
    passed = []
    network[2].register_forward_hook(lambda *_: passed.append(1))

    def stop(share, _message):
        if share >= 0.5:
            raise Cancelled

    with pytest.raises(Cancelled), block_progress(network, stop, "on", (0, 1)):
        network(ONE)
    assert passed == []
    network(ONE)
    assert passed == [1]


def test_another_thread_is_not_told_of(network):
    told = []
    with block_progress(network, lambda share, _message: told.append(share), "on"):
        other = Thread(target=network, args=(ONE,))
        other.start()
        other.join()
        assert told == []
        network(ONE)
    assert len(told) == 4


def test_by_default_something_is_left_after_the_last_block(network):
    fractions = []
    with block_progress(network, lambda fraction, _message: fractions.append(fraction), "on"):
        network(ONE)
    assert fractions == pytest.approx([0.2, 0.4, 0.6, 0.8])


class Lengths(TextEncoder):
    """Embeds every text as its length, in batches of two."""

    dim, batch = 2, 2

    def __init__(self, network):
        self.network, self.blocks = network, list(network)

    def frame(self, text):
        return [1] * len(text)

    def forward(self, tokens):
        self.network(ONE)
        return tokens.sum(1, keepdim=True).float().expand(-1, 2)


def test_sentences_are_counted_from_before_the_first_block(network):
    told = []
    texts = ["a", "long", "xx", "bee"]
    vectors = Lengths(network).embed(texts, progress=lambda *report: told.append(report))
    assert vectors[:, 0].tolist() == [1, 4, 2, 3]
    messages = ["0 of 4 sentences"] * 5 + ["2 of 4 sentences"] * 5 + ["4 sentences"]
    assert [message for _, message in told] == messages
    steps = [0, 0.125, 0.25, 0.375, 0.5]
    fractions = [*steps, *(0.5 + step for step in steps), 1]
    assert [fraction for fraction, _ in told] == pytest.approx(fractions)
