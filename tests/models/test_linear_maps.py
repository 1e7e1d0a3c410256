"""A linear map joins an encoder with the decoder of another, and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from published import clip, decap

from napari_patchioner.backbones.clip import MaskClip
from napari_patchioner.bridges import LinearMap, MemoryBank
from napari_patchioner.checkpoints import read_state
from napari_patchioner.decoders import prefix_gpt_from_decap
from napari_patchioner.errors import ModelError
from napari_patchioner.models import Part, combine
from napari_patchioner.regions import Box, WholeImage

OTHER = {"text": "clip-text-32-of-another"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("linear")
    files = clip.write(folder / "clip", dim=24)
    own = dict(MaskClip.open(files).provenance)
    matrix = np.random.default_rng(0).normal(size=(24, 32))
    LinearMap(matrix, source=own, target=OTHER).save(folder / "map.safetensors")
    source = decap.write(folder / "published", dim=32)["weights"]
    decoder = prefix_gpt_from_decap(read_state(source), source=source)
    decoder.save(folder / "decoder.safetensors", **OTHER)
    vectors = MaskClip.open(files).embed_text(["a cell", "a dog"])
    MemoryBank.build(folder / "bank", [(["a cell", "a dog"], vectors)], provenance=own)
    more = {name: folder / f"{name}.safetensors" for name in ("map", "decoder")}
    merges = files["clip"] / "merges.txt"
    return files | more | {"bank": folder / "bank", "merges": merges}


def joined(files: dict[str, Path], bank: bool = False, **options):
    roles = {"map": "map"} | ({"bank": "bank"} if bank else {})
    parts = (
        Part("maskclip", {"clip": "clip"}),
        Part("linear", roles),
        Part("decap", {"weights": "decoder", "merges": "merges"}),
    )
    return combine(*parts, files, **options)


@pytest.mark.parametrize("bank", [False, True])
def test_a_decoder_serves_another_encoder(files, bank):
    captioner = joined(files, bank)
    picture = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
    grid = captioner.encode(picture)
    captions = captioner.caption(grid, [Box(0, 0, 20, 30), WholeImage()], max_tokens=4)
    assert len(captions) == 2
    assert [len(caption.neighbours) for caption in captions] == [2 * bank] * 2


def test_what_was_fitted_for_others_is_refused(files, tmp_path):
    def changed(**stamps):
        path = tmp_path / "map.safetensors"
        own = LinearMap.open(files["map"])
        stamps = {"source": own.source, "target": own.target} | stamps
        LinearMap(own.matrix, **stamps).save(path)
        return joined(files | {"map": path})

    changed()
    with pytest.raises(ModelError, match="that of the linear map is clip-text-24-x"):
        changed(source={"text": "clip-text-24-x"})
    with pytest.raises(ModelError, match="linear map and the decoder do not belong together"):
        changed(target={"text": "clip-text-32-x"})
    with pytest.raises(ModelError, match="fitted for vectors with the projection"):
        changed(source={"projection": "f" * 64})
    with pytest.raises(ModelError, match="linear map and the preset do not belong together"):
        joined(files, provenance={"text": "nobody's"})


def test_lengths_have_to_fit(files, tmp_path):
    path = LinearMap(np.eye(24)).save(tmp_path / "map.safetensors")
    with pytest.raises(ModelError, match="linear map makes vectors of length 24 but"):
        joined(files | {"map": path})
    path = LinearMap(np.eye(32)).save(tmp_path / "map.safetensors")
    with pytest.raises(ModelError, match="vectors of length 24 but the linear map reads 32"):
        joined(files | {"map": path})


def test_sentences_of_another_encoder_are_refused(files, tmp_path):
    vectors = np.random.default_rng(2).normal(size=(2, 24))
    stamp = {"text": "somebody's"}
    MemoryBank.build(tmp_path / "bank", [(["a", "b"], vectors)], provenance=stamp)
    with pytest.raises(ModelError, match="memory bank"):
        joined(files | {"bank": tmp_path / "bank"}, bank=True)
