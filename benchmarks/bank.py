"""Averages of memory banks: rows times regions, beside the same in single precision.

The baseline holds all rows in single precision and takes two matrix products and a softmax, as
the formula is written; the banks lie on disk in half precision. Rows are random around a mean, as
those of captions lie, and so are the regions ("spread": thousands of rows count), or they are near
some rows ("near": few count).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .rows import Row, in_turn, peak

if TYPE_CHECKING:
    from collections.abc import Iterator

DIM, TEMPERATURE = 768, 0.01
SIZES, REGIONS = (23_000, 100_000, 591_753), (1, 64, 1024)


def rows(threads: int, quick: bool) -> list[Row]:
    """Measure banks of all sizes."""
    import torch

    torch.set_num_threads(threads)
    told = []
    for count in SIZES[: 1 if quick else None]:
        with tempfile.TemporaryDirectory(prefix="bank-") as place:
            folder = Path(place) / "bank"
            build(folder, count)
            told += compare(folder, count)
            # Of a process that only reads, for this one holds everything in single precision.
            command = [sys.executable, "-m", "benchmarks.bank", str(folder), str(threads)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            told.append(Row(f"{count:,} rows, memory of a process", float(done.stdout), "GB"))
    return told


def build(folder: Path, count: int) -> None:
    """Write a bank of random rows around a mean."""
    from napari_patchioner.bridges import MemoryBank

    MemoryBank.build(folder, sentences(count))


def sentences(count: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """Random embeddings around a common mean, as those of captions lie."""
    generator = np.random.default_rng(0)
    mean = generator.standard_normal(DIM, np.float32)
    for first in range(0, count, 8192):
        size = min(8192, count - first)
        texts = [f"sentence number {first + place}" for place in range(size)]
        yield texts, mean + generator.standard_normal((size, DIM), np.float32)


def queries(bank: np.ndarray, count: int, kind: str) -> np.ndarray:
    """Return vectors of regions, (count, DIM): random, or near rows of the bank."""
    generator = np.random.default_rng(1)
    noise = generator.standard_normal((count, DIM), np.float32)
    if kind == "spread":
        return noise
    chosen = np.asarray(bank[generator.integers(0, len(bank), count)], np.float32)
    return chosen + 1.5 * noise * np.linalg.norm(chosen, axis=1, keepdims=True) / DIM**0.5


def compare(folder: Path, count: int) -> list[Row]:
    """Time the bank and the formula, and say how far apart their results are."""
    import torch

    from napari_patchioner.bridges import MemoryBank

    bank = MemoryBank.open(folder)
    stored = torch.from_numpy(np.asarray(bank.embeddings)).float()
    lengths = stored.norm(dim=1)

    def formula(vectors: np.ndarray) -> np.ndarray:
        unit = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=1)
        weights = torch.softmax(unit @ stored.T / lengths / TEMPERATURE, dim=1)
        return torch.nn.functional.normalize(weights @ stored, dim=1).numpy()

    told = []
    for regions in REGIONS:
        for kind in ("spread", "near"):
            vectors = queries(bank.embeddings, regions, kind)
            # A thousand regions at once would take the formula 2.4 GB for each matrix.
            parts = np.array_split(vectors, max(1, regions // 64))
            results: dict[str, np.ndarray] = {}

            def bank_work(vectors=vectors, results=results) -> None:
                results["ours"] = bank.recall(vectors, TEMPERATURE)[0]

            def formula_work(parts=parts, results=results) -> None:
                results["exact"] = np.concatenate([formula(part) for part in parts])

            ours, plain = in_turn([bank_work, formula_work], 1 if regions > 64 else 3)
            apart = float(np.abs(results["ours"] - results["exact"]).max())
            told.append(
                Row(
                    f"{count:,} rows, {regions} region{'s' * (regions > 1)}, {kind}",
                    ours,
                    against="single precision in memory",
                    baseline=plain,
                    note=f"apart {apart:.0e}",
                )
            )
    return told


def main() -> None:
    """Tell how much memory reading a bank takes."""
    import torch

    from napari_patchioner.bridges import MemoryBank

    torch.set_num_threads(int(sys.argv[2]))
    bank = MemoryBank.open(sys.argv[1])
    for regions in (1, 64):
        bank.recall(queries(bank.embeddings, regions, "spread"), TEMPERATURE)
    print(peak())


if __name__ == "__main__":
    main()
