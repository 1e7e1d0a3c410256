"""A model that is installed loads and captions in a fresh process that has no network at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tiny_presets
from published.presets import write_preset_files

from napari_patchioner.models.install import install

_CODE = """
import socket, sys
from napari_patchioner.models import catalog
from tiny_presets import tiny

presets = {name: tiny(name) for name in sys.argv[1:]}
catalog.presets = lambda: presets

def refuse(*args, **options):
    print("asked the network", args)
    sys.exit(3)

for name in ("connect", "connect_ex", "sendto", "sendmsg"):
    setattr(socket.socket, name, refuse)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, refuse)

from napari_patchioner.models import available_models, load_model
import numpy as np
from napari_patchioner.regions import WholeImage

for card in available_models():
    if card.id in presets:
        assert card.installed, card
        captioner = load_model(card.id)
        grid = captioner.encode(np.zeros((60, 60, 3), np.uint8))
        [caption] = captioner.caption(grid, [WholeImage()])
        print(captioner.name, type(caption.text).__name__)
"""


NAMES = ["siglip2-b16", "talk2dino-b-viecap"]


def test_a_fresh_process_needs_no_network(places):
    """Tokenizers, memories and entity tables come from the store; the environment says nothing."""
    for name in NAMES:
        preset = tiny_presets.tiny(name)
        write_preset_files(preset, places / name)
        install(preset, folder=places / name)
    support = str(Path(tiny_presets.__file__).parent)
    environment = {key: value for key, value in os.environ.items() if not key.endswith("_OFFLINE")}
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *NAMES],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONPATH": support},
    )
    assert sorted(done.stdout.splitlines()) == [f"{name} str" for name in NAMES], done.stderr
