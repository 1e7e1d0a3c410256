"""Which row of a table belongs to which image file."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_patchioner.annotations import Annotation


class ImageMatcher:
    """Finds the image file that a table means.

    The first of these rules that fits an image decides: the path as it was given; the same
    file by another path; the last parts of its path, down to the file name; its name without
    the ending; the file name at the end of a path from elsewhere.

    Parameters
    ----------
    paths : sequence of Path
        The image files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._given = _index(paths, lambda path: [str(path)])
        self._resolved = _index(paths, lambda path: [str(path.resolve())])
        self._tails = _index(paths, lambda path: _tails(path.resolve()))
        self._stems = _index(paths, lambda path: [path.stem])
        self._found: dict[str, int | None] = {}

    def find(self, name: str) -> int | None:
        """Return the position of the image that is meant, or None where it was not given.

        Raises
        ------
        FormatError
            If several images could be meant.
        """
        if name not in self._found:
            self._found[name] = self._look_up(name)
        return self._found[name]

    def _look_up(self, name: str) -> int | None:
        """Apply the rules in their order."""
        parts = re.split(r"[\\/]", name)
        for index, key in (
            (self._given, name),
            (self._resolved, str(Path(name).resolve()) if "\0" not in name else name),
            (self._tails, "/".join(parts)),
            (self._stems, name),
            (self._tails, parts[-1]),
        ):
            positions = index.get(key, [])
            if len(positions) > 1:
                candidates = " or ".join(str(self._paths[position]) for position in positions)
                raise FormatError(
                    f"the image {name!r} may be {candidates}; write its path in the table"
                )
            if positions:
                return positions[0]
        return None


def _index(paths: Sequence[Path], keys: Callable[[Path], list[str]]) -> dict[str, list[int]]:
    """Return the positions of the paths under each of their keys."""
    index: dict[str, list[int]] = defaultdict(list)
    for position, path in enumerate(paths):
        for key in keys(path):
            index[key].append(position)
    return index


def _tails(path: Path) -> list[str]:
    """Return ``c.png``, ``b/c.png``, ``a/b/c.png`` of a path."""
    parts = path.parts
    return ["/".join(parts[start:]) for start in range(1, len(parts))]


def assign(
    paths: Sequence[Path], annotations: Sequence[Annotation]
) -> tuple[list[tuple[int, Annotation]], int]:
    """Give each annotation to its image.

    Parameters
    ----------
    paths : sequence of Path
        The image files.
    annotations : sequence of Annotation
        Rows of a table. One that names no image goes with every image.

    Returns
    -------
    pairs : list of (int, Annotation)
        Position of the image and the annotation: first those that name an image, in their
        order, then the others image by image.
    left_out : int
        How many name an image that was not given.
    """
    matcher = ImageMatcher(paths)
    found = [(matcher.find(item.image), item) for item in annotations if item.image]
    pairs = [(position, item) for position, item in found if position is not None]
    anywhere = [item for item in annotations if not item.image]
    everywhere = [(position, item) for position in range(len(paths)) for item in anywhere]
    return pairs + everywhere, len(found) - len(pairs)
