"""Trains a tiny network in children that are killed at any moment, until one comes to the end.

``killed_training.py FOLDER ATTEMPTS``: imports torch once, then forks for every attempt. Prints a
hash of the weights of a run that nothing interrupted, the hash after all the kills, and how many
attempts were killed.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from napari_patchioner.training import Settings, seeded, train

SETTINGS = Settings(steps=60, batch=6, check_every=7, warmup=5, patience=0, seed=3)


def weights_of(folder: Path) -> str:
    """Train in a folder, or go on there, and return a hash of the weights."""
    data = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32))
    target = data.sin().sum(1, keepdim=True)
    network = seeded(
        lambda: nn.Sequential(
            nn.Linear(8, 16), nn.LayerNorm(16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 1)
        ),
        1,
    )

    def loss(rows: np.ndarray) -> torch.Tensor:
        noisy = data[rows] + 0.1 * torch.randn(len(rows), 8)
        return functional.mse_loss(network(noisy), target[rows])

    def held_out() -> float:
        return float(functional.mse_loss(network(data[40:]), target[40:]))

    train(network, loss, held_out, rows=40, folder=folder, settings=SETTINGS, stamp="tiny")
    values = [value.numpy().tobytes() for value in network.state_dict().values()]
    return hashlib.sha256(b"".join(values)).hexdigest()


def main() -> None:
    """Train, then train and kill."""
    folder, attempts = Path(sys.argv[1]), int(sys.argv[2])
    # A child of a process with threads could wait for ever for one that was not copied.
    torch.set_num_threads(1)
    # The first optimizer of a process takes seconds.
    weights_of(folder / "first")
    started = time.perf_counter()
    print(weights_of(folder / "whole"))
    whole = time.perf_counter() - started
    moments = np.random.default_rng(0).uniform(0.05, 0.6, attempts) * whole
    killed = 0
    for moment in moments:
        pid = os.fork()
        if pid == 0:
            weights_of(folder / "killed")
            os._exit(0)
        time.sleep(float(moment))
        os.kill(pid, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    print(weights_of(folder / "killed"))
    print(killed)


if __name__ == "__main__":
    main()
