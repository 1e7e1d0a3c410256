"""The window on PyQt6, which the extra "all" brings; the other tests are on PySide6."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import qtpy

HERE = Path(__file__).parent
MARKED = re.compile(r"^@pytest\.mark\.every_qt$", re.MULTILINE)


@pytest.mark.timeout(900)
@pytest.mark.skipif(qtpy.API != "pyside6", reason="runs on another Qt as a whole")
@pytest.mark.skipif(find_spec("PyQt6") is None, reason="PyQt6 is not installed")
def test_one_of_each_kind_runs_on_pyqt6():
    """In a process of its own, for one process can load one binding; ./dev test --qt runs all."""
    files = [path for path in sorted(HERE.rglob("test_*.py")) if MARKED.search(path.read_text())]
    assert files
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "every_qt", *files],
        env={**os.environ, "QT_API": "pyqt6", "PYTEST_QT_API": "pyqt6"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PyQt6" in done.stdout, "pytest names the binding at its head"
