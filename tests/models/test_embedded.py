import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from skimage import data

from napari_patchioner.errors import ModelError
from napari_patchioner.models import available_models, load_model
from napari_patchioner.models.embedded import FOLDER, HEADS, NEAR, SHARED, load_embedded
from napari_patchioner.regions import Box, Point, WholeImage

LARGEST = 45e6


def test_the_default_comes_first():
    cards = available_models()
    assert [card.id for card in cards[:2]] == ["mini", "mini-zeroshot"]
    assert "region-supervised" in cards[0].title
    assert all(card.installed and not card.to_get for card in cards[:2])
    assert all(card.size > 1e6 and card.note and card.licence for card in cards)


def test_everything_embedded_is_small_enough():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < LARGEST


def test_both_models_read_the_same_grid(mini):
    from skimage.data import cat

    grid = mini.encode(cat())
    for model in (mini, load_model("mini-zeroshot")):
        [whole, box] = model.caption(grid, [WholeImage(), Box(60, 150, 250, 350)])
        for caption in (whole, box):
            assert caption.text
            assert 0 <= caption.score <= 1
            assert caption.concepts[0][0] == "cat"


def test_small_regions_are_looked_at_twice_unless_no_close_up_is_asked_for(mini):
    grid = mini.encode(data.astronaut())
    small, large = Box(346, 132, 420, 200), Box(12, 22, 510, 362)
    twice = mini.caption(grid, [small, large])
    once = mini.caption(grid, [small, large], no_close_up=True)
    assert twice[0].concepts != once[0].concepts
    assert twice[1] == once[1]
    [alone] = mini.caption(grid, [small])
    assert (alone.text, alone.score) == (twice[0].text, pytest.approx(twice[0].score, abs=1e-5))
    assert mini.caption(replace(grid, picture=None), [small, large]) == once


def test_a_point_in_a_photograph_asks_around_it_when_it_is_captioned(mini):
    place, patch = Point(120, 222), Box(115, 217.2, 127.3, 229.8)
    grid = mini.encode(data.astronaut())
    narrow = replace(mini, spread=0.0)
    assert mini.caption(grid, [place])[0].concepts != narrow.caption(grid, [place])[0].concepts
    assert mini.caption(grid, [patch]) == narrow.caption(grid, [patch])
    assert (mini.embed(grid, [place]) == narrow.embed(grid, [place])).all()
    tissue = mini.encode(data.immunohistochemistry())
    assert mini.caption(tissue, [place]) == narrow.caption(tissue, [place])


def test_a_model_loads_in_less_than_two_seconds():
    load_model()
    started = time.process_time()
    load_model()
    assert time.process_time() - started < 2


def test_an_unknown_model_names_the_known_ones():
    with pytest.raises(ModelError, match="mini-zeroshot"):
        load_model("maxi")


@pytest.mark.parametrize("name", [*SHARED, HEADS["mini"]])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_file_is_one_sentence(tmp_path, name, damage):
    for path in FOLDER.iterdir():
        if path.name != name:
            (tmp_path / path.name).symlink_to(path)
    if damage == "cut":
        shutil.copy(FOLDER / name, tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:50])
    with pytest.raises(ModelError) as caught:
        load_embedded("mini", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_head_of_another_backbone_is_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    for path in FOLDER.iterdir():
        if path.name != HEADS["mini"]:
            (tmp_path / path.name).symlink_to(path)
    tensors = load_file(FOLDER / HEADS["mini"])
    for part in ("weights", "hidden"):
        tensors[part] = np.ascontiguousarray(tensors[part][:100])
    save_file(tensors, tmp_path / HEADS["mini"], metadata={"model": "mini"})
    with pytest.raises(ModelError, match="do not belong together"):
        load_embedded("mini", tmp_path)


def test_a_head_of_the_other_model_is_refused(tmp_path):
    folder = tmp_path / "embedded"
    shutil.copytree(FOLDER, folder)
    shutil.copy(FOLDER / HEADS["mini"], folder / HEADS["mini-zeroshot"])
    with pytest.raises(ModelError, match="belongs to mini, not to mini-zeroshot"):
        load_embedded("mini-zeroshot", folder)


@pytest.mark.parametrize("part", ["bias", "labels", "prior", "mixing", "hidden_bias"])
@pytest.mark.parametrize("damage", ["short", "wild"])
def test_a_head_whose_parts_do_not_fit_is_refused(tmp_path, part, damage):
    from safetensors.numpy import load_file, save_file

    for path in FOLDER.iterdir():
        if path.name != HEADS["mini"]:
            (tmp_path / path.name).symlink_to(path)
    tensors = load_file(FOLDER / HEADS["mini"])
    if damage == "short":
        tensors[part] = tensors[part][:-1].copy()
    elif part == "labels":
        tensors[part] = tensors[part] + 10_000
    else:
        tensors[part] = np.full_like(tensors[part], np.inf)
    save_file(tensors, tmp_path / HEADS["mini"], metadata={"model": "mini"})
    with pytest.raises(ModelError, match="reinstall"):
        load_embedded("mini", tmp_path)


def test_near_names_are_concepts():
    from napari_patchioner.decoders.grounded.vocabulary import load_concepts

    known = {concept.name for concept in load_concepts(FOLDER / "concepts.json")}
    listed = [name for group in NEAR for name in group]
    assert set(listed) <= known
    assert len(set(listed)) == len(listed)
