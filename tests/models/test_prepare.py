"""What is made of published files: stamped, whole, or not there at all."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import torch
from published.presets import OWN, with_own_sentences, write_preset_files

from napari_patchioner.backbones.talk2dino import KNOWN_PROJECTIONS, Projection
from napari_patchioner.bridges import EntityTable, MemoryBank, coco_names
from napari_patchioner.checkpoints import read_notes
from napari_patchioner.decoders import PrefixGPT
from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.models.assemble import assemble
from napari_patchioner.models.catalog import presets
from napari_patchioner.models.prepare import prepare, read_meacap_memory
from napari_patchioner.models.preset import Conversion, Part, PresetFile

if TYPE_CHECKING:
    from pathlib import Path

    from napari_patchioner.models.preset import Preset

RELEASED = [f"talk2dino-b-{name}" for name in ("decap", "capdec", "viecap", "meacap")]


def tiny(name: str) -> Preset:
    """A preset that answers for no published projection, since its weights are random."""
    preset = with_own_sentences(presets()[name])
    return replace(preset, provenance={}) if "projection" in preset.files else preset


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Write a preset's files, once for each."""
    written: dict[str, dict[str, Path]] = {}

    def files(name: str) -> dict[str, Path]:
        if name not in written:
            folder = tmp_path_factory.mktemp(name)
            written[name] = write_preset_files(tiny(name), folder)
        return dict(written[name])

    return files


@pytest.fixture(scope="module")
def prepared(published, tmp_path_factory):
    """Prepare a preset, once for all that only read what was made."""
    return cache(
        lambda name: prepare(tiny(name), published(name), tmp_path_factory.mktemp("made") / name)
    )


def nothing_left(folder: Path) -> bool:
    return not list(folder.iterdir())


@pytest.mark.parametrize("name", RELEASED)
def test_everything_made_says_its_projection(name, published, prepared):
    preset, raw, files = tiny(name), published(name), prepared(name)
    stamp = preset.provenance.get("projection")
    if "projection" in raw:
        stamp = Projection.open(raw["projection"]).hash
    assert stamp
    assert PrefixGPT.open(files["decoder"]).notes["projection"] == stamp
    if "bank" in files:
        assert MemoryBank.open(files["bank"]).provenance["projection"] == stamp
    if "entities" in files:
        assert EntityTable.open(files["entities"]).provenance["projection"] == stamp
    assert all(files[role] == path for role, path in raw.items())


def test_a_bank_holds_the_published_captions_and_vectors(published, prepared):
    raw = published("talk2dino-b-decap")
    bank = MemoryBank.open(prepared("talk2dino-b-decap")["bank"])
    with h5py.File(raw["memory"]) as file:
        texts = [text.decode() for text in file["coco_captions-text"]]
        vectors = file["coco_captions-embeddings"][:]
    assert list(bank.captions) == texts
    assert bank.embeddings.dtype == np.float16
    np.testing.assert_allclose(bank.embeddings, vectors, atol=2e-3)


def test_a_meacap_memory_holds_the_published_captions_and_vectors(published, prepared):
    raw = published("talk2dino-b-meacap")
    bank = MemoryBank.open(prepared("talk2dino-b-meacap")["bank"])
    texts = json.loads((raw["memory"] / "memory_captions.json").read_text(encoding="utf-8"))
    vectors = torch.load(raw["memory"] / "memory_clip_embeddings.pt", weights_only=True)
    assert list(bank.captions) == texts
    np.testing.assert_allclose(bank.embeddings, vectors.numpy(), atol=2e-3)


def test_entities_are_the_coco_names_in_the_space_of_the_patches(prepared):
    files = prepared("talk2dino-b-viecap")
    table = EntityTable.open(files["entities"])
    assert list(table.names) == coco_names()
    tower = assemble(tiny("talk2dino-b-viecap"), files).backbone
    again = EntityTable.build(coco_names()[:3], tower.embed_text)
    np.testing.assert_allclose(table.embeddings[:3], again.embeddings, atol=1e-5)


def test_sentences_are_embedded_by_the_models_own_text_tower(published, prepared):
    raw, files = published("maskclip-b16"), prepared("maskclip-b16")
    bank = MemoryBank.open(files["bank"])
    assert list(bank.captions) == raw[OWN].read_text(encoding="utf-8").splitlines()
    tower = assemble(tiny("maskclip-b16"), files).backbone
    assert bank.provenance == tower.provenance
    np.testing.assert_allclose(
        bank.embeddings, tower.embed_text(list(bank.captions)), atol=1e-2, rtol=1e-2
    )


def test_the_packages_own_sentences_are_used_where_nobody_gives_others(
    published, tmp_path, monkeypatch
):
    few = tmp_path / "few.txt"
    few.write_text("A cat\nA dog\n", encoding="utf-8")
    monkeypatch.setattr("napari_patchioner.models.prepare.SHIPPED", few)
    preset = presets()["maskclip-b16"]
    files = prepare(preset, published("maskclip-b16"), tmp_path / "made")
    assert list(MemoryBank.open(files["bank"]).captions) == ["A cat", "A dog"]
    for content in (b"", b"\n42\n", b"\x89PNG\0"):
        few.write_bytes(content)
        with pytest.raises(ModelError, match=r"few\.txt(:| holds no sentence)"):
            prepare(preset, published("maskclip-b16"), tmp_path / "none")


def test_a_clipcap_decoder_is_converted_and_stamped_too(published, tmp_path):
    from published import clipcap

    preset = tiny("talk2dino-b-capdec")
    files = clipcap.write(tmp_path / "clipcap", dim=32)
    own = {"checkpoint": (PresetFile("", "c.pt"),), "tokenizer": (PresetFile("", "gpt2"),)}
    preset = replace(
        preset,
        files={**preset.files, **own},
        conversions=(Conversion("decoder", "clipcap", "checkpoint"),),
        decoder=Part("clipcap", {"weights": "decoder", "tokenizer": "tokenizer"}),
    )
    raw = published("talk2dino-b-capdec")
    raw |= {"checkpoint": files["weights"], "tokenizer": files["tokenizer"]}
    made = prepare(preset, raw, tmp_path / "made")
    assert PrefixGPT.open(made["decoder"]).notes["projection"] == preset.provenance["projection"]


def test_progress_never_goes_back_and_ends_at_the_whole(published, tmp_path):
    seen: list[tuple[float, str]] = []
    name = "talk2dino-b-decap"
    prepare(tiny(name), published(name), tmp_path / "made", lambda *told: seen.append(told))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] == 1
    assert all(message for _, message in seen)


@pytest.mark.parametrize("name", ["talk2dino-b-decap", "talk2dino-b-viecap", "maskclip-b16"])
def test_a_stop_at_any_moment_leaves_nothing(name, published, tmp_path):
    raw, told = published(name), []
    prepare(tiny(name), raw, tmp_path / "made", lambda *report: told.append(report))
    (tmp_path / "stopped").mkdir()
    for moment in range(len(told)):
        calls = iter(range(len(told)))

        def stop(share: float, message: str, calls=calls, moment=moment) -> None:
            if next(calls) == moment:
                raise Cancelled

        with pytest.raises(Cancelled):
            prepare(tiny(name), raw, tmp_path / "stopped" / "made", stop)
        assert nothing_left(tmp_path / "stopped")


def _cut(path: Path, folder: Path) -> Path:
    short = folder / path.name
    short.write_bytes(path.read_bytes()[:200])
    return short


def test_a_file_that_was_cut_short_leaves_nothing(published, tmp_path):
    (tmp_path / "store").mkdir()
    for name, role in (("decap", "checkpoint"), ("decap", "memory"), ("viecap", "projection")):
        raw = published(f"talk2dino-b-{name}")
        raw[role] = _cut(raw[role], tmp_path)
        with pytest.raises(ModelError, match="get it again"):
            prepare(tiny(f"talk2dino-b-{name}"), raw, tmp_path / "store" / "made")
        assert nothing_left(tmp_path / "store")


def test_a_decoder_of_other_vectors_is_told_when_it_is_got(published, tmp_path):
    from published import decap

    (tmp_path / "store").mkdir()
    raw = published("talk2dino-b-capdec")
    raw["checkpoint"] = decap.write(tmp_path / "other", dim=16)["weights"]
    with pytest.raises(ModelError, match="makes vectors of length 32 but the decoder reads 16"):
        prepare(tiny("talk2dino-b-capdec"), raw, tmp_path / "store" / "made")
    assert nothing_left(tmp_path / "store")


def test_the_projection_must_be_the_one_the_preset_answers_for(published, tmp_path):
    preset = presets()["talk2dino-b-viecap"]
    with pytest.raises(ModelError) as caught:
        prepare(preset, published("talk2dino-b-viecap"), tmp_path / "made")
    assert KNOWN_PROJECTIONS[preset.provenance["projection"]] in str(caught.value)
    assert nothing_left(tmp_path)


def test_an_older_folder_stays_until_the_new_one_is_whole(published, tmp_path):
    name, raw = "talk2dino-b-capdec", published("talk2dino-b-capdec")
    folder = tmp_path / "made"
    prepare(tiny(name), raw, folder)
    before = (folder / "decoder.safetensors").read_bytes()
    broken = raw | {"checkpoint": _cut(raw["checkpoint"], tmp_path)}
    with pytest.raises(ModelError):
        prepare(tiny(name), broken, folder)
    assert (folder / "decoder.safetensors").read_bytes() == before
    (folder / "stale.txt").write_text("old", encoding="utf-8")
    files = prepare(tiny(name), raw, folder)
    assert read_notes(files["decoder"])
    assert [path.name for path in folder.iterdir()] == ["decoder.safetensors"]


def test_a_missing_role_is_named(published, tmp_path):
    raw = published("talk2dino-b-capdec")
    del raw["merges"]
    with pytest.raises(ModelError, match=r"talk2dino-b-capdec lacks its files 'merges'"):
        prepare(tiny("talk2dino-b-capdec"), raw, tmp_path / "made")


def test_a_backbone_without_a_text_tower_cannot_embed_sentences(published, tmp_path):
    preset = replace(tiny("talk2dino-b-capdec"), conversions=(Conversion("bank", "sentences"),))
    with pytest.raises(ModelError, match="has no text tower to embed with"):
        prepare(preset, published("talk2dino-b-capdec"), tmp_path / "made")
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("captions", "tensor", "words"),
    [
        ("[1, 2]", torch.ones(2, 3), "must be a list of captions"),
        ("{", torch.ones(2, 3), "missing or damaged"),
        ('["a", "b"]', torch.ones(3, 3), "one vector for each of the 2 captions"),
        ('["a", "b"]', torch.ones(2), "one vector for each of the 2 captions"),
        ('["a"]', {"a": torch.ones(1, 3), "b": torch.ones(1, 3)}, "one vector for each"),
    ],
)
def test_a_meacap_memory_that_does_not_fit(tmp_path, captions, tensor, words):
    (tmp_path / "memory_captions.json").write_text(captions, encoding="utf-8")
    torch.save(tensor, tmp_path / "memory_clip_embeddings.pt")
    with pytest.raises(ModelError, match=words):
        list(read_meacap_memory(tmp_path))
