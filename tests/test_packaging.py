"""What reaches a person who installs the package: the wheel, the manifest, the metadata."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from importlib.metadata import (
    PackageNotFoundError,
    distribution,
    entry_points,
    metadata,
    version,
)
from pathlib import Path

import pytest
from npe2 import PluginManifest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
    assert "napari_patchioner/py.typed" in names


def test_the_readme_of_the_package_points_to_nothing_beside_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        package = message_from_bytes(archive.read(name))
    pages = dict(entry.split(", ", 1) for entry in package.get_all("Project-URL"))
    assert {"Homepage", "Source Code", "Documentation", "Bug Tracker"} <= set(pages)
    readme = package.get_payload()
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme)
    links = re.findall(r"\]\(([^)]+)\)", readme)
    assert pictures
    assert all(link.startswith("https://") for link in links)
    own = f"{pages['Source Code']}/blob/main/"
    files = [link.removeprefix(own) for link in links if link.startswith(own)]
    files += [link.split("/main/")[1] for link in pictures]
    assert files
    assert all((ROOT / file).exists() for file in files)


def test_the_package_is_a_program(capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, "-m", "napari_patchioner", "--version"], check=True)
    assert version("napari-patchioner") in capfd.readouterr().out


def locked(python: str) -> dict[str, str]:
    """Return the versions that the lock holds for a version of Python, by normalised name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    here = {"python_version": ".".join(python.split(".")[:2]), "python_full_version": python}
    valid = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(here)]
    found = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in valid}
    assert len(found) == len(valid), "a package is locked twice"
    return found


def asked_for() -> list[Requirement]:
    """Return all that pyproject.toml and its groups for ./dev ask for directly."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = [
        project["dependency-groups"][name] for name in ("demo", "pyqt6", "test", "dev", "tools")
    ]
    listed = project["project"]["dependencies"] + project["build-system"]["requires"]
    listed += [entry for group in groups for entry in group if isinstance(entry, str)]
    return [Requirement(entry) for entry in listed]


@pytest.mark.parametrize("python", ["3.11.0", "3.11.7", "3.12.1", "3.13.0"])
def test_the_lock_holds_a_version_in_the_range_of_everything_asked_for(python: str) -> None:
    versions = locked(python)
    for requirement in asked_for():
        held = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(held, prereleases=True), (requirement, held)


def test_the_lock_holds_what_the_dependencies_ask_for() -> None:
    versions = locked(platform.python_version())
    ahead = [("napari-patchioner", "")] + [
        (requirement.name, extra)
        for requirement in asked_for()
        for extra in ("", *requirement.extras)
    ]
    seen: set[tuple[str, str]] = set()
    while ahead:
        name, extra = ahead.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue  # of another group, or for another platform
        if installed.version != versions.get(canonicalize_name(name), installed.version):
            continue  # the lowest or the newest of the range asks for other packages
        for entry in installed.requires or ():
            requirement = Requirement(entry)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                assert canonicalize_name(requirement.name) in versions, f"{name} needs {entry}"
                ahead += [(requirement.name, more) for more in ("", *requirement.extras)]


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
