"""The demonstration: sample pictures in, captions out, then napari with everything loaded."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._cli import captions_table, run_demo
from .errors import PatchionerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from .annotations import Annotation
    from .captioner import Captioner


def demo(
    folder: Path, load: Callable[[], Captioner], say: Callable[[str], None], *, viewer: bool = True
) -> None:
    """Caption the sample pictures, print the table, write the files, and open napari.

    Parameters
    ----------
    folder : Path
        Where the files go.
    load : callable
        Loads the model.
    say : callable
        Told what is going on, one line at a time; the table goes to standard output.
    viewer : bool
        Open napari at the end if there is a display.

    Raises
    ------
    PatchionerError
        There is no Qt to open napari with; the files are written all the same.
    """
    images, annotations = run_demo(folder, load, say)
    print(captions_table(annotations))
    say(f"Written to {folder}: captions.csv, overlay.png and shapes-*.csv for napari")
    if not viewer:
        return
    check_qt()
    if not has_display():
        say("There is no display, so napari stays closed")
        return
    _open(images, annotations)


def _open(images: Mapping[str, npt.NDArray[np.uint8]], annotations: Sequence[Annotation]) -> None:
    """Open napari with the pictures and their captioned regions."""
    window: Any = import_module(".viewer", __package__)
    if not hasattr(window, "open_demo"):
        raise PatchionerError("this installation cannot open napari; use demo --no-viewer")
    window.open_demo(images, annotations)


def check_qt() -> None:
    """Refuse to open a window where no Qt binding is installed, or none can be loaded."""
    try:
        import_module("qtpy.QtWidgets")
    except (ImportError, RuntimeError) as error:
        raise PatchionerError(
            "napari opens only with a Qt binding: run pip install PyQt6, or use demo --no-viewer"
        ) from error


def has_display() -> bool:
    """Return whether a window could be opened and seen."""
    if os.environ.get("QT_QPA_PLATFORM", "") in ("offscreen", "minimal"):
        return False
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
