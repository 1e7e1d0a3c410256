"""CLIPScore and PAC-S against transformers' own CLIP, with tiny random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from published import clip
from skimage import data

from napari_patchioner.errors import ModelError
from napari_patchioner.evaluation.metrics import METRICS, Captioned, open_tools
from napari_patchioner.evaluation.metrics.clip_judge import PREFIX, ClipJudge
from napari_patchioner.evaluation.metrics.registry import OPENERS

if TYPE_CHECKING:
    from pathlib import Path

CAPTIONS = ["an astronaut smiles", "a cat", "an astronaut smiles"]
REFERENCES = [["a woman in orange", "an astronaut smiles"], ["a dog"], ["a flag"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    clip.write(folder / "clip")
    torch.save({"state_dict": clip.openai_state(seed=7)}, folder / "pac.pth")
    torch.save({"state_dict": clip.openai_state(seed=7, patch=4)}, folder / "other.pth")
    for name, picture in (("a", data.astronaut()), ("b", data.cat())):
        Image.fromarray(picture).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def given(folder: Path) -> Captioned:
    paths = {name: folder / f"{name}.png" for name in "ab"}
    return Captioned(CAPTIONS, REFERENCES, ["a", "b", "a"], paths=paths)


def unit(vectors: torch.Tensor) -> np.ndarray:
    return (vectors / vectors.norm(dim=-1, keepdim=True)).numpy().astype(float)


def test_clip_score_is_that_of_the_published_network(folder, given):
    from transformers import CLIPImageProcessor, CLIPModel
    from transformers import CLIPTokenizer as Tokenizer

    cut = {"height": 32, "width": 32}
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=cut)
    tokenizer = Tokenizer(str(folder / "clip" / "vocab.json"), str(folder / "clip" / "merges.txt"))
    network = CLIPModel.from_pretrained(folder / "clip").eval()
    pictures = [Image.open(given.paths[name]) for name in given.images]
    tokens = tokenizer([PREFIX + one for one in CAPTIONS], padding=True, return_tensors="pt")
    with torch.inference_mode():
        seen = network(**tokens, **processor(pictures, return_tensors="pt"))
    images, texts = seen.image_embeds, seen.text_embeds
    expected = 2.5 * np.clip((unit(images) * unit(texts)).sum(axis=1), 0, None)

    found = ClipJudge.open(folder / "clip").with_images(given)

    assert found == pytest.approx(expected, abs=2e-3)
    assert found[0] == found[2]


def test_the_nearest_reference_counts(folder, given):
    found = ClipJudge.open(folder / "clip", folder / "pac.pth").with_references(given)
    assert found[0] == pytest.approx(1.0)
    assert found[1] < 1
    assert found[2] < 1


def test_both_is_the_harmonic_mean(folder, given):
    judge = ClipJudge.open(folder / "clip")
    image, text = judge.with_images(given), np.clip(judge.with_references(given), 0, None)
    both = judge.with_both(given)
    for place in range(3):
        if image[place] and text[place]:
            assert both[place] == pytest.approx(2 / (1 / image[place] + 1 / text[place]))
        else:
            assert both[place] == 0


def test_pac_has_weights_and_a_factor_of_its_own(folder, given):
    plain = ClipJudge.open(folder / "clip")
    tuned = ClipJudge.open(folder / "clip", folder / "pac.pth")
    assert (plain.weight, tuned.weight) == (2.5, 2.0)
    assert not np.allclose(plain.with_references(given), tuned.with_references(given))


def test_each_image_is_looked_at_once(folder, given, monkeypatch):
    from napari_patchioner.evaluation.metrics import clip_judge

    looks, read = [], clip_judge.read_image
    monkeypatch.setattr(clip_judge, "read_image", lambda path: looks.append(path) or read(path))
    judge = ClipJudge.open(folder / "clip")
    judge.with_images(given)
    judge.with_both(given)
    assert len(looks) == 2


def test_weights_of_another_network_are_refused(folder):
    with pytest.raises(ModelError, match="has patches of 4 pixels but"):
        ClipJudge.open(folder / "clip", folder / "other.pth")


def test_the_metrics_ask_it(folder, given):
    said: list[str] = []
    weights = (folder / "clip", folder / "pac.pth")
    tools = open_tools("image", ["clip_score", "ref_pac_s"], said.append, *weights)
    assert set(tools) == {"clip", "pac"}
    from dataclasses import replace

    scored = METRICS["clip_score"].score(replace(given, tools=tools))
    assert scored.corpus == pytest.approx(scored.items.mean())


@pytest.mark.parametrize(
    ("metric", "words"), [("clip_score", "--clip DIR"), ("pac_s", "--pac FILE and --clip DIR")]
)
def test_what_is_missing_is_told_by_name_or_left_out(metric, words, monkeypatch):
    with pytest.raises(ModelError, match=words):
        open_tools("image", [metric], print)
    said: list[str] = []

    def absent(*weights: object) -> object:
        raise ModelError("not here.")

    for name in ("meteor", "spice", "clip", "pac"):
        monkeypatch.setitem(OPENERS, name, absent)
    assert open_tools("image", [], said.append) == {}
    assert said == ["left out: not here."] * 4


def test_an_image_that_cannot_be_read_takes_no_other_score_along(folder, given):
    (folder / "bad.png").write_bytes(b"no image")
    judge = ClipJudge.open(folder / "clip")
    paths = {**given.paths, "bad": folder / "bad.png"}
    broken = replace(given, images=["a", "bad", "a"], paths=paths)
    for ask in (judge.with_images, judge.with_both):
        found, whole = ask(broken), ask(given)
        assert np.isnan(found[1])
        assert found[[0, 2]].tolist() == whole[[0, 2]].tolist()


def test_where_nobody_told_of_images_the_sentence_says_how(folder, given):
    with pytest.raises(ModelError, match="name their folder by --images"):
        ClipJudge.open(folder / "clip").with_images(replace(given, paths={}))
