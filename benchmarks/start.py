"""What importing the package and loading the embedded model cost, beside what they stand on.

Every figure is the fastest of several fresh interpreters, run by turns.
"""

from __future__ import annotations

import subprocess
import sys

from .rows import Row

STEPS = {
    "import napari_patchioner": ("import napari_patchioner", "import numpy", "import numpy"),
    "the command line's help": (
        "from napari_patchioner.__main__ import main; main(['--version'])",
        "import numpy",
        "import numpy",
    ),
    "the model, with its libraries": (
        "import napari_patchioner; napari_patchioner.load_model('mini')",
        "import torch",
        "import torch",
    ),
}
TIMED = (
    "import time, sys, io; out = sys.stdout; sys.stdout = io.StringIO(); s = time.perf_counter()\n"
    "try:\n {code}\nexcept SystemExit:\n pass\n"
    "print(time.perf_counter() - s, 'torch' in sys.modules, file=out)"
)


def rows(threads: int, quick: bool) -> list[Row]:
    """Measure all steps and what they are compared with."""
    told = []
    for name, (code, against, other) in STEPS.items():
        pairs = [(run(code), run(other)) for _ in range(1 if quick else 5)]
        told.append(
            Row(
                name,
                min(ours[0] for ours, _ in pairs),
                against=against,
                baseline=min(base[0] for _, base in pairs),
                note="with torch" if pairs[0][0][1] else "without torch",
            )
        )
    return told


def run(code: str) -> tuple[float, bool]:
    """Run code in a fresh interpreter; return the seconds, and whether it loaded torch."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(code=code)], check=True, capture_output=True, text=True
    )
    seconds, torch = done.stdout.split()
    return float(seconds), torch == "True"
