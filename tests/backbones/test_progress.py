from __future__ import annotations

from threading import Thread

import pytest
import torch
from torch import nn

from napari_patchioner.backbones._progress import counting, telling
from napari_patchioner.errors import Cancelled

ONE = torch.ones(1, 2)


@pytest.fixture
def network():
    return nn.Sequential(*(nn.Linear(2, 2) for _ in range(4)))


def test_every_block_once_within_its_span(network):
    told = []
    with telling(network, lambda share, message: told.append((share, message)), "on", (0.5, 0.9)):
        network(ONE)
    assert told == [(pytest.approx(0.5 + 0.1 * done), "on") for done in (1, 2, 3, 4)]
    network(ONE)
    assert len(told) == 4


def test_nobody_to_tell(network):
    with telling(network, None, "on"):
        network(ONE)
        assert not any(block._forward_hooks for block in network)


def test_an_exception_ends_the_pass_and_leaves_nothing_behind(network):
    passed = []
    network[2].register_forward_hook(lambda *_: passed.append(1))

    def stop(share, _message):
        if share >= 0.5:
            raise Cancelled

    with pytest.raises(Cancelled), telling(network, stop, "on"):
        network(ONE)
    assert passed == []
    network(ONE)
    assert passed == [1]


def test_another_thread_is_not_told_of(network):
    told = []
    with telling(network, lambda share, _message: told.append(share), "on"):
        other = Thread(target=network, args=(ONE,))
        other.start()
        other.join()
        assert told == []
        network(ONE)
    assert len(told) == 4


def test_sentences_are_counted_from_before_the_first_block(network):
    told = []
    with counting(network, lambda share, message: told.append((share, message)), 20, 10, 40):
        network(ONE)
    assert [message for _, message in told] == ["20 of 40 sentences"] * 5
    assert [share for share, _ in told] == pytest.approx([0.5, 0.5625, 0.625, 0.6875, 0.75])
