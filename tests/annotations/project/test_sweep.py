"""What is left of writings that were killed goes, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from napari_patchioner.annotations import (
    Project,
    ProjectImage,
    ProjectStore,
    content_hash,
    project_path,
    projects_folder,
)
from napari_patchioner.annotations.project import places as module
from napari_patchioner.annotations.project.places import sweep

PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 6)

# Killed once the new file and the second name of the old one are there, but not in place.
DIES = """
import os, sys
from pathlib import Path
from napari_patchioner.annotations import Project, ProjectImage, write_project
path = Path(sys.argv[1])
write_project(path, Project(ProjectImage("x")))
replace = os.replace
def die(source, target):
    if str(target).endswith(sys.argv[2]):
        os.kill(os.getpid(), 9)
    replace(source, target)
os.replace = die
write_project(path, Project(ProjectImage("x")))
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "home"))


def later(monkeypatch, seconds):
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + seconds)


@pytest.fixture
def image_file(tmp_path):
    path = tmp_path / "pictures" / "cells.tif"
    path.parent.mkdir()
    path.write_bytes(b"pixels")
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is killed by signal 9 there")
@pytest.mark.parametrize("moment", [".json", ".bak"])
def test_files_of_a_killed_writer_go_when_they_are_old(image_file, monkeypatch, moment):
    path = project_path(image_file, content_hash(PIXELS))
    done = subprocess.run([sys.executable, "-c", DIES, str(path), moment], check=False)
    assert done.returncode == -9
    hidden = list(path.parent.glob(".*"))
    assert len(hidden) == 1
    shelf = ProjectStore(PIXELS, image_file, "cells.tif")
    shelf.find()
    assert hidden[0].exists(), "it may be another process at work"
    later(monkeypatch, 3600)
    shelf.find()
    left = {one.name for one in path.parent.iterdir()}
    backup = {f"{path.name}.bak"} if moment == ".json" else set()
    assert left == {"cells.tif", path.name} | backup


def test_only_names_that_the_writer_makes_of_this_file_go(tmp_path, monkeypatch):
    path = tmp_path / "cells.tif.patchioner.json"
    ours = [f".{path.name}.abcd_123", f".{path.name}.bak.4711", f".{path.name}.damaged.4711"]
    others = [
        path.name,
        f"{path.name}.bak",
        f"{path.name}.abcd_123",
        f".{path.name}",
        f".{path.name}.ABCD1234",
        f".{path.name}.abcd_1234",
        ".other.tif.patchioner.json.abcd_123",
        ".cells.tif.abcd_123",
        ".cells-tif.patchioner.json.abcd_123",
    ]
    for name in (*ours, *others):
        (tmp_path / name).write_text("x")
    (tmp_path / f".{path.name}.folder_1").mkdir()
    later(monkeypatch, 3600)
    assert sorted(one.name for one in sweep(path)) == sorted(ours)
    assert all((tmp_path / name).exists() for name in others)
    assert (tmp_path / f".{path.name}.folder_1").is_dir()


def test_a_second_name_of_an_old_file_is_as_young_as_the_name(tmp_path):
    path = tmp_path / "cells.tif.patchioner.json"
    path.write_text("x")
    os.utime(path, (1, 1))
    os.link(path, tmp_path / f".{path.name}.bak.4711")
    assert sweep(path) == []


def test_the_users_folder_and_the_index_are_swept_for_this_image_only(monkeypatch):
    shelf = ProjectStore(PIXELS, None, "noise")
    place = shelf.write(Project(ProjectImage("noise")))
    content = shelf.image.content
    index = projects_folder() / "index"
    mine = [
        place.with_name(f".{place.name}.abcd_123"),
        index / f".{content}.json.abcd_123",
    ]
    theirs = place.with_name(f".{'0' * 32}.patchioner.json.abcd_123")
    for one in (*mine, theirs):
        one.write_text("x")
    later(monkeypatch, 3600)
    ProjectStore(PIXELS, None, "noise").find()
    assert not any(one.exists() for one in mine)
    assert theirs.exists()
    assert place.exists()


def test_a_folder_that_is_gone_or_no_folder_is_no_trouble(tmp_path):
    (tmp_path / "file").write_text("x")
    assert sweep(tmp_path / "nothing" / "p.json") == []
    assert sweep(Path(tmp_path / "file" / "p.json")) == []
