"""What to measure on: samples of the paper's tasks in their published files, labelled images.

`open_dataset` opens any published file as an iterator of (image, region, references).
"""

from __future__ import annotations

from .forms import FORMS, open_dataset, overlap_group
from .image_folder import ImageFolder
from .records import TASKS, Dataset, Sample, Task

__all__ = [
    "FORMS",
    "TASKS",
    "Dataset",
    "ImageFolder",
    "Sample",
    "Task",
    "open_dataset",
    "overlap_group",
]
