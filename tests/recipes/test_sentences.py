"""The choice of sentences that ships with the package."""

from __future__ import annotations

import gzip
import json

from napari_patchioner.texts import TextFile, unique_texts
from recipes.mini.sentences import choose_sentences, write_sentences

SCENES = {
    1: ["a dog runs on the grass", "a dog runs over the green grass", "a dog is on the grass"],
    2: ["a man rides a red bus", "a man sits on a red bus", "a red bus and a man on it"],
    3: ["a cat sleeps on the sofa", "a cat is on the green sofa", "a red cat sleeps on the sofa"],
}
# Three times over, so that no word is rare; doubles are left out.
CAPTIONS = [
    (image + 10 * copy, text)
    for copy in range(3)
    for image, texts in SCENES.items()
    for text in texts
]
DIFFERENT = 9


def test_every_photograph_gets_its_most_typical_caption_first():
    chosen = choose_sentences(CAPTIONS, 3)
    assert len(chosen) == 3
    for word in ("dog", "bus", "cat"):
        assert sum(word in sentence for sentence in chosen) == 1


def test_then_the_least_like_those_chosen_are_added_once_each():
    few, more = choose_sentences(CAPTIONS, 3), choose_sentences(CAPTIONS, 7)
    assert set(few) < set(more)
    assert len(set(more)) == 7
    assert len(choose_sentences(CAPTIONS, 100)) == DIFFERENT


def test_slips_doubles_and_odd_lengths_are_left_out():
    odd = [(4, "a dgo runs on the grass"), (4, "a dog"), (4, "A dog runs on the grass. ")]
    odd += [(5, "tHE MAN RIDES A RED BUS ON THE GRASS")]
    chosen = choose_sentences([*CAPTIONS, *odd], 100)
    assert not any("dgo" in sentence for sentence in chosen)
    assert "A dog" not in chosen
    assert chosen.count("A dog runs on the grass") == 1
    assert "The man rides a red bus on the grass" in chosen


def test_the_file_is_the_same_every_time(tmp_path):
    annotations = [{"image_id": image, "caption": text} for image, text in CAPTIONS]
    source = tmp_path / "captions.json"
    source.write_text(json.dumps({"annotations": annotations}), encoding="utf-8")
    for name in ("one.txt.gz", "two.txt.gz"):
        write_sentences(source, tmp_path / name, 5)
    assert (tmp_path / "one.txt.gz").read_bytes() == (tmp_path / "two.txt.gz").read_bytes()
    lines = gzip.decompress((tmp_path / "one.txt.gz").read_bytes()).decode().splitlines()
    assert list(unique_texts([TextFile(tmp_path / "one.txt.gz")])) == lines
    assert len(lines) == 5
