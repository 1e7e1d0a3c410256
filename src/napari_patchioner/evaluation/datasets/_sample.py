"""What every task is made of: a region of an image, and what people said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_patchioner.regions import Region

Task: TypeAlias = Literal["image", "dense", "region-set", "trace"]
TASKS: tuple[Task, ...] = ("image", "dense", "region-set", "trace")


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """One region to caption, with the references to compare the caption with.

    Attributes
    ----------
    id : str
        Name of the sample, unique within its data set and the same in every run.
    image : str
        Id or file name of the image.
    region : Region
        ``(row, column)`` image pixels, pixel centres at integers.
    references : tuple of str
        What people wrote, letter by letter; at least one.
    group : str
        A subset that is reported apart, such as ``"disjoint"``; empty where there is none.
    extra : mapping of str to str
        Whatever else the file says of it.
    """

    id: str
    image: str
    region: Region
    references: tuple[str, ...]
    group: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


class Dataset(Protocol):
    """Samples of one of the paper's four tasks, and where their images lie.

    Attributes
    ----------
    name : str
        Name of the published form and of the file.
    task : {"image", "dense", "region-set", "trace"}
    missing : list of str
        Ids of the images that were looked for and not found, filled while samples are drawn.
    """

    name: str
    task: Task

    @property
    def missing(self) -> list[str]:
        """Ids of the images that were looked for and not found so far."""
        ...

    def samples(self) -> Iterator[Sample]:
        """Draw every sample in the order of the file.

        Yields
        ------
        Sample

        Raises
        ------
        FormatError
            One sentence that names the file and the record.
        ImageError
            An image is not in the folder, unless such images are to be left out.
        """
        ...

    def find(self, image: str) -> Path:
        """Path of an image by its id or file name.

        Raises
        ------
        ImageError
            It is not in the folder.
        """
        ...
