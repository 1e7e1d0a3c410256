from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.errors import FormatError, ModelError
from napari_patchioner.training import Noise, estimate_noise


def test_noise_is_that_of_the_formula():
    vectors = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]])
    torch.manual_seed(7)
    drawn = torch.randn(2, 3).numpy()
    torch.manual_seed(7)
    noisy = Noise.of_variance(0.016)(vectors).numpy()
    unit = np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    expected = unit + np.sqrt(0.016) * drawn
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(noisy, expected, atol=1e-6)
    # Golden: what the published order of operations gives for these very numbers.
    np.testing.assert_allclose(drawn[0], [-0.1468, 0.7861, 0.9468], atol=1e-4)


def test_how_far_noise_leads_away_is_known():
    # cos(x, x + n) = (1 + e) / sqrt(...), which for many dimensions tends to 1/sqrt(1 + d s^2).
    vectors = torch.nn.functional.normalize(torch.randn(2000, 512), dim=1)
    cosines = (Noise(0.08)(vectors) * vectors).sum(1)
    assert cosines.mean() == pytest.approx((1 + 512 * 0.08**2) ** -0.5, abs=0.01)


@given(std=st.floats(0, 2), scale=st.floats(0.01, 100))
def test_lengths_do_not_matter_before_nor_after(std, scale):
    vectors = torch.arange(1.0, 13.0).reshape(3, 4)
    torch.manual_seed(0)
    first = Noise(std)(vectors)
    torch.manual_seed(0)
    torch.testing.assert_close(Noise(std)(vectors * scale), first, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(3))


def test_it_is_estimated_from_captions_of_the_same_image(tmp_path):
    groups = [np.eye(3)[[0, 1]], [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [1.0, 0.0, 0.0]]]
    # Largest differences of any number: 1; 0.8, 0, 0.8.
    assert Noise.estimated(groups).std == pytest.approx(2.6 / 4)
    with pytest.raises(ModelError, match="No image has two captions"):
        Noise.estimated([np.eye(3)[:1]])

    def embed(texts):
        return np.array([[len(text), 1.0] for text in texts], np.float32)

    rows = [(1, "ab"), (2, "abc"), (1, "abcd"), (3, "alone")]
    annotations = [{"image_id": image, "caption": text} for image, text in rows]
    (tmp_path / "coco.json").write_text(json.dumps({"annotations": annotations}))
    lines = "".join(f"{image},{text}\n" for image, text in rows)
    (tmp_path / "table.csv").write_text(f"image,caption\n{lines}")
    expected = Noise.estimated([embed(["ab", "abcd"])])
    assert estimate_noise(tmp_path / "coco.json", embed) == expected
    assert estimate_noise(tmp_path / "table.csv", embed) == expected
    for name, text in (("other.csv", "a,b\n1,2\n"), ("a.txt", "a, b\nc\n"), ("a.json", "[]")):
        (tmp_path / name).write_text(text)
        with pytest.raises(FormatError, match="columns image and caption"):
            estimate_noise(tmp_path / name, embed)


def test_a_spread_below_nothing_is_refused():
    with pytest.raises(ModelError, match="0 or more"):
        Noise(-1.0)
    for variance in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ModelError, match="variance of 0 or more"):
            Noise.of_variance(variance)
