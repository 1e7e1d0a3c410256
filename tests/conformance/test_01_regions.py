"""Regions, sets, traces and attention against the published code and the paper's formulas."""

from __future__ import annotations

import re

import numpy as np
import pytest

from napari_patchioner.backbones.base import class_attention
from napari_patchioner.errors import RegionError
from napari_patchioner.grids import FeatureGrid, GridTransform, pool
from napari_patchioner.regions import Box, PatchWeights, RegionSet, Trace, WholeImage, cover


def grid_of(tokens, transform, attention=None):
    shape = transform.grid_shape
    attention = None if attention is None else attention.reshape(shape)
    return FeatureGrid(tokens.reshape(*shape, -1), transform, key="golden", attention=attention)


def boxes_of(xywh):
    """Corner-based (x, y, w, h) to edges around pixel centres at integers."""
    return [Box(y - 0.5, x - 0.5, y + h - 0.5, x + w - 0.5) for x, y, w, h in xywh]


def square_grid(case, size_wh):
    n = case.params["grid"]
    return GridTransform((int(size_wh[1]), int(size_wh[0])), (n, n))


def ranges(weights):
    found = [
        (w.columns.min(), w.rows.min(), w.columns.max(), w.rows.max(), len(w.indices))
        for w in weights
    ]
    spans = np.array(found)
    sizes = (spans[:, 2] - spans[:, 0] + 1) * (spans[:, 3] - spans[:, 1] + 1)
    np.testing.assert_array_equal(sizes, spans[:, 4])
    return spans[:, :4]


def traces(case):
    return case.texts_in["traces"]


def variances(case, prefix):
    """Outputs named ``prefix`` + a number, and the numbers."""
    return {name: float(name.removeprefix(prefix)) for name in case.expected if prefix in name}


@pytest.mark.cases("01_regions/boxes_p*")
@pytest.mark.parametrize("convention", ["reference", "paper"])
def test_boxes(case, convention):
    transform = square_grid(case, case.params["image_size_wh"])
    grid = grid_of(case.inputs["tokens"], transform)
    boxes = boxes_of(case.inputs["boxes_xywh_image_px"])
    covers = [cover(box, transform, convention=convention) for box in boxes]
    firm = ~case.expected["border_sensitive"]
    name = {"reference": "reference", "paper": "paper_intersect"}[convention]
    case.check(f"{name}_patch_range_c0r0c1r1_inclusive", ranges(covers)[firm], firm)
    case.check(f"{name}_uniform", pool(grid, covers)[firm], firm)


@pytest.mark.cases("01_regions/boxes_p*")
def test_gaussian_boxes(case):
    transform = square_grid(case, case.params["image_size_wh"])
    grid = grid_of(case.inputs["tokens"], transform)
    boxes = boxes_of(case.inputs["boxes_xywh_image_px"])
    covers = [cover(box, transform, convention="reference") for box in boxes]
    firm = ~case.expected["border_sensitive"]
    for name, variance in variances(case, "reference_gaussian_var").items():
        case.check(name, pool(grid, covers, "gaussian", variance=variance)[firm], firm)


@pytest.mark.cases("01_regions/boxes_p*")
def test_boxes_in_resized_pixels(case):
    transform = square_grid(case, case.params["image_size_wh"])
    xywh = case.inputs["boxes_xywh_image_px"]
    low = transform.to_grid(xywh[:, 1::-1] - 0.5) * case.params["patch_size"]
    high = transform.to_grid((xywh[:, :2] + xywh[:, 2:])[:, ::-1] - 0.5) * case.params["patch_size"]
    resized = np.concatenate([low[:, ::-1], (high - low)[:, ::-1]], axis=1)
    case.check("boxes_resized_xywh", resized)


@pytest.mark.cases("01_regions/boxes_p*")
def test_boxes_under_a_centre_crop(case):
    # The reference scales both sides as the short one, though the long one is resized to whole
    # pixels, and rounds the offset down: each is good for up to one pixel of the input. It also
    # keeps the width of a box whose left part was cut off, so only corners are compared.
    width, height = case.params["image_size_wh"]
    size, patch = case.params["resize"], case.params["patch_size"]
    transform = GridTransform.centre_cropped((height, width), size, patch)
    corners = case.inputs["boxes_xywh_image_px"][:, 1::-1]
    ours = transform.to_grid(corners - 0.5)[:, ::-1] * patch
    theirs = case.expected["crop_mode_boxes_xywh"][:, :2]
    np.testing.assert_allclose(ours.clip(0, size - 1), theirs, atol=2)


@pytest.mark.cases("01_regions/boxes_outside*")
def test_boxes_partly_outside(case):
    transform = square_grid(case, case.params["image_size_wh"])
    grid = grid_of(case.inputs["tokens"], transform)
    expected = case.expected["paper_clip_then_intersect"]
    for row, box in enumerate(boxes_of(case.inputs["boxes_xywh_image_px"])):
        if np.isnan(expected[row]).any():
            with pytest.raises(RegionError, match="outside the image"):
                cover(box, transform)
        else:
            pooled = pool(grid, [cover(box, transform)])[0]
            case.check("paper_clip_then_intersect", pooled, row)


@pytest.mark.cases("01_regions/sets_*")
def test_sets(case):
    variance = variances(case, "reference_gaussian_var")
    for row, tokens in enumerate(case.inputs["tokens"]):
        transform = square_grid(case, case.inputs["image_sizes_wh"][row])
        grid = grid_of(tokens, transform)
        n = case.inputs["n_boxes"][row]
        boxes = tuple(boxes_of(case.inputs["boxes_xywh_image_px_padded"][row, :n]))
        reference = cover(RegionSet(boxes), transform, convention="reference")
        case.check("reference_mean_of_means", pool(grid, [reference])[0], row)
        for name, value in variance.items():
            case.check(name, pool(grid, [reference], "gaussian", variance=value)[0], row)
        paper = cover(RegionSet(boxes), transform)
        case.check("paper_eq1_sum_over_sum_intersect_ranges", pool(grid, [paper])[0], row)
        summed = PatchWeights.sum_of(cover(b, transform, convention="reference") for b in boxes)
        case.check("paper_eq1_sum_over_sum_reference_ranges", pool(grid, [summed])[0], row)
        means = PatchWeights.sum_of(cover(b, transform).normalised() for b in boxes)
        case.check("mean_of_means_intersect_ranges", pool(grid, [means])[0], row)


@pytest.mark.cases("01_regions/traces_*")
def test_traces(case):
    n = case.params["grid"]
    # A power of two as image size keeps the published code's division, x / (1 / n), to the bit.
    size = 2**20
    transform = GridTransform((size, size), (n, n))
    for row, trace in enumerate(traces(case)):
        points = np.array([[p["y"], p["x"]] for p in trace]).reshape(-1, 2) * size - 0.5
        drawn, grid = Trace(points), grid_of(case.inputs["tokens"][row], transform)
        if not case.expected["reference_counts_rowmajor"][row].any():
            with pytest.raises(RegionError):
                cover(drawn, transform, convention="reference")
            continue
        counted = cover(drawn, transform, convention="reference")
        case.check("reference_counts_rowmajor", counted.dense(), row)
        mean = pool(grid, [counted])[0]
        scaled = mean * (counted.total / n**2)
        case.check("reference_embedding_sum_over_n2", scaled, row)
        paper = cover(Trace(points, connected=False), transform)
        case.check("paper_eq2_count_weighted_mean", pool(grid, [paper])[0], row)
        once = cover(RegionSet((Trace(points, connected=False),), union=True), transform)
        case.check("variant_unique_patches_mean", pool(grid, [once])[0], row)


@pytest.mark.cases("01_regions/image_mean_*")
def test_whole_image(case):
    transform = square_grid(case, (case.params["grid"],) * 2)
    whole = [cover(WholeImage(), transform)]
    for row, tokens in enumerate(case.inputs["tokens"]):
        grid = grid_of(tokens, transform)
        case.check("plain_mean", pool(grid, whole)[0], row)
        # The published code calls a variance of 100 or more uniform.
        case.check("reference_var100_uniform", pool(grid, whole)[0], row)
        for name, value in variances(case, "reference_gauss_var").items():
            case.check(name, pool(grid, whole, "gaussian", variance=value)[0], row)
        if "reference_var0_centre" in case.expected:
            centre = pool(grid, whole, "gaussian", variance=0)[0]
            case.check("reference_var0_centre", centre, row)


def attention_maps(case, heads, *, per_head=False):
    skip, scale = case.params["global_tokens"], case.params["scale"]
    return np.stack(
        [
            class_attention(qkv, heads, skip, scale=scale, per_head=per_head)
            for qkv in case.inputs["qkv_last_block_output"]
        ]
    )


def splits(case):
    """Endings of the outputs' names, such as ``12heads``, and the number of heads in them."""
    endings = [name.removeprefix("attn_") for name in case.expected if name.startswith("attn_")]
    heads = {ending: re.match(r"(\d+)heads", ending) for ending in endings}
    return {ending: int(found[1]) for ending, found in heads.items() if found}


@pytest.mark.cases("01_regions/attention*")
def test_class_attention(case):
    tokens = case.inputs["tokens"]
    for ending, heads in splits(case).items():
        case.check(f"attn_{ending}", attention_maps(case, heads))
        maps = attention_maps(case, heads, per_head=True)
        case.check(f"per_head_embeddings_{ending}", maps @ tokens / tokens.shape[1])
        if (name := f"attn_maps_presoftmax_{ending}") in case.expected:
            # A softmax forgets what all logits of a head have in common.
            logits = np.log(maps)
            shift = (case.expected[name] - logits).mean(axis=-1, keepdims=True)
            case.check(name, logits + shift)


@pytest.mark.cases("01_regions/attention*")
def test_attention_pooling(case):
    # The *_inplace_quirk_* outputs, where one box disturbs the attention under the next, are a
    # bug and stay unmet. Boxes are given in resized pixels, of DINOv2's patches unless told.
    n = case.params["grid"]
    side = n * case.params.get("patch_size", 14)
    transform = GridTransform((side, side), (n, n))
    whole = cover(WholeImage(), transform)
    for ending, heads in splits(case).items():
        for row, attention in enumerate(attention_maps(case, heads)):
            grid = grid_of(case.inputs["tokens"][row], transform, attention)
            boxes = boxes_of(case.inputs["boxes_resized_xywh"][row].astype(float))
            covers = [cover(box, transform, convention="reference") for box in boxes]
            case.check(f"box_attn_{ending}", pool(grid, covers, "attention"), row)
            case.check(f"image_attn_{ending}", pool(grid, [whole], "attention")[0] / n**2, row)
            points = [(p["y"] * side - 0.5, p["x"] * side - 0.5) for p in traces(case)[row]]
            trace = cover(Trace(np.array(points)), transform, convention="reference")
            # Theirs is a sum over the size of the grid; ours a mean over the attention met.
            met = (trace.weights * attention[trace.indices]).sum() / n**2
            case.check(f"trace_attn_{ending}", pool(grid, [trace], "attention")[0] * met, row)
            if f"boxset_attn_no_inplace_{ending}" in case.expected:
                together = cover(RegionSet(tuple(boxes)), transform, convention="reference")
                clean = pool(grid, [together], "attention")[0]
                case.check(f"boxset_attn_no_inplace_{ending}", clean, row)
