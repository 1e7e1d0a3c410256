"""The sub-command ``demo``: sample pictures in, captions out, then napari with all of it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_patchioner.annotations import (
    MACHINES,
    Annotation,
    read_annotations,
    write_bytes,
    write_napari_csv,
    write_tidy_csv,
)
from napari_patchioner.batch import caption_image
from napari_patchioner.errors import FormatError, PatchionerError, RegionError, counted
from napari_patchioner.teaching import Lexicon

from .outputs import check_outputs
from .samples import SAMPLES, Sample, overlay_png
from .shared import make_folder, say, text_table

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner

_CAPTIONS, _OVERLAY, _SHAPES = "captions.csv", "overlay.png", "shapes-{}.csv"


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``demo``."""
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="folder to write (demo)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace tables there that are no earlier demo's"
    )
    parser.add_argument("--no-viewer", action="store_true", help="do not open napari at the end")
    parser.add_argument("--model", default="mini", help="id of the model (mini)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> None:
    """Caption the sample pictures, print the table, write the files, and open napari."""
    _check_folder(arguments.out, overwrite=arguments.overwrite)
    images, annotations = _caption_samples(arguments.out, partial(load, arguments.model))
    print(_captions_table(annotations))
    say(f"Written to {arguments.out}: captions.csv, overlay.png and shapes-*.csv for napari")
    if arguments.no_viewer:
        return
    try:
        import_module("qtpy.QtWidgets")
    except (ImportError, RuntimeError) as error:  # none is installed, or none can be loaded
        raise PatchionerError(
            "napari opens only with a Qt binding: run pip install PyQt6, or use demo --no-viewer"
        ) from error
    if not has_display():
        say("There is no display, so napari stays closed")
        return
    viewer: Any = import_module("napari_patchioner.viewer")
    viewer.open_demo(images, annotations)


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse to replace what no earlier demo has written there."""
    shapes = [_SHAPES.format(sample.name) for sample in SAMPLES]
    files = [folder / name for name in (_CAPTIONS, _OVERLAY, *shapes)]
    try:
        before = read_annotations(files[0]) if files[0].is_file() else []
    except FormatError:
        before = []
    names = {sample.name for sample in SAMPLES}
    given = {(item.uid, item.caption) for sample in SAMPLES for item in sample.drawn()}
    others = (item for item in before if item.source not in MACHINES or item.image not in names)
    if not before or any((item.uid, item.caption) not in given for item in others):
        check_outputs(files, overwrite=overwrite)


def has_display() -> bool:
    """Return whether a window could be opened and seen."""
    if os.environ.get("QT_QPA_PLATFORM", "") in ("offscreen", "minimal"):
        return False
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _caption_samples(
    folder: Path, load: Callable[[], Captioner]
) -> tuple[dict[str, npt.NDArray[np.uint8]], list[Annotation]]:
    """Caption the sample pictures and write what came of it.

    The folder gets ``captions.csv``, ``overlay.png`` and, for each picture, ``shapes-NAME.csv``
    that plain napari opens.
    """
    make_folder(folder)
    captioner = load()
    images: dict[str, npt.NDArray[np.uint8]] = {}
    annotations: list[Annotation] = []
    for sample in SAMPLES:
        picture = sample.picture()
        drawn = sample.drawn()
        say(
            f"{sample.name}: {picture.shape[1]} x {picture.shape[0]} pixels, "
            f"{counted(drawn, 'region')}"
        )
        images[sample.name] = picture
        annotations += _caption(captioner, sample, picture, drawn)
    # All is ready before the first file is touched.
    overlay = overlay_png(images, annotations)
    write_tidy_csv(folder / _CAPTIONS, annotations)
    for name in images:
        own = [annotation for annotation in annotations if annotation.image == name]
        write_napari_csv(folder / _SHAPES.format(name), own)
    write_bytes(folder / _OVERLAY, overlay)
    return images, annotations


def _caption(
    captioner: Captioner, sample: Sample, picture: npt.NDArray[np.uint8], drawn: list[Annotation]
) -> list[Annotation]:
    """Caption the regions of a picture; those alike to what is taught get names."""
    alike = len(drawn) - len(sample.alike)
    lexicon = None
    if sample.taught:
        names, regions = zip(*sample.taught, strict=True)
        grid = captioner.encode(picture)
        lexicon = Lexicon.teach(captioner, grid, picture, regions, names, image_name=sample.name)
    captioned: list[Annotation] = []
    for group, known in ((drawn[:alike], None), (drawn[alike:], lexicon)):
        results, why = caption_image(captioner, picture, group, lexicon=known)
        if why:
            raise RegionError(why)
        captioned += results
    return captioned


def _captions_table(annotations: Sequence[Annotation]) -> str:
    """Return captions as a table in plain text; the numbers are those in the overlay."""
    rows: list[list[str]] = []
    counted: dict[str, int] = {}
    for item in annotations:
        number = counted[item.image] = counted.get(item.image, 0) + 1
        score = "" if item.score is None else f"{item.score:.2f}"
        image = item.image if number == 1 else ""
        rows.append([image, str(number), item.kind, score, item.caption])
    return text_table(["image", "no", "region", "score", "caption"], rows)
