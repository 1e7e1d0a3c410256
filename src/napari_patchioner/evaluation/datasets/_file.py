"""What the data sets that are one JSON file have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ._image_folder import ImageFolder
    from ._sample import Sample, Task


class FileDataset(ABC):
    """A published JSON file and the folder of its images.

    Parameters
    ----------
    path : Path
        The file.
    data : object
        What it holds.
    images : ImageFolder
        Where its images are.
    split : str, optional
        Which part of the file to take, where it has parts.
    """

    form = ""
    task: Task

    def __init__(
        self, path: Path, data: Any, images: ImageFolder, split: str | None = None
    ) -> None:
        self.path, self.data, self.images, self.split = path, data, images, split
        self.name = f"{self.form}:{path.name}"

    @property
    def missing(self) -> list[str]:
        """Ids of the images that were looked for and not found so far."""
        return self.images.missing

    def find(self, image: str) -> Path:
        """Path of an image by its id or file name.

        Raises
        ------
        ImageError
            It is not in the folder.
        """
        return self.images.find(image)

    @classmethod
    @abstractmethod
    def fits(cls, data: Any) -> bool:
        """Whether a file's contents are of this form, judged by their first record."""

    @abstractmethod
    def samples(self) -> Iterator[Sample]:
        """Draw every sample in the order of the file."""
