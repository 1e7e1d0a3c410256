"""The images of a run by any name a file of regions may call them, their sizes read when asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari_patchioner.annotations import ImageInfo

from ._sizes import image_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ._match import ImageMatcher


class KnownImages(Mapping[str, ImageInfo]):
    """Images as `read_annotations` wants them, for formats that cannot be read without sizes.

    Parameters
    ----------
    paths : sequence of Path
        The image files.
    matcher : ImageMatcher
        Finds an image by any of its names.
    """

    def __init__(self, paths: Sequence[Path], matcher: ImageMatcher) -> None:
        self._paths, self._matcher = paths, matcher
        self._known: dict[str, ImageInfo] = {}

    def __getitem__(self, name: str) -> ImageInfo:
        if name not in self._known:
            place = self._matcher.find(name)
            if place is None:
                raise KeyError(name)
            self._known[name] = ImageInfo(name, *image_size(self._paths[place]), self._paths[place])
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in self._paths)

    def __len__(self) -> int:
        return len(self._paths)
