"""What to measure on: samples of the paper's tasks in their published files, labelled images.

`open_dataset` opens any published file as an iterator of (image, region, references);
`development_images` yields images whose regions have category names.
"""

from __future__ import annotations

from ._image_folder import ImageFolder
from ._registry import FORMS, open_dataset
from ._sample import TASKS, Dataset, Sample, Task
from .region_sets import overlap_group

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
