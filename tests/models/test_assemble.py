"""Parts that belong together become a model; others are told apart before the first caption."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from published import clip, decap, gpt2, talk2dino, viecap

from napari_patchioner.backbones.talk2dino import KNOWN_PROJECTIONS, Projection
from napari_patchioner.bridges import EntityTable, MemoryBank
from napari_patchioner.checkpoints import read_state
from napari_patchioner.decoders import prefix_gpt_from_decap
from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.models import Part, combine
from napari_patchioner.models.assemble import assemble, check_provenance, describe
from napari_patchioner.models.preset import Preset
from napari_patchioner.regions import Box, WholeImage

if TYPE_CHECKING:
    from pathlib import Path

DIM, TEXT_DIM = 32, 24
OLD, NEW = (
    next(digest for digest, name in KNOWN_PROJECTIONS.items() if words in name)
    for words in ("before July 2025", "corrected in July 2025")
)


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, Path]:
    """Two projections for one DINO, and files made behind the first of them."""
    folder = tmp_path_factory.mktemp("published")
    files = talk2dino.write(folder / "t2d", dim=DIM, text_dim=TEXT_DIM)
    files["other"] = talk2dino.write_projection(
        folder / "other.pth", seed=1, dim=DIM, text_dim=TEXT_DIM
    )
    files |= decap.write(folder / "decap", dim=DIM)
    files["narrow"] = decap.write(folder / "narrow", dim=16)["weights"]
    files |= gpt2.write(folder / "gpt2")
    files["viecap"] = viecap.write(folder / "viecap", dim=DIM)["weights"]
    stamp = {"projection": Projection.open(files["projection"]).hash}
    model = prefix_gpt_from_decap(read_state(files["weights"]))
    model.save(folder / "stamped.safetensors", **stamp)
    files["decoder"] = folder / "stamped.safetensors"
    vectors = np.random.default_rng(0).normal(size=(6, DIM))
    captions = [f"Caption {number}" for number in range(6)]
    for name, provenance in (("bank", stamp), ("unstamped bank", {})):
        files[name] = folder / name
        MemoryBank.build(files[name], [(captions, vectors)], provenance=provenance)
    table = EntityTable(captions, vectors, stamp)
    files["entities"] = table.save(folder / "entities.safetensors")
    return files


def preset(**changes: object) -> Preset:
    made = Preset(
        id="test",
        title="",
        note="",
        licence="",
        backbone=Part("talk2dino", {"vision": "vision", "projection": "projection"}, {"size": 56}),
        bridge=Part("memory", {"bank": "bank"}),
        decoder=Part("decap", {"weights": "decoder", "merges": "merges"}),
    )
    return replace(made, **changes)


def refused(made: Preset, files: dict[str, Path]) -> str:
    with pytest.raises(ModelError) as caught:
        assemble(made, files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def test_parts_of_one_projection_caption(published, picture):
    captioner = assemble(preset(options={"whole": "cls", "variance": 1.0}), published)
    assert captioner.name == "test"
    assert (captioner.pooling, captioner.whole, captioner.variance) == ("mean", "cls", 1.0)
    grid = captioner.encode(picture)
    captions = captioner.caption(grid, [Box(2, 2, 20, 30), WholeImage()], max_tokens=4)
    assert len(captions) == 2
    assert len(captions[0].neighbours) == 5


def test_reading_the_parts_is_told_and_can_be_stopped(published):
    told = []
    assemble(preset(), published, lambda done, message: told.append((done, message)))
    assert [message for _, message in told] == [
        f"reading the {part} of test" for part in ("backbone", "bridge", "decoder")
    ]
    assert [done for done, _ in told] == sorted(done for done, _ in told)

    def stop(done: float, message: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        assemble(preset(), published, stop)


@pytest.mark.parametrize(
    ("bridge", "noun"),
    [
        (Part("memory", {"bank": "bank"}), "memory bank"),
        (Part("retrieve", {"bank": "bank"}), "memory bank"),
        (Part("entities", {"entities": "entities"}), "entity table"),
        (Part("normalize"), "decoder"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_what_was_made_behind_another_projection_is_refused(published, bridge, noun):
    files = published | {"projection": published["other"]}
    message = refused(preset(bridge=bridge), files)
    assert f"The backbone and the {noun} do not belong together" in message
    assert "the projection of the backbone is an unknown projection" in message
    assert message.endswith(f"or make the {noun} again with this model.")


def test_a_preset_that_vouches_for_another_projection_is_refused(published):
    message = refused(preset(provenance={"projection": OLD}), published)
    assert "The backbone and the preset do not belong together" in message
    assert KNOWN_PROJECTIONS[OLD] in message


@pytest.mark.parametrize(
    ("role", "name", "noun"),
    [("decoder", "weights", "decoder"), ("bank", "unstamped bank", "memory bank")],
)
def test_what_says_nothing_is_refused_unless_the_preset_vouches_for_it(published, role, name, noun):
    files = published | {role: published[name]}
    message = refused(preset(), files)
    assert f"The {noun} does not say which projection it was made with" in message
    assert "convert the" in message
    stamp = Projection.open(published["projection"]).hash
    assemble(preset(provenance={"projection": stamp}), files)


def test_a_decoder_that_reads_longer_vectors_is_refused_at_once(published):
    files = published | {"decoder": published["narrow"]}
    message = refused(preset(), files)
    assert f"makes vectors of length {DIM} but the decoder reads 16" in message


def test_a_bank_of_other_vectors_is_refused_at_once(published, tmp_path):
    MemoryBank.build(tmp_path / "bank", [(["one"], np.ones((1, 8)))])
    message = refused(preset(), published | {"bank": tmp_path / "bank"})
    assert f"makes vectors of length {DIM} but the memory bank reads 8" in message


def test_an_option_the_part_does_not_have(published):
    made = preset(bridge=Part("memory", {"bank": "bank"}, {"temperture": 0.1}))
    message = refused(made, published)
    assert "The bridge 'memory' has no option 'temperture'; it knows: neighbours" in message


def test_a_role_without_a_file(published):
    files = {role: path for role, path in published.items() if role != "merges"}
    assert "The decoder 'decap' lacks its files 'merges'" in refused(preset(), files)


def test_a_swapped_file_is_named(published):
    files = published | {"decoder": published["projection"]}
    assert str(published["projection"]) in refused(preset(), files)


def test_a_file_of_wild_numbers_is_refused(published, tmp_path):
    state = read_state(published["weights"])
    state["clip_project.model.0.bias"][0] = torch.nan
    torch.save(state, tmp_path / "wild.pt")
    stamp = Projection.open(published["projection"]).hash
    made = preset(provenance={"projection": stamp})
    assert "not finite" in refused(made, published | {"decoder": tmp_path / "wild.pt"})


def test_parts_are_combined_without_a_preset(published, picture):
    captioner = combine(
        Part("talk2dino", {"vision": "vision", "projection": "projection"}, {"size": 42}),
        Part("retrieve", {"bank": "bank"}),
        Part("quote"),
        published,
        name="my combination",
        pooling="gaussian",
    )
    assert captioner.pooling == "gaussian"
    [caption] = captioner.caption(captioner.encode(picture), [Box(2, 2, 20, 30)])
    assert caption.text.startswith("Caption ")


def test_an_unstamped_decoder_goes_where_there_is_no_projection(published, tmp_path, picture):
    files = clip.write(tmp_path / "clip", dim=TEXT_DIM, patch=16)
    files |= decap.write(tmp_path / "decap", dim=TEXT_DIM)
    captioner = combine(
        Part("clip", {"clip": "clip"}, {"size": 64}),
        Part("normalize"),
        Part("decap", {"weights": "weights", "merges": "merges"}),
        files,
    )
    assert captioner.caption(captioner.encode(picture), [WholeImage()], max_tokens=3)


def test_the_viecap_decoder_needs_no_stamp_of_its_own_where_the_preset_vouches(published):
    stamp = Projection.open(published["projection"]).hash
    made = preset(
        bridge=Part("entities", {"entities": "entities"}),
        decoder=Part("viecap", {"weights": "viecap", "tokenizer": "tokenizer"}),
        provenance={"projection": stamp},
    )
    assemble(made, published)


def test_text_encoders_are_told_apart():
    bank = {"text": "clip-text-512-aaaa"}
    with pytest.raises(ModelError, match=r"text encoder of the backbone is siglip2, that of the b"):
        check_provenance([("backbone", {"text": "siglip2"}, False), ("bank", bank, True)], {})
    check_provenance([("backbone", bank, False), ("bank", bank, True)], {})
    check_provenance([("backbone", bank, False), ("bank", {}, True)], {})


def test_what_nobody_says_anything_of_goes_together():
    check_provenance([("backbone", {}, False), ("bank", {}, True), ("decoder", {}, True)], {})


def test_two_that_differ_are_refused_even_where_the_backbone_says_nothing():
    parts = [("backbone", {}, False)]
    parts += [("bank", {"projection": OLD}, True), ("decoder", {"projection": NEW}, True)]
    with pytest.raises(ModelError, match="The bank and the decoder do not belong together"):
        check_provenance(parts, {})


def test_projections_are_called_by_the_names_people_know():
    assert "before July 2025" in describe(OLD)
    assert "corrected in July 2025" in describe(NEW)
    assert describe("clip-text-512-aaaa") == "clip-text-512-aaaa"


@pytest.mark.parametrize(
    ("group", "kind", "options", "words"),
    [
        ("backbone", "talk2dino", {"size": "56"}, "'size' of the backbone 'talk2dino' must be of"),
        ("backbone", "talk2dino", {"size": 56.0}, "must be of type int or None, not 56.0"),
        ("backbone", "talk2dino", {"size": True}, "must be of type int or None, not True"),
        ("bridge", "memory", {"temperature": "warm"}, "must be of type float, not 'warm'"),
        ("bridge", "memory", {"unit": 1}, "must be of type bool, not 1"),
        ("bridge", "memory", {"top_k": "3"}, "must be of type int or None, not '3'"),
        ("bridge", "memory", {"top_k": 0}, "'top_k' of the bridge 'memory' must lie between 1 and"),
        ("bridge", "memory", {"neighbours": 1.5}, "must be of type int, not 1.5"),
        ("decoder", "decap", {"heads": "4"}, "must be of type int, not '4'"),
    ],
)
def test_an_option_of_another_type_is_told_before_the_first_caption(
    published, group, kind, options, words
):
    part = preset().parts[group]
    assert part.kind == kind
    made = preset(**{group: Part(kind, part.files, options)})
    assert words in refused(made, published)


def test_whole_numbers_and_none_are_options_too(published):
    bridge = Part("memory", {"bank": "bank"}, {"temperature": 1, "top_k": None})
    assert assemble(preset(bridge=bridge), published).name == "test"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colour": 1}, "must not have 'colour'; it takes: convention, max_tokens"),
        ({"max_tokens": -1}, "max_tokens must be a whole number from 1 to"),
        ({"variance": "wide"}, "variance must be a number"),
        ({"pooling": "median"}, "pooling must be one of mean"),
    ],
)
def test_a_combination_is_checked_like_a_preset(published, options, words):
    parts = preset().parts
    with pytest.raises(ModelError, match=words):
        combine(*parts.values(), published, **options)
