"""Every command and every snippet of the README and of docs/ does what it says.

Commands of ours run in this process, in a folder that holds what they name, with the embedded
model. What needs a network runs against a hub of this computer. Commands that would install
something or run this very suite are read: the files, extras, groups and options they name have to
be there.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import chat_server
import colours
import numpy as np
import pytest
import tifffile
import zarr
from dask_processes import Processes
from hub_server import serve
from PIL import Image
from published.presets import write_preset_files
from published.talk2dino import write_projection
from skimage import data
from tiny_presets import tiny
from tiny_sam2 import write_sam2

from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    Project,
    ProjectImage,
    Record,
    Seen,
    write_annotations,
    write_project,
)
from napari_patchioner.backbones.talk2dino import Projection
from napari_patchioner.cli import main
from napari_patchioner.models.catalog import parse_preset, presets
from napari_patchioner.models.prepare import prepare
from napari_patchioner.regions import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_patchioner.captioner import Captioner

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
STARTS = ("napari-patchioner ", "./dev ", "pip ", "python ", "python3 ", "pytest ", "dask ")
# What a reader puts in place of these words.
STANDS_FOR = {
    "ID": "talk2dino-b-decap",
    "FOLDER": "stick",
    "FILE": "scheduler.json",
    "DIR": str(ROOT / "tests" / "golden"),
    "DATA": "data",
    "RUNS": "runs",
    "/media/stick": "stick",
    "/shared/scans": "scans",
    "/shared/captions/": "captions/",
}


SCHEDULER = "tcp://head:8786"
# Where a vision-language model is asked; a small server stands in for it.
DESCRIBER = "http://127.0.0.1:11434/v1"
PLACES = {
    "HOME": "",
    "HF_HOME": "hf",
    "NAPARI_PATCHIONER_HOME": "store",
    "NAPARI_PATCHIONER_CACHE": "cache",
}
DATA_SETS = {
    "trace_captioning_coco.json": {
        "1": {"captions": ["a cup"], "traces": [[{"x": 0.5, "y": 0.4, "t": 0}]]}
    },
    "vg1.2/test.json": {
        "annotations": [{"image_id": 1, "bbox": [30, 10, 60, 60], "caption": "a cup of coffee"}]
    },
    "coco_entities_test.json": {
        "1": {"a cup\na cup of coffee": [[20, 10, 90, 70], [0, 0, 30, 30]]}
    },
    "dataset_coco.json": {
        "images": [{"filename": "1.jpg", "split": "test", "sentences": [{"raw": "a cup"}]}]
    },
}
# What tests of their own run: the demonstration, a cluster; and a table of a whole paper.
WITH_OTHERS = re.compile(r"--scheduler|^\S*napari-patchioner (evaluate|demo)$")
# The same in less time: one process where several do the same.
SMALLER = {
    "--workers 2": "--workers 1",
    "--workers 4": "--workers 1",
    "captions.txt --tower": "captions.txt --steps 3 --width 16 --layers 1 --pieces 300 --tower",
}


@dataclass(frozen=True)
class Said:
    """A command or a snippet, and the page it stands on."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0][:60]}"


def commands() -> list[Said]:
    """All commands, one line each, without comments; each once."""
    found: dict[Said, None] = {}
    for page in PAGES:
        name, text = page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8")
        for language, body in FENCED.findall(text):
            if language in ("sh", "bash", ""):
                lines = body.replace("\\\n", " ").splitlines()
                found |= {Said(name, part): None for line in lines for part in parted(line)}
        prose = FENCED.sub("", text)
        found |= {Said(name, part): None for line in INLINE.findall(prose) for part in parted(line)}
    return list(found)


def parted(line: str) -> list[str]:
    """The commands of one line: what stands before a comment or a pipe, and on each side of &&."""
    line = re.sub(r"(^|\s)#.*", "", line)
    parts = [re.split(r"\s[|>]\s", part)[0].strip() for part in line.split("&&")]
    return [part for part in parts if part.removeprefix(".venv/bin/").startswith(STARTS)]


def snippets() -> list[Said]:
    return [
        Said(page.relative_to(ROOT).as_posix(), body)
        for page in PAGES
        for language, body in FENCED.findall(page.read_text(encoding="utf-8"))
        if language == "python"
    ]


COMMANDS, SNIPPETS = commands(), snippets()
OURS = [s for s in COMMANDS if s.text.removeprefix(".venv/bin/").startswith("napari-patchioner ")]
OTHERS = [said for said in COMMANDS if said not in OURS]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the documentation speaks of, in small."""
    world = tmp_path_factory.mktemp("world")
    picture = Image.fromarray(data.coffee()).resize((128, 80))
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.png", "scans/1.jpg", "cat.png"):
        (world / name).parent.mkdir(exist_ok=True)
        picture.save(world / name)
    for folder, name in (("val2014", "COCO_val2014_000000000001.jpg"), ("data/coco", "1.jpg")):
        (world / folder).mkdir(parents=True)
        picture.save(world / folder / name)
    tissue = data.immunohistochemistry()
    tifffile.imwrite(world / "scan.ome.tif", tissue, photometric="rgb")
    write_slide(world / "slide.ome.zarr", tissue)
    images = {"slide.ome.zarr": ImageInfo("slide.ome.zarr", 9600, 9600)}
    images["scan.ome.tif"] = ImageInfo("scan.ome.tif", 512, 512)
    outlines = [Annotation(f"{i}", n, Box(10, 10, 200, 200)) for i, n in enumerate(images)]
    write_annotations(world / "outlines.csv", outlines, images)
    write_names(world)
    (world / "photographs").mkdir()
    for number in range(20):
        picture.crop((number, 0, 100 + number, 80)).save(world / "photographs" / f"{number}.png")
    stack = np.stack([tissue[start : start + 128, :128] for start in (0, 128, 256)])
    tifffile.imwrite(world / "stack.tif", stack, metadata={"axes": "ZYXS"}, photometric="rgb")
    nucleus = [Annotation("1", "stack.tif", Box(10, 10, 60, 60))]
    write_annotations(world / "nucleus.csv", nucleus, {"stack.tif": ImageInfo("", 128, 128)})
    (world / "data" / "vg1.2").mkdir()
    for name, content in DATA_SETS.items():
        (world / "data" / name).write_text(json.dumps(content), encoding="utf-8")
    shutil.copytree(world / "data" / "coco", world / "data" / "visual_genome")
    shutil.copy(world / "data" / "coco_entities_test.json", world)
    captions = [f"a {color} {name}" for name in ("cup", "spoon", "cat") for color in range(30)]
    (world / "captions.txt").write_text("\n".join(captions), encoding="utf-8")
    return world


def write_names(world: Path) -> None:
    """Write tables of named regions to teach from, and of regions without a name."""
    cup, table, window = Box(10, 30, 60, 90), Box(2, 2, 20, 24), Box(60, 100, 78, 126)
    named = [
        Annotation(uid, "photos/a.jpg", box, name, None, "human")
        for uid, box, name in (("1", cup, "cup"), ("2", table, "table"), ("3", window, "spoon"))
    ]
    images = {"photos/a.jpg": ImageInfo("photos/a.jpg", 80, 128)}
    write_annotations(world / "names.csv", named, images)
    write_annotations(world / "more.csv", named[:1], images)
    write_annotations(world / "like.csv", named[:1], images)
    bare = [Annotation(region.uid, "photos/b.png", region.region) for region in named]
    (world / "words.txt").write_text("a cup of coffee\na wooden table\n\nA wooden  table\n")
    write_annotations(world / "boxes.csv", bare, {"photos/b.png": ImageInfo("b.png", 80, 128)})


def write_slide(path: Path, tissue: np.ndarray) -> None:
    """Write two levels, the finest of 9600 by 9600 pixels with tissue in one corner only."""
    group = zarr.create_group(path, zarr_format=2)
    planes = np.moveaxis(tissue, -1, 0)
    finest = group.create_array("0", shape=(3, 9600, 9600), chunks=(3, 512, 512), dtype="u1")
    finest[:, 8704:9216, 8704:9216] = planes
    group.create_array("1", data=np.tile(planes, (1, 2, 2))[:, :600, :600], chunks=(3, 600, 600))
    kinds = {"c": "channel", "y": "space", "x": "space"}
    scales = {"0": 1, "1": 16}
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": name, "type": kind} for name, kind in kinds.items()],
            "datasets": [
                {
                    "path": path,
                    "coordinateTransformations": [{"type": "scale", "scale": [1, scale, scale]}],
                }
                for path, scale in scales.items()
            ],
        }
    ]


@pytest.fixture(scope="module")
def hub(world: Path) -> Iterator[str]:
    """A hub with the models that are got, small; a stick and a folder with the same files."""
    wanted = {name: tiny(name) for name in ("talk2dino-b-decap", "regionclip-rn50")}
    own = parse_preset(own_preset(), source="models.md", home=world)
    wanted["my-cells"] = replace(own, files={"clip": own.files["clip"]})
    write_preset_files(wanted["talk2dino-b-decap"], world / "stick")
    write_preset_files(wanted["regionclip-rn50"], world / "Downloads" / "regionclip")
    write_preset_files(wanted["my-cells"], world / "hub")
    shutil.copytree(world / "stick", world / "hub", dirs_exist_ok=True)
    outlines = world / "hub" / "facebook" / "sam2.1-hiera-tiny"
    outlines.mkdir(parents=True)
    write_sam2(outlines)
    (world / "my-cells").mkdir()
    (world / "my-cells" / "preset.toml").write_text(own_preset(), encoding="utf-8")
    (world / "my-cells" / "sentences.txt").write_text("a cell\na nucleus\n", encoding="utf-8")
    repos: dict[str, dict[str, bytes]] = {}
    for path in (world / "hub").glob("*/*/**/*"):
        if path.is_file():
            owner, name, *rest = path.relative_to(world / "hub").parts
            repos.setdefault(f"{owner}/{name}", {})["/".join(rest)] = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch, serve(repos) as server:
        catalog = {name: tiny(name) for name in presets()}
        patch.setattr("napari_patchioner.models.catalog.presets", lambda: catalog)
        yield server.url


def own_preset() -> str:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    return next(body for language, body in FENCED.findall(text) if language == "toml")


@pytest.fixture
def chat() -> Iterator[str]:
    with chat_server.serving() as server:
        yield server.url


@pytest.fixture
def run(
    world: Path, hub: str, chat: str, mini: Captioner, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], int]]:
    """Return what runs a command of ours in that folder, at a terminal where a person agrees."""
    from huggingface_hub import close_session

    monkeypatch.chdir(world)
    for name, place in PLACES.items():
        monkeypatch.setenv(name, str(world / place))
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", hub)
    # Without Java, whose start takes longer than all the rest; what needs it is left out and told.
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))

    def run_line(line: str) -> int:
        words = [STANDS_FOR.get(word, word) for word in shlex.split(line)][1:]
        words = [word.replace(DESCRIBER, chat) for word in words]
        words = [str(Path(word).expanduser()) if word[:1] == "~" else word for word in words]
        terminal = io.StringIO("y\n" * 9)
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr("sys.stdin", terminal)
        # A table of many models is run with one that only names colours.
        load = colours.load if words[0] == "reproduce" else lambda _name: mini
        return main(words, load=None if "server:" in words else load)

    yield run_line
    close_session()


@pytest.mark.parametrize("page", dict.fromkeys(said.page for said in OURS))
def test_the_commands_of_a_page_work_one_after_the_other(
    page: str, run: Callable[[str], int], world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for said in OURS:
        if said.page == page and not WITH_OTHERS.search(said.text):
            line = said.text.removeprefix(".venv/bin/")
            for old, new in SMALLER.items():
                line = line.replace(old, new)
            status = run(line)
            # A table says so when a model cannot do what a column asks for.
            fine = (0, 1) if " reproduce " in line else (0,)
            assert status in fine, (said, capsys.readouterr().err)
    assert not list(world.rglob("*.part"))
    assert not list(world.rglob("*.training"))


def test_what_is_said_of_clusters_works_on_one(
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(world)
    commands = [said for said in OURS if "--scheduler" in said.text]
    [snippet] = [said for said in SNIPPETS if SCHEDULER in said.text]
    with Processes(tmp_path) as cluster:
        cluster.add_worker()
        for said in commands:
            words = [STANDS_FOR.get(word, word) for word in shlex.split(said.text)][1:]
            words[words.index("--scheduler") + 1] = cluster.address
            assert main(words, load=colours.load) == 0, said
        text = snippet.text.replace(SCHEDULER, cluster.address).replace("/shared/scans", "scans")
        run_snippet(snippet, text)
    assert commands
    assert list((world / "captions").glob("part-*.parquet"))
    assert "done" in capsys.readouterr().out


def run_snippet(said: Said, text: str) -> None:
    exec(compile(text, said.page, "exec"), {"__name__": "__main__"})


def test_the_readme_says_of_the_built_in_models_what_their_card_says() -> None:
    def rows(page: str, first: str, second: str = "") -> list[list[str]]:
        text = (ROOT / page).read_text(encoding="utf-8")
        cells = [line.strip("| ").split(" | ") for line in text.splitlines()]
        return [row for row in cells if row[0] == first and second in row[1]]

    def numbers(*cells: str) -> list[float]:
        return [float(number) for number in re.findall(r"\d\.\d+", " ".join(cells))]

    for name, said in (("mini", "`mini` (default)"), ("mini-zeroshot", "`mini-zeroshot`")):
        [row] = rows("README.md", said)
        every, others = rows("docs/models/mini.md", name, " boxes")[:2]
        assert len(numbers(*row[2:4])) == 6
        assert numbers(*row[2:4]) == pytest.approx(numbers(every[2], others[2]), abs=0.0051)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [whole] = re.findall(r"captions of\s+the whole image name (\S+) of the same boxes", readme)
    [best, *_] = rows("docs/models/mini.md", "mini", " boxes")
    assert float(whole) == pytest.approx(float(best[4]), abs=0.0051)


@pytest.mark.parametrize("said", OTHERS, ids=str)
def test_what_another_command_names_is_there(said: Said) -> None:
    words = [STANDS_FOR.get(word, word) for word in shlex.split(said.text)]
    program = words[0].removeprefix(".venv/bin/")
    if words[1:3] == ["-m", "pip"]:
        program, words = "pip", words[2:]
    CHECKS[program](words[1:])


def check_dev(words: list[str]) -> None:
    script = (ROOT / "dev").read_text(encoding="utf-8")
    assert re.search(rf"^ +{words[0]}\)", script, re.MULTILINE)


def check_pip(words: list[str]) -> None:
    """Files, extras and groups are there; other packages are ones that this package names."""
    assert words[0] == "install"
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    known = f"{PROJECT} pip"
    rest = iter(words[1:])
    for word in rest:
        if word in ("-c", "--group", "-e"):
            value = next(rest)
            assert value in PROJECT["dependency-groups"] or (ROOT / value).exists()
        elif word.startswith("."):
            extra = word.removeprefix(".").strip("[]")
            assert not extra or extra in extras
        else:
            assert re.match(r"[\w-]+", word)[0] in known, word


def check_python(words: list[str]) -> None:
    if words[0].endswith(".py"):
        words = [words[0], *(word.strip("[]") for word in words[1:])]
        script = (ROOT / words[0]).read_text(encoding="utf-8")
        compile(script, words[0], "exec")
        assert all(f'"{word}"' in script for word in words if word.startswith("--"))
        return
    assert words[0] == "-m"
    if words[1] in ("venv", "pytest"):
        return
    text = help_of(words[1])
    assert all(word in text for word in words[2:] if word.startswith("--"))


def check_pytest(words: list[str]) -> None:
    assert all((ROOT / word).exists() for word in words if not word.startswith("--"))


def check_dask(words: list[str]) -> None:
    command = [sys.executable, "-m", "dask", words[0], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(word in done.stdout for word in words if word.startswith("--"))


@cache
def help_of(module: str) -> str:
    """What ``python -m MODULE --help`` prints, in this process, which has torch already."""
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        warnings.catch_warnings(),
    ):
        patch.setattr(sys, "argv", [module, "--help"])
        # Other tests have imported some of these modules.
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(SystemExit) as left:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert not left.value.code
    return printed.getvalue()


CHECKS = {
    "./dev": check_dev,
    "pip": check_pip,
    "python": check_python,
    "pytest": check_pytest,
    "dask": check_dask,
}


@pytest.fixture(scope="module")
def model_parts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The files of a small model by their roles."""
    folder = tmp_path_factory.mktemp("parts")
    projection = write_projection(folder / "vitb_mlp_infonce.pth")
    made_with = {"projection": Projection.open(projection).hash}
    preset = replace(tiny("talk2dino-b-decap"), provenance=made_with)
    made = prepare(preset, write_preset_files(preset, folder / "hub"), folder / "made")
    return {**made, "projection": projection}


@pytest.fixture
def files(
    world: Path, model_parts: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with the files that snippets open."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_PATCHIONER_CACHE", str(tmp_path / "cache"))
    shutil.copytree(world / "slide.ome.zarr", tmp_path / "slide.ome.zarr")
    shutil.copytree(world / "photos", tmp_path / "photos")
    table = [Annotation("a", "cat.png", Box(1, 2, 30, 40), "a cat", 0.5, "model", "mini")]
    write_annotations(tmp_path / "cat.parquet", table, {"cat.png": ImageInfo("cat.png", 80, 128)})
    corners = np.array([[1, 1], [1, 5], [5, 5], [5, 1]], float)
    record = Record("a", layer="regions", seen=Seen("rectangle", corners), caption="a cell")
    image = ProjectImage("cells.tif", (8, 8), "uint8", "0" * 32)
    write_project(tmp_path / "cells.tif.patchioner.json", Project(image, (record,)))
    names = {
        "projection": "vitb_mlp_infonce.pth",
        "vision": "dinov2-with-registers-base",
        "bank": "bank",
        "decoder": "decoder.safetensors",
        "merges": "merges.txt",
    }
    for role, name in names.items():
        (tmp_path / name).symlink_to(model_parts[role])
    return tmp_path


@pytest.mark.parametrize("said", [s for s in SNIPPETS if SCHEDULER not in s.text], ids=str)
def test_a_snippet_runs_as_it_stands(
    said: Said, files: Path, chat: str, mini: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_patchioner.load_model", lambda _name, **_: mini)
    run_snippet(said, said.text.replace(DESCRIBER, chat))


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("docs/your-sentence.md", ["Rex looks at me", "replaced bus cat"]),
        ("docs/telling-apart.md", ["[[0, 1]]", "a brown cat looks 1", "a gray cat looks 1"]),
    ],
)
def test_an_example_shows_what_its_page_is_about(
    page: str,
    shown: list[str],
    mini: Captioner,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("napari_patchioner.load_model", lambda _name, **_: mini)
    [said] = [said for said in SNIPPETS if said.page == page]
    run_snippet(said, said.text)
    printed = capsys.readouterr().out
    assert [text for text in shown if text not in printed] == []
