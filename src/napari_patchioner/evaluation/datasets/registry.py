"""Every published form of a data set, in one place; a new one is one file and one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.errors import FormatError

from .boxes import DenseCaptions, RegionSets, VisualGenome
from .image_captions import CocoCaptions, KarpathySplit
from .image_folder import ImageFolder
from .records import read_json
from .traces import LocalizedNarratives, Traces

if TYPE_CHECKING:
    from pathlib import Path

    from .records import Dataset, FileDataset, Task

# The first that fits is taken, so the one that asks for more stands first.
FORMS: tuple[type[FileDataset], ...] = (
    Traces,
    RegionSets,
    DenseCaptions,
    VisualGenome,
    KarpathySplit,
    CocoCaptions,
)
_LINES = (".jsonl", ".ndjson")


def open_dataset(
    task: Task, data: Path, images: Path, *, split: str | None = None, skip_missing: bool = False
) -> Dataset:
    """Open a published data set for one of the paper's tasks.

    Parameters
    ----------
    task : {"image", "dense", "region-set", "trace"}
    data : Path
        The file: traces or region sets as published with Patch-ioner, Localized Narratives
        (``.jsonl``), ControlCap's dense captions, Visual Genome's region descriptions, COCO's
        captions or a split of Karpathy's.
    images : Path
        Folder of the images; sub-folders are searched too.
    split : str, optional
        Which part, for files that have parts.
    skip_missing : bool
        Leave out samples of images that are not there.

    Returns
    -------
    Dataset

    Raises
    ------
    FormatError
        The file is of no known form, or not of this task.
    ImageError
        There is no such folder.
    """
    folder = ImageFolder(images, skip_missing=skip_missing)
    if data.suffix.lower() in _LINES:
        _check(task, LocalizedNarratives.task, data)
        return LocalizedNarratives(data, folder)
    contents = read_json(data)
    # The same file may serve two tasks: boxes with captions, and captions of images.
    fitting = [form for form in FORMS if form.fits(contents)]
    if not fitting:
        raise FormatError(f"{data.name}: {_problem(contents)}")
    chosen = [form for form in fitting if form.task == task]
    if not chosen:
        _check(task, fitting[0].task, data)
    return chosen[0](data, contents, folder, split)


def _check(task: Task, own: Task, data: Path) -> None:
    if task != own:
        raise FormatError(f"{data.name}: holds samples of the task {own!r}, not of {task!r}")


def _problem(contents: object) -> str:
    if isinstance(contents, dict) and contents.get("images") and not contents.get("annotations"):
        return "lists images without captions; give the file that holds their captions"
    forms = ", ".join([*(form.form for form in FORMS), LocalizedNarratives.form])
    return f"is of no known form; those that are: {forms}"
