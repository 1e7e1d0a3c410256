"""The published memory projection, retrieval and context cleaning."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_patchioner.bridges import MemoryBank, clean_context, unit_rows

if TYPE_CHECKING:
    from .conftest import Case

PROJECTED = re.compile(r"(raw|unit)_bank_final_l2_([01])_tau_([\d.]+)")


def memory(case: Case) -> MemoryBank:
    stored = case.inputs["bank"]
    texts = case.texts_in.get("texts") or [str(row) for row in range(len(stored))]
    return MemoryBank.from_arrays(texts, stored)


@pytest.mark.cases("02_memory/project_*", "02_memory/zero_rows")
@pytest.mark.parametrize("top_k", [None, 10**9])
def test_projection(case: Case, top_k: int | None) -> None:
    bank = memory(case)
    outputs = [found for name in case.expected if (found := PROJECTED.fullmatch(name))]
    assert outputs
    for output in outputs:
        rows, scaled, temperature = output.groups()
        projected = bank.project(
            case.inputs["queries"],
            float(temperature),
            unit=rows == "unit",
            normalize=scaled == "1",
            top_k=top_k,
        )
        case.check(output.group(), projected)


@pytest.mark.cases("02_memory/project_*")
def test_projection_from_disk_in_chunks(
    case: Case, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, texts = case.inputs["bank"], case.texts_in["texts"]
    monkeypatch.setattr("napari_patchioner.bridges.memory._CHUNK", 1 + len(stored) // 7)
    parts = np.array_split(np.arange(len(stored)), 5)
    bank = MemoryBank.build(
        tmp_path_factory.mktemp("bank") / "memory",
        (([texts[row] for row in part], stored[part]) for part in parts),
        dtype="float32",
    )
    case.check(
        "raw_bank_final_l2_1_tau_0.01", bank.project(case.inputs["queries"], temperature=0.01)
    )


@pytest.mark.cases("02_memory/project_*")
def test_nearest_sentences(case: Case) -> None:
    bank, texts = memory(case), case.texts_in["texts"]
    cosines = case.expected["raw_bank_top5_cosines"]
    found = bank.nearest(case.inputs["queries"], cosines.shape[1])
    case.check("raw_bank_top5_cosines", [[cosine for _, cosine in near] for near in found])
    for rows in ("raw", "unit"):
        best = case.expected[f"{rows}_bank_best_index"]
        assert [near[0][0] for near in found] == [texts[row] for row in best]
        # Scaling the rows changes no angle, so both rankings are one.
        case.check(f"{rows}_bank_top5_cosines", [[cosine for _, cosine in near] for near in found])
    case.check("best_margin", [near[0][1] - near[1][1] for near in found])


@pytest.mark.cases("02_memory/project_*")
def test_largest_share(case: Case) -> None:
    """A memory of one-hot rows would tell the weights; here they follow from the cosines."""
    found = memory(case).nearest(case.inputs["queries"], len(case.inputs["bank"]))
    cosines = np.array([[cosine for _, cosine in near] for near in found], np.float64)
    shares = np.exp((cosines - cosines[:, :1]) / 0.01)
    case.check("alpha_tau0.01_max", 1 / shares.sum(axis=1))


@pytest.mark.cases("02_memory/zero_rows")
def test_rows_of_zeros_do_not_shift_the_texts(case: Case) -> None:
    found = memory(case).nearest(case.inputs["queries"], 1)
    assert [near[0][0] for near in found] == case.texts_out["correct_best_text"]
    texts, best = case.texts_in["texts"], case.expected["correct_best_index_in_full_bank"]
    assert [near[0][0] for near in found] == [texts[row] for row in best]


@pytest.mark.cases("02_memory/context_cleaning")
def test_context_cleaning(case: Case) -> None:
    bank = memory(case)
    tokens, context = case.inputs["tokens"], case.inputs["context"]
    projected = np.stack([bank.project(rows) for rows in tokens])
    projected_context = bank.project(context)
    case.check("projected_tokens", projected)
    case.check("projected_context", projected_context)

    def cleaned(
        rows: np.ndarray, wholes: np.ndarray, how: str = "orthogonal", strength: float = 1.0
    ) -> np.ndarray:
        pairs = zip(rows, wholes, strict=True)
        return np.stack([clean_context(r, w, how=how, strength=strength) for r, w in pairs])

    for name in case.expected:
        if match := re.fullmatch(r"orthogonal_after_projection_alpha([\d.]+)", name):
            strength = float(match[1])
            case.check(name, cleaned(projected, projected_context, strength=strength))
        elif match := re.fullmatch(r"orthogonal_before_projection_alpha([\d.]+)_.*", name):
            strength = float(match[1])
            case.check(name, cleaned(unit_rows(tokens), context, strength=strength))
    case.check(
        "contrastive_mask_after_projection",
        cleaned(projected, projected_context, how="contrastive"),
    )
