"""A text file read line by line in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


class CaptionFile(Sequence[str]):
    """Lines of a UTF-8 file, mapped into memory rather than read.

    Parameters
    ----------
    path : Path
        The file, one caption per line.
    offsets : ndarray of int64, shape (n + 1,)
        Where each line begins, in bytes, and where the last one ends.

    Raises
    ------
    ValueError
        If the offsets do not fit the file.
    """

    def __init__(self, path: Path, offsets: npt.NDArray[np.int64]) -> None:
        self._bytes = np.memmap(path, np.uint8, mode="r")
        self._offsets = offsets
        fits = offsets.ndim == 1 and offsets.size > 1 and offsets[0] == 0
        if not fits or offsets[-1] != len(self._bytes) or (np.diff(offsets) < 1).any():
            raise ValueError(
                f"{path.name} is {len(self._bytes)} bytes long, which was not expected"
            )

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Read one line, or several, without the line ends."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        line = self._bytes[self._offsets[place] : self._offsets[place + 1] - 1]
        return line.tobytes().decode("utf-8")
