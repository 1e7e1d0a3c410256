from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

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
        "import sys\n"
        "from napari_patchioner.cli import caption, demo, models\n"
        "print([m for m in ('napari', 'qtpy', 'torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no drive that is full")
@pytest.mark.parametrize(
    ("to", "status"),
    [
        ("models > /dev/full", 2),
        ("models >&-", 0),
        ("models 2> /dev/full", 0),
        ("caption --help > /dev/full", 2),
    ],
)
def test_output_that_cannot_be_written_is_told_in_a_sentence(to: str, status: int) -> None:
    command = f"{shlex.quote(sys.executable)} -m napari_patchioner {to}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == status
    assert done.stderr.count("\n") == (status != 0)
    assert ("No space left on device" in done.stderr) == (status != 0)


def test_an_interrupt_while_modules_are_imported_is_told_as_any_other() -> None:
    code = (
        "import sys\n"
        "from napari_patchioner.cli import main\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'napari_patchioner.cli.baseline':\n"
        "            raise KeyboardInterrupt\n"
        "assert 'numpy' not in sys.modules\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "sys.exit(main(['models']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "napari-patchioner: interrupted\n")
