"""Caption the sample pictures and show everything that comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.annotations import (
    Annotation,
    write_bytes,
    write_napari_csv,
    write_tidy_csv,
)
from napari_patchioner.batch import caption_image
from napari_patchioner.errors import FormatError, RegionError

from ._overlay import overlay_png
from ._samples import SAMPLES
from ._text import text_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from napari_patchioner.captioner import Captioner


def run_demo(
    folder: Path, load: Callable[[], Captioner], say: Callable[[str], None]
) -> tuple[dict[str, npt.NDArray[np.uint8]], list[Annotation]]:
    """Caption the sample pictures and write what came of it.

    Parameters
    ----------
    folder : Path
        Gets ``captions.csv``, ``overlay.png`` and, for each picture, ``shapes-NAME.csv`` that
        plain napari opens; made if it is missing.
    load : callable
        Loads the model; called once.
    say : callable
        Told what is going on, one line at a time.

    Returns
    -------
    images : dict of str to ndarray of uint8, shape (height, width, 3)
        The pictures by name.
    annotations : list of Annotation
        Every region with its caption.
    """
    make_folder(folder)
    captioner = load()
    images: dict[str, npt.NDArray[np.uint8]] = {}
    annotations: list[Annotation] = []
    for sample in SAMPLES:
        picture = sample.picture()
        say(
            f"{sample.name}: {picture.shape[1]} x {picture.shape[0]} pixels, "
            f"{len(sample.regions)} regions"
        )
        images[sample.name] = picture
        drawn = [
            Annotation(f"{sample.name}-{number}", sample.name, region)
            for number, region in enumerate(sample.regions, start=1)
        ]
        captioned, why = caption_image(captioner, picture, drawn)
        if why:
            raise RegionError(why)
        annotations += captioned
    _write(folder, images, annotations)
    return images, annotations


def make_folder(folder: Path) -> None:
    """Make a folder, or say in one sentence why not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FormatError(f"{folder}: cannot be made ({error.strerror or error})") from error


def _write(
    folder: Path,
    images: Mapping[str, npt.NDArray[np.uint8]],
    annotations: Sequence[Annotation],
) -> None:
    """Write the tables and the picture; all is ready before the first file is touched."""
    overlay = overlay_png(images, annotations)
    write_tidy_csv(folder / "captions.csv", annotations)
    for name in images:
        own = [annotation for annotation in annotations if annotation.image == name]
        write_napari_csv(folder / f"shapes-{name}.csv", own)
    write_bytes(folder / "overlay.png", overlay)


def captions_table(annotations: Sequence[Annotation]) -> str:
    """Return captions as a table in plain text; the numbers are those in the overlay."""
    rows: list[list[str]] = []
    counted: dict[str, int] = {}
    for item in annotations:
        number = counted[item.image] = counted.get(item.image, 0) + 1
        score = "" if item.score is None else f"{item.score:.2f}"
        rows.append(
            [item.image if number == 1 else "", str(number), item.kind, score, item.caption]
        )
    return text_table(["image", "no", "region", "score", "caption"], rows)
