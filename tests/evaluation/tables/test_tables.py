"""The paper's tables run with tiny random weights in the published layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from published.presets import write_preset_files
from skimage import data
from tiny_presets import tiny

from napari_patchioner.cli import main
from napari_patchioner.errors import FormatError, ModelError
from napari_patchioner.evaluation import tables
from napari_patchioner.evaluation.tables import (
    Bench,
    known_tables,
    open_table,
    print_table,
    reproduce,
)
from napari_patchioner.models import available_models
from napari_patchioner.models.assemble import assemble
from napari_patchioner.models.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.captioner import Captioner

FILES = {
    "trace_captioning_coco.json": {
        "1": {"captions": ["an astronaut"], "traces": [[{"x": 0.5, "y": 0.4, "t": 0}]]},
        "2": {"captions": ["a cat"], "traces": [[{"x": 0.5, "y": 0.5, "t": 0}]]},
    },
    "vg1.2/test.json": {
        "annotations": [
            {"image_id": 1, "bbox": [30, 0, 90, 90], "caption": "a woman in orange"},
            {"image_id": 2, "bbox": [10, 10, 80, 80], "caption": "face of a cat"},
        ]
    },
    "coco_entities_test.json": {
        "1": {"an astronaut\na woman": [[30, 0, 90, 90], [0, 0, 30, 60]]},
        "2": {"a cat": [[10, 10, 80, 80]]},
    },
    "dataset_coco.json": {
        "images": [
            {"filename": f"{place}.jpg", "split": "test", "sentences": [{"raw": text}]}
            for place, text in ((1, "an astronaut smiles"), (2, "a cat looks up"))
        ]
    },
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of both tables, two images of each data set."""
    root = tmp_path_factory.mktemp("data")
    for name, contents in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(json.dumps(contents), encoding="utf-8")
    for folder in ("coco", "visual_genome"):
        (root / folder).mkdir()
        for place, picture in ((1, data.astronaut()), (2, data.cat())):
            small = Image.fromarray(picture).resize((96, 96))
            small.save(root / folder / f"{place}.jpg")
    return root


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Captioner]:
    """Loads tiny models of two rows; the others are not installed."""
    opened: dict[str, Captioner] = {}

    def loaded(name: str) -> Captioner:
        if name not in ("clip-b16", "talk2dino-b-decap"):
            raise ModelError(f"{name} is not installed.")
        if name not in opened:
            folder, preset = tmp_path_factory.mktemp(name), tiny(name)
            raw = write_preset_files(preset, folder / "hub")
            opened[name] = assemble(preset, prepare(preset, raw, folder / name))
        return opened[name]

    return loaded


@pytest.mark.parametrize("name", known_tables())
def test_every_model_of_a_table_is_on_offer(name: str) -> None:
    table = open_table(name)
    assert {row.model for row in table.rows} <= {card.id for card in available_models()}
    assert {column.task for column in table.columns} == {"image", "dense", "region-set", "trace"}


def test_a_table_is_run_and_printed_beside_what_was_published(root, load, tmp_path):
    table = open_table("table1")
    cells = reproduce(table, Bench(root, tmp_path), load)

    ran = [one for one in cells if not one.why]
    assert {one.row for one in ran} == {"CLIP ViT-B/16", "Talk2DINO"}
    assert len(ran) == 8
    assert all(one.count == 2 and one.value is not None for one in ran)
    assert all("not installed" in one.why for one in cells if one.row == "DINO.txt")
    text = print_table(table, cells)
    assert "| DINO.txt | - / 23.2 | - / 23.4 | - / 91.8 | - / 67.8 |" in text
    talk = next(line for line in text.splitlines() if line.startswith("| Talk2DINO |"))
    assert [part.split("/")[1].strip() for part in talk.split("|")[2:-1]] == [
        "27.9", "31.9", "109.1", "69.2"
    ]  # fmt: skip


def test_rows_take_the_way_the_table_names(root, load, tmp_path):
    table = open_table("table2")
    reproduce(table, Bench(root, tmp_path), load, models=["talk2dino-b-decap"])

    asked = {}
    for path in tmp_path.glob("*/*/scores.json"):
        scores = json.loads(path.read_text())
        asked[path.parts[-3], path.parts[-2]] = scores["asked"]["options"], list(scores["scores"])
    row = "decap-whole-image-or-crop"
    assert asked[row, "dense"] == ({"pooling": "cls"}, ["crop"])
    assert asked[row, "trace"] == ({"pooling": "cls"}, ["whole-image"])
    assert asked["patch-ioner-memory", "dense"] == ({}, ["model"])
    assert asked["patch-ioner-memory", "image"] == ({"pooling": "attention"}, ["model"])


def test_missing_data_leave_their_column_empty(root, load, tmp_path):
    cells = reproduce(
        open_table("table1"), Bench(tmp_path, tmp_path / "out"), load, models=["clip-b16"]
    )
    assert [one.value for one in cells] == [None] * 4
    assert all("no such folder" in one.why for one in cells)


def test_one_command_prints_the_table(root, load, tmp_path, capsys):
    given = ["--root", str(root), "--out", str(tmp_path), "--models", "clip-b16", "--limit", "1"]
    assert main(["reproduce", "table1", *given], load=load) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Table 1: backbones\n\n| CIDEr-D, measured / published |")
    assert "| CLIP ViT-B/16 |" in printed
    assert main(["reproduce", "table9", *given], load=load) == 2
    assert "those that ship: table1, table2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('metric = "cider_d"', 'metric = "magic"', "no metric 'magic'"),
        ('task = "trace"', 'task = "tracing"', "no task 'tracing'"),
        ("published = { trace", "published = { traces", "no column of 'CLIP ViT-B/16' 'traces'"),
        ('title = "Table 1: backbones"', "", "title"),
        ('model = "clip-b16"', 'modell = "clip-b16"', "modell"),
        ("[[row]]", "[[row", "is no TOML"),
    ],
)
def test_mistakes_in_a_table_are_told(tmp_path, old, new, words):
    folder = Path(tables.__file__).parent
    text = (folder / "table1.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(FormatError, match=words):
        open_table(str(path))
