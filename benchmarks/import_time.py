"""What importing the package and loading a model cost, beside what they stand on.

``python benchmarks/import_time.py [--model mini] [--repeats 5]``

Every line is the fastest of several fresh interpreters; the ratio is to the line it is
compared with, measured in turn with it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

LOAD = "import napari_patchioner; napari_patchioner.load_model({model!r})"
STEPS = {
    "interpreter": ("pass", None),
    "import numpy": ("import numpy", None),
    "import napari_patchioner": ("import napari_patchioner", "import numpy"),
    "import torch": ("import torch", None),
    "load the model": (LOAD, "import torch"),
}
TIMED = "import time; s = time.perf_counter(); {code}; print(time.perf_counter() - s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    best: dict[str, float] = {}
    for _ in range(options.repeats):
        for name, (code, _) in STEPS.items():
            taken = seconds(code.format(model=options.model))
            best[name] = min(taken, best.get(name, taken))
    for name, (_, other) in STEPS.items():
        ratio = f"{best[name] / best[other]:6.2f} x {other}" if other else ""
        print(f"{name:26s} {best[name]:7.3f} s  {ratio}")


def seconds(code: str) -> float:
    """Time inside a fresh interpreter, its own start left out."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED.format(code=code)], check=True, capture_output=True, text=True
    )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
