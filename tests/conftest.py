"""What every test may ask for: the model that ships, and where the golden numbers lie."""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_patchioner.captioner import Captioner

pytest_plugins = ["golden_count", "leftovers"]

# pytest-xdist gives every core a process: a second thread would only wait for the others. Set
# before torch is imported; processes that tests start inherit it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Two bindings of Qt are installed, and one process can load only one. Set before any is imported,
# and the same for napari, pytest-qt and all that tests start.
os.environ["QT_API"] = os.environ["PYTEST_QT_API"] = (
    os.environ.get("PYTEST_QT_API") or os.environ.get("QT_API") or "pyside6"
)

# napari saves its settings at every change: not over the person's, and not over those of another
# process of tests. Set before napari's settings are imported.
SETTINGS = tempfile.TemporaryDirectory(prefix="napari-settings-", ignore_cleanup_errors=True)
os.environ["NAPARI_CONFIG"] = str(Path(SETTINGS.name) / "settings.yaml")

# Golden numbers are torch's; tests of engines ask for one.
os.environ["NAPARI_PATCHIONER_ENGINE"] = "torch"

GOLDEN = Path(__file__).parent / "golden"
# No law is about time: a machine that is busy breaks none. The same examples in every run, so that
# a clone passes or fails alike on any day.
settings.register_profile("usual", deadline=None, derandomize=True)
settings.load_profile("usual")
# pytest --hypothesis-profile=thorough: minutes instead of seconds, and other examples every time.
settings.register_profile("thorough", max_examples=2000, deadline=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--conformance-dir",
        type=Path,
        default=GOLDEN,
        help="folder of golden numbers, with its manifest.json; tests/golden by default",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "cases(*patterns): run once per golden case whose id matches one of the glob patterns",
    )
    config.addinivalue_line(
        "markers",
        "embedded: in the window with the model that ships, which looks at each picture once for "
        "all tests",
    )
    config.addinivalue_line(
        "markers", "every_qt: one of its kind, run on the other Qt binding too in every full run"
    )


def pytest_unconfigure() -> None:
    SETTINGS.cleanup()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for no garbage among what is imported, which stays, and elsewhere not so often."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        gc.enable()


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Captioner:
    """The model that ships; what it has encoded for one test it knows in the next ones."""
    from remembering import remembering

    from napari_patchioner import load_model
    from napari_patchioner.grids import GridStore

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all processes
    return remembering(load_model("mini"), GridStore(folder / "grids", ram_bytes=200_000_000))
