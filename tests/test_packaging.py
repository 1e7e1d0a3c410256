"""What reaches a person who installs the package: the wheel, the manifest, the metadata."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, metadata
from pathlib import Path

import pytest
from npe2 import PluginManifest

ROOT = Path(__file__).resolve().parents[1]
LARGEST_WHEEL_MB = 45


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_wheel_is_small_and_complete(wheel: Path) -> None:
    assert wheel.stat().st_size < LARGEST_WHEEL_MB * 2**20
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = ROOT / "src" / "napari_patchioner"
    for path in package.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(package.parent)) in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_no_qt_binding_is_required() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = " ".join(project["dependencies"]).lower()
    assert not any(name in required for name in ("pyqt", "pyside", "napari["))
    assert project["optional-dependencies"]["all"] == ["napari[all]"]


def test_metadata_lists_the_plugin() -> None:
    meta = metadata("napari-patchioner")
    assert "Framework :: napari" in meta.get_all("Classifier")
    assert meta["License-Expression"] == "BSD-3-Clause"
    found = entry_points(group="napari.manifest", name="napari-patchioner")
    assert [entry.value for entry in found] == ["napari_patchioner:napari.yaml"]


def test_root_manifest_is_a_link_to_the_shipped_one() -> None:
    link = ROOT / "napari.yaml"
    shipped = ROOT / "src" / "napari_patchioner" / "napari.yaml"
    assert link.read_bytes() == shipped.read_bytes()
    assert link.resolve() == shipped


def test_manifest_is_valid_and_everything_it_names_exists() -> None:
    manifest = PluginManifest.from_distribution("napari-patchioner")
    assert manifest.name == "napari-patchioner"
    manifest.validate_imports()


def test_nothing_names_a_registry_host() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.md", "*.toml", "*.txt", "*.py", "*.yaml", "*.cff", "dev"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    hosts = ["pypi" + ".org", "pytorch" + ".org/whl", "files.python" + "hosted"]
    for name in listed.stdout.split():
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not any(host in text for host in hosts), name
