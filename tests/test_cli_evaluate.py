"""The sub-command ``evaluate`` from end to end, with the model that ships."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from skimage import data

from napari_patchioner.cli import main
from napari_patchioner.errors import ModelError
from napari_patchioner.evaluation.protocols import read_scores
from napari_patchioner.locking import WriteLock

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "region-set": {"1": {"an astronaut": [[60, 0, 180, 16]]}},
    "trace": {
        "1": {
            "captions": ["an astronaut", "a flag"],
            "traces": [[{"x": 0.5, "y": 0.4, "t": 0}], [{"x": 0.1, "y": 0.4, "t": 1}]],
        }
    },
    "dense": {
        "categories": [{"id": 3, "name": "person"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "bbox": [60, 0, 180, 16],
                "caption": "a woman",
                "category_id": 3,
            }
        ],
    },
    "image": {"annotations": [{"image_id": 1, "caption": "an astronaut smiles"}]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "images").mkdir()
    # A strip, which is encoded ten times as fast as a square.
    Image.fromarray(data.astronaut()[100:140]).resize((256, 20)).save(
        folder / "images" / "000000000001.jpg"
    )
    for task, contents in FILES.items():
        (folder / f"{task}.json").write_text(json.dumps(contents), encoding="utf-8")
    return folder


def arguments(folder: Path, task: str, out: Path) -> list[str]:
    given = ["--data", str(folder / f"{task}.json"), "--images", str(folder / "images")]
    return ["evaluate", task, *given, "--model", "mini", "--out", str(out)]


TEXTS = ["--metrics", "bleu1,rouge_l,cider_d"]


@pytest.mark.parametrize("task", FILES)
def test_each_task_is_one_command(folder, tmp_path, capsys, task):
    out = tmp_path / task
    # Only the dense captions name what is there.
    texts = [TEXTS[0], f"{TEXTS[1]},mention"] if task == "dense" else TEXTS
    assert main([*arguments(folder, task, out), "--baseline", "whole-image", *texts]) == 0

    printed = capsys.readouterr()
    assert printed.out.startswith("| captions from | subset | regions | BLEU-1 |")
    assert {path.name for path in out.iterdir()} == {
        "predictions.jsonl", "scores.json", "scores.csv", "index.html"
    }  # fmt: skip
    found = read_scores(out / "scores.json")["scores"]
    assert set(found) == {"model", "whole-image"}
    assert found["model"]["all"]["count"] == (2 if task == "trace" else 1)
    if task == "dense":
        assert found["model"]["all"]["metrics"]["mention"]["value"] in (0.0, 1.0)


def test_two_runs_are_compared(folder, tmp_path, capsys):
    first, second = tmp_path / "a", tmp_path / "b"
    main([*arguments(folder, "trace", first), *TEXTS])
    main([*arguments(folder, "trace", second), "--baseline", "whole-image", *TEXTS])
    capsys.readouterr()

    assert main(["evaluate", "--compare", str(first), f"{second}:whole-image", *TEXTS]) == 0

    printed = capsys.readouterr().out
    assert f"| metric | {first} | {second}:whole-image |" in printed
    assert "CIDEr-D" in printed


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "evaluate needs task, --data, --images, --model, --out"),
        (["dense", "--data", "x"], "evaluate needs --images, --model, --out"),
        (["--compare", "nowhere", "nothing"], "cannot be read"),
    ],
)
def test_what_is_missing_is_told(capsys, given, words):
    assert main(["evaluate", *given]) == 2
    assert words in capsys.readouterr().err


def test_wrong_names_are_told_before_anything_is_captioned(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*arguments(folder, "image", out), "--metrics", "blue4"]) == 2
    assert "no metric 'blue4'; those there are: bleu1" in capsys.readouterr().err
    main([*arguments(folder, "image", out), *TEXTS])
    main([*arguments(folder, "trace", tmp_path / "t"), *TEXTS])
    capsys.readouterr()
    assert main(["evaluate", "--compare", str(out), f"{out}:crop"]) == 2
    assert "has no captions from crop; it has model" in capsys.readouterr().err
    assert main(["evaluate", "--compare", str(out), str(tmp_path / "t")]) == 2
    assert "compare runs of one task" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "given", "words"),
    [
        ("image", ["--metrics", "bleu1,mention"], "'mention' cannot be had here: the data name no"),
        ("trace", ["--metrics", "dense_map"], "is for dense captioning, not for trace"),
        ("dense", ["--metrics", "clip_score"], "is for image captioning, not for dense"),
        ("dense", ["--metrics", "self_retrieval"], "no image has two regions"),
        ("dense", ["--baseline", "class-token", *TEXTS], "has no class token"),
        ("dense", ["--aggregation", "cls", *TEXTS], "class token"),
        ("dense", ["--table", "images", *TEXTS], "is no file"),
        ("dense", ["--table", "none/t.csv", *TEXTS], "no such folder"),
    ],
)
def test_what_cannot_be_had_is_told_before_anything_is_captioned(
    folder, tmp_path, capsys, monkeypatch, task, given, words
):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("napari_patchioner.evaluation.protocols.run._caption", None)
    out = tmp_path / "out"
    assert main([*arguments(folder, task, out), *given]) == 2
    told = capsys.readouterr()
    assert words in told.err.splitlines()[-1]
    assert told.out == ""


def test_a_model_reads_its_own_captions_or_is_told_that_it_cannot(
    folder, tmp_path, capsys, monkeypatch
):
    named = ["--metrics", "self_retrieval"]
    assert main([*arguments(folder, "trace", tmp_path / "out"), *named]) == 0
    scores = read_scores(tmp_path / "out" / "scores.json")["scores"]
    assert "self_retrieval" in str(scores["model"])

    def cannot(*_: object, **__: object) -> None:
        raise ModelError("the model came without a text tower")

    monkeypatch.setattr("napari_patchioner.backbones.mini.MiniBackbone.embed_text", cannot)
    capsys.readouterr()
    assert main([*arguments(folder, "trace", tmp_path / "other"), *named]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "'self_retrieval' cannot be had here: the model came without a text tower" in told


def test_metrics_that_nobody_named_and_the_data_cannot_give_are_told(
    folder, tmp_path, capsys, monkeypatch
):
    # What Java measures is tested with the metrics.
    monkeypatch.setenv("PATH", "")
    assert main(arguments(folder, "trace", tmp_path / "out")) == 0
    assert "left out: mention, since the data name no category" in capsys.readouterr().err


def test_two_processes_never_write_one_run(folder, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    lock = WriteLock(out / "predictions.jsonl")
    assert main([*arguments(folder, "trace", out), *TEXTS]) == 2
    assert "another process is writing it" in capsys.readouterr().err
    lock.release()


def test_the_aggregation_is_part_of_what_was_asked(folder, tmp_path, capsys):
    out = tmp_path / "out"
    main([*arguments(folder, "image", out), "--aggregation", "mean", *TEXTS])
    assert read_scores(out / "scores.json")["asked"]["options"] == {"pooling": "mean"}
    assert main([*arguments(folder, "image", out), "--aggregation", "gaussian", *TEXTS]) == 2
    assert "made with another options" in capsys.readouterr().err
