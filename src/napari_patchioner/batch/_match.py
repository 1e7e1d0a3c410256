"""Which row of a table belongs to which image file."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import FormatError

from ._images import absolute

if TYPE_CHECKING:
    from collections.abc import Sequence


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
        self._names: dict[str, list[int]] = defaultdict(list)
        self._stems: dict[str, list[int]] = defaultdict(list)
        for position, path in enumerate(paths):
            self._names[path.name].append(position)
            self._stems[path.stem].append(position)
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
        parts = [part for part in re.split(r"[\\/]", name) if part not in ("", ".")]
        named = self._names.get(parts[-1], []) if parts else []
        for positions in (
            [place for place in named if str(self._paths[place]) == name],
            [place for place in named if self._is(place, name)],
            [place for place in named if self._ends_with(place, parts)],
            self._stems.get(name, []),
            named,
        ):
            if len(positions) > 1:
                candidates = " or ".join(str(self._paths[place]) for place in positions[:3])
                raise FormatError(
                    f"the image {name!r} may be {candidates}; write its path in the table"
                )
            if positions:
                return positions[0]
        return None

    def _is(self, place: int, name: str) -> bool:
        """Whether a path leads to the file."""
        return "\0" not in name and absolute(Path(name)) == absolute(self._paths[place])

    def _ends_with(self, place: int, parts: list[str]) -> bool:
        """Whether these are the last parts of the file's path."""
        return list(absolute(self._paths[place]).parts[-len(parts) :]) == parts


def common_parts(one: Path, other: Path) -> int:
    """Return how many folders two files have in common, counted from the files up.

    >>> common_parts(Path("/a/mouse/s1/x.png"), Path("/b/mouse/s1/x.tif"))
    2
    """
    pairs = zip(reversed(one.parts[:-1]), reversed(other.parts[:-1]), strict=False)
    count = 0
    for first, second in pairs:
        if first != second:
            break
        count += 1
    return count
