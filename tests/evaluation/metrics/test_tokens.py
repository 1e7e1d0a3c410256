"""Tokens as the Stanford tokenizer of the COCO caption tools makes them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from napari_patchioner.evaluation.metrics.tokens import (
    tokenize,
    tokenize_captions,
    tokenize_references,
)

# As the tokenizer itself gave them, a line of small letters after each.
TOKENS = [
    ("a cat in front of a.", "a cat in front of a."),
    ("in front of a. The dog", "in front of a the dog"),
    ("in front of a. the dog", "in front of a. the dog"),
    ("in front of b. Dog", "in front of b. dog"),
    ("at 5 p.m.", "at 5 p.m."),
    ("a T.V. and a t.v", "a t.v. and a t.v"),
    ("Ph.D. student", "ph.d. student"),
    ("Main St. and 8th ave.", "main st. and 8th ave."),
    ("st., Mr. Smith etc.", "st. mr. smith etc."),
    ("in Mass. or in mass.", "in mass. or in mass"),
    ("a man from Ill. or ill.", "a man from ill. or ill"),
    ("no. 5, no. dog, fig. 3", "no. 5 no dog fig. 3"),
    (
        "it's a child's, boys' won't can't cannot gonna",
        "it 's a child 's boys wo n't ca n't can not gon na",
    ),
    ("you know five-o'clock Ho'ohu", "you know five-o'clock ho'ohu"),
    ("rock 'n' roll", "rock 'n' roll"),
    ("the 'red' car of the '90s", "the red car of the '90s"),
    ("1920's and 80's", "1920 's and 80 's"),
    ("mother-in-law, half- -half a--b", "mother-in-law half half a b"),
    (
        "24/7 22 3/4 st. 10:30am 5:54pm 1,000 .5 5.",
        "24/7 22\xa03/4 st. 10:30 am 5:54 pm 1,000 .5 5",
    ),
    ("$5.00 5% #1 #hashtag @home", "$ 5.00 5 % # 1 #hashtag @home"),
    ("R&B at&t black & white a&b Q&A", "r&b at & t black & white a & b q&a"),
    ("w/ w/o elephant/", "w / w/o elephant /"),
    ("hot dog(s) [x] {y}", "hot dog -lrb- s -rrb- -lsb- x -rsb- -lcb- y -rcb-"),
    ("wow!!! ?? end! no?", "wow !!! ?? end no"),
    ("sizes.. and... wait…", "sizes and wait"),
    ("dash – em — it’s “q”", "dash em it 's q"),
    ("http://a.com/b www.b.org x@y.org a.b", "http://a.com/b www.b.org x@y.org a.b"),
    ("mid.Sentence end.", "mid.sentence end"),
    ("a.k.a. i.e., e.g. x", "a.k.a. i.e. e.g. x"),
    ("foo_bar * ~ + = | \\", "foo_bar * ~ + = | \\"),
    ("café naïve", "café naïve"),
    ("jan. 5, sat. 6, sun. 7", "jan. 5 sat 6 sun 7"),
    ("", ""),
]
CORPUS = ["near a.", "A dog", "near b.", "a dog", "near c. The dog", "plan x.", "There it is", "y."]
JAR = "tokenizer/stanford-corenlp-3.4.1.jar"
PUNCTUATION = ["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"]


@pytest.mark.parametrize(("caption", "tokens"), TOKENS)
def test_tokens_are_those_of_the_reference(caption: str, tokens: str) -> None:
    assert " ".join(tokenize(caption)) == tokens


def test_a_single_letter_loses_its_full_stop_before_a_sentence_of_the_next_line() -> None:
    lasts = [tokens[-1] for tokens in tokenize_captions(CORPUS)]
    assert lasts == ["a", "dog", "b.", "dog", "dog", "x", "is", "y."]
    assert tokenize_references([CORPUS[:1], CORPUS[1:4]]) == [
        [["near", "a"]],
        [["a", "dog"], ["near", "b."], ["a", "dog"]],
    ]
    assert tokenize_captions([]) == []


@pytest.fixture(scope="module")
def jar() -> Path:
    spec = importlib.util.find_spec("pycocoevalcap")
    folders = spec.submodule_search_locations if spec is not None else None
    if shutil.which("java") is None or not folders:
        pytest.skip("the reference tokenizer needs Java and pycocoevalcap")
    return Path(folders[0]) / JAR


def test_the_reference_itself_agrees(jar: Path, tmp_path: Path) -> None:
    lines = [line for caption, _ in TOKENS for line in (caption or "-", "dog")] + CORPUS
    text = tmp_path / "captions.txt"
    text.write_text("\n".join(lines), encoding="utf-8")
    command = ["java", "-Dfile.encoding=UTF-8", "-cp", jar, "edu.stanford.nlp.process.PTBTokenizer"]
    options = ["-preserveLines", "-lowerCase", "-encoding", "UTF-8", text]
    done = subprocess.run([*command, *options], capture_output=True, check=True)
    found = done.stdout.decode("utf-8").split("\n")[: len(lines)]
    expected = [
        " ".join(token for token in line.strip().split(" ") if token not in PUNCTUATION)
        for line in found
    ]
    assert [" ".join(tokens) for tokens in tokenize_captions(lines)] == expected
