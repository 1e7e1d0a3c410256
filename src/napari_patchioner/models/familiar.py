"""What models know: learned from images like those they were made for, kept beside them.

``STORE/_familiar/ID.safetensors`` is a person's own; that of the embedded models comes along.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from napari_patchioner.bridges.familiarity import (
    LEAST_IMAGES,
    Familiarity,
    plain_name,
    sample_image,
)
from napari_patchioner.captioner import Captioner
from napari_patchioner.devices import notify
from napari_patchioner.errors import ImageError, ModelError, counted, os_errors, shell_command
from napari_patchioner.images import open_image
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.regions import WholeImage

from .embedded import HEADS, load_known
from .store import store_folder

HOME = "_familiar"
_LEAST_DIM = 2


def familiar_path(name: str) -> Path:
    """Return where what a model knows lies, once a person has shown it."""
    return store_folder() / HOME / f"{name}.safetensors"


def load_familiarity(captioner: Captioner) -> Familiarity | None:
    """Return what a captioner knows: what a person has shown it, or else what comes along.

    None where there is nothing, or it belongs to another backbone. What is damaged is nothing, and
    `devices.notify` says so.
    """
    known = []
    if (path := familiar_path(captioner.name)).is_file():
        try:
            known.append(Familiarity.read(path))
        except ModelError as error:
            notify(str(error))
    backbone = plain_name(captioner.backbone.name)
    fitting = (own for own in (*known, load_known()) if plain_name(own.backbone) == backbone)
    return next(fitting, None)


def shown(name: str) -> tuple[Familiarity | None, bool]:
    """Return what a model of this name was shown, and whether by a person; it opens no model.

    A ModelError where it is damaged.
    """
    path = familiar_path(name)
    if path.is_file():
        return Familiarity.read(path), True
    return (load_known() if name in HEADS else None), False


def unknown_sentence(name: str) -> str:
    """Return what to say where nobody knows how familiar an image is to a model."""
    how = shell_command("models", "familiar", name, "FOLDER")
    return (
        f"How familiar this is to {name} is not known; show it images like those it was made for: "
        f"{how}"
    )


def learn_familiarity(
    captioner: Captioner, images: Sequence[Path], progress: Progress | None = None
) -> tuple[Familiarity, list[str]]:
    """Learn what a captioner knows from images like those it was made for, and keep that.

    Parameters
    ----------
    captioner : Captioner
        From then on it says how familiar regions are.
    images : sequence of Path
        Image files, of a stack the first plane; 20 or more, better some hundred.
    progress : callable, optional
        Called with the fraction done and a message; may raise ``Cancelled``.

    Returns
    -------
    Familiarity
    list of str
        Why images could not be read, a sentence each; they are left out.

    Raises
    ------
    ModelError
        Too few images are left, or it cannot be kept.
    """
    report = progress or no_progress
    learned = captioner.backbone.dim - captioner.backbone.measured
    if learned < _LEAST_DIM:
        raise ModelError(
            f"{captioner.name} gives no embeddings that could say what it knows; choose another "
            "model."
        )
    samples, failures = [], []
    for number, path in enumerate(images):
        report(number / len(images), f"{number} of {counted(images, 'image')}")
        try:
            with open_image(path) as image:
                grid = captioner.pyramid(image.levels()).grid(WholeImage())
        except ImageError as error:
            failures.append(str(error))
            continue
        samples.append(sample_image(grid, number, learned=learned))
    if failures and len(samples) < LEAST_IMAGES:
        raise ModelError(
            f"{counted(samples, 'image')} could be read, which is too few to say what "
            f"{captioner.name} knows; give {LEAST_IMAGES} or more ({failures[0]})"
        )
    known = Familiarity.fit(samples, captioner.backbone.name)
    known.write(familiar_path(captioner.name))
    captioner.known = known
    report(1.0, "done")
    return known, failures


def forget_familiarity(name: str) -> None:
    """Delete what a person has shown a model; a ModelError where there is nothing of the kind."""
    path = familiar_path(name)
    if not path.is_file():
        raise ModelError(f"Nobody has shown {name} what it knows, so there is nothing to forget.")
    with os_errors(path, "removed", ModelError):
        path.unlink()
