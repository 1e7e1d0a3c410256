from __future__ import annotations

import os
import subprocess
import sys

import pytest

from napari_patchioner import __version__
from napari_patchioner.cli import main


def test_version_and_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"napari-patchioner {__version__}\n"
    for wrong in ([], ["caption"], ["caption", "a.png"], ["paint"]):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break differently there")
def test_a_reader_that_leaves_causes_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from napari_patchioner.cli import main; sys.exit(main(['models']))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (2, b"")


def test_the_command_line_loads_neither_napari_nor_torch() -> None:
    code = (
        "import sys, napari_patchioner.cli as cli, napari_patchioner._cli, napari_patchioner.demo\n"
        "print([m for m in ('napari', 'qtpy', 'torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
