"""What to measure on: samples of the paper's tasks in their published files, labelled images.

`open_dataset` opens any published file as an iterator of (image, region, references);
`development_images` yields images whose regions have category names.
"""

from __future__ import annotations

from .boxes import overlap_group
from .image_folder import ImageFolder
from .records import TASKS, Dataset, Sample, Task
from .registry import FORMS, open_dataset

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
