"""All weights fit, or none are loaded and the report names those that do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_patchioner.checkpoints import fit
from napari_patchioner.errors import ModelError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 2)
        self.two = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.two(self.one(x)))


def state() -> dict[str, torch.Tensor]:
    dice = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(value.shape, generator=dice) + 0.5 if value.ndim else value
        for name, value in Net().state_dict().items()
    }


def refused(weights: dict[str, torch.Tensor], **options: object) -> str:
    """The report, and the network must be as it was."""
    net = Net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        fit(net, weights, source="here.pt", **options)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training
    return str(caught.value)


def test_weights_are_loaded():
    weights = state()
    net = fit(Net(), weights, source="here.pt")
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_a_network_on_no_device_is_filled():
    with torch.device("meta"):
        net = Net()
    net = fit(net, state(), source="here.pt")
    assert not any(value.is_meta for value in net.state_dict().values())
    assert torch.isfinite(net(torch.ones(1, 3))).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_becomes_single(dtype):
    weights = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in state().items()
    }
    net = fit(Net(), weights, source="here.pt")
    assert net.one.weight.dtype == torch.float32
    assert torch.equal(net.one.weight, weights["one.weight"].float())


def test_missing_unexpected_and_misshapen_weights_are_named():
    weights = state()
    del weights["two.bias"]
    weights["three.weight"] = torch.ones(1)
    weights["one.weight"] = torch.ones(4, 3)
    report = refused(weights)
    assert report.startswith("here.pt does not fit: ")
    assert "missing: two.bias" in report
    assert "unexpected: three.weight" in report
    assert "of another shape: one.weight (4, 3) instead of (2, 3)" in report
    assert report.endswith("Choose the matching file.")


def test_a_swapped_file_names_a_few_and_counts_the_rest():
    strangers = {f"transformer.layer.{number}.weight": torch.ones(1) for number in range(40)}
    report = refused(strangers)
    assert "and 36 more" in report
    assert len(report) < 500


def test_names_that_may_come_along_or_be_missing():
    weights = state() | {"one.attn.bias": torch.ones(1), "extra": torch.ones(1)}
    del weights["norm.num_batches_tracked"]
    fit(Net(), weights, source="here.pt", ignore=("*.attn.bias", "extra"), optional=("norm.num*",))
    assert "unexpected: extra" in refused(weights, ignore=("*.attn.bias",), optional=("norm.*",))
    assert "missing: norm.num_batches_tracked" in refused(weights, ignore=("*.bias", "extra"))


@pytest.mark.parametrize("wild", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(wild):
    weights = state()
    weights["two.weight"][1, 0] = wild
    assert "not finite in two.weight" in refused(weights)


def test_half_precision_that_overflows_is_refused():
    weights = state()
    weights["two.weight"] = torch.full((2, 2), 1e6).half()
    assert "not finite in two.weight" in refused(weights)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.ones(2, 2, dtype=torch.int8), "int8 instead of float32"),
        (torch.ones(2, 2, dtype=torch.complex64), "complex64 instead of float32"),
        (torch.ones(2, 2).to_sparse(), "float32 sparse instead of float32"),
    ],
    ids=["packed", "complex", "sparse"],
)
def test_weights_of_another_type_are_refused(value, kind):
    assert f"of another type: two.weight {kind}" in refused(state() | {"two.weight": value})
